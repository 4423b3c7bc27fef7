"""Load `terms/*.toml` into tables for the lexical screen. The format is described in `terms/__init__.py`.

Invalid data raises plain exceptions here; the screen turns any of them into `ScreenUnavailable`.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

from ourvidz.safety.lookalikes import MANY_VS, Folding, squeezed, with_marks

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
    "calendar",
    "complete",
}


@dataclass(frozen=True)
class Pattern:
    """One sequence without optional items, which are expanded into patterns of their own. Numbers are over `above`, under `below`."""

    rule_id: str
    language: str
    items: tuple[str, ...]
    below: int = 18
    above: int = -1

    NUMBERS: ClassVar = frozenset("NMRXYZ")
    GAPS: ClassVar = frozenset("|-_")

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The classes that a text must have for the pattern to match."""
        return tuple(dict.fromkeys(item for item in self.items if item not in self.NUMBERS | self.GAPS and item[0] != "!"))

    @cached_property
    def second(self) -> str | None:
        """The class right after the pattern's first item, with nothing but gaps and negated items in between; else None."""
        for item in self.items[1:]:
            if item not in self.GAPS and item[0] != "!":
                return None if item in self.NUMBERS else item
        return None


@dataclass(frozen=True)
class Rules:
    """All the tables. Words are folded. A meaning is a rule id for a term, else `language.class`."""

    policy_version: str
    category: str
    folding: Folding
    wild: str
    closing: str
    meanings: Mapping[str, tuple[str, ...]]  # of words and class words; sorted, so that the rule that is named is deterministic
    numbers: Mapping[str, Mapping[str, int]]  # language → word → value
    roman: Mapping[str, int]
    calendars: Mapping[str, int]  # language → offset from a year of its own calendar to one of ours
    inside: Mapping[str, str]  # part of a word → rule id
    stems: Mapping[str, str]
    exact: Mapping[str, str]
    apart: frozenset[str]  # sequences of words that are not joined
    patterns: tuple[Pattern, ...]
    harmless: tuple[Pattern, ...]
    longest: int  # characters in the longest word
    unreadable: frozenset[str]  # characters that no table can read
    year: Callable[[], int] = field(default=lambda: datetime.now(UTC).year, compare=False)

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """All prefixes of words and number words."""
        return frozenset(word[:size] for word in self.known for size in range(len(word) + 1))

    @cached_property
    def together(self) -> frozenset[str]:
        """The `apart` sequences without their spaces."""
        return frozenset(row.replace(" ", "") for row in self.apart)

    def begins(self, form: str) -> bool:
        """Return True if a known word begins with `form`, whose last letter may merge with the next (r n) or be a repetition (eee)."""
        beginnings = self.beginnings
        if form in beginnings:
            return True
        last = form[-1:]
        return (last in self._half_read or form[-2:-1] == last) and form[:-1] in beginnings

    @cached_property
    def _half_read(self) -> frozenset[str]:
        return frozenset({*(said[0] for said in self.folding.same if len(said) > 1), "w"})

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset({*self.meanings, *self.number_words})

    @cached_property
    def number_words(self) -> Mapping[str, tuple[tuple[str, int], ...]]:
        """Word → the languages in which it is a number, with its value there."""
        found: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        for code, words in self.numbers.items():
            for word, value in words.items():
                found[word].append((code, value))
        return {word: tuple(values) for word, values in found.items()}

    @cached_property
    def starred(self) -> Mapping[str, str]:
        """Each term with one letter replaced by a star (ch*ld) → its rule; of several, the first by name."""
        forms: dict[str, str] = {}
        for word, means in self.meanings.items():
            if rules := [m for m in means if "/" in m]:
                for form in (f"{word[:i]}*{word[i + 1 :]}" for i in range(1, len(word) - 1)):
                    forms[form] = min(forms.get(form, min(rules)), *rules)
        return forms

    @cached_property
    def stars(self) -> re.Pattern[str]:
        return re.compile(rf"(?<![^\W\d_])[^\W\d_]+(?:[{re.escape(self.wild)}][^\W\d_]+)+")

    @cached_property
    def inside_sizes(self) -> list[int]:
        return sorted({len(word) for word in self.inside})

    @cached_property
    def stem_sizes(self) -> list[int]:
        return sorted({len(word) for word in self.stems})

    @cached_property
    def parts(self) -> re.Pattern[str]:
        """Finds a stem at the beginning of a line, or an `inside` term anywhere. A fast filter before the exact search."""
        return re.compile(f"\n(?:{_trie(self.stems)})|{_trie(self.inside)}")

    @cached_property
    def patterns_by_class(self) -> Mapping[str, tuple[int, ...]]:
        return _by_class(self.patterns, self.meanings)

    @cached_property
    def harmless_by_class(self) -> Mapping[str, tuple[int, ...]]:
        return _by_class(self.harmless, self.meanings)

    @cached_property
    def excuses(self) -> frozenset[str]:
        """A text without any of these words contains no harmless sequence."""
        return frozenset(word for word, means in self.meanings.items() if not self.harmless_by_class.keys().isdisjoint(means))

    @cached_property
    def excusing_signs(self) -> re.Pattern[str]:
        """Finds those of `excuses` that may be more than one token (not ASCII)."""
        return re.compile(_trie(word for word in self.excuses if not word.isascii()))

    @cached_property
    def symbols(self) -> str:
        return "".join(c for c in self.folding.leet if not c.isdigit())

    @cached_property
    def disguises(self) -> re.Pattern[str]:
        """Finds characters without which a text has only one reading."""
        return re.compile(f"[{re.escape(''.join(self.folding.leet))}{re.escape(self.closing)}0-9]")

    @cached_property
    def chunks(self) -> re.Pattern[str]:
        return re.compile(rf"[\w{re.escape(self.symbols)}]+")

    @cached_property
    def odd(self) -> re.Pattern[str]:
        """Finds what gives a word further spellings."""
        same = "|".join(map(re.escape, self.folding.same))
        return re.compile(rf"[{re.escape(''.join(self.folding.leet))}]|{same}|{MANY_VS}|(.)\1\1", re.DOTALL)


