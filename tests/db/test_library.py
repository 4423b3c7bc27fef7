"""A user's library: rows of images and videos follow the events of their jobs, under the inserts, reads and deletes of the legacy front
end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from api import Api
from support import artifact, as_job, claim, events, executor, row, submit, types

from ourvidz.audit import audit, rebuild
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from state.errors import IllegalTransition
from state.job import fold

QUEUE = """insert into public.jobs (user_id, job_type, format, quality, model_type, metadata, status)
           values (%s, %s, %s, 'fast', %s, %s, 'queued') returning id::text"""
PICTURE = """insert into public.images (user_id, prompt, generation_mode, status, format, quality, image_index, job_id, metadata)
             values (%s, %s, 'standalone', 'queued', 'png', 'fast', %s, %s, %s) returning id::text, status"""
FILM = "insert into public.videos (user_id, status, format, resolution) values (%s, 'queued', 'mp4', '832x480') returning id::text"
PROMPT = "a lighthouse at dusk, waves against the rocks, long exposure, gulls above the lamp"


class FrontEnd:
    """One user's browser: the requests it sends through PostgREST, and how many rows each one reports as changed."""

    def __init__(self, db: Database, api: Api, jobs: Jobs, user: str) -> None:
        self.db, self.api, self.jobs, self.user = db, api, jobs, user
        self.gpu = executor(jobs)

    def send(self, query: str, params: Any = (), *, user: str | None = None, admin: bool = False, role: str = "authenticated") -> Any:
        with self.api.request(role, user or self.user, admin=admin) as cursor:
            cursor.execute(query, params)
            return cursor.fetchall() if cursor.description else cursor.rowcount

    def queue(self, job_type: str = "sdxl_image_fast", **metadata: Any) -> str:
        said = {"prompt": PROMPT, "num_images": 1, "bucket": job_type} | metadata
        kind = "video" if job_type.startswith("video") else "image"
        return str(self.send(QUEUE, (self.user, job_type, kind, job_type, json.dumps(said)))[0]["id"])

    def picture(self, job_id: str, index: int | None = 0, **more: Any) -> str:
        given = (more.get("user", self.user), PROMPT, index, job_id, json.dumps({"model_type": "sdxl", "is_sdxl": True, "job_format": "x"}))
        (found,) = self.send(PICTURE, given)
        assert found["status"] == "queued"
        return str(found["id"])

    def film(self) -> str:
        return str(self.send(FILM, (self.user,))[0]["id"])

    def make(self, job: Claim | None = None, *, pictures: int = 1, before_end: Callable[[], object] = lambda: None) -> Claim:
        """Run the next job to its end."""
        job = job or claim(self.jobs, self.gpu)
        video = job.kind.video
        self.jobs.advance(job, "generation_started")
        shape = {"width": 480, "height": 832, "frames": 81, "media_type": "video/mp4"} if video else {}
        made = [artifact(job, n, "video" if video else "image") | shape for n in range(pictures)]
        made += [artifact(job, n, "thumbnail") | ({"bucket": "video-thumbnails"} if video else {}) for n in range(pictures)]
        for each in made:
            self.jobs.artifact_generated(job, each)
        self.jobs.advance(job, "upload_started")
        for each in made:
            self.jobs.artifact_uploaded(job, each["kind"], each["index"], each["sha256"])
        before_end()
        self.jobs.complete(job)
        return job

    def images(self, job_id: str) -> list[dict[str, Any]]:
        return self.db.rows("select * from public.images where job_id = %s order by image_index nulls first, created_at", (job_id,))

    def seen(self, table: str, row_id: str) -> list[dict[str, Any]]:
        return self.send(f"select * from public.{table} where id = %s", (row_id,))

    def video(self, row_id: str) -> dict[str, Any]:
        return self.db.rows("select * from public.videos where id = %s", (row_id,))[0]

    def outputs(self, job_id: str) -> list[tuple[str, int, bool]]:
        sql = "select kind, index, deleted_at is not null as gone from public.artifacts where job_id = %s order by kind, index"
        return [(r["kind"], r["index"], r["gone"]) for r in self.db.rows(sql, (job_id,))]


@pytest.fixture
def front(database: Database, api: Api, jobs: Jobs, user: Callable[..., str]) -> Iterator[FrontEnd]:
    """After each test the audit must find no difference between events, jobs and library."""
    front = FrontEnd(database, api, jobs, user("premium"))
    yield front
    assert audit(database).findings == ()


