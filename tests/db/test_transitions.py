"""The transition table is enforced: every event is tried by hand on a job in every state, as the table's owner."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import psycopg
import pytest
from handmade_events import DATA, NOBODY, Forger
from support import Clock, claim, executor, submit
from transitions import MachineError

from ourvidz.db.connection import Database, translate
from ourvidz.lifecycle import Jobs
from state import machine
from state.errors import IllegalTransition
from state.machine import Claim, EventType, Status

S = Status
STATES = [(S.QUEUED, False), (S.QUEUED, True), (S.ENHANCING, True), (S.GENERATING, True), (S.UPLOADING, True)]
STATES += [(S.COMPLETED, False), (S.FAILED, False), (S.CANCELLED, False)]
"""Every possible state of a job: its status, and whether an executor holds it. A CHECK forbids the others."""


def bring(jobs: Jobs, user: str, status: Status, held: bool) -> str:
    """Use the verbs to make a job in that state; returns its id."""
    job_id = submit(jobs, user, "sdxl_image_fast")  # has a fallback
    if status is S.CANCELLED:
        jobs.cancel(job_id)
    if status in (S.QUEUED, S.CANCELLED) and not held:
        return job_id
    job = claim(jobs, executor(jobs))
    assert job.job_id == job_id
    if status is S.FAILED:
        jobs.fail(job, "bad_output", "It broke.", retryable=False)
    if status in (S.QUEUED, S.FAILED):
        return job_id
    jobs.advance(job, "enhancement_started")
    if status is S.ENHANCING:
        return job_id
    jobs.advance(job, "generation_started")
    if status is S.GENERATING:
        return job_id
    jobs.advance(job, "upload_started")
    if status is S.COMPLETED:
        jobs.complete(job)
    return job_id


def allowed(event: EventType, source: Status | None, target: Status, held: bool) -> bool:
    return any(
        t.target is target and t.before in (Claim.ANY, Claim.HELD if held else Claim.FREE) for t in machine.transitions_from(event, source)
    )


@pytest.mark.parametrize(("status", "held"), STATES, ids=lambda v: str(v) if isinstance(v, Status) else ("held" if v else "free"))
def test_only_listed_transitions_are_accepted(
    database: Database, jobs: Jobs, user: Callable[..., str], clock: Clock, status: Status, held: bool
) -> None:
    job_id = bring(jobs, user(), status, held)
    database.rows(
        "insert into public.images (id, user_id, prompt) select %s, user_id, 'x' from public.jobs", (NOBODY,)
    )  # referenced by `linked`
    tried = accepted = 0
    with database.driver() as connection:
        forger = Forger(connection)
        for event in EventType:
            for target in Status:
                tried += 1
                try:
                    with connection.transaction():
                        forger.insert(forger.next(job_id, event, target))
                        written = connection.execute("select status, executor_id from public.jobs where id = %s", (job_id,)).fetchone()
                        raise psycopg.Rollback
                except psycopg.Error as refused:
                    assert not allowed(event, status, target, held), f"{event} ({status} → {target}) refused: {refused}"
                    assert refused.sqlstate == "OV001", f"{event} ({status} → {target}): {refused.sqlstate} {refused}"
                    continue
                assert allowed(event, status, target, held), f"{event} ({status} → {target}) was let through"
                accepted += 1
                (row,) = machine.transitions_from(event, status)
                assert written is not None and written[0] == target
                assert (written[1] is not None) == {Claim.TAKES: True, Claim.KEEPS: held, Claim.ENDS: False}[row.after]
    assert tried == len(EventType) * len(Status)
    assert accepted == sum(allowed(e, status, t, held) for e in EventType for t in Status)


def test_a_job_starts_only_with_submitted_or_imported(database: Database, clock: Clock) -> None:
    database.rows("insert into public.profiles (id, age_verified) values (%s, true)", (NOBODY,))
    with database.driver() as connection:
        forger = Forger(connection)
        for event in EventType:
            for target in Status:
                try:
                    with connection.transaction():
                        forger.insert(forger.first(event, target, DATA[EventType.SUBMITTED] if event in machine.ENDED else None))
                        raise psycopg.Rollback
                except psycopg.errors.CheckViolation:
                    # An import into a running status: the event is listed, but no executor holds the job, so the row violates a CHECK.
                    assert event is EventType.IMPORTED and target in (S.ENHANCING, S.GENERATING, S.UPLOADING)
                except psycopg.Error as refused:
                    assert not allowed(event, None, target, False), f"{event} (to {target}) refused: {refused}"
                    assert refused.sqlstate == "OV001", f"{event} (to {target}): {refused}"
                else:
                    assert allowed(event, None, target, False), f"{event} (to {target}) began a job"


def test_the_transitions_library_machine_matches_the_table() -> None:
    for source, held in [(None, False), *STATES]:
        for event in EventType:
            for target in Status:
                model = machine.JobModel()
                machine.machine(model=model)
                model.state, model.held = str(source or machine.UNBORN), held
                trigger = f"import_{target}" if event is EventType.IMPORTED else str(event)
                try:
                    moved = bool(getattr(model, trigger)())
                except (AttributeError, MachineError):
                    moved = False
                expected = [
                    t for t in machine.transitions_from(event, source) if t.before in (Claim.ANY, Claim.HELD if held else Claim.FREE)
                ]
                if event is EventType.IMPORTED:
                    expected = [t for t in expected if t.target is target]
                assert moved == bool(expected), (source, held, event, target)
                if moved:
                    assert model.state == expected[0].target
                    assert model.held == {Claim.TAKES: True, Claim.KEEPS: held, Claim.ENDS: False}[expected[0].after]


def test_the_diagram_names_every_status() -> None:
    drawn = machine.mermaid()
    assert drawn.startswith("stateDiagram-v2")
    assert all(str(status) in drawn for status in Status)


def test_allowed_actions_are_equal_in_python_and_sql(database: Database) -> None:
    """Every status, claim and flag: state.machine.allowed uses the library's machine, ourvidz.allowed the copied table."""
    flags = list(itertools.product((False, True), repeat=5))
    rows = database.rows(
        """select s.status, f.flags, ourvidz.allowed(s.status, f.flags[1], f.flags[2], f.flags[3], f.flags[4], f.flags[5]) as may
           from unnest(%s::text[]) as s (status), (select array(select value::boolean from jsonb_array_elements_text(one)) as flags
                                                   from jsonb_array_elements(%s::jsonb) as one) as f""",
        ([str(status) for status in Status], json.dumps(flags)),
    )
    assert len(rows) == len(Status) * 32
    for found in rows:
        held, final, cancel_requested, fallback, preview = found["flags"]
        may = machine.allowed(
            found["status"], held=held, final=final, cancel_requested=cancel_requested, fallback=fallback, preview=preview
        )
        assert list(may) == found["may"], found


