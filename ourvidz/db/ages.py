"""Age reviews of users, and the page that refusals link to: each a function of schema `ourvidz`, or its single row of policy."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ourvidz.db.connection import Database

Row = dict[str, Any]
FUNCTION = "/functions/v1/verify"


def reviews(db: Database, *, decided: bool = False, limit: int = 100) -> list[Row]:
    """List pending reviews, oldest first; with `decided` the newest decisions instead."""
    sql = """select a.user_id::text, p.email, a.asked_at, a.began_at, a.began_by, a.decision, a.decided_at,
                    a.decided_by, a.how, a.verified_until, ourvidz.now() as now
             from ourvidz.age_reviews as a left join public.profiles as p on p.id = a.user_id
             where (a.decision is not null) = %s order by case when a.decision is null then a.id else -a.id end limit %s"""
    return db.rows(sql, (decided, limit))


def decide(db: Database, user_id: str, verified: bool, by: str, how: str, until: datetime | None = None) -> Row:
    """Record a decision and return it. `until`: when the verification expires. Raises `NotFound`, `InvalidJob`."""
    sql = (
        "select user_id::text, asked_at, decision, decided_at, decided_by, how, verified_until from ourvidz.verify_age(%s, %s, %s, %s, %s)"
    )
    return db.rows(sql, (user_id, verified, how, by, until))[0]


def look(db: Database, user_id: str, by: str) -> Row:
    """Mark the user's request as under review by `by`, and return it. Raises `NotFound`."""
    return db.rows("select user_id::text, asked_at, began_at, began_by from ourvidz.age_look(%s, %s)", (user_id, by))[0]


def help_url(db: Database) -> str | None:
    url: str | None = db.rows("select help_url from ourvidz.policy")[0]["help_url"]
    return url


def set_help_url(db: Database, url: str | None) -> None:
    db.rows("update ourvidz.policy set help_url = %s", (url,))


def follow_project(db: Database, supabase_url: str) -> str | None:
    """Set the page to the project's own edge function if none is set, or one of this machine's, and return its address; None if an operator
    has set another."""
    sql = "update ourvidz.policy set help_url = %s where help_url is null or help_url like 'http://127.0.0.1:%%' returning help_url"
    rows = db.rows(sql, (supabase_url.rstrip("/") + FUNCTION,))
    return rows[0]["help_url"] if rows else None
