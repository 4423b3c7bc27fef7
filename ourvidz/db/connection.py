"""Connections to Postgres, and the only way to call a function of schema `ourvidz`.

Every call is one statement in autocommit: one round trip, one commit. No statement is prepared by name and nothing depends on a session, so
a transaction pooler (PgBouncer, Supavisor) may stand between.
"""

from __future__ import annotations

import logging
import math
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

from ourvidz import liveness
from ourvidz.db import conninfo, outages
from ourvidz.db.outages import Means
from ourvidz.db.session import connect
from state.errors import BY_SQLSTATE, DatabaseIsCopy, InvalidJob, JobError

log = logging.getLogger("ourvidz.db")

PATIENCE = 60.0  # seconds that a call waits for a database that is away, if a person waits for the call
QUIET = 5.0  # seconds without trouble, after which an outage counts as over
SAID_EVERY = 60.0  # seconds between two log lines on the same outage

T = TypeVar("T")


class DatabaseAway(JobError):
    """The database could not be reached or accepted no writes, for longer than we wait. The request had no effect; what was committed is
    there when it is back."""

    sqlstate = "08006"
    code = "database_away"
    http = 503


class DatabaseReadOnly(DatabaseAway):
    """The server answers but accepts no writes: a standby, or `default_transaction_read_only`. `ourvidz doctor` says which."""

    sqlstate = outages.READ_ONLY
    code = "database_read_only"


class DatabaseBusy(DatabaseAway):
    """The server rolled the statement back (a deadlock, a lock timeout or a time limit). Nothing was changed; a retry may succeed."""

    sqlstate = "55P03"
    code = "database_busy"


class DatabaseRefused(DatabaseAway):
    """The server answers and rejects our login. Not waited for: a wrong password does not fix itself."""

    sqlstate = "28000"
    code = "database_refused"


class DatabaseUndecided(DatabaseAway):
    """The rows came from another database, and nobody has said yet which of the two goes on. Background processes wait for that, as for a
    server that accepts no writes; people are told at once (`DatabaseIsCopy`)."""

    sqlstate = DatabaseIsCopy.sqlstate
    code = DatabaseIsCopy.code


class Ambiguous(Exception):
    """Internal: the connection broke after the statement was sent. It may have been committed."""


