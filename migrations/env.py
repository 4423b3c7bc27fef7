"""Alembic's entry: what is there already is reconciled, then the numbered migrations, then the schema objects, in one transaction."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

from ourvidz.db import layer, reconcile, storage_policies
from ourvidz.db.schema import script


def run(connection: Connection) -> None:
    # A migration that cannot have its lock gives way rather than queueing the whole application behind it.
    connection.execute(text("set local lock_timeout = '10s'"))
    script(connection, layer.lock())
    if layer.standing(connection) is layer.Standing.NEWER:
        return  # its migrations may be newer than those that this program knows
    # All that is there is looked at before anything is changed, and refused whole where a part of it cannot be brought along.
    reconcile.apply(connection, context.config.attributes.get("beliefs"))
    connection.execute(text("create schema if not exists ourvidz"))
    context.configure(connection=connection, version_table_schema="ourvidz", transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    layer.apply(connection)
    if connection.execute(text("select to_regclass('ourvidz.older_jobs')")).scalar() is not None:
        connection.execute(text("select ourvidz.import_older()"))
    reconcile.finish(connection)


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = context.config.get_main_option("sqlalchemy.url") or os.environ["DATABASE_URL"]
    url = url.replace("postgresql://", "postgresql+psycopg://", 1).replace("postgres://", "postgresql+psycopg://", 1)
    with create_engine(url, poolclass=pool.NullPool, connect_args={"prepare_threshold": None}).begin() as connection:
        run(connection)
        if layer.standing(connection) is layer.Standing.CURRENT:
            storage_policies.apply(connection)  # `ourvidz migrate` does so too, and says what became of them
