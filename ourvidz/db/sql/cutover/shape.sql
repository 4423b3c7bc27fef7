-- Returns the shape of the project's own tables in schema public, as the statements that recreate each part: `ourvidz cutover switch`
-- stores it before it migrates, `ourvidz cutover back` compares it with what is there. Columns: kind, object, how made, how dropped.
with tables as (
  select c.oid, c.relname, c.oid::regclass::text as name from pg_class as c
  where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace and not exists (
    select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
), columns as (
  select t.name, a.attname, a.atttypid, a.atttypmod, a.attnotnull, t.oid as attrelid, a.attnum, a.attacl
  from tables as t join pg_attribute as a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
), rights as (  -- without the owner's
  select t.name, null::name as attname, x.grantee, x.privilege_type
  from tables as t join pg_class as c on c.oid = t.oid cross join aclexplode(c.relacl) as x where x.grantee <> c.relowner
  union all
  select k.name, k.attname, x.grantee, x.privilege_type
  from columns as k join pg_class as c on c.oid = k.attrelid cross join aclexplode(k.attacl) as x where x.grantee <> c.relowner
)
select 10 as n, 'owner' as kind, t.name as object, format('alter table %s owner to %I', t.name, pg_get_userbyid(c.relowner)) as made, null as gone
from tables as t join pg_class as c on c.oid = t.oid
union all
select 20, 'security', t.name, format('alter table %s %s row level security', t.name, case when c.relrowsecurity then 'enable' else 'disable' end), null
from tables as t join pg_class as c on c.oid = t.oid
union all
select 30, 'type', format('%s.%I', name, attname),
       format('alter table %s alter column %I type %s using %2$I::%3$s', name, attname, format_type(atttypid, atttypmod)), null
from columns
union all
select 40, 'default', format('%s.%I', k.name, k.attname), format('alter table %s alter column %I set default %s', k.name, k.attname, pg_get_expr(d.adbin, d.adrelid)),
       format('alter table %s alter column %I drop default', k.name, k.attname)
from columns as k join pg_attrdef as d on d.adrelid = k.attrelid and d.adnum = k.attnum
union all
select 41, 'not null', format('%s.%I', name, attname), format('alter table %s alter column %I set not null', name, attname),
       format('alter table %s alter column %I drop not null', name, attname)
from columns where attnotnull
union all
-- NOT VALID: existing rows may date from after the switch.
select case c.contype when 'f' then 61 else 60 end, 'constraint', format('%s.%I', t.name, c.conname),
       format('alter table %s add constraint %I %s', t.name, c.conname, regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', ''))
         || case when c.contype in ('c', 'f') then ' not valid' else '' end,
       format('alter table %s drop constraint %I', t.name, c.conname)
from tables as t join pg_constraint as c on c.conrelid = t.oid and c.contype in ('c', 'f', 'u', 'p')
union all
select 70, 'trigger', format('%s.%I', g.tgrelid::regclass, g.tgname), pg_get_triggerdef(g.oid), format('drop trigger %I on %s', g.tgname, g.tgrelid::regclass)
from pg_trigger as g where not g.tgisinternal and (g.tgrelid in (select oid from tables) or g.tgrelid = to_regclass('auth.users'))
union all
select 80, 'policy', format('%s.%I', t.name, p.policyname),
       format('create policy %I on %s as %s for %s to %s', p.policyname, t.name, p.permissive, p.cmd, (select string_agg(case r when 'public' then r else quote_ident(r) end, ', ') from unnest(p.roles) as r))
         || coalesce(' using (' || p.qual || ')', '') || coalesce(' with check (' || p.with_check || ')', ''),
       format('drop policy %I on %s', p.policyname, t.name)
from tables as t join pg_policies as p on p.schemaname = 'public' and p.tablename = t.relname
union all
select 90, 'rights', name || coalesce('.' || quote_ident(attname), '') || ' ' || coalesce(nullif(grantee, 0)::regrole::text, 'public'),
       format('grant %s on %s to %s', string_agg(privilege_type || coalesce(' (' || quote_ident(attname) || ')', ''), ', ' order by privilege_type), name, coalesce(nullif(grantee, 0)::regrole::text, 'public')),
       format('revoke all %son %s from %s', coalesce('(' || quote_ident(attname) || ') ', ''), name, coalesce(nullif(grantee, 0)::regrole::text, 'public'))
from rights group by name, attname, grantee
union all
select 50, 'view', c.oid::regclass::text,
       format('create or replace view %s%s as %s', c.oid::regclass, coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', ''), pg_get_viewdef(c.oid)),
       format('drop view %s', c.oid::regclass)
from pg_class as c where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
union all
select 20, 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid), format('drop function %s', p.oid::regprocedure)
from pg_proc as p where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and not exists (
  select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
union all
select 21, 'function owner', p.oid::regprocedure::text, format('alter function %s owner to %I', p.oid::regprocedure, pg_get_userbyid(p.proowner)), null
from pg_proc as p where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
union all
select 22, 'function rights', p.oid::regprocedure || ' ' || coalesce(nullif(x.grantee, 0)::regrole::text, 'public'),
       format('grant execute on function %s to %s', p.oid::regprocedure, coalesce(nullif(x.grantee, 0)::regrole::text, 'public')),
       format('revoke execute on function %s from %s', p.oid::regprocedure, coalesce(nullif(x.grantee, 0)::regrole::text, 'public'))
from pg_proc as p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as x
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and x.grantee <> p.proowner
union all
select 95, 'publication', format('%s in %I', t.name, r.pubname), format('alter publication %I add table %s', r.pubname, t.name), format('alter publication %I drop table %s', r.pubname, t.name)
from tables as t join pg_publication_tables as r on r.schemaname = 'public' and r.tablename = t.relname
union all
select 96, 'replica identity', t.name, format('alter table %s replica identity %s', t.name, case c.relreplident when 'f' then 'full' when 'n' then 'nothing' else 'default' end), null
from tables as t join pg_class as c on c.oid = t.oid
order by 1, 2, 3
