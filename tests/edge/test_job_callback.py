"""job-callback accepts only recent messages signed by our outbox; a repeated message changes nothing; it writes nothing."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from stack_fixtures import UPSTASH_TOKEN, Project
from standardwebhooks.webhooks import Webhook
from support import claim, executor, finish, submit
from waiting import LIMIT

from ourvidz.delivery.signature import headers
from ourvidz.dev.keys import Keys
from ourvidz.dev.tokens import Secret
from ourvidz.lifecycle import Jobs


class Sender:
    """Sends like the outbox, with an independent implementation of the signature."""

    def __init__(self, project: Project) -> None:
        self.project, self.secret = project, project.environment["CALLBACK_SECRET"]

    def __call__(self, body: Any, *, at: datetime | None = None, secret: str = "", tamper: bool = False, **headers: str) -> httpx.Response:
        raw = body if isinstance(body, str) else json.dumps(body)
        at, name = at or datetime.now(UTC), f"msg_{uuid.uuid4()}"
        signed = {"webhook-id": name, "webhook-timestamp": str(int(at.timestamp()))}
        signed["webhook-signature"] = Webhook(secret or self.secret).sign(name, at, raw)
        raw = raw.replace("completed", "failed") if tamper else raw
        with httpx.Client(base_url=self.project.url, timeout=LIMIT) as client:
            return client.post("/functions/v1/job-callback", content=raw, headers={**signed, "content-type": "application/json", **headers})


@pytest.fixture
def send(project: Project) -> Sender:
    return Sender(project)


@pytest.fixture
def done(project: Project, jobs: Jobs) -> str:
    from support import Permissive

    here = Jobs(project.database, Permissive())
    job_id = submit(here, project.user().id, "image_high")
    finish(here, claim(here, executor(here, lanes=["wan"])))
    return job_id


def message(job_id: str, status: str = "completed") -> dict[str, Any]:
    return {"job_id": job_id, "status": status, "assets": ["a/b/1-0.png"], "metadata": {"seed": 7}}


def test_a_repeated_signed_message_gets_the_same_answer_and_writes_nothing(project: Project, send: Sender, done: str) -> None:
    before = project.database.rows("select xmin, * from public.jobs where id = %s", (done,))
    for _ in range(2):
        answer = send(message(done))
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert said.pop("message") and said == {"success": True, "jobId": done, "status": "completed", "current": True}
    assert project.database.rows("select xmin, * from public.jobs where id = %s", (done,)) == before


def test_an_outdated_message_is_reported_as_not_current(send: Sender, done: str) -> None:
    assert send(message(done, "processing")).json()["current"] is False


def test_unsigned_and_expired_messages_are_refused(send: Sender, done: str) -> None:
    other = "whsec_" + "QUJD" * 8
    old, soon = (datetime.now(UTC) + timedelta(minutes=m) for m in (-6, 6))
    for answer in (
        send(message(done), secret=other),
        send(message(done), at=old),
        send(message(done), at=soon),
        send(message(done), tamper=True),
        send(message(done), **{"webhook-signature": ""}),
        send(message(done), **{"webhook-id": "msg_another"}),
        send(message(done), **{"webhook-timestamp": str(int(time.time()) + 1)}),
        send(message(done), **{"webhook-timestamp": "soon"}),
    ):
        assert answer.status_code == 401 and answer.json()["success"] is False, answer.text


def test_a_users_token_is_not_accepted(project: Project, done: str) -> None:
    for who in (None, project.user(), project.service_key):
        with project.client(who) as client:
            assert client.post("/functions/v1/job-callback", json=message(done)).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"job_id": "5", "status": "completed"}, 400), ({"job_id": str(uuid.uuid4()), "status": "done"}, 400), ({}, 400), ([], 400),
        ("{", 400), (message(str(uuid.uuid4())), 404), (message(str(uuid.uuid4())) | {"x": "y" * 300_000}, 413),
    ],
    ids=range(7),
)  # fmt: skip
def test_bad_messages(send: Sender, body: Any, status: int) -> None:
    answer = send(body)
    assert (answer.status_code, answer.json()["success"]) == (status, False)


def test_an_empty_secret_is_refused(new_project: Callable[..., Project]) -> None:
    """`whsec_$(openssl …)` on a machine without openssl gives an empty key, which anybody could sign with."""
    keys = Keys(Secret(), UPSTASH_TOKEN, callback_secret="whsec_")
    raw = json.dumps(message(str(uuid.uuid4()))).encode()
    signed = headers("msg_1", int(time.time()), raw, [b""])
    with httpx.Client(base_url=new_project(keys=keys).url, timeout=LIMIT) as client:
        answer = client.post("/functions/v1/job-callback", content=raw, headers=signed | {"content-type": "application/json"})
    assert (answer.status_code, "CALLBACK_SECRET" in answer.text) == (503, True), answer.text
