-- Mirrors auth.users' app_metadata.role in user_roles, for those who read it there: the front end's admin pages, has_role.
create or replace function ourvidz.roles_follow() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  perform ourvidz.mirror_role(new.id, new.raw_app_meta_data->>'role');
  return null;
end
$$;

create or replace function ourvidz.mirror_role(p_user uuid, p_role text) returns void
language plpgsql
as $$
begin
  delete from public.user_roles where user_id = p_user and role::text in ('admin', 'moderator') and role::text is distinct from p_role;
  insert into public.user_roles (user_id, role)
  select p_user, word.enumlabel::text::public.app_role
  from pg_enum as word
  where word.enumtypid = 'public.app_role'::regtype and word.enumlabel = p_role and exists (select from public.profiles where id = p_user)
  on conflict do nothing;
end
$$;
