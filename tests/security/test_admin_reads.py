"""An admin reads users' texts one job at a time, with a reason, and each read is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest
from api import Api, api_of
from support import Server, submit

from ourvidz.db import queries
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

READ = "select public.read_prompt(%s, %s) as told"


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as found:
        yield found


def test_reading_others_texts_is_always_recorded(api: Api, database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    owner, admin = user(), user()
    job_id = submit(jobs, owner, prompt="a zanzibar at dusk")
    assert api.rows("authenticated", admin, "select prompt from public.job_payloads", admin=True) == []
    assert database.rows("select * from ourvidz.text_reads") == []
    (found,) = api.rows("authenticated", admin, READ, (job_id, "report 17"), admin=True)
    assert found["told"]["prompt"] == "a zanzibar at dusk"
    (kept,) = database.rows("select actor, job_id::text, user_id::text, reason from ourvidz.text_reads")
    assert kept == {"actor": f"admin:{admin}", "job_id": job_id, "user_id": owner, "reason": "report 17"}
    assert api.rows("authenticated", owner, "select prompt from public.job_payloads") == [{"prompt": "a zanzibar at dusk"}], (
        "their own, as ever"
    )


def test_read_prompt_needs_an_admin_and_a_reason(api: Api, database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    job_id = submit(jobs, user())
    for who, reason, state in (({}, "x", "42501"), ({"admin": True}, " ", "OV009"), ({"admin": True}, "x" * 201, "OV009")):
        with pytest.raises(psycopg.Error) as refused:
            api.rows("authenticated", user(), READ, (job_id, reason), **who)
        assert refused.value.sqlstate == state
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.rows("anon", None, READ, (job_id, "x"))
    assert database.rows("select * from ourvidz.text_reads") == []


def test_reads_by_operators_are_recorded(database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    job_id = submit(jobs, user())
    assert queries.details(database, job_id, "operator:ann")["prompt"]
    assert [r["actor"] for r in database.rows("select actor from ourvidz.text_reads")] == ["operator:ann"]


def test_admin_reads_of_text_tables_are_logged_by_postgres(api: Api, database: Database, user: Callable[..., str]) -> None:
    """A read-only request cannot write a row, so the read is recorded in the server's log."""
    admin, said = user(), []
    database.rows("insert into public.images (user_id, prompt) values (%s, 'a zanzibar')", (user(),))
    api.connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    with api.request("authenticated", admin, admin=True) as cursor:
        cursor.execute("set local client_min_messages = log")
        cursor.execute("set local transaction_read_only = on")
        assert cursor.execute("select prompt from public.images").fetchall() == [{"prompt": "a zanzibar"}]
    assert [line for line in said if f"admin {admin} reads images" in line], json.dumps(said)
