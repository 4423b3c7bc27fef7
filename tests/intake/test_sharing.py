"""Legacy workers and this machine on one Redis: each message is run once, by one of them (docs/decisions/0035)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pushing import lengths, made, message, push
from support import row

from ourvidz.db import intake
from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace
from ourvidz.intake.drain import Drainer
from ourvidz.intake.sharing import waiting

User = Callable[..., str]


def sharing(database: Database, new_drainer: Callable[..., Drainer], *users: str) -> Drainer:
    intake.intake_limit_users(database, users)
    return new_drainer(shared=lambda: intake.intake_users(database))


def test_only_chosen_users_messages_are_taken(
    database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User
) -> None:
    chosen, other = user(), user()
    drainer = sharing(database, new_drainer, chosen)
    ours = [message(chosen), message(chosen, "video_fast")]
    theirs = [message(other), message(other, "video_fast"), b"no JSON"]
    push(upstash, theirs[0], *ours, *theirs[1:])
    while drainer.once():
        pass
    assert {*made(database)} == {one["id"] for one in ours}
    left = waiting(drainer.redis, "sdxl_queue") + waiting(drainer.redis, "wan_queue")
    assert len(left) == 3 and b"no JSON" in left, "and they lie where they lay, in their order"
    assert lengths(upstash)[1:] == (0, 0), "nothing of theirs is taken apart or buried"


def test_messages_with_references_are_left_to_the_legacy_worker(
    database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User
) -> None:
    chosen = user()
    drainer = sharing(database, new_drainer, chosen)
    push(upstash, message(chosen, metadata={"start_reference_url": "https://example.org/a.png"}))
    push(upstash, message(chosen, config={"reference_image_url": "blob:https://example.org/1"}))
    assert drainer.once() == 0 and lengths(upstash)[0] == 2


def test_ids_of_legacy_rows_are_ignored(database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User) -> None:
    chosen = user()
    drainer = sharing(database, new_drainer, chosen)
    elsewhere = "00000000-0000-4000-8000-0000000000ff"
    one = message(chosen, video_id=elsewhere, image_id=elsewhere, metadata={"project_id": elsewhere, "prompt": "a pier"})
    push(upstash, one)
    assert drainer.once() == 1 and drainer.totals == {"drained": 1}
    assert (row(database, one["id"])["video_id"], row(database, one["id"])["image_id"]) == (None, None)


def test_a_chosen_user_gets_a_profile_and_sharing_can_end(
    database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User
) -> None:
    new = "00000000-0000-4000-8000-00000000aaaa"
    drainer = sharing(database, new_drainer, new)
    push(upstash, message(new), message(user()))
    assert drainer.once() == 1
    intake.intake_limit_users(database, [])
    push(upstash, message(new))
    assert drainer.once() == 0, "nobody's"
    intake.intake_limit_users(database, None)
    assert drainer.once() == 2 and lengths(upstash) == (0, 0, 0)


def test_no_message_is_taken_by_both_workers(
    database: Database, upstash: UpstashFace, new_drainer: Callable[..., Drainer], user: User
) -> None:
    """Between our look at the queue and our taking, a legacy worker pops: whatever it got, chosen user or not, is its own."""
    chosen, other = user("premium"), user("premium")
    drainer = sharing(database, new_drainer, chosen)
    sent = [message(chosen if n % 2 else other) for n in range(12)]
    popped: list[bytes] = []
    ask = drainer.redis.pipeline

    def between(commands: Sequence[Sequence[str]]) -> list[Any]:
        answer = ask(commands)
        if "LINDEX" in commands[0][1] and commands[0][3] == "sdxl_queue" and not popped:
            popped.extend(upstash.valkey.call("RPOP", "sdxl_queue") for _ in range(4))
        return answer

    push(upstash, *sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drainer.redis, "pipeline", between)
        drainer._swept = time.monotonic()  # skip the sweep of the processing lists in this round
        drainer.once()
    while drainer.once():
        pass
    theirs = {one["id"] for one in sent[:4]}
    assert [json.loads(raw)["id"] for raw in popped] == [one["id"] for one in sent[:4]]
    assert {*made(database)} == {one["id"] for one in sent[1::2]} - theirs
    assert lengths(upstash) == (4, 0, 0)
