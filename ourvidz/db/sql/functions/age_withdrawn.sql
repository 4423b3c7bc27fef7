-- A verification was taken back, by whichever way: nothing more is made for its user. (An erasure ends jobs itself, and says so.)
create or replace function ourvidz.age_withdrawn() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  perform ourvidz.stop_jobs(new.id, 'age', ourvidz.actor(new.id));
  return null;
end
$$;
