"""Session and database settings changed by a DBA or a client: stored data and answers are the same under each.

A front end's session (PostgREST, psql) brings its own settings to our functions and triggers: they run the same sequence of jobs under each
setting, in a transaction that is rolled back. Our own connections pin their settings, directly and through a transaction pooler.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stack_fixtures import Pooler
from support import OWNER, Clock, Permissive, Server, as_event, claim, executor, finish, new_user, submit

from ourvidz.audit import audit, publish_heads, rebuild
from ourvidz.db import queries
from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate
from ourvidz.db.session import UnsuitableServer
from ourvidz.dev import pgbouncer
from ourvidz.lifecycle import Jobs
from state.events import event_hash

HOSTILE = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "backslash_quote": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "search_path": "",
    "statement_timeout": "60s",
    "lock_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "on",
    "jit_above_cost": "0",
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_nestloop": "off",
    "xmloption": "document",
    "client_min_messages": "error",
    "check_function_bodies": "off",
    "quote_all_identifiers": "on",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "synchronous_commit": "off",
    "client_encoding": "LATIN1",
    "from_collapse_limit": "1",
    "work_mem": "64kB",
    "constraint_exclusion": "on",
    "default_text_search_config": "simple",
    "lc_monetary": "C",
    "temp_tablespaces": "",
    "default_toast_compression": "pglz",
    "max_parallel_workers_per_gather": "0",
}
"""Each value is as far from Postgres's default as a user can set it."""

pytestmark = pytest.mark.new_database
USER = str(uuid.UUID(int=7))
CLAIMS = json.dumps({"role": "authenticated", "aud": "authenticated", "sub": USER})
METADATA = json.dumps({"prompt": "a lighthouse at dusk", "seed": 7, "note": "3.14159265358979 \\d+ é"})


@pytest.fixture(scope="module")
def prepared(server: Server, template: str) -> Iterator[str]:
    """A database with a stopped clock, and one user with a project and a video; yields its name."""
    name = server.create(template)
    database = Database(server.url(name))
    Clock(database)
    new_user(database, "premium")
    database.rows(
        "insert into public.profiles (id, age_verified, subscription_status, token_balance) values (%s, true, 'pro', 1000)", (USER,)
    )
    # A share with all float digits, as results from many submits.
    database.rows("insert into ourvidz.shares values (%s, 'sdxl', 0.1::float8 + 0.2 + pi()), (%s, 'wan', pi() / 7)", (USER, USER))
    database.rows("select ourvidz.receiver_set('hook', 'https://example.com/hook', array['completed', 'failed', 'processing'])")
    database.close()
    yield name
    server.drop(name)


