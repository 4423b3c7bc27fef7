-- A person starts a failed or cancelled job anew: counts go back to zero, finished steps stay done, and it enters its lane's order again.
create or replace function ourvidz.retry(p_job uuid, p_version integer default null, p_actor text default 'person') returns integer
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs;
begin
  perform ourvidz.lock_verified(array(select user_id from public.jobs where id = p_job));
  j := ourvidz.lock_seen(p_job, p_version);
  if j.status not in ('failed', 'cancelled') then
    raise exception 'Job % is %: only a failed or cancelled job can be retried.', p_job, j.status using errcode = 'OV001';
  elsif not ourvidz.may_run(j.user_id) then
    perform ourvidz.refuse_unverified(j.user_id);
  end if;
  perform ourvidz.append(array[p_job], 'retried',
    array[jsonb_build_object('run_at', ourvidz.now(),
                             'price', (select ourvidz.price_of(j.job_type, settings) from public.job_payloads where job_id = p_job),
                             'rank', (select start from ourvidz.next_rank(j.user_id, j.lane, 1)) + ourvidz.head_start(j.priority))],
    p_actor);
  perform ourvidz.wake(j.lane, 1);
  return j.version + 1;
end
$$;
