"""Schema objects: only what changed is replaced, what vanished is dropped, an older program never replaces a newer release."""

from __future__ import annotations

import json
import threading
from typing import Any

import psycopg
import pytest
from layers import ADDED, applied, program
from psycopg.rows import dict_row

from ourvidz.db import layer, migrate, schema, statements
from ourvidz.db.connection import Database
from ourvidz.db.layer import Standing

Parts = dict[str, str]

BORROWED = "functions/head_start.sql"


def recorded(database: Database) -> dict[str, dict[str, Any]]:
    return {f"{r['kind']} {r['name']}": r for r in database.rows("select *, xmin::text as written from ourvidz.schema_objects")}


def touched(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_a_change_replaces_only_what_changed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recorded(database)
    database.rows("alter function ourvidz.head_start(integer) cost 7")  # which a replacement would take away
    with program(monkeypatch, functions__head_start=lambda sql: sql.replace("$$ ", "$$ /* a comment alone */ ", 1) + ";" + ADDED):
        assert applied(database) is True
        assert applied(database) is False
    assert touched(before, recorded(database)) == {"function ourvidz.added(uuid)", "layer layer"}
    assert database.rows("select procost from pg_proc where proname = 'head_start'") == [{"procost": 7}]
    # And the program without it drops it again.
    with program(monkeypatch, release=2):
        applied(database)
    assert recorded(database).keys() == before.keys()
    assert database.rows("select to_regprocedure('ourvidz.added(uuid)') as there") == [{"there": None}]


def test_another_signature_or_result_replaces_what_depends_on_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres replaces neither in place; a view that reads the function comes again with it, and rights are as they were."""
    reads = "create or replace view ourvidz.reads with (security_invoker = true) as select ourvidz.added(null) as n;"
    views = {"views__queue_depth": reads}
    rights = "select relacl::text as acl, relowner::regrole::text as owner from pg_class where oid = 'ourvidz.reads'::regclass"
    with program(monkeypatch, functions__head_start=ADDED, **views):
        applied(database)
    before = database.rows(rights)
    with program(monkeypatch, release=2, functions__head_start=ADDED.replace("returns integer", "returns bigint"), **views):
        applied(database)
        assert database.rows("select pg_typeof(n)::text as kind from ourvidz.reads") == [{"kind": "bigint"}]
        assert database.rows(rights) == before and before[0]["owner"] == "ourvidz_owner"
    with program(
        monkeypatch, release=3, functions__head_start=ADDED.replace("p_job uuid", "p_job uuid, p_more integer default 2"), **views
    ):
        applied(database)
    assert database.rows("select oid::regprocedure::text as name from pg_proc where proname = 'added'") == [
        {"name": "ourvidz.added(uuid,integer)"}
    ]
    assert database.rows("select n from ourvidz.reads") == [{"n": 1}]
    with program(monkeypatch, release=4):
        applied(database)
    assert database.rows("select to_regclass('ourvidz.reads') as view") == [{"view": None}]


def test_what_others_depend_on_is_refused_by_name_and_nothing_is_done(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(monkeypatch, functions__head_start=ADDED):
        applied(database)
    database.rows("create view public.their_report as select ourvidz.added(null)")
    before = recorded(database)
    with program(monkeypatch, release=2), pytest.raises(psycopg.errors.DependentObjectsStillExist) as refused:
        applied(database)
    assert "view their_report" in str(refused.value) and "migrate" in (refused.value.diag.message_hint or "")
    assert recorded(database) == before


def test_a_trigger_or_policy_is_replaced_by_itself(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_no_table_is_locked_whose_objects_did_not_change(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody holds every table of ours as a reader does, and others wait for nothing."""
    tables = [r["t"] for r in database.rows(
        """select oid::regclass::text as t from pg_class
           where relkind = 'r' and relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)"""
    )]  # fmt: skip
    change = {"functions__head_start": ADDED, "views__queue_depth": lambda sql: sql.replace("group by lane, priority", "group by 1, 2")}
    with database.transaction() as reader, program(monkeypatch, **change):
        for table in tables:
            reader.exec_driver_sql(f"select 1 from {table} limit 1")
        with database.transaction() as connection:
            connection.exec_driver_sql("set local lock_timeout = '2s'")
            assert layer.apply(connection) is True
            held = connection.exec_driver_sql(
                """select c.relname::text from pg_locks as l join pg_class as c on c.oid = l.relation where
                   l.pid = pg_backend_pid() and c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)
                     and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')"""
            ).fetchall()
            assert held == [("locks",)]  # whose lock migrations take turns by, and which nobody who works waits for
    with database.transaction() as reader, program(monkeypatch, release=2):  # takes the function away again, and says nothing to the tables
        reader.exec_driver_sql("select 1 from public.jobs limit 1")
        with database.transaction() as connection:
            connection.exec_driver_sql("set local lock_timeout = '2s'")
            assert layer.apply(connection) is True


def test_an_older_program_leaves_a_newer_database_alone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(monkeypatch, functions__head_start=ADDED):
        applied(database)
    database.rows("update ourvidz.alembic_version set version_num = '9999'")  # a revision that this program never heard of
    before = recorded(database)
    with database.transaction() as connection:
        assert layer.standing(connection) is Standing.NEWER
        assert layer.apply(connection) is False
        assert migrate.migrate(connection) == "9999"
        schema.script(connection, layer.applying())  # nor does the file that `migrate --sql` writes
    assert recorded(database) == before


def test_migrations_at_once_apply_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(monkeypatch, functions__head_start=ADDED):
        done: list[bool] = []
        threads = [threading.Thread(target=lambda: done.append(applied(database))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(done) == [False, False, False, True]


def test_a_database_from_before_the_record_loses_what_is_no_more(database: Database) -> None:
    """Schema objects were not recorded before migration 0004: what such a database has of ours is an older release's."""
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
        assert layer.found(connection) == layer.Release(0, "") and layer.standing(connection) is Standing.OLDER
        migrate.migrate(connection)
    (there,) = database.rows(
        """select to_regprocedure('ourvidz.pick(text, integer, text, timestamptz)') as pick, to_regclass('ourvidz.old_view') as view,
                  to_regprocedure('public.theirs()')::text as theirs"""
    )
    assert there == {"pick": None, "view": None, "theirs": "theirs()"}
    assert recorded(database).keys() == before


def test_every_object_is_found_under_its_recorded_name(superuser: psycopg.Connection[Any]) -> None:
    superuser.row_factory = dict_row  # type: ignore[assignment]
    named = {f"{one.kind} {one.name}" for one in layer.objects()} | {"layer layer"}
    rows = superuser.execute("select kind, name from ourvidz.schema_objects where kind <> 'policy'").fetchall()
    assert {f"{r['kind']} {r['name']}" for r in rows} == named
    lost = superuser.execute(
        """select name from ourvidz.schema_objects where case kind when 'function' then to_regprocedure(name) is null
             when 'view' then to_regclass(name) is null else false end"""
    ).fetchall()
    assert lost == []
    (functions,) = superuser.execute("select count(*) as n from pg_proc where pronamespace = 'ourvidz'::regnamespace").fetchall()
    assert functions["n"] == sum(one.name.startswith("ourvidz.") for one in layer.objects() if one.kind == "function")


# -- the release file ---------------------------------------------------------------------------------------------------------------


def test_the_number_grows_when_the_sql_changes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "release.json"
    monkeypatch.setattr(layer, "RELEASE_FILE", file)
    digest = layer.digest(layer.objects())
    for text, number in (
        (json.dumps({"release": 7, "digest": digest}), 7),
        (json.dumps({"release": 7, "digest": "another"}), 8),
        ('{\n<<<<<<< HEAD\n"release": 9, "digest": "a"\n=======\n"release": 8, "digest": "b"\n>>>>>>> x\n}', 10),
    ):
        file.write_text(text)
        assert json.loads(layer.next_numbered())["release"] == number


# -- taking SQL apart -----------------------------------------------------------------------------------------------------------------


def test_statements_end_where_they_end() -> None:
    sql = """-- one; with a comment
    select ';' as "a;b", E'\\';' /* ; */ ; select $$ it''s; -- not over
    $$, $q$ ; $$ ; $q$;
    -- nothing follows
    """
    assert [statements.bare(s) for s in statements.split(sql)] == [
        """select ';' as "a;b", E'\\';'""", """select $$ it''s; $$, $q$ ; $$ ; $q$""",
    ]  # fmt: skip


def test_comments_and_blank_space_do_not_count_but_texts_do() -> None:
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
def test_a_functions_input_types(header: str, types: list[str]) -> None:
    assert statements.arguments(header) == types


def test_a_statement_that_is_no_object_is_refused_by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        program(monkeypatch, functions__head_start="grant select on public.jobs to public"),
        pytest.raises(ValueError, match=r"head_start\.sql"),
    ):
        layer.objects()
