-- Returns the job as it was at an instant, replayed from its events; null if it did not exist yet. `ready` is as the last event set it.
create or replace function ourvidz.job_as_of(p_job uuid, p_at timestamptz) returns public.jobs
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
  select ourvidz.fold(e order by e.version) from public.job_events as e where e.job_id = p_job and e.occurred_at <= p_at
$$;
