-- Returns the pictures that an image job had delivered by its last end, whatever end that was, as rows of public.images show them. A job
-- that was started again keeps them; what it delivers since is shown when it ends.
create or replace function ourvidz.pictures_of(j public.jobs)
returns table (index integer, title text, prompt text, enhanced_prompt text, image_url text, thumbnail_url text, quality text, bytes bigint,
               metadata jsonb)
language sql stable
as $$
  select a.index, it.title || case when it.total > 1 then format(' (%s)', a.index + 1) else '' end, it.prompt, it.enhanced_prompt, a.path, small.path,
         it.quality, a.bytes,
         it.metadata || jsonb_strip_nulls(jsonb_build_object('bucket', a.bucket, 'thumbnail_bucket', small.bucket, 'seed', a.seed,
                                                             'image_index', a.index, 'report', ourvidz.report_link(j.id, a.index), 'width', a.width, 'height', a.height))
  from (
    select asked.total, coalesce(p.prompt, '') as prompt, p.enhanced_prompt, coalesce(j.quality, case when kind.fast then 'fast' else 'high' end) as quality,
           ourvidz.library_title(said.metadata, p.prompt, 'Untitled Image') as title,
           said.metadata || jsonb_strip_nulls(jsonb_build_object(
             'model_type', kind.family, 'is_sdxl', kind.family = 'sdxl', 'is_enhanced', kind.enhance, 'prompt', p.prompt,
             'total_images', asked.total, 'job_type', j.job_type, 'original_job_id', j.id,
             'generation_time', ourvidz.generation_seconds(j.id, j.version))) as metadata
    from ourvidz.job_types as kind
    left join public.job_payloads as p on p.job_id = j.id
    cross join lateral (select coalesce(j.metadata, p.metadata, '{}') - '{primary_asset,all_assets}'::text[] as metadata) as said
    cross join lateral (select coalesce((p.settings->>'images')::integer, 1) as total) as asked
    where kind.name = j.job_type
    offset 0  -- once per job, not once per picture
  ) as it
  join public.artifacts as a on a.job_id = j.id and a.kind = 'image' and a.uploaded_at is not null and a.deleted_at is null
    and (j.completed_at is not null or exists (
      select from public.job_events as e where e.job_id = j.id and e.type in ('failed', 'cancelled') and e.occurred_at >= a.uploaded_at))
  left join public.artifacts as small on small.job_id = j.id and small.kind = 'thumbnail' and small.index = a.index
$$;