@contextmanager
def refused(sqlstate: str, says: str = ".") -> Iterator[None]:
    with pytest.raises(psycopg.Error, match=says) as caught:
        yield
    assert caught.value.sqlstate == sqlstate, caught.value


def path(job: Claim, index: int = 0, kind: str = "image") -> str:
    return str(artifact(job, index, kind)["path"])


# -- pictures -------------------------------------------------------------------------------------------------------------------


def test_rows_inserted_before_completion_are_completed(front: FrontEnd) -> None:
    job_id = front.queue(num_images=3)
    rows = [front.picture(job_id, n) for n in range(3)]
    assert front.send("update public.jobs set image_id = %s where id = %s", (rows[0], job_id)) == 0
    job = front.make(pictures=3)
    found = front.images(job_id)
    assert [(str(r["id"]), r["status"], r["image_url"], r["thumbnail_url"]) for r in found] == [
        (rows[n], "completed", path(job, n), path(job, n, "thumbnail")) for n in range(3)
    ]
    assert [r["title"] for r in found] == [f"{PROMPT[:60]}... ({n + 1})" for n in range(3)]
    told = {"model_type": "sdxl", "is_sdxl": True, "is_enhanced": False, "bucket": "sdxl_image_fast", "thumbnail_bucket": "sdxl_image_fast",
            "prompt": PROMPT, "total_images": 3, "job_type": "sdxl_image_fast", "original_job_id": job_id, "job_format": "x"}  # fmt: skip
    for n, r in enumerate(found):
        assert r["metadata"] | told | {"seed": 7 + n, "image_index": n} == r["metadata"]
        assert r["metadata"]["generation_time"] >= 0
    shown = row(front.db, job_id)
    assert str(shown["image_id"]) == rows[0]
    assert (
        shown["metadata"] | {"num_images": 3, "primary_asset": path(job), "all_assets": [path(job, n) for n in range(3)]}
        == shown["metadata"]
    )
    assert "linked" in types(front.db, job_id)


def test_a_single_row_without_an_index_is_completed(front: FrontEnd) -> None:
    job_id = front.queue("image7b_fast_enhanced")
    image = front.picture(job_id, None)
    job = claim(front.jobs, front.gpu)
    front.jobs.advance(job, "enhancement_started")
    front.jobs.enhanced(job, "a lighthouse, described at length", seconds=1, tokens=9)
    front.make(job)
    (found,) = front.images(job_id)
    assert (str(found["id"]), found["status"], found["image_url"]) == (image, "completed", path(job))
    assert (found["enhanced_prompt"], found["metadata"]["is_enhanced"], found["metadata"]["is_sdxl"]) == (
        "a lighthouse, described at length", True, False)  # fmt: skip
    assert found["title"] == PROMPT[:60] + "..."


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_library_rows_follow_a_failure_and_a_retry(front: FrontEnd, end: str) -> None:
    job_id = front.queue(num_images=3)
    for n in range(3):
        front.picture(job_id, n)
    if end == "failed":
        front.jobs.fail(claim(front.jobs, front.gpu), "model_file", "The model file is damaged.", retryable=False)
    else:
        assert front.send("update public.jobs set status = 'cancelled' where id = %s", (job_id,)) == 0
    assert row(front.db, job_id)["status"] == end
    assert row(front.db, job_id)["error_message"] == {"failed": "The model file is damaged.", "cancelled": "cancelled"}[end]
    assert {r["status"] for r in front.images(job_id)} == {"failed"}
    front.jobs.retry(job_id)
    assert {r["status"] for r in front.images(job_id)} == {"queued"} and row(front.db, job_id)["error_message"] is None
    front.make(pictures=3)
    assert {r["status"] for r in front.images(job_id)} == {"completed"}


def test_rows_of_a_partial_batch(front: FrontEnd) -> None:
    job_id = front.queue(num_images=3)
    for n in range(3):
        front.picture(job_id, n)
    front.make(pictures=2)
    assert [r["status"] for r in front.images(job_id)] == ["completed", "completed", "failed"]


