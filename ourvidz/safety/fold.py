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
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

_DROPPED = frozenset({"Mn", "Me", "Cf", "Cc"})
_KEPT = frozenset("\u3099\u309a\t\n\r\v\f\x85")


@dataclass(frozen=True)
class Folding:
    """The tables of `terms/policy.toml`."""

    unknown: re.Pattern[str]
    replace: Mapping[str, str]
    ignored: frozenset[str]  # letters by their category that show nothing, like the Hangul filler
    lookalikes: Mapping[str, str]
    same: Mapping[str, str]
    leet: Mapping[str, str]

    def known(self, text: str) -> str:
        """Step 0. Raises AttributeError for what is no text."""
        return self.unknown.sub("", whole(text))

    def fold(self, text: str) -> str:
        """`text` is `known`."""
        text = unicodedata.normalize("NFKD", "".join(self.replace.get(c) or self.lookalikes.get(c, c) for c in text))
        text = unicodedata.normalize("NFC", "".join(self._fold_char(c) for c in text)).casefold()
        return self.unify("".join(self.lookalikes.get(c, c) for c in text))

    def _fold_char(self, char: str) -> str:
        return "" if self.drops(char) else in_digits(char) or self.lookalikes.get(char, char)

    def drops(self, char: str) -> bool:
        return char in self.ignored or (unicodedata.category(char) in _DROPPED and char not in _KEPT)

    def unify(self, text: str) -> str:
        for said, read in self.same.items():
            text = text.replace(said, read)
        return text

    def unleet(self, word: str) -> str:
        """Digits and symbols as the letters that they stand for (t33n), in a word that is folded already."""
        return "".join(self.leet.get(c, c) for c in word)


def whole(text: str) -> str:
    """With each two surrogates that make a character as that character, which JavaScript could not tell apart."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def in_digits(char: str) -> str:
    """A digit, or a number in one character, in ASCII digits; else nothing. Not of letters, as the Chinese numerals are."""
    if (digit := unicodedata.digit(char, None)) is not None:
        return str(digit)
    value = unicodedata.numeric(char, 0.5) if unicodedata.category(char) == "No" else 0.5
    return str(int(value)) if value == int(value) else ""


def with_marks(text: str) -> str:
    """The other spelling, for the few words that only an accent tells from a name: accents stay. `text` is `known`."""
    return unicodedata.normalize("NFKC", text).casefold()


def squeezed(word: str) -> list[str]:
    """`word`, and it with every letter that comes three times or more on end written once and twice (teeeen, kiiiid)."""
    runs = [(char, len(list(same))) for char, same in groupby(word)]
    if all(n < 3 for _, n in runs):
        return [word]
    return [word, *("".join(c * (n if n < 3 else keep) for c, n in runs) for keep in (1, 2))]
