"""Attack: a stolen executor login must not change jobs it does not hold, act for other logins' executors, submit as another user, send
or drop messages, delete objects, or read prompts beyond its lanes and rate limit."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Final

import psycopg
import pytest
from logins import login
from support import Clock, Permissive, Server, claim, executor, row, submit, types

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from state.errors import Forbidden, InvalidJob, RateLimited, StaleClaim

User = Callable[..., str]
WRONG = str(uuid.UUID(int=7))  # a token that nobody was given

EXECUTORS: Final = {  # function → call with the id of another login's executor
    "heartbeat": "select ourvidz.heartbeat(%(executor)s, '{wan}', '{wan}', '{}')",
    "jobs_of_executor": "select * from ourvidz.jobs_of_executor(%(executor)s)",
    "claim": "select * from ourvidz.claim(%(executor)s)",
    "executor_gone": "select ourvidz.executor_gone(%(executor)s, 'died')",
    "drain": "select ourvidz.drain(%(executor)s, true)",
}
"""Functions that act for an executor: only the login that registered it may call them."""

CLAIM: Final = "%(job)s, %(claim_no)s, %(token)s"
CLAIMS: Final = {
    "advance": f"select ourvidz.advance({CLAIM}, 'generation_started')",
    "enhanced": f"select ourvidz.enhanced({CLAIM}, 'more', 1, 1)",
    "artifact_generated": f"select ourvidz.artifact_generated({CLAIM}, '{{}}')",
    "artifact_uploaded": f"select ourvidz.artifact_uploaded({CLAIM}, 'image', 0, repeat('0', 64))",
    "complete": f"select ourvidz.complete({CLAIM})",
    "fail": f"select ourvidz.fail({CLAIM}, 'timeout', 'Too slow.')",
    "snooze": f"select ourvidz.snooze({CLAIM}, 'drain')",
    "honour_cancel": f"select ourvidz.honour_cancel({CLAIM})",
    "check_blocked": f"select ourvidz.check_blocked({CLAIM}, repeat('0', 64), '{{}}')",
    "job_texts": f"select * from ourvidz.job_texts({CLAIM})",
    "check_consent": f"select ourvidz.check_consent({CLAIM}, repeat('0', 64))",
}
"""Functions on one claim: they require its token, which only the claim's answer contains."""

MANY: Final = "array[%(job)s]::uuid[], array[%(claim_no)s], array[%(token)s]::uuid[]"
BATCHES: Final = {
    "advance_batch": f"select * from ourvidz.advance_batch({MANY}, 'generation_started')",
    "complete_batch": f"select * from ourvidz.complete_batch({MANY})",
}
"""The same for many claims: claims that are not held are skipped."""

HARMLESS: Final = {
    "register": "a new executor, of this login, in its lanes, with a name that no other's living executor has",
    "reap": "does what is due, as the database decides it",
    "on_device": "which of an executor's jobs is on its device: events say so too",
    "lane_order": "which lanes have work: figures",
    "now": "the clock",
    "is_copy": "whether this database was restored or copied and nobody has said yet what it is",
    "oldest_served": "a number of the schema",
    "settled_xid": "a number: up to where events can be read without a gap",
    "our_relations": "names of tables",
    "unlimited_logins": "names of logins, and the limits they lack",
    "enhancement_claim": "a prompt of the dialog, counted as a claim is",
    "enhancement_heartbeat": "of a request whose id only enhancement_claim gives",
    "enhancement_finish": "of a request whose id only enhancement_claim gives",
}
"""All other functions, with what they allow a holder of the login to do."""


@pytest.fixture
def victim(server: Server, database_name: str, database: Database) -> Iterator[Jobs]:
    yield from _as(server, database_name, "ourvidz_executor")


@pytest.fixture
def thief(server: Server, database_name: str, database: Database) -> Iterator[Jobs]:
    """Another login of the same role."""
    yield from _as(server, database_name, "ourvidz_executor")


def _as(server: Server, database_name: str, *roles: str) -> Iterator[Jobs]:
    with login(server, database_name, *roles) as url:
        database = Database(url)
        yield Jobs(database, Permissive(), patience=5)
        database.close()


@pytest.fixture
def held(jobs: Jobs, victim: Jobs, user: User) -> tuple[str, Claim]:
    """An executor of the victim's, and its claimed job."""
    submit(jobs, user(), "image7b_fast_enhanced")
    gpu = executor(victim, "gpu1")
    return gpu, claim(victim, gpu)


def test_every_function_granted_to_executors_is_listed(database: Database) -> None:
    """A newly granted function needs a row above, and thereby an attack."""
    found = database.rows("""select proname::text as name from pg_proc where pronamespace = 'ourvidz'::regnamespace
                             and has_function_privilege('ourvidz_executor', oid, 'execute')""")
    assert {r["name"] for r in found} == {*EXECUTORS, *CLAIMS, *BATCHES, *HARMLESS}


def test_a_stolen_login_cannot_act_for_another_logins_executor(
    database: Database, thief: Jobs, held: tuple[str, Claim], user: User, jobs: Jobs
) -> None:
    gpu, job = held
    waiting = submit(jobs, user(), "image_fast")
    before = (row(database, job.job_id), row(database, waiting), database.rows("select * from ourvidz.executors"))
    for function in EXECUTORS.values():
        with pytest.raises(Forbidden, match="registered by another login"):
            thief.db.rows(function, {"executor": gpu})
    assert (row(database, job.job_id), row(database, waiting), database.rows("select * from ourvidz.executors")) == before


