"""`tests/schema.sql` is the dump of a migrated database: a pull request shows what it changes in the schema. `make schema` writes it."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

import pytest
from dump_restore import tool
from support import Server

from ourvidz.db import cluster

FILE = Path(__file__).parents[1] / "schema.sql"
MADE = "-- Made by `make schema`: the schema of a migrated database, as pg_dump of Postgres {major} prints it.\n"


def dump(server: Server, name: str) -> str:
    url = server.url(name, superuser=True)
    text = tool("pg_dump", "--schema-only", "--restrict-key=schema", "--exclude-schema=sizes", url).stdout
    text = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)  # versions, and a heading for each object
    text = re.sub(r"^(SET|\\|SELECT pg_catalog\.set_config).*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def test_schema_file_is_current(server: Server, template: str) -> None:
    major = next(cluster.find_binaries()).major
    head = MADE.format(major=major)
    if FILE.exists() and not FILE.read_text().startswith(head) and "OURVIDZ_TEST_SCHEMA" not in os.environ:
        pytest.skip(f"tests/schema.sql is of another version's pg_dump than {major}")
    found = head + dump(server, template)
    if "OURVIDZ_TEST_SCHEMA" in os.environ:
        FILE.write_text(found)
    changed = list(difflib.unified_diff(FILE.read_text().splitlines(), found.splitlines(), "tests/schema.sql", "this program", lineterm=""))
    assert not changed, "\n".join(["Run `make schema`, and read what it changes:", *changed[:80]])
