"""Age verification: requested by the user, decided by an operator with a reason, every decision kept; and the link in refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from support import Clock, Server, claim, executor, submit

from ourvidz.db import ages
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.errors import InvalidJob, NoConsent, NotAgeVerified, NotFound

User = Callable[..., str]
PAGE = "https://api.example.com/functions/v1/verify"


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as api:
        yield api


def call(api: Api, user: str | None, verb: str) -> dict[str, Any]:
    return dict(api.rows("authenticated", user, f"select public.{verb}() as answer")[0]["answer"])


def test_age_review_from_request_to_decision(api: Api, user: User, database: Database, jobs: Jobs) -> None:
    me = user(verified=False)
    assert call(api, me, "age_status")["status"] == "unverified"
    first, again = call(api, me, "request_age_review"), call(api, me, "request_age_review")
    assert (first["status"], again["asked_at"]) == ("waiting", first["asked_at"])
    assert [row["user_id"] for row in ages.reviews(database)] == [me]
    with pytest.raises(NotAgeVerified):
        submit(jobs, me)
    done = ages.decide(database, me, True, "operator:ada", "passport, seen in a call")
    assert (done["decision"], done["decided_by"], done["how"]) == ("verified", "operator:ada", "passport, seen in a call")
    assert call(api, me, "age_status")["status"] == "verified" and ages.reviews(database) == []
    submit(jobs, me)
    assert call(api, me, "request_age_review")["status"] == "verified" and ages.reviews(database) == []


def test_a_refusal_lasts_a_day_and_a_verification_can_be_withdrawn(
    api: Api, user: User, database: Database, jobs: Jobs, clock: Clock
) -> None:
    me = user()
    ages.decide(database, me, False, "operator:ada", "the document was somebody else's")
    assert call(api, me, "age_status")["status"] == "refused"
    with pytest.raises(NotAgeVerified):
        submit(jobs, me)
    with pytest.raises(psycopg.Error, match="ask again tomorrow"):
        call(api, me, "request_age_review")
    clock.advance(86_401)
    assert call(api, me, "request_age_review")["status"] == "waiting"


def test_decisions_are_immutable_and_need_a_reason(user: User, database: Database) -> None:
    me = user(verified=False)
    for how in ("", "  ", "x" * 501):
        with pytest.raises(InvalidJob, match="How the age was judged"):
            ages.decide(database, me, True, "operator:ada", how)
    with pytest.raises(NotFound):
        ages.decide(database, "0190a0f2-0000-7000-8000-0000000000aa", True, "operator:ada", "a passport")
    ages.decide(database, me, True, "operator:ada", "a passport")
    for change in ("update ourvidz.age_reviews set decided_by = 'operator:eve'", "update ourvidz.age_reviews set decision = 'refused'",
                   "delete from ourvidz.age_reviews", "truncate ourvidz.age_reviews"):  # fmt: skip
        with pytest.raises(Exception, match=r"is not changed|append-only"):
            database.rows(change)
    ages.decide(database, me, False, "operator:bob", "the passport was forged")
    assert [r["decision"] for r in ages.reviews(database, decided=True)] == ["refused", "verified"]


def test_users_cannot_verify_themselves(api: Api, user: User) -> None:
    me = user(verified=False)
    for statement in (
        "select ourvidz.decide_age(%s, true, 'me', 'trust me')",
        "update public.profiles set age_verified = true where id = %s",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.rows("authenticated", me, statement, (me,))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.rows("anon", None, "select public.request_age_review()")


def test_refusals_link_to_the_projects_help_page(user: User, database: Database, jobs: Jobs) -> None:
    me, other = user("premium"), user(verified=False)
    with pytest.raises(NotAgeVerified, match="An operator verifies it"):
        submit(jobs, other)
    assert ages.follow_project(database, "https://api.example.com/") == PAGE
    assert ages.follow_project(database, "https://other.example.com") is None, "an operator's choice stays"
    with pytest.raises(NotAgeVerified, match=f"Have your age verified: {PAGE}#age"):
        submit(jobs, other)
    submit(jobs, me)
    held = claim(jobs, executor(jobs))
    with pytest.raises(NoConsent, match=f"then retry the job: {PAGE}#pictures"):
        jobs.check_consent(held, "a1" * 32)


def test_erasure_removes_the_reason_and_keeps_the_decision(user: User, database: Database) -> None:
    me = user(verified=False)
    ages.decide(database, me, True, "operator:ada", "passport no. 5")
    database.rows("select ourvidz.erase_begin(%s, null, 'test')", (me,))
    database.rows("select ourvidz.erase_user_data(%s)", (me,))
    (kept,) = ages.reviews(database, decided=True)
    assert (kept["decision"], kept["how"]) == ("verified", None)
    with pytest.raises(NotFound, match="erased"):
        ages.decide(database, me, True, "operator:ada", "a passport")
