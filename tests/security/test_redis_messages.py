"""Attacks on the intake through Redis, where anyone who can push can push anything. One message of six megabytes used to stop both
queues for good, as Upstash refuses requests over 1 MB; a dead letter of unexpected shape broke `intake dead ls`. Nothing in a list may
stop the drainer or the command, and other messages are processed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace
from ourvidz.intake import dead_letters
from ourvidz.intake.drain import Drainer
from ourvidz.intake.message import LEGACY_QUEUE, QUEUES, RefusedMessage
from ourvidz.intake.upstash import RedisRefused, Upstash

User = Callable[..., str]
LARGE = b'{"id": "' + b"x" * 6 * 2**20 + b'"}'
DEEP = b"[" * 200_000 + b"]" * 200_000
ANYTHING: list[bytes] = [
    LARGE, DEEP, b"",
    b"\xff\xfe\x00", b"\x00" * 200_000, b"\x01" * 250_000, "½".encode("utf-16") * 9, b'"' * 250_000, b"1", b"1e999", b"null",
    b'{"id": NaN}', b"NaN", b'{"a":' * 40_000, json.dumps({"id": "\ud800"}).encode(), b"{}\n{}", b'{"id": 1}\nx', "\u202e\x1b[2J".encode(),
]  # fmt: skip


def message(user: str, n: int = 0, queue: str = "sdxl_queue") -> dict[str, Any]:
    kind = "sdxl_image_fast" if queue != "wan_queue" else "image_fast"
    return {"id": f"00000000-0000-4000-8000-{n:012x}", "type": kind, "prompt": f"pier {n}", "user_id": user, "config": {}, "metadata": {}}


def push(upstash: UpstashFace, *messages: dict[str, Any] | bytes, queue: str = "sdxl_queue") -> None:
    for one in messages:
        upstash.valkey.call("LPUSH", queue, one if isinstance(one, bytes) else json.dumps(one).encode())


def length(upstash: UpstashFace, key: str) -> int:
    return int(upstash.valkey.call("LLEN", key))


def jobs(db: Database) -> set[str]:
    return {str(r["id"]) for r in db.rows("select id from public.jobs")}


@pytest.fixture
def redis(upstash: UpstashFace) -> Iterator[Upstash]:
    found = Upstash(upstash.url, upstash.token, timeout=httpx.Timeout(10.0))
    yield found
    found.close()


@pytest.fixture
def drainer(database: Database, redis: Upstash) -> Drainer:
    return Drainer(database, redis, (*QUEUES, LEGACY_QUEUE), patience=5)


def drained(drainer: Drainer, most: int = 50) -> None:
    for _ in range(most):
        if not drainer.once():
            return
    raise AssertionError("it never came to an end")


def test_upstash_refuses_a_request_over_a_megabyte(redis: Upstash) -> None:
    with pytest.raises(RedisRefused, match="max request size"):
        redis.pipeline([("LPUSH", "somewhere", "x" * 1_000_000)])


def test_a_six_megabyte_message_does_not_block_others(
    database: Database, upstash: UpstashFace, redis: Upstash, drainer: Drainer, user: User
) -> None:
    mine = user("premium")
    push(upstash, message(mine, 1), LARGE, message(mine, 2))
    push(upstash, message(mine, 3, "wan_queue"), queue="wan_queue")
    drained(drainer)
    assert jobs(database) == {str(message(mine, n)["id"]) for n in (1, 2, 3)}
    assert [length(upstash, key) for key in ("sdxl_queue", "sdxl_queue:processing", "wan_queue")] == [0, 0, 0]
    (letter,) = dead_letters.letters(redis, QUEUES)
    assert (letter.reason, letter.bytes, letter.queue) == ("too_large", len(LARGE), "sdxl_queue")
    assert database.rows("select n from ourvidz.intake_counts where reason = 'too_large'") == [{"n": 1}]
    assert dead_letters.retry(redis, letter) and length(upstash, "sdxl_queue") == 1 and dead_letters.letters(redis, QUEUES) == []
    assert upstash.valkey.call("LINDEX", "sdxl_queue", 0) == LARGE
    drained(drainer)
    (again,) = dead_letters.letters(redis, QUEUES)
    assert dead_letters.drop(redis, again) and not dead_letters.drop(redis, again) and length(upstash, "sdxl_queue:dead") == 0


def test_large_messages_left_in_the_processing_list_are_handled(
    database: Database, upstash: UpstashFace, redis: Upstash, drainer: Drainer, user: User
) -> None:
    """The message that stopped it is in its processing list already."""
    mine = user()
    push(upstash, LARGE, message(mine, 1), LARGE + b" ", queue="sdxl_queue:processing")
    push(upstash, message(mine, 2))
    drained(drainer)
    assert len(jobs(database)) == 2 and length(upstash, "sdxl_queue:processing") == 0
    assert sorted(letter.bytes for letter in dead_letters.letters(redis, QUEUES)) == [len(LARGE), len(LARGE) + 1]


def test_malformed_messages_do_not_block_others(
    database: Database, upstash: UpstashFace, redis: Upstash, drainer: Drainer, user: User
) -> None:
    mine = user("premium")
    for n, bad in enumerate(ANYTHING):
        push(upstash, message(mine, n), bad)
    drained(drainer)
    assert len(jobs(database)) == len(ANYTHING) and length(upstash, "sdxl_queue:processing") == 0
    letters = dead_letters.letters(redis, QUEUES)
    assert sorted(letter.bytes for letter in letters) == sorted(map(len, ANYTHING))
    assert all([dead_letters.drop(redis, letter) for letter in letters]) and length(upstash, "sdxl_queue:dead") == 0


def test_many_large_messages_are_acknowledged_in_batches(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    """Fifty of 30 kB: more than Upstash accepts in one request or answer."""
    mine = user("premium")
    push(upstash, *(message(mine, n) | {"metadata": {"note": '"' * 15_000}} for n in range(50)))
    drained(drainer)
    assert len(jobs(database)) == 50 and length(upstash, "sdxl_queue:processing") == length(upstash, "sdxl_queue:dead") == 0


@pytest.mark.parametrize("key", ["sdxl_queue", "sdxl_queue:processing", "sdxl_queue:dead"])
@pytest.mark.parametrize("kind", ["SET", "HSET", "SADD"])
def test_a_key_of_the_wrong_type_stops_nothing(
    database: Database, upstash: UpstashFace, redis: Upstash, drainer: Drainer, user: User, key: str, kind: str
) -> None:
    mine = user()
    upstash.valkey.call(kind, key, *(("a", "b") if kind == "HSET" else ("x" * 2_000_000,)))
    push(upstash, message(mine, 1, "wan_queue"), b"no message", queue="wan_queue")
    shown = dead_letters.letters(redis, QUEUES)
    assert [(letter.reason, letter.queue) for letter in shown] == [("malformed", "sdxl_queue")] and key in shown[0].detail
    drained(drainer)
    push(upstash, message(mine, 2), b"no message")
    drained(drainer)
    assert len(jobs(database)) == 2
    letters = {(letter.queue, letter.reason): letter for letter in dead_letters.letters(redis, QUEUES)}
    assert set(letters) == {("sdxl_queue", "malformed"), ("sdxl_queue", "no_json"), ("wan_queue", "no_json")}
    malformed = letters["sdxl_queue", "malformed"]
    assert not dead_letters.retry(redis, malformed) and dead_letters.drop(redis, malformed)
    assert upstash.valkey.call("EXISTS", f"{key}:malformed") == 0


def test_malformed_dead_letters_can_be_listed_and_dropped(upstash: UpstashFace, redis: Upstash) -> None:
    dead_letters.bury(redis, "sdxl_queue", b"one of ours", RefusedMessage("no_json", "It is no JSON."))
    push(upstash, *ANYTHING, b'{"id": "aaaaaaaaaaaa", "bytes": NaN}\nx', queue="sdxl_queue:dead")
    letters = dead_letters.letters(redis, QUEUES)
    assert [letter.reason for letter in letters] == ["malformed"] * (len(ANYTHING) + 1) + ["no_json"]
    assert len({letter.id for letter in letters}) == len(letters) and all(str(letter.bytes) for letter in letters)
    assert not dead_letters.retry(redis, letters[0])
    for letter in letters:
        assert dead_letters.drop(redis, letter), letter
    assert dead_letters.letters(redis, QUEUES) == [] and length(upstash, "sdxl_queue:dead") == 0


def test_retry_returns_a_dead_letter_byte_for_byte(upstash: UpstashFace, redis: Upstash) -> None:
    for raw in (b"\xff no text", b"\x01" * 250_000, b"two\nlines", "½".encode() * 100_000):
        dead_letters.bury(redis, "wan_queue", raw, RefusedMessage("no_json", "It is no JSON."))
        (letter,) = dead_letters.letters(redis, QUEUES)
        assert dead_letters.retry(redis, letter) and upstash.valkey.call("RPOP", "wan_queue") == raw
        assert length(upstash, "wan_queue:dead") == 0


def test_erasure_finds_dead_letters_of_any_size(upstash: UpstashFace, redis: Upstash) -> None:
    mine = "0a0a0a0a-0000-4000-8000-00000000000a"
    push(upstash, LARGE + mine.upper().encode(), b"\xff" + mine.encode(), b"another's", queue="sdxl_queue:dead")
    assert dead_letters.drop_of(redis, "sdxl_queue", mine) == 2 and length(upstash, "sdxl_queue:dead") == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raws=st.lists(st.binary(max_size=300) | st.sampled_from(ANYTHING[1:]), min_size=1, max_size=8))
def test_arbitrary_bytes_become_dead_letters(database: Database, upstash: UpstashFace, redis: Upstash, raws: list[bytes]) -> None:
    upstash.valkey.call("FLUSHALL")
    push(upstash, *raws)
    drained(Drainer(database, redis, QUEUES, patience=5))
    assert length(upstash, "sdxl_queue") == length(upstash, "sdxl_queue:processing") == 0
    letters = dead_letters.letters(redis, QUEUES)
    assert sorted(letter.bytes for letter in letters) == sorted(map(len, set(raws)))
    assert all([dead_letters.drop(redis, letter) for letter in letters]) and dead_letters.letters(redis, QUEUES) == []


@pytest.mark.nightly
def test_hundreds_of_large_messages_are_drained(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    mine = user("premium")
    push(upstash, *([LARGE] * 100), *(message(mine, n) for n in range(50)), *([b"\x00" * 250_000] * 100))
    drained(drainer, most=500)  # a round takes 400 kB at most
    assert len(jobs(database)) == 50 and length(upstash, "sdxl_queue:dead") == 200


def test_a_shared_queue_keeps_messages_of_other_users(database: Database, upstash: UpstashFace, redis: Upstash, user: User) -> None:
    """Anything that is not a selected user's message stays in the list, and blocks nothing."""
    mine = user("premium")
    drainer = Drainer(database, redis, QUEUES, patience=5, shared=lambda: {mine})
    push(upstash, *ANYTHING, message(mine, 1), *ANYTHING)
    drained(drainer)
    assert len(jobs(database)) == 1 and length(upstash, "sdxl_queue") == 2 * len(ANYTHING) and length(upstash, "sdxl_queue:dead") == 0
