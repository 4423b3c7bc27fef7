"""A plain INSERT into jobs, as the deployed edge function sends it, makes a regular job; the deployed callback's UPDATE changes no job's
state."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from api import Api
from support import Clock, as_job, claim, events, executor, finish, row, submit, types

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.errors import BareWrite
from state.job import fold

User = Callable[..., str]
SEVERAL = """insert into public.jobs (user_id, job_type, format, quality, model_type, metadata, project_id, video_id, image_id, status)
             select %s, 'image_fast', null, null, null, '{"prompt": "a tower"}', null, null, null, 'queued'
             from generate_series(1, %s) returning id, rank"""


def plain(api: Api, caller: str | None, role: str | None = "authenticated", **columns: Any) -> dict[str, Any]:
    """The deployed function's INSERT, RETURNING the row."""
    given = {"user_id": caller, "job_type": "sdxl_image_fast", "format": "sdxl_image", "quality": "fast", "model_type": "sdxl-fast",
             "metadata": {"prompt": "a lighthouse", "num_images": 3, "seed": 7}, "status": "queued"} | columns  # fmt: skip
    values = [json.dumps(v) if isinstance(v, dict) else v for v in given.values()]
    query = f"insert into public.jobs ({', '.join(given)}) values ({', '.join(['%s'] * len(given))}) returning *"
    (made,) = api.rows(role, caller if role == "authenticated" else None, query, values)
    return made


def payload(database: Database, job_id: object) -> dict[str, Any]:
    (found,) = database.rows("select * from public.job_payloads where job_id = %s", (job_id,))
    return found


@pytest.mark.parametrize("role", ["authenticated", "service_role", None])
def test_an_inserted_row_becomes_a_regular_job(database: Database, jobs: Jobs, user: User, api: Api, role: str | None) -> None:
    owner = user("pro")
    made = plain(api, owner, role)
    job_id = str(made["id"])
    assert made == row(database, job_id)
    assert (made["status"], made["version"], made["priority"], made["ready"], made["model_type"]) == ("queued", 1, 5, True, "sdxl-fast")
    told = events(database, job_id)
    assert [e.type for e in told] == ["submitted"] and told[0].data["price"] == 3
    assert fold(told, job_id) == as_job(made)
    words = payload(database, job_id)
    assert (words["prompt"], words["settings"]["images"], words["settings"]["seed"], words["settings"]["steps"]) == (
        "a lighthouse",
        3,
        7,
        15,
    )
    finish(jobs, claim(jobs, executor(jobs)))
    assert row(database, job_id)["status"] == "completed" and row(database, job_id)["metadata"]["prompt"] == "a lighthouse"


def test_inserting_several_rows_makes_several_jobs(database: Database, user: User, api: Api) -> None:
    owner = user("pro")
    made = api.rows("authenticated", owner, SEVERAL, (owner, 3))
    assert len({r["rank"] for r in made}) == 3
    for r in made:
        assert types(database, str(r["id"])) == ["submitted"]


def test_prompt_precedence(database: Database, user: User, api: Api) -> None:
    """The project's enhanced prompt, else its original one, else the metadata's."""
    owner = user("premium")
    said = []
    for enhanced, original in (("an enhanced lighthouse", "a lighthouse"), (" ", "a lighthouse"), (None, None)):
        (project,) = database.rows(
            "insert into public.projects (user_id, enhanced_prompt, original_prompt) values (%s, %s, %s) returning id",
            (owner, enhanced, original),
        )
        made = plain(api, owner, project_id=project["id"], metadata={"prompt": "the metadata's"})
        said.append(payload(database, made["id"])["prompt"])
    assert said == ["an enhanced lighthouse", "a lighthouse", "the metadata's"]


def refused(sqlstate: str, ask: Callable[[], Any]) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as error:
        ask()
    assert error.value.sqlstate == sqlstate, error.value
    return error.value


def nothing_was_made(database: Database) -> None:
    for table in ("public.jobs", "public.job_events", "public.job_payloads"):
        assert database.rows(f"select * from {table}") == []


