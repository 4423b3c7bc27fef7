"""PostgREST's rpc functions: a user's own jobs, the same checks as at every other entry point, and refusals readable from SQL and HTTP."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from support import Clock, Server, claim, executor, finish, row, submit, types

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state import errors

User = Callable[..., str]
ASK = {"job_type": "sdxl_image_fast", "prompt": "a lighthouse"}


def call(
    api: Api, user: str | None, function: str, *, role: str = "authenticated", admin: bool = False, http: bool = False, **named: Any
) -> Any:
    query = f"select public.{function}({', '.join(f'{name} => %({name})s' for name in named)}) as answer"
    params = {name: json.dumps(v) if isinstance(v, dict) else v for name, v in named.items()}
    ((answer),) = api.rows(role, user, query, params, admin=admin, http=http)
    return answer["answer"]


def queue(api: Api, user: str | None, **more: Any) -> Any:
    return call(api, user, "queue_job", **(ASK | more))


def refused(sqlstate: str, ask: Callable[[], Any]) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as error:
        ask()
    assert error.value.sqlstate == sqlstate, error.value
    return error.value


def made(database: Database) -> int:
    counts = {t: database.rows(f"select count(*) as n from public.{t}")[0]["n"] for t in ("jobs", "job_payloads", "job_events")}
    assert len(set(counts.values())) == 1, counts
    return int(counts["jobs"])


def test_a_job_queued_by_its_user(database: Database, user: User, api: Api) -> None:
    owner = user("pro")
    answer = queue(api, owner, config={"num_images": 6, "seed": 3}, negative_prompt="fog", metadata={"scene": 1})
    found = row(database, answer["job_id"])
    assert str(found["user_id"]) == owner and types(database, answer["job_id"]) == ["submitted"]
    assert (answer["created"], answer["status"], answer["word"], answer["version"], answer["position"]) == (True, "queued", "queued", 1, 1)
    assert answer["price"] == 6 and answer["progress"] == {"generated": 0, "uploaded": 0, "total": 6}
    assert answer["balance"] == 1_000_000 - 6
    assert answer["job"]["job_type"] == "sdxl_image_fast" and "head_hash" not in answer["job"]
    assert queue(api, owner)["position"] == 2


@pytest.mark.parametrize(("named", "params"), [({"prompt": None}, "the project's"), ({}, "a lighthouse")])
def test_an_omitted_prompt_defaults_to_the_projects(database: Database, user: User, api: Api, named: dict[str, Any], params: str) -> None:
    owner = user()
    (project,) = database.rows(
        "insert into public.projects (user_id, original_prompt) values (%s, 'the project''s') returning id", (owner,)
    )
    answer = queue(api, owner, project_id=project["id"], **named)
    (said,) = database.rows("select prompt from public.job_payloads where job_id = %s", (answer["job_id"],))
    assert said["prompt"] == params


# -- idempotency -------------------------------------------------------------------------------------------------------------------


def test_idempotency_keys_are_scoped_to_the_user(database: Database, user: User, api: Api) -> None:
    one, two = user(), user()
    first = queue(api, one, idempotency_key="k")
    again = queue(api, one, idempotency_key="k")
    assert (again["job_id"], first["created"], again["created"]) == (first["job_id"], True, False)
    assert queue(api, two, idempotency_key="k")["job_id"] != first["job_id"]
    refused("OV008", lambda: queue(api, one, idempotency_key="k", prompt="a tower"))
    refused("OV008", lambda: queue(api, one, idempotency_key="k", config={"seed": 4}))
    assert made(database) == 2


def test_a_repeated_key_ignores_changes_of_the_project(database: Database, user: User, api: Api) -> None:
    owner = user()
    (project,) = database.rows("insert into public.projects (user_id, original_prompt) values (%s, 'a tower') returning id", (owner,))
    ask = {"prompt": None, "project_id": project["id"], "idempotency_key": "k"}
    first = queue(api, owner, **ask)
    database.rows("update public.projects set enhanced_prompt = 'a taller tower'")
    assert queue(api, owner, **ask)["job_id"] == first["job_id"]


def test_a_repeated_key_is_not_limited(database: Database, user: User, api: Api) -> None:
    owner = user()
    first = queue(api, owner, idempotency_key="k")
    for _ in range(4):
        queue(api, owner)
    refused("OV015", lambda: queue(api, owner))
    assert queue(api, owner, idempotency_key="k")["job_id"] == first["job_id"]


def test_concurrent_calls_with_one_key_make_one_job(database: Database, server: Server, database_name: str, user: User) -> None:
    owner = user()

    def storm(_: int) -> list[str]:
        with api_of(server, database_name) as api:
            return [queue(api, owner, idempotency_key="one")["job_id"] for _ in range(10)]

    with ThreadPoolExecutor(10) as pool:
        found = [job for jobs in pool.map(storm, range(10)) for job in jobs]
    assert len(found) == 100 and len(set(found)) == 1 and made(database) == 1


# -- limits and other users' rows --------------------------------------------------------------------------------------------------


def test_concurrent_calls_respect_the_plan_limit(database: Database, server: Server, database_name: str, user: User) -> None:
    owner = user()

    def storm(_: int) -> list[str]:
        said = []
        with api_of(server, database_name) as api:
            for _ in range(4):
                try:
                    said.append(queue(api, owner)["status"])
                except psycopg.Error as error:
                    said.append(error.sqlstate or "")
        return said

    with ThreadPoolExecutor(6) as pool:
        said = [one for each in pool.map(storm, range(6)) for one in each]
    assert (said.count("queued"), said.count("OV015"), len(said)) == (5, 19, 24) and made(database) == 5


def test_submits_per_minute_are_limited(database: Database, jobs: Jobs, user: User, api: Api, clock: Clock) -> None:
    owner = user()
    gpu = executor(jobs)
    for _ in range(10):
        queue(api, owner)
        finish(jobs, claim(jobs, gpu))
        clock.advance(2)
        jobs.heartbeat(gpu)
    error = refused("OV016", lambda: queue(api, owner))
    assert error.diag.message_detail == "Retry after 40 s."
    queue(api, user())  # the rate limit is per user
    clock.advance(39)
    refused("OV016", lambda: queue(api, owner))
    clock.advance(1)
    queue(api, owner)
    refused("OV016", lambda: queue(api, owner))
    submit(jobs, owner)  # an operator's own connection


@pytest.mark.parametrize(
    ("more", "sqlstate"),
    [
        ({"project_id": "theirs"}, "OV018"),
        ({"video_id": "theirs"}, "OV018"),
        ({"image_id": "theirs"}, "OV018"),
        ({"character_id": "theirs"}, "OV018"),
        ({"metadata": {"character_id": "theirs"}}, "OV018"),
        ({"config": {"reference_image_url": "character-images/{theirs}/a.png"}}, "OV018"),
        ({"config": {"reference_image_url": "character-images/{mine}/../{theirs}/a.png"}}, "OV018"),
        ({"config": {"reference_image_url": "character-images/{mine}"}}, "OV018"),
        ({"config": {"reference_image_url": "character-images"}}, "OV018"),
        ({"metadata": {"reference_image_url": "character-images/{theirs}/a.png"}}, "OV018"),
        ({"config": {"reference_image_url": 7}}, "OV018"),
    ],
)  # fmt: skip
def test_another_users_objects_look_missing(database: Database, user: User, api: Api, more: dict[str, Any], sqlstate: str) -> None:
    mine, theirs = user(), user()
    (character,) = database.rows("insert into public.characters (user_id, name) values (%s, 'x') returning id::text", (theirs,))
    (project,) = database.rows("insert into public.projects (user_id) values (%s) returning id::text", (theirs,))
    (video,) = database.rows("insert into public.videos (user_id) values (%s) returning id::text", (theirs,))
    (image,) = database.rows("insert into public.images (user_id, prompt) values (%s, 'x') returning id::text", (theirs,))
    ids = {"project_id": project["id"], "video_id": video["id"], "image_id": image["id"], "character_id": character["id"]}

    def whose(owner: str) -> dict[str, Any]:
        def told(name: str, value: Any) -> Any:
            if isinstance(value, dict):
                return {k: told(k, v) for k, v in value.items()}
            if value == "theirs":
                return ids[name]
            return value.format(mine=owner, theirs=theirs) if isinstance(value, str) else value

        return {name: told(name, value) for name, value in more.items()}

    there = refused(sqlstate, lambda: queue(api, mine, **whose(mine)))
    assert made(database) == 0
    if "theirs" in str(more) and "{" not in str(more.values()):
        queue(api, theirs, **whose(theirs))  # the owner may name them
        for table in ("images", "videos", "projects", "characters"):
            database.rows(f"delete from public.{table}")
        assert str(refused(sqlstate, lambda: queue(api, mine, **whose(mine)))) == str(there)


def test_users_may_use_their_own_reference(database: Database, user: User, api: Api) -> None:
    owner = user()
    for address in (f"character-images/{owner}/a/b.png", "https://example.org/a.png"):
        answer = queue(api, owner, config={"reference_image_url": address})
        (found,) = database.rows("select settings->'references' as r from public.job_payloads where job_id = %s", (answer["job_id"],))
        assert found["r"] == {"style": address}


def test_callers_without_a_user_are_refused(database: Database, user: User, api: Api) -> None:
    refused("OV017", lambda: queue(api, None))
    refused("OV017", lambda: queue(api, None, role="service_role"))
    refused("42501", lambda: queue(api, None, role="anon"))
    refused("OV010", lambda: queue(api, user(verified=False)))
    assert made(database) == 0


# -- existing jobs -----------------------------------------------------------------------------------------------------------------


def test_users_see_and_change_only_their_own_jobs(database: Database, user: User, api: Api) -> None:
    mine, theirs = user(), user()
    job_id = queue(api, theirs)["job_id"]
    nowhere = str(uuid.uuid4())
    for verb in ("job_status", "cancel_job", "retry_job"):
        said = {str(refused("OV006", lambda v=verb, j=j: call(api, mine, v, job_id=j))).replace(j, "") for j in (job_id, nowhere)}
        assert len(said) == 1
    assert call(api, mine, "job_status", job_id=job_id, admin=True)["status"] == "queued"
    assert call(api, None, "job_status", job_id=job_id, role="service_role")["status"] == "queued"
    assert call(api, theirs, "cancel_job", job_id=job_id)["status"] == "cancelled"


def test_cancel_and_retry(database: Database, user: User, api: Api) -> None:
    owner = user()
    job_id = queue(api, owner)["job_id"]
    refused("OV007", lambda: call(api, owner, "cancel_job", job_id=job_id, version=9))
    gone = call(api, owner, "cancel_job", job_id=job_id, version=1)
    assert (gone["done"], gone["word"], gone["error"]) == ("cancelled", "failed", {"class": "cancelled", "message": "cancelled"})
    back = call(api, owner, "retry_job", job_id=job_id)
    assert (back["status"], back["version"], back["error"]) == ("queued", 3, None)
    refused("OV001", lambda: call(api, owner, "retry_job", job_id=job_id))
    call(api, owner, "cancel_job", job_id=job_id)
    for _ in range(5):
        queue(api, owner)
    refused("OV015", lambda: call(api, owner, "retry_job", job_id=job_id))


def test_job_status(database: Database, jobs: Jobs, user: User, api: Api, clock: Clock) -> None:
    owner = user("pro")
    gpu = executor(jobs)
    first = queue(api, owner)
    assert first["eta_seconds"] == 30  # none of this type has ended yet: the catalog's 29.9 s
    job = claim(jobs, gpu)
    jobs.advance(job, "generation_started")
    clock.advance(20)
    assert call(api, owner, "job_status", job_id=first["job_id"])["word"] == "processing"
    jobs.heartbeat(gpu)
    finish_rest(jobs, job)
    done = call(api, owner, "job_status", job_id=first["job_id"])
    assert (done["word"], done["position"], done["eta_seconds"], done["error"]) == ("completed", None, None, None)
    assert done["progress"] == {"generated": 1, "uploaded": 1, "total": 1}
    assert done["assets"][0]["bucket"] == "sdxl_image_fast" and done["assets"][0]["path"].startswith(owner)
    waits = [queue(api, owner) for _ in range(3)]
    assert [(w["position"], w["eta_seconds"]) for w in waits] == [(1, 20), (2, 40), (3, 60)]
    job = claim(jobs, gpu)
    clock.advance(5)
    assert call(api, owner, "job_status", job_id=job.job_id)["eta_seconds"] == 15
    jobs.fail(job, "bad_output", "It broke.", retryable=False)
    failed = call(api, owner, "job_status", job_id=job.job_id)
    assert (failed["word"], failed["error"]) == ("failed", {"class": "bad_output", "message": "It broke."})
    clock.advance(60)  # its executor is silent
    assert call(api, owner, "job_status", job_id=waits[2]["job_id"])["eta_seconds"] is None


def finish_rest(jobs: Jobs, job: Any) -> None:
    from support import artifact

    out = artifact(job)
    jobs.artifact_generated(job, out)
    jobs.advance(job, "upload_started")
    jobs.artifact_uploaded(job, "image", 0, out["sha256"])
    jobs.complete(job)


# -- refusals ----------------------------------------------------------------------------------------------------------------------


def test_refusals_set_the_http_status(database: Database, user: User, api: Api) -> None:
    owner = user()
    for ask, code, status, details in (
        ({"job_type": "nothing"}, "OV009", 400, "job_type"),
        ({"project_id": str(uuid.uuid4())}, "OV018", 404, "project_id"),
    ):
        error = refused("PGRST", lambda a=ask: queue(api, owner, http=True, **a))
        body, answer = json.loads(error.diag.message_primary or ""), json.loads(error.diag.message_detail or "")
        assert (body["code"], body["details"], answer) == (code, details, {"status": status, "headers": {}})
    for _ in range(5):
        queue(api, owner, http=True)
    assert json.loads(refused("PGRST", lambda: queue(api, owner, http=True)).diag.message_detail or "")["status"] == 429
    faster = user("pro")
    database.rows("update ourvidz.plans set submits_per_minute = 1 where name = 'pro'")
    queue(api, faster)
    error = refused("PGRST", lambda: queue(api, faster, http=True))
    answer = json.loads(error.diag.message_detail or "")
    assert answer["status"] == 429 and 1 <= int(answer["headers"]["Retry-After"]) <= 60


def test_a_server_fault_is_not_reported_as_a_refusal(user: User, api: Api, database: Database) -> None:
    """A server fault is not reported as the client's error."""
    owner = user()
    database.rows("create or replace function ourvidz.price_of(p_type text, p_settings jsonb) returns bigint language sql as 'select 1/0'")
    refused("22012", lambda: queue(api, owner, http=True))


def test_the_refusals_table_matches_the_python_errors(database: Database) -> None:
    found = {r["name"]: (r["code"], r["http"]) for r in database.rows("select * from ourvidz.refusals")}
    assert found == {leaf.sqlstate: (leaf.code, leaf.http) for leaf in errors.BY_SQLSTATE.values()}
