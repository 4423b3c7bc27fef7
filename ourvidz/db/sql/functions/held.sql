-- What an executor holds, read every second: a job missing from it was taken away, and cancel_requested is a cancel to honour.
create or replace function ourvidz.held(p_executor uuid)
returns table (job_id uuid, claim_no bigint, cancel_requested boolean)
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
  select id, claim_no, cancel_requested from public.jobs where executor_id = p_executor
$$;
