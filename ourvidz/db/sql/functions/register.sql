-- A new executor, or the same machine's after a restart: always a new id, so that what the old one still sends is stale.
--
-- `called` goes into events. Who owns this database names executors as they like; a login that is only an executor's does not, or a stolen
-- one could write there what nobody can erase: in events its executors are called by the login and a digest of the name that they gave.
create or replace function ourvidz.register(p_name text, p_host text, p_pid integer, p_lanes text[], p_info jsonb default '{}')
returns uuid
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
  insert into ourvidz.executors (name, called, host, pid, lanes, info, started_at, beat_at, lease_until)
  select p_name,
         case when pg_has_role(session_user, 'ourvidz_owner', 'member') then p_name
              else left(regexp_replace(session_user, '[^A-Za-z0-9._-]', '-', 'g'), 60) || '-'
                   || left(encode(sha256(convert_to(p_name, 'UTF8')), 'hex'), 8) end,
         p_host, p_pid, p_lanes, p_info, clock.at, clock.at, clock.at + make_interval(secs => policy.lease)
  from ourvidz.policy, (select ourvidz.now() as at) as clock
  returning id
$$;
