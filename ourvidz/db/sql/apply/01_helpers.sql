-- Temporary functions that read the catalogs, for applying the schema objects and for `migrate --check`.

-- Returns the oid of an object by its name in ourvidz.schema_objects; null if there is none.
create or replace function pg_temp.object_oid(kind text, name text) returns oid language plpgsql stable as $object_oid$
begin
  return case kind
    when 'function' then to_regprocedure(name)::oid
    when 'view' then to_regclass(name)::oid
    when 'trigger' then (select oid from pg_trigger where tgname = split_part(name, ' on ', 1) and tgrelid = to_regclass(split_part(name, ' on ', 2)))
    when 'policy' then (select p.oid from pg_policy as p join pg_class as c on c.oid = p.polrelid
                        where p.polname = split_part(name, ' on ', 1) and c.oid = to_regclass(split_part(name, ' on ', 2))) end;
exception when undefined_object or invalid_schema_name then
  return null;  -- the type of an argument does not exist: Postgres 15 raises instead of returning null
end
$object_oid$;

-- Describes the objects that depend on these functions and views but are not among them or `p_ours`: dropping these would drop those too.
create or replace function pg_temp.strangers(p_dropped oid[], p_ours oid[]) returns text language sql stable as $strangers$
  with recursive hanging (classid, objid) as (
    select case when exists (select from pg_proc where oid = d) then 'pg_proc'::regclass::oid else 'pg_class'::regclass::oid end, d
    from unnest(p_dropped) as d
    union
    select step.classid, step.objid
    from hanging as h join pg_depend as d on (d.refclassid, d.refobjid) = (h.classid, h.objid)
    cross join lateral (select d.classid, d.objid
                        union all select 'pg_class'::regclass, ev_class from pg_rewrite where d.classid = 'pg_rewrite'::regclass and oid = d.objid
                       ) as step
  )
  select string_agg(pg_describe_object(classid, objid, 0), ', ')
  from hanging
  where classid not in ('pg_rewrite'::regclass, 'pg_type'::regclass)  -- their view represents them
    and objid <> all (p_dropped) and objid <> all (array_remove(p_ours, null))
$strangers$;

-- Returns this program's objects in a database from before schema objects were recorded.
create or replace function pg_temp.objects_before_the_record() returns table (kind text, name text) language sql stable as $before$
  select 'function', format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes))
  from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
  where n.nspname = 'ourvidz' or n.nspname = 'public' and p.proowner = to_regrole('ourvidz_owner')
  union all
  select 'view', format('%I.%I', n.nspname, c.relname)
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  where c.relkind = 'v' and (n.nspname = 'ourvidz' or n.nspname = 'public' and c.relowner = to_regrole('ourvidz_owner'))
  union all
  select 'trigger', format('%I on %I.%I', t.tgname, n.nspname, c.relname)
  from pg_trigger as t join pg_class as c on c.oid = t.tgrelid join pg_namespace as n on n.oid = c.relnamespace
  join pg_proc as p on p.oid = t.tgfoid join pg_namespace as f on f.oid = p.pronamespace
  where not t.tgisinternal and n.nspname in ('ourvidz', 'public') and f.nspname = 'ourvidz'
$before$;

-- Returns the policies listed by a query like policies.sql, each with its statement and its grant.
create or replace function pg_temp.policies(p_query text)
returns table (name text, relation text, policy text, statement text, digest text, grants text)
language plpgsql stable as $policies$
begin
  return query execute format($query$
    select format('%%s %%s on public.%%s', w.role, w.verb, w.name), format('public.%%I', w.name), w.role || ' ' || w.verb, s.statement,
           encode(sha256(convert_to(s.statement, 'UTF8')), 'hex'),
           format('grant %%s%%s on public.%%I to %%I', w.verb, coalesce('(' || w.columns || ')', ''), w.name, w.role)
    from (%s) as w
    cross join lateral (select format('create policy %%I on public.%%I for %%s to %%I %%s', w.role || ' ' || w.verb, w.name, w.verb, w.role,
      case when w.verb = 'insert' then '' else format('using (%%s) ', w.whose) end
      || case when w.verb in ('insert', 'update') then format('with check (%%s)', w.whose) else '' end)) as s (statement) $query$, p_query);
end
$policies$;

-- Returns the rights on an object of our roles and PUBLIC, except its owner.
create or replace function pg_temp.rights(p_acl aclitem[], p_kind "char", p_owner oid) returns jsonb language sql stable as $rights$
  select coalesce(jsonb_agg(distinct format('%s %s', coalesce(r.rolname, 'public'), lower(a.privilege_type))), '[]')
  from aclexplode(coalesce(p_acl, acldefault(p_kind, p_owner))) as a left join pg_roles as r on r.oid = a.grantee
  where a.grantee <> p_owner and (a.grantee = 0 or r.rolname in ('anon', 'authenticated', 'service_role') or r.rolname like 'ourvidz\_%')
$rights$;

