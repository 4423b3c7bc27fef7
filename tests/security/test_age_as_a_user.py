"""Attacks on age verification, consent and erasure by a signed-in user whose age is not verified, through the API of a running project:
PostgREST, Storage, the edge functions. Nothing changes."""

from __future__ import annotations

from typing import Any

import pytest
from stack_fixtures import Project, User

from ourvidz.db import safety

MERGE = {"Prefer": "resolution=merge-duplicates"}
PRIVATE = {"Accept-Profile": "ourvidz", "Content-Profile": "ourvidz"}
PNG = {"content-type": "image/png"}
SHA = "a1" * 32
Attack = tuple[str, str, Any, dict[str, str]]
ATTACKS: dict[str, Attack] = {
    "verify oneself": ("PATCH", "rest/v1/profiles?id=eq.{me}", {"age_verified": True}, {}),
    "move one's end": ("PATCH", "rest/v1/profiles?id=eq.{me}", {"age_verified_until": "2999-01-01"}, {}),
    "bring a verified row": ("POST", "rest/v1/profiles?on_conflict=id", {"id": "{me}", "age_verified": True}, MERGE),
    "call the decision": ("POST", "rest/v1/rpc/verify_age", {"user_id": "{me}", "verified": True, "how": "trust me"}, {}),
    "be the provider": ("POST", "rest/v1/rpc/age_message",
                        {"provider": "me", "message_id": "1", "user_id": "{me}", "decision": "verified"}, {}),
    "sign nothing": ("POST", "functions/v1/age-webhook", {"data": {"user_id": "{me}", "status": "approved"}}, {}),
    "write a decision": ("POST", "rest/v1/age_reviews", {"user_id": "{me}", "decision": "verified"}, PRIVATE),
    "read decisions": ("GET", "rest/v1/age_reviews", None, PRIVATE),
    "see where another stands": ("POST", "rest/v1/rpc/age_status", {"user_id": "{other}"}, {}),
    "a job as a plain row": ("POST", "rest/v1/jobs", {"user_id": "{me}", "job_type": "image_fast", "metadata": {"prompt": "a pier"}}, {}),
    "a job in another's name": ("POST", "rest/v1/jobs",
                                {"user_id": "{other}", "job_type": "image_fast", "metadata": {"prompt": "a pier"}}, {}),
    "a job by the function": ("POST", "functions/v1/queue-job", {"jobType": "image_fast", "metadata": {"prompt": "a pier"}}, {}),
    "a prompt of the dialog": ("POST", "rest/v1/rpc/ask_enhancement", {"prompt": "a pier"}, {}),
    "attest for another": ("POST", "rest/v1/consents", {"user_id": "{other}", "sha256": SHA, "statement_version": "2025-07"}, {}),
    "give back another's withdrawal": ("PATCH", "rest/v1/consents?user_id=eq.{other}", {"withdrawn_at": None}, {}),
    "undo an erasure": ("PATCH", "rest/v1/profiles?id=eq.{me}", {"erased_at": None}, {}),
    "erase another": ("POST", "rest/v1/rpc/erase_begin", {"p_user": "{other}", "p_reason": "x", "p_by": "me"}, PRIVATE),
    "stop another's jobs": ("POST", "rest/v1/rpc/stop_jobs", {"user_id": "{other}", "reason": "age", "actor": "me"}, PRIVATE),
    "a reference in another's folder": ("POST", "storage/v1/object/reference_images/{other}/a.png", b"\x89PNG", PNG),
    "an output in one's own": ("POST", "storage/v1/object/image_fast/{me}/a.png", b"\x89PNG", PNG),
}  # fmt: skip


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, names) for key, item in value.items()}
    return value.format(**names) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def people(project: Project) -> tuple[User, User]:
    me, other = project.user(verified=False), project.user()
    safety.attest(project.database, other.id, SHA, "2025-07")
    project.database.rows("select ourvidz.withdraw(%s, %s)", (other.id, SHA))
    return me, other


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_and_change_nothing(project: Project, people: tuple[User, User], name: str) -> None:
    me, other = people
    method, path, body, headers = ATTACKS[name]
    names = {"me": me.id, "other": other.id}
    kept = """select (select jsonb_agg(to_jsonb(p) order by id) from public.profiles as p) as profiles,
                     (select jsonb_agg(to_jsonb(c)) from public.consents as c) as consents, (select count(*) from public.jobs) as jobs,
                     (select jsonb_agg(to_jsonb(r) order by id) from ourvidz.age_reviews as r) as decisions,
                     (select count(*) from ourvidz.erasures) as erasures, (select count(*) from ourvidz.stops) as stops,
                     (select count(*) from ourvidz.enhancement_requests) as prompts, (select count(*) from storage.objects) as objects"""
    before = project.database.rows(kept)
    with project.client(me) as client:
        sent = {"content": body} if isinstance(body, bytes) else {"json": filled(body, names)} if body is not None else {}
        answer = client.request(method, "/" + path.format(**names), headers=headers, **sent)
    assert 400 <= answer.status_code < 500, answer.text
    assert project.database.rows(kept) == before
