"""Classify the sentences of a chat model's answer: description, or talk (about the request, about the text, or to the user).

`data/answers.toml` has the signs and their weights; `data/enhance.toml` the instructions, which an answer may repeat.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

SHINGLE = 7  # words in a row shared with the instructions that mark a sentence as their echo


@dataclass(frozen=True)
class Style:
    """One table of `data/enhance.toml`."""

    system: str
    max_new_tokens: int
    min_chars: int
    max_chars: int
    language: str  # requested by `system` and required of the answer


@cache
def styles() -> dict[str, Style]:
    text = resources.files("executors.data").joinpath("enhance.toml").read_text(encoding="utf-8")
    return {name: Style(**table) for name, table in tomllib.loads(text).items()}


@cache
def data() -> dict[str, Any]:
    """`data/answers.toml`."""
    return tomllib.loads(resources.files("executors.data").joinpath("answers.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class _Sign:
    weight: int
    about: bool
    refusal: bool
    pattern: re.Pattern[str]


@cache
def _signs() -> tuple[_Sign, ...]:
    return tuple(_Sign(s["weight"], s.get("about", False), s.get("refusal", False), _pattern(s)) for s in data()["sign"])


def _pattern(sign: dict[str, Any]) -> re.Pattern[str]:
    ways = [rf"\b(?:{'|'.join(sign['words'])})\b"] if "words" in sign else []
    ways += [rf"^\W*(?:{'|'.join(sign['begin'])})"] if "begin" in sign else []
    return re.compile("|".join([*ways, *([sign["pattern"]] if "pattern" in sign else [])]), re.IGNORECASE)


# -- sentences ----------------------------------------------------------------------------------------------------------------------------

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"”’»)\]*]*\s+(?=\S)|(?<=[。！？])")
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|(?<!\w)‘[^’]*’|(?<!\w)'[^']*'(?!\w)|「[^」]*」")


def sentences(text: str) -> list[str]:
    """Split into sentences, each with its closing punctuation; joined by spaces they give the text again."""
    ends = [0, *(m.end() for m in _SENTENCE_END.finditer(text)), len(text)]
    return [part for part in (text[a:b].strip() for a, b in pairwise(ends)) if part]


def talk(sentence: str) -> tuple[bool, bool]:
    """Return whether a sentence is talk, and whether it is a refusal."""
    said = _QUOTED.sub(" ", sentence)
    found = [sign for sign in _signs() if sign.pattern.search(said)]
    scored = sum(sign.weight for sign in found) >= data()["talk"] and any(sign.about for sign in found)
    is_talk = scored or echoes(said) or not any(map(str.isalpha, sentence))
    return is_talk, is_talk and any(sign.refusal for sign in found)


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())


@cache
def _instructions() -> frozenset[tuple[str, ...]]:
    runs = (words_of(style.system) for style in styles().values())
    return frozenset(tuple(words[i : i + SHINGLE]) for words in runs for i in range(len(words) - SHINGLE + 1))


def echoes(sentence: str) -> bool:
    words = words_of(sentence)
    return any(tuple(words[i : i + SHINGLE]) in _instructions() for i in range(len(words) - SHINGLE + 1))
