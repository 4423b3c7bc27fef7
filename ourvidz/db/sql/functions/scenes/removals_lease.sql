-- Leases objects to delete now to the caller: if it dies they are due again. Objects of users under a legal hold wait until it is lifted,
-- those of running jobs until these have ended, and those taken down until that is decided.
-- One UPDATE per row: both key columns are then parameters, and the primary key finds the row. In a join, Postgres before 17 may use the
-- index for the bucket alone and read the whole bucket for each object (docs/decisions/0052, rule 9).
create or replace function ourvidz.removals_lease(p_limit integer, p_lease float8) returns table (bucket text, path text)
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
#variable_conflict use_column
declare
  v_due record;
begin
  perform ourvidz.refuse_copy();
  for v_due in
    select r.bucket, r.path from ourvidz.removals as r
    where r.next_at <= (select ourvidz.now())  -- evaluated once, so that the index can be used
      and (select h.user_id from ourvidz.legal_holds as h where h.user_id = r.user_id and h.lifted_at is null limit 1) is null
      and (select j.id from public.jobs as j where j.id = r.job_id and j.completed_at is null) is null
      and (select t.path from ourvidz.taken_objects as t where (t.bucket, t.path) = (r.bucket, r.path)) is null
    order by r.next_at limit p_limit for update skip locked
  loop
    return query
      update ourvidz.removals as r
      set tries = r.tries + 1, next_at = ourvidz.now() + make_interval(secs => greatest(p_lease, least(3600, 30 * 2 ^ least(r.tries, 7))))
      where (r.bucket, r.path) = (v_due.bucket, v_due.path)
      returning r.bucket, r.path;
  end loop;
end
$$;

create or replace function ourvidz.removals_done(p_buckets text[], p_paths text[]) returns void
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_gone record;
begin
  for v_gone in select * from unnest(p_buckets, p_paths) as g (bucket, path) loop
    delete from ourvidz.removals as r where (r.bucket, r.path) = (v_gone.bucket, v_gone.path);
    if found then
      update public.artifacts as a set gone_at = ourvidz.now() where (a.bucket, a.path) = (v_gone.bucket, v_gone.path) and a.gone_at is null;
    end if;
  end loop;
end
$$;
