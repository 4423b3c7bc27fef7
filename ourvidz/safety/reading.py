"""How the lexical screen reads a folded text: tokens, the known words that begin at each, and the numbers that they make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from ourvidz.safety.fold import squeezed
from ourvidz.safety.rules import Rules

NUMERALS = "〇零一二三四五六七八九十百千两兩"
_SIGNS = "\u3005-\u3006\u3040-\u30fa\u30fc-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_TOKEN = re.compile(rf"[{NUMERALS}]+|[{_SIGNS}]|[^\W\d_{_SIGNS}{NUMERALS}]+|\d+")
_SIGN = re.compile(f"[{_SIGNS}]")
_PIECES = 24  # tokens that one word may be cut into


def is_sign(char: str) -> bool:
    """Of Chinese and Japanese, which write no spaces: a token by itself."""
    return bool(_SIGN.fullmatch(char)) and char not in NUMERALS


def readings(rules: Rules, folded: str) -> list[str]:
    """The text as it stands; with the digits and symbols inside words as letters (t33n); and without those at a word's ends
    (t33n18). Numbers stay numbers: a word has a letter.
    """
    symbols = "".join(c for c in rules.folding.leet if not c.isdigit())
    disguised = re.compile(rf"[\w{re.escape(symbols)}]+")

    def read(bare: bool) -> str:
        def letters(chunk: re.Match[str]) -> str:
            word = chunk[0].strip(symbols + "0123456789") if bare else chunk[0].rstrip(rules.closing)
            # A bare word of letters alone is in the first reading; without its number there could be another age (1 8yo).
            return rules.folding.unleet(word) if any(c.isalpha() for c in word) and not (bare and word.isalpha()) else chunk[0]

        return disguised.sub(letters, folded)

    return list(dict.fromkeys((folded, read(bare=False), read(bare=True))))


@dataclass
class View:
    """One reading of a text, in tokens. A `plain` one puts no pieces together and sees no disguise: what is to excuse a word must be
    written as it is listed.
    """

    rules: Rules
    text: str
    plain: bool = False
    hidden: set[int] = field(default_factory=set)  # tokens of harmless sequences: nothing is read in them, or across them

    def __post_init__(self) -> None:
        found = list(_TOKEN.finditer(self.text))
        self.tokens = [m[0] for m in found]
        starts, ends = [m.start() for m in found], [m.end() for m in found]
        # gaps[i] lies before token i; the last one ends the text
        self.gaps = [self.text[a:b] for a, b in zip([0, *ends], [*starts, len(self.text)], strict=True)]
        self.parted = [any(c.isspace() for c in gap) for gap in self.gaps]

    @cached_property
    def words(self) -> list[list[tuple[str, int]]]:
        """Of each token, the known words that begin with it: what they mean, and the token after them."""
        return [[(m, end) for form, end in spelled for m in self.rules.meanings.get(form, ())] for spelled in self._spelled]

    @cached_property
    def _spelled(self) -> list[list[tuple[str, int]]]:
        return [list(self._spellings(i)) for i in range(len(self.tokens))]

    def _spellings(self, i: int) -> Iterator[tuple[str, int]]:
        """The token by itself and put together with those that follow.

        Whole words of a sentence must not make a new one by chance: of pieces that spaces part, at most one may have over two
        letters, unless together they have six; and of those `apart` none is made. What no space parts is one piece ("chi-ld").
        """
        joined, written, piece, long = "", "", 0, 0
        for j in range(i, min(i + _PIECES, len(self.tokens))):
            if j in self.hidden or (j > i and len(joined) > self.rules.longest):
                return
            if self.plain and j > i and not _SIGN.fullmatch(self.tokens[j]):
                return
            if j > i and self.parted[j] and self._number_meets_word(joined, j):
                return
            joined += self.tokens[j]
            written += self.gaps[j] * (j > i) + self.tokens[j]
            before = 0 if j == i or self.parted[j] else piece
            piece = before + len(self.tokens[j])
            long += piece > 2 >= before
            forms = self.forms(joined)
            if j == i or ((long <= 1 or len(joined) >= 6) and written not in self.rules.apart):
                yield from ((form, j + 1) for form in forms)
            if not self._goes_on(joined, forms):
                return

    def _number_meets_word(self, joined: str, j: int) -> bool:
        """Whether a space parts a number from a word ("de 2"), and it is no word in single letters (t 3 3 n)."""
        token = self.tokens[j]
        return (joined.isdigit() or token.isdigit()) and max(len(token), len(self.tokens[j - 1])) > 1

    def _goes_on(self, joined: str, forms: list[str]) -> bool:
        """Whether a known word begins like this. But for the last letter: with the next one it may be read as another (r n)."""
        beginnings = self.rules.beginnings
        return any(form in beginnings or form[:-1] in beginnings for form in (*forms, self.rules.folding.unleet(joined)))

    def forms(self, word: str) -> list[str]:
        """The spellings of one word: its digits as letters, its repeated letters fewer. In an order that is no chance: the first known
        one names the rule.
        """
        if self.plain or word.isdigit():
            return [word]
        # Put together, letters may meet that are read as one (r n).
        folding = self.rules.folding
        return list(dict.fromkeys(squeezed(folding.unify(word)) + squeezed(folding.unify(folding.unleet(word)))))

    def long_words(self) -> Iterator[str]:
        """What may hold a term: each token, what is written without a space, and what is written letter by letter."""
        yield from (token for i, token in enumerate(self.tokens) if i not in self.hidden)
        yield from self._runs([not parted for parted in self.parted])
        single = [len(token) == 1 for token in self.tokens]
        yield from self._runs([i > 0 and single[i] and single[i - 1] for i in range(len(single))])

    def _runs(self, goes_on: list[bool]) -> Iterator[str]:
        run: list[str] = []
        for i, token in enumerate(self.tokens):
            if i in self.hidden or not goes_on[i]:
                if len(run) > 1:
                    yield "".join(run)
                run = []
            if i not in self.hidden:
                run.append(token)
        if len(run) > 1:
            yield "".join(run)

    @cached_property
    def numbers(self) -> dict[str, dict[int, tuple[int, int]]]:
        """Of each language, the numbers by the token where they begin: value, and the token after."""
        return {code: self._numbers(code) for code in self.rules.numbers}

    def _numbers(self, code: str) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        i = 0
        while i < len(self.tokens):
            run: list[tuple[int, int, int]] = []  # begins, value, ends
            adds, j = False, i
            while (atom := self._digits(j) if not run else None) or (atom := self._number_word(code, j)):
                value, end = atom
                ten = self.end_of(f"{code}.tens", j) is not None
                if ten and run and not adds:
                    break  # "a sixteen" in languages that say "one ten six" is no seventeen
                adds |= not self.tokens[j].isdigit() and (value >= 20 or ten or self.end_of(f"{code}.teens", j) is not None)
                run.append((j, value, end))
                link = self.end_of(f"{code}.and", end) if adds else None  # twenty and one
                j = link if link is not None and self._number_word(code, link) else end
            if len(run) > 1 and adds:
                found[i] = sum(value for _, value, _ in run), run[-1][2]
            else:
                found.update({begins: (value, ends) for begins, value, ends in run})
            i = run[-1][2] if run else i + 1
        return found

    def _digits(self, i: int) -> tuple[int, int] | None:
        """A number in digits, at most 9,999: with its thousands (1,000), without its decimals (18.5), or parted (1 7)."""
        if i >= len(self.tokens) or i in self.hidden or not self.tokens[i].isdigit():
            return None
        value, end = _int(self.tokens[i]), i + 1
        while end < len(self.tokens) and self.tokens[end].isdigit() and end not in self.hidden:
            gap, token = self.gaps[end], self.tokens[end]
            if gap in (",", ".", "'") and len(token) == 3:
                value = 9999
            elif end == i + 1 and gap == "." and len(token) == 1:
                pass
            elif end == i + 1 and gap and gap.isspace() and len(self.tokens[i]) == len(token) == 1:
                value = value * 10 + int(token)
            else:
                break
            end += 1
        return value, end

    def _number_word(self, code: str, i: int) -> tuple[int, int] | None:
        if i >= len(self.tokens):
            return None
        words = self.rules.numbers[code]
        known = [(end, words[form]) for form, end in self._spelled[i] if form in words]
        if not known:
            return None
        end, value = min(known)  # the shortest: "eight y.o." is not eighty
        return value, end

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for i, found in enumerate(self.words):
            for meaning in {meaning for meaning, _ in found}:
                places.setdefault(meaning, []).append(i)
        return places

    def starts(self, code: str, item: str) -> Iterable[int]:
        """The tokens at which a pattern may begin whose first item is this."""
        return self.numbers[code] if item in "NM" else self._places.get(item, ())

    def end_of(self, meaning: str, i: int) -> int | None:
        """The token after a word of this meaning that begins at token i; None if there is none."""
        return next((end for m, end in self.words[i] if m == meaning), None) if i < len(self.tokens) else None


def _int(digits: str) -> int:
    return min(int(digits[-4:]), 9999) if len(digits.lstrip("0")) <= 4 else 9999
