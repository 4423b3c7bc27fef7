"""The lexical screen's view of a folded text: tokens, the known words that begin at each, and the numbers in it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise

from ourvidz.safety.lookalikes import squeezed
from ourvidz.safety.rules import Pattern, Rules

NUMERALS = "〇零一二三四五六七八九十百千两兩"
# Chinese and Japanese; Thai and Lao (their vowel signs are letters here: policy.toml).
_SIGNS = "\u0e01-\u0e4f\u0e81-\u0ecf\u3005-\u3006\u3040-\u30fa\u30fc-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_TOKEN = re.compile(rf"([{NUMERALS}]+|[{_SIGNS}]|[^\W\d_{_SIGNS}{NUMERALS}]+|\d+)")
_SIGN = re.compile(f"[{_SIGNS}]")
_PIECES = 24  # tokens that one word may be split into
DASHES = frozenset("-~\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fb")
MINUS = "\u2212"
SCATTERED = 500
STROKES = frozenset("/\u00f7\u2044\u2215")

Found = tuple[str, int]
Number = tuple[int, int]
Looked = tuple[list[str], bool]


def is_sign(char: str) -> bool:
    """Return True for a character of a script without spaces between words: it is a token by itself."""
    return char not in NUMERALS and bool(_SIGN.fullmatch(char))


def readings(rules: Rules, folded: str) -> list[str]:
    """The text unchanged; with digits and symbols inside words read as letters (t33n); and also without those at a word's ends
    (t33n18). Numbers stay numbers: only what has a letter is a word.
    """
    if not rules.disguises.search(folded):
        return [folded]

    def read(bare: bool) -> str:
        def letters(chunk: re.Match[str]) -> str:
            if chunk[0].isalpha():
                return chunk[0]
            word = chunk[0].strip(rules.symbols + "0123456789") if bare else chunk[0].rstrip(rules.closing)
            # A bare word of letters alone is in the first reading; without its number another age could result (1 8yo).
            return rules.folding.unleet(word) if any(c.isalpha() for c in word) and not (bare and word.isalpha()) else chunk[0]

        return rules.chunks.sub(letters, folded)

    return list(dict.fromkeys((folded, read(bare=False), read(bare=True))))


class View:
    """One reading of a text, in tokens. A `plain` one joins no pieces and undoes no disguise: a harmless sequence must be written as
    listed. `hidden`: the tokens of harmless sequences; nothing is read in them or across them.
    """

    def __init__(self, rules: Rules, text: str, plain: bool = False) -> None:
        parts = _TOKEN.split(text)
        self.rules, self.plain = rules, plain
        self.hidden: frozenset[int] = frozenset()
        # gaps[i] is before token i; the last one ends the text
        self.tokens, self.gaps = _fewer(parts[1::2], parts[0::2])
        self.parted = [gap == " " or any(map(str.isspace, gap)) for gap in self.gaps]
        self._looked: dict[str, Looked] = {}
        self._forms: dict[str, list[str]] = {}

    def hiding(self, hidden: Iterable[int], other: View | None) -> View:
        """A view of the same tokens with disguises undone and these hidden. The word lookups of `other`, a view of another reading, are
        reused.
        """
        view = View.__new__(View)
        view.rules, view.plain, view.hidden = self.rules, False, frozenset(hidden)
        view.tokens, view.gaps, view.parted, view._looked = self.tokens, self.gaps, self.parted, {} if other is None else other._looked
        view._forms = {} if other is None else other._forms
        return view

    @property
    def scattered(self) -> bool:
        """True if most of a long text is single letters and digits. No real prompt is, and each is read joined with those that follow."""
        single = sum(len(token) == 1 for token in self.tokens)
        signs = sum(map(is_sign, self.tokens)) if single >= SCATTERED else 0
        return single - signs >= SCATTERED and 2 * (single - signs) > len(self.tokens)

    @cached_property
    def words(self) -> list[list[Found]]:
        """For each token, the known words that begin with it: meaning, and the token after the word."""
        meanings = self.rules.meanings
        return [[(m, end) for form, end in spelled for m in meanings.get(form, ())] if spelled else [] for spelled in self._spelled]

    @cached_property
    def _spelled(self) -> list[list[Found]]:
        """For each token, alone and joined with those that follow: the known words and number words, and the token after each.

        Whole words of a sentence must not form a new one by chance: of pieces separated by spaces, at most one may have over two
        letters, unless together they have six; and sequences in `apart` are not joined. Without a space it is one piece ("chi-ld").
        A number and a word are not joined across a space ("de 2"), except in a word of single letters (t 3 3 n).

        One loop, without calls: most of the screen's time is spent here.
        """
        tokens, parted, looked, look = self.tokens, self.parted, self._looked, self._look
        sizes, numeral = list(map(len, tokens)), [token.isdigit() for token in tokens]
        longest, together, last = self.rules.longest, self.rules.together, len(tokens)
        nothing: list[Found] = []
        checked = self.plain or bool(self.hidden)
        spelled = []
        for i, joined in enumerate(tokens):
            known, goes_on = looked.get(joined) or look(joined)
            if i in self.hidden or not (known or goes_on):
                spelled.append(nothing)
                continue
            found = [(form, i + 1) for form in known]
            length = piece = sizes[i]
            long, number, j = int(length > 2), numeral[i], i + 1
            while goes_on and j < last and length <= longest and j < i + _PIECES:
                if checked and self._stops(j):
                    break
                size = sizes[j]
                if parted[j]:
                    if (number or numeral[j]) and (size > 1 or sizes[j - 1] > 1):
                        break
                    piece = size
                    long += size > 2
                else:
                    long += piece <= 2 < piece + size
                    piece += size
                number = number and numeral[j]
                length += size
                joined += tokens[j]
                j += 1
                known, goes_on = looked.get(joined) or look(joined)
                if known and (long <= 1 or length >= 6) and not (joined in together and self._written(i, j) in self.rules.apart):
                    found += [(form, j) for form in known]
            spelled.append(found)
        return spelled

    def _stops(self, j: int) -> bool:
        """Return True if token j is not joined to the tokens before it."""
        return j in self.hidden or (self.plain and not _SIGN.fullmatch(self.tokens[j]))

    def _written(self, i: int, j: int) -> str:
        return self.tokens[i] + "".join(self.gaps[k] + self.tokens[k] for k in range(i + 1, j))

    def _look(self, joined: str) -> Looked:
        """The known words among the spellings of `joined`, and True if a known word begins with one of them."""
        rules = self.rules
        forms = self.forms(joined)
        goes_on = rules.begins(forms[0]) or (len(forms) > 1 and any(map(rules.begins, forms)))
        if not goes_on and not joined.isalpha() and not self.plain:
            goes_on = rules.begins(rules.folding.unleet(joined))
        self._looked[joined] = looked = [form for form in forms if form in rules.known], goes_on
        return looked

    def forms(self, word: str) -> list[str]:
        """The spellings of one word: digits as letters, repeated letters reduced. In a fixed order, as the first known one determines the
        rule that is named.
        """
        if len(word) == 1:
            return [word]
        if len(word) < 8:  # faster to compute than to look up
            return self._forms_of(word)
        if (forms := self._forms.get(word)) is None:
            forms = self._forms[word] = self._forms_of(word)
        return forms

    def _forms_of(self, word: str) -> list[str]:
        if self.plain or not self.rules.odd.search(word) or word.isdigit():
            return [word]
        # Joining may bring letters together that are read as one (r n).
        folding = self.rules.folding
        return list(dict.fromkeys(squeezed(folding.unify(word)) + squeezed(folding.unify(folding.unleet(word)))))

    def long_words(self) -> Iterator[str]:
        """The words to search for a term: each token, tokens written without a space, and words written letter by letter."""
        parted, tokens, hidden = self.parted, self.tokens, self.hidden
        yield from (token for i, token in enumerate(tokens) if i not in hidden) if hidden else tokens
        yield from self._runs([i for i in range(1, len(tokens)) if not parted[i]])
        single = [i for i, token in enumerate(tokens) if len(token) == 1]
        yield from self._runs([i for before, i in pairwise(single) if i == before + 1])

    def _runs(self, joined: Iterable[int]) -> Iterator[str]:
        """Join tokens into words: each of `joined` with the token before it."""
        run: list[str] = []
        last = -1
        for i in joined:
            if i in self.hidden or i - 1 in self.hidden:
                continue
            if i != last + 1 or not run:
                if run:
                    yield "".join(run)
                run = [self.tokens[i - 1]]
            run.append(self.tokens[i])
            last = i
        if run:
            yield "".join(run)

    # --- numbers

    def numbers(self, code: str) -> Mapping[int, Number]:
        """A language's numbers, by the token where they begin: value, and the token after."""
        code = code if code in self._number_words else ""  # no number words of this language: digits only
        if code not in self._numbers:
            self._numbers[code] = self._lowered(self._find_numbers(code))
        return self._numbers[code]

    @cached_property
    def _numbers(self) -> dict[str, dict[int, Number]]:
        return {}

    @cached_property
    def _number_words(self) -> dict[str, dict[int, Number]]:
        """Language → token → value and end of the shortest number word there ("eight y.o." is not eighty)."""
        found: defaultdict[str, dict[int, Number]] = defaultdict(dict)
        for i, spelled in enumerate(self._spelled):
            for form, end in spelled:
                for code, value in self.rules.number_words.get(form, ()):
                    known = found[code].get(i)
                    if known is None or (end, value) < (known[1], known[0]):
                        found[code][i] = value, end
        return found

    @cached_property
    def _digits(self) -> dict[int, Number]:
        return {i: self._digits_at(i) for i, token in enumerate(self.tokens) if i not in self.hidden and token.isdigit()}

    def _find_numbers(self, code: str) -> dict[int, Number]:
        words, digits = self._number_words.get(code, {}), self._digits
        found: dict[int, Number] = {}
        done = 0
        for i in sorted({*words, *digits}):
            if i < done:
                continue
            run: list[tuple[int, int, int]] = []  # begins, value, ends
            adds, j = False, i
            while (atom := digits.get(j) if not run else None) or (atom := words.get(j)):
                value, end = atom
                ten = self.end_of(f"{code}.tens", j) is not None
                if run and 2 <= run[-1][1] <= 9 and self.end_of(f"{code}.times", j) is not None:
                    run[-1] = run[-1][0], run[-1][1] * 10, end  # two tens
                    adds, j = True, end
                    continue
                if ten and run and not adds:
                    break  # "a sixteen" in languages that say "one ten six" is no seventeen
                adds |= not self.tokens[j].isdigit() and (value >= 20 or ten or self.end_of(f"{code}.teens", j) is not None)
                run.append((j, value, end))
                link = self.end_of(f"{code}.and", end) if adds else None  # twenty and one
                j = link if link is not None and link in words else end
            if len(run) > 1 and adds:
                found[i] = sum(value for _, value, _ in run), run[-1][2]
            else:
                found.update({begins: (value, ends) for begins, value, ends in run})
            done = run[-1][2]
        return found

    def _lowered(self, found: dict[int, Number]) -> dict[int, Number]:
        """A number after a dash is the end of a range, and counts as its lower end (15-20); after a minus sign or a slash it may be part
        of a calculation (40 minus 25, 34/2).
        """
        before = {end: value for value, end in found.values()}
        for i, (value, end) in found.items():
            gap, first = self.gaps[i].strip(), before.get(i)
            if gap and first is not None:
                less = value
                if DASHES.issuperset(gap):
                    less = first - value if gap == MINUS and first > value else first
                elif self.gaps[i] == "/" and first < value:
                    less = first  # 17/18
                elif STROKES.issuperset(gap) and first >= 2 * value > 0:
                    less = first // value
                found[i] = min(value, less), end
        return found

    def _digits_at(self, i: int) -> Number:
        """A number in digits, at most 9,999: with its thousands (1,000), without its decimals (18.5), or split (1 7)."""
        tokens, hidden, first = self.tokens, self.hidden, self.tokens[i]
        value, end = _int(first), i + 1
        while end < len(tokens) and end not in hidden and tokens[end].isdigit():
            gap, token = self.gaps[end], tokens[end]
            if gap in (",", ".", "'") and len(token) == 3:
                value = 9999
                if end > i + _PIECES:
                    break
            elif end == i + 1 and gap == "." and len(token) == 1:
                pass
            elif end == i + 1 and gap and gap.isspace() and len(first) == len(token) == 1:
                value = value * 10 + int(token)
            else:
                break
            end += 1
        return value, end

    @cached_property
    def strange_numbers(self) -> dict[int, Number]:
        """The number words of every language: at each token the longest, of equally long ones the smallest; none inside a longer one."""
        found: dict[int, Number] = {}
        within: set[int] = set()
        for code in self._number_words:
            for i, (value, end) in self.numbers(code).items():
                if not self.tokens[i].isdigit():
                    known = found.get(i, (0, 0))
                    found[i] = min((value, end), known, key=lambda number: (-number[1], number[0]))
                    within.update(range(i + 1, end))
        return {i: number for i, number in found.items() if i not in within}

    @cached_property
    def _roman(self) -> dict[int, Number]:
        roman = self.rules.roman
        return {i: (roman[token], i + 1) for i, token in enumerate(self.tokens) if token in roman and i not in self.hidden}

    def number_at(self, pattern: Pattern, item: str, i: int) -> Number | None:
        """The number at token i that matches this item of the pattern: value, and the token after. None if there is none."""
        if item == "M":
            return self.numbers(pattern.language).get(i)
        if item in "YZ":
            return self._year(pattern.language, item, i)
        if item == "X" and i in self._covered(pattern.language):
            return None
        numbers = self._roman if item == "R" else self.strange_numbers if item == "X" else self.numbers(pattern.language)
        number = numbers.get(i)
        return number if number is not None and pattern.above < number[0] < pattern.below else None

    def _covered(self, code: str) -> frozenset[int]:
        """The tokens of a language's own numbers: another language may know only a part of one."""
        if code not in self._covers:
            self._covers[code] = frozenset(i for begins, (_, end) in self.numbers(code).items() for i in range(begins, end))
        return self._covers[code]

    @cached_property
    def _covers(self) -> dict[str, frozenset[int]]:
        return {}

    def _year(self, code: str, item: str, i: int) -> Number | None:
        """A year (2012, or '12). `Y`: someone born in it may not be of age yet; `Z`: this year or one of the next 15."""
        number = self.numbers(code).get(i)
        if number is None:
            return None
        year, end = number
        now = self.rules.year()
        if year < 100 and "'" in self.gaps[i].replace("\u2019", "'").replace("\u2018", "'"):
            year += now - now % 100
        years = year, year + self.rules.calendars.get(code, 0)
        first, last = (now - 18, now + 1) if item == "Y" else (now, now + 15)
        return (year, end) if any(first <= one <= last for one in years) else None

    # --- where a pattern may begin

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """For each meaning, the tokens at which a word with it begins."""
        places: dict[str, list[int]] = {}
        for i, found in enumerate(self.words):
            for meaning, _ in found:
                at = places.setdefault(meaning, [])
                if not at or at[-1] != i:
                    at.append(i)
        return places

    def starts(self, pattern: Pattern) -> Iterable[int]:
        """The tokens at which the pattern may begin. For one that begins with a number, only numbers that end right before a word of the
        pattern's next class, if it has one: numbers are common, such words are not.
        """
        first = pattern.items[0]
        if first not in Pattern.NUMBERS:
            return self.places.get(first, ())
        ends = self._ends(first, pattern.language)
        if pattern.second is None:
            return [i for at in ends.values() for i in at]
        return [i for place in self.places.get(pattern.second, ()) for i in ends.get(place, ())]

    def _ends(self, item: str, code: str) -> Mapping[int, list[int]]:
        key = item if item in "XR" else (code if code in self._number_words else "")
        if key not in self._ended:
            numbers = self._roman if key == "R" else self.strange_numbers if key == "X" else self.numbers(code)
            ends: defaultdict[int, list[int]] = defaultdict(list)
            for i, (_, end) in numbers.items():
                ends[end].append(i)
            self._ended[key] = ends
        return self._ended[key]

    @cached_property
    def _ended(self) -> dict[str, Mapping[int, list[int]]]:
        return {}

    def end_of(self, meaning: str, i: int) -> int | None:
        """The token after a word of this meaning that begins at token i; None if there is none."""
        return next((end for m, end in self.words[i] if m == meaning), None) if i < len(self.tokens) else None


def _int(digits: str) -> int:
    return min(int(digits[-4:]), 9999) if len(digits.lstrip("0")) <= 4 else 9999


def _fewer(tokens: list[str], gaps: list[str]) -> tuple[list[str], list[str]]:
    """Drop single letters after three equal ones (k k k k k i d): they add nothing, and each would have to be read."""
    if sum(len(token) == 1 for token in tokens) < 4:
        return tokens, gaps
    kept = [i for i, token in enumerate(tokens) if i < 3 or len(token) > 1 or token.isdigit() or tokens[i - 3 : i] != [token] * 3]
    return [tokens[i] for i in kept], [*(gaps[i] for i in kept), gaps[-1]]
