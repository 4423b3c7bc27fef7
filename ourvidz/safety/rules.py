"""Reads `terms/*.toml` into tables for the lexical screen. What the files hold is said in `terms/__init__.py`.

Everything here raises plain exceptions on data that is not right; the screen turns any of them into `ScreenUnavailable`.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from ourvidz.safety.fold import Folding, squeezed, with_marks

TERMS = Path(__file__).with_name("terms")

_KEYS = {
    "language",
    "prefixes",
    "suffixes",
    "words",
    "inside",
    "stems",
    "exact",
    "numbers",
    "classes",
    "patterns",
    "harmless",
    "apart",
    "complete",
}


@dataclass(frozen=True)
class Pattern:
    """One sequence, without its optional items: they are written out as patterns of their own. `N` is over `above`, under `below`."""

    rule_id: str
    language: str
    items: tuple[str, ...]
    below: int = 18
    above: int = -1


@dataclass(frozen=True)
class Rules:
    """All the tables. Words are folded. A meaning is a rule id for a term, else `language.class`."""

    policy_version: str
    category: str
    folding: Folding
    wild: str
    closing: str
    meanings: Mapping[str, tuple[str, ...]]  # of words and class words, sorted: which rule is named must not be chance
    numbers: Mapping[str, Mapping[str, int]]  # language → word → value
    inside: Mapping[str, str]  # what a word may hold → rule id
    stems: Mapping[str, str]
    exact: Mapping[str, str]
    apart: frozenset[str]  # words in a row that are not put together
    starred: Mapping[str, str]  # term with one letter as a star → rule id
    patterns: tuple[Pattern, ...]
    harmless: tuple[Pattern, ...]
    longest: int  # characters in the longest word

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """All that a word or a number word may begin with."""
        words = [*self.meanings, *(word for words in self.numbers.values() for word in words)]
        return frozenset(word[:size] for word in words for size in range(len(word) + 1))

    @cached_property
    def inside_sizes(self) -> list[int]:
        return sorted({len(word) for word in self.inside})

    @cached_property
    def stem_sizes(self) -> list[int]:
        return sorted({len(word) for word in self.stems})


def load_rules(folder: Path) -> Rules:
    """Raises OSError, ValueError, KeyError, TypeError … for data that is missing or wrong; see the module."""
    sources = {path.name: path.read_bytes() for path in sorted(folder.glob("*.toml"))}
    shared = {name: sources.pop(name) for name in ("policy.toml", "unicode.toml")}
    policy, unicode = (tomllib.loads(source.decode()) for source in shared.values())
    if policy["end"] != {"complete": True} or unicode["complete"] is not True:
        raise ValueError("policy.toml or unicode.toml is not complete")
    if sorted(sources) != sorted(f"{code}.toml" for code in policy["languages"]):
        raise ValueError("the language files are not those that policy.toml names")
    digest = hashlib.sha256(b"".join([*shared.values(), *sources.values()])).hexdigest()[:8]
    files = [_checked(name, tomllib.loads(source.decode())) for name, source in sources.items()]

    folding = _folding(policy, unicode)
    fold = folding.fold
    meanings: defaultdict[str, set[str]] = defaultdict(set)
    tables: dict[str, dict[str, str]] = {"inside": {}, "stems": {}, "exact": {}}
    numbers: dict[str, dict[str, int]] = {}
    patterns, harmless = [], []
    for file in files:
        code = file["language"]
        for word in _words(file, "words"):
            for before, after in product(("", *file.get("prefixes", ())), ("", *file.get("suffixes", ()))):
                # Squeezed too: in a text that is (chiquillooo), the letters that belong to the word are lost with the others.
                for form in squeezed(fold(before + word + after)):
                    meanings[form].add(f"{code}/word")
        for kind, table in tables.items():
            table.update({(with_marks if kind == "exact" else fold)(w): f"{code}/{kind}" for w in _words(file, kind)})
        for name in file.get("classes", {}):
            for word in _words(file["classes"], name):
                meanings[fold(word)].add(f"{code}.{name}")
        numbers[code] = {fold(w): int(row.split()[0]) for row in file.get("numbers", ()) for w in row.split()[1:]}
        known = set(file.get("classes", {}))
        patterns += [p for row in file.get("patterns", ()) for p in _patterns(code, known, **row)]
        harmless += [p for items in file.get("harmless", ()) for p in _patterns(code, known, "harmless", items)]

    if not meanings or not patterns or "" in meanings.keys() | tables["inside"].keys() | tables["stems"].keys():
        raise ValueError("the terms are empty, or one of them folds to nothing")
    every = [*meanings, *tables["inside"], *(word for words in numbers.values() for word in words)]
    return Rules(
        policy_version=f"{policy['version']}+{digest}",
        category=policy["category"],
        folding=folding,
        wild=policy["wild"],
        closing=policy["closing"],
        meanings={word: tuple(sorted(means)) for word, means in meanings.items()},
        numbers=numbers,
        **tables,
        apart=frozenset(" ".join(map(fold, row.split())) for file in files for row in file.get("apart", ())),
        starred=_starred(meanings),
        patterns=tuple(patterns),
        harmless=tuple(harmless),
        longest=max(map(len, every)),
    )


def _starred(meanings: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Each term with one letter as a star (ch*ld) → its rule, of several the first by name."""
    forms: dict[str, str] = {}
    for word, means in meanings.items():
        if rules := [m for m in means if "/" in m]:
            for form in (f"{word[:i]}*{word[i + 1 :]}" for i in range(1, len(word) - 1)):
                forms[form] = min(forms.get(form, min(rules)), *rules)
    return forms


