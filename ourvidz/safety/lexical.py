"""The prompt screen without a model: it refuses prompts about minors by words and by stated ages.

Its data is in `terms/`, plain TOML; `edge.py` exports it for the edge functions, whose screen is the same, step by step
(supabase/functions/_shared/screen). The algorithm:

1. Fold the text (`fold`), refuse drawings and unreadable text, and read the rest in up to three ways (`reading.readings`); upside-down
   text is turned and read too.
2. Split each reading into tokens: runs of letters, of digits, of Chinese numerals, and single characters of scripts without spaces.
3. Find the known words that begin at each token, alone or joined with the next ones (`View.words`), and the numbers.
4. Hide the harmless sequences. Then refuse by word, by part of a longer word, and by pattern.

It is fast because a pattern is tried only if the text has every class of words in it, and only where its rarest part occurs. What is
skipped cannot match: tests/reference_screen.py skips nothing and gives the same answers. No regular expression here can backtrack, and each
step looks a bounded distance ahead, so time is linear in the text's length.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ourvidz.safety.ascii_art import is_drawing
from ourvidz.safety.lookalikes import whole, with_marks
from ourvidz.safety.reading import DASHES, View, readings
from ourvidz.safety.rules import TERMS, Pattern, Rules, load_rules, own_rules
from ourvidz.safety.screen import ScreenUnavailable, Verdict

MAX_TEXT = 20_000
"""Characters. A prompt has at most 4,000 and its enhancement not many more; a longer text gets no answer, so its job does not run."""

UNREADABLE = ("unreadable", "und/unreadable")
"""Category and rule for a text with drawn letters, or that no table can read."""

# Not `/` and `:`, which follow numbers that are not ages (3/4 view, 16:9).
PUNCTUATION = frozenset(".,;!?()[]{}|\n。、，")


OWN = Path(__file__).parent


class LexicalScreen:
    """A `PromptScreen` over the data in `folder`, which is loaded at the first `check` and, if that failed, again at the next."""

    def __init__(self, folder: Path = TERMS, base: Path | None = None) -> None:
        self._folder, self._base = folder, base
        self._rules: Rules | None = None
        self._lock = threading.Lock()

    def check(self, text: str) -> Verdict:
        """Judge one text. Raises `ScreenUnavailable`: the data is missing or wrong, or the text is over `MAX_TEXT` characters."""
        try:
            rules = self._loaded()
            if len(whole(text)) > MAX_TEXT:
                raise ValueError("too long")
            category, rule_id = _refusal(rules, text) or (None, None)
        except Exception as error:  # noqa: BLE001  (whatever it is, the screen has not answered)
            # Not chained: an error's own words could quote the prompt.
            raise ScreenUnavailable(f"the lexical screen could not answer ({type(error).__name__}); the job does not run") from None
        return Verdict(rule_id is None, rules.policy_version, category, rule_id)

    def _loaded(self) -> Rules:
        with self._lock:
            if self._rules is None:
                load = own_rules if self._folder.is_relative_to(OWN) else load_rules
                self._rules = load(self._folder, self._base)
            return self._rules


def _refusal(rules: Rules, text: str) -> tuple[str, str] | None:
    """Category and id of the rule that refuses the text; None if none does."""
    text = rules.folding.known(text)
    if not text.isascii():
        for word in re.findall(r"[^\W\d_]+", with_marks(text)):
            if rule := rules.exact.get(word):
                return rules.category, rule
    folded = rules.folding.fold(text)
    if not rules.unreadable.isdisjoint(text) or is_drawing(folded) or len(folded) > 2 * len(text) + 100:
        return UNREADABLE
    upright = rules.folding.upright(text)
    for one in (folded, rules.folding.fold(upright)) if upright else (folded,):
        if rule := _refusing(rules, one):
            return UNREADABLE if rule == UNREADABLE[1] else (rules.category, rule)
    return None


def _refusing(rules: Rules, folded: str) -> str | None:
    for starred in rules.stars.findall(folded):
        if rule := rules.starred.get(re.sub(f"[{re.escape(rules.wild)}]", "*", starred)):
            return rule
    view: View | None = None
    for reading in readings(rules, folded):
        plain = View(rules, reading, plain=True)
        if plain.scattered:
            return UNREADABLE[1]
        view = plain.hiding(_harmless(plain), view)
        if rule := _by_word(view) or _by_part(view) or _by_pattern(view):
            return rule
    return None


def _harmless(view: View) -> set[int]:
    """The tokens of harmless sequences. Punctuation ends a sequence: "say no. Kids ..." is not "no kids"."""
    rules = view.rules
    if rules.excuses.isdisjoint(view.tokens) and not rules.excusing_signs.search("".join(view.tokens)):
        return set()
    return {
        i
        for pattern in _possible(view, rules.harmless, rules.harmless_by_class)
        for start, end in _found(view, pattern)
        if all(PUNCTUATION.isdisjoint(gap) for gap in view.gaps[start + 1 : end])
        for i in range(start, end)
    }


def _by_word(view: View) -> str | None:
    return next((meaning for found in view.words for meaning, _ in found if "/" in meaning), None)


def _by_part(view: View) -> str | None:
    rules = view.rules
    words = list(dict.fromkeys(view.long_words()))
    lines = "\n" + "\n".join(words)
    if rules.odd.search(lines):
        lines = "\n" + "\n".join(form for word in words for form in view.forms(word))
    if not rules.parts.search(lines):
        return None
    for word in words:
        for form in view.forms(word):
            for size in rules.stem_sizes:
                if rule := rules.stems.get(form[:size]):
                    return rule
            for start in range(len(form)):
                for size in rules.inside_sizes:
                    if rule := rules.inside.get(form[start : start + size]):
                        return rule
    return None


def _by_pattern(view: View) -> str | None:
    rules = view.rules
    possible = _possible(view, rules.patterns, rules.patterns_by_class)
    return next((pattern.rule_id for pattern in possible for _ in _found(view, pattern)), None)


def _possible(view: View, patterns: Sequence[Pattern], by_class: Mapping[str, Sequence[int]]) -> list[Pattern]:
    """The patterns of which the text has every class, in order."""
    places = view.places
    numbers = sorted(number for meaning in places for number in by_class.get(meaning, ()))
    return [patterns[number] for number in numbers if all(need in places for need in patterns[number].needs)]


def _found(view: View, pattern: Pattern) -> Iterator[tuple[int, int]]:
    """Yield the pattern's matches in the text: the first token, and the token after the last."""
    for i in view.starts(pattern):
        if (end := _match(view, pattern, 0, i)) is not None:
            yield i, end


def _match(view: View, pattern: Pattern, k: int, i: int) -> int | None:
    """Match items k, k + 1, … of the pattern at token i. Returns the token after them; None if they do not match."""
    if k == len(pattern.items):
        return i
    item = pattern.items[k]
    if item in Pattern.GAPS:
        gap = view.gaps[i]
        here = {"|": i == len(view.tokens) or not PUNCTUATION.isdisjoint(gap), "-": not DASHES.isdisjoint(gap), "_": not gap}[item]
        return _match(view, pattern, k + 1, i) if here else None
    if item.startswith("!"):
        there = i in view.numbers(pattern.language) if item == "!M" else view.end_of(item[1:], i) is not None
        return None if there else _match(view, pattern, k + 1, i)
    if item in Pattern.NUMBERS:
        number = view.number_at(pattern, item, i)
        return None if number is None else _match(view, pattern, k + 1, number[1])
    # A word may span more or fewer of the pieces that follow.
    ends = (end for meaning, end in (view.words[i] if i < len(view.tokens) else ()) if meaning == item)
    return next((after for end in ends if (after := _match(view, pattern, k + 1, end)) is not None), None)
