-- Queues the deletion of an output's object after its owner deleted the output from their library (deleted_at).
create or replace function ourvidz.artifact_removed() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
begin
  insert into ourvidz.removals (bucket, path, user_id, job_id, asked_at, next_at)
  select new.bucket, new.path, j.user_id, j.id, ourvidz.now(), ourvidz.now() from public.jobs as j where j.id = new.job_id
  on conflict (bucket, path) do nothing;
  return null;
end
$$;

-- Queues the deletion of objects that a deleted library row shows. They may be the legacy system's, which has no artifacts: those that the
-- row names, in its user's own folder, unless an artifact or another row of theirs shows the same.
create or replace function ourvidz.row_objects_removed() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_row constant jsonb := to_jsonb(old);
begin
  insert into ourvidz.removals (bucket, path, user_id, asked_at, next_at)
  select shown.bucket, shown.path, old.user_id, ourvidz.now(), ourvidz.now()
  from ourvidz.row_objects(v_row) as shown
  -- Look-ups, each by the index on its path: the planner may answer NOT EXISTS by reading whole tables, and the index on users would read a
  -- library again for each row that is deleted.
  where (select true from public.artifacts as a where a.bucket = shown.bucket and a.path = shown.path limit 1) is null
    and (select true from public.images as i where i.image_url = shown.path and i.user_id is not distinct from old.user_id limit 1) is null
    and (select true from public.images as i where i.thumbnail_url = shown.path and i.user_id is not distinct from old.user_id limit 1) is null
    and (select true from public.videos as v where v.video_url = shown.path and v.user_id is not distinct from old.user_id limit 1) is null
    and (select true from public.videos as v where v.thumbnail_url = shown.path and v.user_id is not distinct from old.user_id limit 1) is null
    and (select true from public.videos as v where v.preview_url = shown.path and v.user_id is not distinct from old.user_id limit 1) is null
  on conflict (bucket, path) do nothing;
  return null;
end
$$;

-- Returns the legacy system's objects that a row of public.images or public.videos names, in its user's own folder.
create or replace function ourvidz.row_objects(p_row jsonb) returns table (bucket text, path text)
language sql stable
as $$
  select distinct b.name, shown.path
  from (select p_row->>name as path from unnest('{image_url,thumbnail_url,video_url,preview_url}'::text[]) as name
        union select one #>> '{}' from jsonb_array_elements(case jsonb_typeof(p_row->'image_urls') when 'array' then p_row->'image_urls'
                                                              else '[]' end) as one) as shown
  join ourvidz.buckets as b on not b.public and not b.sealed and b.name in (
    p_row->'metadata'->>'bucket', p_row->'metadata'->>'thumbnail_bucket', (select job_type from public.jobs where id = (p_row->>'job_id')::uuid))
  where starts_with(shown.path, p_row->>'user_id' || '/')
$$;