class Life:
    """The actions of front ends, the intake and an executor, on one session."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.answers: list[Any] = []

    def ask(self, sql: str, *params: Any) -> str:
        found = self.connection.execute(sql, params).fetchone()  # type: ignore[arg-type]
        self.answers.append(found and found[0])
        return str(found[0]) if found else ""

    def as_user(self, sql: str, *params: Any) -> str:
        self.connection.execute("select set_config('request.jwt.claims', %s, true)", (CLAIMS,))
        self.connection.execute("set local role authenticated")
        found = self.ask(sql, *params)
        self.connection.execute("reset role")
        self.connection.execute("select set_config('request.jwt.claims', '', true)")
        return found

    def run(self) -> None:
        self.connection.execute("select setseed(0.5)")
        queue = "select public.queue_job(job_type => %s, prompt => %s, config => %s::jsonb, metadata => %s::jsonb)::text"
        first = json.loads(self.as_user(queue, "sdxl_image_fast", "a lighthouse", '{"num_images": 3, "guidance_scale": 6.1}', METADATA))[
            "job_id"
        ]
        second = json.loads(self.as_user(queue, "video_fast", "the sea (rough:1.3)", "{}", "{}"))["job_id"]
        self.as_user("select public.cancel_job(%s)::text", second)
        row = """insert into public.jobs (user_id, job_type, format, quality, model_type, metadata, status)
                 values (%s, 'image_high', 'image', 'high', 'image_high', %s::jsonb, 'queued') returning id::text"""
        self.as_user(row, USER, METADATA)
        message = {"id": str(uuid.UUID(int=77)), "type": "sdxl_image_high", "prompt": "fog", "user_id": USER, "config": {"num_images": 1}}
        self.ask("select ourvidz.submit(%s::jsonb, 'redis')::text", json.dumps(message))
        gpu = self.ask("select ourvidz.register('gpu0', 'host', 1, array['sdxl', 'wan'], '{}')::text")
        for end in ("complete", "fail", "snooze"):
            self.attempt(gpu, end)
        self.as_user("select public.job_status(%s)::text", first)
        self.as_user("select public.retry_job(%s)::text", second)
        self.ask("""select jsonb_agg(ourvidz.outbox_body(o) order by o.status, j.job_type, o.job_version)::text
                    from ourvidz.outbox as o join public.jobs as j on j.id = o.job_id""")
        self.connection.execute("set constraints all immediate")

    def attempt(self, gpu: str, end: str) -> None:
        found = self.connection.execute("select job_id::text, claim_no, token::text from ourvidz.claim(%s)", (gpu,)).fetchone()
        assert found is not None
        self.ask("select ourvidz.advance(%s, %s, %s, 'generation_started', '{}')::text", *found)
        if end == "complete":
            made = {"index": 0, "kind": "image", "seed": 7, "bucket": "sdxl_image_fast", "media_type": "image/png", "width": 8, "height": 8,
                    "path": f"{USER}/{found[0]}/1-0.png", "bytes": 100, "sha256": "ab" * 32, "spool": "host"}  # fmt: skip
            self.ask("select ourvidz.artifact_generated(%s, %s, %s, %s::jsonb)::text", *found, json.dumps(made))
            self.ask("select ourvidz.advance(%s, %s, %s, 'upload_started', '{}')::text", *found)
            self.ask("select ourvidz.artifact_uploaded(%s, %s, %s, 'image', 0, %s)::text", *found, "ab" * 32)
            self.ask("select ourvidz.complete(%s, %s, %s)::text", *found)
        elif end == "fail":
            self.ask("select ourvidz.fail(%s, %s, %s, 'out_of_memory', %s, true)::text", *found, "no room \\d")
        else:
            self.ask("select ourvidz.snooze(%s, %s, %s, 'drain', 10)::text", *found)


STORED = {
    "events": """select job_id::text, version, type, from_status, to_status, claim_no, actor, occurred_at, data, data::text as data_text,
                        prev_hash, hash from public.job_events order by seq""",
    "jobs": "select to_jsonb(j) - '{head_hash}'::text[] as row from public.jobs as j order by job_type, version, status",
    "payloads": "select to_jsonb(p) - '{salt,body_digest}'::text[] as row from public.job_payloads as p order by prompt",
    "tokens": "select to_jsonb(t) - '{seq}'::text[] as row from ourvidz.token_entries as t order by seq",
    "usage": "select to_jsonb(u) - '{id}'::text[] as row from public.usage_logs as u order by created_at, action, format",
    "artifacts": "select to_jsonb(a) as row from public.artifacts as a order by kind, index",
    "outbox": """select to_jsonb(o) - 'id' as row from ourvidz.outbox as o join public.jobs as j on j.id = o.job_id
                 order by o.status, j.job_type, o.job_version""",
}


def masked(value: Any, numbers: dict[str, str]) -> str:
    """Replace ids by their order of appearance, and hashes, which are salted, by a constant."""
    text = json.dumps(value, default=str, sort_keys=True)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", lambda m: numbers.setdefault(m[0], f"id{len(numbers)}"), text)
    return re.sub(r"[0-9a-f]{64}", "hash", text)


def in_utc(text: str) -> str:
    """Answers show instants in the session's TimeZone; convert them to UTC."""
    instant = r"\d{4}-\d\d-\d\dT[0-9:.]+[+-]\d\d:\d\d"
    return re.sub(instant, lambda m: datetime.fromisoformat(m[0]).astimezone(UTC).isoformat(), text)


