"""Bring a database to this program's schema."""

from __future__ import annotations

from collections.abc import Callable

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from ourvidz.db import layer, schema, storage_policies
from ourvidz.db.reconcile import Beliefs


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "migrations:")  # the package, wherever it is installed
    return config


def migrate(
    connection: Connection,
    beliefs: Beliefs | None = None,
    *,
    keep_policies: bool = False,
    tell: Callable[[storage_policies.Applied], object] = lambda _: None,
) -> str:
    """Reconcile what is there, run the numbered migrations that are missing and apply this program's schema objects, in `connection`'s
    transaction. A database of a newer release stays as it is. Policies on Supabase's storage are looked at each time, for anybody may have
    made one since: `tell` gets what became of them. Returns the database's revision.

    `beliefs`: what is believed of what an older system's users wrote about themselves; by default nothing is. Raises `MigrationRefused`
    when something that is there cannot be brought along.
    """
    config = _config()
    config.attributes["connection"] = connection
    config.attributes["beliefs"] = beliefs
    command.upgrade(config, "head")
    if layer.standing(connection) is layer.Standing.CURRENT:
        tell(storage_policies.apply(connection, keep=keep_policies))
    found = current(connection)
    assert found is not None
    return found


def head() -> str:
    """The newest revision this program knows."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def current(connection: Connection) -> str | None:
    """The database's revision, or None when it was never migrated."""
    if connection.execute(text("select to_regclass('ourvidz.alembic_version')")).scalar() is None:
        return None
    revision: str | None = connection.execute(text("select version_num from ourvidz.alembic_version")).scalar()
    return revision


def pending(connection: Connection) -> list[str]:
    """What `migrate` would do here, and what would keep it from it, in a person's words; empty where all is as it should be."""
    found, wanted = current(connection), head()
    told: list[str] = []
    if found != wanted:
        told.append(f"schema {found or '(none)'} → {wanted}")
    elif layer.standing(connection) is layer.Standing.OLDER:
        told.append("functions, views, policies or copied tables differ from this program's: they are replaced")
    older = connection.execute(text("select to_regclass('public.jobs') is not null and to_regclass('ourvidz.jobs') is null")).scalar()
    if older and found is None:
        rows = connection.execute(text("select coalesce(status::text, '(none)'), count(*) from public.jobs group by 1 order by 1")).all()
        told.append(
            f"the older system's jobs are put aside as ourvidz.older_jobs, and imported: {', '.join(f'{n} {s}' for s, n in rows) or 'none'}"
        )
    told += [f"{leak}: it is dropped" for leak in storage_policies.leaks(connection)]
    if told:
        told += [f"not allowed here: {what}" for what in _lacks(connection)]
    return told


def _lacks(connection: Connection) -> list[str]:
    """The rights that a migration needs and this role has not."""
    sql = """select r.rolname, has_database_privilege(current_database(), 'create') as schemas,
                    r.rolsuper or r.rolcreaterole or not exists (
                      select from unnest(cast(:roles as text[])) as name
                      where not exists (select from pg_roles where rolname = name)) as roles,
                    has_schema_privilege('public', 'create') as tables
             from pg_roles as r where r.rolname = current_user"""
    may = connection.execute(text(sql), {"roles": list(schema.ROLES)}).mappings().one()
    words = {
        "schemas": "create a schema in this database",
        "roles": "create roles, of which some are missing",
        "tables": "create tables in schema public",
    }
    return [f"role {may['rolname']} may not {words[right]}" for right in words if not may[right]]
