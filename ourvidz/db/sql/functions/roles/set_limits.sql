-- Gives one of our logins the limits of its roles in this database: a role's settings do not apply to sessions of its members, so each
-- login has its own. p_reset: also replaces values that somebody, or the login itself, has set. Our owner becomes a member, so that the
-- reaper may end its sessions. Run by a role that may alter the login (CREATEROLE).
create or replace function ourvidz.set_limits(p_login name, p_reset boolean default false) returns void
language plpgsql
as $$
declare
  v_one record;
  v_connections integer;
begin
  for v_one in select * from ourvidz.limits_of(p_login) where value is null or p_reset and value <> wanted loop
    execute format('alter role %I in database %I set %I = %L', p_login, current_database(), v_one.setting, v_one.wanted);
  end loop;
  select connections into v_connections from ourvidz.our_logins() where name = p_login;
  if v_connections is not null and (p_reset or (select rolconnlimit from pg_roles where rolname = p_login) = -1) then
    execute format('alter role %I connection limit %s', p_login, v_connections);
  end if;
  if not pg_has_role('ourvidz_owner', p_login, 'usage') then
    execute format('grant %I to ourvidz_owner', p_login);
  end if;
end
$$;
