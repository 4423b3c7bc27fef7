"""Migrations from an empty database as a role without superuser rights; and the roles' rights in the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from support import OWNER, Permissive, Server, claim, executor, finish, row, submit

from ourvidz.db import schema_objects
from ourvidz.db.connection import Database
from ourvidz.db.migrate import current, head, migrate
from ourvidz.lifecycle import Jobs

User = Callable[..., str]
ROOT = Path(__file__).parents[2]
EXECUTORS, ANALYSTS = "ourvidz_executor", "ourvidz_analyst"
TABLES = ("public.jobs", "public.job_events", "public.job_payloads", "public.artifacts", "public.profiles", "ourvidz.executors")

FINGERPRINT = """
  select string_agg(line, E'\\n' order by line) as text from (
    select format('column %s.%s %s %s %s', c.table_schema, c.table_name, c.column_name, c.data_type, c.is_nullable) as line
    from information_schema.columns as c where c.table_schema in ('public', 'ourvidz')
    union all select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
    where connamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)
    union all select indexdef from pg_indexes where schemaname in ('public', 'ourvidz')
    union all select pg_get_triggerdef(oid) || tgenabled::text from pg_trigger where not tgisinternal
    union all select p.oid::regprocedure || md5(p.prosrc) || coalesce(p.proacl::text, '') from pg_proc as p
    where p.pronamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)
    union all select format('%s %s %s', oid::regclass, relrowsecurity, relacl) from pg_class
    where relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)
    union all select policy::text from pg_policies as policy
  ) as lines"""


@pytest.fixture
def empty(server: Server) -> Iterator[Database]:
    name = server.create()
    database = Database(server.url(name))
    yield database
    database.close()
    server.drop(name)


def test_migrating_an_empty_database_twice(empty: Database, database: Database) -> None:
    (me,) = empty.rows("select rolname, rolsuper from pg_roles where rolname = current_user")
    assert me == {"rolname": OWNER, "rolsuper": False}
    with empty.transaction() as connection:
        assert current(connection) is None
        migrate(connection)
        assert head() == current(connection)
    (once,) = empty.rows(FINGERPRINT)
    written = empty.rows("select ctid, xmin, * from ourvidz.schema_objects")
    with empty.transaction() as connection:
        migrate(connection)
        assert schema_objects.apply(connection) is False
    assert empty.rows(FINGERPRINT) == [once]
    assert empty.rows("select ctid, xmin, * from ourvidz.schema_objects") == written
    assert len(once["text"]) > 10_000 and database.rows(FINGERPRINT) == [once]


def test_applying_schema_objects_restores_changed_ones(database: Database) -> None:
    (before,) = database.rows(FINGERPRINT)
    database.rows("create or replace function ourvidz.priority_offset(priority integer) returns float8 language sql as 'select 0::float8'")
    database.rows("update ourvidz.policy set max_attempts = 99")
    database.rows("delete from ourvidz.transitions where event = 'cancelled'")
    database.rows("update ourvidz.schema_objects set digest = 'of an older program'")
    with database.transaction() as connection:
        assert schema_objects.apply(connection) is True
    assert database.rows("select max_attempts from ourvidz.policy") == [{"max_attempts": 3}]
    assert database.rows("select count(*) as n from ourvidz.transitions where event = 'cancelled'") == [{"n": 4}]
    assert database.rows("select ourvidz.priority_offset(0) > 0 as repaired") == [{"repaired": True}]
    assert len(database.rows(FINGERPRINT)[0]["text"]) == len(before["text"])


def test_a_rolled_back_migration_leaves_nothing(empty: Database) -> None:
    with pytest.raises(RuntimeError), empty.transaction() as connection:
        migrate(connection)
        raise RuntimeError("the power went")
    assert empty.rows("select 1 from pg_namespace where nspname = 'ourvidz'") == []
    assert empty.rows("select 1 from pg_class where relname = 'jobs'") == []


def test_definer_functions_pin_their_search_path(database: Database) -> None:
    """Each pins its search_path, so that a caller's objects cannot shadow ours; pg_temp is named last, as it comes first otherwise."""
    sql = "select proname, proconfig from pg_proc where prosecdef and pronamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)"
    found = database.rows(sql)
    for f in found:
        assert any(c == "search_path=pg_catalog, ourvidz, pg_temp" for c in f["proconfig"] or ()), f["proname"]


def test_public_may_execute_no_function_of_ours(database: Database) -> None:
    found = database.rows("""select p.oid::regprocedure::text as name from pg_proc as p
                             where p.pronamespace = 'ourvidz'::regnamespace and has_function_privilege('public', p.oid, 'execute')""")
    assert found == []


def test_the_release_file_matches_the_sql() -> None:
    """`make docs` sets the release number. After a merge conflict in the file: take either side, run `make docs`."""
    assert schema_objects.numbered().digest == schema_objects.digest(schema_objects.objects()), "run `make docs`"


# -- roles ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def as_role(server: Server, database_name: str, database: Database) -> Iterator[Callable[[str], Database]]:
    """Opens the same database as another role: the superuser connects and sets the role, as the roles themselves have no login here."""
    made: list[Database] = []

    def become(role: str) -> Database:
        url = server.url(database_name, superuser=True)
        made.append(Database(f"{url}{'&' if '?' in url else '?'}options=-c%20role%3D{role}"))
        assert made[-1].rows("select current_user as me") == [{"me": role}]
        return made[-1]

    yield become
    for one in made:
        one.close()


