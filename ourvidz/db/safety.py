"""Consent, legal holds, erasure, and refusals by screens: each a function of schema `ourvidz`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ourvidz.db.connection import Database
from ourvidz.db.erasure_rules import RULES

Row = dict[str, Any]


# -- consent ------------------------------------------------------------------------------------------------------------------------------


def attest(db: Database, user_id: str, sha256: str, version: str) -> None:
    """Record that `user_id` agreed to the statement of that version for a picture with these bytes. Raises `NotFound`, `InvalidJob`."""
    db.rows("select ourvidz.attest(%s, %s, %s)", (user_id, sha256, version))


def why_no_consent(db: Database, user_id: str, sha256: str) -> str | None:
    """Return why no model may see this user's picture: `unattested`, `withdrawn` (its attestation, or one of a picture that it was made
    from) or `too_deep`. None: it may."""
    why: str | None = db.rows("select ourvidz.why_no_consent(%s, %s) as why", (user_id, sha256))[0]["why"]
    return why


def consents(db: Database, *, user_id: str | None = None, withdrawn: bool = False) -> list[Row]:
    """Return each user's attested pictures by their newest attestation, newest first, and how many jobs used each. `withdrawn`: only those
    whose attestation was withdrawn."""
    sql = """select * from (
               select distinct on (c.user_id, c.sha256) c.user_id, c.sha256, c.statement_version, c.attested_at, c.withdrawn_at,
                      (select count(*)::int from ourvidz.job_references as r join public.jobs as j on j.id = r.job_id
                       where r.sha256 = c.sha256 and j.user_id = c.user_id) as jobs, ourvidz.now() as now
               from public.consents as c where %(user)s::uuid is null or c.user_id = %(user)s
               order by c.user_id, c.sha256, c.withdrawn_at is not null, c.attested_at desc) as newest
             where not %(withdrawn)s or withdrawn_at is not null order by coalesce(withdrawn_at, attested_at) desc limit 1000"""
    return db.rows(sql, {"user": user_id, "withdrawn": withdrawn})


def made_from(db: Database, sha256: str, user_id: str | None = None) -> list[Row]:
    """Return the outputs that were made from this picture, at any depth, and `why` no model may see each (as `why_no_consent`). `user_id`:
    of this user's picture alone."""
    return db.rows("select * from ourvidz.descendants(%s, %s)", (user_id, sha256))


# -- screens ------------------------------------------------------------------------------------------------------------------------------


def refusals(db: Database, since: datetime | None) -> list[Row]:
    """Count refusals by category, policy version and stage, the most first."""
    sql = """select category, policy_version, stage, count(*) as refusals, count(distinct user_id) as users, max(at) as last
             from ourvidz.screenings where not allowed and at >= coalesce(%s, '-infinity'::timestamptz)
             group by category, policy_version, stage order by refusals desc, category, policy_version, stage"""
    return db.rows(sql, (since,))


# -- legal holds --------------------------------------------------------------------------------------------------------------------------


def hold_set(db: Database, user_id: str, reason: str, by: str) -> Row:
    """Set a legal hold, and return the one in force. Raises `NotFound`, `InvalidJob`."""
    return db.rows("select * from ourvidz.hold_set(%s, %s, %s)", (user_id, reason, by))[0]


def hold_lift(db: Database, user_id: str, by: str) -> bool:
    """Lift the legal hold. False if there was none."""
    return bool(db.rows("select ourvidz.hold_lift(%s, %s) as lifted", (user_id, by))[0]["lifted"])


def holds(db: Database, *, lifted: bool = False) -> list[Row]:
    """Return the holds in force, and with `lifted` all that ever were; newest first."""
    sql = """select user_id, reason, set_by, since, lifted_at, lifted_by, ourvidz.now() as now from ourvidz.legal_holds
             where lifted_at is null or %s order by since desc, id desc"""
    return db.rows(sql, (lifted,))


# -- erasure ------------------------------------------------------------------------------------------------------------------------------


def erase_begin(db: Database, user_id: str, reason: str | None, by: str) -> Row:
    """Begin an erasure: from here on nothing can be queued for this user. Raises `NotFound`, `LegalHold`; so do the other steps."""
    return db.rows("select * from ourvidz.erase_begin(%s, %s, %s)", (user_id, reason, by))[0]


def erase_user_data(db: Database, user_id: str, *, dry_run: bool = False) -> dict[str, int]:
    """Erase the user's words; return the number of rows of each kind that held some. Raises `IllegalTransition` while jobs are
    unfinished."""
    counts: dict[str, int] = db.rows("select ourvidz.erase_user_data(%s, %s) as counts", (user_id, dry_run))[0]["counts"]
    return counts


def sample_again(db: Database) -> None:
    """Analyze the erased tables: until then Postgres keeps samples of columns for its planner, values of erased rows too. Samples of a
    table that is empty since stay until it has rows; another role's tables are skipped, with a warning from Postgres."""
    for table in sorted({rule.table for rule in RULES}):
        if db.rows("select to_regclass(%s) is not null as there", (table,))[0]["there"]:
            db.rows(f"analyze {table}")


def erase_add_counts(db: Database, user_id: str, counts: Mapping[str, int]) -> None:
    """Add to the counts of this erasure."""
    db.rows("select ourvidz.erase_add_counts(%s, %s::jsonb)", (user_id, json.dumps(counts)))


def erase_finish(db: Database, user_id: str) -> Row:
    return db.rows("select * from ourvidz.erase_finish(%s)", (user_id,))[0]


def erasure_unhandled_rows(db: Database, user_id: str) -> list[Row]:
    """Return the project's own tables with rows that name the user: relation, by_column, rows (None if this login may not look)."""
    return db.rows("select * from ourvidz.erasure_unhandled_rows(%s)", (user_id,))


def unfinished(db: Database, user_id: str) -> list[Row]:
    """Return the user's unfinished jobs: id, whether a cancel was asked for, and which executor has them."""
    sql = """select j.id::text, j.cancel_requested, x.name as executor from public.jobs as j
             left join ourvidz.executors as x on x.id = j.executor_id where j.user_id = %s and j.completed_at is null"""
    return db.rows(sql, (user_id,))


def job_ids(db: Database, user_id: str) -> list[str]:
    return [row["id"] for row in db.rows("select id::text from public.jobs where user_id = %s", (user_id,))]


def hosts(db: Database) -> list[str]:
    """Return the hosts where executors are, or were until lately."""
    return [row["host"] for row in db.rows("select distinct host from ourvidz.executors order by host")]
