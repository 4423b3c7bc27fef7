"""A malicious signed-in user through real PostgREST: attacks on another user's rows, on protected columns, and on costs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

Project = Any
ASK = {"job_type": "sdxl_image_fast", "prompt": "a lighthouse"}
MERGE = {"Prefer": "resolution=merge-duplicates"}
BACK = {"Prefer": "return=representation"}
TABLES = ("profiles", "characters", "projects", "videos", "jobs", "job_events", "job_payloads", "usage_logs")


@pytest.fixture(scope="module")
def project(standing_project: Project) -> Project:
    return standing_project


class Two:
    """A user (`mine`) and their victim (`theirs`): row ids by table."""

    def __init__(self, project: Project, client: httpx.Client) -> None:
        self.project, self.client = project, client
        self.me, self.other = project.user("premium"), project.user("premium")
        self.mine, self.theirs = self.rows(self.me), self.rows(self.other)
        client.headers["Authorization"] = f"Bearer {self.me.token}"

    def rows(self, user: Any) -> dict[str, str]:
        made = {"user": user.id}
        with self.project.client(user) as client:
            for table, row in (
                ("projects", {"original_prompt": "a tower"}),
                ("characters", {"name": "x"}),
                ("videos", {"scene_number": 1}),
            ):
                answer = client.post(f"/rest/v1/{table}", json={"user_id": user.id} | row, headers=BACK)
                made[table] = answer.json()[0]["id"]
            made["jobs"] = client.post("/rest/v1/rpc/queue_job", json=ASK).json()["job_id"]
        return made

    def everything(self) -> list[list[dict[str, Any]]]:
        with self.project.client(self.other) as client:
            return [client.get(f"/rest/v1/{table}?order=1").json() for table in TABLES]


@pytest.fixture(scope="module")
def two(project: Project) -> Iterator[Two]:
    with project.client() as client:
        yield Two(project, client)


def plain(user: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user, "job_type": "sdxl_image_fast", "metadata": {"prompt": "a lighthouse"}, "status": "queued"} | more


REFUSED: list[tuple[int, str, str, Any, dict[str, str]]] = [
    (403, "GET", "jobs?select=id,job_payloads(salt)", None, {}),
    (403, "GET", "job_payloads?select=job_id&order=salt", None, {}),
    (403, "GET", "job_payloads?select=job_id&body_digest=eq.x", None, {}),
    (406, "GET", "executors", None, {"Accept-Profile": "ourvidz"}),
    (403, "POST", "jobs?on_conflict=id", plain("{me}"), MERGE),
    (403, "POST", "jobs?on_conflict=id", plain("{me}", id="{jobs}"), MERGE),
    (403, "POST", "jobs", [plain("{me}"), plain("{user}")], {}),
    (403, "POST", "profiles?on_conflict=id", {"id": "{me}", "age_verified": True}, MERGE),
    (403, "PATCH", "profiles?id=eq.{me}", {"token_balance": 5}, {}),
    (403, "PATCH", "projects?id=eq.{my_project}", {"user_id": "{user}"}, {}),
    (403, "PATCH", "projects?id=eq.{my_project}", {"character_id": "{characters}"}, {}),
    (403, "PATCH", "projects?id=eq.{my_project}", {"character_id": "{nobody}"}, {}),  # as if it did not exist
    (403, "PATCH", "videos?id=eq.{my_video}", {"project_id": "{projects}"}, {}),
    (403, "PATCH", "videos?id=eq.{my_video}", {"status": "completed"}, {}),
    (403, "POST", "projects?on_conflict=id", {"id": "{projects}", "user_id": "{me}"}, MERGE),
    (404, "POST", "jobs", plain("{me}", project_id="{projects}"), {}),
    (404, "POST", "jobs", plain("{me}", project_id="{nobody}"), {}),
    (404, "POST", "rpc/queue_job", ASK | {"character_id": "{characters}"}, {}),
    (404, "POST", "rpc/queue_job", ASK | {"config": {"reference_image_url": "character-images/{user}/a.png"}}, {}),
    (404, "POST", "rpc/queue_job", ASK | {"config": {"reference_image_url": "character-images/{me}/../{user}/a.png"}}, {}),
    (400, "POST", "rpc/queue_job", ASK | {"config": {"reference_image_url": "file:///etc/passwd"}}, {}),
    (400, "POST", "rpc/queue_job", ASK | {"config": {"__proto__": {"images": 6}, "images": 5}}, {}),
    (404, "POST", "rpc/approve_preview", {"video_id": "{videos}"}, {}),
    (404, "POST", "rpc/set_config", {"setting_name": "request.jwt.claims", "new_value": "{}", "is_local": True}, {}),
    (404, "POST", "rpc/answer", {"p_verb": "queue_job", "p_asked": {}}, {}),
    (403, "POST", "usage_logs", {"user_id": "{user}", "action": "x"}, {}),
    (403, "POST", "usage_logs", {"user_id": "{me}", "action": "x", "tokens_consumed": -5}, {}),
    (403, "POST", "usage_logs", {"user_id": "{me}", "action": "x", "credits_consumed": "NaN"}, {}),
    (403, "POST", "usage_logs", {"user_id": "{me}", "action": "x", "credits_consumed": -1}, {}),
    (403, "POST", "usage_logs", {"user_id": "{me}", "action": "x", "format": "x" * 101}, {}),
    (403, "POST", "usage_logs", {"user_id": "{me}", "action": "x" * 101}, {}),
    (400, "POST", "usage_logs", {"user_id": "{me}", "action": "x", "metadata": {"a": "x" * 70_000}}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "method", "path", "body", "headers"), REFUSED)
def test_hostile_requests_are_refused(two: Two, status: int, method: str, path: str, body: Any, headers: dict[str, str]) -> None:
    names = two.theirs | {"me": two.me.id, "my_project": two.mine["projects"], "my_video": two.mine["videos"], "nobody": uuid.UUID(int=5)}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [filled(v) for v in value]
        return value.format(**names) if isinstance(value, str) and value != "{}" else value

    before = two.everything()
    answer = two.client.request(method, f"/rest/v1/{path.format(**names)}", json=filled(body), headers=headers)
    assert answer.status_code == status, answer.text
    assert "a tower" not in answer.text and two.everything() == before


def test_another_users_rows_are_invisible(two: Two) -> None:
    before = two.everything()
    for table in ("projects", "characters", "videos"):
        change = {"name": "mine"} if table == "characters" else {"scene_number": 7} if table == "videos" else {"title": "mine"}
        answer = two.client.patch(f"/rest/v1/{table}?id=eq.{two.theirs[table]}", json=change, headers=BACK)
        assert (answer.status_code, answer.json()) == (200, []), table
        assert two.client.delete(f"/rest/v1/{table}?id=eq.{two.theirs[table]}", headers=BACK).json() == []
    for verb in ("job_status", "cancel_job", "retry_job"):
        assert two.client.post(f"/rest/v1/rpc/{verb}", json={"job_id": two.theirs["jobs"]}).status_code == 404
    assert two.client.get(f"/rest/v1/projects?select=*,profiles(*)&user_id=eq.{two.other.id}").json() == []
    assert two.everything() == before


def test_limits_hold_for_many_rows_in_one_request(project: Project) -> None:
    """Plan, rate limit and balance hold within a statement: all of its rows, or none."""
    user = project.user("pro")
    jobs = "select id from public.jobs where user_id = %s"
    with project.client(user) as client:
        balance = client.get("/rest/v1/profiles").json()[0]["token_balance"]
        project.database.rows("select ourvidz.revoke_tokens(%s, %s, 'for a test')", (user.id, balance - 3))
        for rows, status, code in ((51, 429, "OV015"), (4, 402, "OV014")):
            answer = client.post("/rest/v1/jobs", json=[plain(user.id)] * rows)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert project.database.rows(jobs, (user.id,)) == []
        kept = client.post("/rest/v1/jobs", json=[plain(user.id)] * 3, headers={"Prefer": "tx=rollback"})
        assert kept.status_code == 201 and len(project.database.rows(jobs, (user.id,))) == 3
        assert client.get("/rest/v1/profiles").json()[0]["token_balance"] == 0


def test_alternating_cancel_and_retry_is_rate_limited(project: Project) -> None:
    """No way around the rate limit: each turn would write five rows, and could keep a device busy for nothing."""
    user = project.user()
    with project.client(user) as client:
        job = client.post("/rest/v1/rpc/queue_job", json=ASK).json()["job_id"]
        said = []
        for _ in range(10):  # the free plan allows ten submits a minute
            assert client.post("/rest/v1/rpc/cancel_job", json={"job_id": job}).status_code == 200
            said.append(client.post("/rest/v1/rpc/retry_job", json={"job_id": job}))
    assert [answer.status_code for answer in said] == [200] * 9 + [429]
    assert said[-1].json()["code"] == "OV016" and 1 <= int(said[-1].headers["Retry-After"]) <= 60
