"""Attacks on the rule that nothing is made for a user whose age is not verified: a verification that is taken back while their jobs wait,
run or upload; requests that race with that; people who verify themselves, or change what was decided."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from support import Server, artifact, claim, executor, row, submit, types, wait_for_lock

from ourvidz.db import enhancement
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs, NewJob
from state.errors import NotAgeVerified

User = Callable[..., str]
Connect = Callable[[], psycopg.Connection[Any]]
WITHDRAW = "update public.profiles set age_verified = false where id = %s"
RUN_OUT = "update public.profiles set age_verified_until = ourvidz.now() - interval '1 s' where id = %s"
SUBMIT = "select ourvidz.submit(jsonb_build_object('user_id', %s::text, 'job_type', 'image_fast', 'prompt', 'a pier'), 'cli')"


@pytest.fixture
def connect(server: Server, database_name: str) -> Connect:
    return lambda: psycopg.connect(server.url(database_name))


def balance(database: Database, user: str) -> int:
    return int(database.rows("select token_balance from public.profiles where id = %s", (user,))[0]["token_balance"])


@contextmanager
def second(database: Database, connection: psycopg.Connection[Any], statement: str, params: tuple[Any, ...]) -> Iterator[list[Exception]]:
    """Another connection's statement, which waits for a lock until the body releases it. Yields its refusals, when it has ended."""
    refusals: list[Exception] = []

    def run() -> None:
        try:
            connection.execute(statement, params)
            connection.commit()
        except psycopg.Error as error:
            refusals.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for_lock(database, connection.info.backend_pid)
    yield refusals
    thread.join(30)
    assert not thread.is_alive(), "it still waits"


# -- taken back while jobs are under way ---------------------------------------------------------------------------------------------


def test_a_verification_taken_back_stops_what_waits_and_what_runs(database: Database, jobs: Jobs, user: User) -> None:
    me, other = user(), user()
    running, waiting, theirs = submit(jobs, me), submit(jobs, me), submit(jobs, other)
    gpu = executor(jobs)
    held = claim(jobs, gpu)
    assert held.job_id == running
    database.rows(WITHDRAW, (me,))
    assert row(database, waiting)["status"] == "cancelled" and jobs.held(gpu)[running].cancel_requested
    assert [c.job_id for c in jobs.claim(gpu)] == [theirs]
    jobs.honour_cancel(held)
    said = database.rows(
        "select data->>'reason' as reason, actor from public.job_events where job_id = any (%s::uuid[]) and data ? 'reason'",
        ([running, waiting],),
    )
    assert {(e["reason"], e["actor"]) for e in said} == {("age", "login:ourvidz")} and len(said) == 2
    assert balance(database, me) == 1_000_000