class Database:
    """A pool of autocommitting connections. Threads may share it; a forked child must make its own.

    `revive` is called while the database is away, by whoever waits for it: nothing else restarts the embedded one. Raises `UnreadableUrl`
    for a URL that libpq cannot read.
    """

    def __init__(self, url: str, *, pool_size: int = 4, revive: Callable[[], object] | None = None) -> None:
        conninfo.parameters(url)
        self.url = url
        self._revive = revive
        self.waits = False  # the caller waits out an outage, so the log reports it; other callers report the error
        self.waits_for_decision = False  # and for a decision on a copied database (`ourvidz restored`)
        self.longest_wait = math.inf  # seconds that `patiently` waits at most, whatever its argument: less for a process that is leaving
        self.trouble_at: float | None = None  # when the database last failed to answer or to write, by our monotonic clock
        self._worked = False  # has answered once
        self._back_at = -math.inf  # when it first did both again after that
        self._outage = Outage()
        self.engine: Engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(url),  # SQLAlchemy's own parser accepts fewer URLs than libpq
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=8,
            pool_pre_ping=False,
        )

    @contextmanager
    def driver(self) -> Iterator[psycopg.Connection[Any]]:
        """A psycopg connection out of the pool, in autocommit. One that is broken, or whose server accepts no writes, is not put back. For
        a transaction on it: `transaction_of`."""
        fairy = self.engine.raw_connection()
        while _dead(fairy.driver_connection):
            fairy.invalidate()
            fairy.close()
            fairy = self.engine.raw_connection()
        connection: Any = fairy.driver_connection
        try:
            yield connection
        except BaseException as error:
            if isinstance(error, psycopg.Error) and outages.rule(error).leave:
                fairy.invalidate()
                self.engine.dispose()  # the others lead to the same server
            elif connection.closed or not isinstance(error, Exception):  # Ctrl-C leaves a command half done: such a connection is no use
                fairy.invalidate()
            raise
        finally:
            if not connection.closed and takes_no_writes(connection):
                fairy.invalidate()
            fairy.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A SQLAlchemy connection in one transaction, for migrations, rebuilds and reports. Raises `DatabaseAway`, also for a lost
        connection, and `DatabaseBusy` for a transaction that Postgres rolled back; refusals by our functions as SQLAlchemy raises them."""
        try:
            with self.engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
                pin(connection.connection.driver_connection)
                yield connection
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if not isinstance(cause, psycopg.Error) or outages.rule(cause).means is Means.FAULT:
                raise
            if outages.rule(cause).leave:
                self.engine.dispose()
            raise self.noted(translate(cause, sent=False)) from error

    def rows(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """Run one statement once. Raises errors of `state.errors`, `DatabaseAway` or `Ambiguous`."""
        sent = False
        try:
            with self.driver() as connection, connection.cursor(row_factory=dict_row) as cursor, _pinned(connection):
                sent = True
                cursor.execute(sql, params or None)
                found = cursor.fetchall() if cursor.description else []
                writes = not takes_no_writes(connection)
        except psycopg.Error as error:
            raise self.noted(translate(error, sent)) from error
        except Exception as error:  # SQLAlchemy wraps errors of connecting
            cause = error.__cause__ or getattr(error, "orig", None)
            if isinstance(cause, psycopg.Error):
                raise self.noted(translate(cause, sent)) from error
            raise
        self._worked = True
        if writes:
            if self.trouble_at is not None and self._back_at < self.trouble_at:
                self._back_at = time.monotonic()
            self._outage.over(self.trouble_at)
        return found

    def undone(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """Run a statement and roll it back: returns or raises what `rows` would. Locks are held for no longer than the statement."""
        try:
            with (
                self.driver() as connection,
                transaction_of(connection, force_rollback=True),
                connection.cursor(row_factory=dict_row) as cursor,
            ):
                cursor.execute(sql, params or None)
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise self.noted(translate(error, sent=False)) from error

    def patient(self, sql: str, params: Sequence[Any] | dict[str, Any] = (), *, patience: float = PATIENCE) -> list[dict[str, Any]]:
        """Like `rows`, but waits for a database that is away. Raises `Ambiguous` when the statement may have been committed: the caller
        knows how to find out, or may simply repeat what is idempotent."""
        return self.patiently(lambda: self.rows(sql, params), patience=patience)

    def patiently(self, ask: Callable[[], T], *, patience: float = PATIENCE) -> T:
        """Call `ask`, repeated while it raises `DatabaseAway`, for `patience` seconds (infinity: without end). At most `PATIENCE` while the
        server keeps rolling back this very statement."""
        began, busy_since = time.monotonic(), None
        for delay in outages.backoff():
            try:
                return ask()
            except DatabaseRefused:
                raise
            except DatabaseAway as error:
                soon = time.monotonic() + delay
                busy_since = (busy_since or time.monotonic()) if isinstance(error, DatabaseBusy) else None
                if soon - began > min(patience, self.longest_wait) or (busy_since and soon - busy_since > PATIENCE):
                    raise
                liveness.rest(delay)
                self.bring_back()
        raise AssertionError("backoff has no end")

    @property
    def back_for(self) -> float:
        """Seconds since the database recovered from its last trouble; 0 while it has not, infinity if there was none."""
        if self.trouble_at is None:
            return math.inf
        return time.monotonic() - self._back_at if self._back_at >= self.trouble_at else 0.0

    def look_for_writes(self) -> None:
        """Raise `DatabaseReadOnly` if the server accepts no writes, and what `rows` raises."""
        state = self.rows("select pg_is_in_recovery() as standby, current_setting('transaction_read_only')::boolean as read_only")[0]
        if state["standby"] or state["read_only"]:
            raise self.noted(DatabaseReadOnly(_read_only("it is a standby" if state["standby"] else "its transactions are read-only")))

    def noted(self, error: Exception) -> Exception:
        """Record an error, log it if it is an outage, and return the error for the caller."""
        if self.waits_for_decision and isinstance(error, DatabaseIsCopy):
            error = DatabaseUndecided(str(error))
        if isinstance(error, Ambiguous | DatabaseAway) and not isinstance(error, DatabaseBusy):
            # A login that is refused at the start ends the program, which reports it; later it is waited for like any outage.
            at_start = isinstance(error, DatabaseRefused) and not self._worked
            self.trouble_at = self._outage.note(str(error), say=self.waits and not at_start)
        return error

    def bring_back(self) -> None:
        """Restart the database, if that is our job. Never raises: the next statement shows if it helped."""
        if self._revive is None:
            return
        try:
            self._revive()
        except Exception as error:  # noqa: BLE001  (whatever it was, the caller goes on waiting)
            log.warning("The database could not be brought back: %s", error)

    def close(self) -> None:
        self.engine.dispose()


class Outage:
    """Log lines of an outage: when it begins, once a minute while it lasts, and when it is over."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._said = -math.inf
        self._lock = threading.Lock()  # threads that share a pool notice it at the same time

    def note(self, why: str, *, say: bool) -> float:
        now = time.monotonic()
        with self._lock:
            since = self._since = now if self._since is None else self._since
            say = say and now - self._said > SAID_EVERY
            self._said = now if say else self._said
        if say:
            for_so_long = f" (for {now - since:.0f} s now)" if now - since > 1 else ""
            log.warning("%s Waiting for it%s.", why.rstrip(".") + ".", for_so_long)
        return now

    def over(self, last_trouble: float | None) -> None:
        """Note a success. Reads may succeed while writes fail, so the outage is over only after `QUIET` seconds without trouble."""
        if self._since is None or last_trouble is None or time.monotonic() - last_trouble <= QUIET:
            return
        with self._lock:
            since, said = self._since, self._said
            self._since, self._said = None, -math.inf
        if since is not None and said > -math.inf:
            log.info("The database is there again, after %.0f s.", last_trouble - since)


