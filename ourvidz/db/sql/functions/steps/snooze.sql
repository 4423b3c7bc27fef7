-- Gives a job back without using up an attempt: for a drain, or a device that cannot take it now.
create or replace function ourvidz.snooze(p_job uuid, p_claim bigint, p_token uuid, p_reason text, p_delay float8 default 0) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  perform ourvidz.check_word(p_reason, 'reason');
  select * into j from public.jobs where id = p_job;
  if j.cancel_requested then
    perform ourvidz.append(array[p_job], 'cancelled', array['{}'::jsonb], 'executor');
  else
    perform ourvidz.append(array[p_job], 'snoozed',
      array[jsonb_build_object('reason', p_reason, 'run_at', ourvidz.utc_text(ourvidz.now() + make_interval(secs => p_delay)))], 'executor');
    if p_delay <= 0 then
      perform ourvidz.wake(j.lane, 1);
    end if;
  end if;
end
$$;
