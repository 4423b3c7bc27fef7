"""Limits of Upstash's plans: commands, requests per second, bytes per request. The intake waits, reports it, and goes on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from pushing import lengths, made, message, push

from ourvidz.db.connection import Database
from ourvidz.dev.upstash import DAY_SPENT, MONTH_SPENT, Refusal, UpstashFace
from ourvidz.intake import drain as draining
from ourvidz.intake import lists
from ourvidz.intake.drain import Drainer, drain
from ourvidz.intake.upstash import QuotaSpent, RedisAway, RedisRefused, Upstash
from ourvidz.outbound.retry_after import retry_after
from ourvidz.waiting_reports import Troubles

User = Callable[..., str]

SPENT = [
    Refusal(400, MONTH_SPENT),
    Refusal(400, MONTH_SPENT, each=True),
    Refusal(429, DAY_SPENT),
    Refusal(429, "ERR max bandwidth limit exceeded. Limit: 10737418240 bytes"),
    Refusal(400, "ERR DB capacity quota exceeded. Limit: 268435456, Usage: 268435460"),
]
BUSY = [
    Refusal(429, "Too Many Requests", retry_after="7"),
    Refusal(429, "ERR max commands per second exceeded", retry_after="7", each=False),
    Refusal(400, "ERR max concurrent connections exceeded"),
    Refusal(503, "", retry_after="7"),
    Refusal(400, "ERR something that nobody has written down yet", each=True),
]


def rounds(n: int) -> Callable[[], bool]:
    left = iter(range(n))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("refusal", SPENT + BUSY, ids=lambda r: f"{r.status} {r.error[:30]}{' each' if r.each else ''}")
def test_it_waits_for_the_limit_and_goes_on(
    database: Database, upstash: UpstashFace, drainer: Drainer, user: User, refusal: Refusal, tmp_path: Path
) -> None:
    one, waits, troubles = message(user()), list[float](), Troubles(tmp_path)
    push(upstash, one)
    upstash.answer(refusal, times=8)
    drain(drainer, rounds(8), wait=waits.append, troubles=troubles)
    assert made(database) == [] and len(waits) == 8
    assert waits[-1] > 4 * waits[0] or waits[0] >= 7  # backs off
    assert all(wait >= 7 for wait in waits if refusal.retry_after)  # never sooner than Retry-After
    (trouble,) = troubles.now()
    assert trouble.part == "intake" and ("plan" in trouble.said or "full" in trouble.said) == (refusal in SPENT)
    drain(drainer, rounds(3), wait=waits.append, troubles=troubles)
    assert made(database) == [one["id"]] and lengths(upstash) == (0, 0, 0) and troubles.now() == []


@pytest.mark.parametrize(("error", "longest"), [(RedisAway("no answer"), draining.AWAY_WAIT), (QuotaSpent("spent"), draining.QUOTA_WAIT)])
def test_backoff_stays_below_its_maximum(error: Exception, longest: float) -> None:
    class Never(Drainer):
        def once(self) -> int:
            raise error

    waits: list[float] = []
    drain(Never(None, None, ()), rounds(1500), wait=waits.append)  # type: ignore[arg-type]
    assert max(waits) <= longest and min(waits[-100:]) >= 0.7 * longest


def test_an_idle_month_leaves_a_sixth_of_the_free_plan(upstash: UpstashFace, drainer: Drainer) -> None:
    waits: list[float] = []
    leaving = lambda: sum(waits) > 3600  # noqa: E731
    drain(drainer, leaving, wait=waits.append)
    idle_after = next(n for n, waited in enumerate(itertools.accumulate(waits)) if waited > draining.IDLE_AFTER + draining.IDLE_WAIT)
    pace = (len(upstash.seen) - idle_after) / (sum(waits) - sum(waits[:idle_after]))
    assert pace * 86_400 * 31 < 500_000 * 5 / 6
    assert max(waits) <= draining.IDLE_WAIT and max(waits[: idle_after // 2]) <= draining.CALM_WAIT


@pytest.mark.parametrize("filling", ["x", '"', "\U0001f98a"])
@pytest.mark.parametrize("shared", [False, True])
def test_many_large_messages_are_taken_in_pieces(
    database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User, filling: str, shared: bool
) -> None:
    """Upstash limits requests and responses to 1 MB: messages are fetched, acknowledged and taken in smaller pieces."""
    owner = user("premium")
    note = filling * (25_000 // len(json.dumps(filling)[1:-1]))
    push(upstash, *(message(owner, metadata={"note": note}) for _ in range(45)))
    drainer = new_drainer(shared=lambda: {owner}) if shared else new_drainer()
    passes = 0
    while drainer.once():
        passes += 1
        assert passes < 20
    assert len(made(database)) == 45 and lengths(upstash) == (0, 0, 0)


def test_the_largest_messages_of_all_queues_are_taken(database: Database, upstash: UpstashFace, drainer: Drainer) -> None:
    """Three messages of 256 KiB exceed 1 MB as base64. Each queue gets its turn."""
    for queue in drainer.queues:
        push(upstash, *([b"x" * lists.MAX_BYTES] * 3), queue=queue)
    for _ in range(20):
        drainer.once()
    assert [lengths(upstash, queue) for queue in drainer.queues] == [(0, 0, 3)] * 3


@pytest.mark.parametrize(
    ("refusal", "named"),
    [(Refusal(401, "WRONGPASS invalid or missing auth token"), "UPSTASH_REDIS_REST_TOKEN"),
     (Refusal(400, "NOPERM this user has no permissions to run the 'eval' command", each=True), "read-only"),
     (Refusal(403, "Unauthorized: Invalid token"), "UPSTASH_REDIS_REST_TOKEN"),
     (Refusal(413, "ERR max request size exceeded. Limit: 1048576 bytes, Actual: 1180000 bytes"), "larger than the plan allows")],
)  # fmt: skip
def test_permanent_errors_are_reported(upstash: UpstashFace, refusal: Refusal, named: str) -> None:
    upstash.answer(refusal)
    with pytest.raises(RedisRefused, match=named):
        Upstash(upstash.url, upstash.token).pipeline([("LLEN", "sdxl_queue")])


def test_retry_after_in_both_its_forms() -> None:
    now = datetime.now(UTC)
    assert (retry_after("7", 60), retry_after(" 120 ", 60), retry_after(None, 60), retry_after("", 60)) == (7, 60, 0, 0)
    assert 25 < retry_after(format_datetime(now + timedelta(seconds=30), usegmt=True), 60) <= 30
    assert retry_after(format_datetime(now - timedelta(seconds=30), usegmt=True), 60) == 0
    assert [retry_after(text, 60) for text in ("soon", "-5", "1.5", "²", "Wed, 99 Foo", "9" * 400)] == [0, 0, 0, 0, 0, 60]


def test_a_trouble_is_shown_while_its_service_runs(tmp_path: Path) -> None:
    troubles = Troubles(tmp_path)
    troubles.say("intake", "Upstash: the plan's commands are used up", 30)
    (first,) = troubles.now()
    troubles.say("intake", "still", 30)
    (second,) = troubles.now()
    assert (second.said, second.since) == ("still", first.since)
    troubles.say("intake", "and then it was killed", -100)
    assert troubles.now() == []
    (tmp_path / "troubles" / "deliverer.json").write_text('{"part": 1}')
    assert troubles.now() == []
    troubles.over("intake")
    Troubles(None).say("intake", "nowhere", 1)
    (tmp_path / "file").write_text("")
    Troubles(tmp_path / "file").say("intake", "a folder that cannot be made", 1)
