-- The executor has stopped because a cancel was asked for.
create or replace function ourvidz.honour_cancel(p_job uuid, p_claim bigint, p_token uuid) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
  if ourvidz.lock_claims(array[p_job], array[p_claim], array[p_token]) = '{}' then
    perform ourvidz.refuse_stale(p_job, p_claim);
  elsif not (select cancel_requested from public.jobs where id = p_job) then
    raise exception 'Nobody asked to cancel job %.', p_job using errcode = 'OV001';
  end if;
  perform ourvidz.append(array[p_job], 'cancelled', array['{}'::jsonb], 'executor');
end
$$;
