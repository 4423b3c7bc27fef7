-- Drops policies on our tables that are not ours: policies add up, so one that allows more would defeat ours. Ours are named 'role verb'.
create or replace function pg_temp.plan_policies() returns void language plpgsql as $$
declare
  p record;
begin
  for p in
    select pol.polname as name, c.relname as relation, c.oid = pg_temp.older_jobs() as aside
    from pg_policy as pol join pg_class as c on c.oid = pol.polrelid
    where c.relnamespace = 'public'::regnamespace and c.relname in (select name from our_tables)
      and pol.polname !~ '^(anon|authenticated|service_role|ourvidz_[a-z]+) (select|insert|update|delete)$'
    order by 2, 1
  loop
    perform pg_temp.step(2, format('policy "%s" on public.%s', p.name, p.relation), 'dropped: who may do what is this program''s to say',
      format('drop policy %I on %s', p.name, case when p.aside then 'ourvidz.older_jobs' else format('public.%I', p.relation) end));
  end loop;
end
$$;

-- Fixes views in schema public that read tables under row-level security with their owner's rights: whoever may read such a view reads
-- everybody's rows. Sets security_invoker; a materialized view has no such option, so the API roles lose the right to read it.
create or replace function pg_temp.plan_views() returns void language plpgsql as $$
declare
  v record;
begin
  for v in
    select c.relname as name, c.relkind = 'm' as kept
    from pg_class as c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'm') and c.relname <> all ('{job_timeline,queue_depth,job_durations}')
      and not coalesce(c.reloptions && '{security_invoker=true,security_invoker=on,security_invoker=1}', false)
      and (c.relkind = 'v' or exists (select from unnest('{anon,authenticated}'::text[]) as role (name) join pg_roles as r on r.rolname = role.name
                                      where has_table_privilege(r.oid, c.oid, 'select')))
      and exists (select from pg_rewrite as r join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
                  join pg_class as t on t.oid = d.refobjid and t.oid <> c.oid
                  where r.ev_class = c.oid and (t.relrowsecurity or t.relnamespace = 'public'::regnamespace and t.relname in (select name from our_tables)))
    order by c.relname
  loop
    if v.kept then
      perform pg_temp.step(9, 'materialized view public.' || v.name, 'it keeps rows of everybody: anon and authenticated may not read it any more',
                           format('revoke select on public.%I from anon, authenticated, public', v.name));
    else
      perform pg_temp.step(9, 'view public.' || v.name, 'it read past row-level security; asks with its reader''s rights from now on',
                           format('alter view public.%I set (security_invoker = true)', v.name)
                           || case when exists (select from pg_roles where rolname = 'authenticated') and has_table_privilege('authenticated', format('public.%I', v.name), 'select')
                                   then format('; grant select on public.%I to ourvidz_admin', v.name) else '' end);
    end if;
  end loop;
end
$$;

-- Views on the legacy jobs follow that table when it is moved aside, and would show no new job. Those that also work over the new
-- public.jobs are redefined (ourvidz.repoint_legacy): tried on a temporary table with its columns. Others are only reported.
create or replace function pg_temp.plan_job_views() returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v record;
begin
  if pg_temp.older_jobs() is null then
    return;
  end if;
  execute (select format('create temp table jobs (%s)', string_agg(quote_ident(name) || ' ' || type, ', ')) from pg_temp.our_jobs_columns);
  for v in
    select distinct c.oid, n.nspname || '.' || c.relname as name, c.relkind = 'm' as kept
    from pg_rewrite as r join pg_class as c on c.oid = r.ev_class and c.relkind in ('v', 'm') join pg_namespace as n on n.oid = c.relnamespace
    join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = pg_temp.older_jobs()
    order by 2
  loop
    begin
      if v.kept then
        raise exception 'what it keeps cannot be replaced';
      end if;
      execute 'create temp view trial_view as ' || replace(pg_get_viewdef(v.oid), 'public.jobs', 'pg_temp.jobs');
      if (select array_agg((attname, atttypid, atttypmod)::text order by attnum) from pg_attribute where attrelid = 'pg_temp.trial_view'::regclass)
         <> (select array_agg((attname, atttypid, atttypmod)::text order by attnum) from pg_attribute where attrelid = v.oid) then
        raise exception 'its columns would be of other types';
      end if;
      perform pg_temp.step(8, 'view ' || v.name, 'made again over the new public.jobs', null);
      drop view pg_temp.trial_view;
    exception when others then
      perform pg_temp.step(9, format('%sview %s', case when v.kept then 'materialized ' else '' end, v.name),
        'left reading ourvidz.older_jobs, which gets no new rows: ' || sqlerrm, null);
    end;
  end loop;
  drop table pg_temp.jobs cascade;
end
$$;
