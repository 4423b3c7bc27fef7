-- Extends the executor's lease, and with it those of all its jobs. An executor whose current stage has stalled does not send it.
create or replace function ourvidz.heartbeat(p_executor uuid, p_resident text[] default null, p_lanes text[] default null, p_info jsonb default null)
returns timestamptz
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_until timestamptz;
begin
  perform ourvidz.check_executor(p_executor), ourvidz.check_lanes(p_lanes), ourvidz.check_executor_info(p_lanes || p_resident, p_info);
  update ourvidz.executors as e
  set beat_at = clock.at, lease_until = clock.at + make_interval(secs => policy.lease),
      resident = coalesce(p_resident, e.resident), lanes = coalesce(p_lanes, e.lanes), info = coalesce(p_info, e.info)
  from ourvidz.policy, (select ourvidz.now() as at) as clock
  where e.id = p_executor and e.state <> 'gone'
  returning e.lease_until into v_until;
  if not found then
    raise exception 'Executor % was declared gone, and its jobs went to others.', p_executor
      using errcode = 'OV012', hint = 'Stop what runs, write nothing, and register anew.';
  end if;
  return v_until;
end
$$;
