-- Writes one event of the same type to each of these jobs, chained to its last one. The caller holds the jobs' row locks.
-- Internal: not granted to anyone. Illegal steps are refused by events_apply, which sees every writer's events, not only ours.
-- plpgsql keeps its plan from call to call; a SQL function that is not inlined is planned at each call before Postgres 18.
create or replace function ourvidz.append(p_jobs uuid[], p_type text, p_data jsonb[], p_actor text) returns void
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  insert into public.job_events (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                 prev_hash, hash)
  select next.*
  from unnest(p_jobs, p_data) as given (job_id, data)
  cross join lateral (select * from public.jobs where id = given.job_id limit 1) as j
  cross join lateral ourvidz.next_event(row(j.*)::public.jobs, p_type, given.data, p_actor, v_now) as next;
end
$$;
