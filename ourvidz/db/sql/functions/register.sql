-- A new executor, or the same machine's after a restart: always a new id, so that what the old one still sends is stale.
create or replace function ourvidz.register(p_name text, p_host text, p_pid integer, p_lanes text[], p_info jsonb default '{}')
returns uuid
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
  insert into ourvidz.executors (name, host, pid, lanes, info, started_at, beat_at, lease_until)
  select p_name, p_host, p_pid, p_lanes, p_info, clock.at, clock.at, clock.at + make_interval(secs => policy.lease)
  from ourvidz.policy, (select ourvidz.now() as at) as clock
  returning id
$$;
