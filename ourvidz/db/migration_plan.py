"""Dry run of `ourvidz migrate`: what it would do to a database, object by object, and what it would refuse, read from the catalogs alone.
Trials use temporary objects and are rolled back, so nothing changes and no table is locked against anybody (docs/decisions/0028)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from sqlalchemy import Connection, text

from ourvidz.db import migrate, migration_changes, reconcile, schema_files, schema_objects, statements, storage_policies


@dataclass(frozen=True)
class Step:
    """`action` (create, replace, drop, add, alter, import …) on `object`, under the heading `group`. With `refused`, nothing at all is done
    until somebody follows the `remedy`."""

    group: str
    action: str
    object: str
    detail: str = ""
    refused: str | None = None
    remedy: str | None = None


def steps(connection: Connection) -> list[Step]:
    """Return all that `migrate` would do here, in its order; if this role lacks a right that it needs, only that. Empty for a database of a
    newer release, which is left as it is."""
    connection.execute(text("set local statement_timeout = 0"))  # as the migration itself
    standing = schema_objects.standing(connection)
    if standing is schema_objects.Standing.NEWER:
        return []
    changed = schema_objects.drift(connection)
    apply = standing is schema_objects.Standing.OLDER or bool(changed)
    lacking = [*_parts_missing(connection), *_rights(connection)] if apply else []
    if lacking:
        return lacking  # the rest could not even be tried
    found = _reconciled(connection)
    if apply:
        made = {step.object.removeprefix("table ") for step in found if step.detail.startswith("made")}
        named = {match[1] for step in found if (match := re.match(r"policy (.*)", step.object.replace('"', "")))}
        found = [*_roles(connection), *found, *_numbered(connection, made), *_order_of_events(connection), *_changed(changed)]
        found += [step for step in _objects(connection, changed) if step.object not in named]
    return [*found, *_storage(connection, found), *_jobs(connection)]


def _rights(connection: Connection) -> Iterator[Step]:
    """Rights that a migration needs and this role lacks."""
    sql = """select r.rolname, has_database_privilege(current_database(), 'create') as schemas,
                    r.rolsuper or r.rolcreaterole or cardinality(cast(:missing as text[])) = 0 as roles,
                    has_schema_privilege('public', 'create') as tables
             from pg_roles as r where r.rolname = current_user"""
    missing = [step.object for step in _roles(connection)]
    may = connection.execute(text(sql), {"missing": missing}).mappings().one()
    needed = {
        "schemas": ("create schemas in this database", "grant create on database {database} to {role}"),
        "roles": (f"create roles ({', '.join(missing)})", "alter role {role} createrole"),
        "tables": ("create tables in schema public", "grant create on schema public to {role}"),
    }
    database = connection.execute(text("select quote_ident(current_database())")).scalar_one()
    for right, (what, remedy) in needed.items():
        if not may[right]:
            role = may["rolname"]
            yield Step("Rights", "lack", what, "", f"role {role} may not {what}", remedy.format(database=database, role=role))

    # Objects of another owner: a superuser restored them, or this role may not take the owner's role.
    sql = """select owner::regrole::text as owner, count(*) as n from (
               select relowner as owner from pg_class where relkind in ('r', 'p', 'v')
                 and (relnamespace = to_regnamespace('ourvidz') or relnamespace = 'public'::regnamespace and relname = any (:ours))
               union all select proowner from pg_proc where pronamespace = to_regnamespace('ourvidz')
               union all select nspowner from pg_namespace where nspname = 'ourvidz'
             ) as things where not pg_has_role(current_user, owner, 'usage') group by 1 order by 1"""
    for row in connection.execute(text(sql), {"ours": _OURS_IN_PUBLIC}):
        what, role = f"{row.n} tables, views and functions of {row.owner}", may["rolname"]
        remedy = f"run this as {row.owner} or as a superuser, or let one of them run: grant {row.owner} to {role}"
        yield Step("Rights", "lack", f"change {what}", "", f"role {role} may not change them", remedy)


_OURS_IN_PUBLIC = ["jobs", "job_payloads", "job_events", "artifacts"]
"""Made by our migrations alone; every other table in schema public may be a project's own."""


