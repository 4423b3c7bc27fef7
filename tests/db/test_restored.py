"""Dumps, restores, moves and copies with Postgres's own tools: one command makes the database usable again; nothing is lost, sent twice
or skipped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from catalogs import rights
from dump_restore import NO_OWNERS, Lived, command, even, lived, subscribe, tool, unsubscribe, younger
from sqlalchemy import Connection
from support import OWNER, Permissive, Server, claim, executor, finish, new_user, row, submit
from waiting import LIMIT, wait_for

from ourvidz.audit import accept_losses, audit, heads_file, publish_heads
from ourvidz.bootstrap import App
from ourvidz.chain_heads import HeadsAhead, OtherDatabase
from ourvidz.cli.main import _words
from ourvidz.config import Config
from ourvidz.db import ledger, lock_retry, outbox, queries, restored, schema_files, schema_objects
from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate
from ourvidz.db.migration_plan import steps
from ourvidz.lifecycle import Jobs
from state.errors import DatabaseIsCopy


@pytest.fixture(scope="module")
def original(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    found = lived(server, template, tmp_path_factory.mktemp("lived"))
    yield found
    server.drop(found.name)


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from younger(tmp_path_factory.mktemp("younger"))


@pytest.fixture(scope="module")
def taken(original: Lived, young: Server) -> str:
    """A template: the dump, restored without owners, rights or roles into the fresh server, and not yet declared a restore or a copy."""
    name = young.create(prefix="taken")
    done = tool("pg_restore", *NO_OWNERS, "-d", young.url(name), str(original.dump), check=False)
    errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
    # The roles are missing, so policies that name them fail; nothing else does, with pg_dump's empty search_path.
    assert errors and all("role" in line or "policy" in line for line in errors), errors
    return name


@pytest.fixture
def copy(young: Server, taken: str) -> Iterator[Database]:
    name = young.create(taken, prefix="copy")
    database = Database(young.url(name))
    yield database
    database.close()
    young.drop(name)


def settle(database: Database, way: restored.Way = "restored", *, keep_jobs: bool = False) -> dict[str, int]:
    """Like `ourvidz restored`: it may deadlock with a program that is starting, and retries."""

    def work(connection: Connection) -> dict[str, int]:
        migrate(connection)
        return restored.settle(connection, way, keep_jobs=keep_jobs)

    return lock_retry.give_way(database, work)


def sound(database: Database) -> None:
    assert audit(database).findings == () and ledger.check(database) == []


def with_owners(database: Database) -> dict[str, str]:
    return {name: said for name, said in rights(database).items() if "alembic_version" not in name}


# -- a restore into a fresh server -------------------------------------------------------------------------------------------------


def test_an_undeclared_copy_runs_and_sends_nothing(copy: Database, original: Lived) -> None:
    jobs = Jobs(copy, Permissive(), patience=20)
    for act in (
        lambda: jobs.register("gpu", "host", 1, ["sdxl"]),
        lambda: jobs.claim(str(copy.rows("select id from ourvidz.executors")[0]["id"])),
        lambda: outbox.due(copy),
        lambda: outbox.take(copy, "callback", 5),
        lambda: submit(jobs, original.user),  # its event would be below the readers' cursors
        lambda: copy.rows("select * from ourvidz.removals_lease(10, 5)"),
        lambda: copy.rows("select * from ourvidz.quarantine_lease(10, 5)"),
        lambda: copy.rows("select * from ourvidz.suspensions_take(5)"),
        lambda: copy.rows("select ourvidz.intake('sdxl_queue', '[]')"),
    ):
        with pytest.raises(DatabaseIsCopy, match="ourvidz restored"):
            act()


def test_a_worker_waits_until_the_copy_is_declared(copy: Database, caplog: pytest.LogCaptureFixture) -> None:
    """It resumes on its own then, as after any outage; a person's command is refused at once (test above)."""
    caplog.set_level("WARNING", "ourvidz.db")
    app = App(Config(database_url=copy.url), patience=math.inf)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool:
        registered = pool.submit(lambda: app.jobs.register("gpu", "host", 1, ["sdxl"]))
        wait_for(lambda: "ourvidz restored --replaces" in caplog.text, "for the log to say what it waits for")
        assert "Waiting for it" in caplog.text and not registered.done()
        settle(copy)
        assert registered.result(LIMIT)
        app.database.close()


