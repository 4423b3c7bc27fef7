"""Attacks on age verification, without which nothing is generated for a user: verification withdrawn while jobs wait, run or upload;
requests that race with the withdrawal; users who verify themselves or change decisions."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from support import Clock, Server, artifact, claim, executor, row, submit, types, wait_for_lock
from waiting import LIMIT

from ourvidz.db import ages, enhancement
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


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as found:
        yield found


def balance(database: Database, user: str) -> int:
    return int(database.rows("select token_balance from public.profiles where id = %s", (user,))[0]["token_balance"])


@contextmanager
def second(database: Database, connection: psycopg.Connection[Any], statement: str, params: tuple[Any, ...]) -> Iterator[list[Exception]]:
    """Run a statement on another connection that waits for a lock until the body releases it. Yields the list of its errors, complete
    after the block."""
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
    thread.join(LIMIT)
    assert not thread.is_alive(), "it still waits"


# -- withdrawn while jobs are under way ----------------------------------------------------------------------------------------------


def test_withdrawing_a_verification_stops_waiting_and_running_jobs(database: Database, jobs: Jobs, user: User) -> None:
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


def test_a_job_locked_during_the_withdrawal_is_stopped_by_the_reaper(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
    """The holder of the job's lock may need the profile's lock too: waiting for it here would be a deadlock."""
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
def test_the_holder_cannot_advance_a_job_after_the_withdrawal(
    database: Database, jobs: Jobs, user: User, connect: Connect, step: str
) -> None:
    """Even if the executor does not know or ignores it: the database refuses each step, also during an upload."""
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


def test_a_fully_uploaded_job_is_not_completed_after_the_withdrawal(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
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


def test_only_the_unverified_users_job_of_a_shared_pass_is_stopped(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
    me, other = user(), user()
    ids = [submit(jobs, me), submit(jobs, other)]
    gpu = executor(jobs)
    claims = [claim(jobs, gpu) for _ in ids]
    with connect() as holder:
        holder.execute("select from public.jobs where id = %s for update", (ids[0],))
        database.rows(WITHDRAW, (me,))
    assert jobs.advance_many(claims, "generation_started") == [ids[1]]


@pytest.mark.parametrize("verb", ["retry", "reroute", "submit", "plain insert", "dialog"])
def test_no_verb_starts_work_after_the_expiry(database: Database, jobs: Jobs, user: User, verb: str) -> None:
    me = user()
    enhancement.take(database, "one")
    ended, waiting = submit(jobs, me), submit(jobs, me, "image_fast", settings={})
    jobs.cancel(ended)
    database.rows(RUN_OUT, (me,))  # cancels nothing until the reaper runs
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


def test_enhancement_requests_of_unverified_users_are_not_processed(database: Database, user: User) -> None:
    ask = """insert into ourvidz.enhancement_requests (user_id, style, prompt, asked_at)
             values (%s, 'sdxl', 'a pier', ourvidz.now()) returning id::text"""
    me, late, other = user(), user(), user()
    database.rows(ask, (me,))
    taken = enhancement.take(database, "one")
    assert taken is not None
    database.rows(WITHDRAW, (me,))
    assert not enhancement.answer(database, taken, "a long pier", {}), "it is gone"
    database.rows(ask, (late,))
    taken = enhancement.take(database, "one")
    assert taken is not None and enhancement.hold(database, "one", taken)
    database.rows(RUN_OUT, (late,))  # its request stays until the reaper runs
    assert not enhancement.hold(database, "one", taken) and not enhancement.answer(database, taken, "a long pier", {})
    database.rows(ask, (other,))
    database.rows(RUN_OUT, (other,))
    assert enhancement.take(database, "one") is None


# -- races, staged -------------------------------------------------------------------------------------------------------------------


def test_a_submit_committed_before_the_withdrawal_is_stopped(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
    me = user()
    with connect() as first, connect() as other:
        first.execute(SUBMIT, (me,))
        with second(database, other, WITHDRAW, (me,)) as refusals:
            first.commit()
        assert refusals == []
    assert [r["status"] for r in database.rows("select status from public.jobs where user_id = %s", (me,))] == ["cancelled"]
    assert balance(database, me) == 1_000_000


@pytest.mark.parametrize("verb", ["submit", "retry"])
def test_a_request_checked_before_the_withdrawal_commits_is_refused(
    database: Database, jobs: Jobs, user: User, connect: Connect, verb: str
) -> None:
    """It finds its user verified, then waits for the profile's lock, held by the withdrawal: it must check again."""
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


