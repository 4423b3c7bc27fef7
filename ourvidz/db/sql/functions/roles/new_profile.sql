-- Gives a new user a profile (not verified, no plan, no tokens) and the role of a basic user. A project's own trigger may have made both
-- just before. The username is the given one, or the local part of the email; a part of the id is appended if it is taken.
create or replace function ourvidz.new_profile() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_name constant text := left(coalesce(nullif(trim(new.raw_user_meta_data->>'username'), ''), nullif(split_part(new.email, '@', 1), '')), 100);
begin
  insert into public.profiles (id, email, username) values (new.id, new.email, v_name) on conflict do nothing;
  if not found then
    insert into public.profiles (id, email, username) values (new.id, new.email, v_name || '_' || left(new.id::text, 8)) on conflict do nothing;
  end if;
  insert into public.user_roles (user_id, role) values (new.id, 'basic_user') on conflict do nothing;
  return null;
end
$$;
