"""Lists and reports for people. Nothing here writes, and only `details` reads what a person wrote."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ourvidz.db.connection import Database

Row = dict[str, Any]
Cursor = tuple[str, int]
"""Position of a reader of events: (xid, seq)."""

START: Cursor = ("0", 0)


@dataclass(frozen=True)
class Filter:
    """Selects jobs. Empty means all."""

    statuses: tuple[str, ...] = ()
    job_types: tuple[str, ...] = ()
    error_classes: tuple[str, ...] = ()
    user_id: str | None = None
    since: datetime | None = None

    def __bool__(self) -> bool:
        return any(self.__dict__.values())

    def where(self) -> tuple[str, list[Any]]:
        """A condition on `j`, and its parameters."""
        parts = {
            "j.status = any (%s)": list(self.statuses),
            "j.job_type = any (%s)": list(self.job_types),
            "j.error_class = any (%s)": list(self.error_classes),
            "j.user_id = %s": self.user_id,
            "j.created_at >= %s": self.since,
        }
        given = {sql: value for sql, value in parts.items() if value}
        return " and ".join(given) or "true", list(given.values())


_LISTED = """
select j.id, j.status, j.version, j.job_type, j.user_id, j.lane, j.priority, j.attempts, j.errors, j.crashes, j.error_class, j.final,
       j.cancel_requested, j.executor_id is not null as held, j.created_at, j.run_at, j.claimed_at, j.completed_at, x.name as executor,
       case when x.info->>'job' = j.id::text then x.info - 'job' end as progress, ourvidz.now() as now
from public.jobs as j left join ourvidz.fleet as x on x.id = j.executor_id
"""


def now(db: Database) -> datetime:
    """Return the database's clock: the only one that counts."""
    at: datetime = db.rows("select ourvidz.now() as at")[0]["at"]
    return at


def jobs(db: Database, which: Filter, limit: int) -> list[Row]:
    """Newest first."""
    condition, params = which.where()
    return db.rows(f"{_LISTED} where {condition} order by j.created_at desc, j.rank desc, j.id limit %s", [*params, limit])


def candidates(db: Database, which: Filter, limit: int) -> list[Row]:
    """Return the jobs that an action on a filter would touch, oldest first, with the version that the person is about to decide on."""
    condition, params = which.where()
    return db.rows(f"{_LISTED} where {condition} order by j.created_at, j.id limit %s", [*params, limit])


def span(prefix: str) -> tuple[str, str] | None:
    """Return the first and the last id that begin with `prefix`: a range of a primary key, which a pattern on its text could not use. None
    if no id can begin so."""
    digits = prefix.strip().lower().replace("-", "")
    return (digits.ljust(32, "0"), digits.ljust(32, "f")) if re.fullmatch(r"[0-9a-f]{1,32}", digits) else None


def by_prefix(db: Database, prefix: str, limit: int = 11) -> list[Row]:
    """Return jobs whose id begins with `prefix`, newest first; none if no id can begin so."""
    if (ids := span(prefix)) is None:
        return []
    return db.rows(f"{_LISTED} where j.id between %s::uuid and %s::uuid order by j.created_at desc limit %s", [*ids, limit])


def by_ids(db: Database, ids: Collection[str]) -> list[Row]:
    return db.rows(f"{_LISTED} where j.id = any (%s::uuid[])", [list(ids)])


def ahead(db: Database, job_id: str) -> int | None:
    """Return how many claimable jobs of the lane come before this one; None when it is not waiting for an executor."""
    sql = """select (select count(*) from public.jobs as o
                     where o.ready and o.lane = j.lane and (o.rank, o.run_at) < (j.rank, j.run_at)) as n
             from public.jobs as j where j.id = %s and j.ready"""
    found = db.rows(sql, [job_id])
    return int(found[0]["n"]) if found else None


def details(db: Database, job_id: str, reader: str | None = None) -> Row:
    """Return the request in the person's own words; empty once it was erased. `reader`: who will see it, which is recorded."""
    if reader is not None:
        db.rows("select ourvidz.read_text(job_id, %s, 'ourvidz jobs show') from public.job_payloads where job_id = %s", [reader, job_id])
    sql = """select prompt, negative_prompt, enhanced_prompt, settings, metadata, set_aside, idempotency_key, error_message
             from public.job_payloads where job_id = %s"""
    return next(iter(db.rows(sql, [job_id])), {})


def awaits_approval(db: Database, job_id: str) -> bool:
    """Check if it is a scene's preview, without a final video made or in progress."""
    return bool(db.rows("select ourvidz.awaits_approval(%s) as yes", [job_id])[0]["yes"])


def artifacts(db: Database, ids: Collection[str]) -> list[Row]:
    """Return the outputs of each job in order, then their thumbnails."""
    sql = """select job_id, kind, index, claim_no, seed, bucket, path, media_type, width, height, frames, bytes, sha256, uploaded_at,
                    metadata from public.artifacts where job_id = any (%s::uuid[]) order by job_id, kind = 'thumbnail', index"""
    return db.rows(sql, [list(ids)])


