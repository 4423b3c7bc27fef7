"""Real PostgREST with real JWTs: what the user, another user, an admin, the service key and an anonymous caller can read and do; invalid
requests get a status and leave nothing behind."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support import row, types

from ourvidz.dev.tokens import stripped, unsigned

Project = Any
ASK = {"job_type": "sdxl_image_fast", "prompt": "a lighthouse"}


@pytest.fixture(scope="module")
def project(standing_project: Project) -> Project:
    return standing_project


def rpc(project: Project, who: Any, verb: str, **named: Any) -> httpx.Response:
    with project.client(who) as client:
        return client.post(f"/rest/v1/rpc/{verb}", json=named)


def get(project: Project, who: Any, path: str) -> list[dict[str, Any]]:
    with project.client(who) as client:
        answer = client.get(f"/rest/v1/{path}")
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def counts(project: Project) -> tuple[int, ...]:
    tables = ("jobs", "job_payloads", "job_events", "usage_logs")
    return tuple(project.database.rows(f"select count(*) as n from public.{t}")[0]["n"] for t in tables)


def test_a_job_from_submit_to_status(project: Project) -> None:
    user, other, admin = project.user(), project.user(), project.user(admin=True)
    made = rpc(project, user, "queue_job", **ASK, config={"num_images": 3})
    assert made.status_code == 200, made.text
    job_id = made.json()["job_id"]
    assert types(project.database, job_id) == ["submitted"]
    for who, seen in ((user, 1), (other, 0), (admin, 1), (project.service_key, 1)):
        assert len(get(project, who, f"jobs?id=eq.{job_id}")) == seen
        assert rpc(project, who, "job_status", job_id=job_id).status_code == (200 if seen else 404)
    assert [len(get(project, who, f"job_events?job_id=eq.{job_id}")) for who in (user, other, admin)] == [1, 0, 1]
    said = rpc(project, other, "cancel_job", job_id=job_id)
    assert (said.status_code, said.json()["code"]) == (404, "OV006")
    assert rpc(project, user, "cancel_job", job_id=job_id).json()["word"] == "failed"
    assert rpc(project, user, "retry_job", job_id=job_id).json()["status"] == "queued"


def test_an_admin_reads_all_jobs_but_writes_like_a_user(project: Project) -> None:
    user, admin = project.user(), project.user(admin=True)
    job_id = rpc(project, user, "queue_job", **ASK).json()["job_id"]
    for table in ("profiles", "jobs", "job_events"):
        assert len(get(project, admin, f"{table}?select=*&limit=1000")) > 1, table
        assert {r.get("user_id", r.get("id")) for r in get(project, user, f"{table}?limit=1000")} <= {user.id, None}, table
    with project.client(admin) as client:
        assert client.patch(f"/rest/v1/profiles?id=eq.{user.id}", json={"age_verified": True}).status_code == 403
        refused = client.patch(f"/rest/v1/jobs?id=eq.{job_id}", json={"status": "completed"})
        assert (refused.status_code, refused.json()["code"], refused.json()["details"]) == (400, "OV009", "status")
        assert client.post("/rest/v1/characters", json={"user_id": user.id, "name": "x"}).status_code == 403
        assert client.post("/rest/v1/characters", json={"user_id": admin.id, "name": "x"}).status_code == 201


def test_the_deployed_functions_insert_and_callback(project: Project) -> None:
    user = project.user()
    plain = {"user_id": user.id, "job_type": "sdxl_image_high", "format": "sdxl_image", "quality": "high", "model_type": "sdxl-high",
             "metadata": {"prompt": "a lighthouse", "num_images": 1}, "project_id": None, "video_id": None, "image_id": None,
             "status": "queued"}  # fmt: skip
    with project.client(user) as client:
        made = client.post("/rest/v1/jobs?select=*", json=plain, headers={"Prefer": "return=representation"})
        assert made.status_code == 201, made.text
        (job,) = made.json()
        forged = client.post("/rest/v1/jobs", json=plain | {"user_id": project.user().id})
        assert (forged.status_code, forged.json()["code"]) == (403, "OV017")
        log = {"user_id": user.id, "action": "job_queued", "format": "sdxl_image", "quality": "high", "credits_consumed": 2, "metadata": {}}
        assert client.post("/rest/v1/usage_logs", json=log).status_code == 201
        assert client.post("/rest/v1/usage_logs", json=log | {"job_id": job["id"]}).status_code == 403
    assert job["id"] and types(project.database, job["id"]) == ["submitted"] and job["status"] == "queued"
    with project.client(project.service_key) as client:
        change = {"status": "completed", "completed_at": "2025-07-07T12:00:00Z", "metadata": {"seed": 1}, "error_message": None}
        done = client.patch(f"/rest/v1/jobs?id=eq.{job['id']}", json=change, headers={"Prefer": "return=representation"})
        assert done.status_code == 200 and done.json()[0]["status"] == "queued" and done.json()[0]["metadata"] == {"seed": 1}
    assert types(project.database, job["id"]) == ["submitted"]


def test_invalid_or_anonymous_callers_are_refused(project: Project) -> None:
    user = project.user()
    rpc(project, user, "queue_job", **ASK)
    before = counts(project)
    for token in (project.secret.expired(user.id), unsigned(user.id), stripped(user.token), "nonsense", user.token[:-4] + "AAAA"):
        assert rpc(project, token, "queue_job", **ASK).status_code == 401, token
    for answer in (rpc(project, None, "queue_job", **ASK), rpc(project, project.service_key, "queue_job", **ASK)):
        assert answer.status_code in (401, 403), answer.text
    with project.client() as client:  # a stolen anon key
        for table in ("profiles", "characters", "projects", "videos", "jobs", "job_payloads", "job_events", "artifacts", "usage_logs"):
            assert client.get(f"/rest/v1/{table}").status_code == 401, table
    assert counts(project) == before


def test_refusals_have_a_status(project: Project) -> None:
    user = project.user()
    unverified = rpc(project, project.user(verified=False), "queue_job", **ASK)
    assert (unverified.status_code, unverified.json()["code"]) == (403, "OV010")
    for _ in range(5):
        assert rpc(project, user, "queue_job", **ASK).status_code == 200
    full = rpc(project, user, "queue_job", **ASK)
    assert (full.status_code, full.json()["code"]) == (429, "OV015") and full.json()["message"]
    quick = project.user("premium")
    project.database.rows("update ourvidz.plans set submits_per_minute = 2 where name = 'premium'")
    said = [rpc(project, quick, "queue_job", **ASK) for _ in range(3)]
    assert [a.status_code for a in said] == [200, 200, 429] and 1 <= int(said[2].headers["Retry-After"]) <= 60
    project.database.rows("update ourvidz.plans set submits_per_minute = 120 where name = 'premium'")


def test_insufficient_tokens_return_402(project: Project) -> None:
    """402, by rpc and by plain INSERT; nothing is queued or charged."""
    poor = str(uuid.uuid4())
    project.database.rows("insert into public.profiles (id, age_verified, token_balance) values (%s, true, 3)", (poor,))
    who = project.secret.user(poor)
    paid = rpc(project, who, "queue_job", **ASK, idempotency_key="one")
    assert (paid.status_code, paid.json()["price"], paid.json()["balance"]) == (200, 1, 2)
    before = counts(project)
    dear = rpc(project, who, "queue_job", job_type="video_fast", prompt="a lighthouse")
    with project.client(who) as client:
        plain = {"user_id": poor, "job_type": "video_fast", "metadata": {"prompt": "a lighthouse"}, "status": "queued"}
        inserted = client.post("/rest/v1/jobs", json=plain)
    for answer in (dear, inserted):
        assert (answer.status_code, answer.json()["code"]) == (402, "OV014"), answer.text
    assert counts(project) == before
    assert rpc(project, who, "queue_job", **ASK, idempotency_key="one").json()["balance"] == 2
    assert rpc(project, who, "cancel_job", job_id=paid.json()["job_id"]).status_code == 200
    assert rpc(project, who, "retry_job", job_id=paid.json()["job_id"]).json()["balance"] == 2


def test_concurrent_requests_with_one_key_make_one_job(project: Project) -> None:
    user = project.user()

    def ask(_: int) -> str:
        answer = rpc(project, user, "queue_job", **ASK, idempotency_key="one")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["job_id"])

    with ThreadPoolExecutor(10) as pool:
        assert len(set(pool.map(ask, range(100)))) == 1
    (purse,) = project.database.rows("select token_balance as b from public.profiles where id = %s", (user.id,))
    assert purse["b"] == 1_000_000 - 1  # one hold
    changed = rpc(project, user, "queue_job", **(ASK | {"prompt": "a tower"}), idempotency_key="one")
    assert (changed.status_code, changed.json()["code"]) == (409, "OV008")


# -- invalid requests --------------------------------------------------------------------------------------------------------------

NUL, HALF, LONG = "a\\u0000b", "\\ud800", "x" * 1_000_000
DEEP = "[" * 10_000 + "]" * 10_000
TEXT = [f'"{NUL}"', f'"{HALF}"', f'"{LONG}"', "7", "[]", "{}", "true"]
UUIDS = ['"x"', '""', "7", "{}", f'"{NUL}"', f'"{uuid.UUID(int=5)}"']
OBJECTS = ['"x"', "7", "[]", f'{{"a": "{NUL}"}}', f'{{"a": "{HALF}"}}', f'{{"a": "{LONG}"}}', f'{{"a": {DEEP}}}']
WRONG: dict[str, list[str]] = {
    "job_type": [*TEXT, "null", '""', '"video_imaginary"'],
    "prompt": [f'"{NUL}"', f'"{HALF}"', f'"{LONG}"', "null", '""', '"  "'],
    "negative_prompt": [f'"{NUL}"', f'"{HALF}"', f'"{LONG}"'],
    "config": [*OBJECTS, '{"num_images": 2}', '{"num_images": "3"}', '{"seed": -1}', '{"steps": 1e300}', '{"size": "9*9"}',
               '{"num_inference_steps": 61}', '{"reference_image_url": {}}', '{"reference_image_url": "http://example.org/a.png"}'],
    "metadata": [*OBJECTS, '{"character_id": 7}', '{"steps": "15"}'],
    "project_id": UUIDS,
    "video_id": UUIDS,
    "image_id": UUIDS[:-1],
    "character_id": UUIDS,
    "idempotency_key": ['""', f'"{NUL}"', f'"{HALF}"', f'"{"x" * 201}"', f'"{LONG}"'],
    "beauty": ["1"],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_invalid_field_is_refused(project: Project, name: str) -> None:
    """Refused with a 4xx and a code, without partial effects; the server still answers."""
    user = project.user("premium")
    before = counts(project)
    with project.client(user) as client:
        for value in WRONG[name]:
            fields = {k: json.dumps(v) for k, v in ASK.items()} | {name: value}
            body = "{" + ", ".join(f'"{k}": {v}' for k, v in fields.items()) + "}"
            answer = client.post("/rest/v1/rpc/queue_job", content=body, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, (name, value[:60], answer.status_code, answer.text[:300])
            assert answer.json()["code"] and LONG not in answer.text, (name, value[:60])
        assert counts(project) == before
        assert client.post("/rest/v1/rpc/queue_job", json=ASK).status_code == 200


def test_missing_fields_are_refused(project: Project) -> None:
    user = project.user()
    for body in ({}, {"prompt": "a lighthouse"}, {"job_type": "image_fast"}):
        answer = rpc(project, user, "queue_job", **body)
        assert 400 <= answer.status_code < 500 and answer.json()["code"], answer.text


def test_an_unknown_job_returns_404_for_every_verb(project: Project) -> None:
    user = project.user()
    for verb in ("job_status", "cancel_job", "retry_job"):
        said = rpc(project, user, verb, job_id=str(uuid.UUID(int=3)))
        assert (said.status_code, said.json()["code"]) == (404, "OV006")
        assert rpc(project, user, verb, job_id="x").status_code == 400
    made = rpc(project, user, "queue_job", **ASK).json()["job_id"]
    assert rpc(project, user, "cancel_job", job_id=made, version=7).json()["code"] == "OV007"
    assert row(project.database, made)["status"] == "queued"
