"""report over HTTP as any browser or front end calls it, and signed URLs after a takedown."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from stack_fixtures import Project, User
from support import Permissive, claim, executor, submit
from waiting import LIMIT

from ourvidz.lifecycle import Claim, Jobs
from ourvidz.quarantine import Quarantine
from ourvidz.storage.buckets import bring, compare
from ourvidz.storage.supabase import SupabaseStorage
from state.catalog import BUCKETS, QUARANTINE

PNG = b"\x89PNG\r\n\x1a\n of no size"


@pytest.fixture(scope="module")
def store(project: Project) -> SupabaseStorage:
    store = SupabaseStorage(project.url, project.service_key, BUCKETS)
    for row in compare(store.api, BUCKETS):
        if row.state == "missing":
            bring(store.api, row)
    return store


def made(project: Project, store: SupabaseStorage, user: User, tmp_path: Path) -> tuple[Claim, dict[str, Any]]:
    """A finished job with its output in its bucket."""
    jobs = Jobs(project.database, Permissive())
    submit(jobs, user.id)
    job = claim(jobs, executor(jobs, uuid.uuid4().hex))
    jobs.advance(job, "generation_started")
    (tmp_path / "a.png").write_bytes(PNG)
    path = f"{user.id}/{job.job_id}/1-0.png"
    stored = store.put(job.job_type, path, tmp_path / "a.png", "image/png")
    made = {"index": 0, "kind": "image", "seed": 7, "bucket": job.job_type, "path": path, "media_type": "image/png", "width": 8,
            "height": 8, "bytes": stored.bytes, "sha256": stored.sha256, "spool": "host"}  # fmt: skip
    jobs.artifact_generated(job, made)
    jobs.advance(job, "upload_started")
    jobs.artifact_uploaded(job, "image", 0, stored.sha256)
    jobs.complete(job)
    return job, made


def send(project: Project, fields: dict[str, str], *, who: str = "203.0.113.1", **how: Any) -> httpx.Response:
    """Send anonymously: no key, no token."""
    return httpx.post(f"{project.url}/functions/v1/report", headers={"x-forwarded-for": who}, timeout=LIMIT, **({"data": fields} | how))


def test_a_ten_year_signed_url_stops_working_after_a_report(project: Project, store: SupabaseStorage, tmp_path: Path) -> None:
    user = project.user("premium")
    job, a = made(project, store, user, tmp_path)
    with project.client(user) as client:
        signed = client.post(f"/storage/v1/object/sign/{a['bucket']}/{a['path']}", json={"expiresIn": 315_360_000}).json()
        address = f"{project.url}/storage/v1{signed['signedURL']}"
        assert httpx.get(address).content == PNG
        page = httpx.get(f"{project.url}/functions/v1/report?o={job.job_id}.0")
        assert page.status_code == 200 and f'value="{job.job_id}.0"' in page.text
        sent = send(project, {"output": f"{job.job_id}.0", "category": "minor", "said": "look at it"}, who="203.0.113.2")
        assert sent.status_code == 200 and "24 hours" in sent.text, sent.text
        again = client.post(f"/storage/v1/object/sign/{a['bucket']}/{a['path']}", json={"expiresIn": 60})
        assert again.status_code == 400, "no new one from this moment on"
        assert client.get(f"/storage/v1/object/authenticated/{a['bucket']}/{a['path']}").status_code == 400
        Quarantine(project.database, store, all_here=True).settle()
        assert httpx.get(address).status_code == 400, "and the one from before leads to nothing"
        for path in store.list(QUARANTINE, user.id):
            assert client.get(f"/storage/v1/object/authenticated/{QUARANTINE}/{path}").status_code == 400
        assert client.post("/rest/v1/rpc/my_restrictions", json={}).json()["outputs"][0]["output"] == f"{job.job_id}.0"
        appealed = client.post("/rest/v1/rpc/appeal", json={"said": "It is a lighthouse.", "output": job.job_id})
        assert appealed.status_code == 200, appealed.text
    admin = project.user(admin=True)
    with project.client(admin) as client:
        for path in store.list(QUARANTINE, user.id):
            assert client.get(f"/storage/v1/object/authenticated/{QUARANTINE}/{path}").status_code == 400, "not for admins either"
        (report,) = [r for r in client.post("/rest/v1/rpc/report_queue", json={}).json() if r["user_id"] == user.id]
        decided = client.post("/rest/v1/rpc/moderate", json={"verb": "dismiss", "report": report["id"]})
        assert decided.status_code == 200 and decided.json()["said"] == "look at it", decided.text
    Quarantine(project.database, store, all_here=True).settle()
    assert httpx.get(address).content == PNG


def test_a_suspended_users_signed_url_stops_working(project: Project, store: SupabaseStorage, tmp_path: Path) -> None:
    user = project.user("premium")
    _, a = made(project, store, user, tmp_path)
    with project.client(user) as client:
        signed = client.post(f"/storage/v1/object/sign/{a['bucket']}/{a['path']}", json={"expiresIn": 315_360_000}).json()
        project.database.rows("select ourvidz.suspend(%s, 'abuse', 'person:op')", (user.id,))
        Quarantine(project.database, store, all_here=True).settle()
        assert httpx.get(f"{project.url}/storage/v1{signed['signedURL']}").status_code == 400
        asked = client.post("/functions/v1/queue-job", json={"jobType": "image_fast", "metadata": {"prompt": "a lighthouse"}})
        assert (asked.status_code, asked.json()["code"]) == (403, "OV024") and "suspended" in asked.json()["details"]


def test_a_json_report_gets_json_and_is_idempotent(project: Project) -> None:
    body = {"id": str(uuid.uuid4()), "output": str(uuid.uuid4()), "category": "ncii", "signature": "A. Person", "contact": "a@example.com",
            "good_faith": True}  # fmt: skip
    answers = [send(project, {}, json=body, data=None).json() for _ in range(2)]
    assert answers == [{"success": True, "report": body["id"], "hours": 48}] * 2
    (row,) = project.database.rows("select valid, subject from ourvidz.reports where id = %s", (body["id"],))
    assert row == {"valid": True, "subject": None}


def test_the_rate_limit_is_per_address(project: Project) -> None:
    fields = {"category": "other", "said": "x", "output": ""}
    codes = [send(project, fields, who="203.0.113.9").status_code for _ in range(11)]
    assert codes == [200] * 10 + [429]
    # Entries that the sender puts in front of its address are ignored.
    assert send(project, fields, who="198.51.100.7, 203.0.113.9").status_code == 429
    assert send(project, fields, who="203.0.113.10").status_code == 200
