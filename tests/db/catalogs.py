"""Snapshots of a database's catalogs: every object that a migration may touch."""

from __future__ import annotations

from ourvidz.db.connection import Database

CATALOG = """
  select 'table ' || c.oid::regclass as object, format('%s %s', c.relrowsecurity, c.reloptions) as definition
  from pg_class as c where c.relnamespace in (select oid from ours) and c.relkind in ('r', 'p')
  union all select format('index %s on %s', c.relname, i.indrelid::regclass), pg_get_indexdef(c.oid)
  from pg_class as c join pg_index as i on i.indexrelid = c.oid
  where c.relnamespace in (select oid from ours) and c.relkind = 'i' and not exists (select from pg_constraint where conindid = c.oid)
  union all select format('column %s.%s', a.attrelid::regclass, a.attname),
                   format('%s %s %s', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
  from pg_attribute as a join pg_class as c on c.oid = a.attrelid left join pg_attrdef as d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
  where c.relnamespace in (select oid from ours) and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
  union all select format('constraint %s.%s', conrelid::regclass, conname), format('%s %s', pg_get_constraintdef(oid), convalidated)
  from pg_constraint
  where connamespace in (select oid from ours) and conrelid <> 0 and contype <> 'n'
  union all select format('trigger %s on %s', tgname, tgrelid::regclass), format('%s %s', pg_get_triggerdef(oid), tgenabled)
  from pg_trigger where not tgisinternal
  union all select 'function ' || p.oid::regprocedure, md5(p.prosrc || coalesce(p.proconfig::text, '')) from pg_proc as p
  where p.pronamespace in (select oid from ours)
  union all select 'view ' || c.oid::regclass, pg_get_viewdef(c.oid) from pg_class as c
  where c.relnamespace in (select oid from ours) and c.relkind = 'v'
  union all select format('policy %s on %s.%s', policyname, schemaname, tablename), format('%s %s %s %s', cmd, roles, qual, with_check)
  from pg_policies
  union all select 'type ' || t.oid::regtype, '' from pg_type as t join pg_class as c on c.oid = t.typrelid and c.relkind = 'c'
  where t.typnamespace in (select oid from ours)
  union all select 'schema ' || nspname, '' from pg_namespace where nspname !~ '^pg_'
  union all select format('publication %s.%s', schemaname, tablename), '' from pg_publication_tables
  union all select 'role ' || rolname, '' from pg_roles"""


def catalog(database: Database) -> dict[str, str]:
    """Each object that a migration may touch, with its definition. Names as they are under an empty search path."""
    ours = "with ours as (select oid from pg_namespace where nspname in ('public', 'ourvidz', 'auth', 'storage', 'realtime'))"
    with database.driver() as connection, connection.transaction():
        connection.execute("set local search_path = pg_catalog")
        return dict(connection.execute(f"{ours} {CATALOG}").fetchall())


RIGHTS = """
  select format('schema %s', nspname), format('%s %s', nspowner::regrole, array(select unnest(nspacl)::text order by 1))
  from pg_namespace where oid in (select oid from ours)
  union all
  select format('%s %s', c.relkind, c.oid::regclass), format('%s %s', c.relowner::regrole, array(select unnest(c.relacl)::text order by 1))
  from pg_class as c where c.relnamespace in (select oid from ours) and c.relkind in ('r', 'v', 'S')
  union all
  select format('function %s', p.oid::regprocedure), format('%s %s', p.proowner::regrole, array(select unnest(p.proacl)::text order by 1))
  from pg_proc as p where p.pronamespace in (select oid from ours)
  union all
  select format('column %s.%s', a.attrelid::regclass, a.attname), array(select unnest(a.attacl)::text order by 1)::text
  from pg_attribute as a join pg_class as c on c.oid = a.attrelid
  where c.relnamespace in (select oid from ours) and a.attacl is not null"""


def rights(database: Database) -> dict[str, str]:
    """Owners and grants of our objects."""
    ours = "with ours as (select oid from pg_namespace where nspname in ('public', 'ourvidz'))"
    with database.driver() as connection:
        return dict(connection.execute(f"{ours} {RIGHTS}").fetchall())
