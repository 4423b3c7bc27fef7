"""Migration of existing databases: the legacy system's on Supabase, with rows; and one with an older schema of this program."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from supabase_shape import supabase_database
from support import OWNER, Permissive, Server, claim, executor, finish, row, types

from ourvidz.audit import audit
from ourvidz.db import ledger, migration_plan
from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate
from ourvidz.db.reconcile import Beliefs
from ourvidz.lifecycle import Jobs
from state.errors import FinalFailure

DATA = Path(__file__).parents[1] / "data"
A = "00000000-0000-4000-8000-00000000000a"


def job(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012d}"


@pytest.fixture
def older(server: Server) -> Iterator[Database]:
    name = supabase_database(server)
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute((DATA / "older_system.sql").read_text())
    database = Database(server.url(name))
    yield database
    database.close()
    server.drop(name)


def brought(database: Database) -> Database:
    with database.transaction() as connection:
        migrate(connection, Beliefs(balance="all", plan="all", age="all"))
    return database


def test_each_legacy_job_is_imported_with_one_event_and_nothing_is_lost(older: Database) -> None:
    before = older.rows("select to_jsonb(j) as j from public.jobs as j order by id")
    brought(older)
    assert older.rows("select to_jsonb(j) as j from ourvidz.older_jobs as j order by id") == before
    found = {
        r["id"]: r
        for r in older.rows("select id::text, status, error_class, final, lane, worker_type, error_message, metadata from public.jobs")
    }
    assert {int(i[-2:]): (r["status"], r["error_class"], r["final"]) for i, r in found.items()} == {
        1: ("completed", None, False),
        2: ("failed", "older_system", False),
        3: ("queued", None, False),  # running when the legacy system stopped two hours ago: queued here
        4: ("queued", None, False),  # queued too, however old
        5: ("queued", None, False),  # profile not verified: cannot be claimed yet
        6: ("completed", None, False),  # a job type that no longer exists
        7: ("cancelled", None, True),  # its prompt is unknown: cannot be run
        8: ("failed", "abandoned", True),  # settings that we refuse
        9: ("completed", None, False),
    }
    for i in found:
        assert types(older, i) == ["imported"], i
    assert found[job(2)]["error_message"] == "CUDA out of memory" and found[job(1)]["metadata"]["assets"] == ["x/1.png"]
    (times,) = older.rows(
        """select bool_and(j.created_at = o.created_at) as same from public.jobs as j join ourvidz.older_jobs as o using (id)
           where o.created_at is not null"""
    )
    assert times["same"]
    (harbour,) = older.rows("select prompt, settings from public.job_payloads where job_id = %s", (job(1),))
    assert harbour["prompt"] == "a quiet harbour" and harbour["settings"]["images"] == 6
    assert older.rows("select prompt from public.job_payloads where job_id = %s", (job(2),)) == [
        {"prompt": "a lighthouse at dusk, long exposure"}
    ]
    assert list(audit(older).findings) == []


def test_check_reports_what_would_be_imported(older: Database) -> None:
    with older.transaction() as connection:
        said = [(step.group, step.action, step.object) for step in migration_plan.steps(connection)]
    assert {row for row in said if row[0] == "Jobs of the older system"} >= {
        ("Jobs of the older system", "import", "2 processing"),
        ("Jobs of the older system", "import", "1 failed"),
    }
    brought(older)
    with older.transaction() as connection:
        assert migration_plan.steps(connection) == []


def test_imported_jobs_can_run(older: Database) -> None:
    """Imported jobs that waited can run, others report why not; a second migration changes nothing."""
    brought(older)
    jobs = Jobs(older, Permissive())
    gpu = executor(jobs)
    made = [claim(jobs, gpu), claim(jobs, gpu)]
    assert {(m.job_id, m.prompt) for m in made} == {(job(3), "dunes"), (job(4), "dunes")} and list(jobs.claim(gpu)) == []
    for one in made:
        finish(jobs, one)
    with pytest.raises(FinalFailure):
        jobs.retry(job(8))
    older.rows("update ourvidz.schema_objects set digest = 'of an older program'")
    brought(older)
    assert len(older.rows("select 1 from public.job_events where type = 'imported'")) == 9
    assert row(older, job(3))["status"] == "completed"


def test_objects_depending_on_legacy_tables_are_migrated(older: Database) -> None:
    brought(older)
    (key,) = older.rows(
        "select confrelid::regclass::text as names from pg_constraint where conrelid = 'public.favourites'::regclass and contype = 'f'"
    )
    assert key == {"names": "jobs"}
    # The project's own view now reads the new jobs table, with its reader's rights.
    assert older.rows(
        "select pg_get_viewdef('public.busy'::regclass) like '%%older_jobs%%' as older, reloptions from pg_class where relname = 'busy'"
    ) == [{"older": False, "reloptions": ["security_invoker=true"]}]
    names = [r["polname"] for r in older.rows("select polname from pg_policy")]
    assert "Users can update own profile" not in names and "Users see their jobs" not in names
    profiles = {str(r["id"])[-1]: r for r in older.rows("select * from public.profiles where id <> '00000000-0000-0000-0000-000000000000'")}
    assert (profiles["a"]["token_balance"], profiles["a"]["subscription_status"], profiles["a"]["age_verified"]) == (120, "pro", True)
    assert (profiles["b"]["token_balance"], profiles["b"]["age_verified"]) == (0, False)
    assert older.rows("select status from public.videos") == [{"status": "preview_ready"}]
    owners = older.rows("select distinct tableowner from pg_tables where tablename in ('profiles', 'videos', 'jobs', 'older_jobs')")
    assert owners == [{"tableowner": "ourvidz_owner"}]


def test_migrating_an_empty_supabase_project(server: Server) -> None:
    """As Supabase's `postgres`: no superuser, not the owner of auth and storage, default privileges that grant everything."""
    name = supabase_database(server)
    database = Database(server.url(name))
    try:
        assert database.rows("select current_user as me, rolsuper from pg_roles where rolname = current_user") == [
            {"me": OWNER, "rolsuper": False}
        ]
        brought(database)
        assert database.rows("select 1 from pg_tables where schemaname = 'auth' and tableowner <> 'supabase_auth_admin'") == []
        # Signing up creates a profile: not verified, no tokens.
        user = "00000000-0000-4000-8000-0000000000aa"
        database.rows("insert into auth.users (id, email) values (%s, 'new@example.org')", (user,))
        assert database.rows("select email, age_verified, token_balance from public.profiles where id = %s", (user,)) == [
            {"email": "new@example.org", "age_verified": False, "token_balance": 0}
        ]
    finally:
        database.close()
        server.drop(name)