def refused(database: Database, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.rows(statement)


def test_an_executor_runs_a_whole_job_without_table_rights(
    database: Database, jobs: Jobs, user: User, as_role: Callable[[str], Database]
) -> None:
    job_id = submit(jobs, user(), "image7b_fast_enhanced")
    theirs = as_role(EXECUTORS)
    mine = Jobs(theirs, Permissive())
    with theirs.transaction() as connection:
        assert current(connection) == head()  # a worker's first query: does it fit the schema?
    assert mine.policy().max_attempts == 3
    gpu = executor(mine)
    job = claim(mine, gpu)
    assert job.job_id == job_id
    mine.heartbeat(gpu, resident=["wan"])
    mine.advance(job, "enhancement_started")
    mine.enhanced(job, "more", seconds=1, tokens=1)
    finish(mine, job)
    assert len(mine.artifacts(job_id)) == 1 and mine.held(gpu) == {}
    assert mine._written(job, "completed", None) == "completed"  # the check after a lost answer
    mine.reap()
    mine.drain(gpu, done=True)
    assert row(database, job_id)["status"] == "completed"
    for table in TABLES:
        refused(theirs, f"delete from {table}")
        refused(theirs, f"insert into {table} default values")
        refused(theirs, f"truncate {table}")
    for secret in ("public.job_payloads", "public.profiles", "ourvidz.executors"):
        refused(theirs, f"select * from {secret}")
    for verb in ("cancel(null)", "retry(null)", "submit_batch('[]')", "append(null, null, null, null)", "lock_claims(null, null, null)"):
        refused(theirs, f"select ourvidz.{verb}")


def test_an_analyst_reads_events_and_statistics_but_no_prompts(
    database: Database, jobs: Jobs, user: User, as_role: Callable[[str], Database]
) -> None:
    job_id = submit(jobs, user())
    finish(jobs, claim(jobs, executor(jobs)))
    theirs = as_role(ANALYSTS)
    for readable in ("job_events", "job_timeline", "job_durations"):
        assert theirs.rows(f"select * from public.{readable}"), readable
    assert theirs.rows("select job_id, kind, bytes, media_type from public.artifacts")
    assert theirs.rows("select id, status, job_type from public.jobs")
    for words in ("path", "sha256", "metadata"):
        refused(theirs, f"select {words} from public.artifacts")
    for words in ("*", "metadata", "error_message", "format"):
        refused(theirs, f"select {words} from public.jobs")
    theirs.rows("select * from public.queue_depth")
    assert theirs.rows("select (j).status from ourvidz.job_as_of(%s, now()) as j", (job_id,)) == [{"status": "completed"}]
    for secret in ("public.job_payloads", "public.profiles", "ourvidz.executors"):
        refused(theirs, f"select * from {secret}")
    for table in TABLES:
        refused(theirs, f"delete from {table}")
    refused(theirs, "select ourvidz.reap()")
    refused(theirs, "select ourvidz.claim(gen_random_uuid())")


def test_supabases_api_roles_get_no_rights_by_default(server: Server) -> None:
    """Supabase's default privileges grant every new table and function to `anon` and `authenticated`: the migration revokes them on
    ours."""
    for role in ("anon", "authenticated"):
        with psycopg.connect(server.superuser_url, autocommit=True) as connection:
            if not connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone():
                connection.execute(f"create role {role} nologin")
    name = server.create()
    database = Database(server.url(name))
    try:
        for kind in ("tables", "functions", "sequences"):
            database.rows(f"alter default privileges in schema public grant all on {kind} to anon, authenticated")
            database.rows(f"alter default privileges grant all on {kind} to anon, authenticated")
        with database.transaction() as connection:
            migrate(connection)
        for role in ("anon",):  # rights of the others: test_access.py
            found = database.rows(
                """select c.oid::regclass::text as what from pg_class as c
                   where c.relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace) and c.relkind in ('r', 'v', 'S', 'm')
                     and case when c.relkind = 'S' then has_sequence_privilege(%(role)s, c.oid, 'usage, select, update')
                              else has_table_privilege(%(role)s, c.oid, 'select, insert, update, delete, truncate') end
                   union all
                   select p.oid::regprocedure::text from pg_proc as p
                   where p.pronamespace = 'ourvidz'::regnamespace and has_function_privilege(%(role)s, p.oid, 'execute')
                   union all select 'schema ourvidz' where has_schema_privilege(%(role)s, 'ourvidz', 'usage')""",
                {"role": role},
            )
            assert found == [], role
    finally:
        database.close()
        server.drop(name)


def test_functions_that_disable_seqscan_also_disable_jit(database: Database) -> None:
    """Before Postgres 18 a disabled scan that is used anyway costs 10¹⁰, so each such statement is JIT-compiled: 0.4 s per job."""
    found = database.rows("select proname, proconfig from pg_proc where 'enable_seqscan=off' = any (proconfig)")
    assert {f["proname"] for f in found} >= {"events_apply", "jobs_guard_insert", "jobs_guard_update"}
    assert all("jit=off" in f["proconfig"] for f in found), found