def test_a_claim_concurrent_with_the_withdrawal_cannot_advance(database: Database, jobs: Jobs, user: User, connect: Connect) -> None:
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


# -- expiry of a verification --------------------------------------------------------------------------------------------------------


def test_an_expired_verification_stops_jobs_at_once_and_is_recorded_by_the_reaper(
    api: Api, database: Database, jobs: Jobs, user: User, clock: Clock
) -> None:
    me = user(verified=False)
    ages.decide(database, me, True, "person:ada", "a passport", clock.at + timedelta(minutes=1))
    running, waiting = submit(jobs, me), submit(jobs, me)
    gpu = executor(jobs)
    held = claim(jobs, gpu)
    clock.advance(61)
    jobs.heartbeat(gpu)
    assert list(jobs.claim(gpu)) == [], "without the reaper"
    with pytest.raises(NotAgeVerified, match="has run out"):
        jobs.advance(held, "generation_started")
    told = api.rows("authenticated", me, "select public.job_status(%s) as answer", (waiting,))[0]["answer"]
    assert told["waits_for"]["reason"] == "age_expired" and "has run out" in told["waits_for"]["next"]
    jobs.reap()
    assert (row(database, waiting)["status"], jobs.held(gpu)[running].cancel_requested) == ("cancelled", True)
    newest = ages.reviews(database, decided=True)[0]
    assert (newest["decision"], newest["decided_by"]) == ("expired", "reaper")
    assert status(api, me)["status"] == "expired"
    assert api.rows("authenticated", me, "select public.request_age_review() as answer")[0]["answer"]["status"] == "waiting"
    ages.look(database, me, "person:ada")
    assert status(api, me)["status"] == "in_review"
    ages.decide(database, me, True, "person:ada", "a passport")
    told = api.rows("authenticated", me, "select public.job_status(%s) as answer", (waiting,))[0]["answer"]
    assert told["waits_for"]["reason"] == "stopped"
    jobs.retry(waiting)


def test_an_executor_can_cancel_a_job_whose_verification_expired(database: Database, jobs: Jobs, user: User) -> None:
    me = user()
    job = submit(jobs, me)
    held = claim(jobs, executor(jobs))
    database.rows(RUN_OUT, (me,))
    with pytest.raises(NotAgeVerified):
        jobs.advance(held, "generation_started")
    jobs.honour_cancel(held)
    assert types(database, job)[-2:] == ["cancel_requested", "cancelled"]


# -- who decides, and the record of it -----------------------------------------------------------------------------------------------


def status(api: Api, user: str) -> dict[str, Any]:
    return dict(api.rows("authenticated", user, "select public.age_status() as answer")[0]["answer"])


VERIFY = "select public.verify_age(%s, %s, 'a passport') as answer"


