"""Attacks with a stolen executor login, and concurrent requests through two entry points."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from support import Server, artifact, claim, executor, row, submit, wait_for_lock
from waiting import LIMIT

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.errors import InvalidJob

User = Callable[..., str]


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as found:
        yield found


def message(user: str, config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    one = {
        "id": str(uuid.uuid4()),
        "user_id": user,
        "type": "sdxl_image_fast",
        "prompt": "a lighthouse",
        "config": config or {},
        "metadata": {},
    }
    return {"message": one | more, "digest": "00" * 32}


def intake(connection: psycopg.Connection[Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    (done,) = connection.execute("select ourvidz.intake('sdxl_queue', %s::jsonb)", (json.dumps(messages),)).fetchone() or ({},)
    return list(done)


@pytest.mark.parametrize("there", [False, True])
def test_the_intake_refuses_references_to_another_users_picture(database: Database, api: Api, user: User, there: bool) -> None:
    """The caller may send anything: here also settings that are parsed already, which real messages do not have."""
    thief, victim = user(), user()
    picture = f"character-images/{victim}/a.png"
    more = {}
    if there:
        insert = "insert into public.jobs (user_id, job_type, metadata, status) values (%s, 'sdxl_image_fast', %s, 'queued') returning id"
        (made,) = api.rows("authenticated", thief, insert, (thief, '{"prompt": "a lighthouse"}'))
        more = {"id": str(made["id"])}
    with api.connection.transaction():
        api.connection.execute("set local role ourvidz_intake")
        (done,) = intake(api.connection, message(thief, {"reference_image_url": picture}, **more))
        intake(api.connection, message(thief, settings={"references": {"style": picture}}))
    assert (done["outcome"], done["reason"], done["field"]) == ("refused", "OV018", "references")
    assert [r["settings"] for r in database.rows("select settings from public.job_payloads where settings ? 'references'")] == []


def test_a_reference_the_job_type_does_not_support_is_set_aside(database: Database, api: Api, user: User) -> None:
    owner = user()
    insert = "insert into public.jobs (user_id, job_type, metadata, status) values (%s, 'sdxl_image_fast', %s, 'queued') returning id"
    (made,) = api.rows("authenticated", owner, insert, (owner, '{"prompt": "a lighthouse"}'))
    (done,) = intake(api.connection, message(owner, {"last_frame": f"character-images/{owner}/a.png"}, id=str(made["id"])))
    (words,) = database.rows("select settings, set_aside from public.job_payloads")
    assert done["outcome"] == "joined" and "references" not in words["settings"]
    assert words["set_aside"] == [{"field": "last_frame", "reason": "other_family"}]


def test_concurrent_submits_by_rpc_and_intake_respect_the_plan_limit(
    server: Server, database_name: str, database: Database, jobs: Jobs, user: User
) -> None:
    owner = user()
    for _ in range(4):  # of the five that the free plan allows
        submit(jobs, owner)
    url = server.url(database_name, superuser=True)
    with closing(psycopg.connect(url)) as first, psycopg.connect(url, autocommit=True) as second, ThreadPoolExecutor(1) as crew:
        claims = json.dumps({"role": "authenticated", "sub": owner})
        first.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        first.execute("select public.queue_job('sdxl_image_fast', 'a lighthouse')")
        asked = crew.submit(intake, second, message(owner))
        wait_for_lock(database, second.info.backend_pid)
        first.commit()
        (done,) = asked.result(LIMIT)
    assert (done["outcome"], done["reason"]) == ("refused", "OV015")
    assert len(database.rows("select id from public.jobs")) == 5


@pytest.mark.parametrize(
    "place",
    [
        {"path": "{victim}/{job}/1-0.png"},
        {"path": "{user}/a.png"},
        {"path": "{user}/{job}/../../{victim}/a.png"},
        {"path": "{user}/{job}/"},
        {"path": "x/{user}/{job}/1-0.png"},
        {"bucket": "system-assets"},
        {"bucket": "somebody-elses"},
    ],
)
def test_an_artifact_path_outside_its_jobs_folder_is_refused(database: Database, jobs: Jobs, user: User, place: dict[str, str]) -> None:
    """An artifact's path is what its user is shown, what a video starts from and what an erasure deletes."""
    job = claim(jobs, executor(jobs)) if submit(jobs, user()) else None
    assert job is not None
    jobs.advance(job, "generation_started")
    named = {k: v.format(user=job.user_id, job=job.job_id, victim=uuid.UUID(int=9)) for k, v in place.items()}
    with pytest.raises(InvalidJob, match="own folder"):
        jobs.artifact_generated(job, artifact(job) | named)
    assert row(database, job.job_id)["generated"] == 0


@pytest.mark.parametrize("said", ["a lighthouse at dusk", "x" * 41, "", "Naïve", "two\nlines"])
def test_executors_cannot_put_free_text_into_events(database: Database, jobs: Jobs, user: User, said: str) -> None:
    """Events cannot be erased, and analysts read them: a class or reason must be a single word, even if a faulty executor passes an
    error text."""
    submit(jobs, user())
    job = claim(jobs, executor(jobs))
    for say in (
        lambda: jobs.fail(job, said, "It broke."),
        lambda: jobs.snooze(job, said),
        lambda: jobs.advance(job, "reference_skipped", reference="style", reason=said),
    ):
        with pytest.raises(InvalidJob, match="one word"):
            say()
    assert [e["data"].get("class", e["data"].get("reason")) for e in database.rows("select data from public.job_events")] == [None, None]
