"""Claims: a job has one holder; stale claims change nothing; a sleeping executor is woken once. Races are staged with two connections."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from support import LANES, Clock, artifact, claim, executor, finish, row, submit, types, wait_for_lock
from waiting import LIMIT

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from state.errors import ExecutorGone, IllegalTransition, StaleClaim

User = Callable[..., str]
CLAIM = "select job_id from ourvidz.claim(%s, p_limit => %s)"


def test_two_connections_never_get_the_same_job(database: Database, jobs: Jobs, user: User) -> None:
    """The second claim comes before the first commits: it neither waits nor takes the same job."""
    owner = user()
    ids = {submit(jobs, owner, prompt=f"lighthouse {n}") for n in range(3)}
    one, two = executor(jobs, "gpu1"), executor(jobs, "gpu2")
    with database.driver() as first, database.driver() as second:
        second.execute("set statement_timeout = '5s'")
        with first.transaction():
            got = {str(r[0]) for r in first.execute(CLAIM, (one, 2)).fetchall()}
            other = {str(r[0]) for r in second.execute(CLAIM, (two, 3)).fetchall()}
        assert len(got) == 2 and len(other) == 1 and got | other == ids


def test_a_rolled_back_claim_releases_the_job_at_once(database: Database, jobs: Jobs, user: User) -> None:
    job_id, gpu = submit(jobs, user()), executor(jobs)
    with database.driver() as dying:
        dying.execute("begin")
        assert len(dying.execute(CLAIM, (gpu, 1)).fetchall()) == 1
        assert jobs.claim(executor(jobs, "gpu2")) == []
        dying.execute("rollback")
    assert claim(jobs, gpu).job_id == job_id and row(database, job_id)["claim_no"] == 1


def test_a_claim_returns_all_job_data(jobs: Jobs, user: User, clock: Clock) -> None:
    owner = user()
    job_id = submit(jobs, owner, "sdxl_image_high", negative_prompt="fog", settings={"seed": 5, "images": 3}, metadata={"scene": 4})
    job = claim(jobs, executor(jobs))
    assert (job.job_id, job.user_id, job.job_type, job.lane) == (job_id, owner, "sdxl_image_high", "sdxl")
    assert (job.prompt, job.negative_prompt, job.metadata, job.attempts) == ("a lighthouse at dusk", "fog", {"scene": 4}, 1)
    assert job.settings.seeds == (5, 6, 7) and job.settings.steps == 25
    assert job.deadline - job.claimed_at == timedelta(seconds=600)


def test_the_database_draws_a_seed_once(database: Database, jobs: Jobs, user: User) -> None:
    submit(jobs, user())
    gpu = executor(jobs)
    first = claim(jobs, gpu)
    jobs.snooze(first, "drain")
    assert claim(jobs, gpu).settings.seed == first.settings.seed is not None


def test_jobs_of_lanes_the_executor_lacks_are_not_claimed(jobs: Jobs, user: User) -> None:
    submit(jobs, user(), "video_fast")
    assert jobs.claim(executor(jobs, "gpu0", ["sdxl", "sdxl_ip"])) == []
    assert claim(jobs, executor(jobs, "gpu1", ["wan"])).lane == "wan"


def test_a_job_is_not_claimed_before_its_time(jobs: Jobs, user: User, clock: Clock) -> None:
    job_id = submit(jobs, user(), run_at=clock.at + timedelta(seconds=60))
    gpu = executor(jobs)
    clock.advance(59)
    jobs.heartbeat(gpu)
    assert jobs.claim(gpu) == []
    clock.advance(1)
    jobs.heartbeat(gpu)
    assert claim(jobs, gpu).job_id == job_id


# -- stale claims (fencing) -------------------------------------------------------------------------------------------------------

WRITES: dict[str, Callable[[Jobs, Claim], Any]] = {
    "advance": lambda jobs, job: jobs.advance(job, "generation_started"),
    "enhanced": lambda jobs, job: jobs.enhanced(job, "more", seconds=1, tokens=1),
    "artifact_generated": lambda jobs, job: jobs.artifact_generated(job, artifact(job)),
    "artifact_uploaded": lambda jobs, job: jobs.artifact_uploaded(job, "image", 0, artifact(job)["sha256"]),
    "complete": lambda jobs, job: jobs.complete(job),
    "fail": lambda jobs, job: jobs.fail(job, "bad_output", "It broke."),
    "snooze": lambda jobs, job: jobs.snooze(job, "drain"),
    "honour_cancel": lambda jobs, job: jobs.honour_cancel(job),
}
TABLES = ("public.jobs", "public.job_events", "public.job_payloads", "public.artifacts")


def everything(database: Database) -> list[Any]:
    return [database.rows(f"select * from {table} order by 1, 2, 3") for table in TABLES]


@pytest.mark.parametrize("write", WRITES)
def test_a_stale_claim_changes_nothing(database: Database, jobs: Jobs, user: User, clock: Clock, write: str) -> None:
    """The zombie: a worker that slept through its lease wakes up while another holds the job in the same stage."""
    submit(jobs, user())
    old = claim(jobs, executor(jobs, "gpu1"))
    if write != "advance":
        jobs.advance(old, "generation_started")
    clock.advance(31)
    assert jobs.reap()["lapsed"] == 1
    new = claim(jobs, executor(jobs, "gpu2"))
    if write != "advance":
        jobs.advance(new, "generation_started")
    assert (new.job_id, new.claim_no) == (old.job_id, old.claim_no + 1) and new.token != old.token
    before = everything(database)
    forged = [replace(new, claim_no=old.claim_no), replace(new, token=old.token), replace(new, token=str(uuid.uuid4()))]
    for stale in (old, replace(old, claim_no=new.claim_no), *forged):
        with pytest.raises(StaleClaim) as refused:
            WRITES[write](jobs, stale)
        assert new.job_id in str(refused.value) and "Stop working on it" in str(refused.value)
    assert everything(database) == before


@pytest.mark.parametrize("write", WRITES)
def test_a_token_is_valid_only_for_its_own_job(database: Database, jobs: Jobs, user: User, write: str) -> None:
    owner, gpu = user(), executor(jobs)
    submit(jobs, owner, prompt="one")
    submit(jobs, owner, prompt="two")
    first, second = jobs.claim(gpu, limit=2)
    before = everything(database)
    with pytest.raises(StaleClaim):
        WRITES[write](jobs, replace(first, token=second.token))
    assert everything(database) == before


def test_advance_many_skips_stale_claims(database: Database, jobs: Jobs, user: User) -> None:
    owner, gpu = user("pro"), executor(jobs)
    for n in range(5):
        submit(jobs, owner, prompt=f"lighthouse {n}")
    claims = jobs.claim(gpu, limit=5)
    jobs.snooze(claims[1], "drain")
    stale = [claims[1], replace(claims[3], token=str(uuid.uuid4())), replace(claims[4], claim_no=claims[4].claim_no - 1)]
    assert set(jobs.advance_many(claims[:3] + stale[1:], "generation_started")) == {claims[0].job_id, claims[2].job_id}


def test_a_batch_step_is_all_or_nothing(database: Database, jobs: Jobs, user: User) -> None:
    """If one job of the batch may not take the step, none does."""
    owner, gpu = user("pro"), executor(jobs)
    for n in range(2):
        submit(jobs, owner, prompt=f"lighthouse {n}")
    one, two = jobs.claim(gpu, limit=2)
    jobs.advance(one, "generation_started")
    with pytest.raises(IllegalTransition):
        jobs.advance_many([one, two], "enhancement_started")
    assert (row(database, one.job_id)["status"], row(database, two.job_id)["status"]) == ("generating", "queued")
    with pytest.raises(IllegalTransition):
        jobs.complete_many([one, two])


def test_a_write_whose_claim_is_lost_while_it_waits_for_the_lock_is_refused(
    database: Database, jobs: Jobs, user: User, clock: Clock
) -> None:
    """Staged: the write is sent while the claim still holds, and gets the row lock after the claim was taken away."""
    submit(jobs, user())
    job = claim(jobs, executor(jobs))
    with ThreadPoolExecutor(1) as pool, database.driver() as reaper, psycopg.connect(database.url, autocommit=True) as late:
        late.execute("set statement_timeout = '10s'")
        reaper.execute("begin")
        reaper.execute("select ourvidz.executor_gone(executor_id) from public.jobs where id = %s", (job.job_id,))
        sent = pool.submit(late.execute, "select ourvidz.advance(%s, %s, %s, 'generation_started')", job.ref)
        wait_for_lock(database, late.info.backend_pid)
        reaper.execute("commit")
        with pytest.raises(psycopg.Error) as refused:
            sent.result(LIMIT)
    assert refused.value.sqlstate == "OV002"
    assert types(database, job.job_id) == ["submitted", "claimed", "lease_expired"]


def test_complete_does_not_miss_an_output_recorded_while_it_waits(database: Database, jobs: Jobs, user: User) -> None:
    """Staged: complete has counted no outputs and waits for the job's row; meanwhile earlier calls of this claim record one."""
    submit(jobs, user())
    job = claim(jobs, executor(jobs))
    with ThreadPoolExecutor(1) as pool, database.driver() as earlier, psycopg.connect(database.url, autocommit=True) as late:
        late.execute("set statement_timeout = '10s'")
        earlier.execute("begin")
        earlier.execute("select ourvidz.advance(%s, %s, %s, 'generation_started')", job.ref)
        sent = pool.submit(late.execute, "select ourvidz.complete(%s, %s, %s)", job.ref)
        wait_for_lock(database, late.info.backend_pid)
        earlier.execute("select ourvidz.artifact_generated(%s, %s, %s, %s::jsonb)", (*job.ref, json.dumps(artifact(job))))
        earlier.execute("select ourvidz.advance(%s, %s, %s, 'upload_started')", job.ref)
        earlier.execute("commit")
        with pytest.raises(psycopg.Error) as refused:
            sent.result(LIMIT)
    assert refused.value.sqlstate == "OV001" and "another output" in str(refused.value)
    assert row(database, job.job_id)["status"] == "uploading"


