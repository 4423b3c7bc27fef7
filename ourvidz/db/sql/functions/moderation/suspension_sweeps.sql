-- Leases a suspended user whose folders are to be listed now: a suspension takes all objects, also references and those that no row names.
-- Listed twice, for what was still being uploaded the first time.
create or replace function ourvidz.suspensions_take(p_lease float8) returns table (id uuid, user_id uuid)
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.refuse_copy();
  update ourvidz.suspensions as s set sweep_at = ourvidz.now() + make_interval(secs => p_lease)
  where s.id = (select one.id from ourvidz.suspensions as one where one.lifted_at is null and one.sweep_at <= (select ourvidz.now())
                order by one.sweep_at limit 1 for update skip locked)
  returning s.id, s.user_id
$$;

create or replace function ourvidz.suspension_found(p_id uuid, p_bucket text, p_paths text[]) returns void
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  insert into ourvidz.taken_objects as t (bucket, path, user_id, suspended, next_at)
  select p_bucket, path, s.user_id, true, ourvidz.now()
  from ourvidz.suspensions as s, unnest(p_paths) as path
  where s.id = p_id and num_nulls(s.lifted_at) = 1  -- as in artifacts_removed
    and starts_with(path, s.user_id || '/')
    and exists (select from ourvidz.buckets where name = p_bucket and not public and not sealed)
  on conflict (bucket, path) do update set suspended = true where not t.suspended
$$;

-- Schedules the second listing for when the longest attempt at a job is over; after that one, none.
create or replace function ourvidz.suspension_swept(p_id uuid) returns void
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  update ourvidz.suspensions set sweeps = sweeps + 1, sweep_at = case when sweeps = 0 then ourvidz.now() + interval '20 minutes' end
  where id = p_id and lifted_at is null
$$;
