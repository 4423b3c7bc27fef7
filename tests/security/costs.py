"""The cost of one request in Postgres: each runs in a new backend, as PostgREST would send it, and is measured from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU time, growth of the backend in MB, and bytes of WAL of one request; the SQLSTATE (or PostgREST code) of its
    refusal. `answer` is the first column of the first row."""

    seconds: float
    megabytes: float
    wal: int
    refused: str | None
    said: str
    answer: Any = None


class Caller:
    """Sends requests to one database as a user."""

    def __init__(self, url: str, user: str | None, role: str = "authenticated") -> None:
        self.url, self.user, self.role = url, user, role
        self._watching: psycopg.Connection[Any] | None = None

    def ask(self, sql: str, body: str | None = None) -> Cost:
        """One request in one transaction. `sql` takes the body, as text, as its only parameter."""
        if self._watching is None:
            self._watching = psycopg.connect(self.url, autocommit=True)
        watching = self._watching
        with psycopg.connect(self.url, autocommit=True) as connection:
            _is_here(connection)
            pid, refused, said, answer = connection.info.backend_pid, None, "", None
            with connection.transaction(), self._as_user(connection):
                wal = watching.execute("select pg_current_wal_insert_lsn()").fetchone()
                before = (_cpu(pid), _peak(pid))
                try:
                    with connection.transaction():
                        found = connection.execute(sql, None if body is None else (body,), prepare=False).fetchone()
                        answer = found and found[0]
                except psycopg.Error as error:
                    refused, said = error.sqlstate, str(error)
                    if refused == "PGRST":
                        refused = json.loads(said.partition("\n")[0])["code"]
                after = (_cpu(pid), _peak(pid))
            (grown,) = watching.execute("select pg_current_wal_insert_lsn() - %s::pg_lsn", wal).fetchone() or (0,)
        return Cost(after[0] - before[0], after[1] - before[1], int(grown), refused, said, answer)

    @contextmanager
    def _as_user(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        claims = {"role": self.role, "aud": "authenticated", "app_metadata": {}} | ({"sub": self.user} if self.user else {})
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        connection.execute("select set_config('request.method', 'POST', true)")
        connection.execute("set local statement_timeout = '60s'")
        connection.execute(f"set local role {self.role}")
        connection.execute("select public.before_request()")
        yield


def _is_here(connection: psycopg.Connection[Any]) -> None:
    """Fail if the server runs on another machine, where it cannot be measured."""
    host = str(conninfo_to_dict(connection.info.dsn).get("host", ""))
    assert host.startswith("/") or host in ("", "localhost", "127.0.0.1"), f"these tests measure a server on this machine, not on {host}"


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def arguments(connection: psycopg.Connection[Any], role: str) -> dict[str, dict[str, str]]:
    """Every function that PostgREST offers to `role`, with its arguments' names and types. Read from the catalog, so new ones are
    included."""
    rows = connection.execute(
        """select p.proname, coalesce(p.proargnames, '{}'),
                  array(select format_type(t, null) from unnest(p.proargtypes) with ordinality as a (t, n) order by n)
           from pg_proc as p
           where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
             and has_function_privilege(%s, p.oid, 'execute')""",
        (role,),
    ).fetchall()
    return {name: dict(zip(names[: len(types)], types, strict=True)) for name, names, types in rows}


def call(name: str, given: dict[str, str]) -> str:
    """The SQL that PostgREST sends to call a function with a body: only the arguments in the body, each with its type."""
    if not given:
        return f"select to_json(public.{name}()) from (select %s::json) as body"
    columns = ", ".join(f'"{argument}" {kind}' for argument, kind in given.items())
    named = ", ".join(f'"{argument}" := body."{argument}"' for argument in given)
    return f"select to_json(public.{name}({named})) from json_to_record(%s::json) as body ({columns})"


def insert(relation: str, columns: list[str]) -> str:
    """The SQL that PostgREST sends to insert an array of rows with return=representation."""
    listed = ", ".join(f'"{column}"' for column in columns)
    shown = ", ".join(f"'{column}', \"{column}\"" for column in columns)
    return (
        f"insert into {relation} ({listed}) select {listed} from json_populate_recordset(null::{relation}, %s::json)"
        f" returning json_build_object({shown})::text"
    )
