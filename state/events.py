"""Events: immutable past-tense facts, and the bytes that their hash chain covers.

An event holds ids, figures and words from closed lists; never a prompt, a message or anything a person wrote (a salted hash may stand
for it), so that a person's text can be erased while the chain still verifies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from state.machine import EventType, Status

CODEC: Final = 1
"""The first field of the canonical bytes. A change of their form is a new number; old events keep verifying under their own."""

_JOB = ("user_id", "job_type", "lane", "priority", "rank", "run_at", "project_id", "video_id", "image_id", "digest", "price")

DATA_KEYS: Final[Mapping[EventType, tuple[str, ...]]] = {
    EventType.SUBMITTED: _JOB,
    EventType.IMPORTED: (*_JOB, "status", "error_class", "final", "completed_at"),
    EventType.CLAIMED: ("executor_id", "executor", "deadline"),
    EventType.ENHANCEMENT_STARTED: ("on_device",),  # false: by another process, while the device is another job's
    EventType.GENERATION_STARTED: ("profile", "device"),
    EventType.UPLOAD_STARTED: ("outputs", "resumed"),
    EventType.COMPLETED: ("artifacts", "charged_images"),
    EventType.RETRY_SCHEDULED: ("class", "run_at"),
    EventType.LEASE_EXPIRED: ("executor", "on_device", "run_at", "cause"),
    EventType.SNOOZED: ("reason", "run_at"),
    EventType.FAILED: ("class", "final", "category", "policy_version", "stage", "rule_id", "digest"),
    EventType.CANCELLED: ("reason",),  # by ourvidz.stop_jobs: why the user's jobs were stopped
    EventType.RETRIED: ("rank", "run_at", "price"),
    EventType.REROUTED: ("job_type", "lane", "rank", "from_type", "reason", "price_change", "settings"),
    EventType.REPRIORITISED: ("priority", "rank", "run_at"),  # run_at: of an imported job, when it may be claimed
    EventType.PROMPT_ENHANCED: ("seconds", "tokens", "digest"),
    EventType.ENHANCEMENT_SKIPPED: ("reason", "seconds"),
    EventType.REFERENCE_SKIPPED: ("reference", "reason"),
    EventType.ARTIFACT_GENERATED: ("index", "kind", "seed", "bytes", "digest", "seconds"),
    EventType.ARTIFACT_UPLOADED: ("index", "kind", "bytes", "digest"),
    EventType.GENERATION_REPEATED: ("index", "reason"),
    EventType.CANCEL_REQUESTED: ("reason",),
    EventType.LINKED: ("image_id", "video_id"),
    EventType.REMOVED: ("what", "kind", "index", "image_id", "video_id"),  # what: job | output
}
"""Every key an event's data may have. Closed: the database refuses others."""


@dataclass(frozen=True)
class Event:
    """One fact of one job, as stored. `hash` and `prev_hash` are 32 bytes; the first event's `prev_hash` is 32 zero bytes."""

    job_id: str
    version: int
    type: EventType
    from_status: Status | None
    to_status: Status
    claim_no: int | None
    actor: str
    occurred_at: datetime
    data: Mapping[str, Any]
    data_text: str = ""  # as Postgres prints its jsonb: the chain covers these very characters
    prev_hash: bytes = b""
    hash: bytes = b""


GENESIS: Final = bytes(32)


def canonical_bytes(event: Event) -> bytes:
    """What the hash covers besides `prev_hash`: fields joined by U+001F, absent ones empty, the instant in microseconds since 1970.

    None of the fields can contain U+001F: ids, words and numbers are constrained, and JSON escapes control characters.
    """
    at = event.occurred_at.astimezone(UTC)
    micros = int(at.timestamp()) * 1_000_000 + at.microsecond
    fields = (
        str(CODEC),
        event.job_id,
        str(event.version),
        str(event.type),
        str(event.from_status or ""),
        str(event.to_status),
        "" if event.claim_no is None else str(event.claim_no),
        event.actor,
        str(micros),
        event.data_text or json.dumps(event.data),
    )
    return "\x1f".join(fields).encode()


def event_hash(event: Event) -> bytes:
    """SHA-256 over the previous hash and the canonical bytes: 32 bytes."""
    return hashlib.sha256(event.prev_hash + canonical_bytes(event)).digest()
