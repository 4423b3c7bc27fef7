-- An output was deleted from its owner's library (deleted_at): its object is to go.
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

-- A row of a library is gone. What it shows may be of the older system, which has no artifacts: its objects, as the row names them, in its
-- user's own folder, unless another row of theirs shows the same.
create or replace function ourvidz.row_objects_removed() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_row constant jsonb := to_jsonb(old);
begin
  insert into ourvidz.removals (bucket, path, user_id, asked_at, next_at)
  select shown.bucket, shown.path, old.user_id, ourvidz.now(), ourvidz.now()
  from ourvidz.row_objects(v_row) as shown
  -- Look-ups, each by the index on its path, whoever's row it is: NOT EXISTS may be answered by reading the tables, and the index on users would
  -- read a library again for each of its rows that goes.
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

-- The objects of the older system that a row of public.images or public.videos shows, as the row names them, in its user's own folder.
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
