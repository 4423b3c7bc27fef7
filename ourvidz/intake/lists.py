"""Lists of Redis by bounded pieces: a message is measured inside Redis, before it travels. Upstash refuses requests over 1 MB, so nothing
asks for more, or sends more, than that.

Scripts are plain Lua over list commands; Upstash counts each as one command and answers after its disk once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ourvidz.intake.upstash import Upstash

MAX_BYTES = 256 * 1024
"""Of one message. The largest honest one, 4,000 and 2,000 characters of four bytes with a page of metadata, has a tenth of it."""
PIECE = 400_000  # bytes that one request carries or asks for: base64 and JSON make half as much again of them
SCAN = 64 * 2**20  # bytes that one script looks at: a list of large messages takes several requests

# A key of another type than list would stop every command on it: it is put aside, where `ourvidz intake dead ls` shows it. The second
# half of KEYS are where those of the first half go.
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
# KEYS: from, to, dead, of each queue. ARGV: how many, bytes of one, bytes in all, bytes looked at; then each queue's head of a dead letter.
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
# KEYS: the list, the dead ones. ARGV as above, then how many at the end to pass over, and 1 to bury what is too large.
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
# From the end, where the oldest lie: ours are found at once.
_REMOVE = """put_aside()
for i = 1, #ARGV do redis.call('LREM', KEYS[1], -1, ARGV[i]) end
return #ARGV"""
# A message that somebody else popped since we looked is not there any more, and is left out. KEYS: from, to. ARGV: how, messages.
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
    """`messages`, the oldest first, and the sizes of those that were too large to travel."""

    messages: list[bytes]
    too_large: list[int]


def aside(key: str) -> str:
    """Where a key goes that should be a list and is none."""
    return f"{key}:malformed"


def script(body: str, keys: Sequence[str], *args: str) -> tuple[str, ...]:
    """One EVAL, which may put its keys aside."""
    return ("EVAL", _ASIDE + body, str(2 * len(keys)), *keys, *map(aside, keys), *args)


def any_there(redis: Upstash, keys: Sequence[str]) -> bool:
    """Whether any of these keys exists: one command, whatever they hold."""
    return int(redis.pipeline([("EXISTS", *keys)])[0]) > 0


def move(redis: Upstash, keys: Sequence[tuple[str, str, str]], limit: int, heads: Sequence[str]) -> list[Found]:
    """For each (from, to, dead): up to `limit` messages from the end of one list to the front of another, in one command; PIECE bytes of
    them in all, shared between the lists that have any. What is larger than MAX_BYTES goes to the dead ones without travelling, behind its
    head (a JSON object but for the size and the brace that end it)."""
    given = (str(limit), str(MAX_BYTES), str(PIECE), str(SCAN))
    (answers,) = redis.pipeline([script(_MOVE, [key for three in keys for key in three], *given, *heads)])
    return [Found(list(moved), list(buried)) for moved, buried in answers]


def look(redis: Upstash, key: str, limit: int, *, bury: tuple[str, str] | None = None) -> Iterator[Found]:
    """What lies in a list, from its end, by pieces, up to `limit` messages. `bury`: (dead, head), for what is too large, as in `move`;
    otherwise it is passed over. A key that is no list has nothing."""
    dead, head = bury or ("", "")
    at, left = 0, limit
    while left > 0 and at >= 0:
        given = (str(min(left, 500)), str(MAX_BYTES), str(PIECE), head, str(SCAN), str(at), "1" if bury else "0")
        ((messages, sizes, at),) = redis.pipeline([script(_LOOK, (key, dead or key), *given)])
        left -= len(messages) + len(sizes)
        yield Found(list(messages), list(sizes))


def remove(redis: Upstash, key: str, messages: Sequence[bytes]) -> None:
    """Each once, from the end. They are UTF-8."""
    for piece in pieces(messages):
        redis.pipeline([script(_REMOVE, (key,), *piece)])


def take(redis: Upstash, source: str, target: str, messages: Sequence[bytes], how: str = "LPUSH") -> list[bytes]:
    """Those that were still there, moved. They are UTF-8."""
    taken: list[bytes] = []
    for piece in pieces(messages):
        (there,) = redis.pipeline([script(_TAKE, (source, target), how, *piece)])
        taken += [message.encode() for message, n in zip(piece, there, strict=True) if n == 1]
    return taken


def pieces(messages: Iterable[bytes]) -> Iterator[list[str]]:
    """As text, so many at a time as one request may carry; a message of MAX_BYTES that is JSON fits into one."""
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
    """Bytes of a text in a request."""
    return len(json.dumps(text, ensure_ascii=False).encode())


def kinds(redis: Upstash, keys: Sequence[str]) -> dict[str, Any]:
    """The type of each key that is there."""
    answers = redis.pipeline([("TYPE", key) for key in keys])
    named = {key: answer.decode() if isinstance(answer, bytes) else str(answer) for key, answer in zip(keys, answers, strict=True)}
    return {key: kind for key, kind in named.items() if kind != "none"}
