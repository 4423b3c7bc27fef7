"""Programs of other releases, as far as a database can tell: this one's SQL with something changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ourvidz.db import layer, schema
from ourvidz.db.connection import Database

ADDED = """create or replace function ourvidz.added(p_job uuid) returns integer language sql as $$ select 1 $$;"""


@contextmanager
def program(monkeypatch: pytest.MonkeyPatch, *, release: int = 1, **changed: Any) -> Iterator[None]:
    """As if this were a program `release` releases on, with other SQL: `changed` maps a part's name (`/` as `__`) to the SQL added to it,
    or to a function of its text."""
    parts = dict(schema.parts())
    for name, change in changed.items():
        part = name.replace("__", "/") + ".sql"
        parts[part] = change(parts[part]) if callable(change) else f"{parts.get(part, '')};\n{change}"
    numbered = layer.numbered()
    with monkeypatch.context() as patched:
        patched.setattr(schema, "parts", lambda: iter(parts.items()))
        patched.setattr(layer, "numbered", lambda: layer.Numbered(numbered.release + release, "", ""))
        yield


def applied(database: Database) -> bool:
    with database.transaction() as connection:
        return layer.apply(connection)