def _parts_missing(connection: Connection) -> Iterator[Step]:
    """Detect that schema public alone was restored: the record of the schema and the ledger were left behind."""
    sql = """select exists (select from pg_attribute where attrelid = to_regclass('public.jobs') and attname = 'head_hash')
                    and to_regclass('ourvidz.alembic_version') is null"""
    if connection.execute(text(sql)).scalar():
        refused = "its jobs are this program's, and schema ourvidz, which holds their tokens and messages, is not there"
        yield Step(
            "Rights",
            "lack",
            "schema ourvidz",
            "",
            refused,
            "restore schema ourvidz out of the same dump (pg_dump --schema=public --schema=ourvidz)",
        )


def _roles(connection: Connection) -> Iterator[Step]:
    sql = "select name from unnest(cast(:roles as text[])) as name where to_regrole(quote_ident(name)) is null"
    for name in connection.execute(text(sql), {"roles": list(schema_files.ROLES)}).scalars():
        yield Step("Roles", "create", str(name))


def _changed(drift: list[schema_objects.Drift]) -> Iterator[Step]:
    """Drift that is reset but not replaced: owners and rights of tables, roles, the publication."""
    for one in drift:
        if one.kind not in ("function", "view", "trigger", "policy"):
            yield Step("Changed since the last time", "set again", f"{one.kind} {one.name}", one.what)


def _reconciled(connection: Connection) -> list[Step]:
    """Changes to existing tables, as `reconcile` plans them, and which of the product's tables are made."""
    with connection.begin_nested() as tried:  # it works on temporary tables
        plan = reconcile.plan(connection)
        tried.rollback()
    return [Step("What is there already", "", step.object, step.action or "", step.refused, step.remedy) for step in plan]


def _numbered(connection: Connection, made: set[str]) -> Iterator[Step]:
    """Changes by the missing numbered migrations; those to a table that is created in the same run are left out."""
    created = set(made)
    if migrate.current(connection) is None:
        yield Step("Numbered migrations", "create", "table ourvidz.alembic_version")
    if not connection.execute(text("select to_regclass('ourvidz.locks') is not null")).scalar():
        yield Step("Numbered migrations", "create", "table ourvidz.locks")  # serialises migrations: migrate_lock.sql
    for script in migrate.missing(connection):
        group = f"Migration {script.revision}: {' '.join(script.doc.partition('. ')[0].split()).rstrip('.')}"
        found = {change: None for sql in migrate.sql_of(script) for change in migration_changes.changes(connection, sql)}
        created |= {change.object for change in found if (change.action, change.kind) == ("create", "table")}
        said = [one for one in found if one.table not in created or (one.action, one.kind) == ("create", "table")]
        yield from (Step(group, one.action, f"{one.kind} {one.object}") for one in said)
        if not said:
            yield Step(group, "run", f"migration {script.revision}")


def _order_of_events(connection: Connection) -> Iterator[Step]:
    """Change of the event order: from the server's own transaction ids to these plus an offset (sql/identity.sql)."""
    server = """select exists (select from pg_attrdef as d join pg_attribute as a on (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
                               where d.adrelid = to_regclass('public.job_events') and a.attname = 'xid'
                                 and pg_get_expr(d.adbin, d.adrelid) not like '%event_xid()')"""
    if connection.exec_driver_sql(server.replace("%", "%%")).scalar():
        yield Step("Tables", "alter", "column public.job_events.xid", "its default is ourvidz.event_xid()")


def _storage(connection: Connection, steps: list[Step]) -> Iterator[Step]:
    """This program's policies on storage.objects that are missing or whose definition changes; and those that let too much through."""
    owner = "select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass('storage.objects')"
    may = connection.execute(text(owner)).scalar()  # null where there is no storage
    changed = {"ourvidz.storage_policies()", "buckets"} & {step.object for step in steps}
    rules = next(one.sql for one in schema_objects.objects() if one.name == "ourvidz.storage_policies()")
    for name in _STORAGE_POLICY.findall(rules) if may or (steps and may is not None) else []:
        there = "select exists (select from pg_policies where schemaname = 'storage' and tablename = 'objects' and policyname = %s)"
        missing = not connection.exec_driver_sql(there, (name,)).scalar()
        if not may:
            yield Step(
                "Storage policies", "leave", f"{name} on storage.objects", "this role may not: `migrate` prints what to run as its owner"
            )
        elif missing or changed:
            yield Step("Storage policies", "create" if missing else "replace", f"{name} on storage.objects")
    for leak in storage_policies.leaks(connection):
        detail = str(leak).removeprefix(f'policy "{leak.policy}" on {leak.relation} ')
        detail += "" if may else f". This role may not drop it; as its owner run: {leak.remedy}"
        yield Step("Storage policies", "drop" if may else "leave", f"{leak.policy} on {leak.relation}", detail)


