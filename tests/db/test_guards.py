"""History cannot be changed and a job cannot move without its event, whoever writes: the table's owner is refused like anyone else."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest
from handmade_events import NOBODY, Forger
from support import Clock, Permissive, Server, claim, events, executor, finish, new_user, row, submit

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.errors import AppendOnly, BareWrite, BrokenChain, IllegalTransition, InvalidJob, JobError, JobNotFound, StaleClaim
from state.machine import EventType, Status

J = "public.jobs"
E = "public.job_events"

REFUSED = {
    "update an event": (f"update {E} set data = '{{}}' where job_id = %(id)s", "OV003"),
    "update no event": (f"update {E} set data = '{{}}' where false", "OV003"),
    "update where an event was inserted": (f"update {E} set xid = '1' where job_id = %(id)s", "OV003"),
    "delete an event": (f"delete from {E} where job_id = %(id)s", "OV003"),
    "truncate events": (f"truncate {E}", "OV003"),
    "merge an update into events": (
        f"merge into {E} as e using (select 1) as x on e.job_id = %(id)s when matched then update set actor = 'x'", "OV003"),
    "merge a delete into events": (f"merge into {E} as e using (select 1) as x on e.job_id = %(id)s when matched then delete", "OV003"),
    "upsert an event": (
        f"insert into {E} overriding system value select * from {E} where job_id = %(id)s"
        " on conflict (job_id, version, submitted_on) do update set actor = 'person'", "OV003"),
    "delete a job": (f"delete from {J} where id = %(id)s", "OV003"),
    "truncate jobs": (f"truncate {J} cascade", "OV003"),
    "merge a delete into jobs": (f"merge into {J} as j using (select 1) as x on j.id = %(id)s when matched then delete", "OV003"),
    "change a status": (f"update {J} set status = 'failed', completed_at = now(), ready = null where id = %(id)s", "OV004"),
    "change a status and its version": (f"update {J} set status = 'cancelled', version = version + 1 where id = %(id)s", "OV004"),
    "change a count": (f"update {J} set errors = errors + 1 where id = %(id)s", "OV004"),
    "forget a cancel": (f"update {J} set cancel_requested = not cancel_requested where id = %(id)s", "OV004"),
    "take a claim": (f"update {J} set executor_id = gen_random_uuid(), claim_no = claim_no + 1 where id = %(id)s", "OV004"),
    "change what no event tells and what one does": (f"update {J} set ready = ready, rank = rank - 100 where id = %(id)s", "OV004"),
    "merge an update into jobs": (
        f"merge into {J} as j using (select 1) as x on j.id = %(id)s when matched then update set rank = 0", "OV004"),
    "insert a job": (
        f"insert into {J} select (jsonb_populate_record(j, '{{\"id\": \"{NOBODY}\"}}')).* from {J} as j where id = %(id)s", "OV004"),
    "upsert a job": (f"insert into {J} select * from {J} where id = %(id)s on conflict (id) do update set rank = 0", "OV004"),
    "make a job claimable before its time": (f"update {J} set ready = true where id = %(later)s", "OV004"),
}  # fmt: skip


@pytest.fixture(scope="module")
def still(server: Server, template: str) -> Iterator[tuple[Database, str, dict[str, str]]]:
    """One database shared by all refusals, with the rows of `two`: nothing changes in it, as each test asserts."""
    name = server.create(template)
    database = Database(server.url(name))
    clock, jobs, owner = Clock(database), Jobs(database, Permissive()), new_user(database)
    yield database, name, {"id": submit(jobs, owner), "later": submit(jobs, owner, run_at=clock.at + timedelta(hours=1))}
    database.close()
    server.drop(name)


@pytest.fixture
def two(database: Database, jobs: Jobs, user: Callable[..., str], clock: Clock) -> dict[str, str]:
    """One job that is waiting, and one that is scheduled for later."""
    owner = user()
    return {"id": submit(jobs, owner), "later": submit(jobs, owner, run_at=clock.at + timedelta(hours=1))}


def snapshot(database: Database) -> list[object]:
    return [database.rows(f"select * from {table} order by 1, 2, 3, 4, 5") for table in (E, J)]


@pytest.mark.parametrize("what", REFUSED)
def test_the_table_owner_is_refused(still: tuple[Database, str, dict[str, str]], what: str) -> None:
    database, _, two = still
    statement, sqlstate = REFUSED[what]
    before = snapshot(database)
    with database.driver() as connection:
        owns = connection.execute(
            "select pg_has_role(current_user, tableowner, 'usage') from pg_tables where tablename = 'jobs'"
        ).fetchone()
        superuser = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
        assert (owns, superuser) == ((True,), (False,))
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(statement, two)
    assert refused.value.sqlstate == sqlstate, refused.value
    assert snapshot(database) == before


def test_a_superuser_in_replica_mode_is_refused(server: Server, still: tuple[Database, str, dict[str, str]]) -> None:
    """In this mode only the guard's trigger fires, and it refuses everything."""
    database, name, two = still
    before = snapshot(database)
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as superuser:
        superuser.execute("set session_replication_role = replica")
        for what, (statement, _) in REFUSED.items():
            with pytest.raises(psycopg.Error) as refused:
                superuser.execute(statement, two)
            assert refused.value.sqlstate == "OV051", (what, refused.value)
    assert snapshot(database) == before


