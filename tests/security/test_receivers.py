"""Receivers get only the fields they were registered for, over a connection that others cannot read, signed with a secret of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import claim, executor, finish, submit

from ourvidz.db import outbox
from ourvidz.db.connection import Database
from ourvidz.delivery.sending import Keyring
from ourvidz.delivery.signature import BadSecret
from ourvidz.lifecycle import Jobs
from state.errors import InvalidJob

URL, OWN = "https://example.com/hook", "https://a.supabase.co/functions/v1/job-callback"
LONG, OTHER = "a secret of over twenty-four bytes", "another secret of over twenty-four bytes"
WORD = "zanzibar"


def bodies(db: Database, receiver: str) -> list[dict[str, Any]]:
    rows = db.rows("select ourvidz.outbox_body(o) as body from ourvidz.outbox as o where receiver = %s order by job_version", (receiver,))
    return [row["body"] for row in rows]


def made(jobs: Jobs, user: str) -> None:
    """An enhanced and completed job, and one that failed with a message that quotes its prompt."""
    submit(jobs, user, "image7b_fast_enhanced", prompt=f"a {WORD}")
    gpu = executor(jobs)
    job = claim(jobs, gpu)
    jobs.advance(job, "enhancement_started")
    jobs.enhanced(job, f"a {WORD}, long exposure", seconds=1, tokens=9)
    finish(jobs, job)
    submit(jobs, user, "image_fast", prompt=f"another {WORD}")
    jobs.fail(claim(jobs, gpu), "bad_request", f"no {WORD} can be made", retryable=False)


def test_text_is_sent_only_to_the_projects_callback(database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    outbox.receiver_set(database, "billing", URL, ["processing", "completed", "failed"])
    outbox.receiver_set(database, "job-callback", OWN)
    made(jobs, user("premium"))
    assert WORD not in json.dumps(bodies(database, "billing"))
    failed, completed = sorted(bodies(database, "job-callback"), key=lambda body: body["status"] == "completed")
    assert completed["enhancedPrompt"] == f"a {WORD}, long exposure" and failed["error_message"] == f"no {WORD} can be made"
    assert [b["error_message"] for b in bodies(database, "billing") if b["status"] == "failed"] == ["bad_request"], (
        "its class, for programs"
    )


@pytest.mark.parametrize("name", ["billing", "job-callback"])
def test_only_job_callback_may_receive_text_fields(database: Database, name: str) -> None:
    for field in ("enhancedPrompt", "error_message"):
        with pytest.raises(InvalidJob, match="job-callback alone") as refused:
            outbox.receiver_set(database, name, URL, fields=["job_type", field])
        assert refused.value.field == "fields"
    outbox.receiver_set(database, "job-callback", OWN)
    with pytest.raises(InvalidJob, match="job-callback alone"):
        outbox.receiver_set(database, "job-callback", "https://elsewhere.example/hook")
    assert [r["url"] for r in outbox.receivers(database) if r["name"] == "job-callback"] == [OWN]


def test_a_receiver_gets_only_its_registered_fields(database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    outbox.receiver_set(database, "billing", URL, fields=["job_type", "num_images"])
    made(jobs, user("premium"))
    for body in bodies(database, "billing"):
        assert set(body) <= {"job_id", "status", "assets", "error_message", "metadata"} and body["assets"] == []
        assert set(body["metadata"]) <= {"version", "occurred_at", "true_status", "error_class", "job_type", "num_images"}
    with pytest.raises(InvalidJob, match="may be told") as refused:
        outbox.receiver_set(database, "billing", fields=["prompt"])
    assert refused.value.field == "fields"


@pytest.mark.parametrize(
    "url", ["http://example.com/hook", "http://10.0.0.8/", "http://127.0.0.1.example.com/", "http://[::2]/", "ftp://127.0.0.1/"]
)
def test_insecure_urls_are_refused(database: Database, url: str) -> None:
    with pytest.raises(InvalidJob, match="https://") as refused:
        outbox.receiver_set(database, "billing", url)
    assert refused.value.field == "url" and outbox.receivers(database) == []


def test_receivers_cannot_share_a_secret(database: Database) -> None:
    outbox.receiver_set(database, "job-callback", OWN)
    outbox.receiver_set(database, "billing", URL)
    assert {r["name"]: r["secret_env"] for r in outbox.receivers(database)} == {
        "billing": "BILLING_SECRET",
        "job-callback": "CALLBACK_SECRET",
    }
    for name in ("billing", "third"):
        with pytest.raises(InvalidJob, match="another receiver's") as refused:
            outbox.receiver_set(database, name, URL, secret_env="CALLBACK_SECRET")
        assert refused.value.field == "secret"


@pytest.mark.parametrize("weak", ["x", "whsec_", "whsec_aGVsbG8=", "23 bytes of a short one".replace(" ", "-")])
def test_weak_secrets_are_refused(weak: str) -> None:
    with pytest.raises(BadSecret, match=r"HOOK: a secret of .* bytes can be guessed") as refused:
        Keyring({"HOOK": weak}).keys("HOOK")
    assert weak not in str(refused.value).replace("whsec_$(", "")


def test_secrets_used_elsewhere_are_refused() -> None:
    word = "sb_secret_0123456789abcdefghij"
    for other in ("SUPABASE_SECRET_KEY", "UPSTASH_REDIS_REST_TOKEN", "OTHER_SECRET"):
        with pytest.raises(BadSecret, match=rf"HOOK: {other} holds the same secret") as refused:
            Keyring({"HOOK": word, other: word}).keys("HOOK")
        assert word not in str(refused.value)
    assert len(Keyring({"HOOK": word, "OTHER_SECRET": word[::-1]}).keys("HOOK")) == 1


@pytest.mark.parametrize("held", ["v1,{}", "{}|whsec_YW5vdGhlciBzZWNyZXQgb2Ygb3VycywgdGhlIG5ldyBvbmU=", "x,{}=", "{}"])
def test_a_reused_secret_is_recognised_in_any_notation(held: str) -> None:
    secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk"
    with pytest.raises(BadSecret, match="HOOK: OTHER_SECRET holds the same secret"):
        Keyring({"HOOK": f"v1,{secret}=", "OTHER_SECRET": held.format(secret)}).keys("HOOK")
