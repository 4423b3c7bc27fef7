"""The dead letters: messages that make no job, in Redis beside the queue they came from, each with the reason.

An entry is one line of JSON (reason, field, detail, when, and the message's SHA-256, by which it is named), then the message's own bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from ourvidz.intake.message import RefusedMessage, digest
from ourvidz.intake.upstash import Upstash

PAGE = 200


@dataclass(frozen=True)
class Letter:
    """One dead letter. `id` is the first 12 hex digits of the message's SHA-256."""

    id: str
    queue: str
    at: str
    reason: str
    field: str
    detail: str
    message_id: str | None
    bytes: int


def key(queue: str) -> str:
    return f"{queue}:dead"


def bury(redis: Upstash, queue: str, raw: bytes, refusal: RefusedMessage) -> None:
    """From the processing list to the dead letters, in one transaction of Redis: a lost answer leaves it in one of the two."""
    letter = Letter(digest(raw)[:12], queue, datetime.now(UTC).isoformat(timespec="seconds"), refusal.reason, refusal.field, refusal.detail,
                    refusal.message_id, len(raw))  # fmt: skip
    head = json.dumps(asdict(letter), ensure_ascii=True)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        # Bytes that JSON cannot carry travel alone, one command at a time: dead first, so that a kill between the two leaves both.
        redis.call("LPUSH", key(queue), last=head.encode() + b"\n" + raw)
        redis.call("LREM", f"{queue}:processing", "1", last=raw)
    else:
        redis.transaction([("LPUSH", key(queue), f"{head}\n{text}"), ("LREM", f"{queue}:processing", "1", text)])


def letters(redis: Upstash, queues: Sequence[str]) -> list[Letter]:
    """All of them, the newest first in each queue; one that was buried twice is shown once."""
    found: dict[tuple[str, str], Letter] = {}
    for queue in queues:
        for entry in _entries(redis, queue):
            letter = Letter(**json.loads(entry.partition(b"\n")[0]))
            found.setdefault((queue, letter.id), letter)
    return list(found.values())


def retry(redis: Upstash, letter: Letter) -> bool:
    """Back into its queue, behind what waits there. False when it was gone: someone else has done so, or dropped it."""
    entries = [entry for entry in _entries(redis, letter.queue) if _id(entry) == letter.id]
    if not entries:
        return False
    raw = entries[0].partition(b"\n")[2]
    # The queue first: a kill between the two leaves it in both, and twice into Postgres is the same job, or the same refusal.
    redis.call("LPUSH", letter.queue, last=raw)
    return _remove(redis, letter.queue, entries)


def drop(redis: Upstash, letter: Letter) -> bool:
    """Gone for good. False when it was gone already."""
    return _remove(redis, letter.queue, [entry for entry in _entries(redis, letter.queue) if _id(entry) == letter.id])


def drop_of(redis: Upstash, queue: str, user_id: str) -> int:
    """Those of one user, wherever in the message the id stands: what lies here may be no JSON. How many."""
    theirs = {entry for entry in _entries(redis, queue) if user_id.encode() in entry.lower()}
    return sum(_remove(redis, queue, [entry]) for entry in theirs)


def _remove(redis: Upstash, queue: str, entries: Sequence[bytes]) -> bool:
    return sum(int(redis.call("LREM", key(queue), "0", last=entry)) for entry in entries) > 0


def _entries(redis: Upstash, queue: str) -> Iterator[bytes]:
    at = 0
    while True:
        (page,) = redis.pipeline([("LRANGE", key(queue), str(at), str(at + PAGE - 1))])
        yield from page or []
        if len(page or []) < PAGE:
            return
        at += PAGE


def _id(entry: bytes) -> str:
    return str(json.loads(entry.partition(b"\n")[0])["id"])
