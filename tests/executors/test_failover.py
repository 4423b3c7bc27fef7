"""A real standby, promoted while a job is running: behind one address that moves, and with both servers in the URL."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cuttable_proxy import Wire
from standby_pair import Node, primary
from support import Permissive, claim, executor, finish, new_user, submit, types
from waiting import LIMIT, wait_for

from executors.heartbeat import Heartbeat
from ourvidz.db import write_check
from ourvidz.db.connection import Ambiguous, Database, DatabaseAway, DatabaseReadOnly, takes_no_writes
from ourvidz.db.migrate import migrate
from ourvidz.lifecycle import Jobs

LEASE = {"lease": 1.0, "heartbeat": 0.3, "control_poll": 0.1}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    first = primary(tmp_path)
    standby = None
    try:
        database = Database(first.url())
        with database.transaction() as connection:
            migrate(connection)
        database.rows(f"update ourvidz.policy set {', '.join(f'{name} = {value}' for name, value in LEASE.items())}")
        database.close()
        standby = first.copy_to(tmp_path / "standby")
        standby.start()
        yield first, standby
    finally:
        for node in (first, standby):
            if node is not None:
                node.stop()


def reap_all_the_time(jobs: Jobs, stop: threading.Event) -> None:
    """Reap like `ourvidz reaper`."""
    grace = jobs.policy().retake
    while not stop.wait(0.05):
        with contextlib.suppress(DatabaseAway, Ambiguous):
            jobs.reap(grace=grace)


def test_a_running_job_survives_the_promotion_of_a_standby(pair: tuple[Node, Node]) -> None:
    first, standby = pair
    stop = threading.Event()
    with Wire(first.url()) as wire:
        far, reaping, both = Database(wire.url), Database(wire.url), Database(
            f"postgresql://ourvidz@/ourvidz?host=127.0.0.1,127.0.0.1&port={first.port},{standby.port}"
        )  # fmt: skip
        jobs = Jobs(far, Permissive(), patience=120)
        submit(jobs, new_user(far, "premium"))
        held = claim(jobs, gpu := executor(jobs))
        beat = Heartbeat(jobs, gpu, jobs.policy(), report=dict)
        hold = beat.hold(held)
        beat.start()
        reaper = threading.Thread(target=reap_all_the_time, args=(Jobs(reaping, Permissive()), stop))
        reaper.start()
        finished = threading.Thread(target=finish, args=(jobs, held))
        try:
            assert both.rows("select pg_is_in_recovery() as standby")[0]["standby"] is False
            standby.caught_up(first)

            # The primary dies. Its address now leads to the standby, which can be read but not written.
            first.stop()
            wire.lead_to(standby.url())
            wait_for(lambda: beat.away, about="for the executor to notice")
            with pytest.raises(DatabaseAway):
                both.rows("select 1")
            found = wait_for(lambda: _look(far), about="for the standby to answer")
            assert "standby" in found.why and "Name the primary" in found.remedy
            expired = "select lease_until < now() as gone from ourvidz.executors"
            wait_for(lambda: far.rows(expired)[0]["gone"], about="for the lease to run out")
            wait_for(lambda: beat.late)
            with pytest.raises(DatabaseReadOnly):
                far.rows("update public.jobs set priority = 1")
            assert far.engine.pool.checkedin() == 0, "a connection to the standby stayed in the pool"  # type: ignore[attr-defined]
            finished.start()
            hold.check()  # the device keeps working

            standby.ask("select pg_promote()")
            finished.join(LIMIT)
            assert not finished.is_alive()
            assert types(far, held.job_id)[-1] == "completed"
            assert not {"lease_expired", "retry_scheduled"} & set(types(far, held.job_id))
            wait_for(lambda: not (beat.away or beat.late), about="for the lease to be renewed")
            assert both.patient("select pg_is_in_recovery() as standby")[0]["standby"] is False
            with far.driver() as connection:
                assert not takes_no_writes(connection)
        finally:
            stop.set()
            reaper.join(LIMIT)
            beat.stop()
            for database in (far, reaping, both):
                database.close()


def _look(database: Database) -> write_check.Writes | None:
    try:
        return write_check.look(database)
    except (DatabaseAway, Ambiguous):  # cut in the middle of the switch
        return None
