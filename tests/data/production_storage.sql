-- The policies on OurVidz's storage in July 2025, including those of deleted buckets. Run by a superuser: Supabase lets its `postgres`
-- create and drop policies on storage.objects without owning it; a plain Postgres allows that only to the owner.
alter table storage.objects owner to ourvidz;
alter table storage.buckets owner to ourvidz;
set role ourvidz;
do $$
declare
  v_own constant text := '(storage.foldername(name))[1] = auth.uid()::text';
  p record;
begin
  for p in
    select format('Users can %s their own %s', verb.word, kind.label) as name, verb.command, format('bucket_id = %L and %s', kind.bucket, v_own) as rule
    from (values ('view', 'select'), ('upload', 'insert'), ('update', 'update'), ('delete', 'delete')) as verb (word, command)
    cross join (values
      ('fast images', 'image_fast'), ('high quality images', 'image_high'), ('fast videos', 'video_fast'), ('high quality videos', 'video_high'),
      ('enhanced fast images', 'image7b_fast_enhanced'), ('enhanced high images', 'image7b_high_enhanced'),
      ('enhanced fast videos', 'video7b_fast_enhanced'), ('enhanced high videos', 'video7b_high_enhanced'),
      ('reference images', 'reference_images'),
      -- of deleted buckets
      ('character images', 'character-images'), ('scene previews', 'scene-previews'), ('video thumbnails', 'video-thumbnails'),
      ('final videos', 'videos-final')) as kind (label, bucket)
    union all
    select format('Users can %s %s bucket', verb.word, bucket), verb.command, format('bucket_id = %L and %s', bucket, v_own)
    from (values ('view from', 'select'), ('insert to', 'insert'), ('update to', 'update'), ('delete from', 'delete')) as verb (word, command)
    cross join unnest(array['sdxl_image_fast', 'sdxl_image_high']) as bucket
    union all
    select format('Users can %s %s bucket', verb.word, bucket), verb.command, format('bucket_id = %L and %s', bucket, v_own)
    from (values ('view', 'select'), ('upload to', 'insert'), ('update to', 'update'), ('delete from', 'delete')) as verb (word, command)
    cross join unnest(array['sdxl_fast', 'sdxl_high']) as bucket
    union all select 'Anyone can view system assets', 'select', 'bucket_id = ''system_assets'''
    union all
    select format('Authenticated users can %s system assets', word), command, 'bucket_id = ''system_assets'' and auth.role() = ''authenticated'''
    from (values ('upload', 'insert'), ('update', 'update'), ('delete', 'delete')) as verb (word, command)
    union all select 'System assets are publicly accessible', 'select', 'bucket_id = ''system-assets'''
    union all select 'Only authenticated users can upload system assets', 'insert', 'bucket_id = ''system-assets'' and auth.role() = ''authenticated'''
    union all select format('Allow all operations on %s bucket', bucket), 'all', format('bucket_id = %L', bucket)
    from unnest(array['video_fast', 'video_high']) as bucket
  loop
    execute format('create policy %I on storage.objects for %s %s (%s)', p.name, p.command,
                   case p.command when 'insert' then 'with check' else 'using' end, p.rule);
  end loop;
end $$;
reset role;
