-- Returns jobs.metadata with what the front end reads there once the job has ended, as the legacy system's callback wrote it; removes it
-- when the job starts again. Written by the event's own UPDATE: a second one in the same transaction would make Postgres check the job's
-- foreign keys, and wait for a library row whose deleter waits for this job.
create or replace function ourvidz.end_metadata(j public.jobs, p_type text) returns jsonb
language sql stable
as $$
  select case when p_type <> 'completed' then j.metadata - '{primary_asset,all_assets,generation_time}'::text[]
              else j.metadata || jsonb_strip_nulls(jsonb_build_object(
                'seed', (select settings->'seed' from public.job_payloads where job_id = j.id),
                'generation_time', ourvidz.generation_seconds(j.id, j.version + 1), 'num_images', count(*),
                'primary_asset', (array_agg(a.path order by a.index))[1], 'all_assets', coalesce(jsonb_agg(a.path order by a.index), '[]'))) end
  from public.artifacts as a
  where a.job_id = j.id and a.kind <> 'thumbnail' and a.uploaded_at is not null and a.deleted_at is null
$$;

-- The same for jobs.error_message.
create or replace function ourvidz.end_message(j public.jobs, p_type text, p_data jsonb) returns text
language sql stable
as $$
  select case p_type when 'cancelled' then 'cancelled'
                     when 'failed' then coalesce((select error_message from public.job_payloads where job_id = j.id), p_data->>'class') end
$$;
