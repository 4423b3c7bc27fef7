"""Behind a pooler that sends each statement to another server connection: nothing may depend on session state."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cuttable_proxy import Wire
from executor_site import Child, Site, Zygote, running
from stack_fixtures import Pooler
from support import Permissive, Server, Switch, claim, executor, finish, new_user, row, submit, types
from waiting import LIMIT, wait_for

from executors.shelf import Shelf
from ourvidz.db.connection import Ambiguous, Database, DatabaseAway, DatabaseReadOnly
from ourvidz.dev.pgbouncer import Program
from ourvidz.lifecycle import Jobs
from state.errors import StaleClaim


@pytest.fixture
def pooled(pgbouncer: Pooler) -> Iterator[Database]:
    database = Database(pgbouncer.url)
    with database.driver() as one_client:  # its second server connection opens a moment later
        first = one_client.execute("select pg_backend_pid()").fetchone()
        wait_for(lambda: one_client.execute("select pg_backend_pid()").fetchone() != first, "for the pooler to switch")
    yield database
    database.close()


def test_a_job_completes_through_the_pooler(pooled: Database) -> None:
    jobs = Jobs(pooled, Permissive(), patience=20)
    pooled.rows("update ourvidz.policy set backoff_base = 0.01, backoff_max = 0.01")
    user = new_user(pooled)
    done, lost, dropped = (submit(jobs, user) for _ in range(3))
    first = executor(jobs, "first")
    finish(jobs, claim(jobs, first))
    stale = claim(jobs, first)
    jobs.executor_gone(first)
    second = executor(jobs, "second")
    jobs.heartbeat(second)
    jobs.cancel(dropped)
    (again,) = wait_for(lambda: jobs.claim(second), "for the lost job's next attempt")
    assert again.job_id == stale.job_id == lost and again.claim_no > stale.claim_no
    with pytest.raises(StaleClaim):
        jobs.advance(stale, "generation_started")
    finish(jobs, again)
    assert [row(pooled, job_id)["status"] for job_id in (done, lost, dropped)] == ["completed", "completed", "cancelled"]
    assert types(pooled, lost).count("completed") == 1


def test_two_executors_at_once_through_the_pooler(pooled: Database, loaded: Shelf, zygote: Zygote, tmp_path: Path) -> None:
    """With the real Listener, whose LISTEN a transaction pooler drops: polling finds what it misses."""
    site = Site(pooled, loaded, tmp_path)
    jobs = [site.submit() for _ in range(4)]

    def spawned(name: str, **more: int) -> Child:
        return zygote.spawn(pooled.url, tmp_path / name, tmp_path / "store", name=name, until=jobs, **more)

    with running(spawned("first", stop_at_step=1)) as first, running(spawned("second")) as second:
        wait_for(first.stopped, "for the first to be at work")
        wait_for(lambda: "completed" in [site.row(job_id)["status"] for job_id in jobs], "for the second to finish a job beside it")
        first.signal(signal.SIGCONT)
        assert first.wait() == second.wait() == 0
    for job_id in jobs:
        site.completed(job_id)
        assert site.types(job_id).count("claimed") == 1


def test_a_dead_pooler_and_a_read_only_database_are_survived(
    pgbouncer: Pooler, pgbouncer_program: Program, server: Server, database_name: str, tmp_path: Path
) -> None:
    """PgBouncer tells its clients neither of a standby nor of read-only mode: the result of a statement decides."""
    switch, second = Switch(server, database_name), None
    with Wire(pgbouncer.url) as wire:
        far = Database(wire.url)
        jobs = Jobs(far, Permissive(), patience=120)
        submit(jobs, new_user(far))
        held = claim(jobs, gpu := executor(jobs))
        switch.read_only(on=True)
        wait_for(lambda: raised(lambda: jobs.heartbeat(gpu)) is DatabaseReadOnly, "for the pooler to find that out")
        assert far.engine.pool.checkedin() == 0  # type: ignore[attr-defined]
        pgbouncer.close()
        wait_for(lambda: raised(lambda: jobs.heartbeat(gpu)) is DatabaseAway, "for the pooler to be gone")
        finished = threading.Thread(target=finish, args=(jobs, held))
        finished.start()
        try:
            second = Pooler(pgbouncer_program, server.url(database_name), tmp_path / "second")
            wire.lead_to(second.url)
            switch.read_only(on=False)
            finished.join(LIMIT)
            assert types(far, held.job_id)[-1] == "completed"
            assert types(far, held.job_id).count("artifact_uploaded") == 1
        finally:
            switch.read_only(on=False)
            far.close()
            if second is not None:
                second.close()


def raised(act: Callable[[], object]) -> type[Exception] | None:
    try:
        act()
    except (DatabaseAway, Ambiguous) as error:
        return type(error)
    return None
