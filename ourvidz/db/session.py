"""Open connections to Postgres: with the settings that they need whatever a DBA chose, and with the SQLSTATE of one that is refused.

A setting of postgresql.conf, ALTER DATABASE or ALTER ROLE changes what our statements mean (DateStyle, search_path) and how values come
back (bytea_output). PINS are sent in the startup packet, which takes precedence over all three. A transaction pooler refuses that or drops
it; settings that then differ are set at the beginning of each transaction instead, for that transaction alone (docs/decisions/0050).
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections.abc import Callable, Collection, Generator, Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from ourvidz.db import conninfo
from state.errors import JobError

CONNECT_TIMEOUT = 10  # seconds

PINS: Final[Mapping[str, str]] = {
    # output of values, and how text becomes a value
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "xmloption": "content",
    # how a statement is parsed, and how its names are resolved
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "search_path": "public",
    "quote_all_identifiers": "off",
    "check_function_bodies": "on",
    # what a statement sees and when it gives up: the state machine locks rows and then reads, so each statement needs its own snapshot
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "row_security": "on",
    "exit_on_error": "off",
    "client_min_messages": "notice",
}
"""Each at Postgres's own default, except the time zone and the search path. Left to the DBA: time limits, which we set for our roles too
(docs/limits.md), default_transaction_read_only, which providers use to protect a full disk, and settings that change only plans or
speed."""

REQUIRED: Final[Mapping[str, tuple[str, str]]] = {
    "server_encoding": ("UTF8", "Make another: create database NAME encoding 'UTF8' template template0, and restore a dump into it."),
    "session_replication_role": ("origin", "Foreign keys are not checked so. Reset it (alter database NAME reset …, or alter role)."),
}  # fmt: skip
"""Settings that a connection cannot change for itself: the required value, and what to do about another."""

_KEEPALIVE: Final = {"keepalives_idle": "10", "tcp_user_timeout": "20000"}  # seconds; milliseconds


class UnsuitableServer(JobError):
    """The server is set up in a way that this program cannot work with. Waiting changes nothing."""

    sqlstate = "55000"
    code = "unsuitable_server"


class Session(psycopg.Connection[Any]):
    """A connection. `unpinned`: SQL that each of its transactions begins with, to set those of PINS that differ; empty if none does."""

    unpinned: str = ""

    @classmethod
    def _connect_gen(cls, conninfo: str = "", **_: Any) -> Generator[tuple[int, Any], Any, Session]:
        """psycopg's own, but the error of a refused connection has its SQLSTATE: the text is in the language that lc_messages says."""
        connection = pq.PGconn.connect_start(conninfo.encode())
        _verbosity(connection, _VERBOSE)
        while True:
            if connection.status == pq.ConnStatus.BAD:
                _raise(connection)
            match connection.connect_poll():
                case pq.PollingStatus.OK:
                    break
                case pq.PollingStatus.READING:
                    wait = psycopg.waiting.Wait.R
                case pq.PollingStatus.WRITING:
                    wait = psycopg.waiting.Wait.W
                case _:
                    _raise(connection)
            while not (yield connection.socket, wait):
                pass
        _verbosity(connection, _DEFAULT)
        connection.nonblocking = 1
        return cls(connection)


def connect(url: str, *, application_name: str = "ourvidz") -> Session:
    """Connect in autocommit, without statements prepared by name, and check the server. Raises `UnreadableUrl`, `UnsuitableServer`, and
    `psycopg.Error`, whose text has the server's SQLSTATE."""
    given = dict(conninfo.parameters(url))
    theirs = given.pop("options", None) or os.environ.get("PGOPTIONS", "")
    seconds = given.get("connect_timeout", "0")
    # Of several hosts take the one that accepts writes, unless the URL says otherwise: libpq would take the first that answers.
    primary = {"target_session_attrs": "read-write"} if "," in given.get("host", given.get("hostaddr", "")) else {}
    wanted = {"application_name": application_name, **_KEEPALIVE, **primary, **given}
    wanted |= {"client_encoding": "UTF8", "connect_timeout": seconds if int(seconds) > 0 else str(CONNECT_TIMEOUT)}
    plain, pinned = ({**wanted, "options": options} if options else wanted for options in (theirs, f"{theirs} {_startup()}".strip()))
    key = make_conninfo(**plain)
    try:
        session = _open(plain if key in _poolers else pinned)
    except psycopg.Error as error:
        if key in _poolers or not _dislikes_options(error):
            raise
        session = _open(plain)
        _poolers.add(key)
    try:
        _look(session)
    except BaseException:
        session.close()
        raise
    return session


