"""Stop waiting for a job, with an explanation, when no executor serves its lane: it would never run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting
from ourvidz.cli.out import Problem

if TYPE_CHECKING:
    from ourvidz.db.connection import Database

DEFAULT = "2m"
Patience = Annotated[
    str,
    typer.Option(
        "--patience",
        metavar="DURATION",
        help="While it waits: leave with exit code 1 once no executor has served the job's lane for so long (30s, 1h, or never).",
    ),
]


def seconds(text: str) -> float:
    """Parse --patience into seconds; `never` is infinity. Raises `Problem` naming the option."""
    if text.strip().lower() == "never":
        return float("inf")
    try:
        return formatting.parse_duration(text).total_seconds()
    except ValueError as error:
        raise Problem(f"--patience: {error} Or `never`.", 2) from error


class Watch:
    """Monitors a job that is waited for. `patience`: seconds without an executor that serves its lane."""

    def __init__(self, db: Database, patience: float) -> None:
        self._db, self.patience = db, patience
        self.waiting_since: float | None = None

    def look(self, row: Mapping[str, Any]) -> bool:
        """Return True if no executor serves the job's lane now. Raises `Problem` once that has lasted `patience` seconds."""
        from ourvidz.db import queries

        if row["executor"] is not None or queries.served(self._db, row["lane"]):
            self.waiting_since = None
            return False
        now = time.monotonic()
        self.waiting_since = now if self.waiting_since is None else self.waiting_since
        if now - self.waiting_since >= self.patience:
            raise Problem(told(self._db, row, self.patience))
        return True


def told(db: Database, row: Mapping[str, Any], waited: float) -> str:
    """The message: which lane is not served, which executors are alive with which lanes, and how to start one."""
    from ourvidz.db import queries

    job, lane = str(row["id"])[:8], row["lane"]
    follows = f"`ourvidz jobs watch {job}` follows it, `ourvidz jobs cancel {job}` ends it"
    alive = [f"{one['name']} ({', '.join(one['lanes']) or 'no lane'}; {one['state']})" for one in queries.executors(db)]
    others = f"Executors alive: {'; '.join(alive[:8])}{' …' if len(alive) > 8 else ''}." if alive else "No executor is alive."
    span = f" in {formatting.duration(waited)}" if waited else ""
    return (
        f"Job {job} ({row['job_type']}) waits: no executor took jobs of lane {lane}{span}. {others} Start one with `ourvidz up`, or with "
        f"`ourvidz worker --lanes {lane}` where its models are (`ourvidz models ls`). The job stays queued: {follows}."
    )
