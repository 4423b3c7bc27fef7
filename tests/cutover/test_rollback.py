"""Rollback of the cutover: a switched production database becomes the legacy system's again, with the work done meanwhile in its format."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from legacy_system import Older
from production_copy import ANNA, CLARA, migrated, older_job
from sqlalchemy import text
from support import Clock, Permissive, Server, as_template, claim, executor, finish

from ourvidz.cutover.watch import lines
from ourvidz.db import switch_back, table_definitions
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs, NewJob


def kept(database: Database) -> table_definitions.Shape:
    with database.transaction() as connection:
        found = table_definitions.read(connection)
        table_definitions.keep(connection)
    return found


def rows(database: Database, table: str) -> dict[str, dict[str, Any]]:
    return {str(r["j"]["id"]): r["j"] for r in database.rows(f"select to_jsonb(t) as j from public.{table} as t")}


def returned(database: Database, **options: bool) -> switch_back.Returned:
    database.rows("update ourvidz.executors set state = 'gone'")
    with database.transaction() as connection:
        return switch_back.back(connection, **options)


def added(parts: table_definitions.Shape) -> table_definitions.Shape:
    """Leave out columns of this program, and our triggers on auth.users, which we may not drop and which no longer do anything."""
    return {(kind, name): p for (kind, name), p in parts.items() if kind not in ("type", "default") and "auth.users.ourvidz" not in name}


def test_immediate_rollback_restores_the_original_database(production: Database) -> None:
    before, jobs = kept(production), rows(production, "jobs")
    others = {table: rows(production, table) for table in ("images", "videos", "projects", "usage_logs", "model_test_results")}
    migrated(production)
    returned(production)
    with production.transaction() as connection:
        after = table_definitions.read(connection)
    assert {k: p.made for k, p in added(after).items()} == {k: p.made for k, p in added(before).items()}
    assert {k: after[k].made for k in before} == {k: p.made for k, p in before.items()}, "types and defaults of the columns that were there"
    assert rows(production, "jobs") == jobs
    for table, then in others.items():
        now = rows(production, table)
        assert now.keys() == then.keys()
        differs = {k for i, row in then.items() for k in row if now[i][k] != row[k]}
        assert differs <= {"updated_at"}, table  # the legacy trigger set it during our migration
    with production.transaction() as connection:
        assert table_definitions.kept(connection) is None and not connection.execute(text("select to_regnamespace('ourvidz')")).scalar()


@pytest.fixture(scope="module")
def switched_template(server: Server, production_template: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A switched production database after an hour of work, as a template, and job ids by outcome."""
    name = server.create(production_template, prefix="switched")
    database = Database(server.url(name))
    ids = worked(database)
    as_template(database)
    database.close()
    yield name, ids
    server.drop(name)


@pytest.fixture
def between(switched_template: tuple[str, dict[str, str]]) -> dict[str, str]:
    return switched_template[1]


@pytest.fixture
def switched(server: Server, switched_template: tuple[str, dict[str, str]]) -> Iterator[Database]:
    """The switched database, a copy for each test."""
    name = server.create(switched_template[0])
    database = Database(server.url(name))
    yield database
    database.close()
    server.drop(name)


def worked(production: Database) -> dict[str, str]:
    kept(production)
    migrated(production)
    production.rows(
        "update public.profiles set age_verified = true, subscription_status = 'premium' where id = any (%s::uuid[])", ([ANNA, CLARA],)
    )
    for user in (ANNA, CLARA):
        production.rows("select ourvidz.grant_tokens(%s, 1000, 'for the test')", (user,))
    jobs = Jobs(production, Permissive())
    gpu = executor(jobs, lanes=("sdxl", "sdxl_ip"))
    while found := jobs.claim(gpu):
        for imported in found:
            finish(jobs, imported)
    ids = {}
    for name in ("made", "failed", "cancelled", "at work", "waiting"):
        asked = jobs.submit(NewJob(ANNA, "sdxl_image_fast", f"a pier, {name}"))
        ids[name] = asked.id
        if name == "made":
            finish(jobs, claim(jobs, gpu))
        elif name == "failed":
            jobs.fail(claim(jobs, gpu), "model_file", "the device is broken", final=True)
        elif name == "cancelled":
            jobs.cancel(asked.id)
        elif name == "at work":
            jobs.advance(claim(jobs, gpu), "generation_started")
    ids["premium"] = jobs.submit(NewJob(CLARA, "sdxl_image_premium", "a type that they do not know")).id
    ids["imported and made"] = older_job("sdxl_image_fast", "queued")
    return ids


