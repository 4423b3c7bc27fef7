"""Fold a job's events into its row. `fold` is independent of the database's own fold: audit and rebuild compare the rows with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from state.events import GENESIS, Event
from state.machine import EventType, Status


@dataclass(frozen=True)
class Job:
    """The folded columns of `jobs`, under the same names. All of them follow from events alone."""

    id: str
    status: Status = Status.QUEUED
    version: int = 0
    head_hash: bytes = GENESIS
    user_id: str = ""
    job_type: str = ""
    lane: str = ""
    project_id: str | None = None
    video_id: str | None = None
    image_id: str | None = None
    priority: int = 0
    rank: float = 0.0
    run_at: datetime | None = None
    claim_no: int = 0
    executor_id: str | None = None
    claimed_at: datetime | None = None
    deadline: datetime | None = None
    attempts: int = 0
    errors: int = 0
    crashes: int = 0
    device_crashes: int = 0
    crashed_on: str | None = None
    snoozes: int = 0
    cancel_requested: bool = False
    error_class: str | None = None
    final: bool = False
    enhanced: bool = False
    generated: int = 0
    uploaded: int = 0
    hidden: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    completed_at: datetime | None = None


FOLDED: Final = tuple(field.name for field in fields(Job))
"""Columns of `jobs` that only an event may change."""

Change = Mapping[str, Any]


def _instant(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _born(_job: Job, e: Event) -> Change:
    d = e.data
    return {
        "created_at": e.occurred_at,
        "run_at": _instant(d.get("run_at")),
        "rank": float(d.get("rank", 0)),
        "priority": d.get("priority", 0),
        "final": d.get("final", False),
        "completed_at": _instant(d.get("completed_at")),
    } | {key: d.get(key) for key in ("user_id", "job_type", "lane", "project_id", "video_id", "image_id", "error_class")}


def _claimed(job: Job, e: Event) -> Change:
    return {
        "claim_no": e.claim_no,
        "executor_id": e.data["executor_id"],
        "claimed_at": e.occurred_at,
        "deadline": _instant(e.data["deadline"]),
        "attempts": job.attempts + 1,
        "run_at": None,
    }


def _failed_attempt(job: Job, e: Event) -> Change:
    return {"errors": job.errors + 1, "error_class": e.data["class"], "run_at": _instant(e.data["run_at"])}


def _lease_expired(job: Job, e: Event) -> Change:
    on_device = bool(e.data["on_device"])
    return {
        "crashes": job.crashes + 1,
        "device_crashes": job.device_crashes + on_device,
        "crashed_on": e.data["executor"] if on_device else job.crashed_on,
        "run_at": _instant(e.data["run_at"]),
    }


def _retried(_job: Job, e: Event) -> Change:
    # A person retries the job: all counts go back to zero, except claim_no, which only grows.
    zero = dict.fromkeys(("attempts", "errors", "crashes", "device_crashes", "snoozes"), 0)
    return zero | {
        "crashed_on": None,
        "error_class": None,
        "cancel_requested": False,
        "completed_at": None,
        "rank": float(e.data["rank"]),
        "run_at": _instant(e.data["run_at"]),
    }


def _linked(job: Job, e: Event) -> Change:
    return {key: e.data.get(key) or getattr(job, key) for key in ("image_id", "video_id")}


def _removed(job: Job, e: Event) -> Change:
    # A deleted row is no longer linked. The job itself stays; removing it only hides it from its owner.
    gone = {key: None for key in ("image_id", "video_id") if e.data.get(key) is not None and e.data[key] == getattr(job, key)}
    return gone | {"hidden": job.hidden or e.data.get("what") == "job"}


_EFFECTS: Final[Mapping[EventType, Callable[[Job, Event], Change]]] = {
    EventType.SUBMITTED: _born,
    EventType.IMPORTED: _born,
    EventType.CLAIMED: _claimed,
    EventType.RETRY_SCHEDULED: _failed_attempt,
    EventType.LEASE_EXPIRED: _lease_expired,
    EventType.SNOOZED: lambda job, e: {
        "snoozes": job.snoozes + 1,
        "attempts": job.attempts - 1,  # given back without spending an attempt
        "run_at": _instant(e.data["run_at"]),
    },
    EventType.FAILED: lambda job, e: {"error_class": e.data["class"], "final": bool(e.data.get("final", False))},
    EventType.RETRIED: _retried,
    EventType.REROUTED: lambda job, e: {k: e.data[k] for k in ("job_type", "lane")} | {"rank": float(e.data["rank"])},
    EventType.REPRIORITISED: lambda job, e: {
        "priority": e.data["priority"],
        "rank": float(e.data["rank"]),
        "run_at": _instant(e.data.get("run_at")) or job.run_at,  # set once, for an imported job that waited for its user to be verified
    },
    EventType.PROMPT_ENHANCED: lambda job, e: {"enhanced": True},
    EventType.GENERATION_STARTED: lambda job, e: {"generated": 0},
    EventType.ARTIFACT_GENERATED: lambda job, e: {"generated": job.generated + 1},
    EventType.ARTIFACT_UPLOADED: lambda job, e: {"uploaded": job.uploaded + 1},
    EventType.CANCEL_REQUESTED: lambda job, e: {"cancel_requested": True},
    EventType.LINKED: _linked,
    EventType.REMOVED: _removed,
}
"""Changes that an event makes besides the status. Events not listed make none."""

_ENDS: Final = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED})
_ENDS_CLAIM: Final = frozenset({EventType.RETRY_SCHEDULED, EventType.LEASE_EXPIRED, EventType.SNOOZED}) | _ENDS


def evolve(job: Job, event: Event) -> Job:
    """Return the job after `event`. Never refuses: whether the event may happen was decided when it was written."""
    change: dict[str, Any] = {"status": event.to_status, "version": event.version, "head_hash": event.hash, "updated_at": event.occurred_at}
    if event.type in _ENDS_CLAIM:
        change |= {"executor_id": None, "claimed_at": None, "deadline": None}
    if event.type in _ENDS:
        change |= {"completed_at": event.occurred_at, "run_at": None}
    if effect := _EFFECTS.get(event.type):
        change |= effect(job, event)
    return replace(job, **change)


def may_change_library(job: Job, event: Event) -> bool:
    """Check if `linked` or `removed` may happen to this job: each link is set once; a whole job is removed once, after it has ended."""
    if job.hidden:
        return False
    if event.type is EventType.LINKED:
        given = [key for key in ("image_id", "video_id") if event.data.get(key) is not None]
        return bool(given) and all(getattr(job, key) is None for key in given)
    return event.data.get("what") == "output" or (event.data.get("what") == "job" and job.completed_at is not None)


def fold(events: Iterable[Event], job_id: str) -> Job:
    """Fold events, in version order, into the job that the row must equal."""
    job = Job(id=job_id)
    for event in events:
        job = evolve(job, event)
    return job
