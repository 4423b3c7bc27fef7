"""Policies on Supabase's storage are tested by trying what they allow, whatever their names; those that allow too much are dropped by
`migrate`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from api import Api
from supabase_shape import supabase_database
from support import Server, new_user

from ourvidz.db import access_trial, migration_plan, safety, storage_policies
from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate
from ourvidz.db.storage_policies import Applied, Leak

OWN = "(storage.foldername(name))[1] = auth.uid()::text"


def made(database: Database, *statements: str) -> None:
    for statement in statements:
        database.rows(statement)


def looked(database: Database) -> dict[str, Leak]:
    with database.transaction() as connection:
        return {leak.policy: leak for leak in storage_policies.leaks(connection)}


def again(database: Database, *, keep: bool = False) -> Applied:
    with database.transaction() as connection:
        told: list[Applied] = []
        migrate(connection, keep_policies=keep, tell=told.append)
    return told[0]


def red(database: Database) -> list[str]:
    return [line.found for check in (access_trial.storage, access_trial.tables) for line in check(database) if line.state == "missing"]


LEAKS = {
    "everything for everybody": ("for all using (bucket_id = 'video_fast')", "anon delete", "video_fast"),
    "whoever is signed in": ("for select to authenticated using (bucket_id like 'image%')", "another user select", "image_high"),
    "whoever pays": (
        "for select using (exists (select from public.profiles as p where p.subscription_status <> 'free'))",
        "another user select",
        "image_fast",
    ),
    "whoever says they are admin": (
        "for delete using (auth.jwt()->'user_metadata'->>'role' = 'admin')",
        "another user delete",
        "video_high",
    ),
    "by the ending": ("for select to anon using (name like '%.webp')", "anon select", "video-thumbnails"),
    "in a subquery": (
        "for update using (exists (select from unnest(storage.foldername(objects.name)) as f where length(f) = 36))",
        "another user update",
        "private-notes",
    ),
    "owners write outputs": (f"for insert with check (bucket_id = 'sdxl_image_fast' and {OWN})", "its owner insert", "sdxl_image_fast"),
    "owners overwrite": (f"for update using ({OWN})", "its owner update", "reference_images"),
    "owners read what is not delivered": (
        f"for select using (bucket_id = 'video_fast' and {OWN})",
        "its owner before delivery select",
        "video_fast",
    ),
    "owners delete what is not delivered": (
        f"for delete to authenticated using (bucket_id like 'video%' and {OWN})",
        "its owner before delivery delete",
        "video_high",
    ),
    "by who wrote it": ("for insert with check (auth.uid() = owner)", "another user insert", "reference_images"),
    "public, and written to": (
        "for insert to authenticated with check (bucket_id = 'system-assets')",
        "another user insert",
        "system-assets",
    ),
    "a bucket that is not there": ("for select using (bucket_id = 'scene-previews')", "anon select", "scene-previews"),
    "half of it fails": (
        "for select using (case when name like '%.png' then (name::uuid) is null else bucket_id = 'image_fast' end)",
        "anon select",
        "image_fast",
    ),
}

HARMLESS = (
    f"for select using (bucket_id = 'reference_images' and {OWN})",
    f"for delete to authenticated using (bucket_id = 'reference_images' and {OWN})",
    f"for insert with check (bucket_id = 'reference_images' and {OWN})",
    "for select using (bucket_id = 'system_assets')",
    "for all using (bucket_id = 'avatars')",  # public, and not ours
    "for all using (bucket_id = 'private-notes' and owner = auth.uid())",
    "for insert with check (bucket_id = 'private-notes' and auth.role() = 'authenticated')",
    "for all to service_role using (true)",
    "for select using (false)",
)


@pytest.fixture
def project(database: Database) -> Database:
    """A database with two buckets of the project's own, one of them private, and a premium user."""
    new_user(database, "premium")
    made(
        database,
        "insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true), ('private-notes', 'private-notes', false)",
    )
    return database


def test_our_own_policies_let_nothing_through(project: Database) -> None:
    assert looked(project) == {} and red(project) == []
    assert [line.state for check in (access_trial.storage, access_trial.tables) for line in check(project)] == ["ok", "ok"]
    before = project.rows("select oid, xmin from pg_policy where polrelid = 'storage.objects'::regclass order by 1")
    assert again(project) == Applied([], [])
    # Correct policies are not made again: making one locks the table for everybody.
    assert project.rows("select oid, xmin from pg_policy where polrelid = 'storage.objects'::regclass order by 1") == before


def test_too_permissive_policies_are_found_by_trial_and_dropped(project: Database) -> None:
    called = {f"Users can view their own files {n}": leak for n, leak in enumerate(LEAKS.values())}
    for name, (rule, _, _) in called.items():
        made(project, f'create policy "{name}" on storage.objects {rule}')
    found = looked(project)
    for name, (rule, lets, bucket) in called.items():
        assert lets in found[name].lets and bucket in found[name].buckets and found[name].dropped is None, (rule, found[name])
    with project.transaction() as connection:
        dropped = [step.object for step in migration_plan.steps(connection) if step.action == "drop"]
        assert sum(name.startswith("Users can view their own files") for name in dropped) == len(called)
    kept = again(project, keep=True)
    assert list(kept.leaks) == list(found.values()) and kept.statements == []
    assert all(any(f'"{name}"' in line for line in red(project)) for name in called)
    dropped = again(project)
    assert {leak.policy: leak.dropped for leak in dropped.leaks} == dict.fromkeys(called, True)
    assert looked(project) == {} and red(project) == []


