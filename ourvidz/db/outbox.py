"""The outbox and its receivers. Each change is one call of a function of schema `ourvidz`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ourvidz.db.connection import Database
from ourvidz.db.queries import span

Row = dict[str, Any]
STATES = ("waiting", "delivered", "dead")


@dataclass(frozen=True)
class Due:
    """A receiver with `messages` to send now."""

    receiver: str
    url: str
    secret_env: str
    messages: int


@dataclass(frozen=True)
class Message:
    """One message, leased to us. `attempts` as of the lease, `taken_at` by the database's clock."""

    id: str
    attempts: int
    url: str
    secret_env: str
    taken_at: datetime
    body: dict[str, Any]


def due(db: Database) -> list[Due]:
    return [Due(**row) for row in db.rows("select * from ourvidz.outbox_due()")]


def take(db: Database, receiver: str, lease_s: float) -> Message | None:
    rows = db.rows("select id::text, attempts, url, secret_env, taken_at, body from ourvidz.outbox_take(%s, %s)", (receiver, lease_s))
    return Message(**rows[0]) if rows else None


def sent(db: Database, message: Message, status: int) -> None:
    db.rows("select ourvidz.outbox_sent(%s, %s)", (message.id, status))


def unsent(db: Database, message: Message, status: int | None, error: str, wait_s: float | None = None) -> str:
    """Record a failed delivery. Returns what becomes of the message: `retry`, `dead` or `overtaken`."""
    sql = "select ourvidz.outbox_unsent(%s, %s, %s, %s, %s) as became"
    return str(db.rows(sql, (message.id, message.attempts, status, error, wait_s))[0]["became"])


def prune(db: Database) -> int:
    return int(db.rows("select ourvidz.outbox_prune() as gone")[0]["gone"])


# -- receivers -----------------------------------------------------------------------------------------------------------------------------


def receivers(db: Database) -> list[Row]:
    """Return each receiver with the number of messages that wait for it and that died within a week."""
    sql = """select r.*, ourvidz.now() as now,
                    (select count(*)::int from ourvidz.outbox as o
                     where o.receiver = r.name and o.delivered_at is null and o.dead_at is null) as waiting,
                    (select count(*)::int from ourvidz.outbox as o
                     where o.receiver = r.name and coalesce(o.delivered_at, o.dead_at) > ourvidz.now() - interval '7 days'
                       and o.dead_at is not null) as dead
             from ourvidz.receivers as r order by r.name"""
    return db.rows(sql)


def receiver_set(
    db: Database,
    name: str,
    url: str | None = None,
    events: Sequence[str] | None = None,
    secret_env: str | None = None,
    fields: Sequence[str] | None = None,
) -> None:
    """Create a receiver, or change the fields that are given. Raises `InvalidJob` naming the field, `NotFound`."""
    db.rows("select ourvidz.receiver_set(%s, %s, %s, %s, %s)", (name, url, events and list(events), secret_env, fields and list(fields)))


def receiver_enable(db: Database, name: str, *, on: bool, reason: str | None = None) -> None:
    db.rows("select ourvidz.receiver_enable(%s, %s, %s)", (name, on, reason))


def may_set_receivers(db: Database) -> bool:
    """Check if this connection's role may change receivers: executors may not."""
    sql = "select has_function_privilege('ourvidz.receiver_set(text, text, text[], text, text[])', 'execute') as may"
    return bool(db.rows(sql)[0]["may"])


# -- messages ------------------------------------------------------------------------------------------------------------------------------

_LISTED = """
select * from (
  select o.*, case when o.delivered_at is not null then 'delivered' when o.dead_at is not null then 'dead' else 'waiting' end as state,
         ourvidz.now() as now
  from ourvidz.outbox as o
) as o
where (%(job)s::uuid is null or o.job_id = %(job)s) and (%(receiver)s::text is null or o.receiver = %(receiver)s)
  and (%(state)s::text is null or o.state = %(state)s) and (not %(failing)s or o.delivered_at is null and o.last_error is not null)
order by o.created_at desc, o.id limit %(limit)s
"""


def messages(
    db: Database,
    *,
    state: str | None = None,
    failing: bool = False,
    job_id: str | None = None,
    receiver: str | None = None,
    limit: int = 30,
) -> list[Row]:
    """Return messages, newest first. `state`: one of `STATES`. `failing`: dead, or failed and to be tried again."""
    return db.rows(_LISTED, {"state": state, "failing": failing, "job": job_id, "receiver": receiver, "limit": limit})


def by_prefix(db: Database, prefix: str) -> list[str]:
    """Return ids of messages that begin with `prefix`."""
    if (ids := span(prefix.strip().lower().removeprefix("msg_"))) is None:
        return []
    sql = "select id::text from ourvidz.outbox where id between %s::uuid and %s::uuid limit 11"
    return [r["id"] for r in db.rows(sql, ids)]


def redeliver(db: Database, ids: Sequence[str]) -> int:
    return int(db.rows("select ourvidz.outbox_redeliver(%s::uuid[]) as n", (list(ids),))[0]["n"])
