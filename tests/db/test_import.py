"""Production's users and jobs after our migration: what users wrote about themselves counts only if the operator says so, and waiting
jobs run once their user's age is verified."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from api import Api, api_of
from production_copy import ANNA, BORIS, CLARA, DORA, SECOND_ANNA, TYPES, migrated, older_job
from support import Permissive, Server, artifact, as_job, claim, events, executor, finish, row, types
from waiting import LIMIT

from ourvidz.audit import audit
from ourvidz.db import ages
from ourvidz.db.connection import Database
from ourvidz.db.reconcile import Beliefs
from ourvidz.lifecycle import Jobs
from state.job import fold


def verify(database: Database, *users: str) -> None:
    database.rows("update public.profiles set age_verified = true where id = any (%s::uuid[])", (list(users),))


def profiles(database: Database) -> dict[str, tuple[int, str, bool]]:
    return {
        str(r["id"]): (r["token_balance"], r["subscription_status"], r["age_verified"])
        for r in database.rows("select * from public.profiles where id::text like '00000000-0000-4000-8000-%%'")
    }


def decided(database: Database) -> set[tuple[str, str, str, bool, str]]:
    rows = database.rows("select user_id::text, what, older_value, believed, decided_by from ourvidz.import_decisions")
    return {(r["user_id"], r["what"], r["older_value"], r["believed"], r["decided_by"]) for r in rows}


# -- waiting jobs -------------------------------------------------------------------------------------------------------------------


def test_waiting_jobs_are_queued_but_not_claimable_before_verification(migrated_production: Database) -> None:
    waited = [older_job(kind, status) for kind in TYPES for status in ("queued", "processing")]
    for job in waited:
        assert (row(migrated_production, job)["status"], types(migrated_production, job)) == ("queued", ["imported"])
    jobs = Jobs(migrated_production, Permissive())
    assert list(jobs.claim(executor(jobs), limit=50)) == []
    assert migrated_production.rows("select 1 from public.jobs where ready") == []
    assert list(audit(migrated_production).findings) == []


def test_verification_makes_waiting_jobs_claimable_at_once(server: Server, migrated_production: Database) -> None:
    jobs = Jobs(migrated_production, Permissive())
    gpu = executor(jobs)
    assert list(jobs.claim(gpu)) == []  # the executor sleeps now
    with psycopg.connect(migrated_production.url, autocommit=True) as listening:
        listening.execute("listen ourvidz")
        verify(migrated_production, ANNA)
        assert next(listening.notifies(timeout=LIMIT, stop_after=1)).payload == gpu
    theirs = {older_job(TYPES[n], status) for n in range(0, 10, 3) for status in ("queued", "processing")}
    theirs |= {f"00000000-0000-4001-8000-0000000000a{n}" for n in (0, 1)}
    made = [claim(jobs, gpu) for _ in theirs]
    assert {m.job_id for m in made} == theirs and list(jobs.claim(gpu)) == []
    pictures = [m for m in made if not m.job_type.startswith("video")]
    for one in pictures:
        finish(jobs, one)
    assert types(migrated_production, pictures[0].job_id)[:3] == ["imported", "reprioritised", "claimed"]
    assert list(audit(migrated_production).findings) == []


def test_an_imported_video_job_ends_in_its_owners_library(migrated_production: Database) -> None:
    """Production's own trigger on videos, which requires an address with the status completed, accepts it."""
    verify(migrated_production, ANNA)
    jobs = Jobs(migrated_production, Permissive())
    gpu = executor(jobs)
    job = older_job("video7b_high_enhanced", "queued")
    made = next(c for c in (claim(jobs, gpu) for _ in range(10)) if c.job_id == job)
    jobs.advance(made, "generation_started")
    clip = artifact(made, 0, "video") | {"media_type": "video/mp4", "frames": 81, "path": f"{ANNA}/{job}/1-0.mp4"}
    jobs.artifact_generated(made, clip)
    jobs.advance(made, "upload_started")
    jobs.artifact_uploaded(made, "video", 0, clip["sha256"])
    jobs.complete(made)
    (video,) = migrated_production.rows(
        "select status, video_url from public.videos where id = %s", (row(migrated_production, job)["video_id"],)
    )
    assert video == {"status": "completed", "video_url": clip["path"]}


def test_imported_rows_equal_their_fold(migrated_production: Database) -> None:
    verify(migrated_production, CLARA)
    for job in (older_job("image_fast", "queued"), older_job("sdxl_image_fast", "queued"), older_job("image_fast", "completed")):
        assert fold(events(migrated_production, job), job) == as_job(row(migrated_production, job))


