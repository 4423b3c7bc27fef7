-- The columns of jobs that no event tells.
create or replace function ourvidz.untold() returns text[]
language sql immutable parallel safe
as $$ select '{ready,format,quality,model_type,worker_type,metadata,error_message}'::text[] $$;
