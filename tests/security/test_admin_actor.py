"""Attacks or mistakes by those who may act on others' jobs: an admin, the service key or an operator spends a user's tokens without
consent, and events that do not name the actor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from support import Server, artifact, claim, executor, row, submit

from ourvidz.db import ledger
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

User = Callable[..., str]
RETRY, CANCEL = "select public.retry_job(%s)", "select public.cancel_job(%s)"
PATCH = "update public.jobs set status = '{}' where id = %s"


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as found:
        yield found


def balance(database: Database, user: str) -> int:
    return int(database.rows("select token_balance from public.profiles where id = %s", (user,))[0]["token_balance"])


def told(database: Database, job_id: str) -> tuple[str, str, dict[str, Any]]:
    """The last event's type, its actor, and the price of a retry."""
    (e,) = database.rows("select * from public.job_events where job_id = %s order by version desc limit 1", (job_id,))
    return e["type"], e["actor"], {key: e["data"][key] for key in ("price", "waived") if key in e["data"]}


def failed(jobs: Jobs, user: str, job_type: str = "image_high") -> str:
    job_id = submit(jobs, user, job_type)
    jobs.fail(claim(jobs, executor(jobs)), "broken", "It broke.", retryable=False)
    return job_id


WAYS = {
    "rpc": lambda api, admin, job: api.rows("authenticated", admin, RETRY, (job,), admin=True),
    "PATCH": lambda api, admin, job: api.rows("authenticated", admin, PATCH.format("queued"), (job,), admin=True),
    "service key": lambda api, admin, job: api.rows("service_role", None, RETRY, (job,)),
    "sql": lambda api, admin, job: api.rows(None, None, "select ourvidz.retry(%s)", (job,)),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_retry_by_an_admin_or_operator_is_free_and_names_its_actor(
    database: Database, jobs: Jobs, user: User, api: Api, way: str
) -> None:
    me, admin = user(tokens=5), user(tokens=100)
    job_id = failed(jobs, me)
    WAYS[way](api, admin, job_id)
    login = api.connection.info.user
    actor = {"rpc": f"admin:{admin}", "PATCH": f"admin:{admin}", "service key": "service", "sql": f"login:{login}"}[way]
    assert told(database, job_id) == ("retried", actor, {"price": 0, "waived": 4})
    assert (balance(database, me), balance(database, admin)) == (5, 100)
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    made = artifact(job)
    jobs.artifact_generated(job, made)
    jobs.advance(job, "upload_started")
    jobs.artifact_uploaded(job, "image", 0, made["sha256"])
    jobs.complete(job)
    assert balance(database, me) == 5 and ledger.check(database) == []


@pytest.mark.parametrize(("role", "admin"), [("authenticated", True), ("service_role", False)])
def test_a_charged_retry_is_refused_if_the_user_cannot_pay(
    database: Database, jobs: Jobs, user: User, api: Api, role: str, admin: bool
) -> None:
    me, other = user(tokens=4), user()
    job_id = failed(jobs, me)
    who = other if admin else None
    asked = "select public.retry_job(%s, charge => true)"
    ledger.revoke(database, me, 1, "spent elsewhere")
    with pytest.raises(psycopg.Error) as refused:
        api.rows(role, who, asked, (job_id,), admin=admin)
    assert refused.value.sqlstate == "OV014" and row(database, job_id)["status"] == "failed" and balance(database, me) == 3
    ledger.grant(database, me, 1, "and back")
    api.rows(role, who, asked, (job_id,), admin=admin)
    assert told(database, job_id)[2] == {"price": 4} and balance(database, me) == 0


def test_users_cannot_retry_their_own_jobs_for_free(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    for admin in (False, True):  # nor does an admin get theirs for free
        me = user(tokens=4)
        job_id = failed(jobs, me)
        api.rows("authenticated", me, "select public.retry_job(%s, charge => false)", (job_id,), admin=admin)
        assert told(database, job_id) == ("retried", "person", {"price": 4}) and balance(database, me) == 0
        jobs.cancel(job_id)


CANCELS = {
    "rpc": lambda api, admin, job: api.rows("authenticated", admin, CANCEL, (job,), admin=True),
    "PATCH": lambda api, admin, job: api.rows("authenticated", admin, PATCH.format("cancelled"), (job,), admin=True),
    "service key": lambda api, admin, job: api.rows("service_role", None, CANCEL, (job,)),
}  # fmt: skip


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("way", CANCELS)
def test_a_cancel_names_its_actor_and_releases_the_tokens(
    database: Database, jobs: Jobs, user: User, api: Api, way: str, held: bool
) -> None:
    me, admin = user(tokens=5), user()
    job_id = submit(jobs, me, "image_high")
    job = claim(jobs, executor(jobs)) if held else None
    CANCELS[way](api, admin, job_id)
    assert told(database, job_id)[:2] == (
        "cancel_requested" if held else "cancelled",
        "service" if way == "service key" else f"admin:{admin}",
    )
    if job:
        jobs.honour_cancel(job)
    assert balance(database, me) == 5


def test_deletes_and_links_by_an_admin_name_the_admin(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    me, admin = user(), user()
    job_id = submit(jobs, me)
    (image,) = database.rows("insert into public.images (user_id, prompt) values (%s, 'x') returning id::text", (me,))
    api.rows("authenticated", admin, "update public.jobs set image_id = %s where id = %s", (image["id"], job_id), admin=True)
    assert told(database, job_id)[:2] == ("linked", f"admin:{admin}")
    jobs.cancel(job_id)
    api.rows("authenticated", admin, "delete from public.jobs where id = %s", (job_id,), admin=True)
    assert told(database, job_id)[:2] == ("removed", f"admin:{admin}")


def test_approval_for_another_user_needs_an_explicit_charge(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    me, admin = user(tokens=30), user()
    (scene,) = database.rows("insert into public.videos (user_id, scene_number) values (%s, 1) returning id::text", (me,))
    submit(jobs, me, video_id=scene["id"])
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    made = artifact(job)
    jobs.artifact_generated(job, made)
    jobs.advance(job, "upload_started")
    jobs.artifact_uploaded(job, "image", 0, made["sha256"])
    jobs.complete(job)
    asked = "select public.approve_preview(%s, 'video_fast')"
    for role, who in (("authenticated", admin), ("service_role", None)):
        with pytest.raises(psycopg.Error) as refused:
            api.rows(role, who, asked, (scene["id"],), admin=who is not None)
        assert refused.value.sqlstate == "OV017" and balance(database, me) == 29
    api.rows("authenticated", admin, asked.replace("'video_fast')", "'video_fast', charge => true)"), (scene["id"],), admin=True)
    (final,) = database.rows("select id::text from public.jobs where job_type = 'video_fast'")
    assert told(database, final["id"])[:2] == ("submitted", f"admin:{admin}") and balance(database, me) == 9


def test_a_more_expensive_fallback_costs_the_user_nothing_more(database: Database, jobs: Jobs, user: User) -> None:
    me = user(tokens=10)
    job_id = submit(jobs, me, "sdxl_image_high")
    jobs.reroute(job_id, actor="login:operator")
    assert told(database, job_id)[:2] == ("rerouted", "login:operator") and balance(database, me) == 8
    jobs.reprioritise(job_id, 3)
    assert told(database, job_id)[:2] == ("reprioritised", "login:ourvidz")


def test_a_grant_names_the_login_that_made_it(database: Database, user: User) -> None:
    me = user(tokens=1)
    ledger.grant(database, me, 5, "a gift")
    ledger.revoke(database, me, 2, "by mistake", actor="person:ops")
    entries = database.rows(
        "select kind, actor, reason from ourvidz.token_entries where user_id = %s and account = 'issued' order by seq", (me,)
    )
    assert [(e["kind"], e["actor"]) for e in entries[1:]] == [("grant", "login:ourvidz"), ("revoke", "person:ops")]