_STORAGE_POLICY = re.compile(r"\('(ourvidz \w+)', format")


# -- schema objects -------------------------------------------------------------------------------------------------------------------

_GROUPS = {
    "script": "Set-up",
    "function": "Functions",
    "view": "Views",
    "trigger": "Triggers",
    "policy": "Policies",
    "rows": "Copied tables",
}
_FREE = "drop these, run `ourvidz migrate`, and make them again"
_Key = tuple[str, str]  # kind and name


def _objects(connection: Connection, changed: list[schema_objects.Drift]) -> list[Step]:
    with connection.begin_nested() as tried:
        connection.execute(text("set local check_function_bodies = off"))
        schema_files.script(connection, schema_objects.helpers(shapes=True))
        found = list(_difference(connection, {(one.kind, one.name) for one in changed}))
        tried.rollback()
    return sorted(found, key=lambda step: list(_GROUPS.values()).index(step.group))


def _difference(connection: Connection, drifted: set[_Key]) -> Iterator[Step]:
    objects = schema_objects.objects()
    wanted = {(one.kind, one.name): one.digest for one in objects} | _policies(connection, objects)
    recorded = {key: "" if key in drifted else digest for key, digest in _recorded(connection).items()}
    there = _oids(connection, [*wanted, *recorded])
    ours = [oid for oid in there.values() if oid is not None]
    for one in objects:
        changed = recorded.get((one.kind, one.name)) != one.digest
        if one.kind == "script":
            yield from _set_up(connection, one, changed)
        elif one.kind == "rows" and changed:
            yield Step("Copied tables", "write", one.name)
        elif one.kind in ("function", "view", "trigger"):
            yield from _replaced(connection, one, there[one.kind, one.name], recorded.get((one.kind, one.name)), ours)
    for key, digest in wanted.items():
        if key[0] == "policy" and (there[key] is None or recorded.get(key) != digest):
            yield Step("Policies", "create" if there[key] is None else "replace", key[1])
    kept = {there[key] for key in wanted} - {None}
    for kind, name in recorded:
        oid = there[kind, name]
        if kind in ("function", "view", "trigger") and oid is not None and oid not in kept:
            refused = _strangers(connection, oid, ours) if kind != "trigger" else None
            yield Step(_GROUPS[kind], "drop", name, "", refused, refused and _FREE)
    others = """select p.polname || ' on public.' || c.relname from pg_policy as p join pg_class as c on c.oid = p.polrelid
                where c.relnamespace = to_regnamespace('public') and c.relname = any (%s) order by 1"""
    for (name,) in connection.exec_driver_sql(others, (_our_relations(objects, connection),)):
        if ("policy", name) not in wanted:
            yield Step("Policies", "drop", name, "one too many lets through what ours keep")


_MADE = re.compile(r"create (policy|trigger) \"?([\w ]+?)\"? (?:after [\w ]+ |before [\w ]+ )?on ([\w.]+)", re.IGNORECASE)
_PUBLISHED = re.compile(r"unnest\('\{([\w,]+)\}'::text\[\]\) as name")


def _set_up(connection: Connection, script: schema_objects.SchemaObject, changed: bool) -> Iterator[Step]:
    """Objects that a script creates in Supabase's schemas, where it may: policies, triggers, tables of the publication."""
    for kind, name, relation in dict.fromkeys(_MADE.findall(statements.bare(script.sql))):
        missing = connection.exec_driver_sql("select pg_temp.object_oid(%s, %s) is null", (kind, f"{name} on {relation}")).scalar()
        if missing or (changed and kind == "policy"):
            yield Step("Set-up", "create" if missing else "replace", f"{kind} {name} on {relation}")
    listed = _PUBLISHED.findall(script.sql) if "alter publication" in script.sql else []
    for name in (name for found in listed for name in found.split(",")):
        published = """select exists (select from pg_publication_tables
                                      where (pubname, schemaname, tablename) = ('supabase_realtime', 'public', %s))"""
        if not connection.exec_driver_sql(published, (name,)).scalar():
            yield Step("Set-up", "publish", f"public.{name}", "in publication supabase_realtime, where it is there")
    if changed and script.name not in schema_objects.EVERY_TIME:
        yield Step("Set-up", "run", script.name)


