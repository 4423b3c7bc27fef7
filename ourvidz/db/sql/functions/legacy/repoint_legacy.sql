-- Points foreign keys and views at our jobs table that followed the legacy system's table when it was renamed: foreign keys under their own
-- names, and the views that can be defined over our table.
create or replace function ourvidz.repoint_legacy() returns void
language plpgsql set search_path = pg_catalog
as $$
declare
  v record;
begin
  for v in
    select conname, conrelid::regclass as relation, replace(pg_get_constraintdef(oid), 'REFERENCES ourvidz.older_jobs', 'REFERENCES public.jobs') as definition
    from pg_constraint
    where contype = 'f' and confrelid = 'ourvidz.older_jobs'::regclass and conrelid <> 'ourvidz.older_jobs'::regclass
  loop
    execute format('alter table %s drop constraint %I, add constraint %2$I %s', v.relation, v.conname, v.definition);
  end loop;
  for v in
    select distinct c.oid, c.oid::regclass as name
    from pg_rewrite as r join pg_class as c on c.oid = r.ev_class and c.relkind = 'v'
    join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
     and d.refobjid = 'ourvidz.older_jobs'::regclass
  loop
    begin
      execute format('create or replace view %s as %s', v.name,
                     regexp_replace(replace(pg_get_viewdef(v.oid), 'ourvidz.older_jobs', 'public.jobs'), '[[:<:]]older_jobs[.]', 'jobs.', 'g'));
    exception when undefined_column or invalid_table_definition or insufficient_privilege or undefined_table then
      raise notice 'view % reads ourvidz.older_jobs: %', v.name, sqlerrm;
    end;
  end loop;
end
$$;
