"""A job's history in SQL: its state at any instant, its timeline, its durations; and the depth of the queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from support import Clock, as_job, claim, events, executor, finish, submit

from ourvidz.db import queries
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.job import FOLDED, fold

User = Callable[..., str]


@pytest.fixture
def lived(database: Database, jobs: Jobs, user: User, clock: Clock) -> str:
    """A job with a varied history: 10 s queued, claimed, enhanced, 20 s generating, failed, retried after a wait, finished."""
    job_id, gpu = submit(jobs, user(), "image7b_fast_enhanced"), executor(jobs)
    clock.advance(10)
    job = claim(jobs, gpu)
    jobs.advance(job, "enhancement_started")
    clock.advance(5)
    jobs.enhanced(job, "more", seconds=5, tokens=3)
    jobs.advance(job, "generation_started")
    clock.advance(20)
    jobs.fail(job, "out_of_memory", "No memory.")
    clock.advance(600)
    jobs.heartbeat(gpu)
    job = claim(jobs, gpu)
    clock.advance(3)
    finish(jobs, job)
    return job_id


def test_job_as_of_equals_the_fold_up_to_that_instant(database: Database, lived: str, clock: Clock) -> None:
    told = events(database, lived)
    instants = sorted({e.occurred_at for e in told})
    assert len(instants) >= 6
    for at in instants:
        for moment in (at - timedelta(microseconds=1), at, at + timedelta(seconds=1)):
            past = [e for e in told if e.occurred_at <= moment]
            (found,) = database.rows("select (j).* from ourvidz.job_as_of(%s, %s) as j", (lived, moment))
            if past:
                assert as_job(found) == fold(past, lived), moment
            else:
                assert all(found[name] is None for name in FOLDED)  # it did not exist yet


def test_the_timeline_has_the_duration_of_each_status(database: Database, lived: str) -> None:
    rows = database.rows("select * from public.job_timeline where job_id = %s order by version", (lived,))
    told = events(database, lived)
    assert [r["version"] for r in rows] == [e.version for e in told]
    for r, e, after in zip(rows, told, [*told[1:], None], strict=True):
        assert r["lasted"] == (after.occurred_at - e.occurred_at if after else None)
        assert r["since_submit"] == e.occurred_at - told[0].occurred_at


def test_durations_add_up(database: Database, lived: str) -> None:
    (found,) = database.rows("select * from public.job_durations where job_id = %s", (lived,))
    assert (found["enhancing_s"], found["generating_s"], found["uploading_s"], found["preparing_s"]) == (5, 20, 0, 3)
    (failed,) = (e for e in events(database, lived) if e.type == "retry_scheduled")
    backoff = (datetime.fromisoformat(failed.data["run_at"]) - failed.occurred_at).total_seconds()
    assert backoff > 5 and found["scheduled_s"] == pytest.approx(backoff, abs=1e-3)
    assert found["queued_s"] == pytest.approx(10 + 600 - backoff, abs=1e-3)
    assert found["total_s"] == 638 and (found["status"], found["attempts"]) == ("completed", 2)


def test_durations_of_given_jobs_use_the_event_index(database: Database) -> None:
    ids = ",".join(str(uuid4()) for _ in range(2))
    with database.transaction() as connection:
        # With a vacuumed empty table the planner prefers a seq scan: disabled here, as the question is only if the index can be used.
        connection.exec_driver_sql("set local enable_seqscan = off")
        plan = connection.exec_driver_sql(f"explain select * from public.job_durations where job_id = any ('{{{ids}}}'::uuid[])").all()
    assert any("Index Cond: (job_id = ANY" in line for (line,) in plan), plan


def test_queued_time_counts_only_claimable_time(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    """Not while its model is loaded, before its run_at, or while it is snoozed."""
    gpu = executor(jobs)
    job_id = submit(jobs, user(), run_at=clock.at + timedelta(seconds=30))
    clock.advance(31)  # 30 before its run_at, 1 waiting
    jobs.heartbeat(gpu)
    held = claim(jobs, gpu)
    clock.advance(27.7)  # loading the model
    jobs.snooze(held, "model_file", 60)
    clock.advance(64)  # 60 snoozed, 4 waiting
    jobs.heartbeat(gpu)
    held = claim(jobs, gpu)
    clock.advance(3.2)
    finish(jobs, held)
    (found,) = database.rows("select * from public.job_durations where job_id = %s", (job_id,))
    stages = {name: round(found[f"{name}_s"], 3) for name in ("queued", "scheduled", "preparing", "generating", "uploading", "enhancing")}
    assert stages == {"queued": 5, "scheduled": 90, "preparing": 30.9, "generating": 0, "uploading": 0, "enhancing": 0}
    assert found["total_s"] == pytest.approx(sum(stages.values()))
    (shown,) = queries.durations(database)
    assert shown["queued_p50"] == 5 and queries.waited(database, [job_id]) == {job_id: 5}


def test_queue_depth(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    owner = user("pro")
    for n in range(3):
        submit(jobs, owner, "sdxl_image_fast", prompt=f"s{n}")
    submit(jobs, owner, "sdxl_image_fast", run_at=clock.at + timedelta(hours=1))
    submit(jobs, owner, "video_high")
    claim(jobs, executor(jobs, lanes=["sdxl"]))
    clock.advance(7)
    depth = {(r["lane"], r["priority"]): r for r in database.rows("select * from public.queue_depth")}
    assert set(depth) == {("sdxl", 5), ("wan", 4)}
    sdxl, wan = depth["sdxl", 5], depth["wan", 4]
    assert (sdxl["ready"], sdxl["scheduled"], sdxl["held"], sdxl["waiting_longest"]) == (2, 1, 1, timedelta(seconds=7))
    assert (wan["ready"], wan["scheduled"], wan["held"]) == (1, 0, 0)


def test_events_stay_ordered_when_the_clock_is_set_back(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id, gpu = submit(jobs, user()), executor(jobs)
    clock.advance(-3600)
    job = claim(jobs, gpu)
    finish(jobs, job)
    instants = [e.occurred_at for e in events(database, job_id)]
    assert instants == sorted(instants)
    assert fold(events(database, job_id), job_id) == as_job(database.rows("select * from public.jobs")[0])
