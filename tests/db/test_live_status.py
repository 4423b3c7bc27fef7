"""The migrated production database with Supabase's Realtime: the messages for a user's browser, and the library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from api import api_of
from production_copy import ANNA
from support import Permissive, Server, claim, row
from test_library import FrontEnd, path

from ourvidz.audit import audit
from ourvidz.db import ledger
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

SAID = "select topic, event, private, payload from realtime.messages"


@pytest.fixture
def front(server: Server, migrated_production: Database) -> Iterator[FrontEnd]:
    db = migrated_production
    db.rows("update public.profiles set age_verified = true where id = %s", (ANNA,))
    ledger.grant(db, ANNA, 1_000, "test")
    (name,) = (r["name"] for r in db.rows("select current_database() as name"))
    with api_of(server, name) as api:
        front = FrontEnd(db, api, Jobs(db, Permissive(), patience=20), ANNA)
        for waiting in db.rows("select id::text from public.jobs where completed_at is null"):
            front.jobs.cancel(waiting["id"])
        db.rows("delete from realtime.messages")
        yield front
    assert audit(db).findings == ()


@pytest.fixture
def superuser(server: Server, front: FrontEnd) -> Iterator[psycopg.Connection[Any]]:
    (name,) = (r["name"] for r in front.db.rows("select current_database() as name"))
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as connection:
        yield connection


def said(front: FrontEnd) -> list[dict[str, Any]]:
    return front.db.rows(SAID)


def test_each_step_is_sent_to_the_users_own_channel(front: FrontEnd) -> None:
    job_id = front.queue(num_images=3)
    front.make(pictures=3)
    told = said(front)
    assert {(m["topic"], m["event"], m["private"]) for m in told} == {(f"jobs:{ANNA}", "job", True)}
    assert {m["payload"]["job_id"] for m in told} == {job_id}
    versions = [m["payload"]["version"] for m in told]
    assert versions == sorted(versions) and told[-1]["payload"]["status"] == "completed"
    words = list(dict.fromkeys(m["payload"]["status"] for m in told))
    assert words == ["queued", "generating", "uploading", "completed"]
    progress = [(m["payload"]["generated"], m["payload"]["uploaded"], m["payload"]["total"]) for m in told]
    assert (0, 0, 3) in progress and progress[-1] == (3, 3, 3)
    assert "lighthouse" not in json.dumps([m["payload"] for m in told])


def test_a_browser_can_read_only_its_own_channel(front: FrontEnd, superuser: psycopg.Connection[Any]) -> None:
    front.queue()
    for topic, seen in ((f"jobs:{ANNA}", 1), ("jobs:somebody-else", 0)):
        with front.api.request("authenticated", ANNA) as cursor:
            cursor.execute("select set_config('realtime.topic', %s, true)", (topic,))
            assert len(cursor.execute("select * from realtime.messages").fetchall()) == seen


@pytest.mark.parametrize(
    "trouble",
    [
        "drop function realtime.send(jsonb, text, text, boolean)",
        "create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void"
        " language plpgsql as $$ begin raise exception 'no partition of today'; end $$",
        "revoke all on function realtime.send(jsonb, text, text, boolean) from public, ourvidz",
    ],
    ids=["absent", "raises", "forbidden"],
)
def test_realtime_failures_do_not_affect_jobs(front: FrontEnd, superuser: psycopg.Connection[Any], trouble: str) -> None:
    superuser.execute(trouble)
    job_id = front.queue()
    front.make()
    assert row(front.db, job_id)["status"] == "completed"
    assert superuser.execute("select count(*) from realtime.messages").fetchone() == (0,)


def test_the_migrated_library_follows_its_jobs(front: FrontEnd) -> None:
    older = front.db.rows("select * from public.images order by id"), front.db.rows("select * from public.videos order by id")
    job_id = front.queue(num_images=3)
    images = [front.picture(job_id, n) for n in range(3)]
    front.send("update public.jobs set image_id = %s where id = %s", (images[0], job_id))
    job = front.make(pictures=3)
    assert [(r["status"], r["image_url"]) for r in front.images(job_id)] == [("completed", path(job, n)) for n in range(3)]
    filmed = front.queue("video_fast")
    film = front.film()
    front.send("update public.jobs set video_id = %s where id = %s", (film, filmed))
    job = front.make()
    found = front.video(film)
    assert (found["status"], found["video_url"], found["duration"]) == ("completed", path(job, 0, "video"), 5), "a column of whole seconds"
    ours = {*images, film}
    now = front.db.rows("select * from public.images order by id"), front.db.rows("select * from public.videos order by id")
    assert tuple([r for r in rows if str(r["id"]) not in ours] for rows in now) == older, "older rows stay as they were"


def test_foreign_keys_for_the_front_ends_joins_reference_our_jobs(front: FrontEnd) -> None:
    found = front.db.rows(
        """select conname, conrelid::regclass::text as source, confrelid::regclass::text as target, confdeltype::text as on_delete
           from pg_constraint where conname in ('jobs_image_id_fkey', 'jobs_video_id_fkey', 'images_job_id_fkey')
             and conrelid in ('public.jobs'::regclass, 'public.images'::regclass) order by conname"""
    )
    assert [(f["conname"], f["source"], f["target"]) for f in found] == [
        ("images_job_id_fkey", "images", "jobs"),
        ("jobs_image_id_fkey", "jobs", "images"),
        ("jobs_video_id_fkey", "jobs", "videos"),
    ]
    assert [f["on_delete"] for f in found[1:]] == ["n", "n"]


def test_deleting_a_legacy_picture_deletes_only_that_picture(front: FrontEnd) -> None:
    """In production, deleting a picture deleted its job and so all its other pictures."""
    (older,) = front.db.rows(
        """select i.id::text as image, j.id::text as job, (select count(*) from public.images where job_id = j.id) as pictures
           from public.images as i join public.jobs as j on j.image_id = i.id and i.job_id = j.id where i.user_id = %s limit 1""",
        (ANNA,),
    )
    assert front.send("delete from public.images where id = %s", (older["image"],)) == 1
    assert row(front.db, older["job"])["image_id"] is None
    assert len(front.images(older["job"])) == older["pictures"] - 1


def test_a_model_test_gets_its_result(front: FrontEnd) -> None:
    job_id = front.queue(prompt_test_id="00000000-0000-4000-8000-0000000000ff")
    sql = """insert into public.model_test_results (user_id, job_id, prompt_text, model_type, test_series, test_tier, success)
             values (%s, %s, 'x', 'SDXL', 'a', 'artistic', true)"""
    front.db.rows(sql, (ANNA, job_id))
    front.jobs.fail(claim(front.jobs, front.gpu), "model_file", "…", retryable=False)
    assert front.db.rows("select success from public.model_test_results where job_id = %s", (job_id,)) == [{"success": False}]
    front.jobs.retry(job_id)
    job = front.make()
    (found,) = front.db.rows("select success, image_id, test_metadata from public.model_test_results where job_id = %s", (job_id,))
    assert found["success"] and found["image_id"] == front.images(job_id)[0]["id"]
    assert found["test_metadata"]["primary_asset"] == path(job)
