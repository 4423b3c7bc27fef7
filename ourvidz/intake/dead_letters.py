"""Dead letters: messages that cannot become a job, in Redis beside the queue they came from, each with the reason.

An entry is one line of JSON (reason, field, detail, time, and an id from the message's SHA-256), then the message's own bytes. An entry
in another format, or a key that is not a list, is shown as malformed, with its size, and can be dropped like any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ourvidz.intake import lists
from ourvidz.intake.message import RefusedMessage, digest
from ourvidz.intake.upstash import Upstash

PAGE = 100
MALFORMED = "malformed"
# Identifies an entry by its length and some of its bytes, as numbers: it may be large, and not text.
_MARK = """local function mark(entry)
  return #entry .. ':' .. table.concat({string.byte(entry, 1, 160)}, ',') .. ':' .. table.concat({string.byte(entry, -32, -1)}, ',')
end
"""
_LIST = (
    _MARK
    + """local found, at, seen = {}, tonumber(ARGV[1]), 0
for i = 1, tonumber(ARGV[2]) do
  local entry = redis.call('LINDEX', KEYS[1], at)
  if not entry then return {found, -1} end
  seen, at = seen + #entry, at + 1
  local ends = string.find(entry, string.char(10), 1, true) or 0
  found[i] = {mark(entry), #entry, ends > 0 and ends <= 2000 and string.sub(entry, 1, ends - 1) or ''}
  if seen > tonumber(ARGV[3]) then break end
end
return {found, at}"""
)
# ARGV: an entry's mark; '' to drop it, else its message is pushed to KEYS[2]. An entry without a head line has no message.
_END = (
    _MARK
    + """local at, ended = 0, 0
while true do
  local entry = redis.call('LINDEX', KEYS[1], at)
  if not entry then return ended end
  if mark(entry) == ARGV[1] then
    local ends = string.find(entry, string.char(10), 1, true)
    if ARGV[2] ~= '' and ends and ended == 0 then redis.call('LPUSH', KEYS[2], string.sub(entry, ends + 1)) end
    ended = ended + redis.call('LREM', KEYS[1], 0, entry)
  else
    at = at + 1
  end
end"""
)
_OF = """local at, ended = 0, 0
while true do
  local entry = redis.call('LINDEX', KEYS[1], at)
  if not entry then return ended end
  if string.find(string.lower(entry), ARGV[1], 1, true) then
    ended = ended + redis.call('LREM', KEYS[1], 0, entry)
  else
    at = at + 1
  end
end"""
_BURY = """put_aside()
redis.call('LPUSH', KEYS[1], ARGV[1] .. string.char(10) .. ARGV[2])
return redis.call('LREM', KEYS[2], 1, ARGV[2])"""


@dataclass(frozen=True)
class Letter:
    """One dead letter. `id` is the first 12 hex digits of the message's SHA-256, if the entry has it; `marks` identify its entries."""

    id: str
    queue: str
    at: str
    reason: str
    field: str
    detail: str
    message_id: str | None
    bytes: int
    marks: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "marks"}


def key(queue: str) -> str:
    return f"{queue}:dead"


