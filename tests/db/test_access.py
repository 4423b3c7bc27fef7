"""Access rights, found by trying every relation, function and bucket as each role with its claims, on the rows of two users, under
Supabase's default privileges. The result must equal tests/db/access_matrix.py."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from access_matrix import BUCKETS, EVERY_LOGIN, FUNCTIONS, RELATIONS, Verbs
from api import Api, api_of
from catalogs import rights
from supabase_shape import supabase_database
from support import OWNER, Permissive, Server, claim, executor, finish, new_user, submit

from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate
from ourvidz.db.schema_objects import apply
from ourvidz.lifecycle import Jobs
from state import catalog

API_ROLES = "anon, authenticated, service_role"
SAMPLES: dict[str, dict[str, Any]] = {
    "public.profiles": {"id": "{user}"},
    "public.characters": {"user_id": "{user}", "name": "x"},
    "public.projects": {"user_id": "{user}", "title": "x"},
    "public.videos": {"user_id": "{user}", "scene_number": 1},
    "public.jobs": {"user_id": "{user}", "job_type": "image_fast", "metadata": '{{"prompt": "a lighthouse"}}', "status": "queued"},
    "public.images": {"user_id": "{user}", "prompt": "x"},
    "public.usage_logs": {"user_id": "{user}", "action": "x"},
    "public.user_roles": {"user_id": "{user}", "role": "basic_user"},
    "public.user_activity_log": {"user_id": "{user}", "action": "x"},
    "public.model_test_results": {
        "user_id": "{user}",
        "model_type": "SDXL",
        "prompt_text": "x",
        "test_series": "x",
        "test_tier": "artistic",
    },
    "public.system_config": {"id": 1},
    "public.scenes": {"project_id": "{project}", "scene_number": 1, "description": "x"},
    "public.consents": {"user_id": "{user}", "sha256": "0" * 64, "statement_version": "1", "attested_at": "2025-07-07"},
}
"""Rows that anyone with the right to insert could insert."""


def project_of(user: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, user))


MADE_FOR_THIS = {"23505", "23503", "23514", "23502", "OV014", "OV015", "OV001", "OV009"}
"""SQLSTATEs that refuse the row, not the right: a second profile, a referenced row, NULL in a NOT NULL column, too few tokens, a job
that has not ended."""
NOT_WRITTEN_AT_ALL = ("55000", "0A000", "428C9")
"""A view, a sequence, a generated column: Postgres raises these before it checks rights."""


@dataclass(frozen=True)
class Persona:
    name: str
    kind: str  # key of the matrix
    role: str
    user: str | None = None
    admin: bool = False


@dataclass(frozen=True)
class Field:
    """A database with rows of two users, and every persona that may connect."""

    database: Database
    api: Api
    users: tuple[str, str]
    jobs: dict[str, str]  # job → user
    personas: tuple[Persona, ...]

    def owner(self, row: dict[str, Any]) -> str | None:
        """The user that owns a row; None if the row belongs to no user."""
        if found := row.get("user_id") or (row.get("id") if "id" in row and str(row["id"]) in self.users else None):
            return str(found)
        return self.jobs.get(str(row.get("project_id") or row.get("job_id") or row.get("id")))

    @contextmanager
    def attempt(self, cursor: psycopg.Cursor[Any]) -> Iterator[None]:
        """A transaction that is rolled back."""
        with cursor.connection.transaction(force_rollback=True):
            yield


@pytest.fixture(scope="module")
def field(server: Server, template: str) -> Iterator[Field]:
    name = server.create()
    database = Database(server.url(name))
    for kind in ("tables", "functions", "sequences"):
        database.rows(f"alter default privileges in schema public grant all on {kind} to {API_ROLES}")
        database.rows(f"alter default privileges grant all on {kind} to {API_ROLES}")
    with database.transaction() as connection:
        migrate(connection)
    users = (new_user(database, "premium"), new_user(database, "premium"))
    whose = fill(database, users)
    anon, admin = Persona("anon", "anon", "anon"), Persona("admin", "admin", "authenticated", new_user(database), True)
    a, b = (Persona(n, "user", "authenticated", u) for n, u in zip("AB", users, strict=True))
    others = (Persona(r, r, r) for r in ("service_role", *EVERY_LOGIN))
    with api_of(server, name) as api:
        yield Field(database, api, users, whose, (anon, a, b, admin, *others))
    database.close()
    server.drop(name)


def fill(database: Database, users: tuple[str, str]) -> dict[str, str]:
    """A finished and a waiting job for each user, and a row for each in every other table with owners."""
    jobs, whose = Jobs(database, Permissive()), {}
    gpu = executor(jobs)
    for bucket in [*catalog.BUCKETS, "somebody-elses"]:
        database.rows("insert into storage.buckets (id, name) values (%s, %s)", (bucket, bucket))
    whose |= {submit(jobs, user): user for user in users}
    for _ in users:
        finish(jobs, claim(jobs, gpu))
    for user in users:
        whose[submit(jobs, user)] = user
        database.rows("insert into public.projects (id, user_id, title) values (%s, %s, 'x')", (project_of(user), user))
        whose[project_of(user)] = user
        for table in (
            "characters",
            "scenes",
            "videos",
            "images",
            "usage_logs",
            "consents",
            "user_roles",
            "user_activity_log",
            "model_test_results",
        ):
            columns = {k: _of(user, v) for k, v in SAMPLES[f"public.{table}"].items()}
            names = ", ".join(columns)
            database.rows(f"insert into public.{table} ({names}) values ({', '.join(['%s'] * len(columns))})", list(columns.values()))
        for bucket in [*catalog.BUCKETS, "somebody-elses"]:
            database.rows("insert into storage.objects (bucket_id, name) values (%s, %s)", (bucket, f"{user}/a.png"))
    whose |= {str(r["id"]): whose[str(r["project_id"])] for r in database.rows("select id, project_id from public.scenes")}
    database.rows("insert into public.system_config default values on conflict do nothing")
    return whose


def _of(user: str, value: Any) -> Any:
    return value.format(user=user, project=project_of(user)) if isinstance(value, str) else value


RELATIONS_OF_OURS = """select format('%s.%s', relnamespace::regnamespace, relname) as name from pg_class
  where relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace) and relkind in ('r', 'p', 'v', 'm', 'f', 'S')"""


def relations(database: Database) -> set[str]:
    return {r["name"] for r in database.rows(RELATIONS_OF_OURS)}


def columns(database: Database, relation: str) -> list[str]:
    sql = "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum"
    return [r["attname"] for r in database.rows(sql, (relation,))]


def permitted(cursor: psycopg.Cursor[Any], query: str, params: Any = ()) -> list[dict[str, Any]] | None:
    """The returned rows, or None if the right itself was refused."""
    try:
        with cursor.connection.transaction(force_rollback=True):
            cursor.execute(query, params)
            return cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        if error.sqlstate in MADE_FOR_THIS:
            return []
        if error.sqlstate == "42501" and "permission denied for" in str(error):
            return None
        if error.sqlstate in ("42501", "OV017", *NOT_WRITTEN_AT_ALL):  # row-level security, jobs_ask
            return None
        raise


def found(field: Field, relation: str, who: Persona) -> Verbs:
    """The rights of a persona on a relation in the matrix's format: each verb is tried with each column, and on each user's rows."""
    names = columns(field.database, relation)
    rows = field.database.rows(f"select * from {relation}")
    told: Verbs = {}

    def note(verb: str, owners: set[str | None], allowed: list[str]) -> None:
        mine, every = {who.user}, {field.owner(r) for r in rows}
        if not allowed or (not owners and rows):
            return
        if every == {None}:  # rows without an owner: whoever has the right has it on all
            owners = every
        known = "own" if who.user and owners == mine and len(every) > 1 else "all" if owners == every else f"some: {owners}"
        told[verb] = known if set(allowed) == set(names) else f"{known} {' '.join(allowed)}"

    with field.api.request(who.role, who.user, admin=who.admin) as cursor:
        readable = [c for c in names if permitted(cursor, f'select "{c}" from {relation} limit 0') is not None]
        seen = permitted(cursor, f"select {', '.join(map(_quoted, readable))} from {relation}") if readable else []
        note("select", {field.owner(r) for r in seen or []}, readable)
        writable = [c for c in names if _may_insert(cursor, relation, c)]
        if writable:
            given = [u for u in field.users if permitted(cursor, *_insert(relation, u)) is not None]
            note("insert", set(given), writable)
        changed: set[str | None] = set()
        changeable = []
        for c in names:
            done = permitted(cursor, f'update {relation} set "{c}" = "{c}" returning {_whose(relation, readable)}')
            if done is not None:
                changeable.append(c)
                changed |= {field.owner(r) for r in done}
        note("update", changed, changeable)
        gone = permitted(cursor, f"delete from {relation} returning {_whose(relation, readable)}")
        note("delete", {field.owner(r) for r in gone or []}, names if gone is not None else [])
    return told


def _quoted(name: str) -> str:
    return f'"{name}"'


def _whose(relation: str, readable: list[str]) -> str:
    return ", ".join(c for c in ("user_id", "job_id", "id") if c in readable) or "1 as one"


def _may_insert(cursor: psycopg.Cursor[Any], relation: str, column: str) -> bool:
    try:
        with cursor.connection.transaction(force_rollback=True):
            cursor.execute(f'insert into {relation} ("{column}") values (null)')
    except psycopg.errors.InsufficientPrivilege as error:
        return "row-level security" in str(error)
    except psycopg.Error as error:
        assert error.sqlstate not in ("42P01", "42601"), error
        return error.sqlstate not in NOT_WRITTEN_AT_ALL
    return True


def _insert(relation: str, user: str) -> tuple[str, list[Any]]:
    given = SAMPLES[relation]
    values = [_of(user, v) for v in given.values()]
    return f"insert into {relation} ({', '.join(given)}) values ({', '.join(['%s'] * len(given))})", values


def expected(matrix: dict[str, Verbs], who: Persona) -> Verbs:
    return {verb: " ".join(said.split()) for verb, said in matrix.get(who.kind, {}).items()}


def same(one: Verbs, other: Verbs) -> bool:
    def told(verbs: Verbs) -> dict[str, tuple[str, frozenset[str]]]:
        return {verb: (said.split()[0], frozenset(said.split()[1:])) for verb, said in verbs.items()}

    return told(one) == told(other)


# -- the matrix --------------------------------------------------------------------------------------------------------------------


def test_every_relation_has_an_entry(field: Field) -> None:
    assert relations(field.database) == set(RELATIONS), "tests/db/access_matrix.py must say who may do what with it"


@pytest.mark.parametrize("relation", sorted(RELATIONS))
def test_relations(field: Field, relation: str) -> None:
    for who in field.personas:
        assert same(can := found(field, relation, who), expected(RELATIONS[relation], who)), (relation, who.name, can)


def test_functions(field: Field) -> None:
    """Calls each function as each persona; any call that is not refused counts as permitted."""
    sql = """select format('%s.%s', n.nspname, p.proname) as name, n.nspname as schema,
                    (select coalesce(string_agg(format('null::%s', t::regtype), ', ' order by o), '') from unnest(p.proargtypes)
                     with ordinality as a (t, o)) as arguments
             from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname in ('public', 'ourvidz')"""
    functions = field.database.rows(sql)
    assert {f["name"] for f in functions} >= set(FUNCTIONS)
    assert {f["name"] for f in functions if f["schema"] == "public"} <= set(FUNCTIONS), "tests/db/access_matrix.py must say who may call it"
    for who in field.personas:
        with field.api.request(who.role, who.user, admin=who.admin) as cursor:
            for f in functions:
                may = _may_call(cursor, f"select {f['name']}({f['arguments']})")
                assert may == (who.kind in FUNCTIONS.get(f["name"], ())), (f["name"], who.name, may)


def _may_call(cursor: psycopg.Cursor[Any], query: str) -> bool:
    try:
        with cursor.connection.transaction(force_rollback=True):
            cursor.execute(query)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):  # the types of its arguments are not visible either
        return False
    except psycopg.Error:
        return True  # it started
    return True


@pytest.mark.parametrize("bucket", [*catalog.BUCKETS, "somebody-elses"])
def test_buckets(field: Field, bucket: str) -> None:
    ours = catalog.BUCKETS.get(bucket)
    matrix = BUCKETS["sealed" if ours.sealed else "assets" if ours.public else "references" if ours.uploads else "outputs"] if ours else {}
    for who in field.personas:
        if who.kind == "service_role" and not ours:
            continue  # may have BYPASSRLS at Supabase
        assert (can := _found_in_bucket(field, bucket, who)) == expected(matrix, who), (bucket, who.name, can)


def _found_in_bucket(field: Field, bucket: str, who: Persona) -> Verbs:
    told: Verbs = {}
    tries = {
        "select": "select name from storage.objects where bucket_id = %(bucket)s and name like %(mine)s",
        "insert": "insert into storage.objects (bucket_id, name) values (%(bucket)s, %(new)s) returning %(new)s as name",
        "update": "update storage.objects set metadata = '{}' where bucket_id = %(bucket)s and name like %(mine)s returning name",
        "delete": "delete from storage.objects where bucket_id = %(bucket)s and name like %(mine)s returning name",
    }
    with field.api.request(who.role, who.user, admin=who.admin) as cursor:
        for verb, query in tries.items():
            reached = {
                user
                for user in field.users
                if permitted(cursor, query, {"bucket": bucket, "mine": f"{user}/%", "new": f"{user}/new.png"})
            }  # fmt: skip
            if reached:
                told[verb] = "all" if reached == set(field.users) else "own" if reached == {who.user} else f"some: {reached}"
    return told


# -- the matrix itself --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "relation", "seen"),
    [
        ("alter table public.characters disable row level security", "public.characters", "all"),
        ("create policy everyone on public.characters for select using (true)", "public.characters", "all"),
        ("grant select (salt) on public.job_payloads to authenticated", "public.job_payloads", "own"),
        ("alter view public.job_timeline set (security_invoker = false)", "public.job_timeline", "all"),
    ],
)
def test_deviations_from_the_matrix_are_detected(server: Server, template: str, mistake: str, relation: str, seen: str) -> None:
    name = server.create(template)
    database = Database(server.url(name))
    users = (new_user(database), new_user(database))
    whose = fill(database, users)
    user = Persona("A", "user", "authenticated", users[0])
    with api_of(server, name) as api:
        field = Field(database, api, users, whose, (user,))
        assert same(found(field, relation, user), expected(RELATIONS[relation], user))
        database.rows(mistake)
        now = found(field, relation, user)
    database.close()
    server.drop(name)
    assert not same(now, expected(RELATIONS[relation], user)) and now["select"].split()[0] == seen


def test_a_table_without_a_policy_is_detected(field: Field) -> None:
    """A table created after the migration: Supabase's default privileges grant it to everyone, and it has no entry in the matrix."""
    user = field.personas[1]
    field.database.rows("create table public.diaries (id uuid primary key default gen_random_uuid(), user_id uuid not null)")
    try:
        for owner in field.users:
            field.database.rows("insert into public.diaries (user_id) values (%s)", (owner,))
        assert relations(field.database) - set(RELATIONS) == {"public.diaries"}
        SAMPLES["public.diaries"] = {"user_id": "{user}"}
        can = found(field, "public.diaries", user)
    finally:
        field.database.rows("drop table public.diaries")
        SAMPLES.pop("public.diaries", None)
    assert can == {"select": "all", "insert": "all", "update": "all", "delete": "all"}


