-- Refuses (OV017) what a login asks about an executor that another login registered: one stolen login does not speak for the others.
create or replace function ourvidz.check_executor(p_executor uuid) returns void
language plpgsql
as $$
declare
  v_login constant name := (select login from ourvidz.executors where id = p_executor);
begin
  if v_login <> session_user and not ourvidz.operates() then
    raise exception 'Executor % was registered by another login than %.', p_executor, session_user
      using errcode = 'OV017', hint = 'Use the login that registered it, or register again.';
  end if;
end
$$;

-- Refuses (OV017) lanes that the caller's login may not serve (`ourvidz logins add --lanes`).
create or replace function ourvidz.check_lanes(p_lanes text[]) returns void
language plpgsql
as $$
declare
  v_lanes constant text[] := (select lanes from ourvidz.logins where name = session_user);
begin
  if not p_lanes <@ v_lanes and not ourvidz.operates() then
    raise exception 'Login % may serve the lanes %, and not %.', session_user, array_to_string(v_lanes, ', '), array_to_string(p_lanes, ', ')
      using errcode = 'OV017', hint = 'Start the executor with these lanes, or change the login: ourvidz logins lanes.';
  end if;
end
$$;

-- Whether the session is an operator's: one who may do everything with our tables is not held to an executor's bounds. The login counts, and
-- not the role that it took, for our functions run as their owner.
create or replace function ourvidz.operates() returns boolean
language sql stable
as $$ select pg_has_role(session_user, 'ourvidz_owner', 'usage') $$;
