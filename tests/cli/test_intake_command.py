"""`ourvidz intake`: a run that ends, its counts, and dead letters handled by an operator."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from cli_command import Command

from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace

User = Callable[..., str]


@pytest.fixture
def configured(ourvidz: Command, upstash: UpstashFace) -> Command:
    ourvidz.env |= {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    return ourvidz


def send(upstash: UpstashFace, user: str, **more: object) -> str:
    one = {"id": str(uuid.uuid4()), "type": "sdxl_image_fast", "prompt": "a pier", "config": {}, "user_id": user, **more}
    upstash.valkey.call("LPUSH", "sdxl_queue", json.dumps(one).encode())
    return str(one["id"])


def test_a_single_run_drains_reports_and_exits(configured: Command, upstash: UpstashFace, database: Database, user: User) -> None:
    first, bad = send(upstash, user()), send(upstash, user(), config={"steps": 0})
    done = configured("intake", "run", "--once", "--json")
    assert (done.code, done.json) == (0, {"drained": 1, "refused": 1})
    assert [str(r["id"]) for r in database.rows("select id from public.jobs")] == [first]
    figures = configured("intake", "stats", "--json").json
    assert {(r["outcome"], r["reason"]): r["n"] for r in figures} == {("drained", ""): 1, ("refused", "OV009"): 1}
    (letter,) = configured("intake", "dead", "ls", "--json").json
    assert (letter["message_id"], letter["field"], letter["queue"]) == (bad, "steps", "sdxl_queue")
    assert "steps must be a whole number" in configured.in_terminal("intake", "dead", "ls").plain


def test_dead_letters_are_listed_retried_and_dropped(configured: Command, upstash: UpstashFace, database: Database, user: User) -> None:
    owner = user(verified=False)
    ids = [send(upstash, owner) for _ in range(3)]
    configured("intake", "run", "--once")
    letters = configured("intake", "dead", "ls", "--json").json
    assert {letter["message_id"] for letter in letters} == set(ids)
    assert configured("intake", "dead", "drop").code == 2  # neither ids nor --all
    assert configured("intake", "dead", "retry", "--all").code == 2  # not interactive, and no --yes
    assert configured("intake", "dead", "drop", "--all", "--dry-run", "--json").json["done"] == 0
    assert configured("intake", "dead", "drop", letters[0]["id"], "--json").json == {"letters": [letters[0]["id"]], "done": 1}
    gone = configured("intake", "dead", "drop", letters[0]["id"])
    assert gone.code == 1 and "intake dead ls" in gone.err
    database.rows("update public.profiles set age_verified = true where id = %s", (owner,))
    assert configured("intake", "dead", "retry", "--reason", "OV010", "--yes", "--json").json["done"] == 2
    assert configured("intake", "run", "--once", "--json").json == {"drained": 2}


def test_a_dry_run_of_retry_matches_the_real_run(configured: Command, upstash: UpstashFace, user: User) -> None:
    """Letters without a readable message stay, and can only be dropped."""
    send(upstash, user(verified=False))
    configured("intake", "run", "--once")
    upstash.valkey.call("LPUSH", "sdxl_queue:dead", b"not one of ours")
    dry = configured("intake", "dead", "retry", "--all", "--dry-run", "--json")
    assert len(dry.json["letters"]) == 1 and "can only be dropped" in dry.err
    assert len(configured("intake", "dead", "drop", "--all", "--dry-run", "--json").json["letters"]) == 2
    assert configured("intake", "dead", "retry", "--all", "--yes", "--json").json["done"] == 1


def test_without_upstash_it_says_what_to_set(ourvidz: Command) -> None:
    answer = ourvidz("intake", "run")
    assert answer.code == 2 and "UPSTASH_REDIS_REST_URL" in answer.err


@pytest.mark.parametrize("mark", ["\n", " ", "\r\n"])
def test_trailing_whitespace_in_credentials_is_ignored(configured: Command, upstash: UpstashFace, mark: str) -> None:
    pasted = {name: configured.env[name] + mark for name in ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN")}
    assert configured("intake", "dead", "ls", "--json", **pasted).json == []


def test_a_token_in_quotes_is_refused_by_name(configured: Command, upstash: UpstashFace) -> None:
    answer = configured("intake", "dead", "ls", UPSTASH_REDIS_REST_TOKEN=f'"{upstash.token}"')
    assert answer.code == 1 and "UPSTASH_REDIS_REST_TOKEN: It is empty, stands in quotes" in answer.err and upstash.token not in answer.err


def test_a_token_set_as_the_url_is_not_printed(ourvidz: Command) -> None:
    answer = ourvidz("intake", "dead", "ls", UPSTASH_REDIS_REST_URL="AX3s-the-token", UPSTASH_REDIS_REST_TOKEN="x")
    assert answer.code == 1 and "UPSTASH_REDIS_REST_URL: It begins with https://" in answer.err
    assert "AX3s" not in answer.err + answer.out
