"""Submitting jobs: the same request is the same job, and the database refuses invalid requests, whoever sends them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from support import Clock, claim, executor, new_user, row, submit, types, wait_for_lock
from waiting import LIMIT

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs, NewJob
from ourvidz.safety.screen import Verdict
from state.errors import IdempotencyConflict, InvalidJob, NotAgeVerified, RefusedContent

User = Callable[..., str]


def batch(database: Database, *asked: dict[str, Any]) -> list[tuple[str, bool]]:
    """Submit as an edge function does, past Python's checks."""
    rows = database.rows("select * from ourvidz.submit_batch(%s::jsonb) order by ord", (json.dumps(asked),))
    assert [r["ord"] for r in rows] == list(range(1, len(asked) + 1))
    return [(str(r["job_id"]), r["created"]) for r in rows]


def count(database: Database, table: str = "public.jobs") -> int:
    return int(database.rows(f"select count(*) as n from {table}")[0]["n"])


@pytest.fixture
def asked(user: User) -> dict[str, Any]:
    return {"user_id": user(), "job_type": "sdxl_image_fast", "prompt": "a lighthouse", "settings": {"steps": 20}}


def test_a_submitted_job_is_queued_with_its_event(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user("pro"))
    found = row(database, job_id)
    assert (found["status"], found["version"], found["priority"], found["ready"]) == ("queued", 1, 5, True)
    assert types(database, job_id) == ["submitted"]


# -- idempotency ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [{"id": str(uuid.UUID(int=7))}, {"idempotency_key": "order-7"}])
def test_the_same_request_is_the_same_job(database: Database, asked: dict[str, Any], key: dict[str, str]) -> None:
    ((job_id, created),) = batch(database, asked | key)
    assert created and batch(database, asked | key) == [(job_id, False)]
    assert (count(database), count(database, "public.job_events")) == (1, 1)


@pytest.mark.parametrize("key", [{"id": str(uuid.UUID(int=7))}, {"idempotency_key": "order-7"}])
@pytest.mark.parametrize(
    "change",
    [{"prompt": "a tower"}, {"settings": {"steps": 21}}, {"settings": {}}, {"job_type": "sdxl_image_high"}, {"metadata": {"a": 1}}],
)
def test_a_changed_request_under_the_same_key_is_refused(
    database: Database, asked: dict[str, Any], key: dict[str, str], change: dict[str, Any]
) -> None:
    batch(database, asked | key)
    with pytest.raises(IdempotencyConflict, match="Use a new key"):
        batch(database, asked | key | change)
    assert count(database) == 1


def test_keys_are_per_user_and_ids_global(database: Database, asked: dict[str, Any], user: User) -> None:
    ((first, _),) = batch(database, asked | {"idempotency_key": "k"})
    ((second, created),) = batch(database, asked | {"idempotency_key": "k", "user_id": user()})
    assert created and first != second
    with pytest.raises(IdempotencyConflict) as refused:
        batch(database, asked | {"id": first, "idempotency_key": "k", "user_id": user()})
    assert "another user's" in str(refused.value) and asked["user_id"] not in str(refused.value)


def test_resubmitting_a_progressed_job_returns_it(database: Database, jobs: Jobs, user: User) -> None:
    wanted = NewJob(user(), "image_fast", "a lighthouse", idempotency_key="k")
    first = jobs.submit(wanted)
    jobs.cancel(first.id)
    again = jobs.submit(wanted)
    assert (again.id, first.created, again.created) == (first.id, True, False)
    assert row(database, first.id)["status"] == "cancelled"


def test_concurrent_submits_with_one_key_make_one_job(database: Database, jobs: Jobs, user: User) -> None:
    wanted = NewJob(user(), "image_fast", "a lighthouse", idempotency_key="one")
    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(lambda _: jobs.submit(wanted), range(100)))
    assert len({d.id for d in done}) == 1 and sum(d.created for d in done) == 1
    assert count(database) == 1


def test_a_second_submit_waits_for_the_first_and_finds_its_job(database: Database, asked: dict[str, Any]) -> None:
    """Staged: the first is not committed when the second comes."""
    sql, params = "select job_id, created from ourvidz.submit_batch(%s::jsonb)", (json.dumps([asked | {"idempotency_key": "k"}]),)
    with ThreadPoolExecutor(1) as pool, database.driver() as first, psycopg.connect(database.url, autocommit=True) as second:
        first.execute("set statement_timeout = '10s'")
        second.execute("set statement_timeout = '10s'")
        first.execute("begin")
        made = first.execute(sql, params).fetchone()
        waiting = pool.submit(lambda: second.execute(sql, params).fetchone())
        wait_for_lock(database, second.info.backend_pid)
        first.execute("commit")
        assert made is not None and waiting.result(LIMIT) == (made[0], False)


def test_a_repeated_key_in_a_batch_makes_one_job(database: Database, asked: dict[str, Any]) -> None:
    twice = asked | {"idempotency_key": "k"}
    (a, first), (b, second), (c, third) = batch(database, twice, twice, asked)
    assert (a == b != c) and (first, second, third) == (True, False, True)
    same_id = asked | {"id": str(uuid.UUID(int=9))}
    assert batch(database, same_id, same_id) == [(same_id["id"], True), (same_id["id"], False)]
    assert count(database) == 3


@pytest.mark.parametrize("key", [{"id": str(uuid.UUID(int=7))}, {"idempotency_key": "k"}])
def test_different_jobs_under_one_key_in_a_batch_are_refused(database: Database, asked: dict[str, Any], key: dict[str, str]) -> None:
    with pytest.raises(IdempotencyConflict):
        batch(database, asked | key, asked | key | {"prompt": "a tower"})
    assert count(database) == 0


