"""Message bodies: for which events they are created, their content, and no cost while there is no receiver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import Clock, artifact, claim, executor, finish, submit

from ourvidz.db import outbox
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

URL = "https://example.com/hook"
ENDS = ["completed", "failed", "cancelled"]


def told(db: Database, receiver: str = "job-callback") -> list[tuple[str, int, str]]:
    rows = db.rows("select job_id::text, job_version, status from ourvidz.outbox where receiver = %s order by job_version", (receiver,))
    return [tuple(r.values()) for r in rows]  # type: ignore[misc]


def body(db: Database, status: str) -> dict[str, Any]:
    found = db.rows("select ourvidz.outbox_body(o) as body from ourvidz.outbox as o where status = %s", (status,))
    (row,) = found
    return row["body"]


@pytest.fixture
def asked(database: Database) -> None:
    outbox.receiver_set(database, "job-callback", f"{URL}/functions/v1/job-callback", ["processing", *ENDS])


def test_a_completed_job(database: Database, jobs: Jobs, user: Callable[..., str], clock: Clock, asked: None) -> None:
    owner = user("premium")
    job_id = submit(jobs, owner, "image7b_fast_enhanced", settings={"seed": 5})
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "enhancement_started")
    jobs.enhanced(job, "a lighthouse, in many words", seconds=1, tokens=9)
    clock.advance(2)
    jobs.advance(job, "generation_started")
    clock.advance(9.5)
    made, small = artifact(job), artifact(job, kind="thumbnail") | {"seed": None}
    for each in (made, small):
        jobs.artifact_generated(job, each)
    jobs.advance(job, "upload_started")
    for each in (made, small):
        jobs.artifact_uploaded(job, each["kind"], 0, each["sha256"])
    clock.advance(1)
    jobs.complete(job)

    assert [(version, word) for _, version, word in told(database)] == [(3, "processing"), (11, "completed")]
    assert body(database, "processing") == {
        "job_id": job_id, "status": "processing", "assets": [],
        "metadata": body(database, "processing")["metadata"] | {"version": 3, "true_status": "enhancing"},
    }  # fmt: skip
    said = body(database, "completed")
    when = said["metadata"].pop("occurred_at")
    assert when.startswith("2025-07-07T12:00:12.5")
    assert said == {
        "job_id": job_id, "status": "completed", "assets": [made["path"]], "enhancedPrompt": "a lighthouse, in many words",
        "metadata": {
            "version": 11, "true_status": "completed", "job_type": "image7b_fast_enhanced", "bucket": "image7b_fast_enhanced",
            "user_id": owner, "seed": 5, "seeds": [7], "num_images": 1, "generation_time": 9.5,
            "thumbnails": [f"image7b_fast_enhanced/{small['path']}"],
        },
    }  # fmt: skip


def test_failed_and_cancelled_are_both_sent_as_failed(database: Database, jobs: Jobs, user: Callable[..., str], asked: None) -> None:
    owner, gpu = user("premium"), executor(jobs)
    failed = submit(jobs, owner)
    jobs.fail(claim(jobs, gpu), "model_file", "The model's file is damaged.", retryable=False)
    cancelled = submit(jobs, owner)
    jobs.cancel(cancelled)
    said = body(database, "failed")
    assert (said["job_id"], said["status"], said["error_message"], said["assets"]) == (failed, "failed", "The model's file is damaged.", [])
    assert said["metadata"]["error_class"] == "model_file"
    said = body(database, "cancelled")
    assert (said["job_id"], said["status"], said["error_message"]) == (cancelled, "failed", "cancelled")
    assert said["metadata"]["true_status"] == "cancelled"


def test_each_attempts_start_is_sent_once_if_subscribed(database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    outbox.receiver_set(database, "one", URL, ["processing"])
    outbox.receiver_set(database, "ends", URL)
    submit(jobs, user("premium"), "image7b_fast_enhanced")
    gpu = executor(jobs)
    first = claim(jobs, gpu)
    jobs.advance(first, "enhancement_started")
    jobs.advance(first, "generation_started")
    jobs.snooze(first, "drain")
    finish(jobs, claim(jobs, gpu))
    assert [word for _, _, word in told(database, "one")] == ["processing", "processing"]
    assert [word for _, _, word in told(database, "ends")] == ["completed"]


def test_no_messages_are_queued_for_a_disabled_receiver(database: Database, jobs: Jobs, user: Callable[..., str], asked: None) -> None:
    outbox.receiver_enable(database, "job-callback", on=False)
    submit(jobs, user("premium"))
    finish(jobs, claim(jobs, executor(jobs)))
    assert told(database) == []


def test_a_rolled_back_event_sends_no_message(database: Database, jobs: Jobs, user: Callable[..., str], asked: None) -> None:
    """The message is written in the event's transaction."""
    submit(jobs, user("premium"))
    job = claim(jobs, executor(jobs))
    with database.driver() as connection, connection.transaction(force_rollback=True):
        connection.execute("select ourvidz.advance(%s, %s, %s, 'generation_started', '{}')", job.ref)
        assert connection.execute("select count(*) from ourvidz.outbox").fetchone() == (1,)
    assert told(database) == []


def test_erased_texts_are_not_sent(database: Database, jobs: Jobs, user: Callable[..., str], asked: None) -> None:
    job_id = submit(jobs, user("premium"), "image7b_fast_enhanced")
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "enhancement_started")
    jobs.enhanced(job, "in many words", seconds=1, tokens=9)
    finish(jobs, job)
    assert body(database, "completed")["enhancedPrompt"] == "in many words"
    database.rows("update public.job_payloads set enhanced_prompt = null where job_id = %s", (job_id,))
    assert "enhancedPrompt" not in body(database, "completed")


def test_batch_transitions_queue_a_message_per_job(database: Database, jobs: Jobs, user: Callable[..., str], asked: None) -> None:
    owner, gpu = user("premium"), executor(jobs)
    for _ in range(3):
        submit(jobs, owner)
    held = jobs.claim(gpu, limit=3)
    jobs.advance_many(held, "generation_started")
    for job in held:
        jobs.artifact_generated(job, artifact(job))
    jobs.advance_many(held, "upload_started")
    for job in held:
        jobs.artifact_uploaded(job, "image", 0, artifact(job)["sha256"])
    jobs.complete_many(held)
    assert sorted(word for _, _, word in told(database)) == ["completed"] * 3 + ["processing"] * 3
