"""The floor: the same rows in the same number of commits, by bare SQL through psycopg. No guard, no chain, no fence, no policy.

Its tables are copies of ours with all their indexes. Each step is one statement, prepared, in autocommit: as fast as Postgres does it.
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

_DONE = f"""with moved as (
  update floor_jobs as j
  set status = 'completed', version = version + 1, executor_id = null, claimed_at = null, deadline = null,
      updated_at = clock_timestamp(), completed_at = clock_timestamp()
  where id = any (%(ids)s) returning j.*
) {_EVENT}"""

_CLAIMED = '{"executor_id": "00000000-0000-4000-8000-000000000001", "executor": "bench", "deadline": "2025-07-07T12:00:00.000000+00:00"}'


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Copies of the queued jobs, for the floor to drain. Its tables stay and grow from round to round, as ours do."""
    connection.execute("create table if not exists floor_jobs (like public.jobs including all)")
    connection.execute("alter table floor_jobs set (fillfactor = 70)")
    connection.execute("create table if not exists floor_events (like public.job_events including all)")
    connection.execute("insert into floor_jobs select * from public.jobs where ready on conflict do nothing")


def drain(connection: psycopg.Connection[Any], batch: int) -> int:
    """Drive every queued floor job to completed; returns how many."""
    connection.prepare_threshold = 0
    done = 0
    while True:
        rows = connection.execute(_CLAIM, {"limit": batch, "event": "claimed", "data": _CLAIMED}).fetchall()
        if not rows:
            return done
        ids = [row[0] for row in rows]
        for status, event in (("generating", "generation_started"), ("uploading", "upload_started")):
            connection.execute(_STEP, {"status": status, "ids": ids, "event": event, "data": "{}"})
        connection.execute(_DONE, {"ids": ids, "event": "completed", "data": '{"artifacts": 0}'})
        done += len(ids)
