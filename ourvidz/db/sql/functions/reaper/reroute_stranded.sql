-- Reroutes jobs that have waited for policy's reroute_after in a lane that no live executor serves to a lane that is served; up to p_limit
-- per lane. Off while reroute_after is null, the default. Internal: for the reaper. Returns how many it moved.
create or replace function ourvidz.reroute_stranded(p_limit integer default 100) returns bigint
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_after constant float8 := (select reroute_after from ourvidz.policy);
  v_jobs bigint := 0;
  j public.jobs;
begin
  if v_after is null then
    return 0;
  end if;
  for j in
    select waiting.*
    from (select distinct kind.family as lane, fallback.family as other
          from ourvidz.job_types as kind join ourvidz.job_types as fallback on fallback.name = kind.fallback) as lanes
    cross join lateral (
      select w.* from public.jobs as w cross join lateral (select settings from public.job_payloads where job_id = w.id limit 1) as p
      where w.ready and w.lane = lanes.lane and w.run_at <= v_now - make_interval(secs => v_after)
        -- Checked here, so that jobs that must stay do not fill the limit.
        and ourvidz.may_run(w.user_id) and ourvidz.why_not_reroute(w.id, w.job_type, p.settings) is null
      order by w.run_at limit p_limit for update of w skip locked
    ) as waiting
    where not ourvidz.lane_served(lanes.lane, v_now) and ourvidz.lane_served(lanes.other, v_now)
    order by waiting.user_id, waiting.run_at  -- in submit_batch's order of shares: no deadlock
  loop
    perform ourvidz.reroute_job(j, 'no_executor', 'reaper');
    v_jobs := v_jobs + 1;
  end loop;
  return v_jobs;
end
$$;