def _folding(policy: Mapping[str, Any], unicode: Mapping[str, Any]) -> Folding:
    unknown = "".join("-".join(f"\\U{int(end, 16):08X}" for end in ends.split("-")) for ends in unicode["unknown"].split())
    lookalikes: dict[str, str] = {}
    for letter, likes in policy["lookalikes"].items():
        for like in likes:
            if lookalikes.setdefault(like, letter) != letter:
                raise ValueError(f"a lookalike stands for two letters: U+{ord(like):04X}")
    return Folding(
        unknown=re.compile(f"[{unknown}]+"),
        replace=dict(policy["replace"]),
        ignored=frozenset(policy["ignored"]),
        lookalikes=lookalikes,
        same=dict(policy["same"]),
        leet=dict(policy["leet"]),
    )


def _checked(name: str, file: dict[str, Any]) -> dict[str, Any]:
    if file.get("complete") is not True:
        raise ValueError(f"{name} is not complete")
    if unknown := file.keys() - _KEYS:
        raise ValueError(f"{name}: unknown {sorted(unknown)}")
    if f"{file['language']}.toml" != name:
        raise ValueError(f"{name} says that it is {file['language']!r}")
    return file


def _words(table: Mapping[str, Any], key: str) -> list[str]:
    """A list of words. In a TOML file it may be a list, or one text with the words parted by spaces."""
    value = table.get(key, "")
    words = value.split() if isinstance(value, str) else list(value)
    if not all(isinstance(w, str) and w for w in words):
        raise TypeError(f"{key} must hold words")
    return words


def _patterns(language: str, known: set[str], id: str, match: str, below: int = 18, above: int = 0) -> Iterator[Pattern]:
    options = []
    for item in match.split():
        name = item.strip("!?")
        if name not in known | {"N", "M", "|", "-", "_"}:
            raise ValueError(f"{language}: pattern {id!r} names an unknown class {name!r}")
        full = item.rstrip("?").replace(name, name if name in "NM|-_" else f"{language}.{name}")
        options.append((full, None) if item.endswith("?") else (full,))
    for chosen in product(*options):
        yield Pattern(f"{language}/{id}", language, tuple(i for i in chosen if i is not None), below, above)
