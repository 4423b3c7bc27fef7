"""Database errors and retries: the meaning of each SQLSTATE, real server errors for it, and a read-only database."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import psycopg
import pytest
from psycopg.errors import lookup
from support import Permissive, Server, Switch, claim, executor, finish, row, submit, types
from waiting import LIMIT, wait_for

from ourvidz.db import connection, outages, write_check
from ourvidz.db.connection import PATIENCE, Ambiguous, Database, DatabaseAway, DatabaseBusy, DatabaseReadOnly, DatabaseRefused, translate
from ourvidz.db.outages import Means
from ourvidz.lifecycle import Jobs, NewJob

User = Callable[..., str]

pytestmark = pytest.mark.new_database

STATES = {
    Means.WAIT: ("08000", "08006", "08P01", "25006", "25P03", "25P04", "53000", "53100", "53200", "53300", "53400", "57P01", "57P02",
                 "57P03", "57P05", "58000", "58030"),
    Means.RETRY: ("40001", "40P01", "55006", "55P03", "57014"),
    Means.REFUSED: ("28000", "28P01", "3D000", "57P04"),
    Means.FAULT: ("22P02", "23505", "25P02", "42501", "42883", "42P01", "54000", "XX000", "XX001", "0A000"),
}  # fmt: skip


@pytest.mark.parametrize(("state", "means"), [(state, means) for means, states in STATES.items() for state in states])
def test_meaning_of_each_sqlstate(state: str, means: Means) -> None:
    assert outages.rule(lookup(state)("no")).means is means


@pytest.mark.parametrize(
    "said",
    ["cache lookup failed for function 16503", "could not open relation with OID 16431", "tuple concurrently updated"],
)
def test_errors_of_objects_replaced_by_a_migration_are_retried(said: str) -> None:
    assert isinstance(translate(lookup("XX000")(said), sent=True), DatabaseBusy)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("connection failed: FATAL:  sorry, too many clients already", DatabaseAway),
        ("connection failed: FATAL:  the database system is not yet accepting connections", DatabaseAway),
        ("connection failed: FATAL:  (EMAXCONNSESSION) max clients reached in session mode", DatabaseAway),
        ("connection failed: FATAL:  query_wait_timeout", DatabaseAway),
        ("connection failed: session is read-only", DatabaseReadOnly),
        ('connection failed: FATAL:  password authentication failed for user "a"', DatabaseRefused),
        ("no\nMultiple connection attempts failed. All failures were:\n- host: a: FATAL:  password authentication failed\n"
         "- host: b: Connection refused", DatabaseAway),
    ],
)  # fmt: skip
def test_connection_errors_are_classified(said: str, kind: type[DatabaseAway]) -> None:
    assert type(translate(psycopg.OperationalError(said), sent=False)) is kind


@pytest.fixture
def raising(database: Database) -> Callable[[str], None]:
    """Makes the server raise a given SQLSTATE."""
    database.rows(
        "create function public.trouble(state text) returns void language plpgsql"
        " as $$ begin raise exception 'no' using errcode = state; end $$"
    )
    return lambda state: database.rows("select public.trouble(%s)", (state,)) and None


@pytest.mark.parametrize(
    ("state", "kind"), [("53100", DatabaseAway), ("53300", DatabaseAway), ("25006", DatabaseReadOnly), ("40P01", DatabaseBusy)]
)
def test_server_errors_are_translated(raising: Callable[[str], None], database: Database, state: str, kind: type[DatabaseAway]) -> None:
    with pytest.raises(kind):
        raising(state)
    assert (database.trouble_at is None) == (kind is DatabaseBusy)
    assert database.rows("select 1 as n")[0]["n"] == 1


def test_other_database_errors_are_raised_unchanged(raising: Callable[[str], None]) -> None:
    with pytest.raises(psycopg.errors.UndefinedFunction):
        raising("42883")


def test_a_terminated_session_raises_ambiguous(database: Database) -> None:
    with pytest.raises(Ambiguous):
        database.rows("select pg_terminate_backend(pg_backend_pid())")


# -- a read-only database ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def switch(server: Server, database_name: str, database: Database) -> Iterator[Switch]:
    made = Switch(server, database_name)
    yield made
    made.read_only(on=False)


def test_verbs_wait_while_the_database_is_read_only_and_run_once(database: Database, jobs: Jobs, user: User, switch: Switch) -> None:
    someone, gpu = user("premium"), executor(jobs)
    submit(jobs, someone)
    held = claim(jobs, gpu)
    switch.read_only(on=True)
    with pytest.raises(DatabaseReadOnly, match="takes no writes"):
        jobs.heartbeat(gpu)
    assert database.engine.pool.checkedin() == 0, "a connection to it stayed in the pool"
    with pytest.raises(DatabaseReadOnly):
        jobs.claim(gpu)
    made: list[str] = []
    threads = [
        threading.Thread(target=finish, args=(jobs, held)),
        threading.Thread(target=lambda: made.append(jobs.submit(NewJob(someone, "image_fast", "a harbour")).id)),
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while database._outage._since is None:
        assert time.monotonic() < until
    switch.read_only(on=False)
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert types(database, held.job_id).count("completed") == 1
    assert types(database, made[0]) == ["submitted"]
    assert database.rows("select count(*)::int as n from public.jobs")[0]["n"] == 2


def test_without_patience_a_read_only_database_raises(database: Database, jobs: Jobs, user: User, switch: Switch) -> None:
    someone = user()
    switch.read_only(on=True)
    jobs.patience = 0.2
    with pytest.raises(DatabaseReadOnly):
        submit(jobs, someone)
    assert database.rows("select count(*)::int as n from public.jobs")[0]["n"] == 0


def test_executors_can_renew_leases_after_an_outage_before_reaping(database: Database, jobs: Jobs, user: User, switch: Switch) -> None:
    submit(jobs, user())
    gpu = executor(jobs)
    held = claim(jobs, gpu)
    database.rows("update ourvidz.executors set lease_until = now() - interval '54 s'")  # as after 84 s
    switch.read_only(on=True)
    with pytest.raises(DatabaseReadOnly):
        jobs.reap(grace=20)
    with pytest.raises(DatabaseReadOnly):
        jobs.reap(grace=20)  # the outage is not over just because nobody asked
    switch.read_only(on=False)
    assert jobs.reap(grace=20)["lapsed"] == 0
    jobs.heartbeat(gpu)
    assert jobs.reap()["lapsed"] == 0
    assert row(database, held.job_id)["executor_id"] is not None


def test_an_executor_lost_in_the_outage_is_reaped_after_the_grace(database: Database, jobs: Jobs, user: User) -> None:
    submit(jobs, user())
    claim(jobs, executor(jobs))
    database.rows("update ourvidz.executors set lease_until = now() - interval '54 s'")
    database.trouble_at = time.monotonic() - 60
    assert jobs.reap(grace=20)["lapsed"] == 0, "when it last failed says nothing: it is found back only now"
    database._back_at -= 21
    assert jobs.reap(grace=20)["lapsed"] == 1


@pytest.mark.parametrize(
    ("setting", "why", "remedy"),
    [
        ("alter database {} set default_transaction_read_only = on", "for this database", "alter database {} reset"),
        ("alter role {} in database {} set default_transaction_read_only = on", "for this login in this database", "in database {} reset"),
    ],
)
def test_the_cause_and_remedy_of_a_read_only_database(server: Server, database_name: str, setting: str, why: str, remedy: str) -> None:
    server.admin(setting, *(["ourvidz"] if "role" in setting else []), database_name)
    database = Database(server.url(database_name))
    found = write_check.look(database)
    database.close()
    assert not found.taken and why in found.why
    assert remedy.format(database_name) in found.remedy


def test_a_writable_server(database: Database) -> None:
    assert write_check.look(database) == write_check.Writes()


@pytest.mark.parametrize("again", [1, 1000], ids=["once", "each time"])
def test_a_deadlock_after_a_long_outage_is_retried(database: Database, monkeypatch: pytest.MonkeyPatch, again: int) -> None:
    """The limit counts from the first deadlock, not from the preceding outage."""
    now = [0.0]
    monkeypatch.setattr("ourvidz.db.connection.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("ourvidz.db.connection.liveness", SimpleNamespace(rest=lambda seconds: now.__setitem__(0, now[0] + seconds)))
    troubles = iter([DatabaseAway("away")] * 40 + [DatabaseBusy("deadlock")] * again)

    def ask() -> str:
        if (trouble := next(troubles, None)) is not None:
            raise trouble
        return "done"

    if again == 1:
        assert database.patiently(ask, patience=math.inf) == "done" and now[0] > PATIENCE
    else:
        with pytest.raises(DatabaseBusy):
            database.patiently(ask, patience=math.inf)


def test_a_stopping_worker_stops_waiting() -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    jobs = Jobs(away, Permissive(), patience=math.inf)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            jobs.policy()
        except DatabaseAway as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(lambda: away.trouble_at is not None)
    assert thread.is_alive()
    away.longest_wait = 0.0  # as Worker.stop does when told twice
    thread.join(LIMIT)
    assert raised


def test_the_end_of_an_outage_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "QUIET", 0.0)
    outage = connection.Outage()
    began = outage.note("It is away", say=True)
    said: list[str] = []

    def log(text: str, *_: object) -> None:
        said.append(text)
        outage.over(began)  # another thread, while this one logs

    monkeypatch.setattr(connection.log, "info", log)
    outage.over(began)
    assert len(said) == 1
