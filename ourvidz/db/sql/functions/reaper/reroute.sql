-- Sends a waiting job to its type's fallback, for a person. It enters the other lane like a new job. Returns the job's new type.
create or replace function ourvidz.reroute(p_job uuid, p_version integer default null, p_actor text default null) returns text
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs := ourvidz.lock_at_version(p_job, p_version);
begin
  if j.status <> 'queued' or j.executor_id is not null then
    raise exception 'Job % is %: only a job that waits can be rerouted.', p_job,
      case when j.status = 'queued' then 'held by an executor' else j.status end using errcode = 'OV001';
  end if;
  perform ourvidz.reroute_job(j, 'asked', coalesce(p_actor, ourvidz.actor(j.user_id)));
  return (select job_type from public.jobs where id = p_job);
end
$$;