def test_withdrawing_a_verification_stops_only_that_users_jobs(migrated_production: Database) -> None:
    verify(migrated_production, ANNA, CLARA)
    migrated_production.rows("update public.profiles set age_verified = false where id = %s", (ANNA,))
    jobs = Jobs(migrated_production, Permissive())
    gpu = executor(jobs)
    assert {c.user_id for _ in range(6) for c in jobs.claim(gpu)} == {CLARA} and list(jobs.claim(gpu)) == []
    verify(migrated_production, ANNA)
    assert list(jobs.claim(gpu)) == [], "what was stopped stays so: its user may retry it"
    said = "select distinct status from public.jobs where user_id = %s and completed_at > now() - interval '1 hour'"
    assert [r["status"] for r in migrated_production.rows(said, (ANNA,))] == ["cancelled"]


# -- self-declared data --------------------------------------------------------------------------------------------------------------


def test_by_default_no_self_declared_data_is_accepted(migrated_production: Database) -> None:
    assert set(profiles(migrated_production).values()) == {(0, "inactive", False)}
    assert decided(migrated_production) == {
        (ANNA, "balance", "100", False, "migration"),
        (BORIS, "balance", "999999", False, "migration"),
        (CLARA, "balance", "340", False, "migration"),
        (DORA, "balance", "-3", False, "migration"),
        (BORIS, "plan", "creator", False, "migration"),
        (CLARA, "plan", "pro", False, "migration"),
        (BORIS, "age", "true", False, "migration"),
        (BORIS, "role", "admin", False, "migration"),
        (CLARA, "role", "premium_user", False, "migration"),
        (DORA, "role", "admin", True, "migration"),  # from auth.users, which she cannot write
    }
    admins = migrated_production.rows("select user_id::text from public.user_roles where role = 'admin'")
    assert admins == [{"user_id": DORA}]


def test_the_operator_selects_whose_data_is_accepted(production: Database) -> None:
    migrated(production, beliefs=Beliefs(balance=[CLARA], plan="all", age=[CLARA], start=10, by="olga"))
    assert profiles(production) == {
        ANNA: (10, "inactive", False),
        BORIS: (10, "creator", False),
        CLARA: (340, "pro", False),  # she never stated an age
        DORA: (10, "inactive", False),
        SECOND_ANNA: (0, "inactive", False),  # had no profile before
    }
    assert {d for d in decided(production) if d[3] and d[1] != "role"} == {
        (CLARA, "balance", "340", True, "olga"),
        (CLARA, "plan", "pro", True, "olga"),
        (BORIS, "plan", "creator", True, "olga"),
    }
    plans = {u: production.rows("select (ourvidz.plan_of(%s)).name", (u,))[0]["name"] for u in (ANNA, BORIS, CLARA)}
    assert plans == {ANNA: "free", BORIS: "premium", CLARA: "pro"}
    entries = production.rows(
        "select user_id::text, sum(amount)::int as n from ourvidz.token_entries where account = 'available' group by 1"
    )
    assert {r["user_id"]: r["n"] for r in entries} == {ANNA: 10, BORIS: 10, CLARA: 340, DORA: 10}


def test_an_accepted_age_is_recorded_as_a_decision(production: Database) -> None:
    migrated(production, beliefs=Beliefs(age=[BORIS], by="olga"))
    (kept,) = ages.reviews(production, decided=True)
    assert (kept["user_id"], kept["decision"], kept["decided_by"]) == (BORIS, "verified", "olga")
    assert kept["how"] == "the older system said so, and the operator believed it"


def test_a_user_with_a_taken_username_gets_a_profile_and_can_be_verified(migrated_production: Database) -> None:
    (hers,) = migrated_production.rows("select username, email from public.profiles where id = %s", (SECOND_ANNA,))
    assert (hers["username"], hers["email"]) == ("anna_00000000", "anna@elsewhere.example")
    assert ages.decide(migrated_production, SECOND_ANNA, True, "person:olga", "a passport")["decision"] == "verified"


def test_negative_balances_are_never_accepted(production: Database) -> None:
    migrated(production, beliefs=Beliefs(balance="all"))
    assert profiles(production)[DORA][0] == 0 and profiles(production)[BORIS][0] == 999999


# -- sign-up and roles ---------------------------------------------------------------------------------------------------------------


