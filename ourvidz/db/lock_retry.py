"""Run a migration beside a busy database: it waits for each lock only briefly, because later sessions queue behind a waiting lock request.
On a timeout it rolls everything back, names the session in its way, and tries again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, text

from ourvidz.db.connection import Ambiguous, Database, DatabaseAway, DatabaseBusy
from ourvidz.db.outages import backoff
from state.errors import JobError

log = logging.getLogger("ourvidz.db")
T = TypeVar("T")

PATIENCE = 600.0  # seconds
MOMENT = 0.4  # seconds that a submit may have to wait behind us, once per try
# Autovacuum gives way by itself to a session that has waited for deadlock_timeout, by default 1 s.
BEHIND_AUTOVACUUM = 1.5
LONGEST_REST = 15.0  # maximum seconds between two tries
NAME = "ourvidz migrate"  # application_name of the transaction
LOOK = 0.05  # seconds between two checks for blockers


class MigrationBlocked(JobError):
    """Others held locks that a migration needs, for as long as it waited. Nothing was changed; the message names them."""

    code = "migration_blocked"
    http = 503


def give_way(
    database: Database,
    work: Callable[[Connection], T],
    *,
    patience: float = PATIENCE,
    tell: Callable[[str], object] = log.warning,
    what: str = "The migration",
) -> T:
    """Return what `work` returns in a transaction of its own, retried while others hold the locks it needs. `tell` is given who they are
    and what to do; `what` is the name of the waiting operation. Raises `MigrationBlocked` after `patience` seconds, and what `work`
    raises."""
    began, moment, said = time.monotonic(), MOMENT, ""
    for rest in backoff(LONGEST_REST):
        blockers: list[dict[str, Any]] = []
        try:
            with database.transaction() as connection:
                settings = "select set_config('lock_timeout', :ms, true), set_config('application_name', :name, true)"
                connection.execute(text(settings), {"ms": f"{moment * 1000:.0f}", "name": NAME})
                with _watched(database, connection, blockers):
                    return work(connection)
        except DatabaseBusy as error:
            cause = getattr(error.__cause__, "orig", error.__cause__)
            if not isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                raise
            who = _who(database, blockers)
            if time.monotonic() + rest - began > patience:
                raise MigrationBlocked(f"{what} waited {patience:.0f} s for {who} Nothing was changed.") from error
        if who != said:
            said = who
            tell(f"{what} waits for {who} It tries again; until then nothing is changed, and jobs go on.")
        moment = BEHIND_AUTOVACUUM if any(one["kind"] == "autovacuum worker" for one in blockers) else MOMENT
        time.sleep(max(rest, MOMENT))  # those who waited behind us come first
    raise AssertionError("backoff has no end")


@contextmanager
def _watched(database: Database, connection: Connection, blockers: list[dict[str, Any]]) -> Iterator[None]:
    """Keep in `blockers` the sessions that this transaction waited for last, seen from another connection."""
    pid, done = connection.execute(text("select pg_backend_pid()")).scalar_one(), threading.Event()
    thread = threading.Thread(target=_look, args=(database, pid, blockers, done), name="blockers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)


def _look(database: Database, pid: int, blockers: list[dict[str, Any]], done: threading.Event) -> None:
    # Pid 0 is a prepared transaction. Others' statements are not read: they may hold text that people wrote.
    sql = """select b.pid, a.backend_type as kind, a.usename::text as login, a.application_name as application, a.state,
                    extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds
             from unnest(pg_blocking_pids(%s)) as b (pid) left join pg_stat_activity as a on a.pid = b.pid
             order by a.xact_start nulls first"""
    while not done.wait(LOOK):
        try:
            if seen := database.rows(sql, (pid,)):
                blockers[:] = seen
        except (DatabaseAway, Ambiguous, psycopg.Error):
            return  # the migration itself will say what is wrong


def _who(database: Database, blockers: list[dict[str, Any]]) -> str:
    """Describe the blockers to a person, ending with what to do."""
    said = [_session(one) for one in blockers if one["pid"]]
    if any(one["pid"] == 0 for one in blockers):
        prepared = database.rows("select gid, owner::text from pg_prepared_xacts where database = current_database() order by prepared")
        said += [
            f"the prepared transaction {p['gid']!r} of {p['owner']} (`commit prepared` or `rollback prepared` ends it)" for p in prepared
        ]
    return f"a lock that is held by {'; '.join(said)}." if said else "a lock that another session held for a moment."


def _session(one: dict[str, Any]) -> str:
    if one["kind"] == "autovacuum worker":
        return f"autovacuum (process {one['pid']}), which gives way by itself unless it prevents wraparound"
    if one["application"] == NAME:
        return f"another migration (session {one['pid']}), which ends by itself: this one goes on then"
    what = one["application"] or one["kind"] or "unknown to this login"
    login = f" of {one['login']}" if one["login"] else ""
    since = "" if one["seconds"] is None else f" for {one['seconds']:.0f} s"
    ends = f"`select pg_terminate_backend({one['pid']})` ends it"
    return f"session {one['pid']} ({what}{login}, {one['state'] or 'state unknown'}{since}; {ends})"
