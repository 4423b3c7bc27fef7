"""Simulates programs of other releases, as a database sees them: this program's SQL with changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ourvidz.db import schema_files, schema_objects
from ourvidz.db.connection import Database

ADDED = """create or replace function ourvidz.added(p_job uuid) returns integer language sql as $$ select 1 $$;"""


@contextmanager
def program(monkeypatch: pytest.MonkeyPatch, *, release: int = 1, **changed: Any) -> Iterator[None]:
    """Pretend to be a program `release` releases later with other SQL: `changed` maps a part's name (`/` as `__`) to SQL to append, or
    to a function of the part's text."""
    parts = dict(schema_files.parts())
    for name, change in changed.items():
        part = name.replace("__", "/") + ".sql"
        parts[part] = change(parts[part]) if callable(change) else f"{parts.get(part, '')};\n{change}"
    numbered = schema_objects.numbered()
    with monkeypatch.context() as patched:
        patched.setattr(schema_files, "parts", lambda: iter(parts.items()))
        patched.setattr(schema_objects, "numbered", lambda: schema_objects.Numbered(numbered.release + release, "", ""))
        yield


def applied(database: Database) -> bool:
    with database.transaction() as connection:
        return schema_objects.apply(connection)
