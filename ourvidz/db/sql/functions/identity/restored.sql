-- Declares that this database's rows came from another (`ourvidz restored`): it replaces that one ('restored') or runs in addition to it
-- ('copied'). Returns what was done, with row counts. Repeatable: each call is a new beginning for readers and executors.
create or replace function ourvidz.restored(p_how text, p_keep_jobs boolean default false) returns table (what text, n bigint)
language plpgsql set plan_cache_mode = force_generic_plan
as $$
declare
  v_was ourvidz.identities;
  v_executor uuid;
begin
  if p_how not in ('restored', 'copied') then
    raise exception '% is not a way to go on: restored or copied.', p_how using errcode = 'OV009', column = 'how';
  end if;
  lock table ourvidz.identities in exclusive mode;
  v_was := ourvidz.identity();
  what := 'sequences raised'; n := ourvidz.advance_sequences(); return next;
  insert into ourvidz.identities (n, id, how, since, xid_offset, system_identifier, database_oid)
  select coalesce(v_was.n, 0) + 1, case when p_how = 'restored' and v_was.n is not null then v_was.id else gen_random_uuid() end, p_how,
         ourvidz.now(), ourvidz.next_xid_offset(), here.system_identifier, here.database_oid
  from ourvidz.server_identity() as here;

  -- The executors belong to the other database, and so do their claims: their jobs are given back, and one that connects registers again.
  what := 'jobs given back'; n := 0;
  for v_executor in select e.id from ourvidz.executors as e
                    where e.state <> 'gone' or exists (select from public.jobs as j where j.executor_id = e.id) order by e.id loop
    n := n + ourvidz.declare_gone(v_executor, 'left behind');
  end loop;
  return next;
  if p_how = 'copied' then
    return query select * from ourvidz.stay_quiet(p_keep_jobs);
  end if;
end
$$;

-- Stops a copy from repeating what its original does: no message is sent twice, no object deleted or moved, no job made twice.
create or replace function ourvidz.stay_quiet(p_keep_jobs boolean) returns table (what text, n bigint)
language plpgsql
as $$
declare
  v_jobs uuid[];
begin
  update ourvidz.receivers set enabled = false, disabled_at = ourvidz.now(), disabled_reason = 'a copy of another database' where enabled;
  what := 'receivers turned off'; get diagnostics n = row_count; return next;
  update ourvidz.outbox set dead_at = ourvidz.now(), last_error = 'a copy: the original sends it' where delivered_at is null and dead_at is null;
  what := 'messages not to be sent'; get diagnostics n = row_count; return next;
  delete from ourvidz.removals;
  what := 'deletions of objects dropped'; get diagnostics n = row_count; return next;
  update ourvidz.taken_objects set moved = down or suspended where moved <> (down or suspended);
  what := 'moves of objects dropped'; get diagnostics n = row_count; return next;
  delete from ourvidz.taken_objects where not (down or suspended);
  update ourvidz.suspensions set sweep_at = null where sweep_at is not null;
  if not p_keep_jobs then
    v_jobs := array(select id from public.jobs where completed_at is null order by id for update);
    perform ourvidz.lock_profiles(array(select user_id from public.jobs where id = any (v_jobs)));
    perform ourvidz.append(v_jobs, 'cancelled', array_fill('{}'::jsonb, array[cardinality(v_jobs)]), 'operator');
    what := 'jobs cancelled'; n := cardinality(v_jobs); return next;
  end if;
end
$$;
