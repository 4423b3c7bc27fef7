"""Folding: map every look-alike spelling of a word to one spelling.

The steps, in order (supabase/functions/_shared/screen/fold.ts has the same):
0. Surrogate pairs become characters. Then `unknown` characters are dropped: those not assigned in Unicode 14, so that every version of
   Python and of JavaScript reads the same text (later versions normalise an assigned character the same way).
1. `replace`: a character by a text (an emoji of a child by the word); `lookalikes`: by the Latin letter that it looks like. The
   latter is repeated after each of the next two steps, as they may change what a character looks like (Greek Ν is an n, ν a v).
2. NFKD; marks, invisible and control characters are dropped, but the two sound marks of kana are kept; every digit, and every number
   that is one character (⓱), becomes ASCII digits; `lookalikes`.
3. NFC, full case folding, `lookalikes`.
4. `same`: strings that look alike become one (`l` and `i`; `rn` and `m`).

Terms are folded by the same steps, so a Russian term still matches a Russian prompt, though both are then half in Latin letters.
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
    """A lazy table for `str.translate`: a character's replacement is computed on first use. At most one entry per character."""

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
    ignored: frozenset[str]  # invisible characters of category letter, such as the Hangul filler
    lookalikes: Mapping[str, str]
    same: Mapping[str, str]
    leet: Mapping[str, str]
    turned: Mapping[str, str]  # letters upside down

    def known(self, text: str) -> str:
        """Step 0. Raises AttributeError if `text` is not a str."""
        return text if text.isascii() else whole(text).translate(self._known)

    def fold(self, text: str) -> str:
        """Steps 1 to 4. `text` is the result of `known`."""
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
        """The upside-down parts of a text (words with at least a quarter of such characters, and two words on either side), turned the
        right way up, from the end. Usually empty.
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
        """Replace digits and symbols by the letters that they stand for (t33n), in a folded word."""
        return word.translate(self._letters)


def whole(text: str) -> str:
    """Join each surrogate pair into its character: JavaScript cannot tell the two apart."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def in_digits(char: str) -> str:
    """ASCII digits for a digit or a single-character number; else empty. Not for letters, such as the Chinese numerals."""
    if (digit := unicodedata.digit(char, None)) is not None:
        return str(digit)
    value = unicodedata.numeric(char, 0.5) if unicodedata.category(char) == "No" else 0.5
    return str(int(value)) if value == int(value) else ""


def drops(char: str, ignored: frozenset[str]) -> bool:
    """Return True if folding drops the character: a mark, an invisible or control character, or one of `ignored`."""
    return char in ignored or (unicodedata.category(char) in _DROPPED and char not in _KEPT)


def with_marks(text: str) -> str:
    """A folding that keeps accents, for the few words that only an accent distinguishes from a name. `text` is the result of `known`."""
    return unicodedata.normalize("NFKC", text).casefold()


_LONG = re.compile(r"(.)\1\1+", re.DOTALL)
MANY_VS = "w+v|ww+"  # repeated v: `same` has turned each two into a w


def squeezed(word: str) -> list[str]:
    """`word`, and its forms with every letter that is repeated three times or more reduced to one and to two (teeeen, kiiiid)."""
    fewer = re.sub(MANY_VS, "v", word) if "w" in word else word
    words = [word] if fewer == word else [word, fewer]
    return [*words, _LONG.sub(r"\1", word), _LONG.sub(r"\1\1", word)] if _LONG.search(word) else words