def test_a_stolen_login_cannot_change_jobs_it_does_not_hold(database: Database, thief: Jobs, held: tuple[str, Claim]) -> None:
    _, job = held
    before = types(database, job.job_id)
    given = {"job": job.job_id, "claim_no": job.claim_no, "token": WRONG}
    for function in CLAIMS.values():
        with pytest.raises(StaleClaim):
            thief.db.rows(function, given)
    for function in BATCHES.values():
        assert thief.db.rows(function, given) == []
    assert types(database, job.job_id) == before and database.rows("select * from public.artifacts") == []


NOT_AN_EXECUTORS: Final = (
    "intake('sdxl_queue', '[]')",
    "intake_record('sdxl_queue', '[]')",
    "intake_forget('0')",
    "outbox_take('job-callback', 60)",
    "outbox_sent(gen_random_uuid(), 200)",
    "outbox_prune()",
    "removals_lease(100, 60)",
    "removals_done('{image_fast}', '{a.png}')",
    "submit_batch('[]')",
    "declare_gone(gen_random_uuid(), 'died')",
    "count_claims(-1000)",
    "set_limits('postgres')",
    "grant_tokens(gen_random_uuid(), 5, 'x')",
)


def test_an_executor_login_cannot_submit_send_or_delete(thief: Jobs) -> None:
    """The intake's functions submit in the name of any user, the deliverer's delete objects: separate roles have them."""
    for call in NOT_AN_EXECUTORS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            thief.db.rows(f"select * from ourvidz.{call}")


def test_each_role_has_its_own_functions(server: Server, database_name: str, database: Database) -> None:
    for role, may, may_not in (
        ("ourvidz_intake", "intake_forget('30 days')", "removals_lease(1, 1)"),
        ("ourvidz_deliverer", "removals_lease(1, 1)", "intake_forget('30 days')"),
    ):
        with login(server, database_name, role) as url, psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"select * from ourvidz.{may}")
            for refused in (may_not, "reap()", "register('a', 'b', 1, '{sdxl}')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"select * from ourvidz.{refused}")


def test_claims_per_minute_are_limited(database: Database, jobs: Jobs, thief: Jobs, user: User, clock: Clock) -> None:
    """However many it asks for at once, with any number of executors."""
    database.rows("update ourvidz.policy set claims_per_minute = 3")
    owner = user("premium")
    for _ in range(6):
        submit(jobs, owner)
    one, other = executor(thief, "gpu1"), executor(thief, "gpu2")
    assert len(thief.claim(one, limit=2)) == 2
    assert len(thief.claim(other, limit=1000)) == 1
    for gpu in (one, other, executor(thief, "gpu3")):
        with pytest.raises(RateLimited, match="3 prompts within a minute"):
            thief.claim(gpu)
    assert len(jobs.claim(executor(jobs, "gpu4"), limit=2)) == 2  # an operator's own session is not counted
    clock.advance(20)
    thief.heartbeat(one)
    clock.advance(20)
    thief.heartbeat(one)
    clock.advance(21)
    thief.heartbeat(one)
    assert len(thief.claim(one)) == 1


def test_a_login_reads_only_prompts_of_its_lanes(database: Database, jobs: Jobs, server: Server, database_name: str, user: User) -> None:
    submit(jobs, user(), "image_fast")
    with login(server, database_name, "ourvidz_executor") as url:
        thief = Jobs(Database(url), Permissive(), patience=5)
        database.rows("insert into ourvidz.logins (name, lanes) values (%s, '{sdxl}')", (url.split("//")[1].split(":")[0],))
        with pytest.raises(Forbidden, match="may serve the lanes sdxl, and not wan"):
            executor(thief, "gpu1", ("wan",))
        gpu = executor(thief, "gpu1", ("sdxl",))
        with pytest.raises(Forbidden):
            thief.claim(gpu, lanes=["wan"])
        with pytest.raises(Forbidden):
            thief.heartbeat(gpu, lanes=["sdxl", "wan"])
        assert thief.claim(gpu) == []
        thief.db.close()


def test_the_name_of_another_logins_live_executor_is_refused(thief: Jobs, held: tuple[str, Claim], clock: Clock) -> None:
    """A supervisor identifies its executors by name."""
    with pytest.raises(Forbidden, match="named gpu1 of another login is alive"):
        executor(thief, "gpu1")


def test_executor_registrations_are_limited(database: Database, thief: Jobs) -> None:
    database.rows("update ourvidz.policy set executors_per_login = 2, registrations_per_hour = 3")
    one, _ = executor(thief, "gpu1"), executor(thief, "gpu2")
    with pytest.raises(RateLimited, match="2 executors alive"):
        executor(thief, "gpu3")
    thief.drain(one, done=True)
    thief.drain(executor(thief, "gpu4"), done=True)
    with pytest.raises(RateLimited, match="registered 3 executors within an hour"):
        executor(thief, "gpu5")


def test_heartbeat_data_is_bounded(thief: Jobs) -> None:
    gpu = executor(thief, "gpu1")
    for said in ({"info": {"x": "y" * 9000}}, {"resident": ["x"] * 65}, {"lanes": ["x" * 81]}):
        with pytest.raises(InvalidJob):
            thief.heartbeat(gpu, **said)  # type: ignore[arg-type]
        with pytest.raises(InvalidJob):
            thief.register("gpu2", "host", 1, ["x"] * 65)


def test_an_honest_executor_completes_a_job(database: Database, jobs: Jobs, victim: Jobs, user: User) -> None:
    """The bounds do not affect an honest executor."""
    from support import finish

    job_id = submit(jobs, user())
    gpu = executor(victim)
    victim.heartbeat(gpu, resident=["sdxl"], lanes=["sdxl"], info={"finished": 0})
    finish(victim, claim(victim, gpu))
    assert victim.held(gpu) == {} and victim.reap()["busy"] is False
    victim.drain(gpu, done=True)
    assert row(database, job_id)["status"] == "completed"
