-- Checks whether an object is taken away and may not be read. Used by the policies on storage.objects: one look-up by key.
create or replace function ourvidz.is_withheld(p_bucket text, p_path text) returns boolean
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select exists (select from ourvidz.taken_objects where bucket = p_bucket and path = p_path and (down or suspended)) $$;

-- Leases objects to move now, away or back, to the caller, like removals_lease, and with one UPDATE per row too.
create or replace function ourvidz.quarantine_lease(p_limit integer, p_lease float8) returns table (bucket text, path text, away boolean)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
#variable_conflict use_column
declare
  v_due record;
begin
  perform ourvidz.refuse_copy();
  for v_due in
    select t.bucket, t.path from ourvidz.taken_objects as t
    where (t.down or t.suspended) <> t.moved and t.next_at <= (select ourvidz.now())  -- as in removals_lease
    order by t.next_at limit p_limit for update skip locked
  loop
    return query
      update ourvidz.taken_objects as t
      set tries = t.tries + 1, next_at = ourvidz.now() + make_interval(secs => greatest(p_lease, least(3600, 30 * 2 ^ least(t.tries, 7))))
      where (t.bucket, t.path) = (v_due.bucket, v_due.path)
      returning t.bucket, t.path, t.down or t.suspended;
  end loop;
end
$$;

-- Records moved objects. If an object's wanted place has changed meanwhile, it is due again at once.
create or replace function ourvidz.quarantine_moved(p_buckets text[], p_paths text[], p_away boolean[]) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_moved record;
begin
  for v_moved in select * from unnest(p_buckets, p_paths, p_away) as g (bucket, path, away) loop
    update ourvidz.taken_objects as t set moved = v_moved.away, tries = 0, next_at = ourvidz.now()
    where (t.bucket, t.path) = (v_moved.bucket, v_moved.path);
    delete from ourvidz.taken_objects as t
    where (t.bucket, t.path) = (v_moved.bucket, v_moved.path) and not t.down and not t.suspended and not t.moved;
  end loop;
end
$$;