def test_one_id_with_and_without_a_key_is_refused(database: Database, asked: dict[str, Any]) -> None:
    job_id = {"id": str(uuid.UUID(int=7))}
    with pytest.raises(IdempotencyConflict):
        batch(database, asked | job_id, asked | job_id | {"idempotency_key": "k"})


def test_a_big_batch_takes_few_locks(database: Database, asked: dict[str, Any]) -> None:
    """One lock per job would fill the server's lock table, and other sessions' statements would fail."""
    with database.driver() as connection, connection.transaction():
        many = [asked | {"id": str(uuid.UUID(int=n + 1)), "idempotency_key": f"k{n}"} for n in range(3_000)]
        connection.execute("select count(*) from ourvidz.submit_batch(%s::jsonb)", (json.dumps(many),))
        (locks,) = connection.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone() or (0,)
        assert locks <= 1_024


def test_resubmitting_an_id_returns_the_same_job(database: Database, jobs: Jobs, user: User) -> None:
    wanted = NewJob(user(), "image_fast", "a lighthouse", id=str(uuid.uuid4()))
    assert jobs.submit(wanted).id == jobs.submit(wanted).id == wanted.id


# -- refusals ---------------------------------------------------------------------------------------------------------------------


def test_a_batch_is_submitted_completely_or_not_at_all(database: Database, asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        batch(database, asked, asked | {"job_type": "video_imaginary"})
    assert count(database) == count(database, "public.job_payloads") == 0


def test_no_job_without_an_age_verified_profile(database: Database, jobs: Jobs, user: User, asked: dict[str, Any]) -> None:
    for who in (user(verified=False), str(uuid.uuid4())):
        with pytest.raises(NotAgeVerified):
            submit(jobs, who)
        with pytest.raises(NotAgeVerified):
            batch(database, asked, asked | {"user_id": who})
    with pytest.raises(NotAgeVerified):
        batch(database, {k: v for k, v in asked.items() if k != "user_id"})
    assert count(database) == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"job_type": "video_imaginary"}, "job_type"),
        ({"job_type": None}, "job_type"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "   "}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"negative_prompt": "x" * 2001}, "negative_prompt"),
        ({"settings": {"steps": 61}}, "steps"),
        ({"settings": {"steps": 0}}, "steps"),
        ({"settings": {"steps": "15"}}, "steps"),
        ({"settings": {"guidance": 15.1}}, "guidance"),
        ({"settings": {"width": 1280, "height": 1280}}, "size"),
        ({"settings": {"images": 2}}, "images"),
        ({"settings": {"seed": 2**32}}, "seed"),
        ({"settings": {"seed": -1}}, "seed"),
        ({"settings": {"reference_strength": 0.05, "references": {"style": "https://example.org/a.png"}}}, "reference_strength"),
        ({"settings": {"scheduler": "Magic"}}, "scheduler"),
        ({"job_type": "sdxl_img2img", "settings": {}}, "references"),
        ({"job_type": "video_fast", "settings": {"frames": 80}}, "frames"),
        ({"job_type": "image_fast", "settings": {"images": 3}}, "images"),
        ({"job_type": "image_fast", "settings": {"shift": 0}}, "shift"),
    ],
)
def test_invalid_requests_are_refused_by_field(database: Database, asked: dict[str, Any], change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        batch(database, asked | change)
    assert refused.value.field == field
    assert count(database) == 0


def test_a_prompt_refused_by_the_screen_is_not_queued(database: Database, user: User) -> None:
    class Strict:
        def check(self, text: str) -> Verdict:
            return Verdict(False, "v1", "minors", "rule-1")

    with pytest.raises(RefusedContent) as refused:
        submit(Jobs(database, Strict()), user(), prompt="some words")
    assert "some words" not in str(refused.value) and count(database) == 0


def test_prompts_do_not_appear_in_events_and_errors(database: Database, jobs: Jobs, user: User) -> None:
    job_id = submit(jobs, user(), prompt="my secret lighthouse", negative_prompt="secret fog", metadata={"note": "secret"})
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    jobs.fail(job, "bad_output", "secret: it broke", retryable=False)
    (told,) = database.rows("select string_agg(e::text, ' ') as text from public.job_events as e where job_id = %s", (job_id,))
    assert "secret" not in told["text"]
    # The job's row holds the prompt and the message only where the legacy front end reads them.
    found = row(database, job_id)
    assert found.pop("error_message") == "secret: it broke"
    assert found.pop("metadata")["prompt"] == "my secret lighthouse" and "secret" not in str(found)


def test_digests_are_salted_per_job(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    """The same prompt twice gives two digests: a list of likely prompts reveals nothing once the salt is erased."""
    owner = user()
    ids = [submit(jobs, owner) for _ in range(2)]
    found = database.rows("select data->>'digest' as d from public.job_events where job_id = any (%s::uuid[])", (ids,))
    assert len({r["d"] for r in found}) == 2


def test_an_unverified_user_cannot_retry(database: Database, jobs: Jobs) -> None:
    """A user who is no longer verified cannot retry either."""
    user = new_user(database)
    job = submit(jobs, user)
    jobs.cancel(job)
    database.rows("update public.profiles set age_verified = false where id = %s", (user,))
    with pytest.raises(NotAgeVerified):
        jobs.retry(job)
    database.rows("update public.profiles set age_verified = true where id = %s", (user,))
    jobs.retry(job)
