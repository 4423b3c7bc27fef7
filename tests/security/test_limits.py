"""Attack: a session that uses too many resources, keeps a transaction open, or opens one connection after another. Its login is only a
member of our role, so settings on the role itself do not apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from logins import login, name_of
from stack_fixtures import Project
from support import Server
from waiting import wait_for

from ourvidz.db import logins, schema_objects
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.policy import LIMITS

Open = Callable[..., psycopg.Connection]
SETTINGS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "work_mem")
OURS = [role for role, limits in LIMITS.items() if limits.connections is not None]


def applied(database: Database) -> None:
    """Apply the schema objects, as the next release's `ourvidz migrate` does."""
    with database.transaction() as connection:
        connection.exec_driver_sql("update ourvidz.schema_objects set digest = 'older', release = 0 where kind = 'layer'")
        assert schema_objects.apply(connection)


@pytest.fixture
def analyst(server: Server, database_name: str, database: Database) -> Iterator[str]:
    with login(server, database_name, "ourvidz_analyst") as url:
        yield url


def in_force(url: str) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        return {name: str(connection.execute(f"show {name}").fetchone()[0]) for name in SETTINGS}  # type: ignore[index]


@pytest.mark.parametrize("role", OURS)
def test_a_member_login_has_its_roles_limits(server: Server, database_name: str, database: Database, role: str) -> None:
    limits = LIMITS[role]
    with login(server, database_name, role) as url:
        applied(database)
        with psycopg.connect(url) as connection:
            found = dict(
                connection.execute("select name, setting::bigint from pg_settings where name = any (%s)", (list(SETTINGS),)).fetchall()
            )
        assert found == {
            "statement_timeout": limits.statement_s * 1000,
            "lock_timeout": limits.lock_s * 1000,
            "idle_in_transaction_session_timeout": limits.idle_s * 1000,
            "work_mem": limits.work_mem_mb * 1024,
        }
        (allowed,) = database.rows("select rolconnlimit as n from pg_roles where rolname = %s", (name_of(url),))
        assert allowed == {"n": limits.connections}


def test_a_login_of_two_roles_has_the_stricter_limits(server: Server, database_name: str, database: Database) -> None:
    with login(server, database_name, "ourvidz_executor", "ourvidz_analyst") as url:
        applied(database)
        assert in_force(url) == {
            "statement_timeout": "1min", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "20s", "work_mem": "16MB"
        }  # fmt: skip


def test_connections_are_limited(database: Database, analyst: str) -> None:
    applied(database)
    allowed = LIMITS["ourvidz_analyst"].connections
    assert allowed is not None
    held = [psycopg.connect(analyst) for _ in range(allowed)]
    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        psycopg.connect(analyst)
    for one in held:
        one.close()


def test_a_session_that_turns_its_timeouts_off_is_ended(database: Database, jobs: Jobs, analyst: str) -> None:
    """A session can change its own timeouts, so the reaper ends those with too old a transaction, idle or active."""
    applied(database)
    database.rows("update ourvidz.role_limits set transaction_s = 0 where name = 'ourvidz_analyst'")
    with psycopg.connect(analyst) as idle, psycopg.connect(analyst, autocommit=True) as between, psycopg.connect(analyst) as executor:
        for one in (idle, between, executor):
            one.execute("set idle_in_transaction_session_timeout = 0")
            one.execute("set statement_timeout = 0")
        between.execute("select 1")
        executor.rollback()
        jobs.reap()
        with pytest.raises(psycopg.OperationalError):
            idle.execute("select 1")
        assert between.execute("select 1").fetchone() == (1,)  # no transaction was open


def test_a_session_that_fills_the_table_of_locks_is_ended(database: Database, jobs: Jobs, analyst: str) -> None:
    applied(database)
    with psycopg.connect(analyst, autocommit=True) as few, psycopg.connect(analyst, autocommit=True) as many:
        few.execute("select pg_advisory_lock(n) from generate_series(1, 20) as n")
        many.execute("select pg_advisory_lock(n) from generate_series(1000, 2000) as n")
        jobs.reap()
        assert few.execute("select 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            many.execute("select 1")


def test_a_login_without_limits_is_named_and_repaired(database: Database, analyst: str) -> None:
    """A login created by hand after the last migration."""
    assert in_force(analyst)["statement_timeout"] == "0"
    (found,) = [one for one in logins.found(database) if one.name == name_of(analyst)]
    assert found.roles == ("ourvidz_analyst",) and len(found.lacks) == 6
    logins.repair(database, found.name)
    assert in_force(analyst)["statement_timeout"] == "2min"
    (found,) = [one for one in logins.found(database) if one.name == name_of(analyst)]
    assert found.lacks == ()


def test_a_logins_own_settings_are_reported(database: Database, analyst: str) -> None:
    applied(database)
    with psycopg.connect(analyst, autocommit=True) as connection:
        connection.execute("alter role current_user set statement_timeout = 0")
        connection.execute(f"alter role current_user in database {connection.info.dbname} set work_mem = '8GB'")
    (found,) = [one for one in logins.found(database) if one.name == name_of(analyst)]
    assert [what.split(" is ")[0] for what in found.lacks] == ["work_mem"]  # our setting for this database overrides the login's for all
    logins.repair(database, found.name)
    assert in_force(analyst) == {
        "statement_timeout": "2min", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "1min", "work_mem": "64MB"
    }  # fmt: skip


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_a_request_through_postgrest_has_its_roles_limits(project: Project, role: str) -> None:
    limits = LIMITS[role]
    project.database.rows("""create or replace function public.in_force() returns json language sql as $$
      select json_object_agg(name, setting) from pg_settings where name in ('statement_timeout', 'lock_timeout', 'work_mem') $$""")
    project.database.rows("grant execute on function public.in_force() to anon, authenticated, service_role")
    project.database.rows("notify pgrst, 'reload schema'")
    bearer = {"anon": None, "authenticated": project.user(), "service_role": project.service_key}[role]
    with project.client(bearer) as client:
        answer = wait_for(
            lambda: (found := client.post("/rest/v1/rpc/in_force")).status_code != 404 and found, "for PostgREST to know the function"
        )
    assert answer.json() == {
        "statement_timeout": str(limits.statement_s * 1000),
        "lock_timeout": str(limits.lock_s * 1000),
        "work_mem": str(limits.work_mem_mb * 1024),
    }


def test_grants_of_an_earlier_release_are_revoked(database: Database) -> None:
    """An executor login could submit in anyone's name, and delete objects."""
    for function in ("intake(text, jsonb)", "removals_lease(integer, float8)", "outbox_take(text, float8)"):
        database.rows(f"grant execute on function ourvidz.{function} to ourvidz_executor")
    database.rows("grant insert on public.jobs to ourvidz_analyst")
    applied(database)
    found = database.rows("""select proname::text from pg_proc where proname in ('intake', 'removals_lease', 'outbox_take')
                             and has_function_privilege('ourvidz_executor', oid, 'execute')""")
    assert found == []
    may = database.rows("select has_table_privilege('ourvidz_analyst', 'public.jobs', 'insert') as insert")
    assert may == [{"insert": False}]
