-- Lists the jobs that an executor holds, polled every second: a missing job was taken away, and cancel_requested asks it to cancel.
create or replace function ourvidz.jobs_of_executor(p_executor uuid)
returns table (job_id uuid, claim_no bigint, cancel_requested boolean)
language plpgsql stable security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
  perform ourvidz.check_executor(p_executor);
  return query select j.id, j.claim_no, j.cancel_requested from public.jobs as j where j.executor_id = p_executor;
end
$$;