def _by_class(patterns: Iterable[Pattern], meanings: Mapping[str, Iterable[str]]) -> dict[str, tuple[int, ...]]:
    """Each pattern's index under the rarest class that it needs: the one whose shortest word is longest, then the one with fewest words."""
    sizes: defaultdict[str, list[int]] = defaultdict(list)
    for word, means in meanings.items():
        for meaning in means:
            sizes[meaning].append(len(word))
    found: defaultdict[str, list[int]] = defaultdict(list)
    for number, pattern in enumerate(patterns):
        found[min(pattern.needs, key=lambda name: (-min(sizes[name]), len(sizes[name]), name))].append(number)
    return {name: tuple(numbers) for name, numbers in found.items()}


def _trie(words: Iterable[str]) -> str:
    """A regular expression for any of the words in which no two alternatives begin alike, so it never backtracks."""
    branches: defaultdict[str, list[str]] = defaultdict(list)
    for word in words:
        branches[word[:1]].append(word[1:])
    if "" in branches:  # longer words contain this one too
        return ""
    return "(?:" + "|".join(re.escape(char) + _trie(rest) for char, rest in sorted(branches.items())) + ")"


@cache
def languages(folder: Path = TERMS) -> frozenset[str]:
    """The languages of the tables, by their ISO 639-1 codes."""
    return frozenset(tomllib.loads((folder / "policy.toml").read_text(encoding="utf-8"))["languages"])


@cache
def own_rules(folder: Path, base: Path | None = None) -> Rules:
    """`load_rules`, cached for the process: for tables that ship with the program and do not change while it runs."""
    return load_rules(folder, base)


