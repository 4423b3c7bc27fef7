-- Builds the next event of a job under its lock: of this type, chained to the last. Kept inlinable, like evolve.
create or replace function ourvidz.next_event(j public.jobs, p_type text, p_data jsonb, p_actor text, p_now timestamptz)
returns table (submitted_on date, job_id uuid, version integer, type text, from_status text, to_status text, claim_no bigint, actor text,
               occurred_at timestamptz, data jsonb, prev_hash bytea, hash bytea)
language sql stable parallel safe
as $$
  select j.submitted_on, j.id, j.version + 1, p_type, j.status, next.status, next.claim_no, p_actor, next.at, p_data, j.head_hash,
         ourvidz.event_hash(j.head_hash, j.id, j.version + 1, p_type, j.status, next.status, next.claim_no, p_actor, next.at, p_data)
  from (
    select
      -- No such transition: events_apply will refuse it, and say so.
      coalesce((select t.target from ourvidz.transitions as t where t.event = p_type and t.source = j.status), j.status) as status,
      case when p_type = 'claimed' then j.claim_no + 1 when j.executor_id is not null then j.claim_no end as claim_no,
      -- A clock that steps back must not put an event before its predecessor: job_as_of walks by time.
      greatest(p_now, j.updated_at) as at
  ) as next
$$;
