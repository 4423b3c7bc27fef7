-- Builds a message's body from the current rows: requested again after an erasure, it holds no text any more. Paths are relative to the
-- bucket that the metadata names. It carries the event's own version, since messages may come in any order. In addition to the job, its
-- status and its error's class, a receiver gets the fields it was registered for (ourvidz.receivers.fields).
create or replace function ourvidz.outbox_body(o ourvidz.outbox) returns jsonb
language sql stable
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'job_id', o.job_id,
    'status', case o.status when 'cancelled' then 'failed' else o.status end,
    'assets', case when 'assets' = any (r.fields) then coalesce(made.assets, '[]') else '[]' end,
    'error_message', case o.status
      when 'cancelled' then 'cancelled'
      when 'failed' then coalesce(case when 'error_message' = any (r.fields) then p.error_message end, e.data->>'class', 'failed') end,
    'enhancedPrompt', case when o.status <> 'processing' and 'enhancedPrompt' = any (r.fields) then p.enhanced_prompt end,
    'metadata', jsonb_build_object(
      'version', o.job_version, 'occurred_at', e.occurred_at, 'true_status', e.to_status, 'error_class', e.data->>'class') || (
    select coalesce(jsonb_object_agg(told.key, told.value), '{}') from jsonb_each(jsonb_build_object(
      'job_type', j.job_type, 'bucket', coalesce(made.bucket, j.job_type), 'user_id', j.user_id,
      'project_id', j.project_id, 'video_id', j.video_id, 'image_id', j.image_id,
      'seed', p.settings->'seed', 'seeds', made.seeds, 'num_images', made.images, 'thumbnails', made.thumbnails,
      'generation_time', case when o.status = 'completed' then ourvidz.generation_seconds(j.id, o.job_version) end)) as told
    where told.key = any (r.fields))))
  from public.jobs as j
  join ourvidz.receivers as r on r.name = o.receiver
  join public.job_events as e on e.job_id = j.id and e.version = o.job_version
  left join public.job_payloads as p on p.job_id = j.id
  left join lateral (
    select jsonb_agg(a.path order by a.index) filter (where a.kind <> 'thumbnail') as assets,
           jsonb_agg(a.seed order by a.index) filter (where a.kind <> 'thumbnail') as seeds,
           jsonb_agg(a.bucket || '/' || a.path order by a.index) filter (where a.kind = 'thumbnail') as thumbnails,
           nullif(count(*) filter (where a.kind = 'image'), 0) as images,
           min(a.bucket) filter (where a.kind <> 'thumbnail') as bucket
    from public.artifacts as a where a.job_id = j.id and a.uploaded_at is not null and a.deleted_at is null and o.status <> 'processing'
  ) as made on true
  where j.id = o.job_id
$$;
