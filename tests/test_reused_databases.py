"""A database is reused only if it is in the same state as a new one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from reused_databases import TRIES, Databases, Recycled, closed, opened
from support import Permissive, Server, claim, executor, finish, new_user, submit

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

TABLES = """select c.oid::regclass::text as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
            where c.relkind = 'r' and n.nspname in ('auth', 'public', 'storage', 'ourvidz') order by 1"""


@pytest.fixture
def own(server: Server, template: str) -> Iterator[Databases]:
    found = Databases(server, template)
    yield found
    found.close()


def rows(database: Database) -> dict[str, str]:
    digest = "select md5(string_agg(t::text, ' ' order by t::text)) as all from {} as t"
    return {one["name"]: database.rows(digest.format(one["name"]))[0]["all"] for one in database.rows(TABLES)}


def use(server: Server, own: Databases, *statements: str) -> Recycled:
    """Run these statements as a test would, and give the database back."""
    found = own.take()
    database = opened(server.url(found.name, superuser=True), found)
    for statement in statements:
        database.rows(statement)
    closed(database, found)
    own.give_back(found, by=statements)
    return found


def test_a_reused_database_equals_a_new_one(server: Server, own: Databases) -> None:
    found = own.take()
    database = opened(server.url(found.name), found)
    new, pid = rows(database), database.rows("select pg_backend_pid() as pid")
    jobs = Jobs(database, Permissive(), patience=20)
    submit(jobs, new_user(database))
    finish(jobs, claim(jobs, executor(jobs)))
    first = database.rows("select min(seq) as seq from public.job_events")
    database.rows("update ourvidz.plans set weight = weight + 1")
    assert {"jobs", "job_events", "ourvidz.plans"} <= {name for name, said in rows(database).items() if said != new[name]}
    database.rows("set timezone = 'Asia/Tokyo'")
    database.rows("select pg_advisory_lock(7)")
    closed(database, found)
    with pytest.raises(RuntimeError, match="is over"):
        database.rows("select 1")
    own.give_back(found, by="this test")

    assert own.take() is found
    database = opened(server.url(found.name), found)
    assert rows(database) == new
    assert database.rows("select pg_backend_pid() as pid") == pid, "the connection stayed open"
    assert database.rows("show timezone")[0]["TimeZone"] == "UTC"
    assert not database.rows("select from pg_locks where locktype = 'advisory'")
    submit(Jobs(database, Permissive(), patience=20), new_user(database))
    assert database.rows("select min(seq) as seq from public.job_events") == first, "sequences start again"
    closed(database, found)
    own.drop(found)


@pytest.mark.parametrize(
    "statement",
    [
        "create table public.extra ()",
        "alter table public.jobs alter column priority drop not null",
        "create or replace function ourvidz.now() returns timestamptz language sql as $$ select clock_timestamp() $$",
        "grant select on public.jobs to anon",
        "alter table public.jobs disable trigger user",
        "alter table public.jobs disable row level security",
        "create policy extra on public.jobs using (true)",
        "alter default privileges in schema public grant select on tables to anon",
        "analyze public.jobs",
        "delete from ourvidz.locks",
        "update ourvidz.locks set slot = slot",
        "update ourvidz.identities set xid_offset = 1",
        "do $$ begin execute format('alter database %I set work_mem = ''1MB''', current_database()); end $$",
        "do $$ begin execute format('alter database %I connection limit 7', current_database()); end $$",
        "alter sequence public.job_events_seq_seq increment 2",
        "select lo_create(7)",
    ],
)
def test_a_database_with_other_changes_is_dropped(server: Server, own: Databases, statement: str) -> None:
    found = use(server, own, "select 1")
    assert use(server, own, statement) is found
    assert own.take() is not found


def test_a_database_with_other_connections_is_dropped(server: Server, own: Databases) -> None:
    found = own.take()
    with psycopg.connect(server.url(found.name)):
        own.give_back(found, by="this test")
    assert own.take() is not found


def test_after_repeated_drops_databases_are_not_checked(server: Server, own: Databases) -> None:
    use(server, own, "select 1")
    looked = [use(server, own, "create table public.extra ()").look is not None for _ in range(TRIES + 1)]
    assert looked == [True] * TRIES + [False]
