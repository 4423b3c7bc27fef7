-- Gives each login that is a member of our roles their limits (ourvidz.set_limits), and the API roles theirs: PostgREST applies the
-- settings of the role that a request becomes. Values that somebody set are kept; `ourvidz doctor` names them. A role that we may not alter
-- raises a notice and does not stop the migration.
do $$
declare
  v_one record;
begin
  for v_one in select name from ourvidz.our_logins() loop
    begin
      perform ourvidz.set_limits(v_one.name);
    exception when insufficient_privilege or unique_violation or internal_error then
      raise notice 'login % has no limits of its own: %', v_one.name, sqlerrm;
    end;
  end loop;
  for v_one in
    select l.name, w.setting, w.wanted
    from ourvidz.role_limits as l join pg_roles as r on r.rolname = l.name
    cross join lateral ourvidz.as_settings(l.statement_s, l.lock_s, l.idle_s, l.work_mem_mb) as w
    where not exists (select from unnest(r.rolconfig) as said where said like w.setting || '=%')
      and not exists (select from pg_db_role_setting as s, unnest(s.setconfig) as said where s.setrole = r.oid and said like w.setting || '=%')
  loop
    begin
      execute format('alter role %I set %I = %L', v_one.name, v_one.setting, v_one.wanted);
    exception when insufficient_privilege or unique_violation or internal_error then
      raise notice 'role % has no % of its own: %', v_one.name, v_one.setting, sqlerrm;
    end;
  end loop;
end
$$;
