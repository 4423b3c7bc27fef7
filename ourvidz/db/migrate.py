"""Bring a database to this program's schema."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text

from ourvidz.db import schema_objects, storage_policies
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
    lock_timeout: str | None = "10s",
) -> str:
    """Reconcile existing tables, run the missing numbered migrations and apply this program's schema objects, in `connection`'s
    transaction. A database of a newer release stays as it is. Policies on Supabase's storage are checked each time, because anybody may
    have made one since: `tell` gets the result. Returns the database's revision.

    `beliefs`: what to trust of what a legacy system's users wrote about themselves; by default nothing. Raises `MigrationRefused` when
    something that exists cannot be converted. `lock_timeout`: for each lock; None: as the transaction says (ourvidz.db.lock_retry).
    """
    config = _config()
    config.attributes["connection"] = connection
    config.attributes["beliefs"] = beliefs
    config.attributes["lock_timeout"] = lock_timeout
    command.upgrade(config, "head")
    if schema_objects.standing(connection) is schema_objects.Standing.CURRENT:
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


def missing(connection: Connection | None) -> list[Script]:
    """Return the numbered migrations that the database lacks, in order; all of them without a connection."""
    found = current(connection) if connection is not None else None
    scripts = list(ScriptDirectory.from_config(_config()).walk_revisions())[::-1]
    known = [script.revision for script in scripts]
    return scripts[known.index(found) + 1 :] if found in known else scripts if found is None else []


def sql_of(script: Script) -> list[str]:
    """Return a migration's SQL files, in the order in which it runs them. It consists of nothing else: `migrate --sql` writes them into
    one."""
    path = Path(script.path)
    names = [f"{script.revision}_{part}.sql" for part in getattr(script.module, "PARTS", ())] or [path.with_suffix(".sql").name]
    return [path.with_name(name).read_text(encoding="utf-8") for name in names]