-- Returns the catalogs' state of each of our schema objects and tables, in values that survive a dump: no oids.
create or replace function pg_temp.catalog_states() returns table (kind text, name text, state jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp as $states$
#variable_conflict use_column
begin
  return query
  with object as materialized (
    select o.kind, o.name, pg_temp.object_oid(o.kind, o.name) as oid from ourvidz.schema_objects as o
    where o.kind in ('function', 'view', 'trigger', 'policy')
  )
  select o.kind, o.name, jsonb_build_object('owner', p.proowner::regrole, 'rights', pg_temp.rights(p.proacl, 'f', p.proowner),
    'definition', md5(format('%s %s %s %s %s %s', p.prosrc, p.prosecdef, p.proconfig, p.provolatile, p.prorettype::regtype, p.proargnames)))
  from object as o join pg_proc as p on o.kind = 'function' and p.oid = o.oid
  union all
  select o.kind, o.name, jsonb_build_object('owner', c.relowner::regrole, 'rights', pg_temp.rights(c.relacl, 'r', c.relowner),
    'definition', md5(regexp_replace(format('%s %s', pg_get_viewdef(c.oid), c.reloptions), '[() \n]', '', 'g')))
  from object as o join pg_class as c on o.kind = 'view' and c.oid = o.oid
  union all
  select o.kind, o.name, jsonb_build_object('fires', t.tgenabled, 'definition', md5(regexp_replace(pg_get_triggerdef(t.oid), '[() ]', '', 'g')))
  from object as o join pg_trigger as t on o.kind = 'trigger' and t.oid = o.oid
  union all
  -- Without brackets: Postgres prints fewer of them when it has parsed its own output.
  select o.kind, o.name, jsonb_build_object('definition', md5(regexp_replace(format('%s %s %s %s %s', p.polcmd, p.polpermissive,
    array(select r::regrole::text from unnest(p.polroles) as r order by 1),
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)), '[() ]', '', 'g')))
  from object as o join pg_policy as p on o.kind = 'policy' and p.oid = o.oid
  union all
  select 'table', c.oid::regclass::text, jsonb_build_object('owner', c.relowner::regrole,
    'rights', pg_temp.rights(c.relacl, case when c.relkind = 'S' then 's' else 'r' end::"char", c.relowner)
              || (select coalesce(jsonb_agg(format('%s %s', a.attname, pg_temp.rights(a.attacl, 'c', c.relowner)) order by a.attnum), '[]')
                  from pg_attribute as a where a.attrelid = c.oid and a.attacl is not null),
    'row-level security', c.relrowsecurity, 'replica identity', c.relreplident)
  from pg_class as c
  where c.relkind in ('r', 'p', 'S')
    and (c.relnamespace = 'ourvidz'::regnamespace or c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations()))
  union all
  select 'schema', n.nspname, jsonb_build_object('rights', pg_temp.rights(n.nspacl, 'n', n.nspowner))
  from pg_namespace as n where n.nspname in ('ourvidz', 'public')
  union all
  select 'role', r.rolname, jsonb_build_object('settings', (
      select coalesce(jsonb_agg(said order by said), '[]') from pg_db_role_setting as s, unnest(s.setconfig) as said
      where s.setrole = r.oid and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
        and said like 'pgrst.db\_pre\_request=%'))
  from pg_roles as r where r.rolname in ('anon', 'authenticated', 'service_role', 'authenticator') or r.rolname = any (
    '{ourvidz_owner,ourvidz_executor,ourvidz_intake,ourvidz_deliverer,ourvidz_analyst,ourvidz_admin}')
  union all
  select 'publication', 'supabase_realtime', jsonb_build_object('tables', coalesce(jsonb_agg(tablename order by tablename), '[]'))
  from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public' and tablename in ('jobs', 'images', 'videos')
  union all
  select 'sign-up', t.tgname, jsonb_build_object('fires', t.tgenabled)
  -- By joins: an executor may not name auth.users.
  from pg_trigger as t join pg_class as c on c.oid = t.tgrelid join pg_namespace as n on n.oid = c.relnamespace
  where n.nspname = 'auth' and c.relname = 'users' and t.tgname in ('ourvidz_profile', 'ourvidz_roles');
end
$states$;

-- Returns what has changed since the schema objects were last applied, and how: by a restore without owners, rights or roles, or by hand.
-- Empty for a database from before this was recorded.
create or replace function pg_temp.drift() returns table (kind text, name text, what text) language plpgsql stable as $drift$
#variable_conflict use_column
begin
  if to_regclass('ourvidz.catalog_states') is null then
    return;
  end if;
  return query
  select was.kind, was.name,
         case when now.state is null then 'missing'
              else (select string_agg(key, ', ' order by key) from jsonb_each(was.state) as old where now.state->key is distinct from old.value) end
  from ourvidz.catalog_states as was left join pg_temp.catalog_states() as now using (kind, name)
  where now.state is distinct from was.state;
end
$drift$;
