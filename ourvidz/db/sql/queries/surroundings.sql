-- Checks what surrounds our tables in a Supabase project or a copy of one. Each array lists what is wrong. Reads the catalogs only: an
-- executor's login, which runs this too, may not even name a table of schemas auth and storage.
select
  array(select name from unnest(%(roles)s::text[]) as name
        where not exists (select from pg_roles where rolname = name)) as roles_missing,
  array(select r.rolname::text from pg_roles as r
        where r.rolname in ('anon', 'authenticated', 'service_role')
          and not exists (select from pg_auth_members as m join pg_roles as a on a.oid = m.member and a.rolname = 'authenticator'
                          where m.roleid = r.oid)) as not_authenticators,
  array(select c.oid::regclass::text from pg_class as c
        where c.relowner <> to_regrole('ourvidz_owner') and c.relkind in ('r', 'p', 'v')
          and (c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations())
               or c.relnamespace = 'ourvidz'::regnamespace and c.relname <> 'alembic_version')) as strangers,
  array(select c.relname::text from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity
          and c.relname = any (ourvidz.our_relations())) as unguarded,
  -- Of tables that are not ours too: anybody can reach a table in schema public by its URL.
  array(select c.relname::text from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity
          and has_table_privilege('anon', c.oid, 'select, insert, update, delete')) as open_to_all,
  (select has_schema_privilege('anon', 'ourvidz', 'usage') or has_schema_privilege('authenticated', 'ourvidz', 'usage')) as inside_open,
  array(select name from unnest('{jobs,videos}'::text[]) as name
        where not exists (select from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = name)
       ) as not_realtime,
  exists (select from pg_trigger where tgname = 'ourvidz_profile') as signs_up,
  exists (select from pg_db_role_setting as s join pg_roles as r on r.oid = s.setrole and r.rolname = 'authenticator',
                 unnest(s.setconfig) as told where told like 'pgrst.db_pre_request=%%before_request') as asks_before,
  exists (select from pg_policies where schemaname = 'storage' and tablename = 'objects' and policyname like 'ourvidz%%') as storage_policed
