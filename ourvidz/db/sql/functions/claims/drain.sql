-- Stops an executor from claiming (draining), or ends it (p_done: gone) and gives back the jobs that it still holds.
create or replace function ourvidz.drain(p_executor uuid, p_done boolean default false) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
  perform ourvidz.check_executor(p_executor);
  if p_done and exists (select from public.jobs where executor_id = p_executor) then
    perform ourvidz.declare_gone(p_executor, 'left');
  else
    update ourvidz.executors set state = case when p_done then 'gone' else 'draining' end, waiting = false where id = p_executor;
  end if;
end
$$;
