"""Requests as the API makes them: the role and JWT claims that PostgREST would set, for one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from support import Server


class Api:
    """The same database over a connection that may take any role (as authenticator does in production)."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    @contextmanager
    def request(
        self, role: str | None, user: str | None = None, *, admin: bool = False, http: bool = False
    ) -> Iterator[psycopg.Cursor[Any]]:
        """A transaction like PostgREST's, with Supabase's statement timeout. Roles without a JWT get no claims."""
        with self.connection.transaction(), self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute("set local statement_timeout = '8s'")
            if role in ("anon", "authenticated", "service_role"):
                claims: dict[str, Any] = {"role": role, "aud": "authenticated", "app_metadata": {"role": "admin"} if admin else {}}
                if user:
                    claims["sub"] = user
                cursor.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            if role:
                cursor.execute(f"set local role {role}")
            if role in ("anon", "authenticated", "service_role"):
                cursor.execute("select public.before_request()")
            if http:
                cursor.execute("select set_config('request.method', 'POST', true)")
            yield cursor

    def rows(
        self, role: str | None, user: str | None, query: str, params: Sequence[Any] | dict[str, Any] = (), **how: Any
    ) -> list[dict[str, Any]]:
        with self.request(role, user, **how) as cursor:
            cursor.execute(query, params)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def api_of(server: Server, name: str) -> Iterator[Api]:
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as connection:
        yield Api(connection)
