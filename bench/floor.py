"""The floor: the same rows in the same number of commits, by bare SQL through psycopg. No guard, no chain, no fencing, no policy.

Its tables are copies of ours with all their indexes. Two variants: `plain`, a transaction of an UPDATE and an INSERT per step, as anyone
would write it; and `tight`, both fused into one prepared statement in autocommit, which is as fast as Postgres does it.
"""

from __future__ import annotations

from typing import Any

import psycopg

_EVENT = """insert into floor_events
  (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data, prev_hash, hash)
select submitted_on, id, version, %(event)s, status, status, claim_no, 'executor', updated_at, %(data)s::jsonb, head_hash, head_hash
from moved"""

_CLAIM = f"""with picked as materialized (
  select id from floor_jobs where ready and lane = 'sdxl' order by rank, run_at limit %(limit)s for update skip locked
), moved as (
  update floor_jobs as j
  set ready = null, run_at = null, version = version + 1, claim_no = claim_no + 1, executor_id = gen_random_uuid(),
      claimed_at = clock_timestamp(), deadline = clock_timestamp(), attempts = attempts + 1, updated_at = clock_timestamp()
  from picked where j.id = picked.id returning j.*
), event as ({_EVENT})
select moved.id, p.prompt, p.settings from moved join job_payloads as p on p.job_id = moved.id"""

_STEP = f"""with moved as (
  update floor_jobs as j set status = %(status)s, version = version + 1, updated_at = clock_timestamp()
  where id = any (%(ids)s) returning j.*
) {_EVENT}"""

# Ledger entries and usage-report row of a completed job.
_CHARGE = """insert into floor_entries (user_id, account, amount, kind, job_id, job_version, actor, at)
select user_id, leg.account, leg.amount, 'capture', id, version, 'executor', updated_at
from {source} cross join (values ('held', -1), ('revenue', 1)) as leg (account, amount)"""
_REPORT = """insert into floor_usage (user_id, action, format, quality, tokens_consumed, metadata, created_at, job_id, job_version)
select user_id, 'job_completed', 'image', 'fast', 1, jsonb_build_object('job_type', job_type), updated_at, id, version from {source}"""

_DONE = f"""with moved as (
  update floor_jobs as j
  set status = 'completed', version = version + 1, executor_id = null, claimed_at = null, deadline = null,
      updated_at = clock_timestamp(), completed_at = clock_timestamp()
  where id = any (%(ids)s) returning j.*
), charged as ({_CHARGE.format(source="moved")}), reported as ({_REPORT.format(source="moved")})
{_EVENT}"""

_CLAIMED = '{"executor_id": "00000000-0000-4000-8000-000000000001", "executor": "bench", "deadline": "2025-07-07T12:00:00.000000+00:00"}'


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Copy the queued jobs, for the floor to drain. Its tables stay and grow from round to round, as ours do."""
    connection.execute("create table if not exists floor_jobs (like public.jobs including all)")
    connection.execute("alter table floor_jobs set (fillfactor = 70)")
    connection.execute("create table if not exists floor_events (like public.job_events including all)")
    connection.execute("create table if not exists floor_entries (like ourvidz.token_entries including all)")
    connection.execute("create table if not exists floor_usage (like public.usage_logs including all)")
    # Rows of an earlier drain, if both variants of the floor are measured.
    connection.execute("delete from floor_events where job_id in (select id from public.jobs where ready)")
    for followed in ("floor_entries", "floor_usage"):
        connection.execute(f"delete from {followed} where job_id in (select id from public.jobs where ready)")
    connection.execute("delete from floor_jobs where id in (select id from public.jobs where ready)")
    connection.execute("insert into floor_jobs select * from public.jobs where ready")


_PICK = "select id from floor_jobs where ready and lane = 'sdxl' order by rank, run_at limit %s for update skip locked"
_TAKE = """update floor_jobs
  set ready = null, run_at = null, version = version + 1, claim_no = claim_no + 1, executor_id = gen_random_uuid(),
      claimed_at = clock_timestamp(), deadline = clock_timestamp(), attempts = attempts + 1, updated_at = clock_timestamp()
  where id = any (%s)"""
_MOVE = "update floor_jobs set status = %s, version = version + 1, updated_at = clock_timestamp() where id = any (%s)"
_END = """update floor_jobs
  set status = 'completed', version = version + 1, executor_id = null, claimed_at = null, deadline = null,
      updated_at = clock_timestamp(), completed_at = clock_timestamp()
  where id = any (%s)"""
_OF_THESE = "floor_jobs where id = any (%(ids)s)"
_TELL = _EVENT.replace("from moved", f"from {_OF_THESE}")
_CHARGE_THESE = _CHARGE.format(source="(select * from " + _OF_THESE + ") as done")
_REPORT_THESE = _REPORT.format(source="(select * from " + _OF_THESE + ") as done")


def plain_claim(connection: psycopg.Connection[Any], limit: int) -> list[Any]:
    """Claim jobs by plain statements; return their ids."""
    with connection.transaction():
        ids = [row[0] for row in connection.execute(_PICK, (limit,))]
        if ids:
            connection.execute(_TAKE, (ids,))
            connection.execute(_TELL, {"ids": ids, "event": "claimed", "data": _CLAIMED})
            connection.execute("select job_id, prompt, settings from job_payloads where job_id = any (%s)", (ids,)).fetchall()
    return ids


def tight_claim(connection: psycopg.Connection[Any], limit: int) -> list[Any]:
    """Claim jobs by one statement; return their ids."""
    rows = connection.execute(_CLAIM, {"limit": limit, "event": "claimed", "data": _CLAIMED}).fetchall()
    return [row[0] for row in rows]


def plain(connection: psycopg.Connection[Any], batch: int) -> int:
    """Drive every queued floor job to completed by plain statements, one transaction per step; return how many."""
    done = 0
    while ids := plain_claim(connection, batch):
        for status, event in (("generating", "generation_started"), ("uploading", "upload_started")):
            with connection.transaction():
                connection.execute(_MOVE, (status, ids))
                connection.execute(_TELL, {"ids": ids, "event": event, "data": "{}"})
        with connection.transaction():
            connection.execute(_END, (ids,))
            connection.execute(_TELL, {"ids": ids, "event": "completed", "data": '{"artifacts": 0}'})
            connection.execute(_CHARGE_THESE, {"ids": ids})
            connection.execute(_REPORT_THESE, {"ids": ids})
        done += len(ids)
    return done


def tight(connection: psycopg.Connection[Any], batch: int) -> int:
    """Drive every queued floor job to completed, one statement per step; return how many."""
    connection.prepare_threshold = 0
    done = 0
    while ids := tight_claim(connection, batch):
        for status, event in (("generating", "generation_started"), ("uploading", "upload_started")):
            connection.execute(_STEP, {"status": status, "ids": ids, "event": event, "data": "{}"})
        connection.execute(_DONE, {"ids": ids, "event": "completed", "data": '{"artifacts": 0}'})
        done += len(ids)
    return done
