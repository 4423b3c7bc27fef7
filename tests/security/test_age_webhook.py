"""Attacks on the age-verification webhook: forged, altered, old, replayed and late messages; a provider that overrides a person's
refusal. On a running project: a real gateway, the function in Deno, PostgREST, Postgres."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from stack_fixtures import Project, User
from standardwebhooks.webhooks import Webhook
from support import Permissive, submit
from waiting import LIMIT

from ourvidz.db import ages
from ourvidz.lifecycle import Jobs


class Provider:
    """Sends messages as a provider does, signed by an independent implementation."""

    def __init__(self, project: Project) -> None:
        self.project, self.secret = project, project.stack.keys.age_webhook_secret

    def __call__(
        self, user: str, status: str = "approved", *, name: str = "", at: datetime | None = None, secret: str = "", tamper: bool = False,
        said: datetime | None = None, **data: Any,
    ) -> httpx.Response:  # fmt: skip
        body = {"type": "case", "timestamp": (said or datetime.now(UTC)).isoformat(), "data": {"user_id": user, "status": status, **data}}
        raw, at, name = json.dumps(body), at or datetime.now(UTC), name or f"msg_{uuid.uuid4()}"
        signed = {"webhook-id": name, "webhook-timestamp": str(int(at.timestamp()))}
        signed["webhook-signature"] = Webhook(secret or self.secret).sign(name, at, raw)
        raw = raw.replace("declined", "approved") if tamper else raw
        with httpx.Client(base_url=self.project.url, timeout=LIMIT) as client:
            return client.post("/functions/v1/age-webhook", content=raw, headers={**signed, "content-type": "application/json"})

    def outcome(self, *args: Any, **more: Any) -> tuple[str, str]:
        answer = self(*args, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()["outcome"], answer.json()["status"]


@pytest.fixture
def provider(project: Project) -> Provider:
    return Provider(project)


@pytest.fixture
def person(project: Project) -> User:
    return project.user(verified=False)


def decisions(project: Project, user: User) -> list[tuple[str, str]]:
    return [(r["decision"], r["decided_by"]) for r in ages.reviews(project.database, decided=True) if r["user_id"] == user.id]


def test_the_providers_decision_is_applied_recorded_and_stops_jobs(project: Project, provider: Provider, person: User) -> None:
    until = datetime.now(UTC) + timedelta(days=365)
    assert provider.outcome(person.id, "pending", id="case_5") == ("review", "in_review")
    assert provider.outcome(person.id, "approved", id="case_5", expires_at=until.isoformat()) == ("decided", "verified")
    (kept,) = [r for r in ages.reviews(project.database, decided=True) if r["user_id"] == person.id]
    assert (kept["decided_by"], kept["how"], kept["verified_until"]) == (
        "provider:provider", "message of the provider case_5", until.replace(microsecond=until.microsecond // 1000 * 1000),
    )  # fmt: skip
    job = submit(Jobs(project.database, Permissive()), person.id)
    assert provider.outcome(person.id, "declined") == ("decided", "refused")
    with project.client(person) as client:
        told = client.post("/rest/v1/rpc/job_status", json={"job_id": job}).json()
    assert (told["status"], told["waits_for"]["reason"]) == ("cancelled", "age_refused")


def test_forged_altered_and_old_messages_decide_nothing(project: Project, provider: Provider, person: User) -> None:
    now = datetime.now(UTC)
    for answer in (
        provider(person.id, secret="whsec_" + base64.b64encode(b"x" * 24).decode()),
        provider(person.id, secret=project.environment["CALLBACK_SECRET"]),
        provider(person.id, "declined", tamper=True),
        provider(person.id, at=now - timedelta(minutes=6)),
        provider(person.id, at=now + timedelta(minutes=6)),
    ):
        assert answer.status_code == 401, answer.text
    for token in (None, project.user(), project.user(admin=True)):
        with project.client(token) as client:
            assert client.post("/functions/v1/age-webhook", json={"data": {"user_id": person.id, "status": "approved"}}).status_code == 401
    assert decisions(project, person) == []


def test_a_replayed_message_is_taken_once(project: Project, provider: Provider, person: User) -> None:
    assert provider.outcome(person.id, name="msg_1" + person.id) == ("decided", "verified")
    ages.decide(project.database, person.id, False, "person:ada", "the document was somebody else's")
    assert provider.outcome(person.id, name="msg_1" + person.id) == ("repeated", "refused")
    assert [d for d, _ in decisions(project, person)] == ["refused", "verified"]


def test_a_message_that_arrives_late_changes_nothing(project: Project, provider: Provider, person: User) -> None:
    now = datetime.now(UTC)
    assert provider.outcome(person.id, "declined", said=now) == ("decided", "refused")
    assert provider.outcome(person.id, "approved", said=now - timedelta(seconds=30)) == ("older", "refused")
    assert provider.outcome(person.id, "approved", said=now + timedelta(seconds=30)) == ("decided", "verified")


def test_an_approval_after_a_persons_refusal_goes_to_review(project: Project, provider: Provider, person: User) -> None:
    ages.decide(project.database, person.id, False, "person:ada", "the document was somebody else's")
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert provider.outcome(person.id, "approved", said=later) == ("review", "in_review")
    (waiting,) = [r for r in ages.reviews(project.database) if r["user_id"] == person.id]
    assert waiting["began_by"] == "provider:provider"
    assert decisions(project, person) == [("refused", "person:ada")]


def test_an_expired_document_does_not_verify(project: Project, provider: Provider, person: User) -> None:
    assert provider.outcome(person.id, "approved", expires_at="2001-01-01") == ("review", "in_review")


def test_invalid_messages_are_refused_by_field_and_not_stored(project: Project, provider: Provider, person: User) -> None:
    assert provider(str(uuid.uuid4())).status_code == 404
    for answer, named in ((provider("me"), "data.user_id"), (provider(person.id, expires_at="soon"), "data.expires_at")):
        assert answer.status_code == 400 and named in answer.json()["details"]
    assert provider(person.id, "document.uploaded").json()["outcome"] == "ignored"
    assert project.database.rows("select 1 from ourvidz.age_messages where user_id = %s", (person.id,)) == []
