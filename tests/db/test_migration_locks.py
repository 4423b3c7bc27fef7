"""A migration next to sessions that hold locks it needs: it names them and waits, and submits behind it are delayed only briefly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Connection
from support import Server, executor, finish, submit
from waiting import LIMIT

from ourvidz.db import migrate, schema_objects
from ourvidz.db.connection import Database, DatabaseBusy
from ourvidz.db.lock_retry import MigrationBlocked, give_way
from ourvidz.lifecycle import Jobs

User = Callable[..., str]
Blocker = Callable[[psycopg.Connection, str], object]


def outdated(database: Database, *, everything: bool = False) -> None:
    """Pretend that an older release applied the schema objects: the policies on jobs must be made again, which takes their strongest
    lock; or every object."""
    which = "kind in ('function', 'view', 'trigger', 'policy')" if everything else "kind = 'policy' and name like '% on public.jobs'"
    assert database.rows(f"update ourvidz.schema_objects set digest = 'older' where {which} returning 1")
    database.rows("update ourvidz.schema_objects set digest = 'older', release = 1 where kind = 'layer'")


def migrated(database: Database, **more: float) -> list[str]:
    """Migrate; returns the messages printed while it waited."""
    said: list[str] = []
    give_way(database, lambda connection: migrate.migrate(connection, lock_timeout=None), tell=said.append, **more)
    with database.transaction() as connection:
        assert schema_objects.standing(connection) is schema_objects.Standing.CURRENT
    return said


@contextmanager
def submitting(jobs: Jobs, user: str) -> Iterator[list[float]]:
    """Submits jobs in a loop; yields the list of their durations."""
    took: list[float] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.02):
            began = time.monotonic()
            submit(jobs, user)
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join(LIMIT)
    assert not thread.is_alive()


def idle_reader(connection: psycopg.Connection, job: str) -> None:
    connection.execute("select status from public.jobs where id = %s", (job,))


def writer(connection: psycopg.Connection, job: str) -> None:
    connection.execute("update public.videos set title = title")
    connection.execute("select ourvidz.reprioritise(%s, 3)", (job,))


def analyst(connection: psycopg.Connection, job: str) -> None:
    connection.execute("declare c cursor for select * from public.job_events natural join public.jobs")
    connection.execute("fetch 1 from c")


def locker(connection: psycopg.Connection, job: str) -> None:
    connection.execute("lock table public.jobs in share update exclusive mode")  # as a manual VACUUM does


def test_a_migration_waits_for_another_without_suggesting_to_end_it(database: Database) -> None:
    outdated(database)
    held, released = threading.Event(), threading.Event()

    def first(connection: Connection) -> None:
        migrate.migrate(connection, lock_timeout=None)
        held.set()
        assert released.wait(LIMIT)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(give_way, database, first)
        assert held.wait(LIMIT)
        said: list[str] = []

        def tell(line: str) -> None:
            said.append(line)
            released.set()

        give_way(database, lambda connection: migrate.migrate(connection, lock_timeout=None), tell=tell)
        other.result(LIMIT)
    assert "another migration (session" in said[0] and "pg_terminate_backend" not in said[0]


@pytest.mark.parametrize(
    "hold", [idle_reader, writer, pytest.param(analyst, marks=pytest.mark.nightly), locker]
)  # an analyst locks as a reader does
def test_a_blocked_migration_names_the_blocker_and_submits_continue(
    server: Server, database_name: str, database: Database, jobs: Jobs, user: User, hold: Blocker
) -> None:
    database.rows("update ourvidz.plans set submits_per_minute = 100000, unfinished = 100000")
    someone = user()
    job = submit(jobs, someone)
    outdated(database)
    said: list[str] = []
    with psycopg.connect(server.url(database_name), application_name="a-person's-psql") as blocking:
        hold(blocking, job)
        pid = blocking.info.backend_pid
        thread = threading.Thread(
            target=give_way,
            args=(database, lambda connection: migrate.migrate(connection, lock_timeout=None)),
            kwargs={"tell": said.append},
        )
        thread.start()
        with submitting(jobs, someone) as took:
            until = time.monotonic() + 60
            while not said or len(took) < 3:
                assert time.monotonic() < until
                time.sleep(0.05)
        assert max(took) < 8, "a submit waited behind the migration"
        blocking.rollback()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert f"session {pid} (a-person's-psql of ourvidz, idle in transaction for" in said[0]
    assert f"pg_terminate_backend({pid})" in said[0]
    with database.transaction() as connection:
        assert schema_objects.standing(connection) is schema_objects.Standing.CURRENT


def test_a_migration_that_times_out_changes_nothing(server: Server, database_name: str, database: Database) -> None:
    outdated(database)
    before = database.rows("select * from ourvidz.schema_objects order by kind, name")
    with psycopg.connect(server.url(database_name)) as blocking:
        blocking.execute("select count(*) from public.jobs")
        with pytest.raises(MigrationBlocked, match=rf"session {blocking.info.backend_pid} .*Nothing was changed"):
            migrated(database, patience=0)
    assert database.rows("select * from ourvidz.schema_objects order by kind, name") == before


def test_two_concurrent_migrations_both_succeed(server: Server, database_name: str, database: Database) -> None:
    outdated(database, everything=True)
    other = Database(server.url(database_name))
    # Without Alembic, whose context is global to the process.
    threads = [threading.Thread(target=give_way, args=(one, schema_objects.apply)) for one in (database, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    other.close()
    with database.transaction() as connection:
        assert schema_objects.standing(connection) is schema_objects.Standing.CURRENT


def test_jobs_are_claimed_and_finished_while_every_object_is_replaced(
    server: Server, database_name: str, database: Database, jobs: Jobs, user: User
) -> None:
    """As executors of the previous release do during an upgrade: every error is retried."""
    database.rows("update ourvidz.plans set submits_per_minute = 100000, unfinished = 100000")
    database.rows("update ourvidz.policy set lease = 3600")  # no heartbeats here, and a busy machine may take longer than a lease
    someone, gpu, done, stop = user(), executor(jobs), [], threading.Event()
    troubles: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                submit(jobs, someone)
                try:
                    claims = jobs.claim(gpu)
                except DatabaseBusy:
                    continue  # as the worker does: it tries again in its next round
                for claim in claims:
                    finish(jobs, claim)
                    done.append(claim.job_id)
        except BaseException as error:
            troubles.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    other = Database(server.url(database_name))
    for _ in range(2):
        outdated(other, everything=True)
        migrated(other)
    reached = len(done)
    until = time.monotonic() + 60
    while len(done) < reached + 2 and not troubles:
        assert time.monotonic() < until
        time.sleep(0.05)
    stop.set()
    thread.join(LIMIT)
    other.close()
    assert not troubles, troubles
