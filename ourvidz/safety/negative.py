"""Screening of negative prompts, and the part of them that a model reads.

A negative prompt steers away from its words. So it is screened in both directions: by the rules for every text, and for words that say that
somebody is of age, as steering away from these makes people look younger. Terms that keep minors out are allowed, but our own do the same:
they are removed, and the rest is screened and passed on.
"""

from __future__ import annotations

import tomllib
from functools import cache

from ourvidz.safety.lexical import LexicalScreen
from ourvidz.safety.rules import TERMS
from ourvidz.safety.screen import PromptScreen, ScreenUnavailable, Verdict
from state.canonical import plain

FOLDER = TERMS / "negative"


class NegativeScreen:
    """A `PromptScreen` for negative prompts, in canonical form (`without_kept_out`): asks `screen`, then `of_age`."""

    def __init__(self, screen: PromptScreen) -> None:
        self._screens = (screen, of_age())

    def check(self, text: str) -> Verdict:
        verdicts = []
        for screen in self._screens:
            verdicts.append(screen.check(text))
            if not verdicts[-1].allowed:
                break
        return verdicts[-1] if not verdicts[-1].allowed else verdicts[0]


@cache
def of_age() -> LexicalScreen:
    """The screen that refuses words that say that somebody is of age."""
    return LexicalScreen(FOLDER, base=TERMS)


@cache
def kept_out() -> frozenset[str]:
    """The terms that are removed from negative prompts. Raises `ScreenUnavailable`."""
    try:
        return frozenset(tomllib.loads((FOLDER / "policy.toml").read_text(encoding="utf-8"))["kept_out"])
    except (OSError, ValueError, KeyError) as error:
        raise ScreenUnavailable(f"the terms of negative prompts cannot be read ({type(error).__name__}); the job does not run") from None


def without_kept_out(text: str) -> str:
    """Remove the terms that keep minors out, weighted or not. Nothing else changes except white space at commas.

    Raises `ScreenUnavailable`.
    """
    known = kept_out()
    terms = split_terms(text)
    left = [term for term in terms if plain(term).lower() not in known]
    return text if len(left) == len(terms) else ", ".join(left)


def split_terms(text: str) -> list[str]:
    """Split at commas and line ends, with white space normalised; commas inside round brackets do not split."""
    terms, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth = max(0, depth + (c == "(") - (c == ")"))
        if (c == "," and depth == 0) or c == "\n":
            terms.append(text[start:i])
            start, depth = i + 1, 0
    return [t for t in (" ".join(t.split()) for t in [*terms, text[start:]]) if t]
