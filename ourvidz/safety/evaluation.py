"""Evaluate screens on a labelled file: false negatives, false positives, precision and recall."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ourvidz.safety import texts
from ourvidz.safety.screen import PromptScreen, ScreenUnavailable, Verdict
from state.canonical import Unreadable

LABELS = {"allow": True, "refuse": False}


@dataclass(frozen=True)
class Row:
    """`line`: where it begins in the file, from 1. `category`: from the file, to group by; may be empty."""

    line: int
    text: str
    allow: bool
    category: str = ""


@dataclass(frozen=True)
class Judged:
    row: Row
    verdict: Verdict | None  # None: a screen could not answer


@dataclass(frozen=True)
class Report:
    judged: list[Judged] = field(default_factory=list)

    def of(self, allow: bool, allowed: bool) -> list[Judged]:
        return [j for j in self.judged if j.verdict is not None and (j.row.allow, j.verdict.allowed) == (allow, allowed)]

    @property
    def false_positives(self) -> list[Judged]:
        """Harmless texts that were refused."""
        return self.of(allow=True, allowed=False)

    @property
    def false_negatives(self) -> list[Judged]:
        return self.of(allow=False, allowed=True)

    @property
    def unanswered(self) -> list[Judged]:
        """Texts that a screen could not answer. A job would not run; here they count neither as right nor as wrong."""
        return [j for j in self.judged if j.verdict is None]

    @property
    def precision(self) -> float | None:
        """Of the refused texts, the share that should be refused. None if none was refused."""
        return _share(len(self.of(allow=False, allowed=False)), len(self.false_positives))

    @property
    def recall(self) -> float | None:
        """Of the texts that should be refused, the share that was. None if there are none."""
        return _share(len(self.of(allow=False, allowed=False)), len(self.false_negatives))

    def by_category(self) -> dict[str, Report]:
        names = sorted({j.row.category for j in self.judged})
        return {name: Report([j for j in self.judged if j.row.category == name]) for name in names}


def _share(right: int, wrong: int) -> float | None:
    return right / (right + wrong) if right + wrong else None


def evaluate(rows: Sequence[Row], screens: Sequence[PromptScreen], timeout_s: float, each: Callable[[], None] = lambda: None) -> Report:
    """Judge all rows. A text is allowed if every screen allows it; else the first refusal is reported. `timeout_s`: for each answer."""
    report = Report()
    for row in rows:
        report.judged.append(Judged(row, _judge(row.text, screens, timeout_s)))
        each()
    return report


def _judge(text: str, screens: Sequence[PromptScreen], timeout_s: float) -> Verdict | None:
    verdict: Verdict | None = None
    for screen in screens:
        try:
            verdict = texts.check(screen, texts.read("prompt", text), timeout_s)
        except (ScreenUnavailable, Unreadable):
            return None
        if not verdict.allowed:
            break
    return verdict


def read_rows(path: Path) -> list[Row]:
    """Read a CSV with a header, or a JSON object a line: text, label (allow or refuse) and optionally category. Raises ValueError that
    names the line and never contains the text.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        found = _json_rows(file) if path.suffix in (".jsonl", ".ndjson", ".json") else _csv_rows(file)
        rows = [_row(line, values) for line, values in found]
    if not rows:
        raise ValueError("it holds no rows")
    return rows


def _json_rows(file: Iterator[str]) -> Iterator[tuple[int, Any]]:
    for line, source in enumerate(file, 1):
        if source.strip():
            try:
                yield line, json.loads(source)
            except (ValueError, RecursionError):
                raise ValueError(f"line {line} is not JSON") from None


def _csv_rows(file: Iterator[str]) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(file, strict=True)
    if missing := {"text", "label"} - set(reader.fieldnames or ()):
        raise ValueError(f"its first line does not name {' and '.join(sorted(missing))}")
    last = reader.line_num
    try:
        for values in reader:
            yield last + 1, values
            last = reader.line_num
    except csv.Error:
        raise ValueError(f"line {last + 1} is not CSV") from None


def _row(line: int, values: Any) -> Row:
    if not isinstance(values, dict) or not isinstance(values.get("text"), str) or not isinstance(values.get("label"), str):
        raise ValueError(f"line {line} has no text and label")
    if (label := values["label"].strip().lower()) not in LABELS:
        raise ValueError(f"line {line}: the label is neither allow nor refuse")
    return Row(line, values["text"], LABELS[label], str(values.get("category") or ""))