@pytest.mark.parametrize(("statement", "leaf"), [(REFUSED["delete an event"][0], AppendOnly), (REFUSED["change a status"][0], BareWrite)])
def test_guard_refusals_are_translated_to_python_errors(
    still: tuple[Database, str, dict[str, str]], statement: str, leaf: type[JobError]
) -> None:
    with pytest.raises(leaf):
        still[0].rows(statement, still[2])


def test_copy_into_jobs_is_refused(database: Database, two: dict[str, str]) -> None:
    with database.driver() as connection:
        out = io.BytesIO()
        with connection.cursor().copy(f"copy {J} to stdout") as copy:
            for block in copy:
                out.write(block)
        lines = out.getvalue().decode().replace(two["id"], str(uuid.uuid4())).splitlines()[:1]
        with pytest.raises(psycopg.Error) as refused, connection.cursor().copy(f"copy {J} from stdin") as copy:
            copy.write("\n".join(lines) + "\n")
    assert refused.value.sqlstate == "OV004"


def test_copied_events_pass_the_same_checks(database: Database, two: dict[str, str]) -> None:
    """COPY fires the same triggers: a wrong event is refused, and a valid one moves its job."""
    columns = "submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data, prev_hash, hash"
    with database.driver() as connection:
        event = Forger(connection).next(two["id"], EventType.CANCELLED, Status.CANCELLED)
        day = row(database, two["id"])["submitted_on"]

        def copy_in(hash: bytes) -> None:
            with connection.cursor().copy(f"copy {E} ({columns}) from stdin") as copy:
                copy.write_row((day, event.job_id, event.version, "cancelled", "queued", "cancelled", None, "person", event.occurred_at,
                                event.data_text, event.prev_hash, hash))  # fmt: skip

        with pytest.raises(psycopg.Error) as refused:
            copy_in(bytes(32))
        assert refused.value.sqlstate == "OV005"
        copy_in(event.hash)
    assert row(database, two["id"])["status"] == "cancelled"


def test_writes_from_a_users_own_trigger_are_refused(database: Database, two: dict[str, str]) -> None:
    """A write from within a trigger passes the first check (refuse_bare_write), but not jobs_guard."""
    with database.driver() as connection:
        connection.execute("create temp table mine (id uuid)")
        for name, body in {
            "status": f"update {J} set status = 'cancelled', ready = null, completed_at = now(), run_at = null where id = new.id",
            "version": f"update {J} set version = version + 1, errors = 0 where id = new.id",
            "count": f"update {J} set attempts = -0, rank = -1 where id = new.id",
            "id": f"delete from public.job_payloads where job_id = new.id; update {J} set id = gen_random_uuid() where id = new.id",
            "insert": f'insert into {J} select (jsonb_populate_record(j, \'{{"id": "{NOBODY}"}}\')).* from {J} as j where id = new.id',
        }.items():
            connection.execute(
                f"create or replace function pg_temp.{name}_it() returns trigger language plpgsql as $$ begin {body}; return new; end $$"
            )
            connection.execute(f"create or replace trigger t after insert on mine for each row execute function pg_temp.{name}_it()")
            with pytest.raises(psycopg.Error) as refused:
                connection.execute("insert into mine values (%s)", (two["id"],))
            assert refused.value.sqlstate == "OV004", (name, refused.value)


