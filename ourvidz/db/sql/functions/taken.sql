-- Whether an object may not be read where it is. Named by the policies on storage.objects: one look-up by key.
create or replace function ourvidz.is_taken(p_bucket text, p_path text) returns boolean
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select exists (select from ourvidz.taken_objects where bucket = p_bucket and path = p_path and (down or suspended)) $$;

-- Objects to move now, lent to the caller as removals are: away, or back to where they were.
create or replace function ourvidz.taken_take(p_limit integer, p_lease float8) returns table (bucket text, path text, away boolean)
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.refuse_copy();
  with due as (
    select t.bucket, t.path from ourvidz.taken_objects as t
    where (t.down or t.suspended) <> t.moved and t.next_at <= (select ourvidz.now())  -- as in removals_take
    order by t.next_at limit p_limit for update skip locked
  )
  update ourvidz.taken_objects as t
  set tries = t.tries + 1, next_at = ourvidz.now() + make_interval(secs => greatest(p_lease, least(3600, 30 * 2 ^ least(t.tries, 7))))
  from due where t.bucket = any (array[due.bucket]) and t.path = any (array[due.path])
  returning t.bucket, t.path, t.down or t.suspended
$$;

-- What was asked of an object may have changed meanwhile: then it is due again, at once.
create or replace function ourvidz.taken_moved(p_buckets text[], p_paths text[], p_away boolean[]) returns void
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  update ourvidz.taken_objects as t set moved = g.away, tries = 0, next_at = ourvidz.now()
  from unnest(p_buckets, p_paths, p_away) as g (bucket, path, away)
  where t.bucket = any (array[g.bucket]) and t.path = any (array[g.path]);
  delete from ourvidz.taken_objects as t using unnest(p_buckets, p_paths) as g (bucket, path)
  where t.bucket = any (array[g.bucket]) and t.path = any (array[g.path]) and not t.down and not t.suspended and not t.moved
$$;
