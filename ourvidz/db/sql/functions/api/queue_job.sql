-- Queues a job. The functions of this file are offered by PostgREST as rpc to a user's own JWT; of the caller each reads only the claims
-- (ourvidz.caller). `config` holds settings by their client names (state/client_names.py). Without a prompt the project's is used.
-- dry_run: returns price, balance, place and what would be set aside, and queues nothing.
create or replace function public.queue_job(
  job_type text, prompt text default null, negative_prompt text default null, config jsonb default '{}', metadata jsonb default '{}',
  project_id uuid default null, video_id uuid default null, image_id uuid default null, character_id uuid default null,
  idempotency_key text default null, dry_run boolean default false
) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('queue_job', jsonb_build_object(
    'job_type', queue_job.job_type, 'prompt', queue_job.prompt, 'negative_prompt', queue_job.negative_prompt, 'config', queue_job.config,
    'metadata', queue_job.metadata, 'project_id', queue_job.project_id, 'video_id', queue_job.video_id, 'image_id', queue_job.image_id,
    'character_id', queue_job.character_id, 'idempotency_key', queue_job.idempotency_key,
    'dry_run', queue_job.dry_run))
$$;

create or replace function public.cancel_job(job_id uuid, version integer default null) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('cancel_job', jsonb_build_object('job_id', cancel_job.job_id, 'version', cancel_job.version)) $$;

-- charge: for admins and the service key, whose retry is otherwise free; a user's own retry costs what is still to be delivered.
create or replace function public.retry_job(job_id uuid, version integer default null, charge boolean default false) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('retry_job', jsonb_build_object('job_id', retry_job.job_id, 'version', retry_job.version, 'charge', retry_job.charge))
$$;

create or replace function public.job_status(job_id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('job_status', jsonb_build_object('job_id', job_status.job_id)) $$;
