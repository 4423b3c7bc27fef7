"""The state machine as data. Everything else (the database's copy, the Python machine, the diagram) is generated from `TRANSITIONS`.

A status does not say if the job is claimed: a job is `queued` both before and after it is claimed, because a claim is ownership and not
progress. So each row also has the claim that it requires (`before`) and what it does to it (`after`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from transitions import Machine


class Status(StrEnum):
    QUEUED = "queued"
    ENHANCING = "enhancing"
    GENERATING = "generating"
    UPLOADING = "uploading"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


STATUSES: Final = tuple(Status)
ENDED: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
UNFINISHED: Final = tuple(s for s in Status if s not in ENDED)
ON_DEVICE: Final = frozenset({Status.ENHANCING, Status.GENERATING})
"""Statuses in which an expired lease may be the job's own fault: of an executor's jobs, that of the one started last
(docs/decisions/0009)."""


class EventType(StrEnum):
    SUBMITTED = "submitted"
    IMPORTED = "imported"
    CLAIMED = "claimed"
    ENHANCEMENT_STARTED = "enhancement_started"
    GENERATION_STARTED = "generation_started"
    UPLOAD_STARTED = "upload_started"
    COMPLETED = "completed"
    RETRY_SCHEDULED = "retry_scheduled"
    LEASE_EXPIRED = "lease_expired"
    SNOOZED = "snoozed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    REROUTED = "rerouted"
    REPRIORITISED = "reprioritised"
    PROMPT_ENHANCED = "prompt_enhanced"
    ENHANCEMENT_SKIPPED = "enhancement_skipped"
    REFERENCE_SKIPPED = "reference_skipped"
    ARTIFACT_GENERATED = "artifact_generated"
    ARTIFACT_UPLOADED = "artifact_uploaded"
    GENERATION_REPEATED = "generation_repeated"
    CANCEL_REQUESTED = "cancel_requested"
    LINKED = "linked"
    REMOVED = "removed"


class Claim(StrEnum):
    """`before`: must an executor hold the job (held), must none (free), or either (any). `after`: the event starts, keeps or ends the
    claim."""

    HELD = "held"
    FREE = "free"
    ANY = "any"
    TAKES = "takes"
    KEEPS = "keeps"
    ENDS = "ends"


@dataclass(frozen=True, order=True)
class Transition:
    event: EventType
    source: Status | None  # None: the job does not exist yet
    target: Status
    before: Claim
    after: Claim


def _table() -> tuple[Transition, ...]:
    S, E, C = Status, EventType, Claim
    active = (S.ENHANCING, S.GENERATING, S.UPLOADING)
    # event, from, to (None: no change), claim before, claim after
    rows: list[tuple[EventType, tuple[Status | None, ...], Status | None, Claim, Claim]] = [
        (E.SUBMITTED, (None,), S.QUEUED, C.FREE, C.KEEPS),
        (E.CLAIMED, (S.QUEUED,), None, C.FREE, C.TAKES),
        (E.ENHANCEMENT_STARTED, (S.QUEUED,), S.ENHANCING, C.HELD, C.KEEPS),
        (E.GENERATION_STARTED, (S.QUEUED, S.ENHANCING), S.GENERATING, C.HELD, C.KEEPS),
        (E.UPLOAD_STARTED, (S.QUEUED, S.GENERATING), S.UPLOADING, C.HELD, C.KEEPS),
        (E.COMPLETED, (S.UPLOADING,), S.COMPLETED, C.HELD, C.ENDS),
        (E.RETRY_SCHEDULED, (S.QUEUED, *active), S.QUEUED, C.HELD, C.ENDS),
        (E.LEASE_EXPIRED, (S.QUEUED, *active), S.QUEUED, C.HELD, C.ENDS),
        (E.SNOOZED, (S.QUEUED, *active), S.QUEUED, C.HELD, C.ENDS),
        (E.FAILED, (S.QUEUED, *active), S.FAILED, C.ANY, C.ENDS),
        (E.CANCELLED, (S.QUEUED, *active), S.CANCELLED, C.ANY, C.ENDS),
        (E.RETRIED, (S.FAILED, S.CANCELLED), S.QUEUED, C.FREE, C.KEEPS),
        (E.REROUTED, (S.QUEUED,), None, C.FREE, C.KEEPS),
        (E.REPRIORITISED, (S.QUEUED,), None, C.FREE, C.KEEPS),
        (E.PROMPT_ENHANCED, (S.ENHANCING,), None, C.HELD, C.KEEPS),
        (E.ENHANCEMENT_SKIPPED, (S.ENHANCING,), None, C.HELD, C.KEEPS),
        # A reference is read while the job is prepared, which may be before its first stage starts.
        (E.REFERENCE_SKIPPED, (S.QUEUED, S.ENHANCING, S.GENERATING), None, C.HELD, C.KEEPS),
        (E.ARTIFACT_GENERATED, (S.GENERATING,), None, C.HELD, C.KEEPS),
        (E.ARTIFACT_UPLOADED, (S.UPLOADING,), None, C.HELD, C.KEEPS),
        (E.GENERATION_REPEATED, (S.GENERATING,), None, C.HELD, C.KEEPS),
        # A job that nobody holds is `cancelled` at once instead.
        (E.CANCEL_REQUESTED, (S.QUEUED, *active), None, C.HELD, C.KEEPS),
        # A front end inserts the row of `images` or `videos` after the job, so the link may come at any time, and so may a deletion. A
        # whole job can be removed only when it has ended (ourvidz.may_change_library).
        (E.LINKED, tuple(S), None, C.ANY, C.KEEPS),
        (E.REMOVED, tuple(S), None, C.ANY, C.KEEPS),
    ]
    table = [
        Transition(event, source, target or source or S.QUEUED, before, after)
        for event, sources, target, before, after in rows
        for source in sources
    ]
    table += [Transition(E.IMPORTED, None, status, C.FREE, C.KEEPS) for status in Status]
    return tuple(table)


TRANSITIONS: Final = _table()
UNBORN: Final = "∅"


@cache
def _lookup() -> dict[tuple[EventType, Status | None], tuple[Transition, ...]]:
    found: dict[tuple[EventType, Status | None], list[Transition]] = {}
    for row in TRANSITIONS:
        found.setdefault((row.event, row.source), []).append(row)
    return {key: tuple(rows) for key, rows in found.items()}


def transitions_from(event: EventType, source: Status | None) -> tuple[Transition, ...]:
    """Return the rows for `event` from status `source`; empty if the event is not allowed. Only `imported` has several."""
    return _lookup().get((event, source), ())


def machine(**options: Any) -> Machine:
    """Build a `transitions.Machine` from the table, with a `JobModel` as its model: one trigger per event. The state `∅` (None in the
    table) is a job that does not exist yet."""
    model = options.pop("model", None) or JobModel()
    return Machine(
        model=model,
        states=[UNBORN, *(str(s) for s in Status)],
        # `imported` may go anywhere, so its trigger carries the target: import_queued, import_failed …
        transitions=[
            {
                "trigger": f"import_{row.target}" if row.event is EventType.IMPORTED else str(row.event),
                "source": str(row.source or UNBORN),
                "dest": str(row.target),
                "conditions": [f"claim_is_{row.before}"],
                "after": [f"claim_{row.after}"],
            }
            for row in TRANSITIONS
        ],
        initial=UNBORN,
        auto_transitions=False,
        send_event=True,
        **options,
    )


class JobModel:
    """Minimal model for the machine: a status and whether an executor holds the job."""

    state: str
    held = False

    def claim_is_held(self, _event: Any) -> bool:
        return self.held

    def claim_is_free(self, _event: Any) -> bool:
        return not self.held

    def claim_is_any(self, _event: Any) -> bool:
        return True

    def claim_takes(self, _event: Any) -> None:
        self.held = True

    def claim_keeps(self, _event: Any) -> None: ...

    def claim_ends(self, _event: Any) -> None:
        self.held = False


VERBS: Final = {
    "cancel": (EventType.CANCELLED, EventType.CANCEL_REQUESTED),
    "retry": (EventType.RETRIED,),
    "reroute": (EventType.REROUTED,),
    "reprioritise": (EventType.REPRIORITISED,),
}
"""Actions that a person may take on a job, and the events that each becomes."""


@cache
def allowed(
    status: Status | str, *, held: bool, final: bool = False, cancel_requested: bool = False, fallback: bool = True, preview: bool = False
) -> tuple[str, ...]:
    """Return the actions that a person may take on a job in this state, in the order of `VERBS`, by the machine built from the table.

    `final`: it was refused for good. `fallback`: its type has a fallback to be rerouted to. `preview`: it is a scene's preview, and no
    final video is made or in progress; completed, it may be approved (`approve`). The database's ourvidz.allowed answers the same.
    """
    model = JobModel()
    machine(model=model).set_state(str(status))
    model.held = held
    stands = {"cancel": not cancel_requested, "retry": not final, "reroute": fallback}
    found = [verb for verb, events in VERBS.items() if stands.get(verb, True) and any(getattr(model, f"may_{event}")() for event in events)]
    return (*found, *(["approve"] if preview and status == Status.COMPLETED else []))


def mermaid() -> str:
    """Return the diagram of the table, for the docs (`tools.docs` writes it there). Left out: `imported`, and events that keep the status
    without ending the claim."""
    lines = ["stateDiagram-v2", "    direction LR"]
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in TRANSITIONS:
        if row.event is EventType.IMPORTED or (row.source == row.target and row.after is not Claim.ENDS):
            continue
        arrows.setdefault((str(row.source or "[*]"), str(row.target)), []).append(str(row.event))
    lines += [f"    {source} --> {target}: {'<br/>'.join(events)}" for (source, target), events in arrows.items()]
    lines += [f"    {status} --> [*]" for status in Status if status is Status.COMPLETED]
    return "\n".join(lines) + "\n"