class Listener:
    """Wait for the NOTIFYs meant for one executor, on a session connection of its own. Polling goes on beneath: a pooler may not pass
    notifications on, and a lost one costs a poll, not a job."""

    def __init__(self, url: str, name: str, ring: Callable[[], None]) -> None:
        self._url, self._name, self._ring = url, name, ring
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listen", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._url, application_name="ourvidz listener") as connection:
                    connection.execute("listen ourvidz")
                    while not self._stop.is_set():
                        for note in connection.notifies(timeout=1.0, stop_after=1):
                            if note.payload == self._name:
                                self._ring()
            except (psycopg.Error, JobError) as error:  # JobError: the server became unsuitable, which others report
                log.info("Not listening (%s); polling goes on.", type(error).__name__)
                self._stop.wait(2.0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=3)


def _dead(connection: Any) -> bool:
    """Check if the server has closed an idle connection, by asking the kernel alone.

    An idle server sends nothing, except that it closes. Found here, that costs one connection; found by the next statement, nobody would
    know if the statement was committed.
    """
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    except psycopg.Error:
        return True


def takes_no_writes(connection: psycopg.Connection[Any]) -> bool:
    """Check if the server has reported that it is a standby or read-only. No round trip: it reports both to each client (not through
    PgBouncer), a change with its next answer."""
    said = connection.info.parameter_status
    return "on" in (said("in_hot_standby"), said("default_transaction_read_only"))


def pin(connection: Any) -> None:
    """At the beginning of a transaction, set those of `session.PINS` that the connection itself could not be given."""
    if unpinned := getattr(connection, "unpinned", ""):
        connection.execute(unpinned)


@contextmanager
def transaction_of(connection: psycopg.Connection[Any], *, force_rollback: bool = False) -> Iterator[None]:
    """A transaction on a connection of `Database.driver`, under the settings of `session.PINS`."""
    with connection.transaction(force_rollback=force_rollback):
        pin(connection)
        yield


@contextmanager
def _pinned(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Run a statement in autocommit; if settings are still to be pinned, in a transaction of its own, which a pooler keeps on one
    server."""
    if not getattr(connection, "unpinned", ""):
        yield
    else:
        with transaction_of(connection):
            yield


def translate(error: psycopg.Error, sent: bool) -> Exception:
    """Convert psycopg's error to the caller's. `Ambiguous`: the connection died, and the statement may have been committed."""
    state = error.sqlstate
    if state in BY_SQLSTATE:
        kind = BY_SQLSTATE[state]
        message = " ".join(part for part in (error.diag.message_primary, error.diag.message_hint) if part)
        return InvalidJob(message, field=error.diag.column_name or "") if kind is InvalidJob else kind(message)
    rule, reason = outages.rule(error), str(error).strip().partition("\n")[0] or type(error).__name__
    if rule.means is Means.FAULT or (rule.means is Means.REFUSED and sent):
        return error
    if rule.means is Means.REFUSED:
        return DatabaseRefused(f"The database does not let us in; look at DATABASE_URL: {reason}")
    if sent and outages.ended(error):
        return Ambiguous(reason)
    if rule.means is Means.RETRY:
        return DatabaseBusy(f"The database undid the statement: {reason}")
    if state == outages.READ_ONLY or "session is read-only" in reason:
        return DatabaseReadOnly(_read_only(reason))
    return DatabaseAway(f"The database cannot be reached: {reason}" if not state else f"The database cannot do it now: {reason}")


def _read_only(reason: str) -> str:
    return f"The database takes no writes ({reason}). `ourvidz doctor` says why and what to do."
