"""Read and move Redis lists in bounded pieces. A message is measured inside Redis before it is transferred, as Upstash limits requests and
responses to 1 MB.

Scripts are plain Lua over list commands; Upstash counts each as one command and waits for its disk once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ourvidz.intake.upstash import Upstash

MAX_BYTES = 256 * 1024
"""Limit of one message. The largest legitimate one, 4,000 and 2,000 characters of four bytes with a page of metadata, has a tenth of it."""
PIECE = 400_000  # bytes of messages in one request or response; base64 and JSON add half as much again
SCAN = 64 * 2**20  # bytes that one script scans: a list of large messages takes several requests

# Every list command fails on a key of another type, so such a key is renamed; `ourvidz intake dead ls` shows it. The second half of KEYS
# are the new names of the first half.
_ASIDE = """local function kind_of(key)
  local kind = redis.call('TYPE', key)
  return type(kind) == 'table' and kind['ok'] or kind
end
local function put_aside()
  for n = 1, #KEYS / 2 do
    local kind = kind_of(KEYS[n])
    if kind ~= 'list' and kind ~= 'none' and redis.call('RENAMENX', KEYS[n], KEYS[n + #KEYS / 2]) == 0 then redis.call('DEL', KEYS[n]) end
  end
end
"""
# KEYS: from, to, dead, of each queue. ARGV: at most so many messages, bytes of one, bytes in all, bytes scanned; then each queue's head of
# a dead letter.
_MOVE = """put_aside()
local found, all, seen, filled = {}, 0, 0, 0
for q = 1, #KEYS / 6 do
  if redis.call('EXISTS', KEYS[3 * q - 2]) == 1 then filled = filled + 1 end
end
for q = 1, #KEYS / 6 do
  local from, to, dead, moved, buried, bytes = KEYS[3 * q - 2], KEYS[3 * q - 1], KEYS[3 * q], {}, {}, 0
  for i = 1, tonumber(ARGV[1]) do
    local message = redis.call('LINDEX', from, -1)
    if not message or seen > tonumber(ARGV[4]) then break end
    seen = seen + #message
    if #message > tonumber(ARGV[2]) then
      redis.call('LPUSH', dead, ARGV[4 + q] .. #message .. '}' .. string.char(10) .. message)
      redis.call('RPOP', from)
      buried[#buried + 1] = #message
    else
      bytes = bytes + #message
      if (bytes > tonumber(ARGV[3]) / filled and #moved > 0) or all + #message > tonumber(ARGV[3]) then break end
      all = all + #message
      redis.call('LMOVE', from, to, 'RIGHT', 'LEFT')
      moved[#moved + 1] = message
    end
  end
  found[q] = {moved, buried}
end
return found"""
# KEYS: the list, its dead letters. ARGV: at most so many messages, bytes of one, bytes in all; the head of a dead letter; bytes scanned;
# how many messages to skip at the end; 1 to bury oversized ones.
_LOOK = """if ARGV[7] == '1' then put_aside() end
local found, buried, bytes, seen, at = {}, {}, 0, 0, tonumber(ARGV[6])
if kind_of(KEYS[1]) ~= 'list' then return {found, buried, -1} end
for i = 1, tonumber(ARGV[1]) do
  local message = redis.call('LINDEX', KEYS[1], -1 - at)
  if not message then return {found, buried, -1} end
  seen = seen + #message
  if #message > tonumber(ARGV[2]) then
    if ARGV[7] == '1' then
      redis.call('LPUSH', KEYS[2], ARGV[4] .. #message .. '}' .. string.char(10) .. message)
      redis.call('LREM', KEYS[1], -1, message)
      at = at - 1
    end
    buried[#buried + 1] = #message
  else
    bytes = bytes + #message
    if bytes > tonumber(ARGV[3]) and #found > 0 then return {found, buried, at} end
    found[#found + 1] = message
  end
  at = at + 1
  if seen > tonumber(ARGV[5]) then break end
end
return {found, buried, at}"""
# Search from the end, where the oldest are: ours are found at once.
_REMOVE = """put_aside()
for i = 1, #ARGV do redis.call('LREM', KEYS[1], -1, ARGV[i]) end
return #ARGV"""
# Skips messages that another client has popped since we looked. KEYS: from, to. ARGV: push command, messages.
_TAKE = """put_aside()
local taken = {}
for i = 2, #ARGV do
  local there = redis.call('LREM', KEYS[1], -1, ARGV[i])
  if there == 1 then redis.call(ARGV[1], KEYS[2], ARGV[i]) end
  taken[i - 1] = there
end
return taken"""


@dataclass(frozen=True)
class Found:
    """`messages`, oldest first, and the sizes of those that were too large to transfer."""

    messages: list[bytes]
    too_large: list[int]


def aside(key: str) -> str:
    """The new name of a key that should be a list but is not."""
    return f"{key}:malformed"


def script(body: str, keys: Sequence[str], *args: str) -> tuple[str, ...]:
    """An EVAL command whose script may rename keys of the wrong type (`put_aside`)."""
    return ("EVAL", _ASIDE + body, str(2 * len(keys)), *keys, *map(aside, keys), *args)


def any_there(redis: Upstash, keys: Sequence[str]) -> bool:
    """Return True if any of these keys exists, in one command."""
    return int(redis.pipeline([("EXISTS", *keys)])[0]) > 0


def move(redis: Upstash, keys: Sequence[tuple[str, str, str]], limit: int, heads: Sequence[str]) -> list[Found]:
    """For each (from, to, dead), move up to `limit` messages from the end of one list to the front of another, all in one command; PIECE
    bytes in all, shared between the lists that have any. Messages over MAX_BYTES go to the dead letters without being transferred, after
    their head (a JSON object without the size and brace that end it)."""
    given = (str(limit), str(MAX_BYTES), str(PIECE), str(SCAN))
    (answers,) = redis.pipeline([script(_MOVE, [key for three in keys for key in three], *given, *heads)])
    return [Found(list(moved), list(buried)) for moved, buried in answers]


def look(redis: Upstash, key: str, limit: int, *, bury: tuple[str, str] | None = None) -> Iterator[Found]:
    """Read up to `limit` messages from the end of a list, in pieces. `bury`: (dead, head), for oversized messages, as in `move`; without
    it they are skipped. A key that is not a list counts as empty."""
    dead, head = bury or ("", "")
    at, left = 0, limit
    while left > 0 and at >= 0:
        given = (str(min(left, 500)), str(MAX_BYTES), str(PIECE), head, str(SCAN), str(at), "1" if bury else "0")
        ((messages, sizes, at),) = redis.pipeline([script(_LOOK, (key, dead or key), *given)])
        left -= len(messages) + len(sizes)
        yield Found(list(messages), list(sizes))


def remove(redis: Upstash, key: str, messages: Sequence[bytes]) -> None:
    """Remove each message once, from the end. They must be UTF-8."""
    for piece in pieces(messages):
        redis.pipeline([script(_REMOVE, (key,), *piece)])


def take(redis: Upstash, source: str, target: str, messages: Sequence[bytes], how: str = "LPUSH") -> list[bytes]:
    """Move the messages that are still in `source`; returns them. They must be UTF-8."""
    taken: list[bytes] = []
    for piece in pieces(messages):
        (there,) = redis.pipeline([script(_TAKE, (source, target), how, *piece)])
        taken += [message.encode() for message, n in zip(piece, there, strict=True) if n == 1]
    return taken


def pieces(messages: Iterable[bytes]) -> Iterator[list[str]]:
    """Group messages, as text, so that each group fits into one request; a JSON message of MAX_BYTES always fits."""
    piece: list[str] = []
    size = 0
    for message in messages:
        text = message.decode()
        length = encoded(text)
        if piece and size + length > PIECE:
            yield piece
            piece, size = [], 0
        piece.append(text)
        size += length
    if piece:
        yield piece


def encoded(text: str) -> int:
    """Size in bytes of a text in a JSON request."""
    return len(json.dumps(text, ensure_ascii=False).encode())


def kinds(redis: Upstash, keys: Sequence[str]) -> dict[str, Any]:
    """The Redis type of each key that exists."""
    answers = redis.pipeline([("TYPE", key) for key in keys])
    named = {key: answer.decode() if isinstance(answer, bytes) else str(answer) for key, answer in zip(keys, answers, strict=True)}
    return {key: kind for key, kind in named.items() if kind != "none"}
