"""Alembic's own commands, run from any folder: each works or tells what to do instead."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from alembic.config import CommandLine, Config
from support import Server

from ourvidz.config import config
from ourvidz.db import migrate, plain_sql
from ourvidz.db.connection import Database

INI = Path(__file__).parents[2] / "alembic.ini"


class Alembic:
    """`alembic -c …/alembic.ini ARGS` in this process, from an unrelated folder."""

    def __call__(self, *args: str, ini: Path = INI) -> tuple[int, str]:
        """Returns the exit code and everything printed."""
        command, printed, said = CommandLine(), StringIO(), StringIO()
        options = command.parser.parse_args(args)
        try:
            with redirect_stdout(said), redirect_stderr(said):
                command.run_cmd(Config(ini, cmd_opts=options, stdout=printed, output_buffer=printed), options)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        return code, " ".join((printed.getvalue() + said.getvalue()).split())


@pytest.fixture
def alembic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Alembic:
    monkeypatch.chdir(tmp_path)
    return Alembic()


@pytest.fixture
def here(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Sets DATABASE_URL to this test's database."""
    monkeypatch.setenv("DATABASE_URL", database.url)
    config.cache_clear()
    yield database
    config.cache_clear()


def test_read_only_commands(alembic: Alembic, here: Database) -> None:
    before = here.rows("select count(*) as n, max(xmin::text::bigint) as last from pg_class")
    assert alembic("current") == (0, f"{migrate.head()} (head)")
    assert alembic("check") == (0, "No new upgrade operations detected.")
    code, said = alembic("history", "-i")
    assert code == 0 and "(current)" in said
    assert here.rows("select count(*) as n, max(xmin::text::bigint) as last from pg_class") == before
    here.rows("update ourvidz.schema_objects set digest = ''")
    code, said = alembic("check")
    assert code != 0 and "ourvidz migrate --check" in said


def test_commands_that_need_no_database(alembic: Alembic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    config.cache_clear()
    assert alembic("heads") == (0, f"{migrate.head()} (head)")
    assert alembic("show", "head")[0] == 0
    assert "0001" in alembic("history")[1]
    assert alembic("upgrade", "head", "--sql") == (0, " ".join(plain_sql.write().split()))
    code, said = alembic("current")
    config.cache_clear()
    assert code != 0 and "cannot be reached" in said


def test_alembic_ini_is_ascii() -> None:
    assert INI.read_bytes().isascii()  # Alembic reads it in the locale's encoding


REFUSED = (
    (("downgrade", "-1"), "restore a backup"),
    (("downgrade", "head:base", "--sql"), "restore a backup"),
    (("stamp", "head"), "ourvidz migrate"),
    (("ensure_version",), "ourvidz migrate"),
    (("upgrade", "+1"), "alembic upgrade head"),
    (("upgrade", "0003"), "alembic upgrade head"),
    (("revision", "--autogenerate", "-m", "more"), "alembic revision -m TOPIC"),
    (("revision",), "-m TOPIC"),
    (("merge", "heads"), "nothing to merge"),
)


def test_refused_commands_suggest_a_remedy_and_change_nothing(alembic: Alembic, here: Database) -> None:
    before = here.rows("select count(*) as n, max(xmin::text::bigint) as last from pg_class")
    files = sorted(INI.parent.glob("migrations/versions/*"))
    for args, said in REFUSED:
        code, printed = alembic(*args)
        assert code != 0 and said in printed and "Traceback" not in printed, (args, printed)
    assert here.rows("select count(*) as n, max(xmin::text::bigint) as last from pg_class") == before
    assert migrate.head() in alembic("current")[1]
    assert sorted(INI.parent.glob("migrations/versions/*")) == files


def test_a_revision_has_the_next_number_and_its_sql(alembic: Alembic, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(INI.parent / "migrations", copy / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(INI, copy)
    number = f"{int(migrate.head()) + 1:04}"
    assert alembic("revision", "-m", "More tables", ini=copy / "alembic.ini")[0] == 0
    made = (copy / "migrations/versions" / f"{number}_more_tables.py").read_text()
    assert f"revision = '{number}'" in made and f"down_revision = '{migrate.head()}'" in made
    assert (copy / "migrations/versions" / f"{number}_more_tables.sql").exists()


def test_upgrade_brings_an_empty_database_to_this_release(alembic: Alembic, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = server.create()
    monkeypatch.setenv("DATABASE_URL", server.url(name))
    config.cache_clear()
    try:
        assert alembic("current") == (0, "")
        assert alembic("check")[0] != 0
        assert alembic("upgrade", "head") == (0, "")
        assert alembic("check") == (0, "No new upgrade operations detected.")
    finally:
        config.cache_clear()
        server.drop(name)
