"""Attacks on the price: keep delivered pictures and get the tokens back by a cancel or failure; pay once for repeated generation; spend
one balance in two windows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from support import Clock, artifact, claim, enhance, executor, row, submit, wait_for_lock
from waiting import LIMIT

from ourvidz.db import ledger
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from state.catalog import JOB_TYPES
from state.errors import JobError

User = Callable[..., str]


def balance(database: Database, user: str) -> int:
    return int(database.rows("select token_balance from public.profiles where id = %s", (user,))[0]["token_balance"])


def uploading(jobs: Jobs, gpu: str, outputs: Sequence[int], *, counted: int | None = None) -> Claim:
    """The next job with these outputs generated, and the first `counted` of them (default: all) uploaded."""
    job = claim(jobs, gpu)
    jobs.advance(job, "generation_started")
    made = [artifact(job, n, "video" if job.kind.video else "image") for n in outputs]
    for one in made:
        jobs.artifact_generated(job, one)
    jobs.advance(job, "upload_started")
    for one in made[:counted]:
        jobs.artifact_uploaded(job, one["kind"], one["index"], one["sha256"])
    return job


def deliver_one(jobs: Jobs, job: Claim) -> None:
    jobs.advance(job, "generation_started")
    made = artifact(job, 0, "video" if job.kind.video else "image")
    jobs.artifact_generated(job, made)
    jobs.advance(job, "upload_started")
    jobs.artifact_uploaded(job, made["kind"], made["index"], made["sha256"])


def cancelled(jobs: Jobs, job: Claim) -> None:
    jobs.cancel(job.job_id)
    jobs.honour_cancel(job)


def failed(jobs: Jobs, job: Claim) -> None:
    jobs.fail(job, "broken", "It broke.", retryable=False)


def away(jobs: Jobs, job: Claim) -> None:
    """The executor is lost; the job is cancelled while nobody holds it."""
    executor_id = jobs.db.rows("select executor_id::text as id from public.jobs where id = %s", (job.job_id,))[0]["id"]
    jobs.executor_gone(executor_id)
    jobs.cancel(job.job_id)


ENDS = pytest.mark.parametrize("end", [cancelled, failed, away])


@ENDS
@pytest.mark.parametrize("counted", [6, 2, 0])
def test_delivered_pictures_are_charged_however_the_job_ends(
    database: Database, jobs: Jobs, user: User, end: Callable[[Jobs, Claim], None], counted: int
) -> None:
    me = user(tokens=30)
    submit(jobs, me, "sdxl_image_premium", settings={"images": 6})
    job = uploading(jobs, executor(jobs), range(6), counted=counted)
    end(jobs, job)
    assert row(database, job.job_id)["status"] in ("cancelled", "failed")
    assert balance(database, me) == 30 - 4 * counted
    assert shown(database, job.job_id) == counted
    assert ledger.check(database) == []


@ENDS
def test_a_delivered_video_is_charged_however_the_job_ends(
    database: Database, jobs: Jobs, user: User, end: Callable[[Jobs, Claim], None]
) -> None:
    me = user(tokens=20)
    (video,) = database.rows("insert into public.videos (user_id) values (%s) returning id::text", (me,))
    submit(jobs, me, "video_fast", video_id=video["id"])
    job = uploading(jobs, executor(jobs), [0])
    end(jobs, job)
    assert balance(database, me) == 0
    (film,) = database.rows("select status, video_url from public.videos where id = %s", (video["id"],))
    assert film["status"] == "completed" and film["video_url"].startswith(me)


def test_repeated_cancel_and_retry_charges_and_makes_each_picture_once(database: Database, jobs: Jobs, user: User) -> None:
    """A batch cancelled after each picture and retried by its user costs the same as in one run."""
    me, gpu = user(tokens=6), executor(jobs)
    job_id = submit(jobs, me, "sdxl_image_high", settings={"images": 3})
    for n in range(3):
        if n:
            as_user(database, me, job_id)
            jobs.cancel(job_id)  # nothing more was delivered or charged
            assert balance(database, me) == 6 - 2 * n
            as_user(database, me, job_id)
        assert balance(database, me) == 0
        job = uploading(jobs, gpu, [n])
        assert [a["index"] for a in job.artifacts] == list(range(n)), "what was delivered is handed on, not made again"
        assert shown(database, job_id) == n, "what it delivered before stays in the library while it runs again"
        cancelled(jobs, job)
        assert balance(database, me) == 6 - 2 * (n + 1) and shown(database, job_id) == n + 1
    as_user(database, me, job_id)  # nothing left to pay for
    job = claim(jobs, gpu)
    jobs.advance(job, "upload_started")
    jobs.complete(job)
    assert balance(database, me) == 0 and ledger.check(database) == []
    (charged,) = database.rows("select sum(amount)::int as n from ourvidz.token_entries where account = 'revenue'")
    assert charged["n"] == 6


def shown(database: Database, job_id: str) -> int:
    return len(database.rows("select 1 from public.images where job_id = %s and status = 'completed'", (job_id,)))


def as_user(database: Database, user: str, job_id: str) -> None:
    with psycopg.connect(database.url) as tab:
        claims = json.dumps({"role": "authenticated", "sub": user})
        tab.execute("select set_config('request.jwt.claims', %s, true), public.retry_job(%s)", (claims, job_id))


def test_a_refusal_costs_nothing_and_a_cancel_does_not_hide_it(database: Database, jobs: Jobs, user: User) -> None:
    """Outputs of an earlier attempt are refused by newer rules while the user cancels."""
    me = user(tokens=6)
    submit(jobs, me, "sdxl_image_high", settings={"images": 3})
    job = uploading(jobs, executor(jobs), range(3), counted=2)
    jobs.cancel(job.job_id)
    assert jobs.fail(job, "refused_content", "No.", final=True) == "failed"
    assert balance(database, me) == 6
    removed = database.rows("select path from ourvidz.removals where job_id = %s", (job.job_id,))
    assert len(removed) == 3
    with pytest.raises(JobError, match="refused for good"):
        jobs.retry(job.job_id)


PLAIN = {
    "image7b_fast_enhanced": "image_fast",
    "image7b_high_enhanced": "image_high",
    "video7b_fast_enhanced": "video_fast",
    "video7b_high_enhanced": "video_high",
}


@pytest.mark.parametrize("end", [Jobs.complete, cancelled])
@pytest.mark.parametrize(("kind", "plain"), PLAIN.items())
def test_an_enhancement_that_was_skipped_is_not_charged(
    database: Database, jobs: Jobs, user: User, kind: str, plain: str, end: Callable[[Jobs, Claim], None]
) -> None:
    me, gpu, price = user(tokens=100), executor(jobs), JOB_TYPES[kind].price
    assert price > JOB_TYPES[plain].price
    left = 100
    for made, charged in ((False, JOB_TYPES[plain].price), (True, price)):
        submit(jobs, me, kind)
        job = claim(jobs, gpu)
        if made:
            enhance(jobs, job)
        else:
            jobs.advance(job, "enhancement_started", on_device=True)
            jobs.advance(job, "enhancement_skipped", reason="model_refused", seconds=1.0)
        deliver_one(jobs, job)
        end(jobs, job)
        left -= charged
        assert balance(database, me) == left
    assert ledger.check(database) == []


def test_a_retry_that_enhances_after_all_is_charged_for_it(database: Database, jobs: Jobs, user: User) -> None:
    me, gpu = user(tokens=22), executor(jobs)
    job_id = submit(jobs, me, "video7b_fast_enhanced")
    job = claim(jobs, gpu)
    jobs.advance(job, "enhancement_started", on_device=True)
    jobs.advance(job, "enhancement_skipped", reason="no_description", seconds=1.0)
    failed(jobs, job)
    assert balance(database, me) == 22
    as_user(database, me, job_id)
    job = claim(jobs, gpu)
    enhance(jobs, job)
    deliver_one(jobs, job)
    jobs.complete(job)
    assert balance(database, me) == 0 and ledger.check(database) == []


def test_charges_are_rounded_down(database: Database, jobs: Jobs, user: User) -> None:
    """Prices are per output, so remainders occur only if an operator changes them; then the charge is rounded down."""
    me, gpu = user(tokens=10), executor(jobs)
    submit(jobs, me, "sdxl_image_fast", settings={"images": 3})
    job = uploading(jobs, gpu, range(3), counted=2)
    (event,) = database.rows("select version from public.job_events where job_id = %s and type = 'submitted'", (job.job_id,))
    earned = (
        "select ourvidz.charge_due(row(e.*)::public.job_events, %s, %s) as n from public.job_events as e where job_id = %s and version = 2"
    )
    found = [database.rows(earned, (held, event["version"], job.job_id))[0]["n"] for held in (1, 2, 3, 4, 5, 10**15 + 1)]
    assert found == [0, 1, 2, 2, 3, (10**15 + 1) * 2 // 3]


def test_concurrent_submits_cannot_spend_one_balance(database: Database, jobs: Jobs, user: User) -> None:
    """The second submit waits for the first to commit, and then sees the remaining balance."""
    me = user(tokens=20)
    asked = "select set_config('request.jwt.claims', %s, true), public.queue_job('video_fast', 'a lighthouse')"
    claims = (json.dumps({"role": "authenticated", "sub": me}),)
    with psycopg.connect(database.url) as one, psycopg.connect(database.url) as other, ThreadPoolExecutor(1) as crew:
        one.execute(asked, claims)
        waits = crew.submit(other.execute, asked, claims)
        wait_for_lock(database, other.info.backend_pid)
        one.commit()
        with pytest.raises(psycopg.Error) as refused:
            waits.result(LIMIT)
    assert refused.value.sqlstate == "OV014" and balance(database, me) == 0
    assert len(database.rows("select 1 from public.jobs")) == 1 and ledger.check(database) == []


@pytest.mark.parametrize("amount", [0, -5, 1_000_000_000_001, 2**63 - 1])
def test_an_invalid_amount_moves_no_tokens(database: Database, user: User, amount: int) -> None:
    me = user(tokens=20)
    for move in (ledger.grant, ledger.revoke):
        with pytest.raises(JobError) as refused:
            move(database, me, amount, "an attack")
        assert refused.value.sqlstate == "OV009"
    assert balance(database, me) == 20


def test_an_expired_lease_between_uploads_charges_only_at_the_end(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    """Attempts in between keep the hold; an upload reported by the zombie is refused."""
    me, gpu = user(tokens=3), executor(jobs)
    submit(jobs, me, settings={"images": 3})
    zombie = uploading(jobs, gpu, range(3), counted=1)
    clock.advance(40)
    jobs.reap()
    assert balance(database, me) == 0
    again = claim(jobs, executor(jobs, "gpu1"))
    late = artifact(zombie, 1)
    with pytest.raises(JobError):
        jobs.artifact_uploaded(zombie, "image", 1, late["sha256"])
    cancelled(jobs, again)
    assert balance(database, me) == 2
