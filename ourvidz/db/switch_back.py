"""The switch back: restore the legacy system's jobs table, with the jobs made meanwhile in its format (docs/decisions/0035).

Nothing is lost: this program's tables, events and files stay, in a schema with another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection, text

from ourvidz.db import table_definitions
from state.errors import JobError

Row = dict[str, Any]
A_DAY = "24 hours"


class NoWayBack(JobError):
    """The switch back is not possible. The message says why, and what to do."""

    code = "no_way_back"


@dataclass(frozen=True)
class Returned:
    """`jobs`: how many were written to the legacy table, by their status there. `waiting`: unfinished ones, whose messages go to Redis.
    `schema`: the new name of this program's schema."""

    jobs: dict[str, int]
    waiting: Sequence[Row]
    schema: str


def back(connection: Connection, *, late: bool = False) -> Returned:
    """Switch back in `connection`'s transaction, all or nothing. `late`: even if the switch was over a day ago. Raises `NoWayBack`."""
    before = _admitted(connection, late)
    _run(connection, "set local lock_timeout = '10s'; set local check_function_bodies = off")
    _run(connection, "lock table public.jobs, public.images, public.videos in access exclusive mode")
    waiting = _run(connection, table_definitions.sql("waiting"))
    _loosen(connection)
    _run(connection, table_definitions.sql("return_jobs"))
    counts = {r["word"]: r["n"] for r in _run(connection, "select word, count(*) as n from returned group by word order by word")}
    _swap(connection, before)
    away, made = table_definitions.statements(before, table_definitions.read(connection))
    for statement in away:
        _drop(connection, statement)
    for table in ("profiles", "videos"):  # their triggers would check rows that existed before
        _run(connection, f"alter table public.{table} disable trigger user")
    _run(connection, table_definitions.sql("older_words"))
    for table in ("profiles", "videos"):
        _run(connection, f"alter table public.{table} enable trigger user")
    for statement in made:
        _run(connection, statement)
    return Returned(counts, waiting, _set_aside(connection))


def _admitted(connection: Connection, late: bool) -> table_definitions.Shape:
    before = table_definitions.kept(connection)
    if before is None or connection.execute(text("select to_regclass('ourvidz.older_jobs')")).scalar() is None:
        raise NoWayBack("No switch is known here: `ourvidz cutover switch` keeps what is needed to return.")
    recent = f"select max(at) > now() - interval '{A_DAY}' from ourvidz_before.shape"  # noqa: S608
    if not late and not connection.execute(text(recent)).scalar():
        raise NoWayBack("The switch was over a day ago. Add --force to return all the same.")
    live = "select count(*) from ourvidz.executors where state <> 'gone' and lease_until > ourvidz.now()"
    if running := connection.execute(text(live)).scalar():
        raise NoWayBack(f"{running} executors are at work. Stop `ourvidz up` first: what they hold is given back.")
    return before


def _loosen(connection: Connection) -> None:
    """Let the legacy table take rows as they are: its checks and triggers come back with the rest of its shape."""
    checks = "select quote_ident(conname) as name from pg_constraint where conrelid = 'ourvidz.older_jobs'::regclass and contype = 'c'"
    for check in _run(connection, checks):
        _run(connection, f"alter table ourvidz.older_jobs drop constraint {check['name']}")
    _run(connection, "alter table ourvidz.older_jobs disable trigger user")


def _swap(connection: Connection, before: table_definitions.Shape) -> None:
    # Move it away first: indexes of the two tables have the same names.
    _run(connection, "create schema ourvidz_hop; alter table ourvidz.older_jobs set schema ourvidz_hop")
    known = {name for kind, name in before if kind == "owner"}
    tables = [name for kind, name in table_definitions.read(connection) if kind == "owner"]
    for name in [name for name in tables if name not in known or name == "public.jobs"]:
        _run(connection, f"alter table {name} set schema ourvidz")
    _run(connection, "alter table ourvidz_hop.older_jobs set schema public; alter table public.older_jobs rename to jobs")
    _run(connection, "alter table public.jobs enable trigger user; drop schema ourvidz_hop")


def _drop(connection: Connection, statement: str) -> None:
    """Run a drop statement. If the table is Supabase's own, so that its triggers are not ours to drop, make their functions do nothing
    instead."""
    try:
        with connection.begin_nested():
            _run(connection, statement)
    except psycopg.errors.InsufficientPrivilege:
        if not statement.endswith(" on auth.users"):
            raise
        for function in connection.execute(text(_CALLED), {"statement": statement}).scalars().all():
            _run(connection, f"create or replace function {function} returns trigger language plpgsql as $$ begin return new; end $$")


_CALLED = """select tgfoid::regprocedure::text from pg_trigger
             where tgrelid = 'auth.users'::regclass and :statement = format('drop trigger %I on auth.users', tgname)"""


def _set_aside(connection: Connection) -> str:
    """Rename the schema, so that the database looks never migrated. Its functions are rewritten to the new name, because policies call
    some."""
    name: str = _run(connection, "select 'ourvidz_until_' || to_char(now() at time zone 'UTC', 'YYYYMMDD_HH24MISS') as name")[0]["name"]
    _run(connection, f"alter schema ourvidz rename to {name}")
    # Drop foreign keys from the renamed schema to live tables: it must not stop a picture from being deleted.
    holds = text(
        """select format('alter table %s drop constraint %I', conrelid::regclass, conname)
           from pg_constraint join pg_class as c on c.oid = conrelid
           where contype = 'f' and c.relnamespace = cast(:name as regnamespace)
             and confrelid not in (select oid from pg_class where relnamespace = cast(:name as regnamespace))"""
    )
    for statement in connection.execute(holds, {"name": name}).scalars().all():
        _run(connection, statement)
    theirs = text("select pg_get_functiondef(oid) from pg_proc where pronamespace = cast(:name as regnamespace) and prokind = 'f'")
    for definition in connection.execute(theirs, {"name": name}).scalars().all():
        _run(connection, definition.replace("ourvidz.", f"{name}.").replace("'ourvidz'", f"'{name}'"))
    _run(connection, "drop schema ourvidz_before cascade; notify pgrst, 'reload schema'")
    return name


_run = table_definitions.run
