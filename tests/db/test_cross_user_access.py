"""OurVidz's production database after our migration: no relation, function or storage object shows another user's data."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from api import Api, api_of
from production_copy import ANNA, BORIS
from support import Server

from ourvidz.db import access_trial
from ourvidz.db.connection import Database

RELATIONS = """select n.nspname || '.' || quote_ident(c.relname) as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
               where c.relkind in ('r', 'p', 'v', 'm', 'f')
                 and n.nspname in ('public', 'ourvidz', 'storage', 'realtime', 'auth') order by 1"""
STRANGERS = [("anon", None), ("authenticated", BORIS)]  # BORIS made himself an admin in the legacy system's tables


@pytest.fixture
def api(server: Server, migrated_production: Database) -> Iterator[Api]:
    with api_of(server, migrated_production.rows("select current_database() as name")[0]["name"]) as api:
        yield api


def seen(api: Api, role: str, user: str | None, relation: str) -> str:
    """All rows of the relation that the caller sees, as text; empty if refused."""
    try:
        with api.request(role, user) as cursor:
            rows = cursor.execute(f"select to_jsonb(t) as row from {relation} as t").fetchall()  # type: ignore[call-overload]
            return json.dumps(rows, default=str)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
        return ""


def test_no_relation_shows_another_users_rows(api: Api, migrated_production: Database) -> None:
    relations = [row["name"] for row in migrated_production.rows(RELATIONS)]
    own = {name for name in relations if ANNA in seen(api, "authenticated", ANNA, name)}
    assert own >= {f"public.{name}" for name in ("videos", "jobs", "profiles", "projects", "characters", "usage_logs")} | {
        "storage.objects"
    }
    assert len(relations) > 50
    for role, user in STRANGERS:
        showing = {name for name in relations if ANNA in seen(api, role, user, name)}
        assert showing == set(), (role, user)
    migrated_production.rows("create policy everybody on public.videos for select using (true)")
    assert ANNA in seen(api, "authenticated", BORIS, "public.videos")  # with such a policy they would be seen


def test_no_function_returns_another_users_rows(api: Api, migrated_production: Database) -> None:
    """Each function in schema public, with one of her ids for each uuid and her name for each text."""
    functions = """select p.oid::regprocedure::text as name, n.nspname || '.' || quote_ident(p.proname) as called,
                          array(select format_type(t, null) from unnest(p.proargtypes) with ordinality as a (t, o) order by o) as types
                   from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
                   where n.nspname = 'public' and p.prorettype <> 'trigger'::regtype and p.prokind = 'f'"""
    found = migrated_production.rows(functions)
    ids = [row["id"] for table in ("jobs", "images", "videos", "projects")
           for row in migrated_production.rows(f"select id::text from public.{table} where user_id = %s limit 3", (ANNA,))]  # fmt: skip
    assert len(found) > 8 and len(ids) > 6
    for role, user in STRANGERS:
        for function in found:
            for one in ids:
                values = {"uuid": f"'{one}'", "text": "'anna'", "jsonb": "'{}'", "boolean": "false", "integer": "1"}
                given = ", ".join(values.get(kind, "null") + "::" + kind for kind in function["types"])
                assert ANNA not in told(api, role, user, f"select to_jsonb({function['called']}({given})) as row"), function


def told(api: Api, role: str, user: str | None, query: str) -> str:
    try:
        with api.request(role, user) as cursor, cursor.connection.transaction(force_rollback=True):
            return json.dumps(cursor.execute(query).fetchall(), default=str)  # type: ignore[call-overload]
    except psycopg.Error as error:
        return str(error)


def test_other_users_cannot_access_her_storage_objects(api: Api, migrated_production: Database) -> None:
    hers = migrated_production.rows("select bucket_id, name from storage.objects where name like %s", (f"{ANNA}/%",))
    assert hers
    verbs = ("select 1 from storage.objects", "update storage.objects set metadata = '{}'", "delete from storage.objects")
    for role, user in STRANGERS:
        for verb in verbs:
            with api.request(role, user) as cursor:
                count = cursor.execute(f"{verb} where name like %s", (f"{ANNA}/%",)).rowcount  # type: ignore[call-overload]
            assert count == 0, (role, verb)
        for row in hers:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), api.request(role, user) as cursor:
                cursor.execute("insert into storage.objects (bucket_id, name) values (%s, %s)", (row["bucket_id"], f"{ANNA}/new.png"))
    with api.request("authenticated", ANNA) as cursor:
        assert cursor.execute("select 1 from storage.objects where bucket_id <> 'system_assets'").rowcount == len(hers)
        assert cursor.execute("update storage.objects set metadata = '{}'").rowcount == 0
        cursor.execute("insert into storage.objects (bucket_id, name) values ('reference_images', %s)", (f"{ANNA}/1-ref.png",))
        assert cursor.execute("delete from storage.objects").rowcount == len(hers) + 1
    with api.request("service_role") as cursor:
        assert cursor.execute("select 1 from storage.objects").fetchall()


def test_the_doctor_reports_no_leaks(migrated_production: Database) -> None:
    lines = [line for check in (access_trial.storage, access_trial.tables) for line in check(migrated_production)]
    assert {line.state for line in lines} == {"ok"}, lines
