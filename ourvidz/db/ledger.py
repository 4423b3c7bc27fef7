"""Token ledger for operators: a user's account, manual transfers, and a consistency check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ourvidz.db.connection import Database
from state.errors import NotFound


@dataclass(frozen=True)
class Account:
    """`balance` can be spent, `held` is reserved for unfinished jobs. `entries`: the last transfers, newest first."""

    balance: int
    held: int
    entries: list[dict[str, Any]]


@dataclass(frozen=True)
class Moved:
    """`created` is false if the same key had moved the tokens before; `balance` is the user's new balance."""

    balance: int
    created: bool


@dataclass(frozen=True)
class Finding:
    """An inconsistency. `kind`: uneven, balance, negative, held, not_held, no_event, overcharged."""

    kind: str
    user_id: str
    job_id: str | None
    message: str


@cache
def _sql(name: str) -> str:
    return (resources.files("ourvidz.db") / "sql" / "queries" / f"{name}.sql").read_text(encoding="utf-8")


def account(db: Database, user: str, limit: int = 20) -> Account:
    """Return the user's account. Raises `NotFound`."""
    sql = """select p.token_balance as balance,
                    (select coalesce(sum(amount), 0)::bigint from ourvidz.token_entries where user_id = p.id and account = 'held') as held
             from public.profiles as p where p.id = %s"""
    for row in db.rows(sql, (user,)):
        return Account(row["balance"], row["held"], db.rows(_sql("ledger_entries"), {"user": user, "limit": limit}))
    raise NotFound(f"There is no profile {user}.")


def grant(db: Database, user: str, amount: int, reason: str, key: str | None = None, actor: str | None = None) -> Moved:
    """Give tokens, once per key. Raises `NotFound`, `InvalidJob` (amount, reason), `IdempotencyConflict`."""
    return _moved(db, "grant_tokens", user, amount, reason, key, actor)


def revoke(db: Database, user: str, amount: int, reason: str, key: str | None = None, actor: str | None = None) -> Moved:
    """Take back tokens that no job holds. Raises as `grant` does, and `InsufficientTokens`."""
    return _moved(db, "revoke_tokens", user, amount, reason, key, actor)


def _moved(db: Database, function: str, *given: object) -> Moved:
    sql = f"select * from ourvidz.{function}(%s::uuid, %s::bigint, %s::text, %s::text, %s::text)"  # noqa: S608  (two names of ours)
    return Moved(**db.rows(sql, given)[0])


def check(db: Database) -> list[Finding]:
    """Check the whole ledger against the balances and the jobs, in one snapshot. Empty: all agree."""
    rows = db.rows(_sql("ledger_check"))
    return [Finding(r["kind"], str(r["user_id"]), r["job_id"] and str(r["job_id"]), r["message"]) for r in rows]
