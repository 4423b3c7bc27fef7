"""Existing objects are reconciled by a plan, made object by object before anything changes; what cannot be migrated is refused by name."""

# ruff: noqa: E501  (SQL, as it would be typed)

from __future__ import annotations

from collections.abc import Iterator

import pytest
from production_copy import ANNA, production_database
from public_objects import objects
from reconcile_helpers import foreseen, lives_on, planned, run
from support import Server

from ourvidz.db import reconcile
from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate
from ourvidz.db.reconcile import MigrationRefused


@pytest.fixture(scope="module")
def bare(server: Server) -> Iterator[str]:
    """Production's schema without rows, as a template."""
    name = production_database(server, rows=False)
    yield name
    server.drop(name)


@pytest.fixture
def drifted(server: Server, bare: str) -> Iterator[Database]:
    name = server.create(bare)
    database = Database(server.url(name))
    yield database
    database.close()
    server.drop(name)


def test_migrate_does_exactly_what_was_planned(production: Database) -> None:
    before = objects(production)
    steps = planned(production)
    assert objects(production) == before, "a plan changes nothing"
    assert [s for s in steps if s.refused] == []
    with production.transaction() as connection:
        migrate(connection)
    foreseen(before, objects(production), steps)
    assert production.rows("select conname from pg_constraint where confrelid = 'ourvidz.older_jobs'::regclass") == []
    again = [s for s in planned(production) if s.sql]
    assert again == [], "what was migrated needs nothing more"


def test_a_new_project_and_production_have_the_same_columns(production: Database, database: Database) -> None:
    with production.transaction() as connection:
        migrate(connection)
    sql = """select table_name || '.' || column_name as name from information_schema.columns
             where table_schema = 'public' and table_name in (select unnest(ourvidz.our_relations()))"""
    new, migrated = ({r["name"] for r in one.rows(sql)} for one in (database, production))
    assert new == migrated


