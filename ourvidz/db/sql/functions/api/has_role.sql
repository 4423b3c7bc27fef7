-- Returns whether a user has a role, for the legacy system's policies. The caller's token says who is an admin (app_metadata, which only
-- the project's admins write), not a row of user_roles. Only admins and the service key may ask about other users: an admin is a target for
-- attackers.
create or replace function public.has_role(_user_id uuid, _role public.app_role) returns boolean
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select case when caller.user_id = _user_id and _role::text = 'admin' then caller.admin
              else (caller.role is null or caller.role = 'service_role' or caller.admin or caller.user_id is not distinct from _user_id)
                   and exists (select from public.user_roles where user_id = _user_id and role = _role) end
  from ourvidz.caller() as caller
$$;
