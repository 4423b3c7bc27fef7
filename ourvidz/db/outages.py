"""Classify errors of Postgres (or of a pooler) by SQLSTATE, for the caller: one table.

`WAIT`: the database's own state. The statement had no effect; every caller waits for the database, background processes without end.
`RETRY`: this statement was rolled back, and the same one may succeed a moment later. Retried for a while, then given up.
`REFUSED`: the server will not let this login in. Reported at once: a person must act.
`FAULT`: a fault of ours or a refusal of the data; a retry changes nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import psycopg


class Means(StrEnum):
    WAIT = "wait"
    RETRY = "retry"
    REFUSED = "refused"
    FAULT = "fault"


@dataclass(frozen=True)
class Rule:
    """`state`: a SQLSTATE or how it begins; empty: none was given. `text`: the message must match too, in any case. `leave`: this server
    cannot do it, so the connection is closed, and every other one of the pool with it: the next may find another server."""

    state: str
    means: Means
    text: str = ""
    leave: bool = False


READ_ONLY = "25006"

# The first rule that fits decides. https://www.postgresql.org/docs/current/errcodes-appendix.html
RULES: tuple[Rule, ...] = (
    # During connect, libpq gives the SQLSTATE only in its text (session.py): no such role, wrong password, no line of pg_hba.conf, no such
    # database, no right to connect to it, a database that was dropped.
    Rule("", Means.REFUSED, r"\((?:28...|3D000|42501|57P04)\)$"),
    # PgBouncer and Supabase's pooler have no SQLSTATE for it; libpq has none for errors that it finds itself.
    Rule("", Means.REFUSED, r"authentication failed|wrong password|tenant or user not found|no such (?:user|database)"
                            r"|(?:role|database) \".*\" does not exist|no password supplied"),
    Rule("", Means.REFUSED, r"certificate verify failed|server does not support SSL|certificate file .* does not exist|private key file"
                            r"|root certificate file|server certificate for .* does not match host name|not support channel binding"),
    Rule("", Means.WAIT),  # no server there, starting, shutting down, no slot left, no host that takes writes; or the connection broke
    Rule("08", Means.WAIT),  # connection exceptions; poolers use 08P01 for a server they lost and for a queue that took too long
    Rule(READ_ONLY, Means.WAIT, leave=True),  # a standby, a demoted primary, default_transaction_read_only
    Rule("25P03", Means.WAIT),  # the session sat idle in a transaction and was ended
    Rule("25P04", Means.WAIT),  # transaction_timeout: the session was ended
    Rule("28", Means.REFUSED),
    Rule("3D000", Means.REFUSED),
    Rule("40", Means.RETRY),  # serialization failure, deadlock
    Rule("53", Means.WAIT),  # disk full, out of memory, too many connections
    Rule("55006", Means.RETRY),  # object in use
    Rule("55P03", Means.RETRY),  # lock not available in time
    Rule("57014", Means.RETRY),  # canceled: a statement_timeout, a person
    Rule("57P04", Means.REFUSED),  # the database was dropped
    Rule("57", Means.WAIT),  # shutdown, crash of another backend, cannot connect now, idle session timeout
    Rule("58", Means.WAIT),  # I/O errors of the server's system
    # A migration replaced a function, view or type between the moment a statement looked it up and the moment it ran.
    Rule("0A000", Means.RETRY, r"cached plan must not change result type"),
    Rule("XX000", Means.RETRY, r"cache lookup failed|could not open relation with OID|could not find .* with OID|tuple concurrently"),
    Rule("42883", Means.RETRY, r"function with OID \d+ does not exist"),
)  # fmt: skip
_FAULT = Rule("", Means.FAULT)


def rule(error: psycopg.Error) -> Rule:
    state, said = error.sqlstate or "", str(error)
    if not state and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return _FAULT  # psycopg itself: a parameter it cannot send
    for one in RULES:
        if (state.startswith(one.state) if one.state else not state) and (not one.text or _says(one.text, said)):
            return one
    # Whatever its code, the session has ended. Poolers report a lost server as XX000.
    return Rule(state, Means.WAIT) if _fatal(error) else _FAULT


def is_fault(error: object) -> bool:
    """Check if the database answered and refused: psycopg counts some of that among a connection's errors."""
    return isinstance(error, psycopg.OperationalError) and bool(error.sqlstate) and rule(error).means is Means.FAULT


def is_undone(error: object) -> bool:
    """Check if the database rolled it back, and a retry may succeed a moment later."""
    return isinstance(error, psycopg.Error) and rule(error).means is Means.RETRY


def ended(error: psycopg.Error) -> bool:
    """Check if the connection died with it: then nobody knows if a sent statement has been committed."""
    return not error.sqlstate or error.sqlstate.startswith(("08", "57P")) or _fatal(error)


def _fatal(error: psycopg.Error) -> bool:
    return error.diag.severity_nonlocalized in ("FATAL", "PANIC")


def _says(pattern: str, said: str) -> bool:
    """Check if the message matches; if several hosts were tried, for each of them: one that refuses does not speak for one that is only
    away."""
    attempts = re.findall(r"^- host: .*$", said, re.MULTILINE) or [said.strip().partition("\n")[0]]
    return all(re.search(pattern, attempt, re.IGNORECASE) for attempt in attempts)


def backoff(longest: float = 5.0) -> Iterator[float]:
    """Yield the seconds to wait before each further try, without end: doubling up to `longest`, with jitter, so that clients do not retry
    together."""
    delay = 0.1
    while True:
        yield delay * random.uniform(0.7, 1.0)
        delay = min(delay * 2, longest)
