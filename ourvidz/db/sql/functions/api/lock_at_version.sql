-- Locks a job for a person who names the version they saw (null: none). Refuses if the job has changed since.
create or replace function ourvidz.lock_at_version(p_job uuid, p_version integer) returns public.jobs
language plpgsql
as $$
declare
  j public.jobs;
begin
  select * into j from public.jobs where id = p_job for update;
  if not found then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  elsif j.version <> p_version then
    raise exception 'Job % has moved on: it is % at version % now, not %.', p_job, j.status, j.version, p_version
      using errcode = 'OV007', hint = 'Look at it again, then decide.';
  end if;
  return j;
end
$$;
