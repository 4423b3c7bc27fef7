"""Attacks on disk space and on other users' time: a user adds unlimited rows, concurrently; and lists whose cost grows with other users'
rows. The tables that a user can add rows to or read come from the catalog."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from costs import Caller, insert
from support import Server, claim, executor, finish, submit

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.bounds import ROWS

User = Callable[..., str]
Project = Any

# -- which tables are bounded ------------------------------------------------------------------------------------------------------


def bodies(database: Database) -> dict[str, str]:
    """Source of our functions by qualified name; `rpc('verb', …)` calls api_verb."""
    rows = database.rows("""select p.pronamespace::regnamespace || '.' || p.proname as name, string_agg(p.prosrc, ' ') as body
        from pg_proc as p where p.pronamespace in ('public'::regnamespace, 'ourvidz'::regnamespace) group by 1""")
    return {r["name"]: r["body"] for r in rows}


def reached(database: Database) -> set[str]:
    """Functions that a user can trigger through PostgREST's rpc or by writing to a table, including all functions that those call."""
    body = bodies(database)
    offered = database.rows("""select p.pronamespace::regnamespace || '.' || p.proname as name from pg_proc as p
        where p.pronamespace = 'public'::regnamespace and has_function_privilege('authenticated', p.oid, 'execute')
        union select p.pronamespace::regnamespace || '.' || p.proname from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
        where not t.tgisinternal and t.tgrelid::regclass::text = any (%s)""", (sorted(written(database)),))  # fmt: skip
    todo, found = [r["name"] for r in offered], set()
    while todo:
        name = todo.pop()
        if name in found or name not in body:
            continue
        found.add(name)
        todo += re.findall(r"\b((?:ourvidz|public)\.\w+)\s*\(", body[name])
        todo += [f"ourvidz.api_{verb}" for verb in re.findall(r"rpc\('(\w+)'", body[name])]
    return found


def written(database: Database) -> set[str]:
    """Tables on which users have the INSERT right."""
    rows = database.rows("""select c.oid::regclass::text as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('public', 'ourvidz') and c.relkind in ('r', 'p') and (has_any_column_privilege('authenticated', c.oid, 'insert')
                                                                                or has_any_column_privilege('anon', c.oid, 'insert'))""")
    return {r["name"] for r in rows}


def test_every_table_that_a_user_can_add_rows_to_has_a_bound(database: Database) -> None:
    body = bodies(database)
    by_functions = {table for name in reached(database) for table in re.findall(r"insert into (?:public|ourvidz)\.(\w+)", body[name])}
    added = {name.rpartition(".")[2] for name in written(database)} | by_functions
    assert {"jobs", "images", "consents", "screenings", "usage_logs", "enhancement_requests"} <= added
    ours = {"row_counts"}  # one row for each owner in row_bounds
    assert sorted(added - set(ROWS) - ours) == []
    counted = database.rows("select distinct tgrelid::regclass::text as name from pg_trigger where tgname = 'rows_added'")
    assert {r["name"].rpartition(".")[2] for r in counted} == {name for name, bound in ROWS.items() if bound.rows}


def test_the_bound_trigger_fires_first(database: Database) -> None:
    """Triggers fire in order of their names: the legacy system's, and any that reads the row, come later."""
    tables = database.rows("""select c.oid::regclass::text as name, (
            select p.proname from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
            where t.tgrelid = c.oid and not t.tgisinternal and t.tgtype & 7 = 7 order by t.tgname collate "C" limit 1) as first
        from pg_class as c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
          and exists (select from unnest('{authenticated,ourvidz_admin,service_role}'::text[]) as r
                      join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and a.atttypid in ('jsonb'::regtype, 'text'::regtype)
                      where has_column_privilege(r, c.oid, a.attnum, 'insert') or has_column_privilege(r, c.oid, a.attnum, 'update'))""")
    assert {"public.jobs", "jobs"} & {t["name"] for t in tables} and len(tables) >= 9
    assert [t for t in tables if t["first"] != "bound_row"] == []


