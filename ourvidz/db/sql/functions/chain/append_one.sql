-- append_held for one claim, the common case: a lookup by key instead of arrays, a boolean instead of a set. False: the claim was stale.
create or replace function ourvidz.append_one(p_job uuid, p_claim bigint, p_token uuid, p_type text, p_data jsonb) returns boolean
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  insert into public.job_events (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                 prev_hash, hash)
  select next.*
  from (
    select * from public.jobs as j
    where j.id = p_job and j.claim_no = p_claim
      and ourvidz.claim_token((select secret from ourvidz.executors where id = j.executor_id), j.id, j.claim_no) = p_token
    limit 1 for update
  ) as held
  cross join lateral ourvidz.next_event(row(held.*)::public.jobs, p_type, coalesce(p_data, '{}'), 'executor', v_now) as next;
  return found;
end
$$;