def test_api_roles_cannot_use_our_internal_schema(field: Field) -> None:
    for role in ("anon", "authenticated", "service_role", "ourvidz_admin"):
        assert field.database.rows("select has_schema_privilege(%s, 'ourvidz', 'usage') as may", (role,)) == [{"may": False}]


def test_owner_and_search_path(field: Field) -> None:
    """SECURITY DEFINER functions run as ourvidz_owner, which has no login, with a fixed search_path."""
    wrong = field.database.rows("""select p.oid::regprocedure::text as name from pg_proc as p
        where p.pronamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)
          -- These two must be the migrating role's, which may reach into Supabase's schemas; only ourvidz_owner may call them.
          and (p.proowner <> 'ourvidz_owner'::regrole and p.proname not in ('realtime_send', 'newest_upload', 'may_upload')
               or p.prosecdef and not coalesce(array_to_string(p.proconfig, ',') like '%%search_path=pg_catalog%%', false))""")
    assert wrong == []
    assert field.database.rows("select rolcanlogin from pg_roles where rolname = 'ourvidz_owner'") == [{"rolcanlogin": False}]


def test_views_use_the_callers_rights(field: Field) -> None:
    """Except `fleet`, which holds no user data: it shows executors to callers who may not read the whole table."""
    views = field.database.rows("""select c.relname, coalesce(array_to_string(c.reloptions, ','), '') as options from pg_class as c
        where c.relkind = 'v' and c.relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)""")
    assert len(views) > 1 and {v["relname"] for v in views if "security_invoker=true" not in v["options"]} == {"fleet"}


