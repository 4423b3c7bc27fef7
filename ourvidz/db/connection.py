"""Connections to Postgres, and the one way a function of schema `ourvidz` is called.

Every verb is one statement in autocommit: one round trip, one commit. No statement is prepared by name and nothing hangs on a session,
so a transaction pooler (PgBouncer, Supavisor) may stand between.
"""

from __future__ import annotations

import logging
import re
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url

from state.errors import BY_SQLSTATE, InvalidJob, JobError

log = logging.getLogger("ourvidz.db")

CONNECT_TIMEOUT = 10  # seconds
PATIENCE = 60.0  # seconds for which a verb outlives a database that is away


class DatabaseAway(JobError):
    """The database could not be reached, for longer than we wait. Nothing is lost: what was committed is there when it is back."""

    sqlstate = "08006"
    code = "database_away"


class DatabaseRefused(DatabaseAway):
    """The server is there and will not let us in. Not waited for: a wrong password does not mend itself."""

    sqlstate = "28000"
    code = "database_refused"


class Ambiguous(Exception):
    """Internal: the connection broke after the statement was sent. It may have been committed."""


class Database:
    """A pool of autocommitting connections. Threads may share it; a forked child must make its own.

    `revive` is called while the database is away, by whoever waits for it: the embedded one has nobody else to start it again.
    """

    def __init__(self, url: str, *, pool_size: int = 4, revive: Callable[[], object] | None = None) -> None:
        self.url = url
        self._revive = revive
        self.engine: Engine = create_engine(
            make_url(_sqlalchemy_url(url)),
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=8,
            pool_pre_ping=False,
            connect_args={
                "prepare_threshold": None,
                "connect_timeout": CONNECT_TIMEOUT,
                "application_name": "ourvidz",
                "keepalives_idle": 10,
                "tcp_user_timeout": 20_000,
            },
        )

    @contextmanager
    def driver(self) -> Iterator[psycopg.Connection[Any]]:
        """A psycopg connection out of the pool, in autocommit. A broken one is not put back."""
        fairy = self.engine.raw_connection()
        while _dead(fairy.driver_connection):
            fairy.invalidate()
            fairy.close()
            fairy = self.engine.raw_connection()
        try:
            yield fairy.driver_connection  # type: ignore[misc]
        except BaseException:
            if getattr(fairy.driver_connection, "closed", True):
                fairy.invalidate()
            raise
        finally:
            fairy.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A SQLAlchemy connection in one transaction, for migrations, rebuilds and reports."""
        with self.engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
            yield connection

    def rows(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """Run one statement once. Raises leaves of `state.errors`, `DatabaseAway` or `Ambiguous`."""
        sent = False
        try:
            with self.driver() as connection, connection.cursor(row_factory=dict_row) as cursor:
                sent = True
                cursor.execute(sql, params or None)
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise translate(error, sent) from error
        except Exception as error:  # SQLAlchemy wraps what happens while it connects
            cause = error.__cause__ or getattr(error, "orig", None)
            if isinstance(cause, psycopg.Error):
                raise translate(cause, sent) from error
            raise

    def patient(self, sql: str, params: Sequence[Any] | dict[str, Any] = (), *, patience: float = PATIENCE) -> list[dict[str, Any]]:
        """Like `rows`, but waits for a database that is away. Raises `Ambiguous` when the statement may have been committed:
        the caller knows how to find out, or may simply repeat what is idempotent."""
        deadline = time.monotonic() + patience
        delay = 0.1
        while True:
            try:
                return self.rows(sql, params)
            except DatabaseRefused:
                raise
            except DatabaseAway:
                if time.monotonic() + delay > deadline:
                    raise
                log.warning("The database is away; trying again in %.1f s.", delay)
                time.sleep(delay)
                delay = min(delay * 2, 5.0)
                self.bring_back()

    def bring_back(self) -> None:
        """Start the database again, where that is ours to do. Never raises: the next statement says whether it helped."""
        if self._revive is None:
            return
        try:
            self._revive()
        except Exception as error:  # noqa: BLE001  (whatever it was, the caller goes on waiting)
            log.warning("The database could not be brought back: %s", error)

    def close(self) -> None:
        self.engine.dispose()


class Listener:
    """Waits for the NOTIFYs meant for one executor, on a session connection of its own. Polling goes on beneath: a pooler may not pass
    notifications on, and one that is lost costs a poll, not a job."""

    def __init__(self, url: str, name: str, ring: Callable[[], None]) -> None:
        self._url, self._name, self._ring = url, name, ring
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listen", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(plain_url(self._url), autocommit=True, connect_timeout=CONNECT_TIMEOUT) as connection:
                    connection.execute("listen ourvidz")
                    while not self._stop.is_set():
                        for note in connection.notifies(timeout=1.0, stop_after=1):
                            if note.payload == self._name:
                                self._ring()
            except psycopg.Error as error:
                log.info("Not listening (%s); polling goes on.", type(error).__name__)
                self._stop.wait(2.0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=3)


def _dead(connection: Any) -> bool:
    """Whether an idle connection has been closed by the server, asked of the kernel alone.

    A server that has nothing to answer says nothing, except that it goes. Found out here, that is a connection less; found out by the
    next statement, it would be one of which nobody knows whether it was committed.
    """
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    except psycopg.Error:
        return True


def translate(error: psycopg.Error, sent: bool) -> Exception:
    """The error as our caller knows it. What the connection's death left open is `Ambiguous`."""
    state = error.sqlstate
    if state in BY_SQLSTATE:
        kind = BY_SQLSTATE[state]
        message = " ".join(part for part in (error.diag.message_primary, error.diag.message_hint) if part)
        return InvalidJob(message, field=error.diag.column_name or "") if kind is InvalidJob else kind(message)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and state not in _OTHER_TROUBLE:
        if not sent and _REFUSAL.search(reason):
            return DatabaseRefused(f"The database does not let us in; look at DATABASE_URL: {reason}")
        if not sent or (state or "").startswith(_ROLLED_BACK):
            return DatabaseAway(f"The database cannot be reached: {reason}")
        if state is None or state[:2] in ("08", "57"):  # lost connection; 57P0x: the server is shutting down
            return Ambiguous(reason)
    return error


# Said by a server that lives and has undone the statement; the same may go through a moment later: a deadlock or a serialization
# failure, no more connections, memory or disk, a lock or the statement that took too long, a server that is still starting.
_ROLLED_BACK = ("40001", "40P01", "53", "55P03", "57014", "57P03")
# While it connects, libpq passes no SQLSTATE on, only the words (PostgreSQL's own, and those of Supabase's pooler).
_REFUSAL = re.compile(
    r"authentication failed|no pg_hba\.conf entry|(?:role|database) \".*\" does not exist|not permitted to log in"
    r"|tenant or user not found|wrong password|no password supplied",
    re.IGNORECASE,
)
_OTHER_TROUBLE = ("3D000", "28000", "28P01")  # no such database, no such role, wrong password: waiting mends none of them


def plain_url(url: str) -> str:
    """The URL as libpq knows it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def keywords(url: str) -> dict[str, str]:
    """The URL taken apart by libpq's words: host, port, user, password, dbname …"""
    return {name: str(value) for name, value in conninfo_to_dict(plain_url(url)).items() if value is not None}


def _sqlalchemy_url(url: str) -> str:
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url
