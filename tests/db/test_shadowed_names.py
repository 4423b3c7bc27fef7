"""Objects in a session's pg_temp must not shadow names in our functions: unqualified names are looked up there first unless the
function's search_path says otherwise (CVE-2007-2138)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from support import Server, submit

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

User = Callable[..., str]
EVIL = """create function pg_temp.evil(anything {0}) returns boolean language plpgsql as $$
begin
  if current_user = 'ourvidz_owner' then update public.profiles set age_verified = true; end if;
  return true;
end $$;
create domain pg_temp.{0} as pg_catalog.{0} check (pg_temp.evil(value))"""
MESSAGE = f'[{{"id": "{uuid.UUID(int=7)}", "user_id": "{uuid.UUID(int=8)}", "digest": "{"00" * 32}"}}]'
TYPES = ("text", "uuid", "jsonb", "timestamptz", "float8")


def found(connection: psycopg.Connection[Any], query: str, *params: Any) -> tuple[Any, ...]:
    (row,) = connection.execute(query, params)
    return tuple(row)


@pytest.mark.parametrize("shadowed", TYPES)
def test_a_temporary_type_cannot_shadow_ours(
    server: Server, database_name: str, database: Database, jobs: Jobs, user: User, shadowed: str
) -> None:
    """A domain with a type's name and a check with side effects: if taken for the type, the check would run as the functions' owner."""
    unverified = user(verified=False)
    submit(jobs, user())
    with psycopg.connect(server.url(database_name, superuser=True), autocommit=True) as connection:
        connection.execute("set session authorization ourvidz_executor")
        connection.execute(EVIL.format(shadowed))
        (gpu,) = found(connection, "select ourvidz.register('gpu9', 'host', 1, array['sdxl']::pg_catalog.text[])")
        found(connection, "select ourvidz.heartbeat(%s)", gpu)
        held = found(connection, "select job_id, claim_no, token from ourvidz.claim(%s)", gpu)
        found(connection, "select ourvidz.snooze(%s, %s, %s, 'drain', 0)", *held)
        found(connection, "select * from ourvidz.reap()")
        connection.execute("reset session authorization")
        connection.execute("set session authorization ourvidz_intake")  # its objects in pg_temp still exist
        found(connection, f"select ourvidz.intake('sdxl_queue', '{MESSAGE}')")
    assert database.rows("select age_verified from public.profiles where id = %s", (unverified,)) == [{"age_verified": False}]