def load_rules(folder: Path, base: Path | None = None) -> Rules:
    """Load the tables. Raises OSError, ValueError, KeyError, TypeError … for missing or invalid data. `base`: a folder of terms whose
    unicode.toml is used, and whose policy.toml supplies what `folder`'s does not override.
    """
    sources = {path.name: path.read_bytes() for path in sorted(folder.glob("*.toml"))}
    own = sources.pop("policy.toml") if base else b""
    shared = {name: (base / name).read_bytes() if base else sources.pop(name) for name in ("policy.toml", "unicode.toml")}
    policy, unicode = (tomllib.loads(source.decode()) for source in shared.values())
    policy |= tomllib.loads(own.decode())
    if policy["end"] != {"complete": True} or unicode["complete"] is not True:
        raise ValueError("policy.toml or unicode.toml is not complete")
    if sorted(sources) != sorted(f"{code}.toml" for code in policy["languages"]):
        raise ValueError("the language files are not those that policy.toml names")
    digest = hashlib.sha256(b"".join([own, *shared.values(), *sources.values()])).hexdigest()[:8]
    files = [_checked(name, tomllib.loads(source.decode())) for name, source in sources.items()]

    folding = _folding(policy, unicode)
    fold = cache(folding.fold)  # nine of ten calls repeat: single letters, and words in several lists
    meanings: defaultdict[str, set[str]] = defaultdict(set)
    tables: dict[str, dict[str, str]] = {"inside": {}, "stems": {}, "exact": {}}
    numbers: dict[str, dict[str, int]] = {}
    patterns, harmless = [], []
    for file in files:
        code = file["language"]
        for word in _words(file, "words"):
            for before, after in product(("", *file.get("prefixes", ())), ("", *file.get("suffixes", ()))):
                # Squeezed too: squeezing a text (chiquillooo) also removes repeated letters that belong to the word.
                for spelled in _spellings(fold, before + word + after):
                    for form in squeezed(spelled):
                        meanings[form].add(f"{code}/word")
        for kind, table in tables.items():
            spell = (lambda word: (with_marks(word),)) if kind == "exact" else partial(_spellings, fold)
            table.update({form: f"{code}/{kind}" for word in _words(file, kind) for form in spell(word)})
        for name in file.get("classes", {}):
            for word in _words(file["classes"], name):
                for form in _spellings(fold, word):
                    meanings[form].add(f"{code}.{name}")
        rows = [row.split() for row in file.get("numbers", ())]
        numbers[code] = {form: int(value) for value, *words in rows for word in words for form in _spellings(fold, word)}
        known = set(file.get("classes", {}))
        patterns += [p for row in file.get("patterns", ()) for p in _patterns(code, known, **row)]
        harmless += [p for items in file.get("harmless", ()) for p in _patterns(code, known, "harmless", items)]

    if not meanings or not patterns or "" in meanings.keys() | tables["inside"].keys() | tables["stems"].keys():
        raise ValueError("the terms are empty, or one of them folds to nothing")
    if any(word.isascii() for word in tables["exact"]):
        raise ValueError("a word in which the accents count has none")
    every = [*meanings, *tables["inside"], *(word for words in numbers.values() for word in words)]
    return Rules(
        policy_version=f"{policy['version']}+{digest}",
        category=policy["category"],
        folding=folding,
        wild=policy["wild"],
        closing=policy["closing"],
        meanings={word: tuple(sorted(means)) for word, means in meanings.items()},
        numbers=numbers,
        inside=tables["inside"],
        stems=tables["stems"],
        exact=tables["exact"],
        apart=frozenset(" ".join(map(fold, row.split())) for file in files for row in file.get("apart", ())),
        patterns=tuple(patterns),
        harmless=tuple(harmless),
        longest=max(map(len, every)),
        calendars={file["language"]: int(file["calendar"]) for file in files if "calendar" in file},
        roman={fold(word): value for value, word in enumerate(policy["roman"].split(), 1)},
        unreadable=frozenset(policy["unreadable"]),
    )


def _spellings(fold: Callable[[str], str], word: str) -> Iterator[str]:
    """Fold `word` in every mixture of lower and upper case: in lower case, a few Greek letters look like different Latin ones."""
    cases = [(char,) if fold(char) == fold(char.upper()) else (char, char.upper()) for char in word]
    return (fold("".join(chars)) for chars in product(*cases))


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
        turned=dict(policy["turned"]),
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
    """A list of words. In the TOML file it is a list, or one text with the words separated by spaces."""
    value = table.get(key, "")
    words = value.split() if isinstance(value, str) else list(value)
    if not all(isinstance(w, str) and w for w in words):
        raise TypeError(f"{key} must hold words")
    return words


def _patterns(language: str, known: set[str], id: str, match: str, below: int = 18, above: int = 0, also: str = "") -> Iterator[Pattern]:
    options = []
    for item in match.split():
        name = item.strip("!?")
        if name not in known | Pattern.NUMBERS | Pattern.GAPS:
            raise ValueError(f"{language}: pattern {id!r} names an unknown class {name!r}")
        full = item.rstrip("?").replace(name, name if len(name) == 1 and name in Pattern.NUMBERS | Pattern.GAPS else f"{language}.{name}")
        options.append((full, None) if item.endswith("?") else (full,))
    for chosen in product(*options):
        items = tuple(i for i in chosen if i is not None)
        yield Pattern(f"{language}/{id}", language, items, below, above)
        for other in also.split():
            if other not in Pattern.NUMBERS or "N" not in items:
                raise ValueError(f"{language}: pattern {id!r} has no number that could be {other!r} too")
            at = items.index("N")
            yield Pattern(f"{language}/{id}", language, (*items[:at], other, *items[at + 1 :]), below, above)
