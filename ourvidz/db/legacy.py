"""The legacy system's database as it is before `migrate`: the jobs that wait there, and what they would become here. Nothing is written to
it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from sqlalchemy import Connection, text

from ourvidz.db.connection import Database
from state.errors import InvalidJob, JobError

Row = dict[str, Any]
TOKENS = 10**9  # balance of every user in a shadow's database: costs are shown, not who could pay
_ENDED = ["completed", "complete", "succeeded", "failed", "error", "cancelled", "canceled"]
_WAITING = """select to_jsonb(j) as j from public.jobs as j
              where coalesce(lower(j.status::text), '') <> all (:ended) and j.created_at > now() - cast(:since as interval)
              order by j.created_at, j.id"""
_GONE = "select id::text from public.jobs where id::text = any (:ids) and lower(status::text) = any (:ended)"
_NAMED = {
    "projects": "select to_jsonb(t) as r from public.projects as t where id::text = any (:ids)",
    "videos": "select to_jsonb(t) as r from public.videos as t where id::text = any (:ids)",
    "images": "select to_jsonb(t) as r from public.images as t where id::text = any (:ids)",
}
# The columns that a submit reads; the others do not matter to it.
_FURNISH = {
    "projects": """insert into public.projects (id, user_id, original_prompt, enhanced_prompt)
                   select (r->>'id')::uuid, (r->>'user_id')::uuid, left(r->>'original_prompt', 4000), left(r->>'enhanced_prompt', 4000)
                   from jsonb_array_elements(%s::jsonb) as r""",
    "videos": """insert into public.videos (id, user_id) select (r->>'id')::uuid, (r->>'user_id')::uuid
                 from jsonb_array_elements(%s::jsonb) as r""",
    "images": """insert into public.images (id, user_id, prompt) select (r->>'id')::uuid, (r->>'user_id')::uuid, coalesce(r->>'prompt', '')
                 from jsonb_array_elements(%s::jsonb) as r""",
}


class NotOlder(JobError):
    """The database is not the legacy system's."""

    code = "not_older"


@dataclass(frozen=True)
class Older:
    """Rows as JSON objects: the jobs that wait or run, oldest first, and the rows that they and the messages name."""

    jobs: Sequence[Row]
    named: Mapping[str, Sequence[Row]]  # projects, videos, images
    ended: frozenset[str]  # ids of the given messages whose job has ended: a legacy worker made it


@dataclass(frozen=True)
class Plan:
    """Outcome of one request. `refused` is the error's code; then `field` and `why` say what is wrong."""

    source: str  # row | redis
    id: str
    job_type: str
    user_id: str
    price: int = 0
    set_aside: Sequence[str] = ()
    refused: str = ""
    field: str = ""
    why: str = ""


def read(db: Database, since: str, messages: Sequence[Mapping[str, Any]] = ()) -> Older:
    """Read it in one read-only transaction. `since` is an interval as Postgres reads it. Raises `NotOlder`."""
    with db.transaction() as connection:
        connection.execute(text("set transaction read only"))
        if not is_older(connection):
            raise NotOlder("This database has no jobs of the older system in public.jobs: it was migrated, or is another project's.")
        known = {"since": since, "ended": _ENDED, "ids": [m["id"] for m in messages if "id" in m]}
        jobs = [r.j for r in connection.execute(text(_WAITING), known)]
        gone = connection.execute(text(_GONE), known).scalars()
        named = {table: _named(connection, table, [*jobs, *messages]) for table in _NAMED}
        return Older(jobs, named, frozenset(gone))


def waiting(db: Database, messages: Collection[str]) -> tuple[int, list[str]]:
    """Return how many jobs of the last day wait or run, and the ids of those without a message: legacy workers do not record which job they
    run, so this is the only sign. Raises `NotOlder`."""
    found = read(db, "1 day")
    ids = [str(job["id"]) for job in found.jobs]
    return len(ids), [job for job in ids if job not in messages]


def since_switch(db: Database) -> Row:
    """Figures of `ourvidz cutover watch`. Raises `NotOlder` if no switch is known."""
    if not db.rows("select to_regclass('ourvidz_before.shape') is not null as there")[0]["there"]:
        raise NotOlder("No switch is known here: `ourvidz cutover switch` makes one.")
    (found,) = db.rows((resources.files("ourvidz.db") / "sql" / "queries" / "since_switch.sql").read_text(encoding="utf-8"))
    return found


def is_older(connection: Connection) -> bool:
    """Check if public.jobs is the legacy system's table."""
    sql = """select to_regclass('public.jobs') is not null and not exists (
               select from pg_attribute where attrelid = to_regclass('public.jobs') and attname = 'head_hash')"""
    return bool(connection.execute(text(sql)).scalar())


def _named(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    key = f"{table.removesuffix('s')}_id"
    ids = {str(value) for row in rows for value in (row.get(key), (row.get("metadata") or {}).get(key)) if value}
    if not ids or not connection.execute(text("select to_regclass(:name)"), {"name": f"public.{table}"}).scalar():
        return []
    found = connection.execute(text(_NAMED[table]), {"ids": list(ids)})
    return [r.r for r in found]


def furnish(scratch: Database, older: Older, users: Sequence[str]) -> None:
    """Fill a throw-away migrated database: every user verified and rich, and the rows that their requests name."""
    people = sorted({*users, *(str(r["user_id"]) for rows in older.named.values() for r in rows if r.get("user_id"))})
    scratch.rows(
        """insert into public.profiles (id, age_verified, subscription_status, token_balance)
           select distinct id::uuid, true, 'premium', %s from unnest(%s::text[]) as named (id)""", (TOKENS, people)
    )  # fmt: skip
    for table, statement in _FURNISH.items():
        scratch.rows(statement, (json.dumps(older.named.get(table, [])),))


def plan(scratch: Database, source: str, request: Mapping[str, Any]) -> Plan:
    """Return what `ourvidz.submit` would make of the request."""
    job, user = str(request.get("id") or ""), str(request.get("user_id") or "")
    kind = str(request.get("job_type") or request.get("type") or "")
    try:
        (found,) = scratch.rows("select ourvidz.submit(%s::jsonb, %s, true) as plan", (json.dumps(request), source))
    except JobError as error:
        named = error.field if isinstance(error, InvalidJob) else ""
        return Plan(source, job, kind, user, refused=error.code, field=named, why=str(error))
    made = found["plan"]
    return Plan(source, job, made["job_type"], user, price=made["price"], set_aside=[a["field"] for a in made["set_aside"]])