def test_realtime_publishes_jobs_and_the_library(field: Field) -> None:
    rows = field.database.rows("select tablename from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public'")
    assert {r["tablename"] for r in rows} == {"jobs", "images", "videos"}
    whole = "select relname from pg_class where relnamespace = 'public'::regnamespace and relreplident = 'f'"
    assert {r["relname"] for r in field.database.rows(whole)} == {"jobs", "images", "videos"}


def test_migrate_sets_postgrests_pre_request_function(server: Server, field: Field) -> None:
    """If the migrating role may set it, as at Supabase. If not, an admin has the rights of a plain user, and `doctor` reports it."""
    parameter = f"set on parameter pgrst.db_pre_request {{}} {OWNER}"
    told = """select setconfig from pg_db_role_setting where setrole = 'authenticator'::regrole
              and setdatabase = (select oid from pg_database where datname = current_database())"""
    assert field.database.rows(told) == []
    server.admin(f"grant {parameter.format('to')}")
    server.admin(f"grant authenticator to {OWNER} with admin option")  # as the role that created it in this cluster
    try:
        field.database.rows("update ourvidz.schema_objects set digest = 'of an older program'")
        with field.database.transaction() as connection:
            assert apply(connection)
        assert field.database.rows(told) == [{"setconfig": ["pgrst.db_pre_request=public.before_request"]}]
    finally:
        server.admin(f"revoke {parameter.format('from')}")


