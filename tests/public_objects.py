"""Definitions of the objects in schema public, from the catalogs, keyed by the names that a migration's plan uses."""

# ruff: noqa: E501  (SQL, as it would be typed)

from __future__ import annotations

from ourvidz.db.connection import Database

# The legacy jobs table keeps the name public.jobs here after it is set aside; the new table of that name is left out.
_OBJECTS = """
with ours as (
  select 'public.' || case when c.relname = 'older_jobs' then 'jobs' else c.relname end as name, c.*
  from pg_class as c
  where c.relkind in ('r', 'v', 'm') and case when to_regclass('ourvidz.older_jobs') is null then c.relnamespace = 'public'::regnamespace
                                         else c.oid = to_regclass('ourvidz.older_jobs') or c.relnamespace = 'public'::regnamespace and c.relname <> 'jobs' end
)
select 'table ' || name as object, format('%s %s %s %s', relrowsecurity, relforcerowsecurity, relowner::regrole, oid::regclass::text) as definition
from ours where relkind = 'r'
union all select case relkind when 'm' then 'materialized ' else '' end || 'view ' || name, pg_get_viewdef(oid) || coalesce(reloptions::text, '') || coalesce(relacl::text, '')
from ours where relkind <> 'r'
union all select format('column %s of %s', attname, name), format_type(atttypid, atttypmod) || ' ' || attnotnull
from ours join pg_attribute on attrelid = ours.oid and attnum > 0 and not attisdropped where relkind = 'r'
union all select format('default of column %s of %s', attname, name), pg_get_expr(adbin, adrelid)
from ours join pg_attrdef on adrelid = ours.oid join pg_attribute on attrelid = adrelid and attnum = adnum
union all select format('%s %s of %s', case contype when 'f' then 'foreign key' else 'constraint' end, conname, name), pg_get_constraintdef(con.oid) || confrelid
from ours join pg_constraint as con on conrelid = ours.oid where contype in ('c', 'f')
union all select format('trigger %s of %s', tgname, name), tgenabled::text || (select proname from pg_proc where oid = tgfoid)
from ours join pg_trigger on tgrelid = ours.oid where not tgisinternal
union all select format('policy "%s" on %s', polname, name), coalesce(pg_get_expr(polqual, polrelid), '') || polcmd::text
from ours join pg_policy on polrelid = ours.oid
union all select 'function public.' || p.oid::regprocedure::text, md5(p.prosrc) from pg_proc as p where pronamespace = 'public'::regnamespace
union all select 'type public.' || typname, (select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid = t.oid)
from pg_type as t where typnamespace = 'public'::regnamespace and typtype = 'e'
"""


def objects(database: Database) -> dict[str, str]:
    """Object → its definition."""
    return {r["object"]: r["definition"] for r in database.rows(_OBJECTS) if r["definition"] is not None}


def rows(database: Database, table: str) -> set[str]:
    """The rows' ids."""
    return {str(r["id"]) for r in database.rows(f"select id from {table}")}
