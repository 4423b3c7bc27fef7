"""The connection breaks in the middle of a verb, before or after the commit: the verb still succeeds, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cutting_proxy import AFTER, BEFORE, DURING, Cutter
from support import Permissive, artifact, claim, executor, row, submit, types
from waiting import LIMIT, wait_for

from ourvidz.db.connection import Ambiguous, Database
from ourvidz.lifecycle import Claim, Jobs, NewJob
from state.errors import StaleClaim

User = Callable[..., str]


@pytest.fixture
def line(server: Any, database_name: str, database: Database) -> Iterator[Cutter]:
    cutter = Cutter(server.url(database_name))
    yield cutter
    cutter.close()


@pytest.fixture
def far(line: Cutter) -> Iterator[Jobs]:
    """Jobs whose connection runs through the cutter."""
    database = Database(line.url)
    yield Jobs(database, Permissive(), patience=20)
    database.close()


def held(jobs: Jobs, user: str, status: str) -> Claim:
    """A claimed job in that status."""
    submit(jobs, user, "image7b_fast_enhanced")
    job = claim(jobs, executor(jobs))
    for step in {"queued": (), "enhancing": ("enhancement_started",), "generating": ("generation_started",),
                 "recorded": ("generation_started",), "uploading": ("generation_started", "upload_started")}[status]:  # fmt: skip
        jobs.advance(job, step)
    if status == "recorded":
        jobs.artifact_generated(job, artifact(job))
        jobs.advance(job, "upload_started")
    return job


ON_A_CLAIM: dict[str, tuple[str, Callable[[Jobs, Claim], Any]]] = {
    "enhancement_started": ("queued", lambda jobs, job: jobs.advance(job, "enhancement_started")),
    "generation_started": ("queued", lambda jobs, job: jobs.advance(job, "generation_started", device="cpu")),
    "upload_started": ("generating", lambda jobs, job: jobs.advance(job, "upload_started", outputs=1)),
    "enhancement_skipped": ("enhancing", lambda jobs, job: jobs.advance(job, "enhancement_skipped", reason="timeout", seconds=60.5)),
    "reference_skipped": ("queued", lambda jobs, job: jobs.advance(job, "reference_skipped", reference="single", reason="bad_reference")),
    "generation_repeated": ("generating", lambda jobs, job: jobs.advance(job, "generation_repeated", index=0, reason="bad_output")),
    "prompt_enhanced": ("enhancing", lambda jobs, job: jobs.enhanced(job, "more", seconds=1, tokens=1)),
    "artifact_generated": ("generating", lambda jobs, job: jobs.artifact_generated(job, artifact(job), seconds=1.5)),
    "artifact_uploaded": ("recorded", lambda jobs, job: jobs.artifact_uploaded(job, "image", 0, artifact(job)["sha256"])),
    "completed": ("uploading", lambda jobs, job: jobs.complete(job)),
    "retry_scheduled": ("generating", lambda jobs, job: jobs.fail(job, "out_of_memory", "No memory.")),
    "failed": ("generating", lambda jobs, job: jobs.fail(job, "bad_output", "It broke.", retryable=False)),
    "snoozed": ("generating", lambda jobs, job: jobs.snooze(job, "drain", 5)),
}


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize("event", ON_A_CLAIM)
def test_a_claims_event_is_written_once(database: Database, jobs: Jobs, far: Jobs, line: Cutter, user: User, event: str, when: str) -> None:
    status, act = ON_A_CLAIM[event]
    job = held(jobs, user(), status)
    before = types(database, job.job_id)
    far.held("00000000-0000-0000-0000-000000000000")  # opens the connection
    line.cut = when
    said = act(far, job)
    assert line.cuts == 1
    assert types(database, job.job_id) == [*before, event]
    assert said is None or said == event


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_honour_cancel_is_written_once(database: Database, jobs: Jobs, far: Jobs, line: Cutter, user: User, when: str) -> None:
    for act in (lambda job: far.honour_cancel(job), lambda job: far.fail(job, "x", "x"), lambda job: far.snooze(job, "drain")):
        job = held(jobs, user(), "generating")
        jobs.cancel(job.job_id)
        line.cut = when
        assert act(job) in (None, "cancelled")
        assert types(database, job.job_id)[-2:] == ["cancel_requested", "cancelled"]
    assert line.cuts == 3


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_an_operators_action_is_written_once(database: Database, jobs: Jobs, far: Jobs, line: Cutter, user: User, when: str) -> None:
    line.cut = when
    job_id = far.submit(NewJob(user(), "image_fast", "a lighthouse")).id
    assert types(database, job_id) == ["submitted"]
    line.cut = when
    far.reprioritise(job_id, 5, version=1)
    line.cut = when
    assert far.cancel(job_id, version=2) == "cancelled"
    line.cut = when
    far.retry(job_id, version=3)
    job = claim(jobs, executor(jobs))
    line.cut = when
    assert far.cancel(job_id, version=5) == "cancel_requested"
    assert types(database, job_id) == ["submitted", "reprioritised", "cancelled", "retried", "claimed", "cancel_requested"]
    assert line.cuts == 5 and job.job_id == job_id
    assert len(database.rows("select 1 from public.jobs")) == 1


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_executor_gone_is_applied_once(database: Database, jobs: Jobs, far: Jobs, line: Cutter, user: User, when: str) -> None:
    job = held(jobs, user(), "generating")
    (me,) = database.rows("select executor_id from public.jobs")
    line.cut = when
    far.executor_gone(str(me["executor_id"]))
    assert types(database, job.job_id)[-2:] == ["generation_started", "lease_expired"]
    line.cut = when
    gpu = far.register("gpu9", "host", 1, ["wan"])
    line.cut = when
    far.drain(gpu, done=True)
    assert line.cuts == 3


def test_a_claim_with_a_lost_answer_is_released_when_the_executor_leaves(jobs: Jobs, far: Jobs, line: Cutter, user: User) -> None:
    """`claim` is the one verb that is not repeated: the caller learns that it may hold a job, and must leave."""
    job_id, gpu = submit(jobs, user()), executor(jobs)
    line.cut = AFTER
    with pytest.raises(Ambiguous):
        far.claim(gpu)
    assert list(far.held(gpu)) == [job_id]
    assert far.executor_gone(gpu) == 1
    assert claim(jobs, executor(jobs, "gpu2")).job_id == job_id


@pytest.mark.parametrize("event", ["generation_repeated", "upload_started", "snoozed"])
def test_a_statement_still_running_after_the_break_is_applied_once(
    database: Database, jobs: Jobs, far: Jobs, line: Cutter, user: User, event: str
) -> None:
    """Staged: the connection breaks while the statement waits for the row. The verb checks, finds no event, and repeats the statement,
    which queues behind the first."""
    status, act = ON_A_CLAIM[event]
    job = held(jobs, user(), status)
    before = types(database, job.job_id)
    far.held("00000000-0000-0000-0000-000000000000")
    with ThreadPoolExecutor(1) as pool, database.driver() as other:
        other.execute("begin")
        other.execute("select from public.jobs where id = %s for update", (job.job_id,))
        line.cut = DURING
        doing = pool.submit(act, far, job)
        waiting = "select count(*) as n from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        try:
            wait_for(lambda: database.rows(waiting)[0]["n"] >= 2, "for the second try to wait behind the first")
        except AssertionError:
            other.execute("rollback")
            raise
        other.execute("commit")
        doing.result(LIMIT)
    assert types(database, job.job_id) == [*before, event]


def test_a_stale_claim_is_still_refused_after_a_broken_connection(
    database: Database, jobs: Jobs, far: Jobs, line: Cutter, user: User
) -> None:
    """After an ambiguous failure, the event of another claim does not count as ours."""
    job = held(jobs, user(), "generating")
    (me,) = database.rows("select executor_id from public.jobs")
    jobs.executor_gone(str(me["executor_id"]))
    other = claim(jobs, executor(jobs, "gpu2"))
    jobs.advance(other, "generation_started")
    line.cut = AFTER
    with pytest.raises(StaleClaim):
        far.advance(job, "upload_started")
    line.cut = BEFORE
    with pytest.raises(StaleClaim):
        far.fail(job, "bad_output", "It broke.")
    assert row(database, job.job_id)["status"] == "generating"


def test_dead_idle_connections_are_not_used(database: Database, jobs: Jobs, superuser: Any, user: User) -> None:
    """As after a failover: the pool is full of dead connections, and no verb fails."""
    owner = user("pro")
    for n in range(3):
        submit(jobs, owner, prompt=f"lighthouse {n}")
        superuser.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and application_name = 'ourvidz'"
        )
    assert len(database.rows("select 1 from public.jobs")) == 3
