-- Who calls, as their JWT says. Inside a definer function current_user is the owner, so nothing else may be asked. No claims at all: a
-- connection of our own (an operator, an executor, a migration), which roles and grants have judged already.
create or replace function ourvidz.caller(out role text, out user_id uuid, out admin boolean)
language sql stable
as $$
  select jwt->>'role', (jwt->>'sub')::uuid, coalesce(jwt->'app_metadata'->>'role' = 'admin', false)
  from (select nullif(current_setting('request.jwt.claims', true), '')::jsonb as jwt) as claims
$$;
