"""Every case of many_rows.py at 1,000 and at 100,000 rows: `make rows` measures, stores and prints the results.

Cases with the same initial state share a database: it is filled once for each number of rows, and each case runs in a session of its own
and is rolled back. Rolled-back rows stay in tables and indexes until a vacuum, so a case can only seem slower than it is; one that seems
too slow is measured again in its own databases. Results are stored as JSON lines, and an interrupted run resumes.

    OURVIDZ_ROWS_RESULTS   the file of results; build/rows.jsonl
    OURVIDZ_ROWS_ONLY      names of cases, separated by commas
    OURVIDZ_ROWS_SIZES     other numbers of rows, the smallest first: 1000,10000 finds most faults in a tenth of the time
    OURVIDZ_ROWS_SAVE      stores the table in bench/results
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import psycopg
from many_rows import CASES, Case
from many_rows_bench import Bench
from support import Server

from bench.report import text
from ourvidz.db import schema_files, schema_objects

SIZES = tuple(map(int, os.environ.get("OURVIDZ_ROWS_SIZES", "1000,100000").split(",")))
PLAIN = "reset all"  # no setting of ours in the measured session
STATES = ("stale", "fresh")
DEARER = 2.0  # most that the cost per row may grow from few rows to many
KEPT = Path(os.environ.get("OURVIDZ_ROWS_RESULTS", Path(__file__).parents[2] / "build" / "rows.jsonl"))
SQL = hashlib.sha256(
    json.dumps(
        [[*schema_files.parts()], [*schema_objects.scripts()], Path(__file__).with_name("many_rows.sql").read_text()], default=str
    ).encode()
).hexdigest()


@dataclass(frozen=True)
class Result:
    """Seconds per row, by number of rows in the statement; None if it failed or was cancelled. `alone`: no other case used its
    databases."""

    postgres: int
    state: str
    case: str
    costs: Mapping[int, float | None]
    alone: bool

    @property
    def ratio(self) -> float:
        few, *more = self.costs.values()
        return max((cost / few if cost and few else float("inf") for cost in more), default=1.0)

    @property
    def final(self) -> bool:
        return self.alone or self.ratio <= DEARER


def groups(cases: Iterable[Case] = CASES) -> list[list[Case]]:
    """The cases, grouped by initial state."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(f"{case.before} {case.most}", []).append(case)
    return list(found.values())


def measure(server: Server, template: str, postgres: int, cases: Sequence[Case]) -> Iterator[Result]:
    """Measure the cases of one group with stale and with fresh statistics. A case that seems too slow is measured again alone, and is
    yielded twice."""
    again = set()
    for result in _together(server, template, postgres, cases):
        yield result
        if not result.final:
            again.add(result.case)
    for case in (case for case in cases if case.name in again):
        yield from _together(server, template, postgres, [case])


def _together(server: Server, template: str, postgres: int, cases: Sequence[Case]) -> Iterator[Result]:
    costs: dict[tuple[str, str], dict[int, float | None]] = {(state, case.name): {} for case in cases for state in STATES}
    sizes = [n for n in SIZES if n <= cases[0].most]
    for n in sizes:
        for state, name, cost in _at(server, template, cases, n, {key: min(of.values(), default=None) for key, of in costs.items()}):
            costs[state, name][n] = cost
            if n == sizes[-1]:
                yield Result(postgres, state, name, costs[state, name], len(cases) == 1)


def _at(server: Server, template: str, cases: Sequence[Case], n: int, few: Mapping[tuple[str, str], Any]) -> Iterator[tuple[str, str, Any]]:
    bench = Bench(server, template)
    try:
        planned = {case.name: bench.connect(PLAIN) for case in cases}
        bench.make(cases[0], 1)
        for case in cases:
            bench.run(case, 1, session=planned[case.name])
        bench.make(cases[0], n)
        for state in STATES:
            for case in cases:
                session = planned[case.name] if state == "stale" else bench.connect(PLAIN)
                yield state, case.name, _cost(bench, case, n, session, few[state, case.name])
                session.close()
            bench.filler.execute("vacuum analyze")
    finally:
        bench.close()