def test_a_job_that_is_locked_in_that_moment_is_stopped_by_the_reaper(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
    """The holder of the job's lock may want the profile's: waiting for it here would be a deadlock, and one of the two would be undone."""
    me = user()
    job = submit(jobs, me)
    with connect() as other:
        other.execute("select from public.jobs where id = %s for update", (job,))
        database.rows(WITHDRAW, (me,))
        other.execute("select from public.profiles where id = %s for no key update", (me,))
    assert row(database, job)["status"] == "queued" and list(jobs.claim(executor(jobs))) == []
    jobs.reap()
    assert row(database, job)["status"] == "cancelled" and database.rows("select * from ourvidz.stops") == []


def made(jobs: Jobs, held: Any, upload: bool) -> None:
    jobs.advance(held, "generation_started")
    jobs.artifact_generated(held, artifact(held))
    if upload:
        jobs.advance(held, "upload_started")


STEPS: dict[str, tuple[bool, Callable[[Jobs, Any], object]]] = {
    "another output": (False, lambda jobs, held: jobs.artifact_generated(held, artifact(held, 1))),
    "begin to upload": (False, lambda jobs, held: jobs.advance(held, "upload_started")),
    "an upload": (True, lambda jobs, held: jobs.artifact_uploaded(held, "image", 0, artifact(held)["sha256"])),
}


@pytest.mark.parametrize("step", STEPS)
def test_no_step_is_taken_for_them_by_whoever_holds_the_job(
    database: Database, jobs: Jobs, user: User, connect: Connect, step: str
) -> None:
    """An executor that has not learned of it, or does not want to: the database refuses each step, an upload under way included."""
    me = user()
    job = submit(jobs, me, settings={"images": 3})
    held = claim(jobs, executor(jobs))
    uploading, act = STEPS[step]
    made(jobs, held, uploading)
    with connect() as other:
        other.execute("select from public.jobs where id = %s for update", (job,))
        database.rows(WITHDRAW, (me,))
    assert not row(database, job)["cancel_requested"]
    with pytest.raises(NotAgeVerified):
        act(jobs, held)
    jobs.honour_cancel(held)
    assert types(database, job)[-2:] == ["cancel_requested", "cancelled"] and balance(database, me) == 1_000_000


def test_a_job_whose_last_file_was_up_is_not_completed(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
    me = user()
    job = submit(jobs, me)
    held = claim(jobs, executor(jobs))
    made(jobs, held, True)
    jobs.artifact_uploaded(held, "image", 0, artifact(held)["sha256"])
    with connect() as other:
        other.execute("select from public.jobs where id = %s for update", (job,))
        database.rows(WITHDRAW, (me,))
    with pytest.raises(NotAgeVerified):
        jobs.complete(held)
    jobs.honour_cancel(held)
    assert row(database, job)["status"] == "cancelled"


def test_in_a_shared_pass_only_their_job_is_stopped(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
    me, other = user(), user()
    ids = [submit(jobs, me), submit(jobs, other)]
    gpu = executor(jobs)
    claims = [claim(jobs, gpu) for _ in ids]
    with connect() as holder:
        holder.execute("select from public.jobs where id = %s for update", (ids[0],))
        database.rows(WITHDRAW, (me,))
    assert jobs.advance_many(claims, "generation_started") == [ids[1]]


@pytest.mark.parametrize("verb", ["retry", "reroute", "submit", "plain insert", "dialog"])
def test_nothing_is_begun_for_them_by_any_verb(database: Database, jobs: Jobs, user: User, verb: str) -> None:
    me = user()
    enhancement.take(database, "one")
    ended, waiting = submit(jobs, me), submit(jobs, me, "image_fast", settings={})
    jobs.cancel(ended)
    database.rows(RUN_OUT, (me,))  # which cancels nothing until the reaper comes by
    plain = "insert into public.jobs (user_id, job_type, metadata, status) values (%s, 'image_fast', %s, 'queued')"
    acts: dict[str, Callable[[], object]] = {
        "retry": lambda: jobs.retry(ended),
        "reroute": lambda: jobs.reroute(waiting),
        "submit": lambda: jobs.submit(NewJob(me, "image_fast", "a pier")),
        "plain insert": lambda: database.rows(plain, (me, '{"prompt": "a pier"}')),
        "dialog": lambda: database.rows("select ourvidz.check_verified(%s)", (me,)),
    }
    with pytest.raises(NotAgeVerified):
        acts[verb]()
    assert list(jobs.claim(executor(jobs))) == []


def test_a_prompt_of_the_dialog_is_given_to_nobody_and_its_answer_is_not_kept(database: Database, user: User) -> None:
    ask = """insert into ourvidz.enhancement_requests (user_id, style, prompt, asked_at)
             values (%s, 'sdxl', 'a pier', ourvidz.now()) returning id::text"""
    me, other = user(), user()
    database.rows(ask, (me,))
    taken = enhancement.take(database, "one")
    assert taken is not None
    database.rows(WITHDRAW, (me,))
    assert not enhancement.answer(database, taken, "a long pier", {}), "it is gone"
    database.rows(ask, (other,))
    database.rows(RUN_OUT, (other,))
    assert enhancement.take(database, "one") is None


# -- races, staged -------------------------------------------------------------------------------------------------------------------


def test_a_submit_that_came_first_is_stopped_with_the_rest(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
    me = user()
    with connect() as first, connect() as other:
        first.execute(SUBMIT, (me,))
        with second(database, other, WITHDRAW, (me,)) as refusals:
            first.commit()
        assert refusals == []
    assert [r["status"] for r in database.rows("select status from public.jobs where user_id = %s", (me,))] == ["cancelled"]
    assert balance(database, me) == 1_000_000


@pytest.mark.parametrize("verb", ["submit", "retry"])
def test_a_request_that_was_checked_before_and_comes_after_is_refused(
    database: Database, jobs: Jobs, user: User, connect: Connect, verb: str
) -> None:
    """It finds its user verified, then stands before the profile's lock, which the withdrawal has: it must look again."""
    me = user()
    job = submit(jobs, me)
    jobs.cancel(job)
    act = (SUBMIT, (me,)) if verb == "submit" else ("select ourvidz.retry(%s)", (job,))
    with connect() as first, connect() as other:
        first.execute(WITHDRAW, (me,))
        with second(database, other, *act) as refusals:
            first.commit()
    assert [getattr(e, "sqlstate", None) for e in refusals] == ["OV010"]
    assert database.rows("select 1 from public.jobs where user_id = %s and completed_at is null", (me,)) == []
    assert balance(database, me) == 1_000_000


def test_a_claim_that_came_first_gets_no_step_further(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
    me = user()
    job = submit(jobs, me)
    gpu = executor(jobs)
    with connect() as first:
        first.execute("select ourvidz.claim(%s)", (gpu,))
        database.rows(WITHDRAW, (me,))
    assert row(database, job)["executor_id"] is not None, "the claim went through: its row was locked"
    jobs.reap()
    assert jobs.held(gpu)[job].cancel_requested
    token = "select ourvidz.claim_token(secret, %s, 1) as token from ourvidz.executors"
    with pytest.raises(NotAgeVerified):
        database.rows("select ourvidz.advance(%s, 1, %s, 'generation_started')", (job, database.rows(token, (job,))[0]["token"]))
