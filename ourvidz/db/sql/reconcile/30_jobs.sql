-- Finds the legacy system's jobs: moved aside whole as ourvidz.older_jobs, and imported once the functions exist (ourvidz.import_legacy).
create or replace function pg_temp.older_jobs() returns regclass language sql as $$
  select c.oid::regclass from pg_class as c
  where c.oid = coalesce(to_regclass('public.jobs'), 0) and not exists (select from pg_attribute where attrelid = c.oid and attname = 'head_hash')
$$;

create or replace function pg_temp.plan_jobs() returns void language plpgsql as $$
declare
  v_kind "char" := (select relkind from pg_class where oid = pg_temp.older_jobs());
  v_count bigint;
  k record;
begin
  if v_kind is null then
    return;
  elsif v_kind <> 'r' then
    perform pg_temp.refuse('public.jobs', 'it is not a table', 'rename it, and make a table of jobs from it');
    return;
  elsif to_regclass('ourvidz.older_jobs') is not null then
    perform pg_temp.refuse('ourvidz.older_jobs', 'it is there already, and so are older jobs in public.jobs', 'find out which of them is the one, and rename the other');
    return;
  end if;
  perform pg_temp.plan_jobs_rows();
  execute 'select count(*) from public.jobs' into v_count;
  if exists (select from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'jobs') then
    perform pg_temp.step(1, 'publication supabase_realtime', 'drops the older public.jobs: the new one joins it', 'alter publication supabase_realtime drop table public.jobs');
  end if;
  perform pg_temp.step(1, 'table public.jobs', format('put aside as ourvidz.older_jobs with %s rows, which are imported', v_count),
    E'create schema if not exists ourvidz;\nalter table public.jobs set schema ourvidz;\nalter table ourvidz.jobs rename to older_jobs;\n'
    'alter table ourvidz.older_jobs enable row level security;\n'
    'comment on table ourvidz.older_jobs is ''The older system''''s jobs as they were when its database was brought here. Nobody writes to it but erasure.''');
  -- The copy stays as it is, whatever happens to pictures, videos and projects. A user's rows are deleted with the user.
  for k in
    select conname from pg_constraint where contype = 'f' and conrelid = pg_temp.older_jobs()
      and confrelid not in (coalesce(to_regclass('public.profiles'), 0), coalesce(to_regclass('auth.users'), 0), conrelid)
       or contype = 'f' and conrelid = pg_temp.older_jobs() and confdeltype <> 'c' and confrelid <> conrelid
  loop
    perform pg_temp.step(2, format('foreign key %s of public.jobs', k.conname), 'dropped: the copy put aside keeps its rows',
                         format('alter table ourvidz.older_jobs drop constraint %I', k.conname));
  end loop;
  for k in select tgname from pg_trigger where tgrelid = pg_temp.older_jobs() and not tgisinternal and tgenabled <> 'D' order by tgname loop
    perform pg_temp.step(2, format('trigger %s of public.jobs', k.tgname), 'put aside with its table, and disabled',
                         format('alter table ourvidz.older_jobs disable trigger %I', k.tgname));
  end loop;
  -- After the import: ourvidz.repoint_legacy.
  for k in
    select conname, conrelid::regclass::text as relation from pg_constraint
    where contype = 'f' and confrelid = pg_temp.older_jobs() and conrelid <> confrelid order by 2, 1
  loop
    perform pg_temp.step(9, format('foreign key %s of %s', k.conname, case when k.relation like '%.%' then k.relation else 'public.' || k.relation end), 'names the new public.jobs', null);
  end loop;
end
$$;

-- Checks that the import can read its columns. Through text: independent of the columns' types.
create or replace function pg_temp.plan_jobs_rows() returns void language plpgsql as $$
declare
  c record;
  v_bad bigint;
begin
  for c in select * from (values ('id', 'uuid', true), ('user_id', 'uuid', true), ('job_type', 'text', true), ('status', 'text', true), ('metadata', 'jsonb', false),
                                 ('created_at', 'timestamptz', false), ('completed_at', 'timestamptz', false), ('updated_at', 'timestamptz', false),
                                 ('project_id', 'uuid', false), ('video_id', 'uuid', false), ('image_id', 'uuid', false)) as v (name, type, needed) loop
    if not exists (select from pg_attribute where attrelid = 'public.jobs'::regclass and attname = c.name and not attisdropped) then
      if c.needed then
        perform pg_temp.refuse(format('column %s of public.jobs', c.name), 'it is missing, and the import cannot do without', format('alter table public.jobs add column %I %s, filled', c.name, c.type));
      end if;
      continue;
    end if;
    begin
      execute format('select count((to_jsonb(o)->>%L)::%s) from public.jobs as o', c.name, c.type);
    exception when others then
      perform pg_temp.refuse(format('column %s of public.jobs', c.name), format('a value in it is not of type %s: %s', c.type, sqlerrm), 'correct those rows, or delete them');
    end;
  end loop;
  execute 'select count(*) from (select from public.jobs as o group by to_jsonb(o)->>''id'' having count(*) > 1 or (to_jsonb(o)->>''id'') is null) as twice' into v_bad;
  if v_bad > 0 then
    perform pg_temp.refuse('rows of public.jobs', 'ids must be unique and not null, and some are not', 'select id, count(*) from public.jobs group by id having count(*) > 1 or id is null');
  end if;
end
$$;
