-- Raises for a claim that no longer holds its job, with the job's status and claim number.
create or replace function ourvidz.refuse_stale(p_job uuid, p_claim bigint) returns void
language plpgsql
as $$
declare
  j public.jobs;
begin
  select * into j from public.jobs where id = p_job;
  if not found then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  end if;
  raise exception 'Claim % does not hold job %: it is %, and % claims were made.', p_claim, p_job, j.status, j.claim_no
    using errcode = 'OV002', hint = 'Stop working on it; whatever this claim made is not wanted.';
end
$$;
