"""Resolve command-line input to jobs: id prefixes and filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ourvidz.cli import formatting
from ourvidz.cli.out import Problem

if TYPE_CHECKING:
    from datetime import datetime

    from ourvidz.db.connection import Database
    from ourvidz.db.queries import Filter

T = TypeVar("T")
LEAST = 4
SHOWN = 10


def job(db: Database, prefix: str) -> dict[str, Any]:
    """The job with this id prefix. Raises `Problem`, with what to type instead, if there is none or several."""
    from ourvidz.db import queries

    def line(r: dict[str, Any]) -> str:
        return f"{r['id']}  {r['job_type']}  {r['status']}  {formatting.ago(r['created_at'], r['now'])}"

    return one("job", db, prefix, queries.by_prefix, line, "`ourvidz jobs ls` lists them.")


def allowed(row: dict[str, Any], *, preview: bool = False) -> tuple[str, ...]:
    """Actions that an operator may take next on a listed job."""
    from state import machine, policy

    return machine.allowed(
        row["status"], held=row["held"], final=row["final"], cancel_requested=row["cancel_requested"],
        fallback=row["job_type"] in policy.FALLBACKS, preview=preview,
    )  # fmt: skip


def one(what: str, db: Database, prefix: str, find: Callable[[Database, str], list[T]], line: Callable[[T], str], where: str) -> T:
    """The only match for an id prefix. `find` returns at most `SHOWN` + 1 matches; `where` says how to list ids."""
    if len(prefix.strip().replace("-", "")) < LEAST:
        raise Problem(f"{prefix!r} is too short for a {what}'s id: give at least {LEAST} characters.", 2)
    found = find(db, prefix)
    if not found:
        raise Problem(f"There is no {what} {prefix[:40]!r}. {where}")
    if len(found) > 1:
        lines = [f"  {line(thing)}" for thing in found[:SHOWN]] + ["  …"] * (len(found) > SHOWN)
        raise Problem("\n".join([f"{prefix!r} begins the ids of several {what}s. Give more characters:", *lines]), 2)
    return found[0]


def since(db: Database, text: str | None) -> datetime | None:
    from ourvidz.db import queries

    if text is None:
        return None
    try:
        return formatting.parse_since(text, queries.now(db))
    except ValueError as error:
        raise Problem(f"--since: {error}", 2) from None


def which(
    db: Database, status: list[str] | None, job_type: list[str] | None, error_class: list[str] | None, user: str | None, after: str | None
) -> Filter:
    """Build a filter. Unknown statuses and job types are refused: a misspelt one would silently match no job."""
    from ourvidz.db.queries import Filter
    from state.catalog import job_type as known
    from state.machine import STATUSES

    for word in status or ():
        if word not in STATUSES:
            raise Problem(f"There is no status {word[:40]!r}. Statuses are: {', '.join(STATUSES)}.", 2)
    for name in job_type or ():
        known(name)
    return Filter(tuple(status or ()), tuple(job_type or ()), tuple(error_class or ()), a_uuid(user, "--user"), since(db, after))


def a_uuid(text: str | None, option: str) -> str | None:
    from uuid import UUID

    try:
        return None if text is None else str(UUID(text))
    except ValueError:
        raise Problem(f"{option}: {text!r} is no UUID.", 2) from None


def actor() -> str:
    """The actor of events: the account that runs this command."""
    import getpass
    import re

    try:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", getpass.getuser())[:80]
    except (KeyError, OSError):  # a uid without a name
        name = ""
    return f"person:{name}" if name else "person"
