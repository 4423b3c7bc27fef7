"""Bring a database to this program's schema."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "migrations:")  # the package, wherever it is installed
    return config


def migrate(connection: Connection) -> str:
    """Upgrade to the newest revision and lay functions over it, in `connection`'s transaction. Returns the revision."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return head()


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
