"""Parse DATABASE_URL with libpq's own parser: what psql accepts, every part of this program accepts.

A parameter that libpq does not know is dropped and logged once if it is another program's and changes nothing here (FOREIGN); otherwise it
is refused by name. No message repeats a value: a password that is not percent-encoded can end up in any of them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from psycopg import Error, pq
from psycopg.conninfo import make_conninfo

from state.errors import JobError

log = logging.getLogger("ourvidz.db")

_OTHERS: Final = "another program's, and changes nothing here"
FOREIGN: Final[Mapping[str, str]] = {
    # Prisma
    "pgbouncer": "nothing is prepared here by name, so every pooler will do",
    "schema": "the tables of this program are in the schemas public and ourvidz",
    "connection_limit": _OTHERS, "pool_timeout": _OTHERS, "socket_timeout": _OTHERS, "statement_cache_size": _OTHERS,
    "max_idle_connection_lifetime": _OTHERS, "max_connection_lifetime": _OTHERS, "single_use_connections": _OTHERS,
    # Supabase's and Vercel's snippets
    "supa": _OTHERS, "workaround": _OTHERS, "pool_mode": "the port chooses the pooler's mode",
    # SQLAlchemy, asyncpg, pgx, JDBC, Django, Rails
    "prepared_statements": _OTHERS, "prepared_statement_cache_size": _OTHERS, "prepareThreshold": _OTHERS,
    "preparedStatementCacheQueries": _OTHERS,
    "default_query_exec_mode": _OTHERS, "statement_cache_mode": _OTHERS, "statement_cache_capacity": _OTHERS,
    "pool_max_conns": _OTHERS, "pool_min_conns": _OTHERS, "pool_size": _OTHERS, "max_overflow": _OTHERS, "pool": _OTHERS,
    "conn_max_age": _OTHERS, "reWriteBatchedInserts": _OTHERS, "encoding": "text is sent as UTF-8", "adapter": _OTHERS,
    "async_fallback": _OTHERS, "tcpKeepAlive": _OTHERS, "ApplicationName": "application_name is what libpq calls it", "stringtype": _OTHERS,
    # libpq's own, which this program sets itself
    "client_encoding": "text is sent as UTF-8",
}  # fmt: skip
"""Parameters that are dropped, and why that does no harm."""

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_OURS = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?", re.IGNORECASE)
_PAIR = re.compile(r"""\s*(?P<name>[^=\s]*)\s*(?P<equals>=?)\s*(?P<value>'(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)""", re.DOTALL)
_FORM = "It is a URL, postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or libpq's key=value pairs."
_QUOTE = "A value with blanks, quotes or backslashes stands in single quotes, with a backslash before each quote and backslash in it."
_ENCODE = "In a URL, @ : / ? # % & and blanks in a user's name or password are percent-encoded (@ is %40, / is %2F, % is %25)."


class UnreadableUrl(JobError):
    """A connection string that libpq cannot read. The message names the problem, and holds no value of the string."""

    sqlstate = "08001"
    code = "database_url"


@lru_cache(maxsize=32)
def parameters(url: str) -> Mapping[str, str]:
    """Return libpq's parameters (host, port, user, password, dbname …) that the string names. Raises `UnreadableUrl`."""
    text = url.strip().lstrip("\ufeff").strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()  # docker's --env-file and systemd's units keep quotes as they are
    if not text:
        raise UnreadableUrl("DATABASE_URL is blank. Unset it for the embedded Postgres.")
    if re.search(r"[\x00-\x1f\x7f]", text) and "://" in text:
        raise UnreadableUrl("DATABASE_URL has a line break or another control character inside. Put it on one line.")
    scheme = _SCHEME.match(text)
    found = _of_url(text[scheme.end() :], scheme["scheme"]) if scheme else _of_pairs(text)
    _check(found, of_url=bool(scheme))
    return MappingProxyType(found)


def conninfo(url: str, **more: object) -> str:
    """Return the same as one key=value string for libpq, with `more` overriding it. None removes a parameter."""
    return make_conninfo(**{**parameters(url), **more})  # type: ignore[arg-type]


def _of_url(rest: str, scheme: str) -> dict[str, str]:
    if not _OURS.fullmatch(scheme):
        raise UnreadableUrl(f"DATABASE_URL begins with {scheme[:20]}://, which is not Postgres. {_FORM}")
    # As libpq reads it: the user's part ends at the first @ before any /, and the first ? after that begins the parameters.
    user = re.match(r"[^@/]*@", rest)
    address, _, query = rest[user.end() if user else 0 :].partition("?")
    if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        raise UnreadableUrl(f"DATABASE_URL has a % that does not begin a percent-encoded character. {_ENCODE}")
    if "@" in address or (user and ":" in user[0] and "@" in query):
        raise UnreadableUrl(f"DATABASE_URL has an @ too many, so where its password ends is not clear. {_ENCODE}")
    given = [one for one in query.split("&") if one]
    for before, one in zip(["", *given], given, strict=False):
        # After a password, or where an @ may mean that the query is part of a password, an unknown name may be the rest of it.
        if (before.startswith("password=") or "@" in query) and not _understood(one):
            raise UnreadableUrl(f"DATABASE_URL has a parameter that libpq does not know, or an & or ? inside its password. {_ENCODE}")
    kept = [one for one in given if not _foreign(one)]
    whole = "postgresql://" + (user[0] if user else "") + address + ("?" + "&".join(kept) if kept else "")
    try:
        return _libpq(re.sub(r"\s", "%20", whole))
    except Error:
        raise UnreadableUrl(f"libpq cannot read DATABASE_URL. {_FORM} {_ENCODE}") from None


def _foreign(pair: str) -> bool:
    """Check if this `name=value` of a URL is dropped. Raises `UnreadableUrl` for a name that neither libpq nor FOREIGN knows."""
    name, equals = _name(pair), "=" in pair
    if name in FOREIGN:
        _say(name)
        return True
    if not _understood(pair):
        raise UnreadableUrl(_unknown(name))
    if not equals:
        raise UnreadableUrl(f"The parameter {name} in DATABASE_URL has no value.")
    return False


def _name(pair: str) -> str:
    return unquote(pair.partition("=")[0]).strip()


def _understood(pair: str) -> bool:
    return _name(pair) in _known() | FOREIGN.keys() or pair == "ssl=true"  # a JDBC form that libpq accepts


def _of_pairs(text: str) -> dict[str, str]:
    """Check the pairs before libpq parses them: it reports an unknown name, but repeats anything else that it cannot read."""
    kept, at, before = [], 0, ""
    while text[at:].strip():
        pair = _PAIR.match(text, at)
        name = pair["name"] if pair else ""
        if pair is None or not pair["equals"] or not re.fullmatch(r"[A-Za-z_]+", name) or pair.end() == at:
            raise UnreadableUrl(f"libpq cannot read DATABASE_URL after {before or 'its beginning'}. {_QUOTE if before else _FORM}")
        if name in FOREIGN:
            _say(name)
        elif name not in _known():
            # Text after a blank in a password may be part of it, and is not repeated.
            raise UnreadableUrl(_unknown(name) if before != "password" else f"libpq cannot read DATABASE_URL after password. {_QUOTE}")
        else:
            kept.append(pair[0].strip())
        at, before = pair.end(), name
    try:
        return _libpq(" ".join(kept))
    except Error:
        raise UnreadableUrl(f"libpq cannot read DATABASE_URL. {_FORM}") from None


def _unknown(name: str) -> str:
    return (
        f"DATABASE_URL has the parameter {name[:40]!r}, which libpq does not know. Take it out: docs/database.md says what is understood."
    )


@lru_cache(maxsize=64)
def _say(name: str) -> None:
    log.warning("DATABASE_URL: the parameter %s is left out (%s).", name, FOREIGN[name])


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())