def _replaced(
    connection: Connection, one: schema_objects.SchemaObject, oid: int | None, before: str | None, ours: list[int]
) -> Iterator[Step]:
    if oid is None:
        yield Step(_GROUPS[one.kind], "create", one.name)
    elif before != one.digest:
        refused = None if _in_place(connection, one, oid) else _strangers(connection, oid, ours)
        yield Step(_GROUPS[one.kind], "replace", one.name, "", refused, refused and _FREE)


def _policies(connection: Connection, objects: list[schema_objects.SchemaObject]) -> dict[_Key, str]:
    (table,) = (one for one in objects if one.kind == "policies")
    return {
        ("policy", name): digest
        for name, digest in connection.exec_driver_sql("select name, digest from pg_temp.policies(%s)", (table.sql,))
    }


def _recorded(connection: Connection) -> dict[_Key, str]:
    """Return the schema objects that the database has, with their digests; without digests if it is older than the record."""
    if connection.execute(text("select to_regclass('ourvidz.schema_objects')")).scalar() is not None:
        rows = connection.execute(text("select kind, name, digest from ourvidz.schema_objects where kind <> 'layer'")).all()
        if rows:
            return {(row.kind, row.name): row.digest for row in rows}
    return {(row.kind, row.name): "" for row in connection.execute(text("select * from pg_temp.objects_before_the_record()"))}


def _oids(connection: Connection, keys: list[_Key]) -> dict[_Key, int | None]:
    sql = "select kind, name, pg_temp.object_oid(kind, name)::bigint as oid from unnest(%s::text[], %s::text[]) as n (kind, name)"
    rows = connection.exec_driver_sql(sql, ([kind for kind, _ in keys], [name for _, name in keys]))
    return {(row.kind, row.name): row.oid for row in rows}


def _strangers(connection: Connection, dropped: int, ours: list[int]) -> str | None:
    found = connection.exec_driver_sql("select pg_temp.strangers(%s::bigint[]::oid[], %s::bigint[]::oid[])", ([dropped], ours)).scalar()
    return f"others depend on it: {found}" if found else None


def _in_place(connection: Connection, one: schema_objects.SchemaObject, oid: int) -> bool:
    """Check if Postgres would replace it in place, by trying on a temporary one. If that cannot be tried yet, because it needs what a
    pending migration makes, assume so."""
    if one.kind == "trigger":
        return True
    name, _, rest = one.name.partition("(")
    temporary = f"pg_temp.{name.rpartition('.')[2]}"
    signature = f"{temporary}({rest}" if one.kind == "function" else temporary
    try:
        with connection.begin_nested():
            schema_files.script(connection, statements.bare(one.sql).replace(name, temporary, 1))
            found = "to_regprocedure(%s)::oid" if one.kind == "function" else "to_regclass(%s)::oid"
            return bool(connection.exec_driver_sql(f"select pg_temp.same_shape(%s::bigint::oid, {found})", (oid, signature)).scalar())
    except psycopg.Error:
        return True


def _our_relations(objects: list[schema_objects.SchemaObject], connection: Connection) -> list[str]:
    """Return what this program's ourvidz.our_relations() answers: the database may have an older one."""
    (one,) = (one for one in objects if one.name == "ourvidz.our_relations()")
    return list(connection.exec_driver_sql(statements.bare(one.sql).split("$$")[1]).scalar_one())


# -- jobs of the legacy system ----------------------------------------------------------------------------------------------------------


def _jobs(connection: Connection) -> Iterator[Step]:
    older = "select to_regclass('public.jobs') is not null and to_regclass('ourvidz.jobs') is null and not exists (select from pg_attribute"
    older += " where attrelid = to_regclass('public.jobs') and attname = 'head_hash')"
    if not connection.execute(text(older)).scalar():
        return
    rows = connection.execute(text("select coalesce(status::text, '(none)') as word, count(*) as n from public.jobs group by 1 order by 1"))
    for row in rows:
        yield Step("Jobs of the older system", "import", f"{row.n} {row.word}")
