-- Turns expired leases into retries, attempts over their time limit into failures, and due jobs into claimable ones; reroutes stranded
-- jobs if policy says so. Executors may call it at any time; one at a time does the work. Returns what it did; `busy`: nothing, because
-- another reaper is running.
create or replace function ourvidz.reap()
returns table (lapsed bigint, timed_out bigint, promoted bigint, busy boolean)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_executor uuid;
  v_gone uuid[];
  v_late uuid[];
  j public.jobs;
begin
  lapsed := 0; timed_out := 0; promoted := 0;
  perform ourvidz.terminate_overlong_sessions();  -- before the lock, which one of those sessions may hold
  perform from ourvidz.locks where kind = 'reap' for update skip locked;
  busy := not found;
  if busy then
    return next; return;
  end if;
  -- Locked before any write, in the order that everyone uses: jobs by id, then their users' balances. A claim in flight when its executor
  -- was declared gone may commit afterwards: such an executor is declared gone again.
  v_gone := array(
    select id from ourvidz.executors as e
    where state <> 'gone' and lease_until <= v_now or state = 'gone' and (select id from public.jobs where executor_id = e.id limit 1) is not null
    order by id for update skip locked);
  perform from public.jobs where executor_id = any (v_gone) order by id for update;
  v_late := array(
    select id from public.jobs where executor_id is not null and executor_id <> all (v_gone) and deadline <= v_now
    order by id limit 100 for update skip locked);
  perform ourvidz.lock_profiles(array(select user_id from public.jobs where executor_id = any (v_gone) or id = any (v_late)));

  foreach v_executor in array v_gone loop
    lapsed := lapsed + ourvidz.declare_gone(v_executor, 'lease ran out');
  end loop;
  for j in select * from public.jobs where id = any (v_late) order by id loop
    update public.job_payloads set error_message = 'The attempt took longer than its time limit.' where job_id = j.id;
    perform ourvidz.fail_attempt(j, 'timeout', true, 'reaper');
    timed_out := timed_out + 1;
  end loop;
  promoted := ourvidz.promote(1000);
  if promoted > 0 then
    perform ourvidz.wake(lane, promoted) from unnest(array(select distinct lane from public.jobs where ready)) as lane;
  end if;
  perform ourvidz.reports_forget();
  if lapsed + timed_out = 0 then  -- else at the next call: these lock balances of their own
    perform ourvidz.age_expire();
    perform ourvidz.stop_remaining();
    perform ourvidz.reroute_stranded();
  end if;
  perform ourvidz.enhance_expire();
  delete from ourvidz.executors as e using ourvidz.policy
  where e.state = 'gone' and e.beat_at < v_now - make_interval(secs => policy.executor_forgotten)
    and (select id from public.jobs where executor_id = e.id limit 1) is null;
  return next;
end
$$;