def _libpq(text: str) -> dict[str, str]:
    return {option.keyword.decode(): option.val.decode() for option in pq.Conninfo.parse(text.encode()) if option.val is not None}


_CHOICES: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(choices.split())
    for name, choices in {
        "sslmode": "disable allow prefer require verify-ca verify-full",
        "target_session_attrs": "any read-write read-only primary standby prefer-standby",
        "load_balance_hosts": "disable random",
        "channel_binding": "disable prefer require",
        "gssencmode": "disable prefer require",
        "sslnegotiation": "postgres direct",
    }.items()
}
"""libpq checks these only as it connects, when a wrong value looks like a server that is away."""
_NUMBERS: Final = ("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")


def _check(found: Mapping[str, str], *, of_url: bool) -> None:
    ports, hosts = found.get("port", "").split(","), (found.get("host") or found.get("hostaddr", "")).split(",")
    if not all(port == "" or (port.isdecimal() and 0 < int(port) < 65536) for port in ports):
        raise UnreadableUrl(f"The port in DATABASE_URL is not a number from 1 to 65535. {_ENCODE if of_url else _FORM}")
    if len(ports) not in (1, len(hosts)):
        raise UnreadableUrl(f"DATABASE_URL names {len(hosts)} hosts and {len(ports)} ports. Give one port, or one for each host.")
    for name, choices in _CHOICES.items():
        if name in found and found[name] not in choices:
            also = " (no-verify is require here)" if found[name] == "no-verify" else ""
            raise UnreadableUrl(f"{name} in DATABASE_URL is not one of {', '.join(sorted(choices))}{also}.")
    for name in _NUMBERS:
        if name in found and not re.fullmatch(r"-?\d{1,9}", found[name]):
            raise UnreadableUrl(f"{name} in DATABASE_URL is not a whole number.")
