-- Who calls, as their JWT says. Inside a definer function current_user is the owner, so nothing else may be asked. No claims at all: a
-- connection of our own (an operator, an executor, a migration), which roles and grants have judged already.
create or replace function ourvidz.caller(out role text, out user_id uuid, out admin boolean)
language sql stable
as $$
  select jwt->>'role', (jwt->>'sub')::uuid, coalesce(jwt->'app_metadata'->>'role' = 'admin', false)
  from (select nullif(current_setting('request.jwt.claims', true), '')::jsonb as jwt) as claims
$$;

-- Who acts, as events and ledger entries name them: `person`, a user on what is their own; `admin:ID`, an admin on what is another's;
-- `service`, the service key; `login:NAME`, a connection of our own without a JWT. p_owner: whose job or row it is.
create or replace function ourvidz.actor(p_owner uuid default null) returns text
language sql stable
as $$
  select case when role is null then 'login:' || left(regexp_replace(session_user, '[^A-Za-z0-9._-]', '-', 'g'), 63)
              when role = 'service_role' then 'service'
              when admin and user_id is distinct from p_owner then 'admin:' || coalesce(user_id::text, 'unknown')
              else 'person' end
  from ourvidz.caller()
$$;