def _cost(bench: Bench, case: Case, n: int, session: psycopg.Connection, few: float | None) -> float | None:
    """Seconds per row. Small runs are measured twice, as the first includes planning. Large ones are cancelled after 60 s plus twenty
    times the expected time."""
    session.execute(f"set statement_timeout = '{60 + 20 * n * few if few else 600:.0f}s'")
    try:
        return min(bench.run(case, n, session=session)[0] for _ in range(2 if n == SIZES[0] else 1)) / n
    except (psycopg.Error, AssertionError) as error:
        print(f"{case.name} at {n:,} rows: {error}", flush=True)
        return None


class Run:
    """The stored results of a run, its progress and what is left to measure."""

    def __init__(self, versions: Sequence[int], kept: Path = KEPT) -> None:
        only = os.environ.get("OURVIDZ_ROWS_ONLY")
        self.cases = [case for case in CASES if only is None or case.name in only.split(",")]
        self.versions, self.kept, self.began, self.measured = versions, kept, time.monotonic(), 0
        self.results: dict[str, Result] = {}
        kept.parent.mkdir(parents=True, exist_ok=True)
        for line in kept.read_text().splitlines() if kept.exists() else []:
            key, postgres, state, case, costs, alone = json.loads(line)
            self.results[key] = Result(postgres, state, case, {int(n): cost for n, cost in costs.items()}, alone)
        self.keys = {
            (v, s, c.name): hashlib.sha256(repr((v, s, astuple(c), SIZES, SQL)).encode()).hexdigest()
            for v in versions for s in STATES for c in self.cases
        }  # fmt: skip

    def on(self, server: Server, template: str, postgres: int) -> list[Result]:
        """Measure on a server whatever has no result yet. Returns all results of that version."""
        for cases in groups(self.cases):
            if left := [case for case in cases if not all(self._final(postgres, state, case) for state in STATES)]:
                for result in measure(server, template, postgres, left):
                    self._keep(result)
        return self.of(postgres)

    def of(self, postgres: int) -> list[Result]:
        keys = (self.keys[postgres, state, case.name] for case in self.cases for state in STATES)
        return [self.results[key] for key in keys if key in self.results]

    def _final(self, postgres: int, state: str, case: Case) -> bool:
        result = self.results.get(self.keys[postgres, state, case.name])
        return result is not None and result.final

    def _keep(self, r: Result) -> None:
        key = self.keys[r.postgres, r.state, r.case]
        self.results[key] = r
        with self.kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, r.postgres, r.state, r.case, r.costs, r.alone]) + "\n")
        self.measured += 1
        done, all_ = sum(len(self.of(v)) for v in self.versions), len(self.keys)
        left = (time.monotonic() - self.began) / self.measured * (all_ - done) / 60
        print(f"{done} of {all_}, about {left:.0f} min left: Postgres {r.postgres}, {r.state}, {r.case}: {_costs(r)} µs a row", flush=True)

    def table(self) -> str:
        """Microseconds per row at 1,000 and at 100,000 rows, a line for each case."""
        columns = [(v, s) for v in self.versions for s in STATES]
        by = {(r.postgres, r.state, r.case): r for v in self.versions for r in self.of(v)}
        rows = [[c.name, *(_costs(by.get((*column, c.name))) for column in columns)] for c in self.cases]
        return text(
            "µs a row among " + " → ".join(f"{n:,}" for n in SIZES), ["statement", *(f"Postgres {v}, {s}" for v, s in columns)], rows
        )


def _costs(result: Result | None) -> str | None:
    if result is None:
        return None
    figures = " → ".join("failed" if cost is None else f"{cost * 1e6:,.1f}" for cost in result.costs.values())
    return f"{figures} (×{result.ratio:.2f})"