@pytest.mark.parametrize(
    ("columns", "sqlstate"),
    [
        ({"status": "completed"}, "OV009"),
        ({"status": "cancelled"}, "OV009"),
        ({"metadata": None}, "OV009"),  # no prompt anywhere
        ({"metadata": {"prompt": {"text": "a lighthouse"}}}, "OV009"),
        ({"metadata": {"prompt": "x" * 4001}}, "OV009"),
        ({"metadata": {"prompt": "a tower", "more": "x" * 33_000}}, "OV009"),
        ({"metadata": {"prompt": "a tower", "steps": 61}}, "OV009"),
        ({"metadata": {"prompt": "a tower", "num_images": "3"}}, "OV009"),
        ({"job_type": "video_imaginary"}, "OV009"),
        ({"job_type": None}, "OV009"),
        ({"format": "x" * 101}, "OV009"),
        ({"project_id": str(uuid.UUID(int=1))}, "OV018"),
        ({"video_id": str(uuid.UUID(int=1))}, "OV018"),
        ({"image_id": str(uuid.UUID(int=1))}, "OV018"),
        ({"metadata": {"prompt": "a tower", "character_id": str(uuid.UUID(int=1))}}, "OV018"),
        ({"metadata": {"prompt": "a tower", "reference_image_url": f"character-images/{uuid.UUID(int=1)}/a.png"}}, "OV018"),
        ({"user_id": str(uuid.UUID(int=1))}, "OV017"),
        ({"user_id": None}, "OV017"),
    ],
)  # fmt: skip
def test_invalid_inserts_are_refused(database: Database, user: User, api: Api, columns: dict[str, Any], sqlstate: str) -> None:
    owner = user()
    given: dict[str, Any] = {"user_id": owner, "job_type": "sdxl_image_fast", "metadata": {"prompt": "a lighthouse"}, "status": "queued"}
    given |= columns
    values = [json.dumps(v) if isinstance(v, dict) else v for v in given.values()]
    query = f"insert into public.jobs ({', '.join(given)}) values ({', '.join(['%s'] * len(given))}) returning *"
    refused(sqlstate, lambda: api.rows("authenticated", owner, query, values))
    nothing_was_made(database)


def test_clients_cannot_set_folded_columns(database: Database, user: User, api: Api) -> None:
    owner = user()
    folded = {"id": str(uuid.uuid4()), "version": 1, "priority": 7, "rank": -5, "ready": True, "lane": "sdxl", "claim_no": 0,
              "final": False, "head_hash": bytes(32), "created_at": "2020-01-01", "worker_type": "x", "error_message": "x"}  # fmt: skip
    for column, value in folded.items():
        refused("42501", lambda c=column, v=value: plain(api, owner, **{c: v}))  # the grant lists columns
        refused("OV004", lambda c=column, v=value: plain(api, owner, None, **{c: v}))  # the table's owner may set none of them either
    nothing_was_made(database)


def test_an_unverified_user_cannot_insert_a_job(database: Database, user: User, api: Api) -> None:
    refused("OV010", lambda: plain(api, user(verified=False)))
    nothing_was_made(database)


def test_inserts_respect_the_plan_limits(database: Database, user: User, api: Api, clock: Clock) -> None:
    owner = user()
    for _ in range(5):
        plain(api, owner)
    refused("OV015", lambda: plain(api, owner))
    plain(api, owner, None)  # an operator's own connection
    other = user("pro")
    refused("OV015", lambda: api.rows("authenticated", other, SEVERAL, (other, 51)))  # within one statement, too
    assert len(database.rows("select id from public.jobs")) == 6


# -- the deployed callback ---------------------------------------------------------------------------------------------------------

CALLBACK = "update public.jobs set status = %s, metadata = %s, error_message = %s, completed_at = now() where id = %s returning *"


def test_the_callbacks_status_is_ignored(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    job_id = str(plain(api, user())["id"])
    before = row(database, job_id)
    for status in ("completed", "failed", "processing", "queued"):
        (after,) = api.rows("service_role", None, CALLBACK, (status, '{"seed": 1}', "it broke", job_id))
        assert after == before | {"metadata": {"seed": 1}, "error_message": "it broke"} == row(database, job_id)
    assert types(database, job_id) == ["submitted"]
    finish(jobs, claim(jobs, executor(jobs)))
    found = row(database, job_id)  # completion writes what the callback would have
    assert found["status"] == "completed" and found["metadata"]["primary_asset"] in found["metadata"]["all_assets"]


def test_the_callback_cannot_write_other_columns(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    job_id = submit(jobs, user())
    for column in ("rank", "claim_no", "user_id", "version", "ready"):
        refused("42501", lambda c=column: api.rows("service_role", None, f"update public.jobs set {c} = {c} where id = %s", (job_id,)))
    database.rows("grant update on public.jobs to service_role")  # even with more rights the guard holds
    before = row(database, job_id)
    for change in ("rank = -1", "status = 'completed', version = 2", "user_id = gen_random_uuid()", "submitted_on = '2020-01-01'"):
        refused("OV004", lambda c=change: api.rows("service_role", None, f"update public.jobs set {c} where id = %s", (job_id,)))
    assert row(database, job_id) == before


def test_users_and_the_table_owner_cannot_change_jobs(database: Database, user: User, api: Api) -> None:
    owner = user()
    job_id = str(plain(api, owner)["id"])
    for statement, sqlstate in (
        ("update public.jobs set metadata = '{}' where id = %s", "42501"),
        ("delete from public.jobs where id = %s", "OV001"),  # it has not ended
    ):
        refused(sqlstate, lambda s=statement: api.rows("authenticated", owner, s, (job_id,)))
    refused("OV004", lambda: api.rows(None, None, CALLBACK, ("failed", "{}", "", job_id)))
    with pytest.raises(BareWrite):
        database.rows(CALLBACK, ("failed", "{}", "", job_id))
