"""`ourvidz events tail`: each event once, in an order that overlapping transactions cannot change."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import psycopg
from cli_command import Command
from support import submit
from waiting import LIMIT

from ourvidz.db import queries
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

User = Callable[..., str]


def test_tail_shows_the_last_events(ourvidz: Command, jobs: Jobs, user: User) -> None:
    owner = user("premium")
    ids = [submit(jobs, owner) for _ in range(4)]
    assert [line[1] for line in ourvidz("events", "tail", "--limit", "3").lines] == ids[1:]
    rows = [json.loads(line) for line in ourvidz("events", "tail", "--json").out.splitlines()]
    assert [r["job_id"] for r in rows] == ids
    assert "lighthouse" not in json.dumps(rows)
    seen = ourvidz.in_terminal("events", "tail", "--job", ids[2][:10]).plain
    assert ids[2][:8] in seen
    assert "submitted" in seen


def test_a_cursor_resumes_where_it_stopped(ourvidz: Command, jobs: Jobs, user: User) -> None:
    owner = user("premium")
    ids = [submit(jobs, owner) for _ in range(3)]
    first = json.loads(ourvidz("events", "tail", "--json").out.splitlines()[0])
    rest = ourvidz("events", "tail", "--json", "--after", first["cursor"])
    assert [json.loads(line)["job_id"] for line in rest.out.splitlines()] == ids[1:]
    for wrong in ("", "12", "a:b", "1:-1", "1:2:3", "9" * 30 + ":1"):
        assert ourvidz("events", "tail", "--after", wrong).code == 2


def test_events_are_ordered_by_numeric_transaction_id(database: Database, jobs: Jobs, user: User) -> None:
    """1000 sorts after 999, unlike as text."""
    owner = user("premium")
    ids = [submit(jobs, owner)]
    digits = len(queries.last_events(database, 1)[0]["xid"])
    database.rows(f"do $$ begin while pg_current_xact_id()::text::bigint < 10 ^ {digits} loop commit; end loop; end $$")
    ids.append(submit(jobs, owner))
    assert [str(e["job_id"]) for e in queries.events_after(database, queries.START)] == ids
    assert [str(e["job_id"]) for e in queries.last_events(database, 2)] == ids


def test_follow_loses_no_event_of_a_transaction_that_commits_late(ourvidz: Command, database: Database, jobs: Jobs, user: User) -> None:
    owner = user("premium")
    process = ourvidz.start("events", "tail", "--follow", "--json")
    assert process.stdout is not None
    first = submit(jobs, owner)
    assert json.loads(process.stdout.readline())["job_id"] == first
    with psycopg.connect(database.url) as slow:
        # Lower xid and lower seq, but committed after the others.
        asked = {"id": "dddd0000-0000-4000-8000-000000000001", "user_id": owner, "job_type": "image_fast", "prompt": "late", "settings": {}}
        slow.execute("select * from ourvidz.submit_batch(%s::jsonb)", (json.dumps([asked]),))
        quick = submit(jobs, user("premium"))
        assert queries.events_after(database, queries.START)[-1]["job_id"] != quick  # held back until the older transaction ends
        slow.commit()
    seen = [json.loads(process.stdout.readline())["job_id"] for _ in range(2)]
    assert seen == [asked["id"], quick]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out, err) == (130, "", "")


def test_follow_starts_at_the_first_event_of_an_empty_database(ourvidz: Command, jobs: Jobs, user: User) -> None:
    process = ourvidz.start("events", "tail", "--follow", "--json", "--limit", "5")
    assert process.stdout is not None
    job_id = submit(jobs, user())
    assert json.loads(process.stdout.readline())["job_id"] == job_id
    process.kill()
    process.communicate()
