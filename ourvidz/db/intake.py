"""Database calls of the intake, and queries about the intake."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from ourvidz.db.connection import Database

Row = dict[str, Any]


class Indigestible(Exception):
    """Postgres cannot store what the messages say, though they passed all our checks. `sqlstate` tells why."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"Postgres cannot take this message (SQLSTATE {sqlstate}).")
        self.sqlstate = sqlstate


def take(db: Database, queue: str, messages: Sequence[Mapping[str, Any]], *, patience: float) -> list[Row]:
    """Store messages and return the outcome of each, in order: {outcome, reason?, field?, detail?}. Safe to repeat: the same message is the
    same job.

    Raises `Indigestible` when one of them cannot be stored at all, `DatabaseAway`, `Ambiguous`.
    """
    sql = "select ourvidz.intake(%s, %s::jsonb) as done"
    try:
        rows = db.patient(sql, (queue, json.dumps(list(messages))), patience=patience)
    except psycopg.DataError as error:
        raise Indigestible(error.sqlstate or "22000") from None  # its message quotes the input
    return sorted(rows[0]["done"], key=lambda done: int(done["ord"]))


def record(db: Database, queue: str, records: Sequence[Mapping[str, Any]], *, patience: float) -> None:
    """Count messages that were refused before the database was asked."""
    db.patient("select ourvidz.intake_record(%s, %s::jsonb)", (queue, json.dumps(list(records))), patience=patience)


def forget(db: Database) -> int:
    """Delete messages older than 30 days; their counts stay."""
    return int(db.rows("select ourvidz.intake_forget() as n")[0]["n"])


def counts(db: Database, days: int) -> list[Row]:
    """Count messages by day, queue, outcome and reason, the newest day first."""
    sql = """select day, queue, outcome, reason, n from ourvidz.intake_counts
             where day > (ourvidz.now() at time zone 'UTC')::date - %s::integer order by day desc, queue, outcome, reason"""
    return db.rows(sql, (days,))


def intake_users(db: Database) -> frozenset[str] | None:
    """Return whose messages to take while a legacy system drains the same queues; None: everybody's."""
    found = db.rows("select ourvidz.intake_users()::text[] as users")[0]["users"]
    return None if found is None else frozenset(found)


def intake_limit_users(db: Database, users: Sequence[str] | None) -> None:
    db.rows("select ourvidz.intake_limit_users(%s::uuid[])", (None if users is None else list(users),))
