-- Objects to delete now, lent to the caller: if it dies they are due again. Those of users under a legal hold wait until it is lifted, those
-- of jobs at work until these have ended, and what was taken down until that is decided.
create or replace function ourvidz.removals_take(p_limit integer, p_lease float8) returns table (bucket text, path text)
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.refuse_copy();
  with due as (
    select r.bucket, r.path from ourvidz.removals as r
    where r.next_at <= (select ourvidz.now())  -- once, so that the index can be asked for it
      and (select h.user_id from ourvidz.legal_holds as h where h.user_id = r.user_id and h.lifted_at is null limit 1) is null
      and (select j.id from public.jobs as j where j.id = r.job_id and j.completed_at is null) is null
      and (select t.path from ourvidz.taken_objects as t where (t.bucket, t.path) = (r.bucket, r.path)) is null
    order by r.next_at limit p_limit for update skip locked
  )
  update ourvidz.removals as r
  set tries = r.tries + 1, next_at = ourvidz.now() + make_interval(secs => greatest(p_lease, least(3600, 30 * 2 ^ least(r.tries, 7))))
  from due where r.bucket = any (array[due.bucket]) and r.path = any (array[due.path])  -- looked up by key (docs/decisions/0052, rule 9)
  returning r.bucket, r.path
$$;

create or replace function ourvidz.removals_gone(p_buckets text[], p_paths text[]) returns void
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  with gone as (
    delete from ourvidz.removals as r using unnest(p_buckets, p_paths) as g (bucket, path)
    where r.bucket = any (array[g.bucket]) and r.path = any (array[g.path])
    returning r.bucket, r.path
  )
  update public.artifacts as a set gone_at = ourvidz.now() from gone
  where a.bucket = any (array[gone.bucket]) and a.path = any (array[gone.path]) and a.gone_at is null
$$;
