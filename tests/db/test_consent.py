"""Consent to show a picture to a model: attested by the job's user, or given if we made the picture for them; only the claim that holds the
job may ask.

Also screen refusals: recorded without the refused text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from api import Api, api_of
from support import Clock, Server, artifact, claim, executor, finish, new_user, submit

from ourvidz.db import safety
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from state.errors import InvalidJob, NoConsent, NotFound, StaleClaim

PICTURE, OTHER = "a1" * 32, "b2" * 32


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as api:
        yield api


@pytest.fixture
def held(jobs: Jobs, database: Database) -> Claim:
    submit(jobs, new_user(database, "premium"))
    return claim(jobs, executor(jobs))


def test_check_consent_fails_without_an_attestation(jobs: Jobs, held: Claim) -> None:
    with pytest.raises(NoConsent, match=r"(?s)No consent.*attest_consent.*retry"):
        jobs.check_consent(held, PICTURE)


def test_an_attestation_holds_until_it_is_withdrawn(jobs: Jobs, database: Database, held: Claim) -> None:
    safety.attest(database, held.user_id, PICTURE, "v1")
    safety.attest(database, held.user_id, PICTURE, "v2")  # attested again: the first statement stands
    jobs.check_consent(held, PICTURE)
    with pytest.raises(NoConsent):
        jobs.check_consent(held, OTHER)
    database.rows("select ourvidz.withdraw(%s, %s)", (held.user_id, PICTURE))
    with pytest.raises(NoConsent):
        jobs.check_consent(held, PICTURE)
    safety.attest(database, held.user_id, PICTURE, "v2")
    jobs.check_consent(held, PICTURE)
    rows = database.rows("select statement_version, withdrawn_at is null as stands from public.consents order by attested_at, stands")
    assert rows == [{"statement_version": "v1", "stands": False}, {"statement_version": "v2", "stands": True}]


def test_another_users_consent_does_not_count(jobs: Jobs, database: Database, held: Claim) -> None:
    safety.attest(database, new_user(database), PICTURE, "v1")
    with pytest.raises(NoConsent):
        jobs.check_consent(held, PICTURE)


def test_our_own_output_needs_no_consent_of_its_user(jobs: Jobs, database: Database) -> None:
    mine, theirs = new_user(database, "premium"), new_user(database, "premium")
    gpu = executor(jobs)
    submit(jobs, mine)
    finish(jobs, made := claim(jobs, gpu))
    digest = artifact(made)["sha256"]
    submit(jobs, mine)
    jobs.check_consent(claim(jobs, gpu), digest)
    submit(jobs, theirs)
    with pytest.raises(NoConsent):
        jobs.check_consent(claim(jobs, gpu), digest)


def test_only_the_claim_that_holds_the_job_may_ask(jobs: Jobs, database: Database, held: Claim) -> None:
    safety.attest(database, held.user_id, PICTURE, "v1")
    for other in (replace(held, claim_no=held.claim_no + 1), replace(held, token="00000000-0000-0000-0000-000000000000")):
        with pytest.raises(StaleClaim):
            jobs.check_consent(other, PICTURE)


def test_the_executor_role_can_check_but_not_attest(server: Server, database_name: str, held: Claim, database: Database) -> None:
    safety.attest(database, held.user_id, PICTURE, "v1")
    with psycopg.connect(server.url(database_name, superuser=True), autocommit=True) as connection:
        connection.execute("set role ourvidz_executor")
        connection.execute("select ourvidz.check_consent(%s, %s, %s, %s)", (*held.ref, PICTURE))
        for forbidden in ("select ourvidz.attest(%s, %s, 'v1')", "select ourvidz.why_no_consent(%s, %s)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden, (held.user_id, PICTURE))


def test_users_attest_for_themselves_through_the_api(api: Api, database: Database) -> None:
    me = new_user(database)
    (row,) = api.rows("authenticated", me, "select public.attest_consent(%s, 'v1') as told", (PICTURE,))
    assert (row["told"]["user_id"], row["told"]["sha256"], row["told"]["statement_version"]) == (me, PICTURE, "v1")
    assert api.rows("authenticated", me, "select sha256 from public.consents") == [{"sha256": PICTURE}]
    assert api.rows("authenticated", new_user(database), "select sha256 from public.consents") == []
    for withdrawn in (True, False):
        (row,) = api.rows("authenticated", me, "select public.withdraw_consent(%s) as told", (PICTURE,))
        assert row["told"] == {"withdrawn": withdrawn}
    for who, user in (("service_role", None), ("anon", None)):
        with pytest.raises(psycopg.Error) as refused:
            api.rows(who, user, "select public.attest_consent(%s, 'v1')", (PICTURE,))
        assert refused.value.sqlstate == ("OV017" if who == "service_role" else "42501")


@pytest.mark.parametrize(
    ("sha256", "version", "field"),
    [("A1" * 32, "v1", "sha256"), ("a1", "v1", "sha256"), (None, "v1", "sha256"), (PICTURE, "", "statement_version"),
     (PICTURE, None, "statement_version"), (PICTURE, "x" * 41, "statement_version"), (PICTURE, "two words", "statement_version")],
)  # fmt: skip
def test_invalid_attestations_are_refused_by_field(database: Database, sha256: str | None, version: str | None, field: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        database.rows("select ourvidz.attest(%s, %s, %s)", (new_user(database), sha256, version))
    assert refused.value.field == field


def test_attesting_for_an_unknown_user_is_refused(database: Database) -> None:
    with pytest.raises(NotFound):
        safety.attest(database, "00000000-0000-0000-0000-00000000000a", PICTURE, "v1")


# -- screen refusals --------------------------------------------------------------------------------------------------------------------


def report(api: Api, user: str, **more: object) -> None:
    given = {"category": "minors", "policy_version": "2025-08+00000000", "rule_id": "en/word", "digest": PICTURE, **more}
    named = ", ".join(f"{name} => %({name})s" for name in given)
    api.rows("authenticated", user, f"select public.report_refusal({named})", given)


def test_a_refusal_before_submit_is_recorded_with_a_salted_digest(api: Api, database: Database) -> None:
    me = new_user(database)
    report(api, me)
    report(api, me, rule_id=None, digest=None)
    first, second = database.rows(
        "select *, encode(sha256(salt || decode(%s, 'hex')), 'hex') as wanted from ourvidz.screenings order by id", (PICTURE,)
    )
    assert (str(first["user_id"]), first["stage"], first["allowed"], first["rule_id"]) == (me, "door", False, "en/word")
    assert first["digest"] == first["wanted"] != PICTURE and second["digest"] is None
    (told,) = safety.refusals(database, None)
    assert (told["category"], told["policy_version"], told["stage"], told["refusals"], told["users"]) == (
        "minors",
        "2025-08+00000000",
        "door",
        2,
        1,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"category": "a whole sentence"},
        {"category": "zanzibar"},
        {"category": None},
        {"policy_version": None},
        {"policy_version": "zanzibar"},
        {"rule_id": "en/zanzibar"},
        {"digest": "ab"},
    ],
)
def test_refusal_reports_accept_only_known_identifiers(api: Api, database: Database, wrong: dict[str, str]) -> None:
    with pytest.raises(psycopg.Error) as refused:
        report(api, new_user(database), **wrong)
    assert refused.value.sqlstate == "OV009"
    assert database.rows("select * from ourvidz.screenings") == []


def test_reported_refusals_are_rate_limited(api: Api, database: Database, clock: Clock) -> None:
    me = new_user(database)
    for _ in range(20):
        report(api, me)
    with pytest.raises(psycopg.Error) as refused:
        report(api, me)
    assert refused.value.sqlstate == "OV016"
    report(api, new_user(database))
    clock.advance(61)
    report(api, me)


def test_an_executors_refusal_is_recorded_with_its_event(jobs: Jobs, database: Database, held: Claim) -> None:
    verdict = {"category": "minors", "policy_version": "2025-08+00000000", "stage": "output", "rule_id": "guard.B", "sha256": PICTURE}
    jobs.fail(held, "refused_content", "Refused.", final=True, verdict=verdict)
    (kept,) = database.rows("select * from ourvidz.screenings")
    (event,) = database.rows("select data, occurred_at from public.job_events where type = 'failed'")
    assert (str(kept["job_id"]), str(kept["user_id"]), kept["at"]) == (held.job_id, held.user_id, event["occurred_at"])
    assert {name: kept[name] for name in ("stage", "category", "policy_version", "rule_id", "digest")} == {
        name: event["data"][name] for name in ("stage", "category", "policy_version", "rule_id", "digest")
    }
    assert PICTURE not in json.dumps(event["data"])


def test_other_failures_are_not_recorded_as_refusals(jobs: Jobs, database: Database, held: Claim) -> None:
    jobs.fail(held, "bad_request", "No.", retryable=False)
    assert database.rows("select * from ourvidz.screenings") == []
