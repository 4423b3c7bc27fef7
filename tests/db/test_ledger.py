"""Tokens follow jobs: held, captured for delivered outputs, released; double-entry, exactly once, never below zero."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
from handmade_events import Forger
from ledger_helpers import accounts, balance, deliver, kinds, moves, sound, usage
from support import Clock, artifact, claim, enhance, executor, finish, row, submit, types

from ourvidz.audit import rebuild
from ourvidz.db import ledger
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.catalog import JOB_TYPES
from state.errors import InsufficientTokens
from state.machine import EventType, Status

User = Callable[..., str]


# -- a job's price ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(JOB_TYPES))
def test_every_job_type_holds_and_captures_its_price(database: Database, jobs: Jobs, user: User, name: str) -> None:
    owner, kind = user(tokens=100), JOB_TYPES[name]
    references = {"references": {"init": "https://example.org/a.png"}} if kind.init_image else {}
    job_id = submit(jobs, owner, name, settings=references)
    assert accounts(database, owner) == {"issued": -100, "available": 100 - kind.price, "held": kind.price}
    job = claim(jobs, executor(jobs))
    enhance(jobs, job)
    finish(jobs, job)
    assert kinds(database, job_id) == [("hold", kind.price), ("capture", -kind.price)]
    assert accounts(database, owner) == {"issued": -100, "available": 100 - kind.price, "revenue": kind.price}
    assert balance(database, owner) == 100 - kind.price
    sound(database)


@pytest.mark.parametrize(("made", "costs"), [(6, 24), (4, 16), (1, 4), (0, 0)])
def test_a_partial_batch_is_charged_for_its_delivered_images(database: Database, jobs: Jobs, user: User, made: int, costs: int) -> None:
    owner = user(tokens=24)
    job_id = submit(jobs, owner, "sdxl_image_premium", settings={"images": 6})
    assert balance(database, owner) == 0
    deliver(jobs, claim(jobs, executor(jobs)), made)  # thumbnails are outputs too, but cost nothing
    assert accounts(database, owner) == {k: v for k, v in {"issued": -24, "available": 24 - costs, "revenue": costs}.items() if v}
    (_, ended) = usage(database, job_id)
    assert (ended["tokens_consumed"], ended["metadata"].get("refunded", 0)) == (costs, 24 - costs)
    sound(database)


def test_recorded_but_not_uploaded_outputs_cost_nothing(database: Database, jobs: Jobs, user: User) -> None:
    """No verb completes such a job; a hand-written event does."""
    owner = user(tokens=10)
    job_id = submit(jobs, owner, "sdxl_image_fast", settings={"images": 3})
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    jobs.advance(job, "upload_started")
    database.rows(
        """insert into public.artifacts (job_id, index, kind, claim_no, bucket, path, media_type, width, height, bytes, sha256, created_at)
           select %s, n, 'image', 1, 'b', n::text, 'image/png', 8, 8, 1, repeat('0', 64), now() from generate_series(0, 2) as n""",
        (job_id,),
    )
    database.rows("update public.artifacts set uploaded_at = now() where index = 1")
    with database.driver() as connection:
        forger = Forger(connection)
        forger.insert(forger.next(job_id, EventType.COMPLETED, Status.COMPLETED))
    assert kinds(database, job_id) == [("hold", 3), ("capture", -1), ("release", -2)]


def test_cancelled_and_failed_jobs_cost_nothing(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    owner = user(tokens=40)
    gpu = executor(jobs)
    cancelled, failed, quick = submit(jobs, owner), submit(jobs, owner, "video_fast"), submit(jobs, owner, "image_high")
    assert balance(database, owner) == 15
    jobs.cancel(cancelled)
    jobs.fail(claim(jobs, gpu), "bad_output", "It broke.", retryable=False)
    job = claim(jobs, gpu)
    assert {job.job_id, cancelled} | {failed, quick} == {cancelled, failed, quick}
    jobs.advance(job, "generation_started")
    jobs.cancel(job.job_id)
    jobs.honour_cancel(job)
    assert accounts(database, owner) == {"issued": -40, "available": 40}
    for job_id in (cancelled, failed, quick):
        assert [kind for kind, _ in kinds(database, job_id)] == ["hold", "release"]
        jobs.cancel(cancelled)  # again: nothing more is released
    assert balance(database, owner) == 40
    sound(database)


def test_the_hold_is_kept_across_attempts(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    owner, gpu = user(tokens=5), executor(jobs)
    job_id = submit(jobs, owner, "sdxl_image_high")
    jobs.snooze(claim(jobs, gpu), "drain")
    job = claim(jobs, gpu)
    jobs.advance(job, "generation_started")
    jobs.fail(job, "out_of_memory", "No memory.")
    clock.advance(60)
    jobs.reap()
    gpu = executor(jobs, "gpu1")
    claim(jobs, gpu)
    clock.advance(40)
    jobs.reap()
    assert types(database, job_id).count("lease_expired") == 1
    assert kinds(database, job_id) == [("hold", 2)] and balance(database, owner) == 3
    clock.advance(60)
    jobs.reap()
    finish(jobs, claim(jobs, executor(jobs, "gpu2")))
    assert kinds(database, job_id) == [("hold", 2), ("capture", -2)]
    sound(database)


def test_a_retry_takes_a_new_hold_or_is_refused(database: Database, jobs: Jobs, user: User) -> None:
    owner = user(tokens=3)
    job_id = submit(jobs, owner, "sdxl_image_high")
    jobs.cancel(job_id)
    jobs.retry(job_id, charge=True)
    assert kinds(database, job_id) == [("hold", 2), ("release", -2), ("hold", 2)]
    jobs.cancel(job_id)
    ledger.revoke(database, owner, 2, "spent elsewhere")
    before = row(database, job_id)
    with pytest.raises(InsufficientTokens, match=r"takes 2 tokens.* is 1"):
        jobs.retry(job_id, charge=True)
    assert row(database, job_id) == before and balance(database, owner) == 1
    sound(database)


def test_an_insufficient_balance_queues_nothing(database: Database, jobs: Jobs, user: User) -> None:
    owner = user(tokens=39)
    with pytest.raises(InsufficientTokens, match=f"takes 40 tokens, and the balance of profile {owner} is 39") as refused:
        submit(jobs, owner, "video_high")
    assert "the balance" in str(refused.value) and refused.value.http == 402
    cause = refused.value.__cause__
    assert isinstance(cause, psycopg.Error) and json.loads(cause.diag.message_detail or "") == {"needed": 40, "balance": 39}
    for table in ("public.jobs", "public.job_events", "public.job_payloads", "public.usage_logs"):
        assert database.rows(f"select 1 from {table}") == []
    assert balance(database, owner) == 39
    # All or none: a batch that exceeds the balance.
    with pytest.raises(InsufficientTokens, match="takes 42 tokens"):
        jobs.submit_many([_new(owner, "video_fast"), _new(owner, "video_fast"), _new(owner, "image_fast")])
    assert database.rows("select 1 from public.jobs") == [] and balance(database, owner) == 39
    submit(jobs, owner, "video_fast")
    assert balance(database, owner) == 19


def test_one_user_with_too_few_tokens_refuses_the_whole_batch(database: Database, jobs: Jobs, user: User) -> None:
    rich, poor = user(tokens=50), user(tokens=1)
    with pytest.raises(InsufficientTokens, match=poor):
        jobs.submit_many([_new(rich, "image_fast"), _new(poor, "image_fast")])
    assert (balance(database, rich), balance(database, poor)) == (50, 1)
    made = jobs.submit_many([_new(rich, "image_fast"), _new(poor, "sdxl_image_fast"), _new(rich, "video_fast")])
    assert len(made) == 3 and (balance(database, rich), balance(database, poor)) == (28, 0)
    sound(database)


def _new(user: str, kind: str, **more: object) -> object:
    from ourvidz.lifecycle import NewJob

    return NewJob(user, kind, "a lighthouse at dusk", **more)  # type: ignore[arg-type]


def test_resubmitting_a_key_holds_once(database: Database, jobs: Jobs, user: User) -> None:
    owner = user(tokens=20)
    first = submit(jobs, owner, "video_fast", idempotency_key="one")
    assert submit(jobs, owner, "video_fast", idempotency_key="one") == first  # although no tokens are left for a second
    made = jobs.submit_many([_new(owner, "video_fast", idempotency_key="one")] * 3)  # type: ignore[list-item]
    assert {m.id for m in made} == {first} and kinds(database, first) == [("hold", 20)]


def test_complete_many_charges_each_user_for_their_outputs(database: Database, jobs: Jobs, user: User) -> None:
    owners = [user(tokens=30) for _ in range(3)]
    for owner in owners:
        jobs.submit_many([_new(owner, "sdxl_image_fast", settings={"images": 3}) for _ in range(2)])  # type: ignore[misc]
    claims = jobs.claim(executor(jobs), limit=6)
    jobs.advance_many(claims, "generation_started")
    for n, job in enumerate(claims):  # 0, 1 or 2 of 3 images
        for index in range(n % 3):
            jobs.artifact_generated(job, artifact(job, index))
    jobs.advance_many(claims, "upload_started")
    for n, job in enumerate(claims):
        for index in range(n % 3):
            jobs.artifact_uploaded(job, "image", index, artifact(job, index)["sha256"])
    jobs.complete_many(claims)
    for n, job in enumerate(claims):
        assert dict(kinds(database, job.job_id)) == {"hold": 3, "release": n % 3 - 3} | ({"capture": -(n % 3)} if n % 3 else {})
    assert sum(balance(database, o) for o in owners) == 90 - 6
    sound(database)


def test_ledger_check_finds_a_charge_above_the_delivered_outputs(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user(), "sdxl_image_high", settings={"images": 3})
    deliver(jobs, claim(jobs, executor(jobs)), 2)
    assert ledger.check(database) == []
    database.rows("update public.job_payloads set settings = settings || '{\"images\": 6}' where job_id = %s", (job_id,))
    (found,) = ledger.check(database)
    assert (found.kind, found.job_id) == ("overcharged", job_id) and "4 tokens were charged" in found.message


# -- reroutes ---------------------------------------------------------------------------------------------------------------------


def test_a_more_expensive_fallback_keeps_the_old_price(database: Database, jobs: Jobs, user: User) -> None:
    """The user did not ask for the fallback, whatever their balance."""
    owner = user(tokens=10)
    job_id = submit(jobs, owner, "sdxl_image_high")
    jobs.reroute(job_id)
    assert row(database, job_id)["job_type"] == "image_high"
    assert database.rows("select data->'price_change' as c from public.job_events where type = 'rerouted'") == [{"c": 0}]
    assert kinds(database, job_id) == [("hold", 2)] and balance(database, owner) == 8
    finish(jobs, claim(jobs, executor(jobs)))
    assert accounts(database, owner) == {"issued": -10, "available": 8, "revenue": 2}
    sound(database)


def test_a_cheaper_fallback_releases_the_difference(database: Database, jobs: Jobs, user: User) -> None:
    database.rows("update ourvidz.job_types set price = 7 where name = 'sdxl_image_high'")
    owner = user(tokens=10)
    job_id = submit(jobs, owner, "sdxl_image_high")
    jobs.reroute(job_id)
    assert kinds(database, job_id) == [("hold", 7), ("adjust", -3)] and balance(database, owner) == 6
    jobs.cancel(job_id)
    assert accounts(database, owner) == {"issued": -10, "available": 10}
    sound(database)


# -- jobs from before prices ------------------------------------------------------------------------------------------------------


def test_a_job_without_a_price_moves_no_tokens(database: Database, jobs: Jobs, user: User) -> None:
    owner = user(tokens=10)
    with database.driver() as connection:
        forger = Forger(connection)
        told = {"user_id": owner, "job_type": "sdxl_image_fast", "lane": "sdxl", "run_at": "2025-07-07T12:00:00+00:00"}
        old, done = forger.first(data=told), forger.first(EventType.IMPORTED, Status.COMPLETED, told)
        forger.insert(old)
        forger.insert(done)
    database.rows(
        """insert into public.job_payloads (job_id, user_id, prompt, settings, salt, body_digest)
           select %s, %s, 'x', defaults, '', '' from ourvidz.job_types where name = 'sdxl_image_fast'""", (old.job_id, owner))  # fmt: skip
    sound(database)
    jobs.reroute(old.job_id)
    assert database.rows("select data->'price_change' as c from public.job_events where type = 'rerouted'") == [{"c": 0}]
    jobs.cancel(old.job_id)
    assert moves(database, old.job_id) == moves(database, done.job_id) == [] and balance(database, owner) == 10
    sound(database)
    jobs.retry(old.job_id, charge=True)  # from now on it has a price
    assert kinds(database, old.job_id) == [("hold", 2)]
    sound(database)
    assert usage(database, done.job_id) == []


def test_rebuild_moves_no_tokens(database: Database, jobs: Jobs, user: User, superuser: psycopg.Connection) -> None:
    owner = user()
    finish(jobs, _and_claim(jobs, owner))
    failed = submit(jobs, owner)
    jobs.cancel(failed)
    told = [database.rows(f"select * from {t} order by 1, 2, 3") for t in ("ourvidz.token_entries", "public.usage_logs")]
    for trigger in ("jobs_bare_write", "jobs_guard_update", "jobs_never_deleted"):
        superuser.execute(f"alter table public.jobs disable trigger {trigger}")
    superuser.execute("update public.jobs set errors = 9")
    for trigger in ("jobs_bare_write", "jobs_guard_update", "jobs_never_deleted"):
        superuser.execute(f"alter table public.jobs enable trigger {trigger}")
    assert len(rebuild(database, verify=False)) == 2
    assert rebuild(database, verify=True) == ()
    assert told == [database.rows(f"select * from {t} order by 1, 2, 3") for t in ("ourvidz.token_entries", "public.usage_logs")]
    sound(database)


def _and_claim(jobs: Jobs, owner: str) -> object:
    submit(jobs, owner)
    return claim(jobs, executor(jobs))


# -- the usage report -------------------------------------------------------------------------------------------------------------


def test_usage_logs_match_the_events_costs(database: Database, jobs: Jobs, user: User) -> None:
    owner, gpu = user(), executor(jobs)
    job_id = submit(jobs, owner, "video7b_high_enhanced")
    jobs.cancel(job_id)
    jobs.retry(job_id, charge=True)
    job = claim(jobs, gpu)
    enhance(jobs, job)
    finish(jobs, job)
    price = JOB_TYPES["video7b_high_enhanced"].price
    kind = {"job_type": "video7b_high_enhanced"}
    assert [(u["action"], u["tokens_consumed"], u["metadata"]) for u in usage(database, job_id)] == [
        ("job_queued", 0, kind | {"held": price}),
        ("job_cancelled", 0, kind | {"refunded": price}),
        ("job_queued", 0, kind | {"held": price}),
        ("job_completed", price, kind),
    ]
    assert {(u["format"], u["quality"]) for u in usage(database, job_id)} == {("video", "high")}
    versions = [u["job_version"] for u in usage(database, job_id)]
    assert versions == [1, 2, 3, row(database, job_id)["version"]]
    failed = submit(jobs, owner, "image_fast")
    jobs.fail(claim(jobs, gpu), "bad_output", "It broke.", retryable=False)
    assert [(u["action"], u["format"], u["quality"]) for u in usage(database, failed)] == [
        ("job_queued", "image", "fast"), ("job_failed", "image", "fast")]  # fmt: skip
    # Rows that the deployed function writes have no job, and stay possible.
    database.rows("insert into public.usage_logs (user_id, action, credits_consumed) values (%s, 'video_generation', 1)", (owner,))
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.rows("insert into public.usage_logs (user_id, action, job_id, job_version) values (%s, 'x', %s, 1)", (owner, job_id))
