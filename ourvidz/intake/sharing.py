"""Two systems on one Redis (docs/decisions/0035): of the messages in a queue, those of chosen users are taken and all others are left to
the older system's workers. What is taken is removed by one script, so no message is ever in two hands.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ourvidz.intake import lists
from ourvidz.intake.upstash import Upstash

NEAR = 1000  # messages looked at from the end where the oldest lie, each time
ELSEWHERE = ("project_id", "video_id", "image_id", "character_id")
"""Rows of the older system's database, which this one does not have. What is made is linked by the older callback, over there."""
_REFERENCES = ("image", "first_frame", "last_frame", "reference_image_url", "reference_url", "start_reference_url", "end_reference_url")


def waiting(redis: Upstash, queue: str) -> list[bytes]:
    """All messages of a queue, the oldest first, without taking any. Those too large to be one of ours are left out."""
    return [raw for found in lists.look(redis, queue, sys.maxsize) for raw in found.messages]


def fetch(
    redis: Upstash, queues: Sequence[str], processing: Mapping[str, str], users: Collection[str], limit: int
) -> dict[str, list[bytes]]:
    """Up to `limit` messages of these users from each queue, moved to its processing list; the oldest first."""
    taken: dict[str, list[bytes]] = {}
    for queue in queues:
        near = (raw for found in lists.look(redis, queue, NEAR) for raw in found.messages)
        wanted = list(itertools.islice((raw for raw in near if takes(raw, users)), limit))
        if wanted:
            taken[queue] = lists.take(redis, queue, processing[queue], wanted)
    return taken


def takes(raw: bytes, users: Collection[str]) -> bool:
    """Whether this machine makes it: a chosen user's, and without a reference, whose consent only a user of ours could have attested."""
    try:
        message = json.loads(raw.decode())
        whose = str(message["user_id"]).lower()
        told = {**(message.get("config") or {}), **(message.get("metadata") or {})}
    except (ValueError, KeyError, TypeError, RecursionError):
        return False  # it is for the older worker to make something of it, as before
    return whose in users and not any(told.get(name) for name in _REFERENCES)


def alone(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A message, as the database takes it, without the older database's rows."""
    message = asked["message"]
    metadata = {name: value for name, value in message["metadata"].items() if name not in ELSEWHERE}
    return {**asked, "message": {**{n: value for n, value in message.items() if n not in ELSEWHERE}, "metadata": metadata}}
