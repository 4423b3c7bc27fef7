"""Scenes follow the events of their jobs in any order of completion, and an approved preview becomes a video once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from handmade_events import Forger
from support import artifact, claim, executor, row, submit
from waiting import LIMIT

from ourvidz.db import video_status
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from state.errors import BareWrite, Forbidden, IdempotencyConflict, IllegalTransition, InvalidJob, NotFound, TooManyJobs
from state.video_status import STATUSES

WATCHED = ("status", "preview_url", "video_url")


class Scene:
    """A scene, its owner's jobs and an executor."""

    def __init__(self, db: Database, jobs: Jobs, owner: str) -> None:
        self.db, self.jobs, self.owner = db, jobs, owner
        self.project = db.rows("insert into public.projects (user_id, title) values (%s, 'p') returning id::text", (owner,))[0]["id"]
        sql = "insert into public.videos (user_id, project_id, scene_number) values (%s, %s, 1) returning id::text"
        self.id: str = db.rows(sql, (owner, self.project))[0]["id"]
        self.gpu = executor(jobs)

    @property
    def row(self) -> dict[str, Any]:
        return self.db.rows("select * from public.videos where id = %s", (self.id,))[0]

    def submit(self, job_type: str = "sdxl_image_fast", **more: Any) -> str:
        return submit(self.jobs, self.owner, job_type, video_id=self.id, project_id=self.project, **more)

    def make(self, job: Claim, *, width: int = 8, height: int = 8, pictures: int = 1) -> str:
        """Run a job to its end; returns the path of its first output."""
        video = job.kind.video
        self.jobs.advance(job, "generation_started")
        shape = {"width": width, "height": height} | ({"frames": 81, "media_type": "video/mp4"} if video else {})
        made = [artifact(job, n, "video" if video else "image") | shape for n in range(pictures)] + [artifact(job, 0, "thumbnail")]
        for each in made:
            self.jobs.artifact_generated(job, each)
        self.jobs.advance(job, "upload_started")
        for each in made:
            self.jobs.artifact_uploaded(job, each["kind"], each["index"], each["sha256"])
        self.jobs.complete(job)
        return str(made[0]["path"])

    def preview(self, **shape: Any) -> str:
        self.submit(settings={"images": 3} if shape.get("pictures") == 3 else {})
        return self.make(claim(self.jobs, self.gpu, lanes=["sdxl"]), **shape)

    def approve(self, job_type: str = "video_high", config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Approve as an operator, at the user's expense."""
        return video_status.approve(self.db, self.id, job_type, config, **{"charge": True, **more})


@pytest.fixture
def scene(database: Database, jobs: Jobs, user: Callable[..., str]) -> Scene:
    return Scene(database, jobs, user("premium"))


def settings(db: Database, job_id: str) -> dict[str, Any]:
    return db.rows("select settings from public.job_payloads where job_id = %s", (job_id,))[0]["settings"]


# -- following job events -------------------------------------------------------------------------------------------------------


def test_from_draft_to_completed(scene: Scene) -> None:
    assert scene.row["status"] == "draft"
    preview = scene.submit()
    assert (scene.row["status"], str(scene.row["preview_job_id"])) == ("previewing", preview)
    picture = scene.make(claim(scene.jobs, scene.gpu), width=1024, height=1024)
    assert scene.row["status"] == "preview_ready"
    assert (scene.row["preview_url"], scene.row["resolution"], scene.row["duration"]) == (picture, "1024x1024", None)
    assert scene.row["thumbnail_url"] == picture.replace("0-image", "0-thumbnail")
    final = scene.approve()
    assert (scene.row["status"], str(scene.row["video_job_id"])) == ("generating", final["job_id"])
    film = scene.make(claim(scene.jobs, scene.gpu), width=480, height=832)
    found = scene.row
    assert (found["status"], found["preview_url"], found["video_url"]) == ("completed", picture, film)
    assert (found["resolution"], found["duration"]) == ("480x832", 5.0625)
    assert found["thumbnail_url"] == film.replace("0-video", "0-thumbnail")


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_scene_follows_a_failure_and_a_retry(scene: Scene, end: str) -> None:
    for job_type, during, after in (("sdxl_image_fast", "previewing", "preview_ready"), ("video_fast", "generating", "completed")):
        job_id = scene.submit(job_type)
        if end == "failed":
            scene.jobs.fail(claim(scene.jobs, scene.gpu), "model_file", "…", retryable=False)
        else:
            scene.jobs.cancel(job_id)
        assert scene.row["status"] == end
        scene.jobs.retry(job_id)
        assert scene.row["status"] == during
        scene.make(claim(scene.jobs, scene.gpu))
        assert scene.row["status"] == after


def test_an_attempt_that_fails_with_tries_left_changes_nothing(scene: Scene) -> None:
    scene.submit()
    scene.jobs.fail(claim(scene.jobs, scene.gpu), "bug", "…")
    assert scene.row["status"] == "previewing"


def test_an_older_preview_never_overwrites_a_newer_one(scene: Scene) -> None:
    scene.submit(prompt="old")
    old = claim(scene.jobs, scene.gpu)
    scene.submit(prompt="new")
    new = claim(scene.jobs, scene.gpu)
    newest = scene.make(new)
    before = scene.row
    scene.make(old)
    assert scene.row == before and before["preview_url"] == newest
    # Neither does another end or a retry of the older job.
    other = scene.submit(prompt="old too")
    scene.submit(prompt="newest")
    scene.jobs.cancel(other)
    assert scene.row["status"] == "previewing"
    before = scene.row
    scene.jobs.retry(other)
    assert scene.row == before


def test_jobs_of_one_batch_update_a_scene_consistently(scene: Scene) -> None:
    """Submitted at one instant in one statement: whichever job the scene points to, all its fields come from that one."""
    from ourvidz.lifecycle import NewJob

    scene.jobs.submit_many([NewJob(scene.owner, "sdxl_image_fast", f"take {n}", video_id=scene.id) for n in range(3)])
    held = [claim(scene.jobs, scene.gpu) for _ in range(3)]
    made = {job.job_id: scene.make(job) for job in held}
    assert scene.row["preview_url"] == made[str(scene.row["preview_job_id"])]
    assert (scene.row["status"], scene.row["current_job_id"]) == ("preview_ready", scene.row["preview_job_id"])


def test_a_new_preview_while_the_video_is_made(scene: Scene) -> None:
    """The status follows the job that started last; the video still arrives."""
    scene.preview()
    scene.approve()
    final = claim(scene.jobs, scene.gpu)
    scene.submit(prompt="another")
    assert (scene.row["status"], scene.row["approved_at"]) == ("previewing", None)
    film = scene.make(final)
    assert (scene.row["status"], scene.row["video_url"]) == ("previewing", film)
    scene.make(claim(scene.jobs, scene.gpu))
    assert scene.row["status"] == "preview_ready"


def test_another_users_job_does_not_change_a_scene(scene: Scene, user: Callable[..., str]) -> None:
    """No entry point accepts another user's scene; even an event that names one has no effect on it."""
    before, other = scene.row, user("premium")
    with pytest.raises(NotFound):
        submit(scene.jobs, other, video_id=scene.id)
    with scene.db.driver() as connection:
        data = {"user_id": other, "job_type": "image_fast", "lane": "wan", "video_id": scene.id, "price": 2}
        forger = Forger(connection)
        forger.insert(forger.first(data=data))
    assert scene.row == before


def test_a_deleted_scene_does_not_block_its_jobs(scene: Scene) -> None:
    job_id = scene.submit()
    scene.db.rows("delete from public.videos where id = %s", (scene.id,))
    scene.make(claim(scene.jobs, scene.gpu))
    assert row(scene.db, job_id)["status"] == "completed"


def test_scene_changes_roll_back_with_their_event(scene: Scene) -> None:
    scene.submit()
    job = claim(scene.jobs, scene.gpu)
    scene.jobs.advance(job, "generation_started")
    scene.jobs.advance(job, "upload_started")
    with scene.db.driver() as connection, connection.transaction(force_rollback=True):
        connection.execute("select ourvidz.complete(%s, %s, %s)", job.ref)
        assert connection.execute("select status from public.videos").fetchone() == ("preview_ready",)
    assert scene.row["status"] == "previewing"


# -- no other writer ------------------------------------------------------------------------------------------------------------

WRITES = (
    "status = 'completed'", "preview_url = 'x/y'", "video_url = 'x/y'", "thumbnail_url = 'x/y'", "duration = 9", "resolution = '1x1'",
    "approved_at = now()", "preview_job_id = gen_random_uuid()", "video_job_id = gen_random_uuid()", "current_job_id = gen_random_uuid()",
)  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
def test_columns_written_by_events_cannot_be_set_by_hand(scene: Scene, write: str) -> None:
    scene.db.rows("update public.videos set scene_number = 2")
    with pytest.raises(BareWrite):
        scene.db.rows(f"update public.videos set {write}")
    column, _, value = write.partition(" = ")
    if column == "resolution":
        return  # a front end may insert the row with the resolution it requested
    with pytest.raises(BareWrite):
        scene.db.rows(f"insert into public.videos (user_id, {column}) values (%s, {value})", (scene.owner,))


def test_the_service_key_cannot_write_event_columns(scene: Scene) -> None:
    scene.db.rows("grant service_role to current_user; grant all on public.videos to service_role")
    # Before Postgres 16 only a superuser can create a role with BYPASSRLS, as Supabase's has.
    scene.db.rows("create policy passed_by on public.videos to service_role using (true)")
    with scene.db.driver() as connection, connection.transaction():
        connection.execute("set local role service_role")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("update public.videos set status = 'completed'")
    assert refused.value.sqlstate == "OV004"


def test_unknown_statuses_violate_the_check(superuser: psycopg.Connection, scene: Scene) -> None:
    superuser.execute("alter table public.videos disable trigger user")
    for word in STATUSES:
        superuser.execute("update public.videos set status = %s", (word,))
    with pytest.raises(psycopg.errors.CheckViolation):
        superuser.execute("update public.videos set status = 'finished'")


# -- approval -------------------------------------------------------------------------------------------------------------------


def test_the_final_video_uses_the_previews_picture_and_prompt(scene: Scene) -> None:
    scene.submit(prompt="a lighthouse", negative_prompt="fog", settings={"seed": 3})
    picture = scene.make(claim(scene.jobs, scene.gpu))
    answer = scene.approve("video_fast", {"seed": 9, "sample_steps": 30})
    job = row(scene.db, answer["job_id"])
    words = scene.db.rows("select * from public.job_payloads where job_id = %s", (answer["job_id"],))[0]
    assert (job["job_type"], job["lane"], str(job["video_id"]), str(job["project_id"])) == (
        "video_fast",
        "wan_vace",
        scene.id,
        scene.project,
    )
    assert (words["prompt"], words["negative_prompt"], str(words["user_id"])) == ("a lighthouse", "fog", scene.owner)
    assert words["settings"] | {"references": {"first_frame": f"sdxl_image_fast/{picture}"}, "seed": 9, "steps": 30} == words["settings"]
    told = {name: answer[name] for name in ("created", "status", "job_type", "video_id")}
    assert told == {"created": True, "status": "queued", "job_type": "video_fast", "video_id": scene.id}
    assert datetime.fromisoformat(answer["approved_at"]) == scene.row["approved_at"]


@pytest.mark.parametrize(("width", "height", "expected"), [(1216, 832, (832, 480)), (832, 1216, (480, 832)), (1024, 1024, (480, 832))])
def test_the_videos_size_defaults_to_the_pictures_orientation(scene: Scene, width: int, height: int, expected: tuple[int, int]) -> None:
    scene.preview(width=width, height=height)
    found = settings(scene.db, scene.approve()["job_id"])
    assert (found["width"], found["height"]) == expected
    scene.preview(width=width, height=height)
    found = settings(scene.db, scene.approve(config={"size": "832*480"})["job_id"])
    assert (found["width"], found["height"]) == (832, 480)


def test_approval_can_choose_one_of_several_pictures(scene: Scene) -> None:
    picture = scene.preview(pictures=3)
    chosen = scene.approve(picture=2)
    assert settings(scene.db, chosen["job_id"])["references"]["first_frame"] == f"sdxl_image_fast/{picture}".replace("-0-image", "-2-image")
    with pytest.raises(IllegalTransition):
        scene.approve(picture=1)


def test_approval_accepts_only_a_last_frame_reference(scene: Scene) -> None:
    picture = scene.preview()
    last = f"character-images/{scene.owner}/last.png"
    for name in ("image", "first_frame"):
        with pytest.raises(InvalidJob, match="last_frame"):
            scene.approve(config={name: last})
    assert settings(scene.db, scene.approve(config={"last_frame": last})["job_id"])["references"] == {
        "first_frame": f"sdxl_image_fast/{picture}",
        "last_frame": last,
    }


def test_repeated_approval_makes_one_video(scene: Scene) -> None:
    scene.preview()
    first = scene.approve(config={"seed": 1, "size": None})
    again = scene.approve(config={"seed": 1})
    assert (again["job_id"], again["created"], again["approved_at"]) == (first["job_id"], False, first["approved_at"])
    for other in ({"config": {"seed": 2}}, {"config": {}}, {"job_type": "video_fast", "config": {"seed": 1}}):
        with pytest.raises(IllegalTransition, match=first["job_id"]):
            scene.approve(**other)
    film = scene.make(claim(scene.jobs, scene.gpu))
    assert scene.approve(config={"seed": 1})["status"] == "completed"
    assert scene.row["video_url"] == film
    assert len(scene.db.rows("select id from public.jobs where video_id = %s", (scene.id,))) == 2


def test_concurrent_approvals_make_one_video(scene: Scene) -> None:
    scene.preview()
    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(scene.approve())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(a["created"] for a in answers) == [False] * 7 + [True]
    assert len({a["job_id"] for a in answers}) == 1


def test_a_scene_can_be_approved_again_after_a_failed_video(scene: Scene) -> None:
    scene.preview()
    first = scene.approve(key="k")
    scene.jobs.fail(claim(scene.jobs, scene.gpu), "model_file", "…", retryable=False)
    assert scene.row["status"] == "failed"
    assert scene.approve(key="k")["job_id"] == first["job_id"], "the same request is the same job"
    second = scene.approve("video_fast")
    assert second["created"] and second["job_id"] != first["job_id"]
    assert (scene.row["status"], str(scene.row["video_job_id"])) == ("generating", second["job_id"])
    # The failed job, retried, is now an older one.
    before = scene.row
    scene.jobs.retry(first["job_id"])
    assert scene.row == before


def test_a_key_used_by_another_request_is_refused(scene: Scene) -> None:
    scene.submit(idempotency_key="k")
    scene.make(claim(scene.jobs, scene.gpu))
    with pytest.raises(IdempotencyConflict):
        scene.approve(key="k")
    assert (scene.row["approved_at"], scene.row["status"]) == (None, "preview_ready")


def test_invalid_approvals_are_refused(scene: Scene) -> None:
    with pytest.raises(NotFound):
        video_status.approve(scene.db, str(uuid4()), "video_high")
    with pytest.raises(IllegalTransition, match="not made yet"):
        scene.approve()
    scene.submit()
    with pytest.raises(IllegalTransition, match="queued"):
        scene.approve()
    scene.make(claim(scene.jobs, scene.gpu))
    for job_type in ("sdxl_image_fast", "nothing", ""):
        with pytest.raises(InvalidJob, match="makes no video"):
            scene.approve(job_type)
    with pytest.raises(InvalidJob, match="steps must be"):
        scene.approve(config={"sample_steps": 99})
    with pytest.raises(InvalidJob, match="config must be"):
        scene.db.rows("select public.approve_preview(%s, config => '[]', charge => true)", (scene.id,))
    with pytest.raises(NotFound, match="reference picture"):
        scene.approve(config={"last_frame": f"character-images/{uuid4()}/theirs.png"})
    with pytest.raises(InvalidJob, match="idempotency key"):
        scene.approve(key="k" * 201)
    with pytest.raises(NotFound, match="Picture 1"):
        scene.approve(picture=1)
    scene.submit(prompt="another")
    with pytest.raises(IllegalTransition, match="queued"):
        scene.approve()
    assert scene.row["approved_at"] is None


def test_approvals_respect_the_plan_limit(scene: Scene) -> None:
    scene.preview()
    scene.db.rows("update ourvidz.plans set unfinished = 1 where name = 'premium'")
    scene.submit("video_fast")  # an operator's connection may exceed the plan
    with scene.db.driver() as connection, connection.transaction():
        connection.execute(
            "select set_config('request.jwt.claims', %s, true)", (json.dumps({"role": "authenticated", "sub": scene.owner}),)
        )
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("select public.approve_preview(%s)", (scene.id,))
    assert refused.value.sqlstate == TooManyJobs.sqlstate


def test_only_the_owner_an_admin_or_the_service_key_approves(scene: Scene, user: Callable[..., str]) -> None:
    scene.preview()
    stranger, owner = user("premium"), scene.owner
    scene.db.rows("grant authenticated, service_role, anon to current_user")

    def approve(**claims: Any) -> dict[str, Any]:
        with scene.db.driver() as connection, connection.transaction():
            connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            connection.execute(f"set local role {claims['role']}")
            found = connection.execute("select public.approve_preview(%s)", (scene.id,)).fetchone()
            assert found is not None
            return found[0]

    for claims, code in (
        ({"role": "authenticated", "sub": stranger}, NotFound),
        ({"role": "authenticated"}, Forbidden),
        ({"role": "anon"}, None),
    ):
        with pytest.raises(psycopg.Error) as refused:
            approve(**claims)
        assert refused.value.sqlstate == (code.sqlstate if code else "42501")
    assert scene.row["approved_at"] is None
    first = approve(role="authenticated", sub=owner)
    assert first["created"]
    assert approve(role="authenticated", sub=stranger, app_metadata={"role": "admin"})["job_id"] == first["job_id"]
    assert approve(role="service_role")["job_id"] == first["job_id"]
    assert str(row(scene.db, first["job_id"])["user_id"]) == owner
