-- Queues a user's imported jobs when their age is verified: they enter their lanes as if submitted now, and executors are woken. Jobs that
-- were queued before a verification was revoked become claimable again by themselves (ourvidz.claim_from_lane).
-- `coalesce`: makes the planner look the jobs up by user, never in an index of all waiting jobs (docs/decisions/0052).
create or replace function ourvidz.verified_follow() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v record;
  v_start float8;
  v_step float8;
begin
  for v in
    select lane, array_agg(id order by created_at, id) as jobs, array_agg(priority order by created_at, id) as priorities
    from (select * from public.jobs
          where user_id = new.id and status = 'queued' and not coalesce(ready, true) and run_at is null order by id for update) as waiting
    group by lane order by lane
  loop
    select start, step into v_start, v_step from ourvidz.next_rank(new.id, v.lane, cardinality(v.jobs));
    perform ourvidz.append(v.jobs, 'reprioritised', (
      select array_agg(jsonb_build_object('priority', priority, 'rank', ourvidz.json_number(v_start + (n - 1) * v_step + ourvidz.priority_offset(priority)),
                                          'run_at', ourvidz.utc_text(ourvidz.now())) order by n)
      from unnest(v.priorities) with ordinality as each (priority, n)), 'system');
  end loop;
  perform ourvidz.wake(lane, count(*)) from public.jobs where user_id = new.id and coalesce(ready, false) group by lane;
  return null;
end
$$;
