"""Logins as an administrator creates them: a password and membership in our roles, nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from support import Server

PASSWORD = "a-password-of-a-test"


@contextmanager
def login(server: Server, database_name: str, *roles: str) -> Iterator[str]:
    """Yield the URL of a new login, created by the database's owner (not a superuser). Roles belong to the whole server, so the name is
    unique to the test, and the role is dropped at the end."""
    name = f"test_login_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(server.url(database_name), autocommit=True) as owner:
        owner.execute(f"create role {name} login password '{PASSWORD}'")
        for role in roles:
            owner.execute(f"grant {role} to {name}")
    try:
        yield url_of(server, database_name, name)
    finally:
        server.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = '" + name + "'")
        server.admin("drop role {}", name)


def url_of(server: Server, database_name: str, name: str, password: str | None = PASSWORD) -> str:
    """The same server and database as another login."""
    parts = urlsplit(server.url(database_name, superuser=True))
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(part for part in parts.query.split("&") if part and not part.startswith("passfile="))
    return urlunsplit((parts.scheme, f"{name}:{password}@{host}" if password else f"{name}@{host}", parts.path, query, ""))


def name_of(url: str) -> str:
    return urlsplit(url).username or ""