def test_a_row_inserted_after_completion_is_completed_by_an_update(front: FrontEnd) -> None:
    """The front end's listener sees the row arrive as queued and then change: one that arrives as completed would never be shown."""
    job_id = front.queue()
    job = front.make()
    (made,) = front.images(job_id)
    assert (made["status"], made["image_url"], made["image_index"]) == ("completed", path(job), 0)
    image = front.picture(job_id)
    (found,) = front.images(job_id)
    assert str(found["id"]) == image != str(made["id"]), "it takes the place of the row that was made"
    assert front.db.rows("select id::text from public.images") == [{"id": image}]  # the library shows the picture once
    assert (found["status"], found["image_url"]) == ("completed", path(job))
    assert "removed" not in types(front.db, job_id)


def test_a_row_inserted_after_a_failure(front: FrontEnd) -> None:
    job_id = front.queue()
    front.jobs.cancel(job_id)
    front.picture(job_id)
    assert [r["status"] for r in front.images(job_id)] == ["failed"]


def test_jobs_from_other_entry_points_get_library_rows(front: FrontEnd) -> None:
    job_id = submit(front.jobs, front.user, prompt="a quiet harbour", settings={"images": 3})
    job = front.make(pictures=3)
    found = front.images(job_id)
    assert [(r["image_index"], r["image_url"], r["title"], r["prompt"], r["quality"]) for r in found] == [
        (n, path(job, n), f"a quiet harbour ({n + 1})", "a quiet harbour", "fast") for n in range(3)
    ]
    assert len(front.send("select id from public.images where status = 'completed'")) == 3, "its user sees them"


def test_client_statements_about_a_jobs_picture_are_ignored_or_refused(front: FrontEnd, user: Callable[..., str]) -> None:
    job_id = front.queue()
    early = "insert into public.images (user_id, prompt, status, job_id) values (%s, 'x', 'completed', %s) returning status"
    assert front.send(early, (front.user, job_id)) == [{"status": "queued"}]
    other = user("premium")
    with refused("OV018", "no such job"):
        front.send(early, (other, job_id), user=other)
    with refused("OV017"):
        front.send(early, (other, job_id))
    with refused("42501"):
        front.send("update public.images set status = 'completed'")
    # What the deployed callback (service key) says of a job's picture is corrected at once.
    front.send("update public.images set status = 'completed', image_url = 'x', title = 'mine'", role="service_role")
    assert [(r["status"], r["image_url"], r["title"]) for r in front.images(job_id)] == [("queued", None, "mine")]


def test_rows_without_a_job_are_not_changed(front: FrontEnd) -> None:
    sql = "insert into public.images (user_id, prompt, status, title) values (%s, 'x', 'completed', 'mine') returning id"
    front.send(sql, (front.user,))
    front.queue()
    front.make()
    (found,) = front.send("select status, title from public.images where job_id is null")
    assert found == {"status": "completed", "title": "mine"}


@pytest.mark.parametrize(("column", "value"), [("prompt", "x" * 4001), ("title", "x" * 501), ("metadata", json.dumps({"x": "y" * 33_000}))])
def test_row_values_are_bounded(front: FrontEnd, column: str, value: str) -> None:
    given = {"user_id": front.user, "prompt": "x"} | {column: value}
    with refused("OV009", column):
        front.send(f"insert into public.images ({', '.join(given)}) values ({', '.join(['%s'] * len(given))})", list(given.values()))


# -- videos ---------------------------------------------------------------------------------------------------------------------


def test_a_video_created_as_the_front_end_does(front: FrontEnd) -> None:
    job_id = front.queue("video_fast")
    film = front.film()
    assert front.send("update public.jobs set video_id = %s where id = %s", (film, job_id)) == 0
    assert (front.video(film)["status"], str(front.video(film)["video_job_id"])) == ("generating", job_id)
    job = front.make()
    check_film(front, film, job)


def test_a_video_linked_after_its_job_completed(front: FrontEnd) -> None:
    job_id = front.queue("video_fast")
    job = front.make()
    film = front.film()
    assert front.video(film)["status"] == "queued"
    front.send("update public.jobs set video_id = %s where id = %s", (film, job_id))
    check_film(front, film, job)
    (joined,) = front.send("select v.id from public.videos as v join public.jobs as j on j.video_id = v.id")
    assert str(joined["id"]) == film


