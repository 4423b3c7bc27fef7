"""Export the lexical screen's tables for the edge functions: the loaded rules, and Python's character properties.

JavaScript has no case folding, and another Unicode version than Python; so every character property that the screen uses is written out,
for the characters of Unicode 14. Only normalisation is left to the runtime: it never changes for these characters.
"""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from html.entities import html5
from itertools import groupby
from typing import Any

from ourvidz.safety import lexical, negative, reading
from ourvidz.safety.lookalikes import drops, in_digits
from ourvidz.safety.rules import TERMS, Pattern, Rules, own_rules
from state import canonical


def terms_json() -> str:
    """The text of `terms.json`, one line a table. In ASCII, as some of the characters are invisible or change how a line is displayed."""
    return _lines(compiled(own_rules(TERMS, None)))


def texts_json() -> str:
    """The text of `texts.json`: what state/canonical.py uses of Python's `html` and `str`, and its own tables."""
    # `unescape` turns numbers that name no character into something else or nothing.
    numbers = [*range(0x100), *range(0xFDD0, 0xFDF0), *(plane * 0x10000 + end for plane in range(17) for end in (0xFFFE, 0xFFFF))]
    odd = {str(n): text for n in numbers if (text := html.unescape(f"&#{n};")) != chr(n)}
    spaces, invisible = ([code for code, text in canonical.CHARACTERS.items() if text == kind] for kind in (" ", ""))
    tables = {
        "named": html5,
        "numbered": odd,
        "control_tokens": canonical.CONTROL_TOKENS.pattern,
        "no_text": canonical.NO_TEXT.pattern,
        "weights": canonical.WEIGHTS.pattern,
        "spaces": sorted(spaces),
        "invisible": sorted(invisible),
        "white": [code for code in range(0x110000) if chr(code).isspace()],
    }
    return _lines(tables)


def negative_json() -> str:
    """The text of `negative.json`: the terms taken out of negative prompts, and the tables that differ from those of `terms.json`."""
    every = compiled(own_rules(TERMS, None))
    own = compiled(own_rules(negative.FOLDER, TERMS))
    terms = {name: value for name, value in own.items() if value != every[name]}
    return _lines({"kept_out": sorted(negative.kept_out()), "terms": terms})


def _lines(tables: Mapping[str, Any]) -> str:
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in tables.items()) + "\n}\n"


def compiled(rules: Rules) -> dict[str, Any]:
    folding = rules.folding
    numbers = {code: _by_value({w: str(n) for w, n in words.items()}) for code, words in rules.numbers.items()}
    words = _by_value({word: " ".join(means) for word, means in rules.meanings.items()})
    if any(ord(char) > 0xFFFF for char in "".join([*rules.meanings, *rules.inside, *rules.stems])):
        raise ValueError("a term has a letter beyond U+FFFF, of which JavaScript makes two")
    return {
        "policy_version": rules.policy_version,
        "category": rules.category,
        "max_text": lexical.MAX_TEXT,
        **_characters(folding.unknown, folding.ignored)["kinds"],
        "numerals": reading.NUMERALS,
        "punctuation": "".join(sorted(lexical.PUNCTUATION)),
        "dashes": "".join(sorted(reading.DASHES)),
        "strokes": "".join(sorted(reading.STROKES)),
        **_characters(folding.unknown, folding.ignored)["read"],
        "replace": folding.replace,
        "lookalikes": _by_value(folding.lookalikes, ""),
        "same": list(folding.same.items()),
        "leet": folding.leet,
        "turned": folding.turned,
        "wild": rules.wild,
        "closing": rules.closing,
        "unreadable": "".join(sorted(rules.unreadable)),
        "roman": rules.roman,
        "calendars": rules.calendars,
        "meanings": words,
        "numbers": numbers,
        "inside": _by_value(rules.inside),
        "stems": _by_value(rules.stems),
        "apart": sorted(rules.apart),
        "exact": _by_value(rules.exact),
        "patterns": list(map(_row, rules.patterns)),
        "harmless": list(map(_row, rules.harmless)),
        "complete": True,
    }


@cache  # takes a second for all of Unicode; the same for every policy with the same unknown and ignored characters
def _characters(unknown: re.Pattern[str], ignored: frozenset[str]) -> dict[str, dict[str, Any]]:
    """Python's properties of the characters: their kinds, and how they are read."""
    every = "".join(map(chr, range(0x110000)))
    known = unknown.sub("", every)
    kinds = {
        "unknown": _ranges(set(every).difference(known)),
        "dropped": _ranges(char for char in known if drops(char, ignored)),
        "letters": _ranges(c for c in known if c.isalpha()),
        "numerics": _ranges(c for c in known if c.isalnum() and not c.isalpha() and not c.isdecimal()),
        "spaces": _ranges(filter(str.isspace, known)),
        "signs": _ranges(filter(reading.is_sign, known)),
    }
    read = {
        "digits": _by_value({c: digits for c in known if (digits := in_digits(c))}, ""),
        "casefold": [[char, folded] for char in known if (folded := char.casefold()) != char],
    }
    return {"kinds": kinds, "read": read}


def _row(pattern: Pattern) -> list[str | int]:
    return [pattern.rule_id, pattern.language, " ".join(pattern.items), pattern.above, pattern.below]


def _by_value(table: Mapping[str, str], between: str = " ") -> dict[str, str]:
    """Invert `table`, which is shorter: each value with its keys."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for key, value in table.items():
        keys[value].append(key)
    return {value: between.join(keys[value]) for value in sorted(keys)}


def _ranges(chars: Iterable[str]) -> str:
    """Code points in hexadecimal, each range as `first-last`."""
    runs = [[c for _, c in run] for _, run in groupby(enumerate(sorted(map(ord, chars))), lambda place: place[1] - place[0])]
    return " ".join(f"{run[0]:x}" if len(run) == 1 else f"{run[0]:x}-{run[-1]:x}" for run in runs)