def test_users_can_only_reference_their_own_rows(field: Field) -> None:
    a, b = field.personas[1:3]
    for table, column, theirs in (("projects", "character_id", "characters"), ("videos", "project_id", "projects")):
        for owner, may in ((a.user, True), (b.user, False)):
            (other,) = field.database.rows(f"select id from public.{theirs} where user_id = %s", (owner,))
            for query in (f"insert into public.{table} (user_id, {column}) values (%s, %s)",
                          f"update public.{table} set {column} = %(other)s"):  # fmt: skip
                with field.api.request(a.role, a.user) as cursor:
                    params = {"other": other["id"]} if "%(other)s" in query else (a.user, other["id"])
                    assert (permitted(cursor, query, params) is not None) is may, (query, owner)


@pytest.mark.parametrize("table", ["jobs", "characters", "projects", "videos", "images", "usage_logs"])
def test_lists_use_the_user_index(field: Field, table: str) -> None:
    """The policy itself is the index condition, so other users' rows cost nothing (bench/rls.py)."""
    user = field.personas[1]
    with field.api.request(user.role, user.user) as cursor:
        cursor.execute("set local enable_seqscan = off")
        plan = "\n".join(str(r["QUERY PLAN"]) for r in cursor.execute(f"explain select * from public.{table}"))
    assert "Index Cond: (user_id = " in plan and "Filter" not in re.sub(r"Filter: \(NOT (hidden|taken_down)\)", "", plan), plan


