"""Limits on the cost of one request and on the rows of one user: data, copied into `ourvidz.limits` and `ourvidz.row_bounds`, which the
database enforces (docs/limits.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

MB: Final = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits on API input, in bytes. A JSON value of n bytes renders to at most 40 n characters: a number takes twelve bytes, and has at
    most 310 digits before its point or 360 after it, as numbers in JavaScript do."""

    request_bytes: int = 2**18  # the body of a request, by its Content-Length
    write_bytes: int = 2**22  # all that one request writes to a user's rows
    text_bytes: int = 32_000  # a text argument or column; 8,000 characters of four bytes
    json_bytes: int = 65_536  # a jsonb argument or column
    settings_bytes: int = 32_768  # config, metadata and settings of a request for a job, each
    row_bytes: int = 131_072  # all columns of a row, or all arguments of a call


@dataclass(frozen=True)
class Rows:
    """Maximum rows and total bytes of a table per owner. `over`: what happens beyond the limit: `refuse` (OV041), or `oldest` (the owner's
    oldest row is deleted, so that a log entry never blocks a user's request). `other`: what bounds a table that has no counter."""

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
"""By table, in schema public or ourvidz. A table that users can add rows to and that is not listed fails tests/security/test_bounds.py."""


@dataclass(frozen=True)
class Cost:
    """Upper bound on what one request costs Postgres, whatever it sends; tests/security/test_memory.py checks every function and table."""

    seconds: float = 2.0  # CPU time, for a body full of small rows; one row takes a few milliseconds
    megabytes: float = 64.0  # growth of the backend, 25 of them for its caches
    wal_megabytes: float = 16.0


COST: Final = Cost()

OPERATORS: Final = ("request_bytes", "upload_objects")
"""Figures that an operator may set: these are the initial values, and an upgrade keeps the operator's."""

OBJECTS: Final = 1_000
"""Maximum uploaded references per user, over all buckets of references."""


def limits() -> dict[str, Any]:
    """The row of `ourvidz.limits`."""
    return {**asdict(LIMITS), "upload_objects": OBJECTS}


def rows() -> list[dict[str, Any]]:
    """The rows of `ourvidz.row_bounds`."""
    return [{"name": name, **asdict(bound)} for name, bound in ROWS.items()]
