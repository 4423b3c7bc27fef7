-- Whether a user has a role, as the older system's policies ask. Who is an admin, the caller's token says (app_metadata, which only the
-- project's admins write): a row of user_roles makes nobody one. Of others only admins and the service key learn it: who is an admin is whom
-- to attack.
create or replace function public.has_role(_user_id uuid, _role public.app_role) returns boolean
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select case when caller.user_id = _user_id and _role::text = 'admin' then caller.admin
              else (caller.role is null or caller.role = 'service_role' or caller.admin or caller.user_id is not distinct from _user_id)
                   and exists (select from public.user_roles where user_id = _user_id and role = _role) end
  from ourvidz.caller() as caller
$$;
