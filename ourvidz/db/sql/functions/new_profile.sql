-- Whoever signs up has a profile: not verified, on no plan, with nothing to spend; and the role of a user. A project's own trigger may have
-- made both a moment before. The username is the one given, or the email's local part; one that is taken gets a part of the id.
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
