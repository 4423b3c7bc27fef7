-- Starts a failed or cancelled job again: counts go back to zero, finished steps stay done, and it enters its lane again. The job's user
-- pays for what is still to be delivered when they retry it themselves. Anybody else's retry is free, and the event says what was waived,
-- unless p_charge charges the user; a balance that does not cover it then refuses the retry (OV014).
create or replace function ourvidz.retry(
  p_job uuid, p_version integer default null, p_actor text default null, p_charge boolean default false
) returns integer
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs;
  v_price bigint;
  v_charged boolean;
begin
  perform ourvidz.lock_verified(array(select user_id from public.jobs where id = p_job));
  j := ourvidz.lock_at_version(p_job, p_version);
  if j.status not in ('failed', 'cancelled') then
    raise exception 'Job % is %: only a failed or cancelled job can be retried.', p_job, j.status using errcode = 'OV001';
  elsif not ourvidz.may_run(j.user_id) then
    perform ourvidz.refuse_unverified(j.user_id);
  end if;
  v_price := ourvidz.retry_price(j);
  v_charged := p_charge or coalesce((ourvidz.caller()).user_id = j.user_id, false);
  perform ourvidz.append(array[p_job], 'retried',
    array[jsonb_build_object('run_at', ourvidz.utc_text(ourvidz.now()), 'price', case when v_charged then v_price else 0 end,
                             'delivered', ourvidz.delivered(p_job),
                             'rank', ourvidz.json_number((select start from ourvidz.next_rank(j.user_id, j.lane, 1)) + ourvidz.priority_offset(j.priority)))
          || case when v_charged then '{}' else jsonb_build_object('waived', v_price) end],
    coalesce(p_actor, ourvidz.actor(j.user_id)));
  perform ourvidz.wake(j.lane, 1);
  return j.version + 1;
end
$$;