def check_film(front: FrontEnd, film: str, job: Claim) -> None:
    found = front.video(film)
    assert (found["status"], found["video_url"], found["signed_url"]) == ("completed", path(job, 0, "video"), path(job, 0, "video"))
    assert (found["thumbnail_url"], found["resolution"], float(found["duration"])) == (path(job, 0, "thumbnail"), "480x832", 5.0625)
    assert found["completed_at"] == row(front.db, job.job_id)["completed_at"] and found["title"] == PROMPT[:60] + "..."
    told = {"prompt": PROMPT, "bucket": "video_fast", "stored_path": found["video_url"], "thumbnail_bucket": "video-thumbnails"}
    assert found["metadata"] | told == found["metadata"]


def test_a_failed_video(front: FrontEnd) -> None:
    job_id = front.queue("video_fast")
    film = front.film()
    front.send("update public.jobs set video_id = %s where id = %s", (film, job_id))
    front.jobs.fail(claim(front.jobs, front.gpu), "model_file", "The model file is damaged.", retryable=False)
    assert (front.video(film)["status"], front.video(film)["error_message"]) == ("failed", "The model file is damaged.")


# -- what users may write to a job ----------------------------------------------------------------------------------------------


def test_a_link_is_set_once(front: FrontEnd, user: Callable[..., str]) -> None:
    job_id = front.queue()
    first, second = front.picture(job_id, 0), front.picture(job_id, 1)
    link = "update public.jobs set image_id = %s where id = %s"
    front.send(link, (first, job_id))
    version = row(front.db, job_id)["version"]
    front.send(link, (first, job_id))
    assert row(front.db, job_id)["version"] == version, "the same again is no event"
    with refused("OV001", "linked to image"):
        front.send(link, (second, job_id))
    with refused("OV009", "set once"):
        front.send(link, (None, job_id))
    stranger = user("premium")
    theirs = front.send(FILM, (stranger,), user=stranger)[0]["id"]
    with refused("OV018", "no such video"):
        front.send("update public.jobs set video_id = %s where id = %s", (theirs, job_id))
    front.send("update public.jobs set video_id = %s where id = %s", (theirs, job_id), user=stranger)
    assert row(front.db, job_id)["version"] == version, "another's job: no row"


@pytest.mark.parametrize("word", ["cancelled", "failed"])
def test_the_front_ends_cancel_statuses_cancel_the_job(front: FrontEnd, user: Callable[..., str], word: str) -> None:
    """The deployed queue-job sets `failed` on a job that it could not push to its Redis."""
    job_id = front.queue()
    ask = "update public.jobs set status = %s, error_message = 'no Redis' where id = %s"
    front.send(ask, (word, job_id), user=user())
    assert row(front.db, job_id)["status"] == "queued"
    front.send(ask, (word, job_id))
    assert (row(front.db, job_id)["status"], row(front.db, job_id)["error_message"]) == ("cancelled", "cancelled")
    held = front.queue()
    claim(front.jobs, front.gpu)
    front.send(ask, (word, held))
    assert row(front.db, held)["cancel_requested"]


def test_other_statuses_are_refused(front: FrontEnd) -> None:
    job_id = front.queue()
    for word in ("completed", "processing", "x"):
        with refused("OV009", "status"):
            front.send("update public.jobs set status = %s where id = %s", (word, job_id))
    with refused("OV009", "error message"):
        front.send("update public.jobs set error_message = 'x' where id = %s", (job_id,))
    with refused("42501"):
        front.send("update public.jobs set rank = 0 where id = %s", (job_id,))
    front.send("update public.jobs set status = 'queued' where id = %s", (job_id,))
    assert row(front.db, job_id)["version"] == 1
    front.jobs.cancel(job_id)
    with refused("OV009", "status"):  # only admins restart a job by its status; users call retry_job
        front.send("update public.jobs set status = 'queued' where id = %s", (job_id,))
    assert row(front.db, job_id)["status"] == "cancelled"


def test_no_event_deletes_an_unfinished_job(front: FrontEnd) -> None:
    job_id = front.queue()
    with pytest.raises(IllegalTransition, match="can be deleted when it has ended"):
        front.db.rows("select ourvidz.remove_from_library(%s)", (job_id,))
    with pytest.raises(IllegalTransition, match="may not be removed"):
        front.db.rows("select ourvidz.append(array[%s::uuid], 'removed', array['{\"what\": \"job\"}'::jsonb], 'person')", (job_id,))
    assert row(front.db, job_id)["version"] == 1 and not row(front.db, job_id)["hidden"]


