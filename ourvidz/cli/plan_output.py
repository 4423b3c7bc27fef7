"""Output of `ourvidz migrate --check`: the planned changes to each object, grouped under headings."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from ourvidz.db.migration_plan import Step

WIDTH = 98
KINDS = ("table", "column", "constraint", "index", "type", "schema", "sequence", "function", "trigger", "policy", "view", "rows")


def show(steps: Sequence[Step]) -> None:
    """Print all steps on stdout in lines of at most 98 columns, except for longer names."""
    refused = [step for step in steps if step.refused]
    if refused:
        print("\nRefused: nothing is done until this is remedied")
        for step in refused:
            _entry(step.action, f"{step.object}: {step.refused}.")
            _entry("", f"Remedy: {step.remedy}.")
    going = [step for step in steps if not step.refused]
    for group in dict.fromkeys(step.group for step in going):
        print("\n" + textwrap.shorten(group, WIDTH, placeholder=" …"))
        lines: dict[str, list[tuple[str, str]]] = {}
        for step in (step for step in going if step.group == group):
            kind, _, name = step.object.partition(" ")
            if not step.action:
                _wrapped("  ", " " * 6, f"{step.object}: {step.detail}")
                continue
            head = f"{step.action} {kind}" if kind in KINDS else step.action
            lines.setdefault(head, []).append((name if kind in KINDS else step.object, step.detail))
        for head, found in lines.items():
            plain = [name for name, detail in found if not detail]
            joined = _by_table(plain) if group in ("Triggers", "Policies") else [", ".join(_short(plain))] if plain else []
            for line in [*joined, *(f"{name}: {detail}" for name, detail in found if detail)]:
                _entry(head, line)
                head = ""


def _by_table(names: Sequence[str]) -> list[str]:
    """Merge `a on t`, `b on t` into one line: `t: a, b`."""
    tables: dict[str, list[str]] = {}
    for name in names:
        one, _, table = name.rpartition(" on ")
        tables.setdefault(table, []).append(one)
    return [f"{table}: {', '.join(found)}" for table, found in tables.items()]


def _short(names: Sequence[str]) -> list[str]:
    """Drop the parameters of functions, unless two functions share a name."""
    before = Counter(name.partition("(")[0] for name in names)
    return [name.partition("(")[0] if name.endswith(")") and before[name.partition("(")[0]] == 1 else name for name in names]


def _entry(action: str, text: str) -> None:
    head = f"  {action:<17} "
    _wrapped(head, " " * len(head), text)


def _wrapped(first: str, rest: str, text: str) -> None:
    lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
    print("\n".join(lines))
