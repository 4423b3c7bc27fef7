"""The drainer killed between any two of its steps, and replies lost at each: exactly one job per message id, and no message lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import crash_drainer
import forked
import pytest
from pushing import counted, lengths, made, message, push
from support import Server
from waiting import LIMIT

from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace
from ourvidz.intake import dead_letters
from ourvidz.intake.drain import Drainer
from ourvidz.intake.upstash import RedisAway

User = Callable[..., str]
POINTS = ("fetched", "committed", "acknowledged", "refusal counted", "buried")
MOMENTS = {"looking": ("", "LRANGE"), "moving": ("", "EVAL"), "acknowledging": ("committed", "EVAL"), "burying": ("", "LPUSH")}
"""The drainer's point, and the first command after it that fails."""


def settle(drainer: Drainer) -> None:
    """Drain until nothing is left, through any failures."""
    for _ in range(30):
        try:
            if not drainer.once():
                return
        except RedisAway:
            continue
    raise AssertionError("it never came to rest")


def mixed(owner: str) -> tuple[list[dict[str, object]], list[dict[str, object] | bytes]]:
    good = [message(owner) for _ in range(7)]
    return good, [message(owner) | {"config": {"steps": 900}}, b"no json"]


def whole(database: Database, upstash: UpstashFace, drainer: Drainer, good: list[dict[str, object]], bad: int) -> None:
    assert {*made(database)} == {one["id"] for one in good}
    assert database.rows("select job_id from public.job_events where type = 'submitted' group by job_id having count(*) > 1") == []
    assert lengths(upstash)[:2] == (0, 0)
    assert len(dead_letters.letters(drainer.redis, ["sdxl_queue"])) == bad
    assert counted(database)["refused"] >= bad


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_drainer_loses_and_doubles_nothing(
    database: Database, server: Server, database_name: str, upstash: UpstashFace, drainer: Drainer, user: User, point: str, nth: int
) -> None:
    good, bad = mixed(user("premium"))
    push(upstash, *good[:3], bad[0], *good[3:6], bad[1], good[6], queue="sdxl_queue")
    died = forked.start(crash_drainer.drain, server.url(database_name), upstash.url, upstash.token, point, nth)
    died.join(LIMIT)
    assert died.exitcode == -signal.SIGKILL
    settle(drainer)
    whole(database, upstash, drainer, good, len(bad))


@pytest.mark.parametrize("after", [True, False], ids=["reply lost", "request lost"])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
def test_lost_redis_replies_lose_and_double_nothing(
    database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User, moment: str, times: int, after: bool
) -> None:
    good, bad = mixed(user("premium"))
    push(upstash, *good[:4], *bad, *good[4:], queue="sdxl_queue")
    point, command = MOMENTS[moment]
    left = [times]

    def at(here: str) -> None:
        if here == point and left[0]:
            left[0] -= 1
            upstash.drop(command, after=after)

    if not point:
        upstash.drop(command, times, after=after)
    drainer = new_drainer(batch=4, at=at)
    settle(drainer)
    whole(database, upstash, drainer, good, len(bad))


def test_a_lost_postgres_reply_loses_and_doubles_nothing(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    """Committed, but the reply is lost: the messages are taken again and result in the same jobs."""
    from ourvidz.db import intake
    from ourvidz.db.connection import Ambiguous

    good, _ = mixed(user("premium"))
    push(upstash, *good)
    whole_take = intake.take

    def lost(*args: object, **more: object) -> None:
        whole_take(*args, **more)  # type: ignore[arg-type]
        raise Ambiguous("the connection broke")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "take", lost)
        with pytest.raises(Ambiguous):
            drainer.once()
    assert lengths(upstash)[1] == 7
    settle(drainer)
    assert {*made(database)} == {one["id"] for one in good} and lengths(upstash) == (0, 0, 0)


def test_several_drainers_share_the_queues(
    database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User
) -> None:
    owner = user("premium")
    good = [message(owner) for _ in range(90)]
    push(upstash, *good)
    drainers = [new_drainer(batch=5) for _ in range(4)]
    threads = [threading.Thread(target=settle, args=(one,)) for one in drainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    settle(new_drainer())
    assert {*made(database)} == {one["id"] for one in good} and lengths(upstash) == (0, 0, 0)


def test_a_redis_restart_keeps_messages_in_flight(
    database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User
) -> None:
    """Messages in its lists survive the restart (Upstash writes to disk before it answers, as AOF does here)."""
    good = [message(user()) for _ in range(5)]
    push(upstash, *good)

    def stop_here(point: str) -> None:
        if point == "committed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        new_drainer(at=stop_here).once()
    upstash.valkey.restart()
    settle(new_drainer())
    assert {*made(database)} == {one["id"] for one in good} and lengths(upstash) == (0, 0, 0)
