-- Lists the columns of jobs that no event carries.
create or replace function ourvidz.other_columns() returns text[]
language sql immutable parallel safe
as $$ select '{ready,format,quality,model_type,worker_type,metadata,error_message}'::text[] $$;

-- Returns those columns' values. Kept inlinable (jobs_guard).
create or replace function ourvidz.beside(j public.jobs) returns jsonb
language sql immutable parallel safe
as $$
  select jsonb_build_object('format', j.format, 'quality', j.quality, 'model_type', j.model_type, 'worker_type', j.worker_type,
                            'metadata', j.metadata, 'error_message', j.error_message)
$$;

-- Returns the columns of a job that its first event determines; `ready` too, since no time has passed that could have changed it.
create or replace function ourvidz.event_columns(j public.jobs) returns jsonb
language sql stable parallel safe
as $$ select to_jsonb(j) - array_remove(ourvidz.other_columns(), 'ready') $$;
