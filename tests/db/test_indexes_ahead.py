"""Indexes of a migration to come, built while everybody goes on writing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from stack_fixtures import Pooler
from support import Server, submit
from test_giving_way import User, migrated
from waiting import wait_for

from ourvidz.db import indexes_ahead, plain_sql
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

NAME = "public.job_payloads_of_user_key"
VALID = "select indisvalid as valid from pg_index where indexrelid = to_regclass(%s)"
BUILT = "select 1 from pg_stat_activity where query like 'create unique index concurrently%' and wait_event = 'virtualxid'"

pytestmark = pytest.mark.new_database


@pytest.fixture(autouse=True)
def before_the_last_migration(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As revision 0005 left it, but for what 0006 makes again; every table counts as large."""
    monkeypatch.setattr(indexes_ahead, "LARGE", 0)
    database.rows(f"drop index {NAME}")
    database.rows("update ourvidz.alembic_version set version_num = '0005' returning 1")


def test_submits_go_on_while_it_is_built(server: Server, database_name: str, database: Database, jobs: Jobs, user: User) -> None:
    """A reader's transaction is open: the build waits for its end at last, and nobody waits for the build."""
    someone = user()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(server.url(database_name)) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from public.job_payloads")
        said: list[str] = []
        building = pool.submit(indexes_ahead.build, database, said.append)
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
    """What a build that was broken off leaves: Postgres keeps it up to date, never uses it, and `if not exists` takes it for the index."""
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


def test_a_broken_one_is_built_again_ahead(broken: None, database: Database) -> None:
    indexes_ahead.build(database)
    assert database.rows(VALID, (NAME,)) == [{"valid": True}]


@pytest.mark.parametrize("way", ["migrate", "a file of migrate --sql"])
def test_and_by_the_migration_where_nobody_did(broken: None, server: Server, database_name: str, database: Database, way: str) -> None:
    if way == "migrate":
        migrated(database)
    else:
        with psycopg.connect(server.url(database_name), autocommit=True) as session:
            session.execute(plain_sql.write())
    assert database.rows(VALID, (NAME,)) == [{"valid": True}]
    assert database.rows(VALID, (f"{NAME}_ccnew",)) == []


def test_behind_a_pooler_it_is_left_to_the_migration(pgbouncer: Pooler) -> None:
    """Settings and a build of three transactions need one session."""
    said: list[str] = []
    pooled = Database(pgbouncer.url)
    indexes_ahead.build(pooled, said.append)
    pooled.close()
    assert "goes through a pooler" in said[-1]


def test_one_that_cannot_be_built_ahead_is_left_to_the_migration(
    server: Server, database_name: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes_ahead, "PATIENCE", 1.0)
    said: list[str] = []
    with psycopg.connect(server.url(database_name)) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from public.job_payloads")
        indexes_ahead.build(database, said.append)
    assert "canceling statement due to lock timeout" in said[-1] and "the migration builds it" in said[-1]
    migrated(database)
    assert database.rows(VALID, (NAME,)) == [{"valid": True}]


def test_a_small_table_is_left_to_the_migration(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes_ahead, "LARGE", 32 * 2**20)
    said: list[str] = []
    indexes_ahead.build(database, said.append)
    assert said == [] and database.rows(VALID, (NAME,)) == []
