"""Attack: a read-only login, or an executor's, takes and keeps the locks that the job machine serialises on. No work of others may wait
for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from logins import login
from support import Clock, Server, claim, executor, submit, types
from waiting import LIMIT

from ourvidz.db import schema_files, schema_objects
from ourvidz.db.connection import Database
from ourvidz.db.migrate import current, head, migrate
from ourvidz.lifecycle import Jobs

User = Callable[..., str]

# By the names that functions of an earlier release used, and by any key a name may hash to.
TAKEN = """
  select pg_advisory_lock(hashtextextended('ourvidz.reap', 0)), pg_advisory_lock(hashtextextended('ourvidz.migrate', 0));
  select pg_advisory_lock(hashtext(kind), slot)
  from unnest('{ourvidz.submit,ourvidz.videos}'::text[]) as kind, generate_series(0, 1023) as slot;
  select pg_advisory_lock(hashtext(kind), hashtext(user_id::text))
  from unnest('{ourvidz.pace,ourvidz.refusals}'::text[]) as kind, public.jobs;
"""


@pytest.fixture
def analyst(server: Server, database_name: str, database: Database) -> Iterator[psycopg.Connection]:
    with login(server, database_name, "ourvidz_analyst") as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_an_analyst_cannot_block_others(database: Database, jobs: Jobs, user: User, clock: Clock, analyst: psycopg.Connection) -> None:
    owner = user()
    held = submit(jobs, owner)
    claim(jobs, executor(jobs))
    analyst.execute(TAKEN)
    with database.transaction() as connection:
        connection.exec_driver_sql("set local lock_timeout = '5s'")
        connection.exec_driver_sql("select ourvidz.lock_user_submissions(%s)", (owner,))
    with database.transaction() as connection:
        connection.exec_driver_sql("set local lock_timeout = '5s'")
        request = f'[{{"user_id": "{owner}", "job_type": "sdxl_image_fast", "prompt": "a lighthouse"}}]'
        assert connection.exec_driver_sql("select created from ourvidz.submit_batch(%s::jsonb)", (request,)).all() == [(True,)]
    clock.advance(31)
    assert jobs.reap()["lapsed"] == 1 and "lease_expired" in types(database, held)
    with database.transaction() as connection:
        connection.exec_driver_sql("set local lock_timeout = '5s'")
        connection.exec_driver_sql("update ourvidz.schema_objects set digest = 'older' where kind = 'layer'")
        assert schema_objects.apply(connection)


@pytest.mark.parametrize("role", ["ourvidz_analyst", "ourvidz_executor", "ourvidz_intake", "ourvidz_deliverer"])
def test_no_login_can_lock_a_table_of_ours(server: Server, database_name: str, database: Database, role: str) -> None:
    """LOCK TABLE needs a write privilege; these roles have none, so they can only take readers' locks."""
    tables = [r["name"] for r in database.rows(
        """select format('%I.%I', relnamespace::regnamespace, relname) as name from pg_class
           where relkind in ('r', 'p') and (relnamespace = 'ourvidz'::regnamespace
             or relnamespace = 'public'::regnamespace and relname = any (ourvidz.our_relations()))""")]  # fmt: skip
    assert "ourvidz.locks" in tables
    with login(server, database_name, role) as url, psycopg.connect(url) as connection:
        for table in tables:
            for take in (f"lock table {table} in row share mode", f"select from {table} for key share"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                    connection.execute(take)


def test_a_second_reaper_returns_busy(database: Database, jobs: Jobs, server: Server, database_name: str) -> None:
    with psycopg.connect(server.url(database_name)) as other:
        assert other.execute("select busy from ourvidz.reap()").fetchone() == (False,)  # its transaction stays open
        assert jobs.reap() == {"lapsed": 0, "timed_out": 0, "promoted": 0, "busy": True}
        other.rollback()
    assert jobs.reap()["busy"] is False


def test_concurrent_first_migrations_are_serialised(server: Server) -> None:
    """Without tables there is nothing to lock: they serialise on the name of the schema."""
    name = server.create()
    one, other = Database(server.url(name)), Database(server.url(name))
    done: list[str | None] = []
    try:
        with one.transaction() as connection:
            schema_files.script(connection, schema_objects.lock())
            second = threading.Thread(target=lambda: done.append(_after_the_lock(other)))
            second.start()
            waits = "select count(*) as n from pg_stat_activity where datname = %s and wait_event_type = 'Lock'"
            while database_waits(one, waits, name) == 0 and second.is_alive():
                one.rows("select pg_sleep(0.01)")
            migrate(connection)
        second.join(LIMIT)
        assert done == [head()]
    finally:
        one.close()
        other.close()
        server.drop(name)


def database_waits(database: Database, sql: str, name: str) -> int:
    return int(database.rows(sql, (name,))[0]["n"])


def _after_the_lock(database: Database) -> str | None:
    """The revision that a migration sees once it has the lock. (Alembic runs only once at a time in a process.)"""
    with database.transaction() as connection:
        schema_files.script(connection, schema_objects.lock())
        return current(connection)


def test_no_function_or_script_of_ours_takes_an_advisory_lock() -> None:
    """Any that is added brings this attack back. The development stack is exempt: it imitates Supabase's own services, which use some."""
    root = Path(schema_objects.__file__).parents[2]
    texts = [*(root / "ourvidz" / "db").rglob("*.sql"), *(root / "migrations").rglob("*.*"), *(root / "ourvidz" / "db").rglob("*.py")]
    found = [str(path) for path in texts if path.suffix in (".sql", ".py") and "_advisory_" in path.read_text()]
    assert found == []