def sign_up(database: Database, name: str, **meta: str) -> str:
    user = str(uuid.uuid4())
    database.rows("insert into auth.users (id, email, raw_user_meta_data) values (%s, %s, %s)", (user, name, json.dumps(meta)))
    return user


def profile(database: Database, user: str) -> tuple[str, str]:
    (found,) = database.rows("select username, subscription_status from public.profiles where id = %s", (user,))
    return found["username"], found["subscription_status"]


def roles(database: Database, user: str) -> list[str]:
    return [r["role"] for r in database.rows("select role::text from public.user_roles where user_id = %s order by 1", (user,))]


def test_signing_up_works_before_and_after(production: Database) -> None:
    before = sign_up(production, "first@example.org")
    migrated(production)
    after = sign_up(production, "second@example.org")
    assert (profile(production, before), profile(production, after)) == (("first", "inactive"), ("second", "inactive"))
    assert roles(production, before) == roles(production, after) == ["basic_user"]
    # Production's own trigger gives up if the username is taken; ours makes the profile.
    third = sign_up(production, "second@elsewhere.example")
    assert profile(production, third) == (f"second_{third[:8]}", "inactive") and roles(production, third) == ["basic_user"]
    # The migration made a profile for the user whom that trigger had left without one.
    assert profile(production, SECOND_ANNA) == ("anna_00000000", "inactive") and roles(production, SECOND_ANNA) == ["basic_user"]


def test_signing_up_in_a_new_project(database: Database) -> None:
    user = sign_up(database, "new@example.org", username=" Nora ")
    assert profile(database, user) == ("Nora", "inactive") and roles(database, user) == ["basic_user"]
    assert profile(database, sign_up(database, "nora2@example.org", username="Nora"))[0].startswith("Nora_")


@pytest.fixture
def api(server: Server, migrated_production: Database) -> Iterator[Api]:
    with api_of(server, migrated_production.rows("select current_database() as name")[0]["name"]) as found:
        yield found


def test_user_roles_follow_app_metadata(migrated_production: Database, api: Api) -> None:
    def appoint(role: str | None) -> None:
        with psycopg.connect(migrated_production.url, autocommit=True) as connection:
            connection.execute("set role supabase_auth_admin")
            connection.execute("update auth.users set raw_app_meta_data = %s where id = %s", (json.dumps({"role": role}), ANNA))

    with api.connection.transaction():
        api.connection.execute("grant supabase_auth_admin to ourvidz")
    try:
        appoint("admin")
        assert roles(migrated_production, ANNA) == ["admin", "basic_user"]
        appoint(None)
        assert roles(migrated_production, ANNA) == ["basic_user"]
        appoint("a word of nobody's")
        assert roles(migrated_production, ANNA) == ["basic_user"]
    finally:
        api.connection.execute("revoke supabase_auth_admin from ourvidz")


def test_users_cannot_give_themselves_roles_tokens_or_plans(migrated_production: Database, api: Api) -> None:
    for statement in (
        f"insert into public.user_roles (user_id, role) values ('{ANNA}', 'admin')",
        "update public.user_roles set role = 'admin'",
        "delete from public.user_roles",
        "update public.profiles set token_balance = 5",
        "update public.profiles set age_verified = true",
        "update public.profiles set subscription_status = 'creator'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.rows("authenticated", ANNA, statement)
    seen = api.rows("authenticated", ANNA, "select user_id::text, role::text from public.user_roles")
    assert seen == [{"user_id": ANNA, "role": "basic_user"}]
    # A row inserted by hand makes nobody an admin, neither for our policies nor for legacy ones that call has_role.
    migrated_production.rows("insert into public.user_roles (user_id, role) values (%s, 'admin')", (ANNA,))
    assert api.rows("authenticated", ANNA, "select current_user::text as me, public.has_role(auth.uid(), 'admin') as may") == [
        {"me": "authenticated", "may": False}
    ]
    for role in ("admin", "basic_user"):
        assert api.rows("authenticated", DORA, f"select public.has_role('{DORA}', '{role}') as may", admin=True) == [{"may": True}]


def test_views_use_their_readers_rights(migrated_production: Database, api: Api) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.rows("authenticated", ANNA, "select * from public.model_test_analytics")
    seen = api.rows("authenticated", DORA, "select job_status, prompt_text from public.model_test_analytics order by 2", admin=True)
    assert seen == [{"job_status": "queued", "prompt_text": "a test"}, {"job_status": None, "prompt_text": "another test"}]
