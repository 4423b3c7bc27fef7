"""Build negative prompts by priority, and parse the weights people write into prompts.

Deliberately light: no model and no torch. Tokens are counted with CLIP's real vocabulary.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from executors.clip_bpe import WINDOW, clip_token_count, sdxl_token_count
from ourvidz.safety.negative import split_terms

__all__ = ["NegativePrompt", "build_negative", "clip_token_count", "is_weighted", "parse_weights", "sdxl_token_count", "unweighted"]

NEGATIVES = Path(__file__).parent / "data" / "negative_prompts.toml"
HEAVIEST = 2.0  # above it CLIP embeddings become meaningless (compel warns from 1.6)

_SIGNS = re.compile(r"(\++|-+)(?![\w(])")  # (text)++ and (text)--, but not (text)-word
_NUMBER = re.compile(r"((?>\d+(?:\.\d+)?|\.\d+))(?![\w(])")
_WORD_SIGNS = re.compile(r"(?<=[^\W\d])(\++|--+)(?=[\s,.;]|$)")  # word+, word--; but not a single hyphen, nor an age like 18+
_COLON_NUMBER = re.compile(r":\s*(\d+(?:\.\d+)?|\.\d+)\s*$")

Part = tuple[str, float]


@dataclass(frozen=True)
class NegativePrompt:
    text: str
    tokens: int | None  # by the family's counter, BOS and EOS included; None if not counted
    dropped: tuple[str, ...]  # terms that did not fit, in order
    cut: int  # how many of the user's terms were dropped or shortened
    version: int  # of the data


@dataclass(frozen=True)
class _Category:
    name: str
    terms: tuple[str, ...]
    take: dict[str, int]  # use → how many of the first terms it takes; absent means all
    after: tuple[str, ...]  # the uses in which its terms come after those of all other categories


@dataclass(frozen=True)
class _Data:
    version: int
    always: tuple[str, ...]
    critical: tuple[str, ...]
    categories: tuple[_Category, ...]  # by priority

    def ours(self, use: str) -> list[str]:
        """Return the first term of each category, then the second of each, and so on."""
        placed = [(use in c.after, n, term) for c in self.categories for n, term in enumerate(c.terms[: c.take.get(use, len(c.terms))])]
        return [term for *_, term in sorted(placed, key=lambda one: one[:2])]


@lru_cache(1)
def _data() -> _Data:
    raw = tomllib.loads(NEGATIVES.read_text(encoding="utf-8"))
    by_priority = sorted(raw["category"], key=lambda c: c["priority"])
    categories = (_Category(c["name"], tuple(c["terms"]), c.get("take", {}), tuple(c.get("after", ()))) for c in by_priority)
    return _Data(raw["version"], tuple(raw["always"]), tuple(raw["critical"]), tuple(categories))


def build_negative(
    family: str, output: Literal["image", "video"], user_negative: str | None = None, count: Callable[[str], int] | None = None
) -> NegativePrompt:
    """Build the negative prompt of one job: terms that exclude minors, critical terms, the user's terms, then the first term of each
    category by priority, the second of each, and so on (seed data; docs/decisions/0048).

    `count` gives a text's tokens with BOS and EOS. For sdxl it defaults to the greedier of its two CLIP tokenizers, and the result fits
    in one pass of 77 tokens: terms are dropped whole, lowest priority first. The first two kinds are never dropped. A user's text is kept
    whole if it fits beside them; else it is cut between its terms (a term too long by itself, between words): a negative prompt that
    spills into a second pass would change the picture's look at random, and weaken the first terms. For wan nothing is dropped unless
    `count` is given: UMT5 reads 512 tokens, and when its pipeline truncates a longer text, the last terms matter least.
    """
    data, use = _data(), f"{family}_{output}"
    if family == "sdxl":
        count = count or sdxl_token_count
    limit = {"sdxl": WINDOW, "wan": 512}[family]

    users = [t for t in split_terms(user_negative or "") if t.casefold() not in data.always]
    said = {bare.casefold() for term in users for t in unweighted(term).split(",") if (bare := t.strip(" ()[]{}"))}
    base = [*data.always, *(t for t in data.critical if t not in said)]
    kept, dropped, cut, seen = list(base), list[str](), 0, set(base)
    for n, term in enumerate([*users, *(t for t in data.ours(use) if t not in said)]):
        if term.casefold() in seen:
            continue
        seen.add(term.casefold())
        if count is None or count(", ".join([*kept, term])) <= limit:
            kept.append(term)
            continue
        cut += n < len(users)
        if count(", ".join([*base, term])) > limit and (shorter := _cut(term, kept, count, limit)):
            kept.append(shorter)
            term = term.removeprefix(shorter).strip()
        dropped.append(term)
    text = ", ".join(kept)
    return NegativePrompt(text, count(text) if count else None, tuple(dropped), cut, data.version)


def _cut(term: str, kept: Iterable[str], count: Callable[[str], int], limit: int) -> str:
    """Return the longest prefix of a term that fits, in whole words, or in characters if its script has no spaces; empty for a weighted
    term, whose brackets would be broken."""
    space = "" if len(term.split()) == 1 and not term.isascii() else " "
    parts = [] if is_weighted(term) else term.split() if space else list(term)
    over = bisect_left(range(1, len(parts) + 1), True, key=lambda n: count(", ".join([*kept, space.join(parts[:n])])) > limit)
    return space.join(parts[:over])


def parse_weights(text: str) -> list[Part]:
    """Parse a prompt into (text, weight) parts, from the two common notations: compel's `(a cat)1.3`, `(a cat)++`, `cat++`, `cat--`, and
    the web UIs' `(a cat:1.3)`. Nested weights multiply; they are clamped to 0…2. A backslash escapes a bracket.

    Brackets without a weight are kept, so that a prompt means the same whether it is long or short. Never raises: anything that is not a
    weight is text. compel's own parser is not used: one stray bracket makes it read every weight as text, and its `.and()` and `.swap()`
    would generate from another prompt than the one screened.
    """
    parts: list[Part] = []
    for piece, weight in _parse(text):
        weight = min(max(weight, 0.0), HEAVIEST)
        if parts and parts[-1][1] == weight:
            parts[-1] = (parts[-1][0] + piece, weight)
        elif piece:
            parts.append((piece, weight))
    return parts or [("", 1.0)]


def is_weighted(text: str) -> bool:
    return any(weight != 1.0 for _, weight in parse_weights(text))


def unweighted(text: str) -> str:
    """Return the words without weights, as used where weights do not apply (pooled embeddings)."""
    return "".join(piece for piece, _ in parse_weights(text))


def _signs(signs: str) -> float:
    return float((1.1 if signs[0] == "+" else 0.9) ** len(signs))  # compel's bases


def _brackets(text: str) -> dict[int, int]:
    """Position of each matched opening bracket → position of its closing one."""
    pairs, open_at, i = {}, [], 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == "(":
            open_at.append(i)
        elif text[i] == ")" and open_at:
            pairs[open_at.pop()] = i
        i += 1
    return pairs


def _parse(text: str) -> list[Part]:
    pairs = _brackets(text)
    out: list[Part] = []
    stack: list[tuple[int, float]] = []  # for each open weighted group: where it ends, and the weight outside it
    resume: dict[int, int] = {}  # end of a weighted group → where the text continues
    current, i, buffer = 1.0, 0, ""

    def flush() -> None:
        nonlocal buffer
        start = 0
        for m in _WORD_SIGNS.finditer(buffer):
            word = re.search(r"[\w'-]*\w$", buffer[start : m.start()])
            begin = start + word.start() if word else start
            out.extend([(buffer[start:begin], current), (buffer[begin : m.start()], current * _signs(m[1]))])
            start = m.end()
        out.append((buffer[start:], current))
        buffer = ""

    while i < len(text):
        if i in resume:
            flush()
            _, weight = stack.pop()
            current, i = weight, resume[i]
            continue
        c = text[i]
        if c == "\\" and text[i + 1 : i + 2] in tuple("()\\"):
            buffer += text[i + 1]
            i += 2
            continue
        if c == "(" and i in pairs and (group := _weight_of(text, i, pairs[i])):
            weight, inner_end, after = group
            flush()
            stack.append((inner_end, current))
            resume[inner_end] = after
            current *= weight
        else:
            buffer += c
        i += 1
    flush()
    return out


def _weight_of(text: str, start: int, end: int) -> tuple[float, int, int] | None:
    """For a bracket pair: its weight, where its words end, and where the text continues; None if it has no weight."""
    if m := _SIGNS.match(text, end + 1):
        return _signs(m[1]), end, m.end()
    if m := _NUMBER.match(text, end + 1):
        return float(m[1]), end, m.end()
    if m := _COLON_NUMBER.search(text, start + 1, end):
        return float(m[1]), m.start(), end + 1
    return None
