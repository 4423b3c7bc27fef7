-- The fence: locks those of the jobs that these claims still hold, and returns their places in the arrays. A stale claim locks nothing.
create or replace function ourvidz.lock_claims(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) returns integer[]
language plpgsql
as $$
declare
  v_held integer[];
begin
  with fenced as materialized (
    select given.n
    from unnest(p_jobs, p_claims, p_tokens) with ordinality as given (id, claim_no, token, n)
    join public.jobs as j on j.id = given.id
    -- A subquery, not a join: joined, the planner may start from the executor and walk all that it holds.
    where j.claim_no = given.claim_no
      and ourvidz.claim_token((select secret from ourvidz.executors where id = j.executor_id), j.id, j.claim_no) = given.token
    order by j.id
    for update of j
  )
  select coalesce(array_agg(n::integer), '{}') into v_held from fenced;
  return v_held;
end
$$;