def test_harmless_policies_stay(project: Database) -> None:
    for n, rule in enumerate(HARMLESS):
        made(project, f'create policy "Allow everything {n}" on storage.objects {rule}')
    assert again(project).leaks == []
    kept = project.rows("select 1 from pg_policies where schemaname = 'storage' and policyname like 'Allow everything%'")
    assert len(kept) == len(HARMLESS) and red(project) == []


def test_the_trial_finds_leaks_without_a_policy(project: Database) -> None:
    """The trial tests effects, not causes: disabled row-level security is not a policy."""
    made(project, "alter table storage.objects disable row level security")
    assert any("select by anon went through" in line for line in red(project))
    made(project, "alter table storage.objects enable row level security", 'drop policy "ourvidz own" on storage.objects')
    assert any("select by its owner is refused" in line for line in red(project))
    again(project)
    made(
        project,
        "create policy anything on storage.buckets for update using (true)",
        "create policy listed on storage.buckets for select using (true)",
        "grant update on storage.buckets to anon",  # as at Supabase
    )
    assert looked(project)["anything"].relation == "storage.buckets" and "listed" not in looked(project)
    assert any("change of the bucket itself by anon" in line for line in red(project))
    assert project.rows("select 1 from storage.objects") == [] and len(project.rows("select 1 from storage.buckets")) == 2


def test_tables_readable_by_others_are_reported(project: Database) -> None:
    made(project, "create policy everybody on public.profiles for select using (true)", "grant select on public.profiles to anon")
    (found,) = red(project)
    assert "public.profiles shows rows to anon and to another user" in found
    made(project, "update ourvidz.schema_objects set digest = 'of an older program'")
    again(project)
    assert red(project) == []


def test_project_views_that_bypass_row_level_security_are_reported(project: Database) -> None:
    made(
        project,
        "create view public.people as select id, subscription_status from public.profiles",
        "create view public.counted as select count(*) from public.people where false having count(*) > 0",
        "create view public.asking with (security_invoker = true) as select id from public.profiles",
        "grant select on public.people, public.counted, public.asking to anon, authenticated",
    )
    (line,) = access_trial.tables(project)
    assert (line.state, line.found) == ("warn", "public.people shows rows to anon and to another user")
    made(project, line.remedy.split("`")[1])
    (line,) = access_trial.tables(project)
    assert line.state == "ok" and line.found.endswith(" tables and views is seen")


@pytest.fixture
def supabase(server: Server) -> Iterator[Database]:
    name = supabase_database(server)
    database = Database(server.url(name))
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as superuser:
        superuser.execute("create policy anyone on storage.objects for all using (bucket_id = 'video_fast')")
    yield database
    database.close()
    server.drop(name)


def test_statements_are_printed_if_storage_cannot_be_altered(supabase: Database, server: Server) -> None:
    done = again(supabase)
    assert [(leak.policy, leak.dropped) for leak in done.leaks] == [("anyone", False)]
    assert any("anyone" in line for line in red(supabase))
    assert len(done.statements) == 7 and "drop policy anyone on storage.objects;" in done.statements
    name = supabase.rows("select current_database() as name")[0]["name"]
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as superuser:
        for statement in done.statements:
            superuser.execute(statement)  # type: ignore[arg-type]
    assert again(supabase) == Applied([], []) and looked(supabase) == {}


def test_policies_that_open_private_channels_are_reported(supabase: Database) -> None:
    again(supabase)
    assert list(access_trial.channels(supabase)) == []
    made(
        supabase,
        'create policy "everybody listens" on realtime.messages for select to authenticated using (true)',
        "create policy \"their chats\" on realtime.messages for select using (realtime.topic() like 'chat:%')",
        'create policy "users speak" on realtime.messages for insert to authenticated with check (auth.uid() is not null)',
    )
    found = [line.found for line in access_trial.channels(supabase)]
    assert found == [
        'policy "everybody listens" on realtime.messages lets another user listen in the channel jobs:USER of every user',
        'policy "users speak" on realtime.messages lets another user speak in the channel jobs:USER of every user',
    ]


def test_a_login_without_rights_for_the_trial_gets_a_warning(server: Server, database: Database) -> None:
    url = server.url(database.rows("select current_database() as name")[0]["name"], superuser=True)
    executor = Database(f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dourvidz_executor")
    (line,) = access_trial.storage(executor)
    assert line.state == "warn" and "not tried" in line.found and "DATABASE_URL" in line.remedy
    executor.close()


def test_a_user_under_legal_hold_cannot_delete_their_objects(api: Api, database: Database) -> None:
    user, other = new_user(database), new_user(database)
    made(database, "insert into storage.buckets (id, name) values ('image_fast', 'image_fast')")
    for who in (user, other):
        database.rows("insert into storage.objects (bucket_id, name) values ('image_fast', %s)", (f"{who}/older.png",))
    delete = "delete from storage.objects where bucket_id = 'image_fast' returning name"
    safety.hold_set(database, user, "court order", "test")
    assert api.rows("authenticated", user, delete) == [] and len(api.rows("authenticated", other, delete)) == 1
    safety.hold_lift(database, user, "test")
    assert len(api.rows("authenticated", user, delete)) == 1


def test_the_trial_restores_the_callers_claims_and_role(project: Database) -> None:
    claims = json.dumps({"role": "service_role"})
    with project.transaction() as connection:
        connection.exec_driver_sql("select set_config('request.jwt.claims', %s, true)", (claims,))
        storage_policies.leaks(connection)
        after = connection.exec_driver_sql("select current_setting('request.jwt.claims'), current_user, session_user").one()
    assert after == (claims, "ourvidz", "ourvidz")