def lived(url: str, settings: dict[str, str]) -> dict[str, Any]:
    """Run a Life under these settings and roll back; returns the stored rows and the answers."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute("select set_config(%s, %s, false)", (name, value))
        with connection.transaction(force_rollback=True):
            life = Life(connection)
            life.run()
            for name in settings:
                if "transaction" not in name:
                    connection.execute(f"set local {name} to default")
            connection.execute("set local client_encoding to 'UTF8'")
            cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
            stored = {name: cursor.execute(sql).fetchall() for name, sql in STORED.items()}
    for event in stored["events"]:
        found = as_event(event)
        assert found.hash == event_hash(found), f"the chain of {event['type']} does not verify"
        del event["prev_hash"], event["hash"]
    assert len(stored["events"]) > 15 and stored["tokens"] and stored["artifacts"]
    numbers: dict[str, str] = {}
    return {name: masked(rows, numbers) for name, rows in stored.items()} | {"answers": in_utc(masked(life.answers, numbers))}


@pytest.fixture(scope="module")
def plain(server: Server, prepared: str) -> dict[str, Any]:
    return lived(server.url(prepared, superuser=True), {})


@pytest.mark.parametrize("name", HOSTILE)
def test_stored_data_is_the_same_under_each_setting(name: str, server: Server, prepared: str, plain: dict[str, Any]) -> None:
    found = lived(server.url(prepared, superuser=True), {name: HOSTILE[name]})
    for part, expected in plain.items():
        at = next((n for n, (one, other) in enumerate(zip(found[part], expected, strict=False)) if one != other), 0)
        assert found[part] == expected, f"{part}: …{found[part][at - 60 : at + 90]}… instead of …{expected[at - 60 : at + 90]}…"


def test_functions_do_not_depend_on_standard_conforming_strings(database: Database) -> None:
    """With standard_conforming_strings off, \\ in a plain literal is an escape, which would change regular expressions."""
    found = database.rows("""select p.oid::regprocedure::text as name, p.prosrc from pg_proc as p
                             where p.pronamespace in ('ourvidz'::regnamespace, 'public'::regnamespace) and p.prosrc ~ '\\\\'""")
    literals = {row["name"]: re.findall(r"(?<![eE\w])'(?:[^']|'')*'", re.sub(r"--[^\n]*", "", row["prosrc"])) for row in found}
    assert {name: wrong for name, texts in literals.items() if (wrong := [text for text in texts if "\\" in text])} == {}


def test_rank_changes_are_refused_whatever_extra_float_digits(database: Database, jobs: Jobs, user: Callable[..., str]) -> None:
    job = submit(jobs, user())
    with psycopg.connect(database.url, autocommit=True, options="-c extra_float_digits=-15") as connection:
        with pytest.raises(psycopg.Error) as error:
            connection.execute("update public.jobs set rank = rank * 1.04 where id = %s", (job,))
    assert error.value.sqlstate == "OV004"


# -- our own connections ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def changed(server: Server, database_name: str) -> str:
    """A database for which a DBA changed every setting at once; returns its name."""
    for name, value in {**HOSTILE, "row_security": "off", "exit_on_error": "on"}.items():
        server.admin(f"alter database {{}} set {name} = '{value}'" if value else f"alter database {{}} set {name} to ''", database_name)
    return database_name


@pytest.mark.parametrize("way", ["directly", "through a pooler", "through one that drops them"])
def test_our_connections_pin_their_settings(
    way: str, server: Server, changed: str, tmp_path: Path, pgbouncer_program: pgbouncer.Program
) -> None:
    with ExitStack() as opened:
        url = server.url(changed)
        if way != "directly":
            ignores = "extra_float_digits, options" if "drops" in way else "extra_float_digits"
            pooler = Pooler(pgbouncer_program, url, tmp_path / "pgbouncer", ignores=ignores)
            opened.callback(pooler.close)
            url = pooler.url
        database = Database(url)
        opened.callback(database.close)
        with database.driver() as connection:
            assert bool(getattr(connection, "unpinned", "")) is (way != "directly")
        jobs = Jobs(database, Permissive(), patience=20)
        user = new_user(database, "premium")
        done, failed, waits, array = (submit(jobs, user) for _ in range(4))
        gpu = executor(jobs)
        finish(jobs, claim(jobs, gpu))
        jobs.fail(claim(jobs, gpu), "out_of_memory", "no room \\d", retryable=False)
        told = queries.events_after(database, queries.START)
        assert [e["type"] for e in told if str(e["job_id"]) == done][-1] == "completed"
        assert all(e["occurred_at"].utcoffset() == timedelta(0) for e in told)
        assert queries.statuses(database) == {"completed": 1, "failed": 1, "queued": 2}
        assert queries.durations(database)[0]["total_p50"] > 0 and queries.queue_depth(database)[0]["waiting_longest_s"] > 0
        assert [row["error_class"] for row in queries.error_classes(database)] == ["out_of_memory"]
        assert {str(row["id"]) for row in queries.jobs(database, queries.Filter(since=datetime(2020, 1, 1, tzinfo=UTC)), 9)} == {
            done, failed, waits, array}  # fmt: skip
        assert database.rows("select cardinality(%s::text[]) as n, (%s::text[])[2] is null as empty", (["a", None], ["a", None])) == [
            {"n": 2, "empty": True}]  # fmt: skip
        report = audit(database)
        assert (report.jobs, report.findings) == (4, ())
        assert rebuild(database, verify=True) == ()
        assert publish_heads(database, tmp_path / "heads.jsonl") == 4


def test_the_legacy_import_works_under_changed_settings(server: Server, made: Callable[[str], Database]) -> None:
    database = made("production")
    name = database.rows("select current_database()::text as name")[0]["name"]
    database.close()
    planning = ("jit_above_cost", "enable_seqscan", "enable_nestloop", "from_collapse_limit", "work_mem")  # these only make it slow
    for setting, value in {**HOSTILE, "statement_timeout": "1s"}.items():
        if setting in planning:
            continue
        server.admin(f"alter database {{}} set {setting} = '{value}'" if value else f"alter database {{}} set {setting} to ''", name)
    changed = Database(database.url)
    with changed.transaction() as connection:
        migrate(connection)
    report = audit(changed)
    assert report.jobs > 0 and report.findings == ()
    changed.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_a_database_of_another_encoding_is_refused_by_name(server: Server, encoding: str) -> None:
    name = f"of_{encoding.lower()}"
    locale = "template template0 locale_provider libc lc_collate 'C' lc_ctype 'C'"
    server.admin(f"create database {{}} encoding '{encoding}' {locale} owner {OWNER}", name)
    try:
        with pytest.raises(UnsuitableServer) as error:
            Database(server.url(name)).patient("select 1", patience=60)
        assert encoding in str(error.value) and "encoding 'UTF8' template template0" in str(error.value)
    finally:
        server.drop(name)


def test_a_session_that_checks_no_foreign_keys_is_refused_by_name(server: Server, database_name: str) -> None:
    server.admin("alter database {} set session_replication_role = replica", database_name)
    with pytest.raises(UnsuitableServer) as error:
        Database(server.url(database_name)).patient("select 1", patience=60)
    assert "session_replication_role" in str(error.value) and database_name in str(error.value)
