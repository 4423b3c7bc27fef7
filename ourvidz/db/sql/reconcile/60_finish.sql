-- What has to wait until the new tables and functions are there, and the older jobs are imported.
do $$
declare
  s record;
begin
  for s in select * from plan where phase >= 8 and statement is not null order by phase, n loop
    execute s.statement;
  end loop;
end
$$;
drop table pg_temp.plan, pg_temp.wanted_columns, pg_temp.conversions, pg_temp.wanted_checks, pg_temp.wanted_keys, pg_temp.our_writes,
  pg_temp.our_tables, pg_temp.our_jobs_columns cascade;