def test_startup_retries_after_a_deadlock(young: Server, copy: Database) -> None:
    """`restored` locks tables in another order than a starting program reads them."""
    settle(copy)
    name = copy.rows("select current_database() as name")[0]["name"]
    young.admin("alter database {} set deadlock_timeout = '5s'", name)  # whoever waits this long detects the deadlock and is aborted
    app = App(Config(database_url=copy.url), patience=LIMIT)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool, psycopg.connect(young.url(name, superuser=True)) as other:
        other.execute("set local deadlock_timeout = '60s'")
        other.execute("lock table ourvidz.identities")
        starting = pool.submit(lambda: app.database)
        blocked = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and %s = any (pg_blocking_pids(pid))"
        wait_for(lambda: copy.rows(blocked, (other.info.backend_pid,)), "for the start to wait for the lock")
        other.execute("lock table ourvidz.schema_objects")
        other.rollback()
        starting.result(LIMIT)
        app.database.close()


def test_publishing_heads_continues_after_a_restore(copy: Database, original: Lived, tmp_path: Path) -> None:
    heads = tmp_path / "heads.jsonl"
    heads.write_bytes(original.heads.read_bytes())
    settle(copy)
    assert audit(copy, heads).findings == ()
    assert publish_heads(copy, heads) == 1  # the job that was given back
    assert audit(copy, heads).findings == ()


def test_a_restore_with_owners_when_the_roles_exist(young: Server, original: Lived, copy: Database) -> None:
    """No errors, with an empty search_path; the result equals what `migrate` left."""
    settle(copy)  # creates the roles
    name = young.create()
    done = tool("pg_restore", "--exit-on-error", "-d", young.url(name, superuser=True), str(original.dump))
    assert done.stderr == ""
    database = Database(young.url(name))
    with database.transaction() as connection:
        assert schema_objects.drift(connection) == [] and restored.is_copy(connection)
    settle(database)
    sound(database)
    database.close()
    young.drop(name)


def test_a_copy_does_not_repeat_its_originals_work(copy: Database, original: Lived, tmp_path: Path) -> None:
    done = settle(copy, "copied")
    assert (done["jobs cancelled"], done["receivers turned off"], done["messages not to be sent"]) == (2, 1, 1)
    outbox.receiver_enable(copy, "callback", on=True)
    assert outbox.due(copy) == []  # not even then
    assert {row(copy, job)["status"] for job in (original.held, original.waiting)} == {"cancelled"}
    # The original's heads are not applied to the copy, which gets its own.
    with pytest.raises(OtherDatabase, match="heads of database"):
        audit(copy, original.heads)
    with pytest.raises(OtherDatabase):
        publish_heads(copy, original.heads)
    (tmp_path / "heads.jsonl").write_bytes(original.heads.read_bytes())
    assert heads_file(copy, tmp_path) != heads_file(_database(original), tmp_path)
    sound(copy)


def _database(of: Lived) -> Database:
    return Database(of.url)


def test_a_copy_may_keep_its_jobs(copy: Database, original: Lived) -> None:
    assert "jobs cancelled" not in settle(copy, "copied", keep_jobs=True)
    assert row(copy, original.waiting)["status"] == "queued"


