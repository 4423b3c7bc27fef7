-- Turns jobs whose run_at has come into claimable ones, in portions. Kept apart from `run_at <= now()` in the claim itself, which
-- would walk past every future job on its way.
create or replace function ourvidz.promote(p_limit integer default 200) returns bigint
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_rows bigint := 0;
begin
  -- The soonest, by the index's order: asked whether there is any due, the planner may prefer to walk the whole table.
  if (select run_at from public.jobs where not ready order by run_at limit 1) <= v_now then
    update public.jobs set ready = true
    -- An array, worked out once: a subquery with a limit may be worked out again for each row of the table.
    where id = any (array(select id from public.jobs where not ready and run_at <= v_now order by run_at limit p_limit
                          for update skip locked));
    get diagnostics v_rows = row_count;
  end if;
  return v_rows;
end
$$;
