"""Retry policy in the database: the effects of a failure, a crash, a snooze, a cancel."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from support import Clock, artifact, claim, executor, finish, row, submit, types

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from state.errors import FinalFailure, IllegalTransition, StaleClaim, VersionConflict
from state.policy import POLICY, backoff, crash_delay

User = Callable[..., str]
COUNTS = ("attempts", "errors", "crashes", "device_crashes", "snoozes")


def counts(database: Database, job_id: str) -> tuple[int, ...]:
    found = row(database, job_id)
    return tuple(found[name] for name in COUNTS)


def again(jobs: Jobs, clock: Clock, gpu: str, seconds: float) -> Claim:
    """A claim by the same executor, `seconds` later."""
    clock.advance(seconds)
    jobs.heartbeat(gpu)
    return claim(jobs, gpu)


def test_a_job_type_may_have_its_own_backoff(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    database.rows("update ourvidz.job_types set backoff_scale = 3 where name = 'video_fast'")
    for job_type, scale in (("video_fast", 3), ("image_fast", 1)):
        job_id = submit(jobs, user(), job_type)
        job = claim(jobs, executor(jobs))
        jobs.advance(job, "generation_started")
        jobs.fail(job, "out_of_memory", "No memory.")
        delay = (row(database, job_id)["run_at"] - clock.at).total_seconds()
        assert scale * backoff(1) * (1 - POLICY.backoff_jitter) <= delay <= scale * backoff(1)


def test_a_job_fails_after_three_errors(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id, gpu = submit(jobs, user()), executor(jobs)
    job = claim(jobs, gpu)
    for failures in (1, 2):
        jobs.advance(job, "generation_started")
        assert jobs.fail(job, "out_of_memory", "No memory.") == "retry_scheduled"
        delay = (row(database, job_id)["run_at"] - clock.at).total_seconds()
        assert backoff(failures) * (1 - POLICY.backoff_jitter) <= delay <= backoff(failures)
        assert row(database, job_id)["ready"] is False and jobs.claim(gpu) == []
        job = again(jobs, clock, gpu, delay)
    assert jobs.fail(job, "out_of_memory", "No memory.") == "failed"
    found = row(database, job_id)
    assert (found["status"], found["error_class"], found["final"], found["completed_at"]) == ("failed", "out_of_memory", False, clock.at)
    assert counts(database, job_id) == (3, 2, 0, 0, 0)
    assert database.rows("select error_message from public.job_payloads")[0]["error_message"] == "No memory."


def test_a_non_retryable_error_fails_at_once(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user())
    assert jobs.fail(claim(jobs, executor(jobs)), "reference_unreadable", "It cannot be read.", retryable=False) == "failed"
    jobs.retry(job_id)  # by a person who fixed the cause
    assert row(database, job_id)["status"] == "queued"


def test_a_snooze_does_not_count_as_an_attempt(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id, gpu = submit(jobs, user()), executor(jobs)
    for n in range(1, 6):
        job = again(jobs, clock, gpu, 30)
        assert job.claim_no == n
        jobs.snooze(job, "drain", 30)
        assert counts(database, job_id) == (0, 0, 0, 0, n)
    assert row(database, job_id)["status"] == "queued" and row(database, job_id)["claim_no"] == 5
    assert jobs.claim(gpu) == []
    finish(jobs, again(jobs, clock, gpu, 30))


def test_a_retry_resets_all_counters_but_the_claim_number(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id, gpu = submit(jobs, user()), executor(jobs)
    old = claim(jobs, gpu)
    jobs.advance(old, "generation_started")
    jobs.fail(old, "bad_output", "It broke.", retryable=False)
    jobs.retry(job_id)
    assert counts(database, job_id) == (0, 0, 0, 0, 0)
    found = row(database, job_id)
    assert (found["claim_no"], found["error_class"], found["completed_at"]) == (1, None, None)
    new = claim(jobs, gpu)
    assert new.claim_no == 2
    with pytest.raises(StaleClaim):
        jobs.advance(old, "generation_started")
    finish(jobs, new)


def test_a_final_failure_cannot_be_retried(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user())
    verdict = {"category": "minors", "policy_version": "2025-08+00000000"}
    assert jobs.fail(claim(jobs, executor(jobs)), "refused_content", "Refused.", final=True, verdict=verdict) == "failed"
    with pytest.raises(FinalFailure, match="no retry may follow"):
        jobs.retry(job_id)
    (told,) = database.rows(
        """select data, encode(sha256(salt || convert_to(prompt, 'UTF8')), 'hex') as digest
           from public.job_events join public.job_payloads using (job_id) where type = 'failed'"""
    )
    assert told["data"] == {"class": "refused_content", "final": True, "digest": told["digest"], **verdict}


def test_a_job_over_its_time_limit_is_retried(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id, gpu = submit(jobs, user(), "image_fast"), executor(jobs)
    job = claim(jobs, gpu)
    jobs.advance(job, "generation_started")
    assert job.deadline == clock.at + timedelta(minutes=10)
    for _ in range(24):  # alive, but without progress
        clock.advance(25)
        jobs.heartbeat(gpu)
    assert jobs.reap() == {"lapsed": 0, "timed_out": 1, "promoted": 0, "busy": False}
    found = row(database, job_id)
    assert (found["status"], found["errors"], found["crashes"], found["error_class"]) == ("queued", 1, 0, "timeout")
    with pytest.raises(StaleClaim):
        jobs.advance(job, "upload_started")


def test_a_video_has_fifteen_minutes(jobs: Jobs, user: User, clock: Clock) -> None:
    submit(jobs, user(), "video_fast")
    assert claim(jobs, executor(jobs)).deadline == clock.at + timedelta(minutes=15)


# -- crashes ----------------------------------------------------------------------------------------------------------------------


def test_a_job_that_kills_three_executors_is_quarantined(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id = submit(jobs, user())
    for n in (1, 2, 3):
        gpu = executor(jobs, f"gpu{n}")
        jobs.advance(claim(jobs, gpu), "generation_started")
        jobs.executor_gone(gpu)
        if n < 3:
            found = row(database, job_id)
            assert (found["status"], found["crashed_on"], found["device_crashes"]) == ("queued", f"gpu{n}", n)
            delay = (found["run_at"] - clock.at).total_seconds()
            assert crash_delay(n) * (1 - POLICY.backoff_jitter) <= delay <= crash_delay(n)
            clock.advance(delay)
    found = row(database, job_id)
    assert (found["status"], found["error_class"], found["final"]) == ("failed", "quarantined", False)
    jobs.retry(job_id)  # an operator decides
    assert counts(database, job_id) == (0, 0, 0, 0, 0) and row(database, job_id)["claim_no"] == 3


def test_a_lease_lost_before_generation_does_not_count_against_the_job(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id = submit(jobs, user())
    for n in range(1, 5):
        gpu = executor(jobs, f"gpu{n}")
        claim(jobs, gpu)
        jobs.executor_gone(gpu)
        clock.advance(700)
    assert counts(database, job_id) == (4, 0, 4, 0, 0)
    assert (row(database, job_id)["status"], row(database, job_id)["crashed_on"]) == ("queued", None)


def test_a_job_that_loses_many_leases_is_quarantined(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id = submit(jobs, user())
    for n in range(POLICY.lapse_limit):
        assert row(database, job_id)["status"] == "queued"
        gpu = executor(jobs, f"gpu{n}")
        claim(jobs, gpu)
        jobs.executor_gone(gpu)
        clock.advance(700)
    assert row(database, job_id)["error_class"] == "quarantined"


def test_a_crashed_job_goes_to_another_device(jobs: Jobs, user: User, clock: Clock) -> None:
    job_id, other = submit(jobs, user()), executor(jobs, "gpu2")
    gpu = executor(jobs, "gpu1")
    jobs.advance(claim(jobs, gpu), "generation_started")
    jobs.executor_gone(gpu)
    restarted = executor(jobs, "gpu1")  # the same device under a new executor id
    assert jobs.claim(restarted) == []
    assert claim(jobs, other).job_id == job_id


def test_the_same_device_retries_if_there_is_no_other(jobs: Jobs, user: User, clock: Clock) -> None:
    job_id, _elsewhere = submit(jobs, user()), executor(jobs, "gpu2", ["wan"])
    gpu = executor(jobs, "gpu1")
    jobs.advance(claim(jobs, gpu), "generation_started")
    jobs.executor_gone(gpu)
    assert claim(jobs, executor(jobs, "gpu1")).job_id == job_id


def several(jobs: Jobs, user: User, gpu: str, count: int) -> list[Claim]:
    """`count` jobs claimed by one executor at the same time."""
    for _ in range(count):
        submit(jobs, user())
    return [claim(jobs, gpu) for _ in range(count)]


def test_a_crash_counts_only_against_the_job_on_the_device(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    """The clock stands still, so the order of starts does not come from timestamps."""
    gpu = executor(jobs)
    uploading, encoding, on_device, prepared = several(jobs, user, gpu, 4)
    for job in (uploading, encoding, on_device):
        jobs.advance(job, "generation_started")
    jobs.artifact_generated(uploading, artifact(uploading))
    jobs.advance(uploading, "upload_started")
    jobs.executor_gone(gpu)
    for job in (uploading, encoding, prepared):
        assert counts(database, job.job_id) == (1, 0, 1, 0, 0)
        assert (row(database, job.job_id)["crashed_on"], row(database, job.job_id)["ready"]) == (None, True)
    assert counts(database, on_device.job_id) == (1, 0, 1, 1, 0)
    assert row(database, on_device.job_id)["crashed_on"] == "gpu0"


def test_a_crash_counts_against_all_jobs_of_a_shared_pass(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    gpu = executor(jobs)
    before, *together = several(jobs, user, gpu, 3)
    jobs.advance(before, "generation_started")
    jobs.advance_many(together, "generation_started")
    jobs.executor_gone(gpu)
    assert [row(database, job.job_id)["device_crashes"] for job in (before, *together)] == [0, 1, 1]


def test_a_crash_counts_against_no_job_if_none_is_on_the_device(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    gpu = executor(jobs)
    slow, quick = several(jobs, user, gpu, 2)
    for job in (slow, quick):
        jobs.advance(job, "generation_started")
    jobs.advance(quick, "upload_started")
    jobs.executor_gone(gpu)
    assert [row(database, job.job_id)["device_crashes"] for job in (slow, quick)] == [0, 0]


def test_a_crash_does_not_count_against_a_job_being_enhanced(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    gpu = executor(jobs)
    on_device, ahead = several(jobs, user, gpu, 2)
    jobs.advance(on_device, "generation_started")
    jobs.advance(ahead, "enhancement_started", on_device=False)
    jobs.executor_gone(gpu)
    assert [row(database, job.job_id)["device_crashes"] for job in (on_device, ahead)] == [1, 0]


def test_starts_of_an_earlier_claim_do_not_count_for_a_crash(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    first = executor(jobs, "gpu1")
    (job,) = several(jobs, user, first, 1)
    jobs.advance(job, "generation_started")
    jobs.snooze(job, "drain")
    gpu = executor(jobs, "gpu2")
    claim(jobs, gpu)  # claimed, and not started
    jobs.executor_gone(gpu)
    assert row(database, job.job_id)["device_crashes"] == 0


def test_an_innocent_job_gets_no_crash_delay(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    """Otherwise they would be queued again together, and meet again."""
    beside = submit(jobs, user())
    for n in range(1, 4):
        gpu = executor(jobs, f"gpu{n}")
        held = claim(jobs, gpu)
        assert held.job_id == beside
        (culprit,) = several(jobs, user, gpu, 1)
        jobs.advance(culprit, "generation_started")
        jobs.executor_gone(gpu)
        assert (row(database, beside)["ready"], row(database, beside)["crashes"]) == (True, n)
        database.rows("select ourvidz.cancel(%s)", (culprit.job_id,))
    gpu = executor(jobs, "gpu4")
    claim(jobs, gpu)
    jobs.executor_gone(gpu)  # now no other job can be blamed
    assert row(database, beside)["ready"] is False


# -- cancelling -------------------------------------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_at_once(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user())
    assert [jobs.cancel(job_id), jobs.cancel(job_id)] == ["cancelled", "cancelled"]
    assert types(database, job_id) == ["submitted", "cancelled"] and jobs.claim(executor(jobs)) == []


def test_a_held_job_is_cancelled_by_its_executor(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user())
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    with pytest.raises(IllegalTransition, match="Nobody asked"):
        jobs.honour_cancel(job)
    assert [jobs.cancel(job_id), jobs.cancel(job_id)] == ["cancel_requested", "cancel_requested"]
    jobs.honour_cancel(job)
    assert types(database, job_id)[2:] == ["generation_started", "cancel_requested", "cancelled"]


@pytest.mark.parametrize("end", ["executor gone", "lease lost", "failed", "snoozed", "timed out"])
def test_a_job_with_a_requested_cancel_ends_cancelled_however_its_claim_ends(
    database: Database, jobs: Jobs, user: User, clock: Clock, end: str
) -> None:
    job_id, gpu = submit(jobs, user()), executor(jobs)
    job = claim(jobs, gpu)
    jobs.advance(job, "generation_started")
    jobs.cancel(job_id)
    if end == "executor gone":
        jobs.executor_gone(gpu)
    elif end == "lease lost":
        clock.advance(31)
        jobs.reap()
    elif end == "failed":
        assert jobs.fail(job, "out_of_memory", "No memory.") == "cancelled"
    elif end == "snoozed":
        jobs.snooze(job, "drain")
    else:
        clock.advance(601)
        jobs.heartbeat(gpu)
        jobs.reap()
    assert (row(database, job_id)["status"], row(database, job_id)["executor_id"]) == ("cancelled", None)


def test_a_job_finished_before_its_cancel_is_seen_is_completed(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user())
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    jobs.cancel(job_id)
    jobs.advance(job, "upload_started")
    jobs.complete(job)
    assert row(database, job_id)["status"] == "completed"
    with pytest.raises(IllegalTransition, match="completed already"):
        jobs.cancel(job_id)


def test_actions_with_an_outdated_version_are_refused(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user())
    jobs.reprioritise(job_id, 5, version=1)
    for act in (jobs.cancel, jobs.retry, lambda job, version: jobs.reprioritise(job, 3, version=version)):
        with pytest.raises(VersionConflict, match="moved on"):
            act(job_id, version=1)
    assert jobs.cancel(job_id, version=2) == "cancelled"


# -- resuming after a retry -------------------------------------------------------------------------------------------------------


def test_a_retry_resumes_finished_steps(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    submit(jobs, user(), "image7b_fast_enhanced")
    gpu = executor(jobs, "gpu1")
    first = claim(jobs, gpu)
    jobs.advance(first, "enhancement_started")
    jobs.enhanced(first, "a lighthouse, in detail", seconds=1.0, tokens=5)
    jobs.advance(first, "generation_started")
    made = artifact(first)
    jobs.artifact_generated(first, made)
    jobs.executor_gone(gpu)

    second = claim(jobs, executor(jobs, "gpu2"))
    assert second.enhanced_prompt == "a lighthouse, in detail" and second.prompt == "a lighthouse at dusk"
    assert [(a["sha256"], a["spool"], a["uploaded_at"]) for a in second.artifacts] == [(made["sha256"], "host", None)]
    jobs.advance(second, "upload_started", outputs=1, resumed=True)
    with pytest.raises(IllegalTransition, match="not uploaded yet"):
        jobs.complete(second)
    jobs.artifact_uploaded(second, "image", 0, made["sha256"])
    jobs.complete(second)
    found = row(database, second.job_id)
    assert (found["status"], found["enhanced"], found["generated"], found["uploaded"]) == ("completed", True, 1, 1)


def test_an_upload_must_match_the_recorded_artifact(jobs: Jobs, user: User) -> None:
    submit(jobs, user())
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    jobs.artifact_generated(job, artifact(job))
    jobs.advance(job, "upload_started")
    for kind, index, sha256 in (("image", 0, "00" * 32), ("image", 1, artifact(job)["sha256"]), ("video", 0, artifact(job)["sha256"])):
        with pytest.raises(IllegalTransition):
            jobs.artifact_uploaded(job, kind, index, sha256)
