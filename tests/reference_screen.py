"""Reference implementation of the lexical screen's rules without shortcuts: every pattern is tried at every token, every part of every
word is looked up, nothing is cached. Slow; defines the answers that the fast one must give.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ourvidz.safety import lexical
from ourvidz.safety.lexical import PUNCTUATION, UNREADABLE
from ourvidz.safety.reading import View
from ourvidz.safety.rules import Pattern, Rules


def refusing(rules: Rules, folded: str) -> str | None:
    """The same answer as `lexical._refusing`."""
    for starred in rules.stars.findall(folded):
        if rule := rules.starred.get(re.sub(f"[{re.escape(rules.wild)}]", "*", starred)):
            return rule
    for reading in readings(rules, folded):
        plain = View(rules, reading, plain=True)
        if plain.scattered:
            return UNREADABLE[1]
        spell(plain)
        view = plain.hiding(harmless(plain), None)
        spell(view)
        meanings = (m for spelled in view._spelled for form, _ in spelled for m in rules.meanings.get(form, ()) if "/" in m)
        patterns = (pattern.rule_id for pattern in rules.patterns for _ in found(view, pattern))
        if rule := next(meanings, None) or by_part(view) or next(patterns, None):
            return rule
    return None


def readings(rules: Rules, folded: str) -> list[str]:
    def read(bare: bool) -> str:
        def letters(chunk: re.Match[str]) -> str:
            word = chunk[0].strip(rules.symbols + "0123456789") if bare else chunk[0].rstrip(rules.closing)
            return rules.folding.unleet(word) if any(c.isalpha() for c in word) and not (bare and word.isalpha()) else chunk[0]

        return re.sub(rf"[\w{re.escape(rules.symbols)}]+", letters, folded)

    return list(dict.fromkeys((folded, read(bare=False), read(bare=True))))


def forms(view: View, word: str) -> list[str]:
    from ourvidz.safety.lookalikes import squeezed

    folding = view.rules.folding
    if view.plain or word.isdigit():
        return [word]
    return list(dict.fromkeys(squeezed(folding.unify(word)) + squeezed(folding.unify(folding.unleet(word)))))


def spell(view: View) -> None:
    """Find the view's words by joining every run of up to 24 tokens, whether or not a word begins that way."""
    spelled = []
    for i in range(len(view.tokens)):
        here, joined, written, piece, long = [], "", "", 0, 0
        for j in range(i, min(i + 24, len(view.tokens))):
            token = view.tokens[j]
            if j in view.hidden or (j > i and (len(joined) > view.rules.longest or (view.plain and not lexical_sign(token)))):
                break
            numbers = joined.isdigit() or token.isdigit()
            if j > i and view.parted[j] and numbers and max(len(token), len(view.tokens[j - 1])) > 1:
                break
            joined += token
            written += view.gaps[j] * (j > i) + token
            before = 0 if j == i or view.parted[j] else piece
            piece = before + len(token)
            long += piece > 2 >= before
            if j == i or ((long <= 1 or len(joined) >= 6) and written not in view.rules.apart):
                here += [(form, j + 1) for form in forms(view, joined) if form in view.rules.known]
        spelled.append(here)
    view.__dict__["_spelled"] = spelled


def lexical_sign(token: str) -> bool:
    from ourvidz.safety.reading import _SIGN

    return bool(_SIGN.fullmatch(token))


def harmless(view: View) -> set[int]:
    return {
        i
        for pattern in view.rules.harmless
        for start, end in found(view, pattern)
        if all(PUNCTUATION.isdisjoint(gap) for gap in view.gaps[start + 1 : end])
        for i in range(start, end)
    }


def by_part(view: View) -> str | None:
    rules = view.rules
    for word in view.long_words():
        for form in forms(view, word):
            for size in rules.stem_sizes:
                if rule := rules.stems.get(form[:size]):
                    return rule
            for start in range(len(form)):
                for size in rules.inside_sizes:
                    if rule := rules.inside.get(form[start : start + size]):
                        return rule
    return None


def found(view: View, pattern: Pattern) -> Iterator[tuple[int, int]]:
    for i in range(len(view.tokens)):
        if (end := lexical._match(view, pattern, 0, i)) is not None:
            yield i, end
