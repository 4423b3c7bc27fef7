-- Declares an executor gone, for a supervisor that saw its process die, and gives its jobs back at once. Only for executors of the caller's
-- own login. Returns how many jobs it had. What the executor may still send is refused.
create or replace function ourvidz.executor_gone(p_executor uuid, p_cause text default 'died') returns bigint
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
  perform ourvidz.check_executor(p_executor);
  return ourvidz.declare_gone(p_executor, p_cause);
end
$$;

-- Internal: the reaper also calls it for executors whose lease expired, whoever registered them.
create or replace function ourvidz.declare_gone(p_executor uuid, p_cause text) returns bigint
language plpgsql set plan_cache_mode = force_generic_plan
as $$
declare
  j public.jobs;
  v_on_device uuid[];
  v_jobs bigint := 0;
begin
  update ourvidz.executors set state = 'gone', waiting = false where id = p_executor;
  -- In id order, as in lock_claims: no deadlock with a batch. Locked before asking which job was on the device.
  perform from public.jobs where executor_id = p_executor order by id for update;
  perform ourvidz.lock_profiles(array(select user_id from public.jobs where executor_id = p_executor));
  v_on_device := ourvidz.on_device(p_executor);
  for j in select * from public.jobs where executor_id = p_executor order by id for update loop
    perform ourvidz.expire_claim(j, p_cause, j.id = any (v_on_device), cardinality(v_on_device) > 0);
    v_jobs := v_jobs + 1;
  end loop;
  return v_jobs;
end
$$;