# -- parts of a dump ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["replica", pytest.param("disable-triggers", marks=pytest.mark.nightly)])
def test_schema_and_rows_restored_separately(young: Server, taken: str, original: Lived, tmp_path: Path, how: str) -> None:
    """With the rows loaded under session_replication_role = replica, as from `supabase db dump`; and with pg_dump --disable-triggers."""
    schema, rows, name = tmp_path / "schema.sql", tmp_path / "rows.sql", young.create()
    source, target = original.server.url(original.name, superuser=True), young.url(name, superuser=True)
    tool("pg_dump", "--schema-only", *NO_OWNERS, "-f", str(schema), source)
    tool("psql", "-q", "-f", str(schema), target)  # the roles are missing, hence policies too
    tool("pg_dump", "--data-only", *(["--disable-triggers"] if how != "replica" else []), "-f", str(rows), source)
    setting = ["-c", "set session_replication_role = replica"] if how == "replica" else []
    tool("psql", "-q", "-1", "-v", "ON_ERROR_STOP=1", *setting, "-f", str(rows), target)
    database = Database(target)
    done = settle(database)
    assert done["jobs given back"] == 1
    sound(database)
    with psycopg.connect(target, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute("set session_replication_role = replica")  # the guard is active again
        superuser.execute("delete from public.job_events")
    assert refused.value.sqlstate == "OV051"
    database.close()
    young.drop(name)


def test_a_restore_of_schema_public_alone_is_refused(young: Server, original: Lived) -> None:
    name = young.create()
    tool("pg_restore", *NO_OWNERS, "-n", "public", "-d", young.url(name), str(original.dump), check=False)
    database = Database(young.url(name))
    with database.transaction() as connection:
        refused = [step for step in steps(connection) if step.refused]
    assert "schema ourvidz" in refused[0].object and "pg_dump --schema=public --schema=ourvidz" in (refused[0].remedy or "")
    database.close()
    young.drop(name)


@pytest.mark.nightly
def test_objects_owned_by_a_superuser_are_reported(young: Server, original: Lived, tmp_path: Path) -> None:
    """A role without the rights to change the objects is told whose they are, and nothing is changed partly."""
    name = young.create()
    tool("pg_restore", *NO_OWNERS, "-d", young.url(name, superuser=True), str(original.dump), check=False)
    denied = command(young.url(name), tmp_path / "home")("restored", "--replaces")
    assert denied.code == 1 and "Use its owner's" in denied.err
    young.admin("grant pg_read_all_data to {}", OWNER)
    owner = Database(young.url(name))
    with owner.transaction() as connection:
        refused = [step for step in steps(connection) if step.refused]
    assert any("of postgres" in step.object and "as postgres" in (step.remedy or "") for step in refused), refused
    owner.close()
    young.admin("revoke pg_read_all_data from {}", OWNER)
    superuser = Database(young.url(name, superuser=True))
    settle(superuser)
    sound(superuser)
    superuser.close()
    young.drop(name)


# -- a move by logical replication -------------------------------------------------------------------------------------------------


def test_logical_replication_while_jobs_continue(young: Server, copy: Database, taken: str, tmp_path: Path) -> None:
    """FOR ALL TABLES, with triggers on both sides: updates and deletes replicate, and nothing is applied twice."""
    settle(copy)
    source = str(copy.rows("select current_database() as name")[0]["name"])
    target, schema = young.create(), tmp_path / "schema.sql"
    tool("pg_dump", "--schema-only", "--no-publications", "-f", str(schema), young.url(source, superuser=True))
    tool("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(schema), young.url(target, superuser=True))
    jobs = Jobs(copy, Permissive(), patience=20)
    with psycopg.connect(young.url(target, superuser=True), autocommit=True) as there:
        # Even if the target had an identity already, the subscription's worker is let through.
        there.execute("insert into ourvidz.identities (n, id, how, since) values (100, gen_random_uuid(), 'made', now())")
    subscribe(young, source, target)
    user, gpu = new_user(copy, "premium", tokens=100), executor(jobs)
    submit(jobs, user)
    finish(jobs, claim(jobs, gpu))
    jobs.cancel(submit(jobs, user, prompt="another"))
    with copy.transaction() as connection:
        for table, rows in schema_files.tables().items():  # as `migrate` does to each copied table: all have a replica identity
            schema_files.script(connection, schema_files.copying(table, rows))
    held = submit(jobs, user, prompt="at the switch")
    even(young, source)
    unsubscribe(young, source, target)

    database = Database(young.url(target))
    balances = "select id, token_balance from public.profiles order by id"
    assert database.rows(balances) == copy.rows(balances)
    cursor = queries.last_events(copy, 1)[0]
    assert settle(database)["sequences raised"] > 1
    sound(database)
    moved = Jobs(database, Permissive(), patience=20)
    gpu = executor(moved)
    taken_up = claim(moved, gpu)
    while taken_up.job_id != held:
        finish(moved, taken_up)
        taken_up = claim(moved, gpu)
    finish(moved, taken_up)
    assert queries.events_after(database, (cursor["xid"], cursor["seq"]))[-1]["type"] == "completed"
    sound(database)
    database.close()
    young.drop(target)


def test_a_publications_refusal_is_not_reported_as_an_outage(server: Server, database_name: str, database: Database) -> None:
    """The table has no replica identity: the database was reached, and refuses the statement."""
    with psycopg.connect(server.url(database_name, superuser=True), autocommit=True) as superuser:
        superuser.execute("create publication everything for all tables")
        superuser.execute("alter table ourvidz.transitions replica identity nothing")
    delete = "delete from ourvidz.transitions"
    for act in (lambda: database.rows(delete), lambda: _in_transaction(database, delete)):
        with pytest.raises(Exception, match="replica identity") as refused:
            act()
        said = _words(refused.value)
        assert said.startswith("The database refuses this: cannot delete from table") and "reached" not in said


def _in_transaction(database: Database, sql: str) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql(sql)


# -- a restore to an earlier time --------------------------------------------------------------------------------------------------


def test_lost_events_are_reported_and_can_be_accepted(young: Server, copy: Database, original: Lived, tmp_path: Path) -> None:
    """The published heads are ahead of a database restored to an earlier state. It has the same server's files, so only the heads reveal
    it."""
    settle(copy)
    source = str(copy.rows("select current_database() as name")[0]["name"])
    copy.engine.dispose()
    earlier = young.create(source, prefix="earlier")
    heads, jobs = tmp_path / "heads.jsonl", Jobs(copy, Permissive(), patience=20)
    finish(jobs, claim(jobs, executor(jobs)))
    lost = submit(jobs, original.user, prompt="only in the heads")
    copy.rows("select ourvidz.restored('restored')")  # moves its positions far ahead of the earlier database's
    finish(jobs, claim(jobs, executor(jobs)))
    publish_heads(copy, heads)

    database = Database(young.url(earlier))
    database.rows("update ourvidz.identities set database_oid = (select oid from pg_database where datname = current_database())")
    with pytest.raises(HeadsAhead, match="ourvidz restored --replaces"):
        publish_heads(database, heads)
    settle(database)
    found = audit(database, heads).findings
    assert {f.kind for f in found} == {"cut", "job_missing"} and lost in {f.job_id for f in found}
    assert accept_losses(database, heads, found, "restored to Monday") == len(found)
    assert audit(database, heads).findings == ()
    again = Jobs(database, Permissive(), patience=20)
    finish(again, claim(again, executor(again)))  # the same versions, another history
    assert publish_heads(database, heads) > 0
    assert audit(database, heads).findings == ()
    database.close()
    young.drop(earlier)


def test_two_databases_sharing_a_home_have_separate_heads(server: Server, template: str, tmp_path: Path) -> None:
    """Each has its own heads file; a legacy file belongs to the database whose jobs it names."""
    made = []
    for n in range(2):
        name = server.create(template)
        database = Database(server.url(name))
        database.rows("update ourvidz.identities set id = gen_random_uuid()")
        jobs = Jobs(database, Permissive(), patience=20)
        submit(jobs, new_user(database), prompt=f"number {n}")
        made.append((name, database))
    first, second = (database for _, database in made)
    publish_heads(first, tmp_path / "heads.jsonl")
    older = (tmp_path / "heads.jsonl").read_text().splitlines()
    (tmp_path / "heads.jsonl").write_text(older[0] + "\n")  # as a legacy file: without a database id
    publish_heads(second, heads_file(second, tmp_path))
    assert (tmp_path / "heads.jsonl").exists()
    publish_heads(first, heads_file(first, tmp_path))
    assert not (tmp_path / "heads.jsonl").exists()
    assert [audit(database, heads_file(database, tmp_path)).findings for database in (first, second)] == [(), ()]
    with pytest.raises(OtherDatabase):
        audit(first, heads_file(second, tmp_path))
    for name, database in made:
        database.close()
        server.drop(name)


# -- drift -------------------------------------------------------------------------------------------------------------------------

CHANGES = {
    "an owner": ("alter function ourvidz.claim owner to {superuser}", "function", "owner"),
    "a right too few": ("revoke select on public.jobs from authenticated", "table", "rights"),
    "a right too many": ("grant update on ourvidz.policy to anon", "table", "rights"),
    "a column's right": ("grant update (status) on public.jobs to ourvidz_analyst", "table", "rights"),
    "a trigger": ("alter table public.jobs disable trigger jobs_bare_write", "trigger", "fires"),
    "a body": (
        "create or replace function ourvidz.now() returns timestamptz language sql as 'select null::timestamptz'",
        "function",
        "definition",
    ),
    "a policy": ('drop policy "authenticated select" on public.jobs', "policy", "missing"),
    "a policy's rows": ('alter policy "authenticated select" on public.images using (true)', "policy", "definition"),
    "row-level security": ("alter table public.jobs disable row level security", "table", "row-level security"),
    "a publication": ("alter publication supabase_realtime drop table public.jobs", "publication", "tables"),
    "sign-up": ("drop trigger ourvidz_profile on auth.users", "sign-up", "missing"),
    "a schema's rights": ("grant usage on schema ourvidz to anon", "schema", "rights"),
    "a view": ("drop view public.queue_depth", "view", "missing"),
}


def test_migrate_repairs_drift(server: Server, database_name: str, database: Database) -> None:
    before = rights(database)
    with psycopg.connect(server.url(database_name, superuser=True), autocommit=True) as superuser:
        me = superuser.execute("select current_user").fetchone()
        for statement, _, _ in CHANGES.values():
            superuser.execute(statement.format(superuser=me[0] if me else ""))  # type: ignore[call-overload]
    as_superuser = Database(server.url(database_name, superuser=True))
    with as_superuser.transaction() as connection:
        found = schema_objects.drift(connection)
        for what, (_, kind, said) in CHANGES.items():
            assert any(one.kind == kind and said in one.what for one in found), (what, found)
        named = {step.object for step in steps(connection)}
        assert {"jobs_bare_write on public.jobs", "public.queue_depth", "authenticated select on public.jobs"} <= named
        migrate(connection)
    with as_superuser.transaction() as connection:
        assert schema_objects.drift(connection) == []
    as_superuser.close()
    assert rights(database) == before


# -- commands -------------------------------------------------------------------------------------------------------------------------


def test_commands_on_an_undeclared_copy_give_the_remedy(copy: Database, tmp_path: Path) -> None:
    ourvidz = command(copy.url, tmp_path / "home")
    listed = ourvidz("jobs", "ls")
    assert listed.code == 1 and "ourvidz restored --replaces" in listed.err
    red = {line["what"]: line for line in ourvidz("doctor", "--json").json if line["state"] == "missing"}
    assert "ourvidz restored" in red["identity"]["remedy"] and "ourvidz migrate" in red["applied"]["remedy"]
    again = ourvidz("migrate")  # restores what migrate manages, and says that more is needed
    assert again.code == 0 and "set again" in again.out and "ourvidz restored --replaces" in again.err
    assert "applied" not in {line["what"] for line in ourvidz("doctor", "--json").json if line["state"] == "missing"}
    assert ourvidz("restored").code == 2 and ourvidz("restored", "--replaces", "--copy").code == 2


def test_ourvidz_restored_repairs_a_restored_database(copy: Database, original: Lived, tmp_path: Path) -> None:
    before = Database(original.url)
    done = command(copy.url, tmp_path / "home")("restored", "--replaces", "--json")
    assert done.code == 0, done.err
    said = done.json
    assert said["how"] == "restored" and said["id"] == str(before.rows("select id from ourvidz.identities")[0]["id"])
    assert said["done"]["jobs given back"] == 1 and said["analyzed"] > 50
    assert len(said["applied"]) > 100  # policies, owners and rights were missing
    assert with_owners(copy) == with_owners(before)
    assert before.rows("select policyname, roles from pg_policies order by 1, 2") == copy.rows(
        "select policyname, roles from pg_policies order by 1, 2"
    )
    with copy.transaction() as connection:
        assert schema_objects.drift(connection) == [] and steps(connection) == [] and not restored.is_copy(connection)
    before.close()
    mistaken = command(copy.url, tmp_path / "home")("restored", "--copy")  # with the wrong DATABASE_URL: it would stop all jobs here
    assert mistaken.code == 2 and "in service" in mistaken.err and "--yes" in mistaken.err
    # Work goes on: the job of the lost executor is claimed again, and readers' cursors hold.
    assert row(copy, original.held)["status"] == "queued"
    jobs = Jobs(copy, Permissive(), patience=20)
    finish(jobs, claim(jobs, executor(jobs)))
    later = queries.events_after(copy, original.cursor)
    assert [e["type"] for e in later][:1] == ["lease_expired"] and later[-1]["type"] == "completed"
    assert queries.last_events(copy, 1) == later[-1:]
    assert publish_heads(copy, original.heads.with_name("mine").with_suffix(".jsonl")) == 3
    sound(copy)
    # Its message is still due, and sent by this database alone.
    assert [due.messages for due in outbox.due(copy)] == [2]


def test_a_copy_is_detected_without_the_system_identifier(server: Server, database_name: str) -> None:
    """As if a DBA had revoked pg_control_system from PUBLIC: only the database's oid identifies it."""
    with psycopg.connect(server.url(database_name, superuser=True)) as connection:
        connection.execute("revoke execute on function pg_control_system() from public")
        (here,) = connection.execute("select database_oid from ourvidz.server_identity() where system_identifier = 0").fetchall()
        for oid, copied in ((here[0], False), (1, True)):
            connection.execute("update ourvidz.identities set system_identifier = 0, database_oid = %s", (oid,))
            connection.execute("set local role ourvidz_owner")
            assert connection.execute("select ourvidz.is_copy()").fetchall() == [(copied,)]
            connection.execute("reset role")
        connection.rollback()
