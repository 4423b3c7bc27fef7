-- Checks claims and writes events in one statement: locks the jobs that these claims still hold and writes one event to each. Returns the
-- jobs that moved; a stale claim moves nothing. Internal, like append.
create or replace function ourvidz.append_held(p_jobs uuid[], p_claims bigint[], p_tokens uuid[], p_type text, p_data jsonb[])
returns setof uuid
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
begin
  return query
  insert into public.job_events as e (submitted_on, job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data,
                                      prev_hash, hash)
  select next.*
  -- As in lock_claims: in id order, one lookup per job.
  from (select * from unnest(p_jobs, p_claims, p_tokens, p_data) as g (id, claim_no, token, data) order by id) as given
  cross join lateral (
      select * from public.jobs as j
      where j.id = given.id and j.claim_no = given.claim_no
        and ourvidz.claim_token((select secret from ourvidz.executors where id = j.executor_id), j.id, j.claim_no) = given.token
      limit 1 for update
  ) as held
  cross join lateral ourvidz.next_event(row(held.*)::public.jobs, p_type, coalesce(given.data, '{}'), 'executor', v_now) as next
  returning e.job_id;
end
$$;
