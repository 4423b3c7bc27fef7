-- Refuses (OV017) a call for an executor that another login registered: a stolen login cannot act for the others.
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

-- Returns whether this is an operator's session: a login with full rights on our tables is not held to an executor's limits. Checks
-- session_user, not the current role, because our functions run as their owner.
create or replace function ourvidz.operates() returns boolean
language sql stable
as $$ select pg_has_role(session_user, 'ourvidz_owner', 'usage') $$;