REFUSED: dict[str, tuple[str, str, str]] = {
    # change made → object that is refused, a word of the remedy
    "a type without a conversion": ("alter table public.videos alter completed_at type point using null", "column completed_at of public.videos", "using"),
    "a row that cannot be converted": (
        f"alter table public.characters alter user_id drop default; alter table public.images alter prompt_test_id type text;"
        f" insert into public.images (user_id, prompt, prompt_test_id) values ('{ANNA}', 'x', 'no uuid')",
        "column prompt_test_id of public.images",
        "correct",
    ),
    "a view on a column that must change": (
        "alter table public.usage_logs alter created_at type timestamp; create view public.days as select created_at::date from public.usage_logs",
        "column created_at of public.usage_logs",
        "drop view days",
    ),
    "a policy of another table's on such a column": (
        "alter table public.projects alter created_at type timestamp; create policy recent on public.admin_development_progress"
        " using (exists (select from public.projects as p where p.created_at > now()))",
        "column created_at of public.projects",
        "recent",
    ),
    "a column of its own that must be given": (
        "alter table public.profiles add column referrer text not null",
        "column referrer of public.profiles",
        "set default",
    ),
    "a trigger that refuses": (
        "create function public.no() returns trigger language plpgsql as $$ begin if new.status = 'failed' then raise exception 'no'; end if;"
        " return new; end $$; create trigger no before update on public.videos for each row execute function public.no()",
        "trigger no on public.videos",
        "drop trigger no",
    ),
    "a trigger that changes what is written": (
        "create function public.no() returns trigger language plpgsql as $$ begin new.action := upper(new.action); return new; end $$;"
        " create trigger no before insert on public.usage_logs for each row execute function public.no()",
        "trigger no on public.usage_logs",
        "drop trigger no",
    ),
    "a trigger that swallows rows": (
        "create function public.no() returns trigger language plpgsql as $$ begin return null; end $$;"
        " create trigger no before insert on public.user_roles for each row execute function public.no()",
        "trigger no on public.user_roles",
        "drop trigger no",
    ),
    "a trigger that forbids an erasure": (
        "create function public.no() returns trigger language plpgsql as $$ begin raise exception 'never'; end $$;"
        " create trigger no before delete on public.characters for each row execute function public.no()",
        "trigger no on public.characters",
        "drop trigger no",
    ),
    "rows that are there twice": (
        f"alter table public.user_roles drop constraint user_roles_user_id_role_key; insert into auth.users (id, email) values ('{ANNA}', 'a@b');"
        f" insert into public.user_roles (user_id, role) values ('{ANNA}', 'basic_user')",
        "rows of public.user_roles",
        "keep one",
    ),
    "a name that is taken": ("create table public.artifacts (id integer)", "public.artifacts", "rename"),
    "a function of that name": ("create function public.job_status(id integer) returns integer language sql as 'select 1'", "function job_status(integer)", "drop function"),
    "a view where a table must be": ("drop table public.system_config; create view public.system_config as select 1 as id", "public.system_config", "rename"),
    "a generated column": (
        "alter table public.projects drop column title; alter table public.projects add column title text generated always as ('x') stored",
        "column title of public.projects",
        "drop expression",
    ),
    "roles without a word": (
        "alter type public.app_role rename value 'basic_user' to 'user'",
        "type public.app_role",
        "add value 'basic_user'",
    ),
    "ids of jobs that are none": (
        f"drop view public.user_analytics, public.model_test_analytics; insert into auth.users (id, email) values ('{ANNA}', 'a@b');"
        " alter table public.images drop constraint images_job_id_fkey;"
        " alter table public.model_test_results drop constraint model_test_results_job_id_fkey; alter table public.jobs alter id drop default,"
        f" alter id type text; insert into public.jobs (id, user_id, job_type) values ('job-7', '{ANNA}', 'image_fast')",
        "column id of public.jobs",
        "correct",
    ),
    "older jobs that were put aside before": (
        "create schema ourvidz; create table ourvidz.older_jobs (id uuid)",
        "ourvidz.older_jobs",
        "rename",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_objects_that_cannot_be_migrated_are_refused_by_name(drifted: Database, what: str) -> None:
    change, named, remedy = REFUSED[what]
    run(drifted, change)
    refusals = [s for s in planned(drifted) if s.refused]
    assert [s.object for s in refusals] == [named], refusals
    assert refusals[0].remedy and remedy in refusals[0].remedy


def test_all_refusals_are_reported_together(drifted: Database) -> None:
    several = ("a type without a conversion", "a trigger that refuses", "a column of its own that must be given", "a name that is taken")
    for what in several:
        run(drifted, REFUSED[what][0])
    before = objects(drifted)
    assert {s.object for s in planned(drifted) if s.refused} == {REFUSED[what][1] for what in several}
    with pytest.raises(MigrationRefused) as refused, drifted.transaction() as connection:
        migrate(connection)
    assert "Nothing was changed" in str(refused.value) and all(REFUSED[what][1] in str(refused.value) for what in several)
    assert objects(drifted) == before


def test_effects_of_triggers_during_planning_are_rolled_back(drifted: Database) -> None:
    run(
        drifted,
        """create table public.heard (what text); create function public.hear() returns trigger language plpgsql
           as $$ begin insert into public.heard values (new.status); return new; end $$;
           create trigger hear after insert or update on public.videos for each row execute function public.hear()""",
    )
    assert [s for s in planned(drifted) if s.refused] == []
    assert drifted.rows("select * from public.heard") == []


GIVES_WAY: dict[str, tuple[str, str]] = {
    # change made → object of the step
    "a limit by another name": (
        "alter table public.videos add constraint only_these check (status in ('draft', 'queued', 'completed'))",
        "constraint only_these of public.videos",
    ),
    "an enum": (
        "drop view public.user_analytics; create type public.plan as enum ('inactive', 'starter'); alter table public.profiles drop constraint profiles_subscription_status_check,"
        " alter subscription_status drop default, alter subscription_status type public.plan using 'inactive'::public.plan,"
        " alter subscription_status set default 'inactive'",
        "column subscription_status of public.profiles",
    ),
    "a domain": (
        "create domain public.short as text check (length(value) < 9); alter table public.images alter status drop default, alter status type public.short",
        "column status of public.images",
    ),
    "words too long for it": ("alter table public.videos alter status type varchar(10)", "column status of public.videos"),
    "a column that is missing": ("alter table public.images drop column thumbnail_url", "column thumbnail_url of public.images"),
    "a table that is missing": ("drop table public.scenes", "table public.scenes"),
    "a constraint that has our name": (
        "alter table public.profiles add constraint profiles_token_balance_check check (token_balance < 10000000)",
        "constraint profiles_token_balance_check of public.profiles",
    ),
    "row-level security off": ("alter table public.usage_logs disable row level security", "table public.usage_logs"),
    "row-level security that binds the owner": ("alter table public.profiles force row level security", "table public.profiles"),
    "tags in one text": (
        "alter table public.characters alter appearance_tags type text using array_to_string(appearance_tags, ', ')",
        "column appearance_tags of public.characters",
    ),
    "instants without a zone": ("alter table public.images alter created_at type timestamp", "column created_at of public.images"),
    "no key": ("alter table public.user_roles drop constraint user_roles_user_id_role_key", "key (user_id, role) of public.user_roles"),
    "a materialized view": (
        "create materialized view public.all_prompts as select prompt from public.images",
        "materialized view public.all_prompts",
    ),
}


def test_replaced_objects_are_named_and_others_stay(drifted: Database) -> None:
    for change, _ in GIVES_WAY.values():
        run(drifted, change)
    before = objects(drifted)
    steps = planned(drifted)
    assert [s for s in steps if s.refused] == []
    assert {named for _, named in GIVES_WAY.values()} - {s.object for s in steps} == set()
    with drifted.transaction() as connection:
        migrate(connection)
    foreseen(before, objects(drifted), steps)
    lives_on(drifted)


def test_the_plans_name_lists_are_complete(database: Database) -> None:
    """The plan runs before our functions exist, so its lists of names must match theirs."""
    with database.transaction() as connection:
        text = reconcile.plan_sql()
    (ours,) = database.rows("select ourvidz.our_functions() as functions, ourvidz.our_relations() as relations")
    assert [n for n in ours["functions"] if f"'{n}'" not in text] == []
    assert [n for n in ours["relations"] if f"'{n}'" not in text] == []
    taken = {
        r["name"]: r["type"]
        for r in database.rows(
            "select attname::text as name, atttypid::regtype::text as type from pg_attribute where attrelid = 'public.jobs'::regclass and attnum > 0"
        )
    }
    with database.transaction() as connection:
        reconcile.plan(connection)
        copied = connection.exec_driver_sql("select name, to_regtype(type)::text from pg_temp.our_jobs_columns").all()
    assert {name: kind for name, kind in copied} == {name: taken[name] for name, _ in copied}
