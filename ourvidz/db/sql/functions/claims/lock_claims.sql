-- Fences claims: locks the jobs that these claims still hold, and returns their positions in the arrays. A stale claim locks nothing.
create or replace function ourvidz.lock_claims(p_jobs uuid[], p_claims bigint[], p_tokens uuid[]) returns integer[]
language plpgsql
as $$
begin
  return (
    select coalesce(array_agg(held.n), '{}')
    -- In the order of ids: two batches lock in the same order and cannot deadlock.
    from (select * from unnest(p_jobs, p_claims, p_tokens) with ordinality as g (id, claim_no, token, n) order by id) as given
    -- One lookup per job, by key. The planner could reorder a join to scan all jobs and compute a token for each.
    cross join lateral (
      select given.n::integer from public.jobs as j
      where j.id = given.id and j.claim_no = given.claim_no
        and ourvidz.claim_token((select secret from ourvidz.executors where id = j.executor_id), j.id, j.claim_no) = given.token
      limit 1 for update
    ) as held (n)
  );
end
$$;
