-- Returns the columns of a job's row that the legacy front end reads in addition to the folded ones, as the deployed queue-job wrote them:
-- for every job, however it came. The request's own metadata takes precedence. Kept inlinable (ourvidz.initial_job).
create or replace function ourvidz.legacy_columns(k ourvidz.job_types, w public.job_payloads) returns jsonb
language sql stable parallel safe
as $$
  select case when k.name is null then '{}' else jsonb_build_object(
    'format', case when k.video then 'video' else 'image' end, 'quality', case when k.fast then 'fast' else 'high' end,
    'model_type', k.name, 'worker_type', upper(k.family),
    'metadata', jsonb_build_object(
      'bucket', k.name, 'generation_format', k.name, 'model_type', k.family, 'model_variant', k.model_variant, 'queue', k.queue,
      'is_sdxl', k.family = 'sdxl', 'is_enhanced', k.enhance, 'num_images', coalesce(w.settings->'images', '1'), 'prompt', w.prompt,
      'content_type', case when k.video then 'video' else 'image' end, 'file_extension', k.extension) || coalesce(w.metadata, '{}')) end
$$;
