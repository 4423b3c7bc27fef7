"""Operators' actions on reports, takedowns, suspensions, appeals and blocked hashes: each a function of schema `ourvidz`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ourvidz.db.connection import Database

Row = dict[str, Any]

_QUEUE = """
  select r.id::text, r.category, r.subject, r.user_id::text, r.valid, r.status, r.filed_at, r.due_at, r.closed_at, t.state,
         r.closed_at is null and r.due_at < ourvidz.now() as overdue, ourvidz.now() as now
  from ourvidz.reports as r left join ourvidz.takedowns as t on t.subject = r.subject"""


def queue(db: Database, *, closed: bool = False, limit: int = 500) -> list[Row]:
    """Return pending reports, the next deadline first; with `closed` the decided ones, newest first."""
    order = "r.closed_at desc" if closed else "r.due_at, r.id"
    return db.rows(f"{_QUEUE} where (r.closed_at is not null) = %s order by {order} limit %s", (closed, limit))


def found(db: Database, prefix: str) -> list[str]:
    """Return ids of reports that begin with `prefix`."""
    return [row["id"] for row in db.rows("select id::text from ourvidz.reports where starts_with(id::text, %s) limit 2", (prefix.lower(),))]


def report(db: Database, report_id: str) -> Row | None:
    """Return one report with its texts, its output's `objects` (bucket, path, in quarantine or not), and its history (`events`)."""
    rows = db.rows(f"{_QUEUE} where r.id = %s", (report_id,))
    if not rows:
        return None
    one = rows[0]
    said = db.rows("select contact, signature, said, named from ourvidz.report_payloads where id = %s", (report_id,))
    objects = """select o.bucket, o.path, coalesce(t.moved, false) as moved from ourvidz.objects_of(%s) as o
                 left join ourvidz.taken_objects as t on (t.bucket, t.path) = (o.bucket, o.path) order by o.path"""
    events = """select at, type, actor, reason from ourvidz.moderation_events where report_id = %s or subject = %s order by id"""
    return one | {
        "texts": said[0] if said else None,
        "objects": db.rows(objects, (one["subject"],)),
        "events": db.rows(events, (report_id, one["subject"])),
    }


def act(db: Database, report_id: str, verb: str, by: str) -> Row:
    """Apply a verb of `state.reports.MOVES` to a report. Raises `NotFound`, `IllegalTransition`."""
    return db.rows("select * from ourvidz.report_act(%s, %s, %s)", (report_id, verb, by))[0]


def output(db: Database, named: str, verb: str, by: str, cause: str) -> Row:
    """`hide`, `restore` or `block` an output, named by its link or id. Raises `NotFound`, `InvalidJob`."""
    return db.rows("select * from ourvidz.output_act(%s, %s, %s, %s)", (named, verb, by, cause))[0]


def forget(db: Database, report_id: str, by: str) -> None:
    """Delete the texts and contact of a report."""
    db.rows("select ourvidz.report_forget(%s, %s)", (report_id, by))


def suspend(db: Database, user_id: str, reason: str, by: str) -> Row:
    """Suspend a user, and return the suspension in force. Raises `NotFound`, `InvalidJob`."""
    return db.rows("select * from ourvidz.suspend(%s, %s, %s)", (user_id, reason, by))[0]


def lift(db: Database, user_id: str, by: str) -> bool:
    """Lift the suspension. False if there was none."""
    return bool(db.rows("select ourvidz.suspension_lift(%s, %s) as lifted", (user_id, by))[0]["lifted"])


def suspensions(db: Database, *, lifted: bool = False) -> list[Row]:
    sql = """select id::text, user_id::text, reason, since, by, lifted_at, lifted_by, ourvidz.now() as now from ourvidz.suspensions
             where lifted_at is null or %s order by since desc, id"""
    return db.rows(sql, (lifted,))


def appeals(db: Database, *, decided: bool = False) -> list[Row]:
    """Return pending appeals with their texts, oldest first; with `decided` the others too."""
    sql = """select a.id::text, a.user_id::text, a.subject, a.suspension is not null as suspension, a.asked_at, a.decision, a.decided_at,
                    a.decided_by, p.said, ourvidz.now() as now
             from ourvidz.appeals as a left join ourvidz.report_payloads as p on p.id = a.id
             where a.decision is null or %s order by a.asked_at, a.id limit 500"""
    return db.rows(sql, (decided,))


def decide_appeal(db: Database, appeal_id: str, granted: bool, by: str) -> Row:
    """Decide an appeal. Raises `NotFound`, `IllegalTransition`."""
    return db.rows("select * from ourvidz.appeal_decide(%s, %s, %s)", (appeal_id, granted, by))[0]


def block(db: Database, sha256: Sequence[str], pdq: Sequence[str], source: str, by: str) -> int:
    """Add hashes (hex, 64 digits each) to the blocked ones; return how many were new."""
    return int(db.rows("select ourvidz.block_add(%s, %s, %s, %s) as n", (list(sha256), list(pdq), source, by))[0]["n"])


def overdue(db: Database) -> int:
    sql = "select count(*) as n from ourvidz.reports where closed_at is null and due_at < ourvidz.now()"
    return int(db.rows(sql)[0]["n"])


def unmoved(db: Database) -> int:
    """Count files that should be in quarantine and are not, after three tries."""
    sql = "select count(*) as n from ourvidz.taken_objects where (down or suspended) and not moved and tries >= 3"
    return int(db.rows(sql)[0]["n"])


def blocks(db: Database) -> list[Row]:
    return db.rows("select source, count(sha256) as sha256, count(pdq) as pdq from ourvidz.blocked_hashes group by source order by source")


def unblock(db: Database, source: str, by: str) -> int:
    """Drop a list; return how many hashes it had."""
    return int(db.rows("select ourvidz.block_drop(%s, %s) as n", (source, by))[0]["n"])


def follow_project(db: Database, supabase_url: str) -> None:
    """Set the report page to the project's own edge function, if none is set, or one of this machine's."""
    sql = "update ourvidz.policy set report_url = %s where report_url is null or report_url like 'http://127.0.0.1:%%'"
    db.rows(sql, (f"{supabase_url.rstrip('/')}/functions/v1/report",))
