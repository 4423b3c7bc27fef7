-- Returns how many prompts the caller's login may still get in this minute, by its row of ourvidz.logins; null for an operator's session,
-- which is not counted. Refuses (OV016) when none are left.
create or replace function ourvidz.claims_left() returns integer
language plpgsql
as $$
declare
  v_policy ourvidz.policy;
  v_login ourvidz.logins;
  v_left integer;
begin
  if ourvidz.operates() then
    return null;
  end if;
  select * into v_policy from ourvidz.policy;
  select * into v_login from ourvidz.logins where name = session_user;
  v_left := v_policy.claims_per_minute - case when v_login.minute > ourvidz.now() - interval '1 minute' then v_login.claims else 0 end;
  if v_left <= 0 then
    raise exception 'Login % was given % prompts within a minute.', session_user, v_policy.claims_per_minute
      using errcode = 'OV016', hint = 'Try again in a minute. Is it stolen? See docs/security.md. Does one login serve many devices? Give each host its own.';
  end if;
  return v_left;
end
$$;

-- Counts the prompts given to the caller's login. Of concurrent claims, the last one sees what the others took, and is rolled back if
-- nothing is left.
create or replace function ourvidz.count_claims(p_claims integer) returns void
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  if p_claims = 0 or ourvidz.operates() then
    return;
  end if;
  insert into ourvidz.logins as l (name, minute, claims) values (session_user, v_now, p_claims)
  on conflict (name) do update
    set minute = case when l.minute > v_now - interval '1 minute' then l.minute else v_now end,
        claims = p_claims + case when l.minute > v_now - interval '1 minute' then l.claims else 0 end
    where p_claims + case when l.minute > v_now - interval '1 minute' then l.claims else 0 end <= (select claims_per_minute from ourvidz.policy);
  if not found then
    perform ourvidz.claims_left();
    raise exception 'Login % may not be given % more prompts in this minute.', session_user, p_claims
      using errcode = 'OV016', hint = 'Ask for fewer, or try again in a minute.';
  end if;
end
$$;