# -- executors and leases ---------------------------------------------------------------------------------------------------------


def test_a_job_with_an_expired_lease_can_be_claimed_by_others(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id = submit(jobs, user())
    one, two = executor(jobs, "gpu1"), executor(jobs, "gpu2")
    job = claim(jobs, one)
    clock.advance(29)
    jobs.heartbeat(two)
    assert jobs.reap() == {"lapsed": 0, "timed_out": 0, "promoted": 0, "busy": False}
    jobs.heartbeat(one)  # renewed: 30 s more
    clock.advance(29)
    jobs.heartbeat(two)
    assert jobs.reap()["lapsed"] == 0
    clock.advance(1)
    assert jobs.reap()["lapsed"] == 1
    assert claim(jobs, two).job_id == job_id
    for refused in (lambda: jobs.heartbeat(one), lambda: jobs.claim(one)):
        with pytest.raises(ExecutorGone):
            refused()
    with pytest.raises(StaleClaim):
        jobs.advance(job, "generation_started")


def test_an_executor_with_an_expired_lease_may_return_before_it_is_reaped(jobs: Jobs, user: User, clock: Clock) -> None:
    gpu = executor(jobs)
    submit(jobs, user())
    clock.advance(31)
    with pytest.raises(ExecutorGone, match="heartbeat"):
        jobs.claim(gpu)
    jobs.heartbeat(gpu)
    assert claim(jobs, gpu)


def test_a_dead_executors_jobs_can_be_claimed_at_once(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user())
    one, two = executor(jobs, "gpu1"), executor(jobs, "gpu2")
    claim(jobs, one)
    assert jobs.executor_gone(one) == 1
    assert claim(jobs, two).job_id == job_id
    assert jobs.executor_gone(one) == 0
    assert database.rows("select data->>'cause' as cause from public.job_events where type = 'lease_expired'") == [{"cause": "died"}]


def test_a_claim_that_commits_after_its_executor_was_declared_gone_is_reaped(database: Database, jobs: Jobs, user: User) -> None:
    """Staged: the process is killed with its claim in flight. The supervisor finds no job to give back; then the server commits the
    claim."""
    owner, gpu = user(), executor(jobs)
    submit(jobs, owner, prompt="one")
    finish(jobs, claim(jobs, gpu))  # sets its lane, so the next claim does not update the executor's row
    job_id = submit(jobs, owner, prompt="two")
    with database.driver() as in_flight:
        in_flight.execute("begin")
        assert in_flight.execute(CLAIM, (gpu, 1)).fetchall() == [(uuid.UUID(job_id),)]
        assert jobs.executor_gone(gpu) == 0
        in_flight.execute("commit")
    assert row(database, job_id)["executor_id"] is not None
    assert jobs.reap()["lapsed"] == 1
    assert claim(jobs, executor(jobs, "gpu2")).job_id == job_id


def test_a_draining_executor_finishes_what_it_holds_and_leaves(database: Database, jobs: Jobs, user: User) -> None:
    gpu = executor(jobs)
    submit(jobs, user())
    job = claim(jobs, gpu)
    jobs.drain(gpu)
    jobs.heartbeat(gpu)
    finish(jobs, job)
    jobs.drain(gpu, done=True)
    with pytest.raises(ExecutorGone):
        jobs.heartbeat(gpu)
    assert row(database, job.job_id)["status"] == "completed"


def test_held_shows_current_claims_and_requested_cancels(jobs: Jobs, user: User) -> None:
    owner, gpu = user(), executor(jobs)
    ids = [submit(jobs, owner, prompt=f"lighthouse {n}") for n in range(2)]
    jobs.claim(gpu, limit=2)
    assert jobs.cancel(ids[0]) == "cancel_requested"
    held = jobs.held(gpu)
    assert {job: h.cancel_requested for job, h in held.items()} == {ids[0]: True, ids[1]: False}
    jobs.executor_gone(gpu)
    assert jobs.held(gpu) == {}


def test_gone_executors_are_deleted_after_a_week(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    jobs.executor_gone(executor(jobs))
    clock.advance(8 * 86_400)
    jobs.reap()
    assert database.rows("select 1 from ourvidz.executors") == []


def test_a_claim_commits_synchronously(database: Database, jobs: Jobs, user: User) -> None:
    """A claim lost in a power failure would be given out twice with the same claim number."""
    submit(jobs, user())
    gpu = executor(jobs)
    with database.driver() as connection, connection.transaction():
        connection.execute("set local synchronous_commit = off")
        connection.execute(CLAIM, (gpu, 1))
        assert connection.execute("show synchronous_commit").fetchone() == ("on",)


# -- waking executors -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def notes(database: Database) -> Callable[[], list[str]]:
    listening = psycopg.connect(database.url, autocommit=True)
    listening.execute("listen ourvidz")

    def heard() -> list[str]:
        # A notification is delivered before the answer to a later statement of the listener.
        listening.execute("select 1")
        return [note.payload for note in listening.notifies(timeout=0)]

    yield heard  # type: ignore[misc]
    listening.close()


def test_the_next_submit_wakes_an_executor_with_an_empty_claim(jobs: Jobs, user: User, notes: Callable[[], list[str]]) -> None:
    owner, sleeping, other = user("pro"), executor(jobs, "gpu1"), executor(jobs, "gpu2")
    submit(jobs, owner, prompt="before")
    assert notes() == []  # nobody sleeps yet
    finish(jobs, claim(jobs, sleeping))
    assert jobs.claim(sleeping) == []
    submit(jobs, owner, prompt="one")
    assert notes() == [sleeping]
    submit(jobs, owner, prompt="two")
    assert notes() == []  # the first is awake already, the other never slept
    assert len(jobs.claim(sleeping, limit=2)) == 2 and jobs.claim(other) == []


def test_a_backlog_sends_only_one_notification(jobs: Jobs, user: User, notes: Callable[[], list[str]]) -> None:
    owner, gpu = user("premium"), executor(jobs)
    assert jobs.claim(gpu) == []
    for n in range(10):
        submit(jobs, owner, prompt=f"lighthouse {n}")
    assert notes() == [gpu]


def test_only_executors_with_the_lane_are_woken_and_the_resident_one_first(jobs: Jobs, user: User, notes: Callable[[], list[str]]) -> None:
    sdxl, wan, warm = executor(jobs, "a", ["sdxl"]), executor(jobs, "b", ["wan"]), executor(jobs, "c", ["wan"])
    jobs.heartbeat(warm, resident=["wan"])
    assert jobs.claim(sdxl) == jobs.claim(wan) == jobs.claim(warm) == []
    submit(jobs, user(), "image_fast")
    assert notes() == [warm]
    submit(jobs, user(), "image_fast")
    assert notes() == [wan]


def test_a_delayed_job_wakes_when_it_is_due(jobs: Jobs, user: User, clock: Clock, notes: Callable[[], list[str]]) -> None:
    gpu = executor(jobs)
    assert jobs.claim(gpu) == []
    submit(jobs, user(), run_at=clock.at + timedelta(seconds=20))
    assert notes() == []
    clock.advance(21)
    assert jobs.reap()["promoted"] == 1
    assert notes() == [gpu]


def test_a_cancel_wakes_the_executor_that_has_the_job(jobs: Jobs, user: User, notes: Callable[[], list[str]]) -> None:
    job_id, gpu = submit(jobs, user()), executor(jobs)
    claim(jobs, gpu)
    jobs.cancel(job_id)
    assert notes() == [gpu]
    jobs.cancel(job_id)
    assert notes() == []


def test_no_named_prepared_statements_are_used(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    """Behind a transaction pooler each statement may run in another session, so no session state may be left behind."""
    narrow = Database(database.url, pool_size=1)
    verbs = Jobs(narrow, jobs.screen)
    owner = user()
    for n in range(8):  # psycopg prepares a statement at its fifth execution
        submit(verbs, owner, prompt=f"lighthouse {n}")
        gpu = executor(verbs, f"gpu{n}", LANES)
        finish(verbs, claim(verbs, gpu))
        verbs.heartbeat(gpu)
        verbs.held(gpu)
        verbs.reap()
    assert narrow.rows("select * from pg_prepared_statements") == []
    assert narrow.rows("select * from pg_listening_channels()") == []
    assert narrow.rows("select * from pg_locks where locktype = 'advisory'") == []
    narrow.close()


def test_events_name_their_actor(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user())
    finish(jobs, claim(jobs, executor(jobs, "gpu7")))
    actors = [r["actor"] for r in database.rows("select actor from public.job_events where job_id = %s order by version", (job_id,))]
    assert actors == ["person", "executor:gpu7", *["executor"] * 5]
    words = json.dumps([r["data"] for r in database.rows("select data from public.job_events")])
    assert "lighthouse" not in words
