-- Grants what our policies need in Supabase's schemas, and creates our objects there (policies on storage.objects:
-- ourvidz.storage_policies). Supabase's roles own these schemas: what we may not do is skipped, and `ourvidz doctor` reports it.
do $$
declare
  p record;
begin
  for p in select * from (values
    ('usage of auth', 'grant usage on schema auth to anon, authenticated, service_role, ourvidz_admin'),
    ('usage of storage', 'grant usage on schema storage to anon, authenticated, service_role, ourvidz_admin'),
    ('tables of storage', 'grant select, insert, update, delete on storage.objects to anon, authenticated, service_role'),
    ('tables of storage', 'grant select on storage.objects to ourvidz_admin'),
    ('tables of storage', 'grant select on storage.buckets to anon, authenticated, service_role, ourvidz_admin'),
    ('pre-request', case when not pg_has_role('authenticator', 'ourvidz_admin', 'member') then 'grant ourvidz_admin to authenticator' end),
    ('pre-request', case when not exists (select from pg_db_role_setting as s, unnest(s.setconfig) as told
                                          where s.setrole = 'authenticator'::regrole and told like 'pgrst.db_pre_request=%'
                                            and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))) then
       format('alter role authenticator in database %I set pgrst.db_pre_request = ''public.before_request''', current_database()) end),
    -- The private channel to which job-callback sends: each user listens to their own.
    ('Realtime', case when to_regclass('realtime.messages') is not null then
       'drop policy if exists "ourvidz own" on realtime.messages; create policy "ourvidz own" on realtime.messages for select '
       'to authenticated using ((select realtime.topic()) = ''jobs:'' || (select auth.uid())::text)' end)
  ) as wanted (what, statement) where statement is not null loop
    begin
      execute p.statement;
    exception when insufficient_privilege then
      raise notice 'ourvidz may not set up % here: %', p.what, sqlerrm;
    when unique_violation or duplicate_object then
      raise notice '% was set up by another migration in the same moment', p.what;
    end;
  end loop;
end
$$;
