"""Staged races on one job and its library rows: the second session waits for the first's lock when the first continues."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from support import Server, artifact, claim, row, types, wait_for_lock
from test_library import PROMPT, FrontEnd, path
from waiting import LIMIT

from ourvidz.audit import audit
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs

PICTURE = """insert into public.images (user_id, prompt, status, image_index, job_id, metadata)
             values (%s, %s, 'queued', 0, %s, '{}') returning id::text"""


class Second:
    """An action on another connection that has to wait; `done` returns its refusal, or None, once the first session has continued."""

    def __init__(self, db: Database, connection: psycopg.Connection[Any], act: Callable[[], Any]) -> None:
        self.refusal: psycopg.Error | None = None
        self.thread = threading.Thread(target=self._run, args=(act,))
        self.thread.start()
        wait_for_lock(db, connection.info.backend_pid)

    def _run(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except psycopg.Error as error:
            self.refusal = error

    def done(self) -> psycopg.Error | None:
        self.thread.join(LIMIT)
        assert not self.thread.is_alive(), "it still waits"
        return self.refusal


@pytest.fixture
def front(database: Database, api: Api, jobs: Jobs, user: Callable[..., str]) -> Iterator[FrontEnd]:
    front = FrontEnd(database, api, jobs, user("premium"))
    yield front
    assert audit(database).findings == ()


@pytest.fixture
def engine(server: Server, database_name: str, database: Database) -> Iterator[psycopg.Connection[Any]]:
    """The connection of an executor or operator."""
    with psycopg.connect(server.url(database_name)) as connection:
        yield connection


@pytest.fixture
def browser(server: Server, database_name: str, database: Database, front: FrontEnd) -> Iterator[psycopg.Connection[Any]]:
    """The user's requests, in a transaction that the test ends."""
    with api_of(server, database_name) as api:
        connection = api.connection
        connection.autocommit = False
        _become(connection, front.user)
        yield connection
        connection.rollback()


def _become(connection: psycopg.Connection[Any], user: str, **claims: Any) -> None:
    said = json.dumps({"role": "authenticated", "sub": user, **claims})
    connection.execute("select set_config('request.jwt.claims', %s, true)", (said,))
    connection.execute("set local role authenticated")
    connection.execute("select public.before_request()")


def ready(front: FrontEnd, job_type: str = "sdxl_image_fast") -> Claim:
    """A claimed job with its one output uploaded: only its end is missing."""
    job = claim(front.jobs, front.gpu)
    video = job.kind.video
    front.jobs.advance(job, "generation_started")
    made = artifact(job, 0, "video" if video else "image") | ({"frames": 81} if video else {})
    front.jobs.artifact_generated(job, made)
    front.jobs.advance(job, "upload_started")
    front.jobs.artifact_uploaded(job, made["kind"], 0, made["sha256"])
    return job


@pytest.mark.parametrize("first", ["link", "completion"])
def test_setting_a_link_races_with_completion(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any], first: str
) -> None:
    job_id, film = front.queue("video_fast"), front.film()
    job = ready(front)

    def link() -> None:
        browser.execute("update public.jobs set video_id = %s where id = %s", (film, job_id))

    def end() -> None:
        engine.execute("select ourvidz.complete(%s, %s, %s)", job.ref)

    in_turn(front, (link, browser), (end, engine), swapped=first != "link")
    assert (front.video(film)["status"], front.video(film)["video_url"]) == ("completed", path(job, 0, "video"))
    assert str(row(front.db, job_id)["video_id"]) == film


def in_turn(
    front: FrontEnd, one: tuple[Callable[[], None], psycopg.Connection[Any]], other: tuple[Callable[[], None], psycopg.Connection[Any]],
    *, swapped: bool,
) -> psycopg.Error | None:  # fmt: skip
    """The first acts without committing, the second starts and waits, the first commits. Returns the second's refusal, or None."""
    (first, mine), (second, theirs) = (other, one) if swapped else (one, other)
    first()
    waiting = Second(front.db, theirs, second)
    mine.commit()
    refusal = waiting.done()
    theirs.rollback() if refusal else theirs.commit()
    return refusal


@pytest.mark.parametrize("first", ["insert", "completion"])
def test_inserting_a_picture_row_races_with_completion(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any], first: str
) -> None:
    job_id = front.queue()
    job = ready(front)

    def insert() -> None:
        browser.execute(PICTURE, (front.user, PROMPT, job_id))

    def end() -> None:
        engine.execute("select ourvidz.complete(%s, %s, %s)", job.ref)

    assert in_turn(front, (insert, browser), (end, engine), swapped=first != "insert") is None
    (found,) = front.images(job_id)
    assert (found["status"], found["image_url"]) == ("completed", path(job)) and "made_at_completion" not in found["metadata"]


@pytest.mark.parametrize("first", ["deletion", "completion"])
def test_deleting_a_picture_races_with_completion(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any], first: str
) -> None:
    job_id = front.queue()
    image = front.picture(job_id)
    job = ready(front)

    def delete() -> None:
        assert browser.execute("delete from public.images where id = %s", (image,)).rowcount == 1

    def end() -> None:
        engine.execute("select ourvidz.complete(%s, %s, %s)", job.ref)

    assert in_turn(front, (delete, browser), (end, engine), swapped=first != "deletion") is None
    assert front.images(job_id) == [] and front.outputs(job_id) == [("image", 0, True)]
    assert row(front.db, job_id)["status"] == "completed"


