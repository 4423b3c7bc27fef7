-- A database that OurVidz's older system lives in. Its jobs are put aside whole, in ourvidz.older_jobs, to be imported once the functions
-- are there (ourvidz.import_older); its other tables stay where they are and are made complete. Elsewhere this finds nothing to do.
do $$
declare
  v_found record;
begin
  if to_regclass('public.jobs') is not null
     and not exists (select from pg_attribute where attrelid = to_regclass('public.jobs') and attname = 'head_hash') then
    if exists (select from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'jobs') then
      alter publication supabase_realtime drop table public.jobs;
    end if;
    alter table public.jobs set schema ourvidz;
    alter table ourvidz.jobs rename to older_jobs;
    alter table ourvidz.older_jobs enable row level security;
    comment on table ourvidz.older_jobs is 'The older system''s jobs as they were when its database was brought here. Nobody writes to it but erasure.';
  end if;

  for v_found in
    select c.oid::regclass as relation, p.polname from pg_policy as p join pg_class as c on c.oid = p.polrelid
    where c.relname in ('profiles', 'characters', 'projects', 'videos', 'usage_logs') and c.relnamespace = 'public'::regnamespace
       or c.oid = to_regclass('ourvidz.older_jobs')
  loop
    -- Policies add up: an older one that lets in more would undo ours.
    raise notice 'policy "%" on % gives way to those of this program', v_found.polname, v_found.relation;
    execute format('drop policy %I on %s', v_found.polname, v_found.relation);
  end loop;

  for v_found in
    select c.oid::regclass as relation, a.attname
    from pg_attribute as a join pg_class as c on c.oid = a.attrelid join pg_type as t on t.oid = a.atttypid
    where t.typtype = 'e' and c.relnamespace = 'public'::regnamespace
      and (c.relname, a.attname) in (('profiles', 'subscription_status'), ('videos', 'status'), ('videos', 'resolution'), ('usage_logs', 'action'))
  loop
    -- A closed list of the older system's words: ours are others, and checked where they are used.
    execute format('alter table %s alter column %I drop default, alter column %2$I type text using %2$I::text', v_found.relation, v_found.attname);
  end loop;
end
$$;
