"""Folding: one spelling for all the ways in which a word can be made to look like itself.

The steps, in order (another implementation must keep it):
1. `replace`: a character by a text (an emoji of a child by the word); `lookalikes`: by the Latin letter that it looks like. Now and
   after each of the next steps, since both may change a character into one that looks otherwise (Greek Ν is an n, ν a v).
2. NFKD; marks, invisible and control characters are dropped, but the two sound marks of kana are kept; every decimal digit becomes
   an ASCII one; `lookalikes`.
3. NFC, full case folding, `lookalikes`.
4. `same`: strings that are read alike become one (`l` and `i`; `rn` and `m`).

Terms are folded by the same steps, so a Russian term and a Russian prompt still meet, half in Latin letters as both then are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

# Cn, Co and Cs are unassigned, private and surrogates: no reader sees a letter in them.
_DROPPED = frozenset({"Mn", "Me", "Cf", "Cc", "Cn", "Co", "Cs"})
_KEPT = frozenset("\u3099\u309a\t\n\r\v\f\x85")


@dataclass(frozen=True)
class Folding:
    """The tables of `terms/policy.toml`."""

    replace: Mapping[str, str]
    ignored: frozenset[str]  # letters by their category that show nothing, like the Hangul filler
    lookalikes: Mapping[str, str]
    same: Mapping[str, str]
    leet: Mapping[str, str]

    def fold(self, text: str) -> str:
        text = unicodedata.normalize("NFKD", "".join(self.replace.get(c) or self.lookalikes.get(c, c) for c in text))
        text = unicodedata.normalize("NFC", "".join(self._fold_char(c) for c in text)).casefold()
        return self.unify("".join(self.lookalikes.get(c, c) for c in text))

    def _fold_char(self, char: str) -> str:
        if char in self.ignored or (unicodedata.category(char) in _DROPPED and char not in _KEPT):
            return ""
        digit = unicodedata.decimal(char, None)
        return self.lookalikes.get(char, char) if digit is None else str(digit)

    def unify(self, text: str) -> str:
        for said, read in self.same.items():
            text = text.replace(said, read)
        return text

    def unleet(self, word: str) -> str:
        """Digits and symbols as the letters that they stand for (t33n), in a word that is folded already."""
        return "".join(self.leet.get(c, c) for c in word)


def with_marks(text: str) -> str:
    """The other spelling, for the few words that only an accent tells from a name: accents stay."""
    return unicodedata.normalize("NFKC", text).casefold()


def squeezed(word: str) -> set[str]:
    """`word`, and it with every letter that comes three times or more on end written twice and once (teeeen, kiiiid)."""
    runs = [(char, len(list(same))) for char, same in groupby(word)]
    if all(n < 3 for _, n in runs):
        return {word}
    return {word, *("".join(c * (n if n < 3 else keep) for c, n in runs) for keep in (1, 2))}
