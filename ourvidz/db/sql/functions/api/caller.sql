-- Returns the caller as the JWT names them. Inside a definer function current_user is the owner, so only the JWT tells. No claims at all: a
-- connection of our own (an operator, an executor, a migration), already checked by roles and grants.
create or replace function ourvidz.caller(out role text, out user_id uuid, out admin boolean)
language sql stable
as $$
  select jwt->>'role', (jwt->>'sub')::uuid, coalesce(jwt->'app_metadata'->>'role' = 'admin', false)
  from (select nullif(current_setting('request.jwt.claims', true), '')::jsonb as jwt) as claims
$$;

-- Returns the actor as events and ledger entries name it: `person`, a user on their own rows; `admin:ID`, an admin on another user's;
-- `service`, the service key; `login:NAME`, a connection of our own without a JWT. p_owner: the owner of the job or row.
create or replace function ourvidz.actor(p_owner uuid default null) returns text
language sql stable
as $$
  select case when role is null then 'login:' || left(regexp_replace(session_user, '[^A-Za-z0-9._-]', '-', 'g'), 63)
              when role = 'service_role' then 'service'
              when admin and user_id is distinct from p_owner then 'admin:' || coalesce(user_id::text, 'unknown')
              else 'person' end
  from ourvidz.caller()
$$;
