-- Claims up to p_limit jobs of one lane for an executor, in the lane's order, and returns all that is needed to run them. An empty answer
-- marks the executor as waiting, so that the next submit wakes it.
create or replace function ourvidz.claim(p_executor uuid, p_lanes text[] default null, p_resident text[] default null, p_limit integer default 1)
returns setof ourvidz.claimed_job
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  ex record;
  v_lanes text[];
  v_lane text;
  v_overdue timestamptz;
  v_jobs uuid[];
  v_left integer;
begin
  perform ourvidz.refuse_copy();
  perform ourvidz.check_executor(p_executor), ourvidz.check_lanes(p_lanes);
  v_left := ourvidz.claims_left();
  select e.*, p.affinity_wait, p.overdue_wait, p.overdue_share into ex
  from ourvidz.executors as e cross join ourvidz.policy as p where e.id = p_executor;
  if not found or ex.state = 'gone' then
    raise exception 'Executor % was declared gone, and its jobs went to others.', p_executor
      using errcode = 'OV012', hint = 'Register anew.';
  elsif ex.lease_until <= v_now then
    raise exception 'The lease of executor % ran out.', p_executor using errcode = 'OV012', hint = 'Send a heartbeat before claiming.';
  end if;
  -- A claim lost in a power cut would be given out again under the same number, so it is never committed asynchronously.
  if current_setting('synchronous_commit') = 'off' then
    set local synchronous_commit = on;
  end if;
  perform ourvidz.promote();

  -- A fixed share of all claims goes to the longest-waiting job once it is over the bound: a steady stream of better-ranked jobs cannot
  -- starve it.
  if random() < ex.overdue_share then
    v_overdue := v_now - make_interval(secs => ex.overdue_wait);
  end if;
  v_lanes := coalesce(p_lanes, ex.lanes);
  if cardinality(v_lanes) > 1 then
    v_lanes := ourvidz.lane_order(v_lanes, coalesce(p_resident, ex.resident), ex.lane_since, v_now - make_interval(secs => ex.affinity_wait));
  end if;
  foreach v_lane in array coalesce(v_lanes, '{}') loop
    v_jobs := ourvidz.claim_from_lane(ex.id, ex.called, v_lane, least(p_limit, v_left), v_overdue, v_now);
    exit when v_jobs is not null;
  end loop;

  if v_jobs is null then
    update ourvidz.executors set waiting = true where id = p_executor and not waiting;
    return;
  elsif ex.waiting or ex.lane is distinct from v_lane then
    -- Only a switch to a model that must be loaded starts a new stay; between resident models it may go back and forth.
    update ourvidz.executors set waiting = false, lane = v_lane,
      lane_since = case when lane is distinct from v_lane and not v_lane = any (coalesce(p_resident, resident)) then v_now else lane_since end
    where id = p_executor;
  end if;

  perform ourvidz.count_claims(cardinality(v_jobs));
  return query
  select j.id, j.claim_no, ourvidz.claim_token(ex.secret, j.id, j.claim_no), j.user_id, j.job_type, j.lane, p.prompt, p.negative_prompt,
         p.settings, p.metadata, p.enhanced_prompt,
         case when j.claim_no > 1 then (select jsonb_agg(to_jsonb(a) order by a.kind, a.index) from public.artifacts as a where a.job_id = j.id) end,
         j.attempts, j.deadline, j.claimed_at
  from unnest(v_jobs) as taken (id)
  cross join lateral (select * from public.jobs where id = taken.id limit 1) as j
  cross join lateral (select * from public.job_payloads where job_id = taken.id limit 1) as p
  order by j.rank, j.created_at;
end
$$;
