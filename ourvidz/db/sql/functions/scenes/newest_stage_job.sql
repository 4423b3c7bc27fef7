-- Returns the newest job of a video's stage (p_final: the film, else the preview), when it last began, and the word that shows its status
-- (null: the legacy system ended it and wrote the status itself).
create or replace function ourvidz.newest_stage_job(v public.videos, p_final boolean)
returns table (id uuid, began timestamptz, seq bigint, shown text)
language sql stable
as $$
  select j.id, begun.began, begun.seq,
         case when j.completed_at is null then step.status when ourvidz.ended_in_this_system(j.id) then
           -- A delivered film exists and is paid for, however its job ended.
           case when p_final and exists (select from ourvidz.stage_output(j.id, true)) then 'completed' else step.status end end
  from public.jobs as j
  join ourvidz.job_types as kind on kind.name = j.job_type and kind.video = p_final
  join ourvidz.scene_steps as step on step.stage = case when p_final then 'final' else 'preview' end and step.job_status = j.status
  join public.job_events as first on first.job_id = j.id and first.version = 1
  cross join lateral (
    select e.occurred_at as began, e.seq from public.job_events as e
    where e.job_id = j.id and e.type in ('submitted', 'imported', 'retried') order by e.version desc limit 1
  ) as begun
  where j.video_id = v.id and j.user_id = v.user_id and not j.hidden
  order by j.created_at desc, first.seq desc limit 1
$$;

-- Returns what an ended job made: its delivered film, or the first picture of its completed preview. No row before the job has ended.
create or replace function ourvidz.stage_output(p_job uuid, p_final boolean)
returns table (final boolean, made_at timestamptz, bucket text, path text, thumbnail_bucket text, thumbnail_url text, resolution text,
               seconds numeric, title text, metadata jsonb)
language sql stable
as $$
  select p_final, j.completed_at, a.bucket, a.path, small.bucket, small.path, a.width || 'x' || a.height,
         round(a.frames / (p.settings->>'fps')::numeric, 4), ourvidz.library_title(said.metadata, p.prompt, 'Untitled Video'),
         said.metadata || jsonb_strip_nulls(jsonb_build_object(
           'prompt', p.prompt, 'job_type', j.job_type, 'original_job_id', j.id, 'model_type', 'wan', 'seed', a.seed,
           'generation_time', ourvidz.generation_seconds(j.id, j.version),
           'report', case when p_final then ourvidz.report_link(j.id, a.index) end))
  from public.jobs as j
  cross join lateral (
    select * from public.artifacts as one
    where one.job_id = j.id and one.kind = case when p_final then 'video' else 'image' end and one.uploaded_at is not null
      and one.deleted_at is null
    order by one.index limit 1
  ) as a
  left join public.artifacts as small on small.job_id = j.id and small.kind = 'thumbnail' and small.index = a.index
  left join public.job_payloads as p on p.job_id = j.id
  cross join lateral (select coalesce(j.metadata, p.metadata, '{}') - '{primary_asset,all_assets}'::text[] as metadata) as said
  where j.id = p_job and j.completed_at is not null and (p_final or j.status = 'completed')
$$;
