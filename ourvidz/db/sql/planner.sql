-- Sets how our functions' statements are planned. A session plans each once and keeps the plan, whatever values it is called with later:
-- - one plan for all values (force_generic_plan): by default Postgres may plan again at every call, 2 ms for a plain INSERT of a job;
-- - rows are looked up by key (enable_seqscan), however few there were at planning and whatever statistics say: with a plan made over an
--   empty table each look-up would read all of it, and a statement of 100,000 rows would never end (docs/decisions/0052). Where only a
--   sequential scan is possible, there still is one;
-- - no compilation (jit): before Postgres 18 a disabled but unavoidable scan has a cost that triggers it, 0.4 s per call.
-- CREATE OR REPLACE FUNCTION drops settings, so they are set whenever schema objects are applied.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc as p join pg_language as l on l.oid = p.prolang
    where p.pronamespace = 'ourvidz'::regnamespace and p.prokind = 'f'
      -- A setting would keep other SQL functions from being inlined.
      and (l.lanname = 'plpgsql' or l.lanname = 'sql' and (p.prosecdef or p.prorettype = 'void'::regtype))
      and p.provolatile <> 'i' and p.proconfig @> '{plan_cache_mode=force_generic_plan,enable_seqscan=off,jit=off}' is not true
  loop
    execute format('alter function %s set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off', v_function);
  end loop;
end
$$;