def test_a_user_can_read_only_their_own_realtime_channel(server: Server) -> None:
    """Realtime admits to a private channel whoever may read its messages (https://supabase.com/docs/guides/realtime/authorization)."""
    name = supabase_database(server)
    database = Database(server.url(name))
    try:
        brought(database)
        database.rows("insert into realtime.messages values ('any', '{}')")
        with psycopg.connect(server.url(name, superuser=True)) as connection:
            connection.execute("set role authenticated")
            for topic, seen in ((f"jobs:{A}", 1), ("jobs:00000000-0000-4000-8000-00000000000b", 0), ("jobs:", 0), ("", 0)):
                claims = json.dumps({"sub": A, "role": "authenticated"})
                connection.execute(
                    "select set_config('realtime.topic', %s, true), set_config('request.jwt.claims', %s, true)", (topic, claims)
                )
                assert len(connection.execute("select 1 from realtime.messages").fetchall()) == seen, topic
    finally:
        database.close()
        server.drop(name)


def test_an_older_schema_is_migrated_with_its_jobs(server: Server) -> None:
    """A dump of this program's schema 0002 with jobs: they continue, their history verifies, and an operator's settings stay."""
    name = server.create()
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute(gzip.decompress((DATA / "schema_0002.sql.gz").read_bytes()).decode())
    database = Database(server.url(name))
    try:
        before = database.rows("select id::text, status, version, head_hash from public.jobs order by id")
        assert len(before) == 4
        brought(database)
        assert database.rows("select id::text, status, version, head_hash from public.jobs order by id") == before
        jobs = Jobs(database, Permissive())
        assert jobs.policy().reroute_after == 900
        assert list(audit(database).findings) == []
        job = claim(jobs, executor(jobs))
        finish(jobs, job)
        failed = next(r["id"] for r in before if r["status"] == "failed")
        assert ledger.check(database) == []  # jobs from before prices hold nothing, ended or not
        ledger.grant(database, str(row(database, failed)["user_id"]), 40, "since schema 0003 a retry has its price")
        jobs.retry(failed)
        assert row(database, failed)["status"] == "queued" and ledger.check(database) == []
    finally:
        database.close()
        server.drop(name)