def held_and_wanted(
    front: FrontEnd, engine: psycopg.Connection[Any], job: Claim, theirs: psycopg.Connection[Any], act: Callable[[], Any]
) -> None:
    """The browser holds a library row and waits for its job; the engine holds the job and then updates that row."""
    engine.execute("select from public.jobs where id = %s for update", (job.job_id,))
    waiting = Second(front.db, theirs, act)
    engine.execute("set local statement_timeout = '800ms'")  # shorter than deadlock_timeout
    engine.execute("select ourvidz.complete(%s, %s, %s)", job.ref)
    engine.commit()
    assert waiting.done() is None
    theirs.commit()


def test_completion_does_not_wait_for_a_deletion_of_its_picture(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any]
) -> None:
    job_id = front.queue()
    image = front.picture(job_id)
    job = ready(front)
    held_and_wanted(front, engine, job, browser, lambda: browser.execute("delete from public.images where id = %s", (image,)))
    assert front.images(job_id) == [] and front.outputs(job_id) == [("image", 0, True)]


def test_completion_does_not_wait_for_a_deletion_of_its_video(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any]
) -> None:
    job_id, film = front.queue("video_fast"), front.film()
    front.send("update public.jobs set video_id = %s where id = %s", (film, job_id))
    job = ready(front)
    held_and_wanted(front, engine, job, browser, lambda: browser.execute("delete from public.videos where id = %s", (film,)))
    assert front.outputs(job_id) == [("video", 0, True)] and row(front.db, job_id)["video_id"] is None


def test_an_admins_update_of_a_locked_image_row_sees_the_completion(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any], user: Callable[..., str]
) -> None:
    job_id = front.queue()
    image = front.picture(job_id)
    job = ready(front)
    browser.rollback()
    _become(browser, user(), app_metadata={"role": "admin"})
    review = "update public.images set moderation_status = 'approved' where id = %s"
    held_and_wanted(front, engine, job, browser, lambda: browser.execute(review, (image,)))
    (found,) = front.images(job_id)
    assert (found["status"], found["image_url"], found["moderation_status"]) == ("completed", path(job), "approved")


def test_an_update_of_a_locked_video_row_sees_the_completion(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any]
) -> None:
    job_id, film = front.queue("video_fast"), front.film()
    front.send("update public.jobs set video_id = %s where id = %s", (film, job_id))
    job = ready(front)
    held_and_wanted(
        front, engine, job, browser, lambda: browser.execute("update public.videos set scene_number = 3 where id = %s", (film,))
    )
    assert (front.video(film)["status"], front.video(film)["scene_number"]) == ("completed", 3)


@pytest.mark.parametrize("first", ["deletion", "retry"])
def test_deleting_a_job_races_with_a_retry(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any], first: str
) -> None:
    job_id = front.queue()
    front.jobs.cancel(job_id)

    def delete() -> None:
        browser.execute("delete from public.jobs where id = %s", (job_id,))

    def retry() -> None:
        engine.execute("select ourvidz.retry(%s)", (job_id,))

    refusal = in_turn(front, (delete, browser), (retry, engine), swapped=first != "deletion")
    assert refusal is not None and refusal.sqlstate == "OV001"
    found = row(front.db, job_id)
    assert (found["status"], found["hidden"]) == (("cancelled", True) if first == "deletion" else ("queued", False))


def test_cancel_by_status_waits_for_a_concurrent_claim(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any]
) -> None:
    job_id = front.queue()

    def cancel() -> None:
        browser.execute("update public.jobs set status = 'cancelled' where id = %s", (job_id,))

    def take() -> None:
        assert engine.execute("select count(*) from ourvidz.claim(%s)", (front.gpu,)).fetchone() == (1,)

    assert in_turn(front, (take, engine), (cancel, browser), swapped=False) is None
    assert (row(front.db, job_id)["status"], row(front.db, job_id)["cancel_requested"]) == ("queued", True)


def test_a_claim_skips_a_job_locked_by_a_cancel(front: FrontEnd, browser: psycopg.Connection[Any]) -> None:
    job_id = front.queue()
    browser.execute("update public.jobs set status = 'cancelled' where id = %s", (job_id,))
    assert front.jobs.claim(front.gpu) == [], "a claim passes by what is locked"
    browser.commit()
    assert types(front.db, job_id) == ["submitted", "cancelled"]


def test_deleting_a_picture_races_with_its_upload(
    front: FrontEnd, engine: psycopg.Connection[Any], browser: psycopg.Connection[Any]
) -> None:
    job_id = front.queue()
    image = front.picture(job_id)
    job = claim(front.jobs, front.gpu)
    front.jobs.advance(job, "generation_started")
    made = artifact(job)
    front.jobs.artifact_generated(job, made)
    front.jobs.advance(job, "upload_started")

    def delete() -> None:
        browser.execute("delete from public.images where id = %s", (image,))

    def uploaded() -> None:
        engine.execute("select ourvidz.artifact_uploaded(%s, %s, %s, 'image', 0, %s)", (*job.ref, made["sha256"]))

    assert in_turn(front, (delete, browser), (uploaded, engine), swapped=False) is None
    front.jobs.complete(job)
    assert front.images(job_id) == [] and front.outputs(job_id) == [("image", 0, True)]
    assert row(front.db, job_id)["status"] == "completed"