# -- number of rows ----------------------------------------------------------------------------------------------------------------


def bound(database: Database, name: str, rows: int, size: int = 2**30) -> None:
    found = database.rows("update ourvidz.row_bounds set rows = %s, bytes = %s where name = %s returning name", (rows, size, name))
    assert found


def count(database: Database, table: str, user: str) -> int:
    return int(database.rows(f"select count(*) as n from {table} where user_id = %s", (user,))[0]["n"])


def test_concurrent_inserts_respect_the_bound(server: Server, database: Database, database_name: str, user: User) -> None:
    bound(database, "projects", 10)
    me, other = user(), user()
    url = server.url(database_name, superuser=True)

    def add(n: int) -> str | None:
        caller = Caller(url, me if n % 2 else other)
        return caller.ask(insert("public.projects", ["user_id", "title"]), json.dumps([{"user_id": caller.user, "title": "x"}] * 3)).refused

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(add, range(20)))
    assert sorted(said, key=str) == [None] * 6 + ["OV041"] * 14
    assert [count(database, "public.projects", u) for u in (me, other)] == [9, 9]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("delete from public.projects where user_id = %s", (me,))
    assert add(1) is None
    assert database.rows("select rows from ourvidz.row_counts where name = 'projects' and owner = %s", (me,)) == [{"rows": 3}]


