"""Schema objects: only changed ones are replaced, removed ones are dropped, and an older program never replaces a newer release's."""

from __future__ import annotations

import json
import threading
from typing import Any

import psycopg
import pytest
from other_releases import ADDED, applied, program
from psycopg.rows import dict_row

from ourvidz.db import migrate, schema_files, schema_objects, statements
from ourvidz.db.connection import Database
from ourvidz.db.schema_objects import Standing

Parts = dict[str, str]

BORROWED = "functions/submit/priority_offset.sql"


def recorded(database: Database) -> dict[str, dict[str, Any]]:
    return {f"{r['kind']} {r['name']}": r for r in database.rows("select *, xmin::text as written from ourvidz.schema_objects")}


def touched(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_a_change_replaces_only_what_changed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recorded(database)
    database.rows("alter function ourvidz.priority_offset(integer) cost 7")  # a replacement would reset it
    with program(
        monkeypatch, functions__submit__priority_offset=lambda sql: sql.replace("$$ ", "$$ /* a comment alone */ ", 1) + ";" + ADDED
    ):
        assert applied(database) is True
        assert applied(database) is False
    assert touched(before, recorded(database)) == {"function ourvidz.added(uuid)", "layer layer"}
    assert database.rows("select procost from pg_proc where proname = 'priority_offset'") == [{"procost": 7}]
    # A program without the function drops it again.
    with program(monkeypatch, release=2):
        applied(database)
    assert recorded(database).keys() == before.keys()
    assert database.rows("select to_regprocedure('ourvidz.added(uuid)') as there") == [{"there": None}]


def test_a_changed_signature_or_result_type_recreates_dependents(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres changes neither in place: a view that reads the function is made again with it, and rights are restored."""
    reads = "create or replace view ourvidz.reads with (security_invoker = true) as select ourvidz.added(null) as n;"
    views = {"views__queue_depth": reads}
    rights = "select relacl::text as acl, relowner::regrole::text as owner from pg_class where oid = 'ourvidz.reads'::regclass"
    with program(monkeypatch, functions__submit__priority_offset=ADDED, **views):
        applied(database)
    before = database.rows(rights)
    with program(monkeypatch, release=2, functions__submit__priority_offset=ADDED.replace("returns integer", "returns bigint"), **views):
        applied(database)
        assert database.rows("select pg_typeof(n)::text as kind from ourvidz.reads") == [{"kind": "bigint"}]
        assert database.rows(rights) == before and before[0]["owner"] == "ourvidz_owner"
    with program(
        monkeypatch,
        release=3,
        functions__submit__priority_offset=ADDED.replace("p_job uuid", "p_job uuid, p_more integer default 2"),
        **views,
    ):
        applied(database)
    assert database.rows("select oid::regprocedure::text as name from pg_proc where proname = 'added'") == [
        {"name": "ourvidz.added(uuid,integer)"}
    ]
    assert database.rows("select n from ourvidz.reads") == [{"n": 1}]
    with program(monkeypatch, release=4):
        applied(database)
    assert database.rows("select to_regclass('ourvidz.reads') as view") == [{"view": None}]


def test_replacing_an_object_with_foreign_dependents_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(monkeypatch, functions__submit__priority_offset=ADDED):
        applied(database)
    database.rows("create view public.their_report as select ourvidz.added(null)")
    before = recorded(database)
    with program(monkeypatch, release=2), pytest.raises(psycopg.errors.DependentObjectsStillExist) as refused:
        applied(database)
    assert "view their_report" in str(refused.value) and "migrate" in (refused.value.diag.message_hint or "")
    assert recorded(database) == before


def test_changed_triggers_and_policies_are_replaced_individually(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    triggers = "select tgname, oid::text from pg_trigger where not tgisinternal"
    policies = "select polname, polrelid::regclass::text as relation, oid::text from pg_policy"
    before = (
        {r["tgname"]: r["oid"] for r in database.rows(triggers)},
        {(r["polname"], r["relation"]): r["oid"] for r in database.rows(policies)},
    )
    with program(
        monkeypatch,
        triggers=lambda sql: sql.replace("old.token_balance > 0", "old.token_balance > 1"),
        policies=lambda sql: sql.replace("'profiles', 'update', 'last_login', 'id =", "'profiles', 'update', 'last_login', 'true and id ="),
    ):
        applied(database)
    after = (
        {r["tgname"]: r["oid"] for r in database.rows(triggers)},
        {(r["polname"], r["relation"]): r["oid"] for r in database.rows(policies)},
    )
    assert before[0].keys() == after[0].keys() and before[1].keys() == after[1].keys()
    assert {key for key in before[1] if before[1][key] != after[1][key]} == {("authenticated update", "profiles")}
    assert database.rows("select pg_get_triggerdef(oid) like '%%> 1)%%' as changed from pg_trigger where tgname = 'balance_closed'") == [
        {"changed": True}
    ]
    assert database.rows("select distinct tgenabled::text as on from pg_trigger where tgname like 'balance%%'") == [{"on": "O"}]


def test_tables_of_unchanged_objects_are_not_locked(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a read lock held on every table of ours; concurrent sessions wait for nothing."""
    tables = [r["t"] for r in database.rows(
        """select oid::regclass::text as t from pg_class
           where relkind = 'r' and relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)"""
    )]  # fmt: skip
    change = {
        "functions__submit__priority_offset": ADDED,
        "views__queue_depth": lambda sql: sql.replace("group by lane, priority", "group by 1, 2"),
    }
    with database.transaction() as reader, program(monkeypatch, **change):
        for table in tables:
            reader.exec_driver_sql(f"select 1 from {table} limit 1")
        with database.transaction() as connection:
            connection.exec_driver_sql("set local lock_timeout = '2s'")
            assert schema_objects.apply(connection) is True
            held = connection.exec_driver_sql(
                """select c.relname::text from pg_locks as l join pg_class as c on c.oid = l.relation where
                   l.pid = pg_backend_pid() and c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)
                     and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')"""
            ).fetchall()
            assert held == [("locks",)]  # migrations take turns by its lock; no other session waits for it
    with database.transaction() as reader, program(monkeypatch, release=2):  # drops the function again; touches no table
        reader.exec_driver_sql("select 1 from public.jobs limit 1")
        with database.transaction() as connection:
            connection.exec_driver_sql("set local lock_timeout = '2s'")
            assert schema_objects.apply(connection) is True


def test_an_older_program_does_not_change_a_newer_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(monkeypatch, functions__submit__priority_offset=ADDED):
        applied(database)
    database.rows("update ourvidz.alembic_version set version_num = '9999'")  # a revision unknown to this program
    before = recorded(database)
    with database.transaction() as connection:
        assert schema_objects.standing(connection) is Standing.NEWER
        assert schema_objects.apply(connection) is False
        assert migrate.migrate(connection) == "9999"
        schema_files.script(connection, schema_objects.applying())  # the file of `migrate --sql` does not either
    assert recorded(database) == before


def test_concurrent_migrations_apply_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(monkeypatch, functions__submit__priority_offset=ADDED):
        done: list[bool] = []
        threads = [threading.Thread(target=lambda: done.append(applied(database))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(done) == [False, False, False, True]


def test_unrecorded_objects_of_an_older_release_are_dropped(database: Database) -> None:
    """Schema objects were not recorded before migration 0004: in such a database, objects of ours without a record belong to an older
    release."""
    before = recorded(database).keys()
    with database.transaction() as connection:
        for statement in (
            "create function ourvidz.pick(a text, b integer, c text, d timestamptz) returns integer language sql as 'select 1'",
            "create function public.theirs() returns integer language sql as 'select 1'",
            "create view ourvidz.old_view as select 1 as n",
            "delete from ourvidz.schema_objects",
        ):
            connection.exec_driver_sql(statement)
    with database.transaction() as connection:
        assert schema_objects.found(connection) == schema_objects.Release(0, "") and schema_objects.standing(connection) is Standing.OLDER
        migrate.migrate(connection)
    (there,) = database.rows(
        """select to_regprocedure('ourvidz.pick(text, integer, text, timestamptz)') as pick, to_regclass('ourvidz.old_view') as view,
                  to_regprocedure('public.theirs()')::text as theirs"""
    )
    assert there == {"pick": None, "view": None, "theirs": "theirs()"}
    assert recorded(database).keys() == before


def test_every_object_is_found_under_its_recorded_name(superuser: psycopg.Connection[Any]) -> None:
    superuser.row_factory = dict_row  # type: ignore[assignment]
    named = {f"{one.kind} {one.name}" for one in schema_objects.objects()} | {"layer layer"}
    rows = superuser.execute("select kind, name from ourvidz.schema_objects where kind <> 'policy'").fetchall()
    assert {f"{r['kind']} {r['name']}" for r in rows} == named
    lost = superuser.execute(
        """select name from ourvidz.schema_objects where case kind when 'function' then to_regprocedure(name) is null
             when 'view' then to_regclass(name) is null else false end"""
    ).fetchall()
    assert lost == []
    (functions,) = superuser.execute("select count(*) as n from pg_proc where pronamespace = 'ourvidz'::regnamespace").fetchall()
    assert functions["n"] == sum(one.name.startswith("ourvidz.") for one in schema_objects.objects() if one.kind == "function")


# -- the release file ---------------------------------------------------------------------------------------------------------------


def test_the_release_number_increases_when_the_sql_changes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "release.json"
    monkeypatch.setattr(schema_objects, "RELEASE_FILE", file)
    digest = schema_objects.digest(schema_objects.objects())
    for text, number in (
        (json.dumps({"release": 7, "digest": digest}), 7),
        (json.dumps({"release": 7, "digest": "another"}), 8),
        ('{\n<<<<<<< HEAD\n"release": 9, "digest": "a"\n=======\n"release": 8, "digest": "b"\n>>>>>>> x\n}', 10),
    ):
        file.write_text(text)
        assert json.loads(schema_objects.next_numbered())["release"] == number


# -- parsing SQL ----------------------------------------------------------------------------------------------------------------------


def test_sql_is_split_into_statements() -> None:
    sql = """-- one; with a comment
    select ';' as "a;b", E'\\';' /* ; */ ; select $$ it''s; -- not over
    $$, $q$ ; $$ ; $q$;
    -- nothing follows
    """
    assert [statements.bare(s) for s in statements.split(sql)] == [
        """select ';' as "a;b", E'\\';'""", """select $$ it''s; $$, $q$ ; $$ ; $q$""",
    ]  # fmt: skip


def test_the_digest_ignores_comments_and_whitespace_but_not_strings() -> None:
    one = "create or replace function f() returns text language sql as $$ select 'a  -- b' $$"
    same = "create or replace function f()\n  returns text -- why\n  language sql as $$\n  select /* how */ 'a  -- b'\n$$"
    other = one.replace("a  --", "a --")
    assert statements.bare(one) == statements.bare(same) != statements.bare(other)


@pytest.mark.parametrize(
    ("header", "types"),
    [
        ("f()", []),
        ("f(p_a uuid, p_b integer default f(1, 2), out p_c text, inout p_d text[] = '{}')", ["uuid", "integer", "text[]"]),
        (
            "f(at timestamp with time zone, n numeric(10, 2), double precision)",
            ["timestamp with time zone", "numeric(10, 2)", "double precision"],
        ),
    ],
)
def test_parse_a_functions_input_types(header: str, types: list[str]) -> None:
    assert statements.arguments(header) == types


def test_a_statement_that_creates_no_object_is_refused_with_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        program(monkeypatch, functions__submit__priority_offset="grant select on public.jobs to public"),
        pytest.raises(ValueError, match=r"priority_offset\.sql"),
    ):
        schema_objects.objects()
