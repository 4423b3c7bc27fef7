-- Writes one event of the same type to each of these jobs, chained to its last one. The caller holds the jobs' row locks.
-- Internal: not granted to anyone. Illegal steps are refused by events_apply, which sees every writer's events, not only ours.
-- plpgsql, because it keeps its plan from call to call; a SQL function that is not inlined is planned anew each time before Postgres 18.
create or replace function ourvidz.append(p_jobs uuid[], p_type text, p_data jsonb[], p_actor text) returns void
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  insert into public.job_events (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                 prev_hash, hash)
  select j.submitted_on, j.id, j.version + 1, p_type, j.status, next.status, next.claim_no, p_actor, next.at, given.data,
         j.head_hash,
         ourvidz.event_hash(j.head_hash, j.id, j.version + 1, p_type, j.status, next.status, next.claim_no, p_actor, next.at, given.data)
  from unnest(p_jobs, p_data) as given (job_id, data)
  join public.jobs as j on j.id = given.job_id
  left join ourvidz.transitions as t on t.event = p_type and t.source = j.status
  cross join lateral (
    select coalesce(t.target, j.status) as status,
           case when p_type = 'claimed' then j.claim_no + 1 when j.executor_id is not null then j.claim_no end as claim_no,
           -- A clock that steps back must not put an event before its predecessor: job_as_of walks by time.
           greatest(v_now, j.updated_at) as at
  ) as next;
end
$$;
