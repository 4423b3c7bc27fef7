-- Lists our logins: members of a role that has limits, directly or through other roles, each with the strictest limits. `connections`: the
-- highest of its roles. The API's roles log in as PostgREST's `authenticator`, so they are not here.
create or replace function ourvidz.our_logins() returns table (
  oid oid, name name, roles name[], statement_s integer, lock_s integer, idle_s integer, transaction_s integer, work_mem_mb integer,
  connections integer
)
language sql stable
as $$
  select r.oid, r.rolname, array_agg(l.name order by l.name), min(l.statement_s), min(l.lock_s), min(l.idle_s), min(l.transaction_s),
         min(l.work_mem_mb), max(l.connections)
  from ourvidz.role_limits as l join pg_roles as g on g.rolname = l.name
  join pg_roles as r on r.rolcanlogin and not r.rolsuper and pg_has_role(r.oid, g.oid, 'member')
  where l.connections is not null and not pg_has_role(r.oid, 'ourvidz_owner', 'member')
  group by r.oid, r.rolname
$$;

-- Ends sessions of these logins whose transaction is older than the role allows, or that hold more than 500 advisory locks: we use none,
-- and the lock table is the server's and limited. Timeouts are settings, which a session may turn off for itself, and an old transaction
-- keeps locks and keeps dead rows from vacuum. Called by the reaper, every second. Returns how many.
create or replace function ourvidz.terminate_overlong_sessions() returns bigint
language plpgsql
as $$
declare
  v_one record;
  v_ended bigint := 0;
begin
  for v_one in
    select a.pid, l.name from pg_stat_activity as a join ourvidz.our_logins() as l on l.oid = a.usesysid
    where a.datname = current_database() and a.pid <> pg_backend_pid()
      and (a.xact_start < clock_timestamp() - make_interval(secs => l.transaction_s)
           or (select count(*) > 500 from pg_locks as held where held.pid = a.pid and held.locktype = 'advisory'))
  loop
    begin
      v_ended := v_ended + pg_terminate_backend(v_one.pid)::integer;
    exception when insufficient_privilege then
      raise warning 'a session of login % is over its limits, and may not be ended: run `ourvidz logins repair`', v_one.name;
    end;
  end loop;
  return v_ended;
end
$$;