def test_a_second_first_event_is_refused(database: Database, two: dict[str, str]) -> None:
    """A job's row may exist before its event (jobs_ask); a first event for another job, inserted from a user's own trigger, is still
    refused, whatever its date."""
    with database.driver() as connection:
        forger = Forger(connection)
        connection.execute("create temp table mine (event public.job_events)")
        connection.execute(
            f"create function pg_temp.bear() returns trigger language plpgsql as $$ begin insert into {E} (submitted_on, job_id, version,"
            " type, to_status, actor, occurred_at, data, prev_hash, hash)"
            " select (new.event).submitted_on, (new.event).job_id, 1, 'submitted',"
            " 'queued', 'person', (new.event).occurred_at, (new.event).data, (new.event).prev_hash, (new.event).hash; return new; end $$"
        )
        connection.execute("create trigger t after insert on mine for each row execute function pg_temp.bear()")
        first = forger.first()
        again = forger.changed(first, job_id=two["id"], occurred_at=first.occurred_at - timedelta(days=1))
        for event in (again, forger.changed(first, hash=bytes(32))):
            given = (event.occurred_at.date(), event.job_id, event.occurred_at, event.data_text, event.prev_hash, event.hash)
            with pytest.raises(psycopg.Error) as refused, connection.transaction():
                connection.execute(
                    "insert into mine values (row(1, null, %s, %s, 1, 'submitted', null, 'queued', null, 'person', %s, %s, %s, %s))", given
                )
            assert refused.value.sqlstate == "OV005", refused.value
    assert len(events(database, two["id"])) == 1


@pytest.fixture
def forger(database: Database) -> Iterator[Forger]:
    with database.driver() as connection:
        yield Forger(connection)


def refused(forger: Forger, sqlstate: str, event: object, **more: object) -> None:
    with pytest.raises(psycopg.Error) as error, forger.connection.transaction():
        forger.insert(event, more=more)  # type: ignore[arg-type]
    assert error.value.sqlstate == sqlstate, error.value


def test_only_the_valid_next_event_is_accepted(database: Database, two: dict[str, str], forger: Forger, clock: Clock) -> None:
    """OV005 if version, hashes, time, keys or bookkeeping are not those of the next event; nothing is written."""
    right = forger.next(two["id"], EventType.CANCELLED, Status.CANCELLED)
    submitted = events(database, two["id"])[0]
    change = forger.changed
    refused(forger, "OV005", change(right, version=right.version + 1))  # a gap
    refused(forger, "23505", change(right, version=right.version - 1))  # exists already
    refused(forger, "OV005", change(right, prev_hash=bytes(32)))
    refused(forger, "OV005", change(right, prev_hash=submitted.prev_hash))
    refused(forger, "OV005", change(right, hash=bytes(32)))
    refused(forger, "OV005", change(right, hash=right.hash[:-1]))
    refused(forger, "OV005", change(right, data={"prompt": "what a person wrote"}))
    refused(forger, "OV005", change(right, occurred_at=right.occurred_at + timedelta(seconds=1)))  # the future
    refused(forger, "OV005", change(right, occurred_at=right.occurred_at - timedelta(seconds=1)))  # before its predecessor
    refused(forger, "OV005", change(right, claim_no=1))  # nobody holds it
    refused(forger, "OV005", right, submitted_on="2020-01-01")
    refused(forger, "OV001", change(right, type="teleported"))
    refused(forger, "OV001", change(right, from_status=Status.GENERATING))
    refused(forger, "OV006", change(right, job_id=str(uuid.uuid4())), submitted_on="2025-07-07")
    refused(forger, "23514", change(right, actor="Robert'); drop table"))
    refused(forger, "OV004", right, xid="1")  # readers' cursors would skip it
    assert row(database, two["id"])["version"] == 1
    forger.insert(right)
    assert row(database, two["id"])["status"] == "cancelled"


def test_only_a_valid_first_event_starts_a_job(database: Database, two: dict[str, str], forger: Forger) -> None:
    right = forger.first()
    refused(forger, "OV010", right)  # for a user without a profile
    database.rows("insert into public.profiles (id, age_verified) values (%s, true)", (right.data["user_id"],))
    change = forger.changed
    refused(forger, "OV005", change(right, version=2))
    refused(forger, "OV005", change(right, prev_hash=bytes(31) + b"1"))
    refused(forger, "OV005", change(right, claim_no=1))
    refused(forger, "OV005", change(right, occurred_at=right.occurred_at + timedelta(seconds=1)))
    refused(forger, "OV005", change(right, job_id=two["id"]), submitted_on="2024-01-01")  # started already
    refused(forger, "OV005", right, submitted_on="2024-01-01")
    refused(forger, "OV005", change(right, data={**right.data, "prompt": "words"}))
    refused(forger, "OV004", right, xid="1")
    forger.insert(right)


