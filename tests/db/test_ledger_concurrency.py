"""Concurrent use of tokens: threads, staged races, a killed backend. Sums hold, no balance goes below zero, and nothing deadlocks."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from ledger_helpers import accounts, balance, deliver, kinds, sound
from support import Permissive, artifact, claim, executor, finish, new_user, row, submit, wait_for_lock
from waiting import LIMIT

from ourvidz.db import ledger
from ourvidz.db.connection import Database
from ourvidz.db.embedded import EmbeddedPostgres
from ourvidz.db.migrate import migrate
from ourvidz.lifecycle import Claim, Jobs, NewJob
from state.errors import IllegalTransition, InsufficientTokens, JobError, StaleClaim

User = Callable[..., str]


def test_a_hundred_submits_with_one_key_hold_once(database: Database, jobs: Jobs, user: User) -> None:
    owner = user(tokens=100)
    with ThreadPoolExecutor(12) as crew:
        made = set(crew.map(lambda _: submit(jobs, owner, "video_fast", idempotency_key="one"), range(100)))
    assert len(made) == 1 and balance(database, owner) == 80
    assert kinds(database, made.pop()) == [("hold", 20)]
    sound(database)


def test_concurrent_submits_never_overdraw_the_balance(database: Database, jobs: Jobs, user: User) -> None:
    owner = user(tokens=25)

    def tries(n: int) -> bool:
        try:
            submit(jobs, owner, "image_fast" if n % 2 else "sdxl_image_high")
        except InsufficientTokens:
            return False
        return True

    with ThreadPoolExecutor(12) as crew:
        assert sum(crew.map(tries, range(50))) == 12
    assert balance(database, owner) == 1 and len(database.rows("select 1 from public.jobs")) == 12
    sound(database)


def test_concurrent_mixed_operations_keep_the_ledger_balanced(database: Database, jobs: Jobs, user: User) -> None:
    """Eight threads submit for three users, complete fully or partly, fail, cancel, retry, reroute, grant, revoke and reap."""
    owners = [user(tokens=60) for _ in range(3)]
    refused = (JobError,)

    def one(n: int) -> None:
        chance = random.Random(n)
        gpu = executor(jobs, f"gpu{n}")
        for _ in range(25):
            try:
                deed(chance, gpu)
            except refused as error:
                assert error.sqlstate in ("OV001", "OV002", "OV009", "OV012", "OV014"), error

    def deed(chance: random.Random, gpu: str) -> None:
        picked = database.rows("select id::text from public.jobs order by random() limit 1")
        job_id = picked[0]["id"] if picked else ""
        match chance.randrange(9):
            case 0 | 1:
                jobs.submit_many([NewJob(o, "sdxl_image_fast", "x", settings={"images": 3}) for o in chance.sample(owners, 3)])
            case 2:
                submit(jobs, chance.choice(owners), chance.choice(["image_high", "sdxl_image_high"]))
            case 3 | 4:
                for job in jobs.claim(gpu, limit=2):
                    if chance.random() < 0.3:
                        jobs.fail(job, "bad_output", "It broke.", retryable=False)
                    else:
                        deliver(jobs, job, chance.randrange(3), thumbnails=False)
            case 5 if job_id:
                jobs.cancel(job_id)
            case 6 if job_id:
                chance.choice([jobs.retry, jobs.reroute])(job_id)
            case 7:
                move = chance.choice([ledger.grant, ledger.revoke])
                move(database, chance.choice(owners), 3, "a storm")
            case _:
                jobs.claim(gpu, limit=2)
                jobs.executor_gone(gpu)
                jobs.reap()

    with ThreadPoolExecutor(8) as crew:
        list(crew.map(one, range(8)))
    sound(database)
    told = database.rows("select distinct kind from ourvidz.token_entries")
    assert {r["kind"] for r in told} >= {"opening", "hold", "capture", "release", "grant", "revoke"}
    (r,) = database.rows("select deadlocks from pg_stat_database where datname = current_database()")
    assert r["deadlocks"] == 0
    for job in database.rows("select id::text from public.jobs where status in ('queued') and executor_id is null"):
        jobs.cancel(job["id"])
    sound(database)


def uploading(jobs: Jobs, owner: str) -> Claim:
    submit(jobs, owner, "sdxl_image_high")
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    made = artifact(job)
    jobs.artifact_generated(job, made)
    jobs.advance(job, "upload_started")
    jobs.artifact_uploaded(job, "image", 0, made["sha256"])
    return job


@pytest.mark.parametrize("first", ["completes", "honours the cancel"])
def test_complete_and_honoured_cancel_race_charges_once(database: Database, jobs: Jobs, user: User, first: str) -> None:
    """The executor completes while another session honours its cancel: whichever commits first ends the job."""
    owner = user(tokens=5)
    job = uploading(jobs, owner)
    jobs.cancel(job.job_id)
    verbs = {"completes": "complete", "honours the cancel": "honour_cancel"}
    winner = verbs.pop(first)
    (loser,) = verbs.values()
    with psycopg.connect(database.url) as slow, psycopg.connect(database.url, autocommit=True) as late, ThreadPoolExecutor(1) as crew:
        slow.execute(f"select ourvidz.{winner}(%s, %s, %s)", job.ref)
        waits = crew.submit(late.execute, f"select ourvidz.{loser}(%s, %s, %s)", job.ref)
        wait_for_lock(database, late.info.backend_pid)
        slow.commit()
        with pytest.raises(psycopg.Error) as refused:
            waits.result(LIMIT)
        assert refused.value.sqlstate == StaleClaim.sqlstate
    assert row(database, job.job_id)["status"] == {"complete": "completed", "honour_cancel": "cancelled"}[winner]
    assert kinds(database, job.job_id) == [("hold", 2), ("capture", -2)], "its picture was delivered before either"
    with pytest.raises((IllegalTransition, StaleClaim)):
        jobs.complete(job)
    sound(database)


def test_a_refund_waits_for_a_concurrent_submit_and_both_count(database: Database, jobs: Jobs, user: User) -> None:
    owner = user(tokens=10)
    held = submit(jobs, owner, "image_high")
    with psycopg.connect(database.url) as slow, psycopg.connect(database.url, autocommit=True) as late, ThreadPoolExecutor(1) as crew:
        asked = f'[{{"user_id": "{owner}", "job_type": "image_fast", "prompt": "x"}}]'
        slow.execute("select ourvidz.submit_batch(%s::jsonb)", (asked,))
        waits = crew.submit(late.execute, "select ourvidz.cancel(%s)", (held,))
        wait_for_lock(database, late.info.backend_pid)
        slow.commit()
        waits.result(LIMIT)
    assert accounts(database, owner) == {"issued": -10, "available": 8, "held": 2}
    sound(database)


def test_rank_and_balance_locks_do_not_deadlock(database: Database, jobs: Jobs, user: User) -> None:
    """One transaction has taken a rank and will release tokens; another has locked the balance and will take a rank."""
    owner = user(tokens=10)
    held = submit(jobs, owner, "image_high")
    asked = f'[{{"user_id": "{owner}", "job_type": "image_fast", "prompt": "x"}}]'
    with psycopg.connect(database.url) as one, psycopg.connect(database.url) as other, ThreadPoolExecutor(1) as crew:

        def grants_and_submits() -> None:
            other.execute("select ourvidz.grant_tokens(%s, 5, 'a gift')", (owner,))
            other.execute("select ourvidz.submit_batch(%s::jsonb)", (asked,))
            other.commit()

        one.execute("select ourvidz.next_rank(%s, 'wan', 1)", (owner,))
        waits = crew.submit(grants_and_submits)
        wait_for_lock(database, other.info.backend_pid)
        one.execute("select ourvidz.cancel(%s)", (held,))
        one.commit()
        waits.result(LIMIT)
    assert accounts(database, owner) == {"issued": -15, "available": 13, "held": 2}
    sound(database)


def test_the_ledger_survives_a_killed_backend(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        database = Database(server.url)
        with database.transaction() as connection:
            migrate(connection)
        jobs, owner = Jobs(database, Permissive(), patience=30), new_user(database, tokens=100)
        job = uploading(jobs, owner)
        asked = f'[{{"user_id": "{owner}", "job_type": "video_fast", "prompt": "x"}}]'
        with closing(psycopg.connect(server.url)) as doomed, closing(psycopg.connect(server.url, autocommit=True)) as witness:
            doomed.execute("select ourvidz.complete(%s, %s, %s)", job.ref)
            doomed.execute("select ourvidz.submit_batch(%s::jsonb)", (asked,))
            os.kill(doomed.info.backend_pid, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):  # the postmaster terminates all backends and recovers
                for _ in range(2_000):
                    witness.execute("select pg_sleep(0.01)")
        database.engine.dispose()
        held = database.patient("select sum(amount)::int as n from ourvidz.token_entries where account = 'held'", patience=30)
        assert held == [{"n": 2}] and balance(database, owner) == 98
        sound(database)
        jobs.complete(job)
        finish(jobs, _next(jobs, owner))
        assert accounts(database, owner) == {"issued": -100, "available": 97, "revenue": 3}
        sound(database)
        database.close()


def _next(jobs: Jobs, owner: str) -> Claim:
    submit(jobs, owner)
    return claim(jobs, executor(jobs, "gpu1"))