def test_admin_actions_on_jobs_and_images(front: FrontEnd, user: Callable[..., str]) -> None:
    admin = {"user": user("premium"), "admin": True}
    job_id = front.queue()
    image = front.picture(job_id)
    ask = "update public.jobs set status = %s where id = %s"
    front.send(ask, ("failed", job_id), **admin)
    assert row(front.db, job_id)["status"] == "cancelled"
    front.send(ask, ("queued", job_id), **admin)
    assert row(front.db, job_id)["status"] == "queued"
    with refused("OV009", "to queued to retry"):
        front.send(ask, ("processing", job_id), **admin)
    front.send("update public.jobs set status = 'cancelled', error_message = 'by hand' where id = %s", (job_id,), **admin)
    assert (row(front.db, job_id)["status"], row(front.db, job_id)["error_message"]) == ("cancelled", "by hand")
    front.send("update public.jobs set error_message = 'again' where id = %s", (job_id,), **admin)
    assert row(front.db, job_id)["error_message"] == "again"
    review = "update public.images set moderation_status = 'approved', reviewed_at = now(), review_notes = 'fine' where id = %s"
    assert front.send(review, (image,), **admin) == 1
    with refused("42501"):
        front.send(review, (image,))
    front.send("delete from public.jobs where id = any (%s::uuid[])", ([job_id],), **admin)
    assert row(front.db, job_id)["hidden"] and front.images(job_id) == []
    assert len(front.send("select id from public.jobs where id = %s", (job_id,), **admin)) == 1, "for admins it is still there"
    # An admin is a user too: the prompt tests queue jobs under their own id.
    own = front.send(QUEUE, (admin["user"], "sdxl_image_fast", "image", "sdxl_image_fast", json.dumps({"prompt": "x"})), **admin)
    assert row(front.db, own[0]["id"])["status"] == "queued"


# -- deleting -------------------------------------------------------------------------------------------------------------------


def test_deleting_a_picture(front: FrontEnd, user: Callable[..., str]) -> None:
    job_id = front.queue(num_images=3)
    rows = [front.picture(job_id, n) for n in range(3)]
    front.send("update public.jobs set image_id = %s where id = %s", (rows[0], job_id))
    front.make(pictures=3)
    delete = "delete from public.images where id = %s"
    assert front.send(delete, (rows[1],), user=user()) == 0
    assert front.send(delete, (rows[1],)) == 1
    assert front.outputs(job_id) == [(k, n, n == 1) for k in ("image", "thumbnail") for n in range(3)]
    assert str(row(front.db, job_id)["image_id"]) == rows[0]
    assert front.send(delete, (rows[0],)) == 1
    assert row(front.db, job_id)["image_id"] is None and not row(front.db, job_id)["hidden"]
    assert types(front.db, job_id)[-2:] == ["removed", "removed"]
    assert [a["index"] for a in front.send("select index from public.artifacts where kind = 'image'")] == [2]
    assert as_job(row(front.db, job_id)) == fold(events(front.db, job_id), job_id)


def test_a_picture_deleted_before_it_is_made_does_not_come_back(front: FrontEnd) -> None:
    job_id = front.queue(num_images=3)
    rows = [front.picture(job_id, n) for n in range(3)]
    front.send("delete from public.images where id = %s", (rows[1],))
    front.make(pictures=3)
    assert [(r["image_index"], r["status"]) for r in front.images(job_id)] == [(0, "completed"), (2, "completed")]
    assert front.outputs(job_id) == [(k, n, n == 1) for k in ("image", "thumbnail") for n in range(3)]


def test_deleting_a_video(front: FrontEnd) -> None:
    job_id = front.queue("video_fast")
    film = front.film()
    front.send("update public.jobs set video_id = %s where id = %s", (film, job_id))
    front.make()
    assert front.send("delete from public.videos where id = %s", (film,)) == 1
    assert row(front.db, job_id)["video_id"] is None
    assert front.outputs(job_id) == [("thumbnail", 0, True), ("video", 0, True)]


