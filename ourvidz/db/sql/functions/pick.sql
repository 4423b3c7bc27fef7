-- Locks up to p_limit claimable jobs of a lane, in its order. A fixed share of all picks goes to whatever has waited longest, once that is
-- over the bound: so a steady stream of better-placed jobs cannot hold one back for ever. p_not_on: skip jobs that killed this executor.
create or replace function ourvidz.pick(p_lane text, p_limit integer, p_not_on text, p_now timestamptz) returns uuid[]
language plpgsql
as $$
declare
  v_overdue timestamptz;
  v_jobs uuid[];
begin
  select p_now - make_interval(secs => overdue_wait) into v_overdue from ourvidz.policy where random() < overdue_share;
  if found then
    with picked as materialized (
      select id from public.jobs
      where ready and lane = p_lane and run_at < v_overdue and (p_not_on is null or crashed_on is distinct from p_not_on)
      order by run_at limit p_limit for update skip locked
    )
    select array_agg(id) into v_jobs from picked;
  end if;
  if v_jobs is null then
    -- Materialized: inlined into a join, the planner may lock more rows than the limit.
    with picked as materialized (
      select id from public.jobs
      where ready and lane = p_lane and (p_not_on is null or crashed_on is distinct from p_not_on)
      order by rank, run_at limit p_limit for update skip locked
    )
    select array_agg(id) into v_jobs from picked;
  end if;
  return v_jobs;
end
$$;
