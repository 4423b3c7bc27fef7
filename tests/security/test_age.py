"""Attacks on the rule that nothing is made for a user whose age is not verified: a verification that is taken back while their jobs wait,
run or upload; requests that race with that; people who verify themselves, or change what was decided."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from support import Server, claim, executor, row, submit

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

User = Callable[..., str]
WITHDRAW = "update public.profiles set age_verified = false where id = %s"


def balance(database: Database, user: str) -> int:
    return int(database.rows("select token_balance from public.profiles where id = %s", (user,))[0]["token_balance"])


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


def test_a_job_that_is_locked_in_that_moment_is_stopped_by_the_reaper(
    server: Server, database_name: str, database: Database, jobs: Jobs, user: User
) -> None:
    """The holder of the job's lock may want the profile's: waiting for it here would be a deadlock, and one of the two would be undone."""
    me = user()
    job = submit(jobs, me)
    with psycopg.connect(server.url(database_name)) as other:
        other.execute("select from public.jobs where id = %s for update", (job,))
        database.rows(WITHDRAW, (me,))
        other.execute("select from public.profiles where id = %s for no key update", (me,))
    assert row(database, job)["status"] == "queued" and list(jobs.claim(executor(jobs))) == []
    jobs.reap()
    assert row(database, job)["status"] == "cancelled" and database.rows("select * from ourvidz.stops") == []