def test_existing_rows_count_and_cascaded_deletes_are_credited(server: Server, database: Database, database_name: str, user: User) -> None:
    me, url = user(), server.url(database_name, superuser=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter table public.projects disable trigger user")  # as rows from before the migration
        connection.execute("insert into public.projects (user_id, title) select %s, 'x' from generate_series(1, 4)", (me,))
        connection.execute("alter table public.projects enable trigger user")
    bound(database, "projects", 5)
    bound(database, "scenes", 2)
    one = json.dumps([{"user_id": me, "title": "x"}])
    caller = Caller(url, me)
    assert [caller.ask(insert("public.projects", ["user_id", "title"]), one).refused for _ in range(2)] == [None, "OV041"]
    project = str(database.rows("select id from public.projects where user_id = %s limit 1", (me,))[0]["id"])
    scene = insert("public.scenes", ["project_id", "scene_number", "description"])
    said = [caller.ask(scene, json.dumps([{"project_id": project, "scene_number": n, "description": "x"}])).refused for n in range(3)]
    assert said == [None, None, "OV041"]
    assert caller.ask("delete from public.projects where id = %s::uuid returning 1", project).refused is None
    assert database.rows("select 1 from ourvidz.row_counts where owner = %s::uuid", (project,)) == []
    assert caller.ask(insert("public.projects", ["user_id", "title"]), one).refused is None


def test_large_rows_count_by_their_bytes(server: Server, database: Database, database_name: str, user: User) -> None:
    bound(database, "characters", 1_000, 20_000)
    caller = Caller(server.url(database_name, superuser=True), user())
    row = {"user_id": caller.user, "name": "x", "description": secrets.token_hex(1_600)}
    add, columns = json.dumps([row]), ["user_id", "name", "description"]
    said = [caller.ask(insert("public.characters", columns), add).refused for _ in range(8)]
    assert said == [None] * 5 + ["OV041"] * 3
    grow = "update public.characters set traits = %s where user_id = auth.uid() returning 1"
    assert caller.ask(grow, secrets.token_hex(1_600)).refused == "OV041"
    assert caller.ask("update public.characters set description = %s where user_id = auth.uid() returning 1", "").refused is None
    assert caller.ask(grow, secrets.token_hex(1_600)).refused is None


def test_usage_lines_are_never_refused(server: Server, database: Database, database_name: str, jobs: Jobs, user: User) -> None:
    """The front end's flow fails if its usage line is refused, so the oldest line of a client is deleted instead. Lines of job events
    stay."""
    bound(database, "usage_logs", 4)
    me = user()
    submit(jobs, me)
    caller = Caller(server.url(database_name, superuser=True), me)
    for n in range(7):
        assert (
            caller.ask(insert("public.usage_logs", ["user_id", "action"]), json.dumps([{"user_id": me, "action": f"line {n}"}])).refused
            is None
        )
    lines = database.rows("select action, job_id from public.usage_logs where user_id = %s order by created_at", (me,))
    assert [r["action"] for r in lines] == ["job_queued", *(f"line {n}" for n in range(3, 7))]


def test_rows_written_by_rpc_are_bounded(server: Server, database: Database, database_name: str, user: User) -> None:
    bound(database, "consents", 2)
    bound(database, "screenings", 3)
    with api_of(server, database_name) as api:
        me = user()
        said = [refusal(api, me, "select public.attest_consent(%s, '1')", (f"{n:064x}",)) for n in range(4)]
        assert said == [None, None, "OV041", "OV041"]
        assert refusal(api, me, "select public.attest_consent(%s, '1')", (f"{0:064x}",)) is None  # the same attestation again adds no row
        report = "select public.report_refusal('minors', '2025-08+00000000', 'en/word', repeat('0', 64))"
        assert [refusal(api, me, report, ()) for _ in range(5)] == [None] * 3 + ["OV041"] * 2


def refusal(api: Api, user: str, sql: str, params: tuple[str, ...]) -> str | None:
    try:
        api.rows("authenticated", user, sql, params)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def test_a_full_library_does_not_block_jobs(server: Server, database: Database, database_name: str, jobs: Jobs, user: User) -> None:
    bound(database, "images", 1)
    me = user()
    caller = Caller(server.url(database_name, superuser=True), me)
    row = json.dumps([{"user_id": me, "prompt": "x"}])
    assert [caller.ask(insert("public.images", ["user_id", "prompt"]), row).refused for _ in range(2)] == [None, "OV041"]
    job = submit(jobs, me)
    finish(jobs, claim(jobs, executor(jobs)))
    assert database.rows("select status from public.images where job_id = %s", (job,)) == [{"status": "completed"}]


def test_reference_uploads_are_bounded(project: Project) -> None:
    me, other = project.user(), project.user()
    project.database.rows("update ourvidz.limits set upload_objects = 3")
    with project.client(project.service_key) as admin:
        assert admin.post("/storage/v1/bucket", json={"name": "reference_images", "public": False}).status_code == 200
    with project.client(me) as client, project.client(other) as theirs:

        def upload(who: Any, user: Any, name: str) -> int:
            answer = who.post(
                f"/storage/v1/object/reference_images/{user.id}/{name}.png",
                content=b"\x89PNG\r\n\x1a\n",
                headers={"Content-Type": "image/png"},
            )
            return int(answer.status_code)

        said = [upload(client, me, f"{n}") for n in range(5)]
        assert said[:3] == [200] * 3 and all(status >= 400 for status in said[3:]), said
        assert upload(theirs, other, "0") == 200
        assert client.request("DELETE", "/storage/v1/object/reference_images", json={"prefixes": [f"{me.id}/0.png"]}).status_code == 200
        assert upload(client, me, "5") == 200


# -- cost of lists -----------------------------------------------------------------------------------------------------------------

# A row of user n / 20 for each n of a range; triggers and foreign keys are disabled, as only a superuser can.
WHO, KEY = "md5('user' || n / 20)::uuid", "md5('{}' || n)::uuid"
WHEN = "timestamptz '2025-07-07' + n * interval '1 second'"
FILL = {
    "profiles": ("id", "md5('user' || n)::uuid"),
    "user_roles": ("user_id, role", "md5('user' || n)::uuid, 'basic_user'"),
    "characters": ("id, user_id, name, created_at", f"{KEY.format('character')}, {WHO}, 'x', {WHEN}"),
    "projects": ("id, user_id, title, created_at", f"{KEY.format('project')}, {WHO}, 'x', {WHEN}"),
    "scenes": ("project_id, scene_number, description, created_at", f"{KEY.format('project')}, 1, 'x', {WHEN}"),
    "videos": ("user_id, status, created_at", f"{WHO}, 'draft', {WHEN}"),
    "images": ("user_id, prompt, status, created_at", f"{WHO}, 'x', 'queued', {WHEN}"),
    "usage_logs": ("user_id, action, created_at", f"{WHO}, 'x', {WHEN}"),
    "user_activity_log": ("user_id, action, created_at", f"{WHO}, 'x', {WHEN}"),
    "consents": ("user_id, sha256, statement_version, attested_at", f"{WHO}, repeat(md5('c' || n), 2), '1', {WHEN}"),
    "jobs": (
        "id, status, version, head_hash, submitted_on, user_id, job_type, lane, priority, rank, claim_no, attempts, errors, crashes,"
        " device_crashes, snoozes, cancel_requested, final, enhanced, generated, uploaded, created_at, updated_at, completed_at",
        f"{KEY.format('job')}, 'completed', 1, sha256('x'), '2025-07-07', {WHO}, 'image_fast', 'wan', 0, 0, 1, 1, 0, 0, 0, 0, false, false,"
        f" false, 1, 1, {WHEN}, {WHEN}, {WHEN}",
    ),
    "job_payloads": (
        "job_id, user_id, prompt, settings, salt, body_digest", f"{KEY.format('job')}, {WHO}, 'x', '{{}}', sha256('x'), sha256('x')",
    ),
    "artifacts": (
        "job_id, index, kind, claim_no, bucket, path, media_type, width, height, bytes, sha256, created_at, uploaded_at",
        f"{KEY.format('job')}, 0, 'image', 1, 'image_fast', {WHO} || '/' || {KEY.format('job')} || '/1-0.png', 'image/png', 8, 8, 1,"
        f" repeat(md5('a' || n), 2), {WHEN}, {WHEN}",
    ),
}  # fmt: skip
NOT_YET = {"job_events", "job_timeline", "job_durations"}
"""Read by their own key once the engine's tables are partitioned."""


def readable(database: Database) -> set[str]:
    rows = database.rows("""select c.relname as name from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
          and has_any_column_privilege('authenticated', c.oid, 'select')""")
    return {r["name"] for r in rows}


def fill(connection: psycopg.Connection[Any], names: set[str], first: int, last: int) -> None:
    for name in sorted(names):
        columns, values = FILL.get(name) or generic(connection, name)
        n = (
            f"generate_series({first // 20}, {last // 20} - 1)"
            if name in ("profiles", "user_roles")
            else f"generate_series({first}, {last} - 1)"
        )
        connection.execute(f"alter table public.{name} disable trigger all")
        connection.execute(f"insert into public.{name} ({columns}) select {values} from {n} as n")
        connection.execute(f"alter table public.{name} enable trigger all")
    connection.execute("analyze")


def generic(connection: psycopg.Connection[Any], name: str) -> tuple[str, str]:
    """Columns and values for a table that is not in FILL yet: the NOT NULL columns, by type, and the user."""
    made = {"uuid": "gen_random_uuid()", "text": "'x'", "timestamp with time zone": WHEN, "jsonb": "'{}'", "boolean": "false"}
    rows = connection.execute(
        """select attname, format_type(atttypid, null) from pg_attribute where attrelid = ('public.' || %s)::regclass and attnum > 0
           and not attisdropped and attidentity = '' and attgenerated = ''
           and (attname = 'user_id' or attnotnull and not atthasdef)""", (name,)
    ).fetchall()  # fmt: skip
    found = {column: WHO if column == "user_id" else made.get(kind, "1") for column, kind in rows}
    return ", ".join(found), ", ".join(found.values())


def buffers(api: Api, user: str, sql: str) -> int:
    (row,) = api.rows("authenticated", user, f"explain (analyze, buffers, format json) {sql}")
    plan = row["QUERY PLAN"][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def lists(database: Database) -> dict[str, str]:
    """The front end's queries: the newest twenty rows, and all of the user's own up to PostgREST's limit of a thousand."""
    found = {}
    for name in sorted(readable(database) - NOT_YET):
        columns = database.rows(
            """select string_agg(quote_ident(attname), ', ') as all,
                      max(attname) filter (where attname in ('created_at', 'attested_at')) as latest
               from pg_attribute where attrelid = ('public.' || %s)::regclass and attnum > 0 and not attisdropped
                 and has_column_privilege('authenticated', attrelid, attnum, 'select')""",
            (name,),
        )[0]
        found[f"all of {name}"] = f"select {columns['all']} from public.{name} limit 1000"
        if columns["latest"]:
            found[f"newest of {name}"] = f"select {columns['all']} from public.{name} order by {columns['latest']} desc limit 20"
    return found


def costs_of_lists(server: Server, template: str, small: int, large: int) -> None:
    name = server.create(template)
    database = Database(server.url(name))
    try:
        asked, tables = lists(database), readable(database) - NOT_YET
        me = database.rows("select md5('user' || 7)::uuid::text as id")[0]["id"]
        with psycopg.connect(server.url(name, superuser=True), autocommit=True) as connection, api_of(server, name) as api:
            fill(connection, tables, 0, small)
            before = {what: buffers(api, me, sql) for what, sql in asked.items()}
            assert {len(api.rows("authenticated", me, sql)) for what, sql in asked.items() if "artifacts" in what or "images" in what} == {
                20
            }
            fill(connection, tables, small, large)
            after = {what: buffers(api, me, sql) for what, sql in asked.items()}
            # A user with equally many rows: an index finds the newest twenty.
            own = {t for t in tables if f"newest of {t}" in asked and "user_id" in FILL.get(t, ("user_id",))[0]} - {"user_roles"} | {
                "artifacts"
            }
            heavy = mine(connection, own, large)
            for what in (f"newest of {table}" for table in sorted(own)):
                after[f"{what}, of many"] = buffers(api, heavy, asked[what])
                before[f"{what}, of many"] = before[what]
    finally:
        database.close()
        server.drop(name)
    # Deeper indexes and scattered rows: the blocks of a few times twenty rows, whatever the number of rows.
    worse = {what: (before[what], after[what]) for what in after if after[what] > 3 * before[what] + 60}
    assert worse == {}, worse


def mine(connection: psycopg.Connection[Any], tables: set[str], last: int) -> str:
    """Give the second half of all rows to one user."""
    found = connection.execute("select md5('heavy')::uuid::text").fetchone()
    assert found
    half = f"created_at > timestamptz '2025-07-07' + {last // 2} * interval '1 second'"
    for table in sorted(tables):
        connection.execute(f"alter table public.{table} disable trigger all")
        change = (
            "path = replace(path, split_part(path, '/', 1), md5('heavy')::uuid::text)"
            if table == "artifacts"
            else "user_id = md5('heavy')::uuid"
        )
        connection.execute(
            f"update public.{table} set {change} where {half.replace('created_at', 'attested_at') if table == 'consents' else half}"
        )
        connection.execute(f"alter table public.{table} enable trigger all")
    connection.execute("vacuum analyze")
    return str(found[0])


def test_lists_cost_the_same_however_many_rows_others_have(server: Server, template: str) -> None:
    costs_of_lists(server, template, 1_000, 20_000)


@pytest.mark.nightly
def test_lists_cost_the_same_with_a_million_rows(server: Server, template: str) -> None:
    costs_of_lists(server, template, 1_000, 1_000_000)
