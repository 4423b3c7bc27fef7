"""Events: immutable facts in the past tense, and the bytes that their hash chain covers.

An event holds ids, figures and words from closed lists; never a prompt, a message or anything else a person wrote (a salted hash may stand
for it), so that a person's text can be erased while the chain still verifies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from state.kinds import EVENT_DATA
from state.machine import EventType, Status

CODEC: Final = 1
"""First field of the canonical bytes. A new format gets a new number; old events keep verifying under their own."""

DATA_KEYS: Final[Mapping[EventType, tuple[str, ...]]] = {event: tuple(EVENT_DATA[event]) for event in EventType}
"""Keys allowed in each event's data (state/kinds.py has their kinds)."""


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
    data_text: str = ""  # jsonb as Postgres prints it: the chain covers exactly these characters
    prev_hash: bytes = b""
    hash: bytes = b""


GENESIS: Final = bytes(32)


def canonical_bytes(event: Event) -> bytes:
    """Return the bytes that the hash covers besides `prev_hash`: fields joined by U+001F, absent ones empty, time in microseconds since
    1970.

    No field can contain U+001F: ids, words and numbers are constrained, and JSON escapes control characters.
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
