-- Registers an executor, new or restarted: always under a new id, so that what the old one still sends is stale. It belongs to its login:
-- no other login may speak for it, or take its name while it lives.
--
-- `called` goes into events. The database's owner names executors freely; a login that is only an executor's does not, because a stolen one
-- could write a text into events that nobody can erase: there it is named by the login and a digest of the given name.
create or replace function ourvidz.register(p_name text, p_host text, p_pid integer, p_lanes text[], p_info jsonb default '{}')
returns uuid
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_id uuid;
begin
  perform ourvidz.refuse_copy();
  perform ourvidz.check_lanes(p_lanes), ourvidz.check_executor_info(p_lanes, p_info);
  if not ourvidz.operates() then
    perform ourvidz.check_registration(p_name, v_now);
  end if;
  insert into ourvidz.executors (name, called, host, pid, lanes, info, started_at, beat_at, lease_until, login,
                                 reference_pictures)
  select p_name,
         case when ourvidz.operates() then p_name
              else left(regexp_replace(session_user, '[^A-Za-z0-9._-]', '-', 'g'), 60) || '-'
                   || left(encode(sha256(convert_to(p_name, 'UTF8')), 'hex'), 8) end,
         left(p_host, 255), p_pid, p_lanes, p_info, v_now, v_now, v_now + make_interval(secs => lease), session_user,
         p_info->>'references'
  from ourvidz.policy
  returning id into v_id;
  return v_id;
end
$$;

create or replace function ourvidz.check_registration(p_name text, p_now timestamptz) returns void
language plpgsql
as $$
declare
  v_policy ourvidz.policy;
begin
  select * into v_policy from ourvidz.policy;
  -- Locks what is counted below until this executor is inserted: otherwise two logins could take one name, or one login exceed its limit.
  perform ourvidz.lock_names('executor', array['name ' || p_name, 'login ' || session_user]);
  if exists (select from ourvidz.executors where name = p_name and login <> session_user and state <> 'gone' and lease_until > p_now) then
    raise exception 'An executor named % of another login is alive.', p_name
      using errcode = 'OV017', hint = 'Give this one another name (ourvidz worker --name), or stop that one.';
  elsif (select count(*) >= v_policy.executors_per_login from ourvidz.executors
         where login = session_user and state <> 'gone' and lease_until > p_now) then
    raise exception 'Login % has % executors alive, which is all it may have.', session_user, v_policy.executors_per_login
      using errcode = 'OV016', hint = 'Stop one, or give this host a login of its own: ourvidz logins add.';
  elsif (select count(*) >= v_policy.registrations_per_hour from ourvidz.executors
         where login = session_user and started_at > p_now - interval '1 hour') then
    raise exception 'Login % registered % executors within an hour.', session_user, v_policy.registrations_per_hour
      using errcode = 'OV016', hint = 'See in its log why it starts again and again.';
  end if;
end
$$;

-- Limits the size of what an executor says about itself.
create or replace function ourvidz.check_executor_info(p_names text[], p_info jsonb) returns void
language plpgsql immutable
as $$
begin
  if cardinality(p_names) > 64 or exists (select from unnest(p_names) as name where length(name) > 80) then
    raise exception 'More than 64 names, or one longer than 80 characters.' using errcode = 'OV009', column = 'lanes';
  elsif pg_column_size(p_info) > 8192 then
    raise exception 'info takes % bytes; at most 8192 are kept.', pg_column_size(p_info) using errcode = 'OV009', column = 'info';
  end if;
end
$$;