def test_decisions_name_the_admin_or_the_service_key(api: Api, database: Database, user: User) -> None:
    me, admin = user(verified=False), user()
    done = api.rows("authenticated", admin, VERIFY, (me, True), admin=True)[0]["answer"]
    assert (done["status"], done["decided_by"], done["how"]) == ("verified", f"admin:{admin}", "a passport")
    done = api.rows("service_role", None, VERIFY, (me, False))[0]["answer"]
    assert (done["status"], done["decided_by"]) == ("refused", "service")
    assert [(r["decision"], r["decided_by"]) for r in ages.reviews(database, decided=True) if r["user_id"] == me] == [
        ("refused", "service"), ("verified", f"admin:{admin}"),
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["anon", "authenticated", "ourvidz_analyst", "ourvidz_executor"])
@pytest.mark.parametrize("again", [False, True])
def test_nobody_else_decides(api: Api, database: Database, superuser: psycopg.Connection[Any], user: User, role: str, again: bool) -> None:
    """Even if the project's default privileges grant every function of schema public to the API roles again."""
    me = user(verified=False)
    if again:
        superuser.execute("grant execute on all functions in schema public to anon, authenticated")
    for statement in (
        "select public.verify_age(%s, true, 'trust me')",
        "select public.age_message('me', 'm1', %s, 'verified')",
        "select ourvidz.verify_age(%s, true, 'trust me', 'me')",
        "update public.profiles set age_verified = true, age_verified_until = null where id = %s",
        "insert into ourvidz.age_reviews (user_id, asked_at, decision, decided_at, decided_by) values (%s, now(), 'verified', now(), 'me')",
    ):
        with pytest.raises(psycopg.Error) as refused:
            api.rows(role, me, statement, (me,))
        assert refused.value.sqlstate in ("42501", "OV017"), statement
    assert database.rows("select age_verified from public.profiles where id = %s", (me,)) == [{"age_verified": False}]


def test_users_cannot_insert_a_verified_profile(api: Api, user: User) -> None:
    me = str(uuid.uuid4())
    for columns in ("id, age_verified", "id, age_verified_until"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.rows("authenticated", me, f"insert into public.profiles ({columns}) values (%s, null)", (me,))


def test_a_direct_write_to_the_profile_is_recorded_as_a_decision(api: Api, database: Database, user: User) -> None:
    """Any write counts: a new row, an UPDATE, an UPDATE of another column whose trigger changes it, or of the expiry alone."""
    me = user()
    database.rows(WITHDRAW, (me,))
    assert status(api, me)["status"] == "withdrawn"
    database.rows("update public.profiles set age_verified = true where id = %s", (me,))
    database.rows("update public.profiles set age_verified_until = now() + interval '1 day' where id = %s", (me,))
    database.rows(
        "create function public.theirs() returns trigger language plpgsql as $$ begin new.age_verified := false; return new; end $$;"
        "create trigger theirs before update of username on public.profiles for each row execute function public.theirs()"
    )
    database.rows("update public.profiles set username = 'me' where id = %s", (me,))
    kept = [r for r in ages.reviews(database, decided=True) if r["user_id"] == me]
    assert [r["decision"] for r in kept] == ["withdrawn", "verified", "verified", "withdrawn", "verified"]
    assert {(r["decided_by"], r["how"]) for r in kept} == {("login:ourvidz", "written to profiles.age_verified")}


@pytest.mark.parametrize("role", ["authenticated", "service_role", "ourvidz_analyst", "ourvidz_executor"])
def test_age_decisions_are_immutable(api: Api, database: Database, user: User, role: str) -> None:
    me = user()
    for change in ("update ourvidz.age_reviews set decided_by = 'me'", "delete from ourvidz.age_reviews", "truncate ourvidz.age_reviews",
                   "delete from ourvidz.age_messages", "delete from ourvidz.age_ends", "delete from ourvidz.stops"):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.rows(role, me, change)
    for change in ("update ourvidz.age_reviews set decided_by = 'me'", "delete from ourvidz.age_reviews"):
        with pytest.raises(Exception, match="is not changed"):
            database.rows(change)


def test_the_age_refusal_takes_precedence_over_missing_tokens(database: Database, jobs: Jobs, user: User) -> None:
    me = user(tokens=1)
    job = submit(jobs, me)
    jobs.cancel(job)
    submit(jobs, me)
    database.rows(RUN_OUT, (me,))
    asked = NewJob(me, "image_fast", "a pier")
    for act in (lambda: jobs.retry(job), lambda: jobs.submit(asked), lambda: jobs.try_out(asked)):
        with pytest.raises(NotAgeVerified):
            act()
