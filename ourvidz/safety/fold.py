"""Folding: one spelling for all the ways in which a word can be made to look like itself.

The steps, in order (supabase/functions/_shared/screen/fold.ts keeps it too):
0. Halves of a character that stand together become it. Then `unknown` characters are dropped: those that Unicode 14 gives to nobody, so
   that every version of Python and of JavaScript reads the same text (what a version knows, a later one normalises the same way).
1. `replace`: a character by a text (an emoji of a child by the word); `lookalikes`: by the Latin letter that it looks like. Now and
   after each of the next steps, since both may change a character into one that looks otherwise (Greek Ν is an n, ν a v).
2. NFKD; marks, invisible and control characters are dropped, but the two sound marks of kana are kept; every digit, and every number
   that is one character (⓱), becomes ASCII digits; `lookalikes`.
3. NFC, full case folding, `lookalikes`.
4. `same`: strings that are read alike become one (`l` and `i`; `rn` and `m`).

Terms are folded by the same steps, so a Russian term and a Russian prompt still meet, half in Latin letters as both then are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

_DROPPED = frozenset({"Mn", "Me", "Cf", "Cc"})
_KEPT = frozenset("\u3099\u309a\t\n\r\v\f\x85")


class _Table(dict[int, str]):
    """For `str.translate`: what each character becomes, worked out when it is first met. At most as many entries as characters."""

    def __init__(self, read: Callable[[str], str]) -> None:
        self._read = read

    def __missing__(self, code: int) -> str:
        self[code] = read = self._read(chr(code))
        return read


@dataclass(frozen=True)
class Folding:
    """The tables of `terms/policy.toml`."""

    unknown: re.Pattern[str]
    replace: Mapping[str, str]
    ignored: frozenset[str]  # letters by their category that show nothing, like the Hangul filler
    lookalikes: Mapping[str, str]
    same: Mapping[str, str]
    leet: Mapping[str, str]
    turned: Mapping[str, str]  # letters upside down

    def known(self, text: str) -> str:
        """Step 0. Raises AttributeError for what is not a text."""
        return text if text.isascii() else whole(text).translate(self._known)

    def fold(self, text: str) -> str:
        """`text` is `known`."""
        text = unicodedata.normalize("NFKD", text.translate(self._first))
        text = unicodedata.normalize("NFC", text.translate(self._second)).casefold()
        return self.unify(text.translate(self._last))

    @cached_property
    def _known(self) -> _Table:
        return _Table(lambda char: "" if self.unknown.match(char) else char)

    @cached_property
    def _first(self) -> _Table:
        return _Table(lambda char: self.replace.get(char) or self.lookalikes.get(char, char))

    @cached_property
    def _second(self) -> _Table:
        return _Table(self._fold_char)

    @cached_property
    def _last(self) -> _Table:
        return _Table(lambda char: self.lookalikes.get(char, char))

    @cached_property
    def _letters(self) -> dict[int, str]:
        return str.maketrans(dict(self.leet))

    def _fold_char(self, char: str) -> str:
        return "" if drops(char, self.ignored) else in_digits(char) or self.lookalikes.get(char, char)

    def unify(self, text: str) -> str:
        for said, read in self.same.items():
            text = text.replace(said, read)
        return text

    def upright(self, text: str) -> str:
        """What of a text is written upside down (a quarter of a word's characters, and two words on either side), as its reader turns it:
        from its end. Mostly empty.
        """
        if text.isascii() or self._turned_over.isdisjoint(text):
            return ""
        words = text.split()
        turned = [i for i, word in enumerate(words) if 4 * sum(char in self._turned_over for char in word) >= len(word)]
        near = sorted({k for i in turned for k in range(max(i - 2, 0), min(i + 3, len(words)))})
        return " ".join(words[i] for i in near)[::-1].translate(self._turning)

    @cached_property
    def _turned_over(self) -> frozenset[str]:
        return frozenset(char for char in self.turned if not char.isascii())

    @cached_property
    def _turning(self) -> dict[int, str]:
        return {ord(char): letter for char, letter in self.turned.items()}

    def unleet(self, word: str) -> str:
        """Digits and symbols as the letters that they stand for (t33n), in a word that is folded already."""
        return word.translate(self._letters)


def whole(text: str) -> str:
    """With each two surrogates that make a character as that character, which JavaScript could not tell apart."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def in_digits(char: str) -> str:
    """A digit, or a number in one character, in ASCII digits; else nothing. Not of letters, as the Chinese numerals are."""
    if (digit := unicodedata.digit(char, None)) is not None:
        return str(digit)
    value = unicodedata.numeric(char, 0.5) if unicodedata.category(char) == "No" else 0.5
    return str(int(value)) if value == int(value) else ""


def drops(char: str, ignored: frozenset[str]) -> bool:
    """Whether it shows nothing: a mark, an invisible or a control character, or one of `ignored`."""
    return char in ignored or (unicodedata.category(char) in _DROPPED and char not in _KEPT)


def with_marks(text: str) -> str:
    """The other spelling, for the few words that only an accent tells from a name: accents stay. `text` is `known`."""
    return unicodedata.normalize("NFKC", text).casefold()


_LONG = re.compile(r"(.)\1\1+", re.DOTALL)
MANY_VS = "w+v|ww+"  # of which `same` made each two a w


def squeezed(word: str) -> list[str]:
    """`word`, and it with every letter that comes three times or more on end written once and twice (teeeen, kiiiid)."""
    fewer = re.sub(MANY_VS, "v", word) if "w" in word else word
    words = [word] if fewer == word else [word, fewer]
    return [*words, _LONG.sub(r"\1", word), _LONG.sub(r"\1\1", word)] if _LONG.search(word) else words
