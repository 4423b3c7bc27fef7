"""Races with an erasure: a request under way, a working executor, one that lost its job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from erasure_fixture import MINE, House, dump, holding
from support import Server, artifact, claim, executor, row, types, wait_for_lock
from waiting import LIMIT, wait_for

from ourvidz.db import safety
from ourvidz.erasure import Erased
from state.errors import NotAgeVerified, StaleClaim

ASKED = (
    "select ourvidz.submit_batch(jsonb_build_array(jsonb_build_object('user_id', %s::text, 'job_type', 'image_fast', 'prompt', %s::text)))"
)


@pytest.fixture
def connect(server: Server, database_name: str) -> Callable[[], psycopg.Connection[Any]]:
    return lambda: psycopg.connect(server.url(database_name))


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    answers: list[object] = []

    def run() -> None:
        try:
            answers.append(call())
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, answers


def waiting(house: House, query: str) -> int:
    """The pid of the backend that waits for a lock in that query."""
    sql = "select pid from pg_stat_activity where wait_event_type = 'Lock' and query like %s"
    return int(wait_for(lambda: house.database.rows(sql, (f"%{query}%",)), f"for {query} to wait")[0]["pid"])


@pytest.mark.parametrize("how", ["submit", "retry", "attest"])
def test_erasure_waits_for_an_earlier_request_and_erases_it(
    house: House, superuser: psycopg.Connection[Any], connect: Callable[[], psycopg.Connection[Any]], how: str
) -> None:
    me = house.user(MINE)
    failed = str(house.database.rows("select id from public.jobs where status = 'failed'")[0]["id"])
    with connect() as first:
        if how == "submit":
            first.execute(ASKED, (me, f"a late {MINE}"))
        elif how == "retry":
            first.execute("select ourvidz.retry(%s)", (failed,))
        else:
            first.execute("select ourvidz.attest(%s, %s, %s)", (me, "d4" * 32, MINE))
        thread, answers = in_thread(lambda: house.eraser.erase(me, by="test"))
        wait_for_lock(house.database, waiting(house, "erase_begin"))
        first.commit()
    thread.join(LIMIT)
    assert isinstance(answers[0], Erased), answers
    assert holding(dump(superuser), MINE) == set()
    assert house.database.rows("select 1 from public.jobs where user_id = %s and completed_at is null", (me,)) == []


def test_a_request_under_way_finishes_before_the_waiting_erasure(
    house: House, superuser: psycopg.Connection[Any], connect: Callable[[], psycopg.Connection[Any]]
) -> None:
    """It has locked the profile and takes the hold for its price afterwards: neither waits for the other's lock."""
    me = house.user(MINE)
    with connect() as first:
        first.execute("select ourvidz.lock_verified(array[%s::uuid])", (me,))
        thread, answers = in_thread(lambda: house.eraser.erase(me, by="test"))
        wait_for_lock(house.database, waiting(house, "erase_begin"))
        first.execute(ASKED, (me, f"a late {MINE}"))
        first.commit()
    thread.join(LIMIT)
    assert isinstance(answers[0], Erased), answers
    assert holding(dump(superuser), MINE) == set()


@pytest.mark.parametrize("how", ["submit", "retry", "attest"])
def test_a_request_after_the_erasure_started_is_refused(
    house: House, superuser: psycopg.Connection[Any], connect: Callable[[], psycopg.Connection[Any]], how: str
) -> None:
    me = house.user(MINE)
    failed = str(house.database.rows("select id from public.jobs where status = 'failed'")[0]["id"])
    calls = {
        "submit": lambda: house.database.rows(ASKED, (me, f"a late {MINE}")),
        "retry": lambda: house.jobs.retry(failed),
        "attest": lambda: safety.attest(house.database, me, "d4" * 32, MINE),
    }
    with connect() as first:
        first.execute("select ourvidz.erase_begin(%s, null, 'test')", (me,))
        thread, answers = in_thread(calls[how])
        wait_for_lock(house.database, waiting(house, {"submit": "submit_batch", "retry": "ourvidz.retry", "attest": "ourvidz.attest"}[how]))
        first.commit()
    thread.join(LIMIT)
    assert getattr(answers[0], "sqlstate", None) == ("OV018" if how == "attest" else "OV010"), answers
    house.eraser.erase(me, by="test")
    assert holding(dump(superuser), MINE) == set()


def test_erasure_waits_for_an_executor_to_honour_the_cancel(house: House, superuser: psycopg.Connection[Any]) -> None:
    me = house.user(MINE)
    held = claim(house.jobs, executor(house.jobs, "busy"))
    made = artifact(held) | {"metadata": {"note": MINE}}
    house.jobs.advance(held, "generation_started")
    house.jobs.artifact_generated(held, made)
    thread, answers = in_thread(lambda: house.eraser.erase(me, by="test", timeout_s=60))
    wait_for(lambda: row(house.database, held.job_id)["cancel_requested"])
    # Its next step is refused by the database; then it looks for a cancel.
    house.put(held.job_type, made["path"])
    with pytest.raises(NotAgeVerified):
        house.jobs.advance(held, "upload_started")
    house.jobs.honour_cancel(held)
    thread.join(LIMIT)
    assert isinstance(answers[0], Erased), answers
    assert holding(dump(superuser), MINE) == set() and house.of(me) == []


def test_an_executor_that_lost_the_job_cannot_write(house: House, superuser: psycopg.Connection[Any]) -> None:
    me, gpu = house.user(MINE), executor(house.jobs, "frozen")
    held = claim(house.jobs, gpu)
    house.jobs.advance(held, "generation_started")
    made = artifact(held)
    house.jobs.artifact_generated(held, made)
    house.jobs.executor_gone(gpu)
    house.eraser.erase(me, by="test")
    for late in (
        lambda: house.jobs.fail(held, "bad_request", MINE),
        lambda: house.jobs.enhanced(held, MINE, seconds=1, tokens=1),
        lambda: house.jobs.artifact_generated(held, made | {"metadata": {"note": MINE}}),
        lambda: house.jobs.artifact_uploaded(held, "image", 0, made["sha256"]),
        lambda: house.jobs.check_consent(held, "d4" * 32),
    ):
        with pytest.raises(StaleClaim):
            late()
    assert types(house.database, held.job_id)[-1] == "cancelled" and house.jobs.artifacts(held.job_id) == []
    assert holding(dump(superuser), MINE) == set()


def test_erasure_does_not_wait_for_a_dead_executor(house: House) -> None:
    """Even if no reaper runs: the erasure reaps on its own."""
    me, gpu = house.user(MINE), executor(house.jobs, "dead")
    held = claim(house.jobs, gpu)
    house.database.rows(
        "update ourvidz.executors set lease_until = ourvidz.now() - interval '1 hour', beat_at = beat_at - interval '1 hour'"
    )
    assert house.eraser.erase(me, by="test", timeout_s=30).finished_at
    assert types(house.database, held.job_id)[-1] == "cancelled"


def test_concurrent_erasures_are_one(house: House, superuser: psycopg.Connection[Any]) -> None:
    me = house.user(MINE)
    threads = [in_thread(lambda: house.eraser.erase(me, by="test")) for _ in range(2)]
    for thread, _ in threads:
        thread.join(LIMIT)
    assert holding(dump(superuser), MINE) == set() and house.of(me) == []
    told = [answer for _, answers in threads for answer in answers]
    assert all(isinstance(answer, Erased) and answer.finished_at for answer in told) and len(told) == 2, told
