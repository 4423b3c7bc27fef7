"""Ledger helpers for the tests: accounts, entries, usage report, and a job completed with fewer outputs than requested."""

from __future__ import annotations

from typing import Any

from support import artifact

from ourvidz.db import ledger
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs


def balance(db: Database, user: str) -> int:
    return int(db.rows("select token_balance from public.profiles where id = %s", (user,))[0]["token_balance"])


def accounts(db: Database, user: str) -> dict[str, int]:
    """The sum of the entries of each account; accounts at zero are left out."""
    sql = "select account, sum(amount)::bigint as n from ourvidz.token_entries where user_id = %s group by 1 having sum(amount) <> 0"
    return {r["account"]: r["n"] for r in db.rows(sql, (user,))}


def moves(db: Database, job_id: str) -> list[tuple[int, str, str, int]]:
    """A job's entries: version, kind, account, amount."""
    sql = "select job_version, kind, account, amount from ourvidz.token_entries where job_id = %s order by seq"
    return [(r["job_version"], r["kind"], r["account"], r["amount"]) for r in db.rows(sql, (job_id,))]


def kinds(db: Database, job_id: str) -> list[tuple[str, int]]:
    """(transfer kind, amount) of each entry on the job's `held` account."""
    return [(kind, amount) for _, kind, account, amount in moves(db, job_id) if account == "held"]


def usage(db: Database, job_id: str) -> list[dict[str, Any]]:
    sql = """select action, format, quality, tokens_consumed, metadata, job_version from public.usage_logs
             where job_id = %s order by job_version"""
    return db.rows(sql, (job_id,))


def sound(db: Database) -> None:
    """Assert that the ledger check finds nothing and that the entries, summed independently of it, match the balances."""
    assert ledger.check(db) == []
    (r,) = db.rows("""select coalesce(sum(amount), 0) as total, coalesce(sum(amount) filter (where account = 'available'), 0) as spendable,
                             (select coalesce(sum(token_balance), 0) from public.profiles) as balances from ourvidz.token_entries""")
    assert r["total"] == 0 and r["spendable"] == r["balances"]


def deliver(jobs: Jobs, job: Claim, images: int, *, thumbnails: bool = True) -> None:
    """Run a claimed job to its end with `images` outputs."""
    jobs.advance(job, "generation_started")
    made = [artifact(job, n, kind) for n in range(images) for kind in ("image", "thumbnail")[: 1 + thumbnails]]
    for one in made:
        jobs.artifact_generated(job, one)
    jobs.advance(job, "upload_started")
    for one in made:
        jobs.artifact_uploaded(job, one["kind"], one["index"], one["sha256"])
    jobs.complete(job)
