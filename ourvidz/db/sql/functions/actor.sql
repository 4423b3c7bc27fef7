-- Who acts, for events and audits: an admin by their id, the service key, a user, or the login of a connection of our own. Inside a definer
-- function current_user is the owner; session_user stays the login.
create or replace function ourvidz.actor() returns text
language sql stable
as $$
  select case when c.role is null then 'login:' || left(regexp_replace(session_user, '[^A-Za-z0-9._-]', '-', 'g'), 80)
              when c.admin then 'admin:' || coalesce(c.user_id::text, 'unknown')
              when c.role = 'service_role' then 'service' else 'person' end
  from ourvidz.caller() as c
$$;
