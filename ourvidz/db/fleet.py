"""What supervisors and `ourvidz top` ask of the database. Each query is a file of sql/queries; nothing here writes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from ourvidz.db.connection import Database

Row = dict[str, Any]
SPAN = 300.0  # seconds, of the pace that is shown
MOST = 10_000  # events that a look at the pace may read


@cache
def _sql(name: str) -> str:
    return (resources.files("ourvidz.db") / "sql" / "queries" / f"{name}.sql").read_text(encoding="utf-8")


def lives(db: Database, host: str, names: Collection[str]) -> list[Row]:
    """Of each name the newest row, and every other that is not gone."""
    return db.rows(_sql("lives"), {"host": host, "names": list(names)})


def held_by(db: Database, host: str, name: str, pid: int) -> list[Row]:
    """One line for each job of a process's registrations, or one with no job for a registration that holds none."""
    return db.rows(_sql("held_by"), {"host": host, "name": name, "pid": pid})


def lane_served(db: Database, name: str, lane: str, since: datetime) -> bool:
    """Whether the executor called `name` completed a job of this lane since."""
    return bool(db.rows(_sql("lane_served"), {"name": name, "lane": lane, "since": since}))


def ready_by_lane(db: Database) -> dict[str, int]:
    """Jobs that wait for an executor, or will within the longest backoff."""
    return {r["lane"]: r["ready"] for r in db.rows(_sql("ready_by_lane"))}


def executors(db: Database, gone_s: float = 900.0) -> list[Row]:
    """Everybody's newest row by name, and for `gone_s` seconds those who went."""
    return db.rows(_sql("fleet"), {"gone_s": gone_s})


def pace(db: Database, span_s: float = SPAN) -> Row:
    """How many jobs ended, and how, within `span_s`; `seen_s` when there were too many events to look so far back."""
    return db.rows(_sql("pace"), {"span_s": span_s, "most": MOST})[0]


def failures(db: Database, limit: int) -> list[Row]:
    """The last attempts that went wrong, newest first."""
    return db.rows(_sql("failures"), {"limit": limit})