@pytest.mark.parametrize(("status", "held"), STATES, ids=lambda v: str(v) if isinstance(v, Status) else ("held" if v else "free"))
def test_allowed_actions_succeed_and_others_are_refused(
    database: Database, jobs: Jobs, user: Callable[..., str], status: Status, held: bool
) -> None:
    """`jobs show` and `job_status.allowed` list exactly the actions that then succeed."""
    job_id = bring(jobs, user(), status, held)
    said = database.rows("select ourvidz.job_view(%s) -> 'allowed' as may", (job_id,))[0]["may"]
    assert {*said} <= {*machine.VERBS}
    for verb in machine.VERBS:
        went = True
        try:
            attempt(database, job_id, verb)
        except IllegalTransition:
            went = False
        # Cancelling a cancelled job does nothing and is no error.
        assert went == (verb in said) or (verb, status) == ("cancel", S.CANCELLED), verb


def attempt(database: Database, job_id: str, verb: str) -> None:
    """Call the verb and roll back. Raises IllegalTransition if the database refuses it."""
    call = {"reprioritise": "ourvidz.reprioritise(%s, 3)"}.get(verb, f"ourvidz.{verb}(%s)")
    with database.driver() as connection:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(f"select {call}", (job_id,))
        except psycopg.Error as error:
            raise translate(error, sent=True) from error