_poolers: set[str] = set()
"""Connection strings whose server refuses settings in the startup packet."""


def _open(parameters: Mapping[str, str]) -> Session:
    return Session.connect(**parameters, autocommit=True, prepare_threshold=None)  # type: ignore[arg-type]


def _dislikes_options(error: psycopg.Error) -> bool:
    """Check if settings in the startup packet were refused: PgBouncer calls it a protocol violation; another server may not know a
    setting."""
    return re.search(r"\((?:08P01|0A000|42704|22023)\)$|startup parameter", str(error), re.MULTILINE) is not None


def _startup() -> str:
    escaped = {name: value.replace("\\", "\\\\").replace(" ", "\\ ") for name, value in PINS.items()}
    return " ".join(f"-c {name}={value}" for name, value in escaped.items())


def _look(session: Session) -> None:
    """Check, with one statement per connection, that the pins are in force and the server is suitable."""
    encoding = session.info.parameter_status("server_encoding") or "UTF8"
    names = (*PINS, "session_replication_role")
    shown = session.execute("select " + ", ".join(f"current_setting('{name}')" for name in names)).fetchone()
    found = dict(zip(names, shown or (), strict=True)) | {"server_encoding": encoding}
    wrong = {name: found[name] for name, (value, _) in REQUIRED.items() if found[name] != value}
    if wrong:
        said = " ".join(f"{name} is {value}; this program needs {REQUIRED[name][0]}. {REQUIRED[name][1]}" for name, value in wrong.items())
        raise UnsuitableServer(f"Database {session.info.dbname}: {said}".replace("NAME", session.info.dbname))
    session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    session.unpinned = pinning([name for name, value in PINS.items() if found[name] != value])


def pinning(names: Collection[str] = tuple(PINS)) -> str:
    """SQL that sets these pins for the rest of a transaction."""
    values = {name: ", ".join(f"'{part}'" for part in PINS[name].split(", ")) for name in names}
    return "".join(f"set local {name} to {value};\n" for name, value in values.items())


# -- SQLSTATEs of refused connections --------------------------------------------------------------------------------------------------

_DEFAULT, _VERBOSE = 1, 2  # PGVerbosity of libpq-fe.h
_SQLSTATE = re.compile(r":\s+(?P<state>(?=[A-Z]*[0-9])[0-9A-Z]{5}): ")


def _verbosity(connection: Any, level: int) -> None:
    if (call := _verbosity_function()) is not None:
        call(connection.pgconn_ptr, level)


@lru_cache(maxsize=1)
def _verbosity_function() -> Callable[[int, int], int] | None:
    """Return PQsetErrorVerbosity of the very libpq that psycopg uses, which psycopg does not expose. None if it cannot be found; refusals
    then have no SQLSTATE, and are recognised by their English text alone."""
    for module in ("psycopg_binary.pq", "psycopg_c.pq"):
        try:
            library = ctypes.CDLL(str(importlib.import_module(module).__file__))
            function = library.PQsetErrorVerbosity
        except (ImportError, OSError, AttributeError):
            continue
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_int
        return function
    return None


def _raise(connection: Any) -> NoReturn:
    text = with_sqlstate(connection.get_error_message("utf-8"))
    raise psycopg.OperationalError(text, pgconn=psycopg.errors.finish_pgconn(connection))


def with_sqlstate(text: str) -> str:
    """Reduce libpq's verbose text: the server's line first, with the SQLSTATE at its end: `… failed: FATAL: password authentication failed
    for user "u" (28P01)`. Other addresses of the same name, which did not answer, come after it."""
    if (found := _SQLSTATE.search(text)) is None:
        return text
    begin = text.rfind("\n", 0, found.start()) + 1
    said, newline, rest = _SQLSTATE.sub(": ", text[begin:], count=1).split("\nLOCATION:")[0].partition("\n")
    others = f"\n{text[:begin].rstrip()}" if begin else ""
    return f"{said} ({found['state']}){newline}{rest}{others}"
