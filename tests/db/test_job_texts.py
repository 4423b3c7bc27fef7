"""The texts that an executor screens besides the prompts: those of the job's user that belong to the job, and nobody else's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from support import claim, events, executor, submit

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.errors import StaleClaim


def made(database: Database, table: str, user: str, **columns: Any) -> str:
    names, marks = ", ".join(["user_id", *columns]), ", ".join(["%s"] * (len(columns) + 1))
    return str(database.rows(f"insert into public.{table} ({names}) values ({marks}) returning id", (user, *columns.values()))[0]["id"])


def test_job_texts_returns_every_text_of_the_job(database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    me = user()
    lead = made(database, "characters", me, name="Ada", description="tall", traits="kind", appearance_tags=["red coat", "hat"])
    other = made(database, "characters", me, name="Ben")
    made(database, "characters", me, name="nobody's")
    project = made(database, "projects", me, title="Harbour", character_id=other)
    video, image = made(database, "videos", me, title="Film"), made(database, "images", me, title="Still", prompt="a still pier")
    job = submit(jobs, me, "video_fast", metadata={"character_id": lead.upper()}, project_id=project, video_id=video, image_id=image)
    made(database, "images", me, title="Second", job_id=job)
    held = claim(jobs, executor(jobs))
    titles = [("title", text) for text in ("Harbour", "Film", "Still", "a still pier", "Second")]
    assert sorted(jobs.job_texts(held)) == sorted(
        [*titles, *(("character", text) for text in ("Ada", "tall", "kind", "red coat, hat", "Ben"))]
    )
    jobs.snooze(held, "drain")
    with pytest.raises(StaleClaim):
        jobs.job_texts(held)


def test_job_texts_excludes_other_users_texts(database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    """Even if the rows reference another user's."""
    me, you = user(), user()
    theirs = made(database, "characters", you, name="yours")
    job = submit(jobs, me, project_id=made(database, "projects", me, title="mine", character_id=theirs))
    held = claim(jobs, executor(jobs))
    sql = "update public.job_payloads set metadata = jsonb_build_object('character_id', %s::text) where job_id = %s"
    database.rows(sql, (theirs, job))
    assert jobs.job_texts(held) == [("title", "mine")]


def test_the_hash_of_the_texts_is_salted(database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    both = [submit(jobs, user()), submit(jobs, user())]
    gpu = executor(jobs)
    sha256 = hashlib.sha256(b"a pier").hexdigest()
    first, second = (claim(jobs, gpu) for _ in both)
    jobs.advance(first, "generation_started", profile="exact", sha256=sha256)
    assert jobs.advance_many([second], "generation_started", [{"profile": "exact", "sha256": sha256}]) == [second.job_id]
    digests = set()
    for held in (first, second):
        (told,) = [dict(event.data) for event in events(database, held.job_id) if event.type == "generation_started"]
        salt = bytes(database.rows("select salt from public.job_payloads where job_id = %s", (held.job_id,))[0]["salt"])
        assert told == {"profile": "exact", "digest": hashlib.sha256(salt + bytes.fromhex(sha256)).hexdigest()}
        digests.add(told["digest"])
    assert len(digests) == 2