def test_rollback_converts_jobs_made_meanwhile_to_the_legacy_format(switched: Database, between: dict[str, str]) -> None:
    found = returned(switched)
    there = rows(switched, "jobs")
    words = {name: there[job]["status"] for name, job in between.items()}
    assert words == {
        "made": "completed", "failed": "failed", "cancelled": "failed", "at work": "queued", "waiting": "queued", "premium": "queued",
        "imported and made": "completed",
    }  # fmt: skip
    made = there[between["made"]]
    assert made["metadata"]["all_assets"] == [made["metadata"]["primary_asset"]] and made["completed_at"] and made["format"] == "image"
    assert there[between["cancelled"]]["error_message"] == "cancelled"
    assert there[between["failed"]]["error_message"] == "the device is broken"
    assert {str(w["id"]) for w in found.waiting} >= {between["at work"], between["waiting"], between["premium"]}
    assert found.jobs["completed"] >= 2 and found.jobs["failed"] == 2
    assert switched.rows(f"select count(*) as n from {found.schema}.job_events")[0]["n"] > 20, "and nothing is lost"


def test_legacy_functions_and_workers_continue_after_rollback(server: Server, switched: Database, between: dict[str, str]) -> None:
    returned(switched)
    older = Older(server, switched)
    job = older.queue(ANNA, images=2)
    older.callback({"job_id": job, "status": "completed", "assets": [f"{ANNA}/sdxl_0.png", f"{ANNA}/sdxl_1.png"]})
    assert rows(switched, "jobs")[job]["status"] == "completed"
    pictures = [r for r in rows(switched, "images").values() if r["job_id"] == job]
    assert [r["status"] for r in pictures] == ["completed", "completed"]
    assert older.ask("authenticated", CLARA, "select id from public.jobs where id = %s", job) == []
    new = older.sign_up("new@example.org")
    assert rows(switched, "profiles")[new]["username"] == "new"
    older.ask("authenticated", ANNA, "delete from public.images where id = %s", pictures[1]["id"])
    # Our policies on storage stay; one of them calls a function of the schema, which was renamed.
    mine = "delete from storage.objects where bucket_id = 'reference_images' and name like %s returning id"
    assert older.ask("authenticated", CLARA, mine, f"{ANNA}/%") == [] and len(older.ask("authenticated", ANNA, mine, f"{ANNA}/%")) == 1


def test_a_second_switch_imports_everything_again(switched: Database, between: dict[str, str]) -> None:
    returned(switched)
    kept(switched)
    migrated(switched)
    status = {str(r["id"]): r["status"] for r in switched.rows("select id, status from public.jobs")}
    assert status[between["made"]] == "completed" and status[between["waiting"]] == "queued"


def test_rollback_is_refused_without_a_recorded_switch(migrated_production: Database) -> None:
    with pytest.raises(switch_back.NoWayBack, match="No switch is known"):
        returned(migrated_production)


def test_rollback_is_refused_while_executors_work_or_after_a_day(switched: Database, between: dict[str, str]) -> None:
    switched.rows("update ourvidz.executors set lease_until = now() + interval '1 hour'")
    with switched.transaction() as connection, pytest.raises(switch_back.NoWayBack, match="executors are at work"):
        switch_back.back(connection)
    switched.rows("update ourvidz_before.shape set at = at - interval '25 hours'")
    with pytest.raises(switch_back.NoWayBack, match="over a day ago"):
        returned(switched)
    assert returned(switched, late=True).jobs["completed"] >= 1


def test_watch_reports_messages_and_callbacks_of_a_legacy_worker(server: Server, production: Database) -> None:
    kept(production)
    migrated(production)
    verify = "update public.profiles set age_verified = true, subscription_status = 'premium' where id = %s"
    production.rows(verify, (ANNA,))
    production.rows("select ourvidz.grant_tokens(%s, 1000, 'for the test')", (ANNA,))
    seen = {line.what: line for line in lines(production, None)}
    assert (seen["messages"].state, seen["callbacks"].state, seen["executors"].state) == ("ok", "ok", "missing")
    older = Older(server, production)  # no Redis: the message was taken, and not by our intake
    job = older.queue(ANNA)
    later = datetime.now(UTC) + timedelta(seconds=90)
    Clock(production, later)
    assert {line.what: line.state for line in lines(production, None)}["messages"] == "missing"
    older.callback({"job_id": job, "status": "completed", "assets": [f"{ANNA}/a.png"], "metadata": {"seed": 7}}, at=later)
    assert {line.what: line.state for line in lines(production, None)}["callbacks"] == "missing"
    assert rows(production, "jobs")[job]["status"] == "queued", "its word is not believed"
