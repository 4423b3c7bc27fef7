-- Executes the steps that need the new tables and functions, and the imported legacy jobs.
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
-- Shows pictures of jobs that ended before they had rows in images.
select ourvidz.sync_library(array(
  select distinct a.job_id from public.artifacts as a join public.jobs as j on j.id = a.job_id and j.status = 'completed'
  where a.kind = 'image' and a.uploaded_at is not null and a.deleted_at is null
    and not exists (select from public.images as i where i.job_id = a.job_id and coalesce(i.image_index, 0) = a.index)));
