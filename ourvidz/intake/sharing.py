"""Share one Redis with the legacy system (docs/decisions/0035): take the messages of chosen users and leave all others to its workers.
One script removes what is taken, so no message is handled by both.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ourvidz.intake import lists
from ourvidz.intake.upstash import Upstash

NEAR = 1000  # messages examined at a time, from the end where the oldest are
ELSEWHERE = ("project_id", "video_id", "image_id", "character_id")
"""Ids of rows in the legacy system's database, which this one does not have. The legacy callback links the outputs to them there."""
_REFERENCES = ("image", "first_frame", "last_frame", "reference_image_url", "reference_url", "start_reference_url", "end_reference_url")


def waiting(redis: Upstash, queue: str) -> list[bytes]:
    """All messages of a queue, oldest first, without taking any. Oversized ones are left out."""
    return [raw for found in lists.look(redis, queue, sys.maxsize) for raw in found.messages]


def fetch(
    redis: Upstash, queues: Sequence[str], processing: Mapping[str, str], users: Collection[str], limit: int
) -> dict[str, list[bytes]]:
    """Move up to `limit` messages of these users from each queue to its processing list, oldest first."""
    taken: dict[str, list[bytes]] = {}
    for queue in queues:
        near = (raw for found in lists.look(redis, queue, NEAR) for raw in found.messages)
        wanted = list(itertools.islice((raw for raw in near if takes(raw, users)), limit))
        if wanted:
            taken[queue] = lists.take(redis, queue, processing[queue], wanted)
    return taken


def takes(raw: bytes, users: Collection[str]) -> bool:
    """Return True if it is a chosen user's and has no reference: consent to a reference can only be attested in our own database."""
    try:
        message = json.loads(raw.decode())
        whose = str(message["user_id"]).lower()
        told = {**(message.get("config") or {}), **(message.get("metadata") or {})}
    except (ValueError, KeyError, TypeError, RecursionError):
        return False  # left to the legacy worker, as before
    return whose in users and not any(told.get(name) for name in _REFERENCES)


def alone(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The argument for the database, without ids of the legacy database's rows."""
    message = asked["message"]
    metadata = {name: value for name, value in message["metadata"].items() if name not in ELSEWHERE}
    return {**asked, "message": {**{n: value for n, value in message.items() if n not in ELSEWHERE}, "metadata": metadata}}
