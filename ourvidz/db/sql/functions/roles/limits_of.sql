-- Returns the settings that a login's roles require (wanted), and their values for it in this database or in all; `value` null: not set.
create or replace function ourvidz.limits_of(p_login name) returns table (setting text, wanted text, value text)
language sql stable
as $$
  select w.setting, w.wanted, (
    select split_part(said, '=', 2) from pg_db_role_setting as s, unnest(s.setconfig) as said
    where s.setrole = l.oid and (s.setdatabase = 0 or s.setdatabase = (select oid from pg_database where datname = current_database()))
      and said like w.setting || '=%' order by s.setdatabase desc limit 1)
  from ourvidz.our_logins() as l
  cross join lateral ourvidz.as_settings(l.statement_s, l.lock_s, l.idle_s, l.work_mem_mb) as w
  where l.name = p_login
$$;

-- Returns limits as Postgres settings. work_mem is in kB without a unit: PostgREST passes a role's settings on in lower case, and Postgres
-- has no unit `mb`.
create or replace function ourvidz.as_settings(p_statement_s integer, p_lock_s integer, p_idle_s integer, p_work_mem_mb integer)
returns table (setting text, wanted text)
language sql immutable
as $$
  values ('statement_timeout', p_statement_s || 's'), ('lock_timeout', p_lock_s || 's'),
         ('idle_in_transaction_session_timeout', p_idle_s || 's'), ('work_mem', (p_work_mem_mb * 1024)::text)
$$;

-- Returns what is wrong with the limits of our logins, for `ourvidz doctor` and `ourvidz logins ls`: one row per login.
create or replace function ourvidz.unlimited_logins() returns table (login name, roles name[], lacks text[])
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select l.name, l.roles,
         array(select format('%s is %s, not %s', s.setting, coalesce(s.value, 'not set'), s.wanted) from ourvidz.limits_of(l.name) as s
               where s.value is distinct from s.wanted)
         || case when r.rolconnlimit = -1 or r.rolconnlimit > l.connections then array['any number of connections'] else '{}' end
         || case when pg_has_role('ourvidz_owner', l.oid, 'usage') then '{}' else array['the reaper may not end its sessions'] end
  from ourvidz.our_logins() as l join pg_roles as r on r.oid = l.oid
$$;
