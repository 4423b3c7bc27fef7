"""Indexes of a coming migration, built concurrently while others keep writing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from stack_fixtures import Pooler
from support import Server, submit
from test_migration_locks import User, migrated
from waiting import wait_for

from ourvidz.db import concurrent_indexes, plain_sql
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

NAME = "public.job_payloads_of_user_key"
VALID = "select indisvalid as valid from pg_index where indexrelid = to_regclass(%s)"
BUILT = "select 1 from pg_stat_activity where query like 'create unique index concurrently%' and wait_event = 'virtualxid'"

pytestmark = pytest.mark.new_database


@pytest.fixture(autouse=True)
def before_the_last_migration(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As revision 0005 left it, except for what 0006 makes again; every table counts as large."""
    monkeypatch.setattr(concurrent_indexes, "LARGE", 0)
    database.rows(f"drop index {NAME}")
    database.rows("update ourvidz.alembic_version set version_num = '0005' returning 1")


def test_submits_continue_during_the_index_build(server: Server, database_name: str, database: Database, jobs: Jobs, user: User) -> None:
    """The build finally waits for a reader's open transaction, and nobody waits for the build."""
    someone = user()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(server.url(database_name)) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from public.job_payloads")
        said: list[str] = []
        building = pool.submit(concurrent_indexes.build, database, said.append)
        wait_for(lambda: bool(database.rows(BUILT)))
        job = submit(jobs, someone)
        assert not building.done()
        reader.rollback()
        building.result()
    assert f"Building the index {NAME} on public.job_payloads; jobs go on meanwhile." in said
    assert database.rows(VALID, (NAME,)) == [{"valid": True}]
    (before,) = database.rows("select to_regclass(%s)::oid as oid", (NAME,))
    migrated(database)
    assert database.rows("select to_regclass(%s)::oid as oid", (NAME,)) == [before], "the migration built it again"
    assert database.rows("select status from public.jobs where id = %s", (job,)) == [{"status": "queued"}]


@pytest.fixture
def broken(server: Server, database_name: str, database: Database) -> None:
    """The invalid index that a failed build leaves: Postgres maintains it, never uses it, and `if not exists` takes it for the index."""
    with psycopg.connect(server.url(database_name)) as reader, psycopg.connect(server.url(database_name), autocommit=True) as first:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from public.job_payloads")
        first.execute("set lock_timeout = '50ms'")
        for build in (f"create unique index concurrently {NAME.partition('.')[2]} on public.job_payloads (user_id, idempotency_key)",
                      f"reindex index concurrently {NAME}"):  # fmt: skip
            with pytest.raises(psycopg.errors.LockNotAvailable):
                first.execute(build)
    assert database.rows(VALID, (NAME,)) == [{"valid": False}]
    assert database.rows(VALID, (f"{NAME}_ccnew",)) == [{"valid": False}]


def test_an_invalid_index_is_rebuilt_ahead(broken: None, database: Database) -> None:
    concurrent_indexes.build(database)
    assert database.rows(VALID, (NAME,)) == [{"valid": True}]


@pytest.mark.parametrize("way", ["migrate", "a file of migrate --sql"])
def test_an_invalid_index_is_rebuilt_by_the_migration(
    broken: None, server: Server, database_name: str, database: Database, way: str
) -> None:
    if way == "migrate":
        migrated(database)
    else:
        with psycopg.connect(server.url(database_name), autocommit=True) as session:
            session.execute(plain_sql.write())
    assert database.rows(VALID, (NAME,)) == [{"valid": True}]
    assert database.rows(VALID, (f"{NAME}_ccnew",)) == []


def test_behind_a_pooler_the_index_is_left_to_the_migration(pgbouncer: Pooler) -> None:
    """Session settings and a build in three transactions need one session."""
    said: list[str] = []
    pooled = Database(pgbouncer.url)
    concurrent_indexes.build(pooled, said.append)
    pooled.close()
    assert "goes through a pooler" in said[-1]


def test_an_index_that_cannot_be_built_ahead_is_left_to_the_migration(
    server: Server, database_name: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrent_indexes, "PATIENCE", 1.0)
    said: list[str] = []
    with psycopg.connect(server.url(database_name)) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from public.job_payloads")
        concurrent_indexes.build(database, said.append)
    assert "canceling statement due to lock timeout" in said[-1] and "the migration builds it" in said[-1]
    migrated(database)
    assert database.rows(VALID, (NAME,)) == [{"valid": True}]


def test_a_small_table_is_left_to_the_migration(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrent_indexes, "LARGE", 32 * 2**20)
    said: list[str] = []
    concurrent_indexes.build(database, said.append)
    assert said == [] and database.rows(VALID, (NAME,)) == []
