-- Cancels a job whose executor has stopped: by a cancel request, or by a refused step (no jobs may be made for its user any more).
create or replace function ourvidz.honour_cancel(p_job uuid, p_claim bigint, p_token uuid) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs;
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  end if;
  select * into j from public.jobs where id = p_job;
  if not j.cancel_requested and ourvidz.may_run(j.user_id) then
    raise exception 'Nobody asked to cancel job %.', p_job using errcode = 'OV001';
  elsif not j.cancel_requested then
    perform ourvidz.append(array[p_job], 'cancel_requested',
      array[jsonb_build_object('reason', coalesce((select reason from ourvidz.stops where user_id = j.user_id), 'age'))], 'system');
  end if;
  perform ourvidz.append(array[p_job], 'cancelled', array['{}'::jsonb], 'executor');
end
$$;