def test_two_events_of_a_job_in_one_statement_are_refused(database: Database, two: dict[str, str], forger: Forger) -> None:
    first = forger.next(two["id"], EventType.REPRIORITISED)
    second = forger.changed(first, version=first.version + 1, prev_hash=first.hash)
    with pytest.raises(psycopg.Error) as error, forger.connection.transaction():
        forger.connection.execute("create temp table both_events (like public.job_events including defaults) on commit drop")
        for event in (first, second):
            forger.connection.execute(
                "insert into both_events (seq, submitted_on, job_id, version, type, from_status, to_status, actor, occurred_at, data,"
                " prev_hash, hash) select 0, submitted_on, %s, %s, %s, 'queued', 'queued', 'person', %s, %s, %s, %s"
                " from public.jobs where id = %s",
                (
                    event.job_id,
                    event.version,
                    str(event.type),
                    event.occurred_at,
                    event.data_text,
                    event.prev_hash,
                    event.hash,
                    event.job_id,
                ),
            )
        forger.connection.execute(f"insert into {E} overriding user value select * from both_events")
    assert error.value.sqlstate == "OV005"


def test_a_stale_claims_event_is_refused(database: Database, jobs: Jobs, user: Callable[..., str], clock: Clock, forger: Forger) -> None:
    job_id = submit(jobs, user())
    claim(jobs, executor(jobs))
    right = forger.next(job_id, EventType.GENERATION_STARTED, Status.GENERATING)
    for wrong in (0, 2, None):
        refused(forger, "OV002", forger.changed(right, claim_no=wrong))
    again = forger.next(job_id, EventType.CANCEL_REQUESTED)
    refused(forger, "OV002", forger.changed(again, claim_no=None))


def test_a_claim_number_only_grows_by_one(jobs: Jobs, user: Callable[..., str], clock: Clock, forger: Forger) -> None:
    job_id = submit(jobs, user())
    right = forger.next(job_id, EventType.CLAIMED)
    for wrong in (0, 2, 9, None):
        refused(forger, "OV005", forger.changed(right, claim_no=wrong))
    forger.insert(right)


def test_a_hand_written_retry_of_a_final_failure_is_refused(jobs: Jobs, user: Callable[..., str], clock: Clock, forger: Forger) -> None:
    job_id = submit(jobs, user())
    jobs.fail(claim(jobs, executor(jobs)), "refused_content", "Refused.", retryable=False, final=True)
    refused(forger, "OV011", forger.next(job_id, EventType.RETRIED, Status.QUEUED))


def test_guard_checks_cannot_be_deferred(database: Database, two: dict[str, str]) -> None:
    with database.driver() as connection, pytest.raises(psycopg.Error) as error, connection.transaction():
        connection.execute("set constraints all deferred")
        connection.execute(REFUSED["change a status"][0], two)
    assert error.value.sqlstate == "OV004"


def test_every_table_with_triggers_has_a_replica_guard(database: Database) -> None:
    found = database.rows("""select tgrelid::regclass::text as table, array_agg(tgenabled::text || tgname order by tgname) as triggers
                             from pg_trigger where not tgisinternal and tgfoid::regproc::text like 'ourvidz.%%'
                               and tgrelid <> 'auth.users'::regclass group by 1""")
    assert len(found) > 15
    for table in found:
        assert [t[0] for t in table["triggers"] if t[1:] == "replica_guard"] == ["R"], table
        assert {t[0] for t in table["triggers"] if t[1:] != "replica_guard"} == {"O"}, table


def test_database_refusals_raise_their_python_error_class(database: Database, jobs: Jobs, user: Callable[..., str], clock: Clock) -> None:
    owner = user()
    job_id = submit(jobs, owner)
    job = claim(jobs, executor(jobs))
    with pytest.raises(IllegalTransition):
        jobs.complete(job)
    with pytest.raises(JobNotFound):
        jobs.cancel(str(uuid.uuid4()))
    with pytest.raises(InvalidJob) as refused:
        jobs.reprioritise(job_id, 9)
    assert refused.value.field == "priority"
    with pytest.raises(BrokenChain):
        jobs.fail(job, "x", "x", retryable=False, verdict={"prompt": "words"})
    finish(jobs, job)
    with pytest.raises(StaleClaim):
        jobs.advance(job, "generation_started")
