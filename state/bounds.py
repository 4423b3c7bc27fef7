"""What one request may cost, and how much a user may leave behind: data, copied into `ourvidz.limits` and `ourvidz.row_bounds`, where the
database decides by it (docs/limits.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

MB: Final = 2**20


@dataclass(frozen=True)
class Limits:
    """Of what comes through the API, in bytes. A JSON value of n bytes renders to at most 40 n characters: a number takes twelve
    bytes, and has at most 310 digits before its point or 360 behind it, as numbers in JavaScript do."""

    request_bytes: int = 2**18  # the body of a request, by its Content-Length
    write_bytes: int = 2**22  # all that one request writes to rows of a user's
    text_bytes: int = 32_000  # a text argument or column; 8,000 characters of four bytes
    json_bytes: int = 65_536  # a jsonb argument or column
    settings_bytes: int = 32_768  # config, metadata and settings of a request for a job, each
    row_bytes: int = 131_072  # all columns of a row, or all arguments of a call


@dataclass(frozen=True)
class Rows:
    """How many rows of a table one owner may have, and how many bytes together. `over`: what happens beyond that: `refuse` (OV041), or
    `oldest` (the owner's oldest row goes: nobody's flow may stop at a report). `other`: what bounds the table where no counter does."""

    owner: str = "user_id"
    rows: int | None = None
    bytes: int | None = None
    over: str = "refuse"
    other: str | None = None


LIMITS: Final = Limits()

ROWS: Final[Mapping[str, Rows]] = {
    "profiles": Rows("id", other="its key is the user's id"),
    "characters": Rows(rows=1_000, bytes=16 * MB),
    "projects": Rows(rows=500, bytes=16 * MB),
    "scenes": Rows("project_id", rows=200, bytes=MB // 4),
    "videos": Rows(rows=20_000, bytes=128 * MB),
    "images": Rows(rows=200_000, bytes=1_024 * MB),
    "usage_logs": Rows(rows=5_000, over="oldest"),
    "user_activity_log": Rows(rows=5_000, over="oldest"),
    "consents": Rows(rows=20_000, bytes=16 * MB),
    "screenings": Rows(rows=20_000, bytes=16 * MB),
    "age_reviews": Rows(rows=1_000, bytes=MB),
    "appeals": Rows(other="one an output that was hidden, and one a suspension"),
    "report_payloads": Rows(other="one a report or appeal"),
    "moderation_events": Rows(other="one a report, appeal or act of an admin"),
    "takedowns": Rows(other="one an output"),
    "taken_objects": Rows(other="one an object that was stored"),
    "blocked_hashes": Rows(other="admins add them"),
    "age_ends": Rows(other="one a user"),
    "age_messages": Rows(other="one a signed message of a provider, and each is kept for 90 days"),
    "enhancement_requests": Rows(other="20 a minute, and each lives for five minutes"),
    "jobs": Rows(other="the plan's unfinished jobs and submits a minute, and the balance"),
    "job_payloads": Rows(other="one a job"),
    "job_events": Rows(other="the plan's submits and retries a minute"),
    "token_entries": Rows(other="three a job or retry"),
    "outbox": Rows(other="one an event and receiver"),
    "stops": Rows(other="one a job that is to stop"),
    "shares": Rows(other="one a lane"),
    "removals": Rows(other="one an object that was stored"),
}
"""By table, of the schema public or ourvidz. A table that a user can add rows to and that is not here fails
tests/security/test_bounds.py."""


@dataclass(frozen=True)
class Cost:
    """What one request may cost Postgres at most, whatever it sends: tests/security/test_memory.py holds every function and table to it."""

    seconds: float = 2.0  # of processor time, for a body full of small rows; one row takes a few milliseconds
    megabytes: float = 64.0  # by which the backend grows, 25 of them for its caches
    wal_megabytes: float = 16.0


COST: Final = Cost()

OPERATORS: Final = ("request_bytes", "upload_objects")
"""Figures that an operator may set: ours are the first values, and an upgrade leaves theirs alone."""

OBJECTS: Final = 1_000
"""Uploaded references of one user, in all buckets of references together."""


def limits() -> dict[str, Any]:
    """As `ourvidz.limits` has them."""
    return {**asdict(LIMITS), "upload_objects": OBJECTS}


def rows() -> list[dict[str, Any]]:
    """As `ourvidz.row_bounds` has them."""
    return [{"name": name, **asdict(bound)} for name, bound in ROWS.items()]
