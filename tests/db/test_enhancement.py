"""Prompt enhancement for the prompt dialog: requested by a verified user, leased to one enhancer at a time, deleted within minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from support import Clock, Server
from waiting import LIMIT

from ourvidz.db import enhancement
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

User = Callable[..., str]


@pytest.fixture
def api(server: Server, database_name: str, database: Database, clock: Clock) -> Iterator[Api]:
    enhancement.take(database, "one")  # registers an enhancer, which then waits
    with api_of(server, database_name) as api:
        yield api


def ask(api: Api, user: str | None, prompt: str | None = "a pier", **more: str) -> str:
    named = {"prompt": prompt, **more}
    query = f"select public.ask_enhancement({', '.join(f'{name} => %({name})s' for name in named)}) as answer"
    return str(api.rows("authenticated", user, query, named)[0]["answer"]["request_id"])


def read(api: Api, user: str, request: str) -> dict[str, Any]:
    return dict(api.rows("authenticated", user, "select public.enhancement(%s) as answer", (request,))[0]["answer"])


def refused(sqlstate: str, call: Callable[[], object]) -> str:
    with pytest.raises(psycopg.Error) as error:
        call()
    assert error.value.sqlstate == sqlstate, error.value
    return str(error.value)


def rows(database: Database) -> int:
    return int(database.rows("select count(*) as n from ourvidz.enhancement_requests")[0]["n"])


def test_a_request_from_ask_to_answer(api: Api, user: User, database: Database) -> None:
    owner, other = user(), user()
    request = ask(api, owner, job_type="sdxl_image_high")
    assert read(api, owner, request)["status"] == "waiting"
    taken = enhancement.take(database, "one")
    assert taken == enhancement.Request(request, 1, "sdxl", "a pier", 20.0)
    assert read(api, owner, request)["status"] == "working"
    assert enhancement.take(database, "two") is None
    assert enhancement.answer(database, taken, "a long pier at dusk", {"seconds": 1.5, "tokens": 9})
    found = read(api, owner, request)
    assert (found["status"], found["enhanced"], found["figures"]) == ("done", "a long pier at dusk", {"seconds": 1.5, "tokens": 9})
    refused("OV018", lambda: read(api, other, request))
    assert not enhancement.answer(database, taken, "another text", {}), "what was answered stays"


@pytest.mark.parametrize(
    ("asked", "style"),
    [
        ({"job_type": "video_fast"}, "wan"), ({"job_type": "image7b_fast_enhanced"}, "wan_image"), ({"job_type": "sdxl_img2img"}, "sdxl"),
        ({"job_type": "poster", "format": "video"}, "wan"), ({"format": "image"}, "sdxl"), ({}, "sdxl"),
    ],
)  # fmt: skip
def test_the_style_follows_the_job_type(api: Api, user: User, database: Database, asked: dict[str, str], style: str) -> None:
    ask(api, user(), **asked)
    taken = enhancement.take(database, "one")
    assert taken is not None and taken.style == style


def test_a_dead_enhancers_request_is_taken_over_and_its_late_answer_ignored(api: Api, user: User, database: Database, clock: Clock) -> None:
    owner = user()
    request = ask(api, owner)
    first = enhancement.take(database, "one")
    assert first is not None
    clock.advance(5)
    assert enhancement.hold(database, "one", first), "renewed within the lease"
    clock.advance(5)
    assert enhancement.take(database, "two") is None
    clock.advance(2)
    second = enhancement.take(database, "two")
    assert second is not None and (second.id, second.claim_no) == (request, 2)
    assert not enhancement.hold(database, "one", first)
    assert not enhancement.answer(database, first, "late", {}) and not enhancement.fail(database, first, "late")
    assert enhancement.answer(database, second, "in time", {})
    assert read(api, owner, request)["enhanced"] == "in time"


def test_a_released_request_is_retried_at_once_up_to_three_times(api: Api, user: User, database: Database) -> None:
    ask(api, user())
    for claim_no in (1, 2, 3):
        taken = enhancement.take(database, "one")
        assert taken is not None and taken.claim_no == claim_no
        assert enhancement.give_back(database, taken)
    assert enhancement.take(database, "one") is None


def test_abandoned_requests_are_not_taken_and_are_deleted(api: Api, user: User, database: Database, clock: Clock, jobs: Jobs) -> None:
    owner = user()
    request = ask(api, owner)
    clock.advance(20)
    assert enhancement.take(database, "one") is None and read(api, owner, request)["status"] == "waiting"
    clock.advance(281)
    assert rows(database) == 1
    jobs.reap()
    assert rows(database) == 0
    refused("OV018", lambda: read(api, owner, request))


def test_a_request_is_refused_at_once_if_no_enhancer_is_running(api: Api, user: User, database: Database, clock: Clock) -> None:
    owner = user()
    ask(api, owner)
    clock.advance(21)
    assert "No enhancer is running" in refused("OV030", lambda: ask(api, owner))
    assert rows(database) == 1
    enhancement.take(database, "two")
    ask(api, owner)


def test_invalid_or_unauthorised_requests_are_refused(api: Api, user: User, database: Database) -> None:
    refused("OV010", lambda: ask(api, user(verified=False)))
    refused("OV017", lambda: ask(api, None))
    for prompt in (None, "  ", "x" * 4001):
        refused("OV009", lambda prompt=prompt: ask(api, user(), prompt))  # type: ignore[misc]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.rows("anon", None, "select public.ask_enhancement('a pier')")
    assert rows(database) == 0


def test_a_user_may_have_three_requests_at_a_time_and_twenty_a_minute(api: Api, user: User, database: Database, clock: Clock) -> None:
    owner = user()
    for _ in range(3):
        ask(api, owner)
    refused("OV016", lambda: ask(api, owner))
    ask(api, user())  # limits are per user
    while (taken := enhancement.take(database, "one")) is not None:
        enhancement.answer(database, taken, "a long pier", {})
    for _ in range(17):
        ask(api, owner)
        taken = enhancement.take(database, "one")
        assert taken is not None and enhancement.answer(database, taken, "a long pier", {})
    assert "try again in 60 s" in refused("OV016", lambda: ask(api, owner))
    clock.advance(60)
    enhancement.take(database, "one")
    ask(api, owner)


def test_only_a_waiting_enhancer_is_woken(api: Api, user: User, server: Server, database: Database, database_name: str) -> None:
    with psycopg.connect(server.url(database_name), autocommit=True) as listening:
        listening.execute("listen ourvidz")
        ask(api, user())
        assert [note.payload for note in listening.notifies(timeout=LIMIT, stop_after=1)] == [enhancement.CHANNEL]
        assert enhancement.take(database, "one") is not None  # and so is busy
        ask(api, user())
        assert list(listening.notifies(timeout=0.2)) == []


def test_erasure_deletes_enhancement_requests(api: Api, user: User, database: Database) -> None:
    owner = user()
    ask(api, owner)
    database.rows("select ourvidz.erase_begin(%s, null, 'test')", (owner,))
    (counts,) = database.rows("select ourvidz.erase_user_data(%s) as counts", (owner,))
    assert counts["counts"]["enhancement_requests"] == 1 and rows(database) == 0
    refused("OV010", lambda: ask(api, owner))