def test_deleting_a_finished_job(front: FrontEnd, user: Callable[..., str]) -> None:
    job_id = front.queue(num_images=3)
    delete = "delete from public.jobs where id = %s"
    with refused("OV001", "Cancel it first|ended"):
        front.send(delete, (job_id,))
    front.picture(job_id, 0)
    front.make(pictures=3)
    stranger, admin = user(), user()
    before = front.db.rows("select * from public.usage_logs order by id"), front.db.rows("select * from ourvidz.token_entries order by seq")
    assert front.send(delete, (job_id,), user=stranger) == 0 and not row(front.db, job_id)["hidden"]
    assert front.send(delete, (job_id,)) == 0  # no row is deleted: PostgREST answers 204
    assert row(front.db, job_id)["hidden"] and front.images(job_id) == []
    assert all(gone for *_, gone in front.outputs(job_id))
    for table, column in (("jobs", "id"), *((t, "job_id") for t in ("job_payloads", "job_events", "artifacts", "images", "job_timeline"))):
        assert front.send(f"select {column} from public.{table}") == [], table
    with refused("OV006"):
        front.send("select public.job_status(%s)", (job_id,))
    assert before == (
        front.db.rows("select * from public.usage_logs order by id"),
        front.db.rows("select * from ourvidz.token_entries order by seq"),
    )
    assert types(front.db, job_id).count("removed") == 1
    front.send(delete, (job_id,), user=admin, admin=True)
    assert types(front.db, job_id).count("removed") == 1, "twice is once"


def test_a_deleted_job_cannot_be_retried(front: FrontEnd) -> None:
    job_id = front.queue()
    front.jobs.cancel(job_id)
    front.send("delete from public.jobs where id = %s", (job_id,))
    with pytest.raises(IllegalTransition, match="deleted"):
        front.jobs.retry(job_id)


def test_deleting_a_job_deletes_its_video_row_but_not_a_scene(front: FrontEnd) -> None:
    kept: list[str] = []
    for columns, values in (("status, format", "'queued', 'mp4'"), ("scene_number", "1")):
        job_id = front.queue("video_fast")
        (film,) = front.send(f"insert into public.videos (user_id, {columns}) values (%s, {values}) returning id::text", (front.user,))
        front.send("update public.jobs set video_id = %s where id = %s", (film["id"], job_id))
        front.make()
        front.send("delete from public.jobs where id = %s", (job_id,))
        kept += [r["id"] for r in front.db.rows("select id::text from public.videos where id = %s", (film["id"],))]
    assert len(kept) == 1
    left = front.video(kept[0])
    assert (left["status"], left["video_url"], left["video_job_id"]) == ("draft", None, None)


def test_deleting_a_project_removes_its_videos(front: FrontEnd) -> None:
    (project,) = front.db.rows("insert into public.projects (user_id, title) values (%s, 'p') returning id::text", (front.user,))
    sql = "insert into public.videos (user_id, project_id, scene_number) values (%s, %s, 1) returning id::text"
    (scene,) = front.db.rows(sql, (front.user, project["id"]))
    job_id = submit(front.jobs, front.user, "video_fast", video_id=scene["id"])
    front.make()
    assert front.send("delete from public.projects where id = %s", (project["id"],)) == 1
    assert types(front.db, job_id)[-1] == "removed" and row(front.db, job_id)["video_id"] is None


# -- library check and rebuild ----------------------------------------------------------------------------------------------------


def test_rebuild_repairs_library_rows_that_differ(front: FrontEnd, superuser: psycopg.Connection) -> None:
    job_id, film_job = front.queue(num_images=3), front.queue("video_fast")
    film = front.film()
    front.send("update public.jobs set video_id = %s where id = %s", (film, film_job))
    for n in range(3):
        front.picture(job_id, n)
    front.make(pictures=3)
    front.make()
    before = front.images(job_id), front.video(film)
    for change in (
        "update public.images set status = 'failed' where image_index = 0",
        "update public.images set image_url = 'elsewhere' where image_index = 1",
        "delete from public.images where image_index = 2",
        "update public.videos set video_url = 'elsewhere'",
        "update public.videos set status = 'draft'",
    ):
        table = change.split()[2 if change.startswith("delete") else 1]
        superuser.execute(f"alter table {table} disable trigger user")
        superuser.execute(change)
        superuser.execute(f"alter table {table} enable trigger user")
        found = audit(front.db).findings
        assert {f.kind for f in found} == {"library_differs"} and len(found) == 1, change
        assert [f.kind for f in rebuild(front.db, verify=False)] == ["library_differs"]
        assert audit(front.db).findings == (), change
    assert [(r["status"], r["image_url"], r["title"]) for r in front.images(job_id)] == [
        (r["status"], r["image_url"], r["title"]) for r in before[0]
    ]
    assert front.video(film)["video_url"] == before[1]["video_url"]
