-- Drops the texts that a late callback of the legacy system writes for an erased user.
create or replace function ourvidz.drop_erased_text() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  if exists (select from public.profiles where id = new.user_id and erased_at is not null) then
    new.metadata := null;
    new.error_message := null;
  end if;
  return new;
end
$$;
