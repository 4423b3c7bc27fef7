-- Wakes as many executors as there are new jobs, and only sleeping ones: under a backlog it sends no NOTIFY at all, which matters because
-- each takes a cluster-wide lock at commit. Never called from a row trigger.
create or replace function ourvidz.wake(p_lane text, p_jobs bigint) returns void
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_executor uuid;
begin
  if not exists (select from ourvidz.executors where waiting and state = 'active' and p_lane = any (lanes)) then
    return;
  end if;
  for v_executor in
    update ourvidz.executors as e set waiting = false
    where e.id = any (array(select id from ourvidz.executors
                            where waiting and state = 'active' and p_lane = any (lanes) and lease_until > v_now
                            order by (p_lane = any (resident)) desc
                            limit p_jobs for update skip locked))
    returning e.id
  loop
    perform pg_notify('ourvidz', v_executor::text);
  end loop;
end
$$;
