"""Events inserted by hand, as anyone with access to the table could: hashes are computed in Python, right or deliberately wrong."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
from psycopg.rows import dict_row

from state.events import GENESIS, Event, event_hash
from state.machine import EventType, Status

NOBODY = "00000000-0000-0000-0000-0000000000aa"

DATA: dict[EventType, dict[str, Any]] = {
    EventType.SUBMITTED: {"user_id": NOBODY, "job_type": "image_fast", "lane": "wan", "run_at": "2025-07-07T12:00:00+00:00"},
    EventType.IMPORTED: {"user_id": NOBODY, "job_type": "image_fast", "lane": "wan", "run_at": "2025-07-07T12:00:00+00:00"},
    EventType.CLAIMED: {"executor_id": NOBODY, "executor": "gpu9", "deadline": "2025-07-07T13:00:00+00:00"},
    EventType.RETRY_SCHEDULED: {"class": "out_of_memory", "run_at": "2025-07-07T13:00:00+00:00"},
    EventType.LEASE_EXPIRED: {"executor": "gpu9", "on_device": True, "run_at": "2025-07-07T13:00:00+00:00"},
    EventType.SNOOZED: {"reason": "drain", "run_at": "2025-07-07T13:00:00+00:00"},
    EventType.FAILED: {"class": "bad_output"},
    EventType.RETRIED: {"rank": 1.5, "run_at": "2025-07-07T13:00:00+00:00"},
    EventType.REROUTED: {"job_type": "image_fast", "lane": "wan", "rank": 2},
    EventType.REPRIORITISED: {"priority": 3, "rank": 2},
    EventType.LINKED: {"image_id": NOBODY},
    EventType.REMOVED: {"what": "output", "kind": "image", "index": 0},
    EventType.ARTIFACT_GENERATED: {"index": 0, "kind": "image"},
    EventType.ARTIFACT_UPLOADED: {"index": 0, "kind": "image"},
}
"""Data required to fold each event; unlisted events need none."""


class Forger:
    """Builds valid next events of a job; the test breaks what it needs before inserting them."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def _one(self, query: str, params: Sequence[Any] = ()) -> dict[str, Any]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(query, params).fetchone()
        assert found is not None
        return found

    def next(self, job_id: str, event: EventType | str, target: Status | None = None, data: dict[str, Any] | None = None) -> Event:
        j = self._one("select * from public.jobs where id = %s", (job_id,))
        held = j["executor_id"] is not None
        claim_no = j["claim_no"] + 1 if event == EventType.CLAIMED else j["claim_no"] if held else None
        return self._whole(
            Event(
                job_id,
                j["version"] + 1,
                event,
                Status(j["status"]),
                target or Status(j["status"]),
                claim_no,
                "person",  # type: ignore[arg-type]
                self._now(),
                DATA.get(event, {}) if data is None else data,
                "",
                bytes(j["head_hash"]),  # type: ignore[call-overload]
            )
        )

    def first(self, event: EventType = EventType.SUBMITTED, target: Status = Status.QUEUED, data: dict[str, Any] | None = None) -> Event:
        given = dict(DATA.get(event, {}) if data is None else data)
        if event is EventType.IMPORTED and target in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
            given["completed_at"] = "2025-07-07T11:00:00+00:00"
        return self._whole(Event(str(uuid.uuid4()), 1, event, None, target, None, "person", self._now(), given, "", GENESIS))

    def _now(self) -> Any:
        return self._one("select ourvidz.now() as at")["at"]

    def _whole(self, event: Event) -> Event:
        text = self._one("select %s::jsonb::text as text", (json.dumps(event.data),))["text"]
        event = replace(event, data_text=text)
        return replace(event, hash=event_hash(event))

    def changed(self, event: Event, **changes: Any) -> Event:
        """The event with these fields changed; its hash is recomputed unless `hash` is given."""
        event = replace(event, **changes)
        return event if "hash" in changes else self._whole(event)

    def insert(self, event: Event, *, more: dict[str, Any] | None = None) -> None:
        columns = {
            "submitted_on": None, "job_id": event.job_id, "version": event.version, "type": event.type, "from_status": event.from_status,
            "to_status": event.to_status, "claim_no": event.claim_no, "actor": event.actor, "occurred_at": event.occurred_at,
            "data": event.data_text, "prev_hash": event.prev_hash, "hash": event.hash, **(more or {}),
        }  # fmt: skip
        if columns["submitted_on"] is None:
            born = "coalesce((select submitted_on from public.jobs where id = %s), (%s::timestamptz at time zone 'UTC')::date) as day"
            columns["submitted_on"] = self._one(f"select {born}", (event.job_id, event.occurred_at))["day"]
        names = ", ".join(columns)
        self.connection.execute(
            f"insert into public.job_events ({names}) overriding system value values ({', '.join(['%s'] * len(columns))})",
            [str(v) if isinstance(v, EventType | Status) else v for v in columns.values()],
        )