def test_forged_admin_claims_give_no_admin_rights(field: Field) -> None:
    """Only app_metadata, which users cannot write, makes an admin, and only for a signed-in user."""
    for claims, role in (
        ({"role": "authenticated", "user_metadata": {"role": "admin"}}, "authenticated"),
        ({"role": "authenticated", "app_metadata": {"role": "analyst"}}, "authenticated"),
        ({"role": "anon", "app_metadata": {"role": "admin"}}, "anon"),
    ):
        with field.api.connection.transaction(), field.api.connection.cursor() as cursor:
            cursor.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            cursor.execute(f"set local role {role}")
            cursor.execute("select public.before_request()")
            assert cursor.execute("select current_user").fetchone() == (role,)


def test_rights_do_not_depend_on_default_privileges(server: Server, template: str) -> None:
    """Projects created before October 2026 grant every new table, function and sequence to the API roles; later ones grant nothing.
    After `migrate` all rights on our objects are equal in both, so the matrix holds for both; and a job can be submitted and read."""
    found = []
    for grants_by_default in (True, False):
        name = supabase_database(server, grants_by_default=grants_by_default)
        database = Database(server.url(name))
        try:
            with database.transaction() as connection:
                migrate(connection)
            assert database.rows("select count(*) > 0 as any from pg_default_acl") == [{"any": grants_by_default}]
            found.append(rights(database))
            user = new_user(database)
            with api_of(server, name) as api:
                job = api.rows("authenticated", user, "select public.queue_job('sdxl_image_fast', 'a lighthouse') as job")[0]["job"]
                assert [str(r["id"]) for r in api.rows("authenticated", user, "select id from public.jobs")] == [job["job_id"]]
                assert api.rows("authenticated", new_user(database), "select id from public.jobs") == []
        finally:
            database.close()
            server.drop(name)
    assert found[0] == found[1]