def timeline(db: Database, ids: Collection[str]) -> list[Row]:
    """Return every event with how long the job then stayed as it was; None for the last one."""
    sql = """select job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, lasted, since_submit, data
             from public.job_timeline where job_id = any (%s::uuid[]) order by job_id, version"""
    return db.rows(sql, [list(ids)])


# -- events as a stream -------------------------------------------------------------------------------------------------------------

# No new event can appear below the oldest running transaction, so a cursor there skips none; identity values alone are not assigned in
# commit order.
_SETTLED = "e.xid < (select ourvidz.settled_xid())"
# `order by e.xid`, never `xid`: that would be the text column, in which 1000 comes before 999.
_EVENT = """select e.xid::text as xid, e.seq, e.job_id, e.version, e.type, e.from_status, e.to_status, e.claim_no, e.actor,
                   e.occurred_at, e.data from public.job_events as e"""


def events_after(
    db: Database, cursor: Cursor, *, job_id: str | None = None, since: datetime | None = None, limit: int = 1_000
) -> list[Row]:
    """Return the next events in an order that skips none, however their transactions overlapped."""
    given = {"and e.job_id = %s": job_id, "and e.occurred_at >= %s": since}
    kept = {sql: value for sql, value in given.items() if value is not None}
    sql = f"{_EVENT} where {_SETTLED} and (e.xid, e.seq) > (%s::xid8, %s) {' '.join(kept)} order by e.xid, e.seq limit %s"
    return db.rows(sql, [*cursor, *kept.values(), limit])


def last_events(db: Database, count: int) -> list[Row]:
    """Return the newest `count` settled events, oldest of them first."""
    return db.rows(f"{_EVENT} where {_SETTLED} order by e.xid desc, e.seq desc limit %s", [count])[::-1]


def settled(db: Database) -> Cursor:
    """Return a cursor just before the oldest running transaction: what commits from now on comes after it."""
    return str(db.rows("select ourvidz.settled_xid()::text as xid")[0]["xid"]), -1


# -- figures ------------------------------------------------------------------------------------------------------------------------


def queue_depth(db: Database) -> list[Row]:
    sql = """select lane, sum(ready)::int as ready, sum(scheduled)::int as scheduled, sum(held)::int as held,
                    max(extract(epoch from waiting_longest))::float8 as waiting_longest_s
             from public.queue_depth group by lane order by lane"""
    return db.rows(sql)


def statuses(db: Database) -> dict[str, int]:
    return {r["status"]: r["n"] for r in db.rows("select status, count(*)::int as n from public.jobs group by status order by status")}


def durations(db: Database, since: datetime | None = None) -> list[Row]:
    """Seconds from submit to the end, waiting and on the device, of completed jobs by type."""
    sql = """select d.job_type, count(*)::int as jobs,
                    percentile_cont(0.5) within group (order by d.total_s) as total_p50,
                    percentile_cont(0.95) within group (order by d.total_s) as total_p95,
                    percentile_cont(0.5) within group (order by d.queued_s) as queued_p50,
                    percentile_cont(0.5) within group (order by d.generating_s) as generating_p50,
                    percentile_cont(0.95) within group (order by d.generating_s) as generating_p95
             from public.job_durations as d join public.jobs as j on j.id = d.job_id
             where d.status = 'completed' and (%s::timestamptz is null or j.completed_at >= %s) group by d.job_type order by d.job_type"""
    return db.rows(sql, [since, since])


def waited(db: Database, ids: Collection[str]) -> dict[str, float]:
    """Return the seconds in which an executor could have claimed it, for each of these jobs that has ended."""
    rows = db.rows("select job_id, queued_s from public.job_durations where job_id = any (%s::uuid[])", [list(ids)])
    return {str(row["job_id"]): row["queued_s"] for row in rows}


def error_classes(db: Database, since: datetime | None = None) -> list[Row]:
    sql = """select error_class, status, count(*)::int as jobs, max(updated_at) as latest from public.jobs
             where error_class is not null and status <> 'completed' and (%s::timestamptz is null or updated_at >= %s)
             group by error_class, status order by jobs desc, error_class"""
    return db.rows(sql, [since, since])


def executors(db: Database) -> list[Row]:
    """Return the executors with a valid lease, and what they are doing."""
    sql = """select name, host, pid, state, lanes, resident, info, started_at, beat_at, lease_until > ourvidz.now() as alive,
                    (select count(*)::int from public.jobs where executor_id = x.id) as held, ourvidz.now() as now
             from ourvidz.fleet as x where state <> 'gone' and lease_until > ourvidz.now() order by name"""
    return db.rows(sql)


def unscreened(db: Database) -> list[str]:
    """Return the names of live executors that show users' reference pictures to real models unscreened."""
    sql = """select name from ourvidz.fleet
             where reference_pictures = 'unscreened' and state <> 'gone' and lease_until > ourvidz.now() order by name"""
    return [row["name"] for row in db.rows(sql)]


def served(db: Database, lane: str) -> bool:
    """Check if an executor that takes jobs of this lane is alive."""
    sql = """select 1 from ourvidz.fleet where state = 'active' and %s = any (lanes) and lease_until > ourvidz.now() limit 1"""
    return bool(db.rows(sql, [lane]))


def server_version(db: Database) -> str:
    return str(db.rows("show server_version")[0]["server_version"]).split(" ")[0]
