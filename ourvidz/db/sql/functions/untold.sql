-- The columns of jobs that no event tells.
create or replace function ourvidz.untold() returns text[]
language sql immutable parallel safe
as $$ select '{ready,format,quality,model_type,worker_type,metadata,error_message}'::text[] $$;

-- A job as its first event tells it, `ready` too: a row that is born has no past in which the clock could have turned it.
create or replace function ourvidz.told(j public.jobs) returns jsonb
language sql stable parallel safe
as $$ select to_jsonb(j) - array_remove(ourvidz.untold(), 'ready') $$;
