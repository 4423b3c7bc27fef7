"""The whole of `ourvidz migrate` as one plain SQL file, for `supabase/migrations` and for people who run SQL themselves.

Each part asks the database if it is still to be done, so the file works for an empty project, the legacy system's database and one of an
earlier release alike, and a second run changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from alembic.script import Script
from sqlalchemy import Connection

from ourvidz.db import concurrent_indexes, migrate, reconcile, schema_objects, session
from ourvidz.db.reconcile import Beliefs

_NEWER = """do $newer$
declare v_there integer;
begin
  if to_regclass('ourvidz.schema_objects') is not null then
    select release into v_there from ourvidz.schema_objects where kind = 'layer';
  end if;
  if v_there > {release} then
    raise exception 'The database has release %, this file is of release {release}: nothing was done.', v_there;
  end if;
end
$newer$;
"""

_RECORD = """create schema if not exists ourvidz;
create table if not exists ourvidz.alembic_version (
  version_num varchar(32) not null, constraint alembic_version_pkc primary key (version_num));
"""

_IMPORT = """do $import$
begin
  if to_regclass('ourvidz.older_jobs') is not null then
    perform ourvidz.import_legacy();
  end if;
end
$import$;
"""

_STORAGE = """do $storage$
declare v_statement text;
begin
  if to_regclass('storage.objects') is not null then
    for v_statement in select * from ourvidz.storage_policies() loop
      raise notice 'not ours to change; run it as the owner of storage.objects: %', v_statement;
    end loop;
    {leaks}
  end if;
end
$storage$;
"""


def write(connection: Connection | None = None, beliefs: Beliefs | None = None, *, keep_policies: bool = False) -> str:
    """Return the file's text. With a connection only what that database lacks; without, everything."""
    return "".join(_parts(connection, beliefs, keep_policies))


def _parts(connection: Connection | None, beliefs: Beliefs | None, keep_policies: bool) -> Iterator[str]:
    release = schema_objects.numbered().release
    yield f"-- OurVidz's database, release {release}. Written by `ourvidz migrate --sql`; do not edit. One transaction; may be run again.\n"
    yield "-- As a file of supabase/migrations, or: psql -v ON_ERROR_STOP=1 -f FILE\n\nbegin;\n"
    # A migration that times out on a lock gives way, rather than queueing the whole application behind it.
    yield "set local lock_timeout = '10s';\nset local statement_timeout = 0;\n"
    yield session.pinning()  # whoever runs the file may have other settings than our own connections
    yield schema_objects.lock()
    yield _NEWER.format(release=release)
    yield "\n-- What is there already -------------------------------------------------------------------------------------------\n\n"
    if beliefs is not None:
        yield f"do $beliefs$ begin perform set_config('ourvidz.believe', {_quoted(beliefs.setting())}, true); end $beliefs$;\n"
    yield reconcile.plan_sql() + reconcile.apply_sql()
    yield "\n-- Numbered migrations -----------------------------------------------------------------------------------------------\n\n"
    yield _RECORD
    for script in migrate.missing(connection):
        yield _numbered(script)
    yield concurrent_indexes.rebuild_invalid()
    yield "\n-- Schema objects: functions, views, triggers, policies, copied tables -----------------------------------------------\n\n"
    yield schema_objects.applying()
    yield "\n-- Jobs of the older system, and what had to wait for it -------------------------------------------------------------\n\n"
    yield _IMPORT + reconcile.finish_sql()
    yield "\n-- Policies on Supabase's storage ------------------------------------------------------------------------------------\n\n"
    yield _STORAGE.format(leaks="null;" if keep_policies else "perform ourvidz.drop_storage_leaks();")
    yield "commit;\n"


def _numbered(script: Script) -> str:
    """Return one migration, to be skipped if the database has it. Revisions are numbers with leading zeros, so they compare as text."""
    runs = "".join(f"  execute $migration$\n{sql}\n$migration$;\n" for sql in migrate.sql_of(script))
    assert runs.count("$migration$") == 2 * len(migrate.sql_of(script)), script.revision
    return f"""-- {script.revision}: {" ".join(script.doc.split())}
do $numbered$
begin
  if coalesce((select max(version_num) from ourvidz.alembic_version), '') >= '{script.revision}' then
    return;
  end if;
{runs}  delete from ourvidz.alembic_version;
  insert into ourvidz.alembic_version values ('{script.revision}');
end
$numbered$;
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
