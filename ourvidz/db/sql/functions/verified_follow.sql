-- A user's age was verified: their jobs that were imported and had to wait for that enter their lanes' order as if they were asked for now,
-- and executors are woken. Those that were queued before a verification was taken back are claimable again by themselves (ourvidz.take).
-- `coalesce`: the jobs are looked up by their user, and never in an index of all that waits (docs/decisions/0052).
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
      select array_agg(jsonb_build_object('priority', priority, 'rank', ourvidz.figure(v_start + (n - 1) * v_step + ourvidz.head_start(priority)),
                                          'run_at', ourvidz.instant(ourvidz.now())) order by n)
      from unnest(v.priorities) with ordinality as each (priority, n)), 'system');
  end loop;
  perform ourvidz.wake(lane, count(*)) from public.jobs where user_id = new.id and coalesce(ready, false) group by lane;
  return null;
end
$$;
