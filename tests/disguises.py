"""The lexical screen's terms and the ways to disguise a word, for the tests of both implementations (Python and edge)."""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Callable, Iterator

from ourvidz.safety.rules import TERMS

POLICY = tomllib.loads((TERMS / "policy.toml").read_text())
LANGUAGES = {code: tomllib.loads((TERMS / f"{code}.toml").read_text()) for code in POLICY["languages"]}


def listed(code: str, kind: str) -> list[str]:
    words = LANGUAGES[code].get(kind, "")
    return words.split() if isinstance(words, str) else words


def latin(word: str) -> bool:
    return all(c in "abcdefghijklmnopqrstuvwxyz" for c in unicodedata.normalize("NFKD", word) if unicodedata.category(c) != "Mn")


def leet(word: str) -> str:
    """Replace every vowel except a first letter: a word without any letter would be a number."""
    return word[0] + "".join({"a": "4", "e": "3", "i": "1", "o": "0"}.get(c, c) for c in word[1:])


def symbols(word: str) -> str:
    return word[0] + "".join({"a": "@", "i": "!", "s": "$"}.get(c, c) for c in word[1:-1]) + word[-1]  # a final "!" is punctuation


def lookalike(pick: int) -> Callable[[str], str]:
    return lambda word: "".join((POLICY["lookalikes"].get(c) or c)[min(pick, len(POLICY["lookalikes"].get(c) or c) - 1)] for c in word)


def fancy(start: int) -> Callable[[str], str]:
    return lambda word: "".join(chr(start + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in word)


DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "capitals": str.upper,
    "mixed case": lambda w: "".join(c.upper() if i % 2 else c for i, c in enumerate(w)),
    "spaces": " ".join,
    "wide spaces": "   ".join,
    "dots": ".".join,
    "hyphens": "-".join,
    "underscores": "_".join,
    "hearts": " ♥ ".join,
    "zero width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "joiners": "\u2060\ufeff".join,
    "fillers": "\u3164".join,
    "controls": "\x00".join,
    "variation selectors": "\ufe0f".join,
    "right to left": lambda w: f"\u202e{w}\u202c",
    "cut": lambda w: f"{w[:2]} {w[2:]}",
    "hyphenated": lambda w: f"{w[: len(w) // 2]}-{w[len(w) // 2 :]}",
    "in quotes": lambda w: f"“{w}”",
    "hashtag": lambda w: f"#{w}",
    "exclaimed": lambda w: f"{w}!!!",
    "with a number": lambda w: f"{w}18",
    "possessive": lambda w: f"{w}'s",
}
LATIN_DISGUISES: dict[str, Callable[[str], str]] = {
    "leet": leet,
    "symbols": symbols,
    "leet, spaces": lambda w: " ".join(leet(w)),
    "leet, a number": lambda w: leet(w[:-1]) + w[-1] + "18",  # 0 and 18 would read as 018
    "marks": "\u0336".join,
    "accents": lambda w: "".join(f"{c}\u0301" if c in "aeou" else c for c in w),
    "long": lambda w: w[0] * 5 + w[1:],
    "Cyrillic": lookalike(0),
    "other letters": lookalike(2),
    "more letters": lookalike(4),
    "small capitals": lookalike(6),
    "full width": fancy(0xFF41),
    "mathematical": fancy(0x1D4EA),
    "circled": fancy(0x24D0),
    "capitals in boxes": lambda w: "".join(chr(0x1F130 + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in w),
    "a star": lambda w: f"{w[:1]}*{w[2:]}",
    "rn for m": lambda w: w.replace("m", "rn"),
    "l for i": lambda w: w.replace("i", "l"),
    "i for l": lambda w: w.replace("l", "I"),
    "1 for l": lambda w: w[0] + w[1:].replace("l", "1"),
}


def disguised(code: str, first: int | None = None, share: int = 1) -> Iterator[tuple[str, str, str]]:
    """Yield (disguise, word, disguised word) for a language's words, or the first of them. With a `share` of 3 each word gets a third of
    the disguises, the next word the next third.
    """
    for i, word in enumerate(listed(code, "words")[:first]):
        for k, (name, disguise) in enumerate((DISGUISES | LATIN_DISGUISES if latin(word) else DISGUISES).items()):
            if (i + k) % share == 0:
                yield name, word, disguise(word)
