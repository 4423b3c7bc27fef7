-- Makes jobs claimable whose run_at has come, in portions. The claim itself does not test `run_at <= now()`: it would walk past every
-- future job.
create or replace function ourvidz.promote(p_limit integer default 200) returns bigint
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_rows bigint := 0;
begin
  -- The soonest job, in the order of the index: for "is any due?" the planner may prefer to scan the whole table.
  if (select run_at from public.jobs where not ready order by run_at limit 1) <= v_now then
    update public.jobs set ready = true
    -- An array is evaluated once; a subquery with a limit may be evaluated again for each row of the table.
    where id = any (array(select id from public.jobs where not ready and run_at <= v_now order by run_at limit p_limit
                          for update skip locked));
    get diagnostics v_rows = row_count;
  end if;
  return v_rows;
end
$$;
