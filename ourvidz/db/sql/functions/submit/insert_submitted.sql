-- Writes the payloads, then the `submitted` events (whose trigger makes the rows), and wakes executors. Internal: for submit_batch.
create or replace function ourvidz.insert_submitted(p_fresh ourvidz.asked_job[], p_now timestamptz, p_actor text) returns void
language plpgsql
as $$
declare
  v_salts bytea[];
begin
  perform ourvidz.check_pictures(p_fresh);
  select array_agg(ourvidz.salt()) into v_salts from unnest(p_fresh);
  -- Before the events: the rows that they begin take columns from the payloads (ourvidz.initial_job).
  perform ourvidz.insert_payloads(p_fresh, v_salts);

  with groups as materialized (
    select user_id, lane, count(*) as jobs from unnest(p_fresh) group by user_id, lane order by user_id, lane
  ), entries as materialized (
    select g.user_id, g.lane, r.start, r.step from groups as g cross join lateral ourvidz.next_rank(g.user_id, g.lane, g.jobs) as r
  ), ranked as (
    select a.asked, a.n, e.start + e.step * (row_number() over (partition by e.user_id, e.lane order by (a.asked).ord) - 1)
                         + ourvidz.priority_offset((a.asked).priority) as rank
    from (select f as asked, row_number() over () as n from unnest(p_fresh) as f) as a
    join entries as e on e.user_id = (a.asked).user_id and e.lane = (a.asked).lane
  )
  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select e.submitted_on, e.job_id, e.version, e.type, e.to_status, e.actor, e.occurred_at, e.data, e.prev_hash, e.hash
  from ranked as r cross join lateral ourvidz.first_event(r.asked, r.rank, v_salts[r.n], p_now, p_actor) as e;

  perform ourvidz.wake(lane, jobs)
  from (select a.lane, count(*) as jobs from unnest(p_fresh) as a where coalesce(a.run_at, p_now) <= p_now group by a.lane) as lanes;
end
$$;
