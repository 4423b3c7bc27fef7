-- Lists the job types for a front end to offer; anybody may call it. `steps` and `images` by their limits, `expected_seconds` from claim to
-- end, measured on recent jobs.
create or replace function public.job_types() returns jsonb
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select jsonb_agg(jsonb_build_object(
    'name', k.name, 'label', k.label, 'family', k.family, 'price', k.price, 'media_type', k.media_type, 'bucket', k.name,
    'bucket_bytes', k.bucket_bytes, 'enhances', k.enhance, 'needs_image', k.init_image, 'sizes', k.limits->'size'->'in',
    'steps', jsonb_build_object('min', k.limits->'steps'->0, 'max', k.limits->'steps'->1, 'default', k.defaults->'steps'),
    'images', k.limits->'images'->'in', 'references', k.limits->'slots'->'in', 'limits', (k.limits - '{slots,size}'::text[]) #- '{scheduler,same}' #- '{scheduler,noise}' #- '{sampler,same}' #- '{sampler,noise}',
    'defaults', k.defaults, 'time_limit_seconds', k.time_limit, 'expected_seconds', round(t.seconds::numeric, 1))
    order by k.family, k.video, k.price, k.name)
  from ourvidz.job_types as k
  join ourvidz.typical_seconds() as t on t.job_type = k.name
$$;