def head(queue: str, refusal: RefusedMessage, name: str | None = None) -> str:
    """The first line of an entry, unfinished: the size in bytes and a closing brace follow."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    said = {"id": name, "queue": queue, "at": now, "reason": refusal.reason, "field": refusal.field, "detail": refusal.detail,
            "message_id": refusal.message_id}  # fmt: skip
    return json.dumps(said, ensure_ascii=True)[:-1] + ', "bytes": '


def too_large(queue: str) -> str:
    """The head for a message that is too large to transfer: it was not read, so it has no id."""
    return head(queue, RefusedMessage("too_large", f"The message has more than {lists.MAX_BYTES:,} bytes."))


def bury(redis: Upstash, queue: str, raw: bytes, refusal: RefusedMessage) -> None:
    """Move a message from the processing list to the dead letters, atomically: after a lost answer it is in one of the two."""
    line = f"{head(queue, refusal, digest(raw)[:12])}{len(raw)}}}"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and lists.encoded(text) <= 2 * lists.PIECE:
        redis.pipeline([lists.script(_BURY, (key(queue), f"{queue}:processing"), line, text)])
    else:
        # Bytes that JSON cannot carry, or would inflate, are sent alone: dead letter first, so that a kill in between leaves both.
        redis.call("LPUSH", key(queue), last=line.encode() + b"\n" + raw)
        redis.call("LREM", f"{queue}:processing", "1", last=raw)


def letters(redis: Upstash, queues: Sequence[str]) -> list[Letter]:
    """All dead letters, newest first in each queue; one that was buried twice is listed once. Messages are not transferred."""
    found: dict[tuple[str, str], Letter] = {}
    kinds = lists.kinds(redis, [name for queue in queues for own in _keys(queue) for name in (own, lists.aside(own))])
    for queue in queues:
        at = 0
        while at >= 0 and kinds.get(key(queue)) == "list":
            ((entries, at),) = redis.pipeline([("EVAL", _LIST, "1", key(queue), str(at), str(PAGE), str(lists.SCAN))])
            for mark, size, line in entries:
                letter = _read(queue, mark.decode(), size, line)
                known = found.get((queue, letter.id))
                marks = tuple(dict.fromkeys((*known.marks, *letter.marks))) if known else letter.marks
                found[queue, letter.id] = Letter(**{**(known or letter).__dict__, "marks": marks})
        for own in _keys(queue):
            for name in (own, lists.aside(own)):
                if kinds.get(name, "list") != "list":
                    detail = f"The key {name} is of type {kinds[name]}, where a list should be."
                    found[queue, name] = Letter(_name(name), queue, "", MALFORMED, "", detail, None, 0, (f"key {name}",))
    return list(found.values())


def may_retry(letter: Letter) -> bool:
    """Return True if the entry contains a message."""
    return letter.reason != MALFORMED


def retry(redis: Upstash, letter: Letter) -> bool:
    """Put it back at the end of its queue. False if it was gone, or if it is malformed: then it stays."""
    if not may_retry(letter):
        return False
    ended = [int(redis.pipeline([("EVAL", _END, "2", key(letter.queue), letter.queue, mark, "" if n else "back")])[0])
             for n, mark in enumerate(letter.marks)]  # fmt: skip
    return sum(ended) > 0


def drop(redis: Upstash, letter: Letter) -> bool:
    """Delete it for good. False if it was gone already."""
    ended = 0
    for mark in letter.marks:
        if name := mark.removeprefix("key ") if mark.startswith("key ") else "":
            if lists.kinds(redis, [name]).get(name, "list") != "list":
                ended += int(redis.pipeline([("DEL", name)])[0])
        else:
            ended += int(redis.pipeline([("EVAL", _END, "2", key(letter.queue), letter.queue, mark, "")])[0])
    return ended > 0


def drop_of(redis: Upstash, queue: str, user_id: str) -> int:
    """Drop one user's dead letters, wherever the id occurs in the entry, as it may not be JSON. Returns how many."""
    if lists.kinds(redis, [key(queue)]).get(key(queue)) != "list":
        return 0
    return int(redis.pipeline([("EVAL", _OF, "1", key(queue), user_id.lower())])[0])


def _keys(queue: str) -> tuple[str, str, str]:
    return queue, f"{queue}:processing", key(queue)


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read(queue: str, mark: str, size: int, line: bytes) -> Letter:
    try:
        said = json.loads(line)
        texts = {name: said[name] for name in ("at", "reason", "field", "detail")}
        name, message_id, length = said["id"], said["message_id"], said["bytes"]
        sound = all(isinstance(text, str) and len(text) <= 500 for text in texts.values()) and type(length) is int
        sound = sound and (name is None or (isinstance(name, str) and len(name) == 12 and name.isalnum() and name.isascii()))
        if sound and (message_id is None or (isinstance(message_id, str) and len(message_id) <= 100)):
            return Letter(name or _name(mark), queue, **texts, message_id=message_id, bytes=length, marks=(mark,))
    except (ValueError, KeyError, TypeError, RecursionError):  # malformed: see below
        said = None
    return Letter(_name(mark), queue, "", MALFORMED, "", f"No dead letter of ours: {size:,} bytes.", None, size, (mark,))
