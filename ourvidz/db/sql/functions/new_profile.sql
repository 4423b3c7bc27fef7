-- Whoever signs up has a profile: not verified, on the free plan, with nothing to spend.
create or replace function ourvidz.new_profile() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  insert into public.profiles (id, email) values (new.id, new.email) on conflict (id) do nothing;
  return null;
end
$$;
