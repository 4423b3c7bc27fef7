-- Our functions look rows up by key, and must go on doing so when a table has grown since they were planned: a session keeps its plans, and
-- statistics are those of the last ANALYZE. Planned over an empty table each look-up would read all of it, and a statement of 100,000 rows
-- would never end (docs/decisions/0052). Where nothing but a sequential scan will do, this leaves it as it is. Without jit: before
-- Postgres 18 a scan that is off but unavoidable counts as expensive enough to be compiled, 0.4 s a call.
-- CREATE OR REPLACE FUNCTION takes settings away, so they are set whenever schema objects are applied.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_proc as p join pg_language as l on l.oid = p.prolang
    where p.pronamespace = 'ourvidz'::regnamespace and p.prokind = 'f'
      and (l.lanname = 'plpgsql' or l.lanname = 'sql' and p.prosecdef)  -- a setting would keep other SQL functions from being inlined
      and p.provolatile <> 'i' and p.proconfig @> '{enable_seqscan=off,jit=off}' is not true
  loop
    execute format('alter function %s set enable_seqscan = off set jit = off', v_function);
  end loop;
end
$$;
