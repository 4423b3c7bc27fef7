"""Database queries of supervisors and `ourvidz top`. Each is a file of sql/queries; nothing here writes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from ourvidz.db.connection import Database

Row = dict[str, Any]
SPAN = 300.0  # seconds that the displayed pace covers
MOST = 10_000  # events read for the pace at most


@cache
def _sql(name: str) -> str:
    return (resources.files("ourvidz.db") / "sql" / "queries" / f"{name}.sql").read_text(encoding="utf-8")


def lives(db: Database, host: str, names: Collection[str]) -> list[Row]:
    """Return the newest row of each name, and every other that is not gone."""
    return db.rows(_sql("lives"), {"host": host, "names": list(names)})


def held_by(db: Database, host: str, name: str, pid: int) -> list[Row]:
    """Return one row for each job of a process's registrations, or one without a job for a registration that holds none."""
    return db.rows(_sql("held_by"), {"host": host, "name": name, "pid": pid})


def lane_served(db: Database, name: str, lane: str, since: datetime) -> bool:
    """Check if the executor called `name` has completed a job of this lane since then."""
    return bool(db.rows(_sql("lane_served"), {"name": name, "lane": lane, "since": since}))


def ready_by_lane(db: Database) -> dict[str, int]:
    """Count jobs by lane that wait for an executor, or will within the longest backoff."""
    return {r["lane"]: r["ready"] for r in db.rows(_sql("ready_by_lane"))}


def executors(db: Database, gone_s: float = 900.0) -> list[Row]:
    """Return each executor's newest row, by name, and those gone within the last `gone_s` seconds."""
    return db.rows(_sql("fleet"), {"gone_s": gone_s})


def pace(db: Database, span_s: float = SPAN) -> Row:
    """Count the jobs that ended within `span_s`, by how they ended; `seen_s` if there were too many events to look back that far."""
    return db.rows(_sql("pace"), {"span_s": span_s, "most": MOST})[0]


def failures(db: Database, limit: int) -> list[Row]:
    """Return the last failed attempts, newest first."""
    return db.rows(_sql("failures"), {"limit": limit})
