"""`--help` is cheap, and every command shows an example."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_command import Command

from ourvidz.cli.main import app

HEAVY = {"sqlalchemy", "psycopg", "torch", "pydantic", "alembic", "PIL", "transitions", "diffusers", "numpy"}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("args", [["--help"], ["submit", "--help"], ["jobs", "--help"], []])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    run = f"import sys, ourvidz.cli.main as m\ntry: m.app({args!r})\nexcept SystemExit: pass\n"
    heavy = HEAVY - ({"pydantic"} if args[:1] in (["submit"], ["jobs"]) else set())  # typer parses these commands' arguments with it
    code = run + f"print(*sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "Usage: " in done.stdout


def test_help_is_fast() -> None:
    """A ratio to Python with typer alone, at most three: measured alternately, so that a slow or busy machine does not matter."""

    def seconds(code: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    ours = "import sys; sys.argv = ['ourvidz', '--help']\nfrom ourvidz.cli.main import main\ntry: main()\nexcept SystemExit: pass"
    assert min(seconds(ours) / seconds("import typer.main, typer.core") for _ in range(7)) < 3


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_commands_help_has_a_valid_example(path: tuple[str, ...]) -> None:
    command = ALL[path]
    examples = [line.strip() for line in command.epilog.splitlines() if line.strip().startswith("ourvidz")]
    assert examples
    assert all(line.startswith("ourvidz " + " ".join(path)) for line in examples)
    assert command.help
    known = {option for parameter in command.params for option in parameter.opts}
    used = {
        word for line in examples for word in line.partition("|")[0].partition(" #")[0].partition("&&")[0].split() if word.startswith("--")
    }
    assert used <= known


def test_commands_that_print_data_offer_json() -> None:
    silent = {("worker",), ("enhancer",), ("reaper",), ("deliver", "run"), ("models", "make-tiny")}  # these print no data
    assert all("--json" in {o for p in command.params for o in p.opts} for path, command in ALL.items() if path not in silent)


def test_unknown_input_is_explained(bare: Command) -> None:
    for args in (
        ["jbos"],
        ["jobs", "ls", "--limit", "x"],
        ["submit"],
        ["jobs", "show"],
        ["--nonsense"],
        ["worker", "--lanes", "gpu"],
        ["worker", "--warm", "gpu"],
    ):
        answer = bare(*args)
        assert (answer.code, answer.out) == (2, ""), args
        assert answer.err
    assert "Did you mean 'jobs'" in bare("jbos").err


def test_version_and_no_arguments(bare: Command) -> None:
    assert bare("--version").out.startswith("ourvidz ")
    for args in ([], ["jobs"], ["events"], ["models"]):
        assert bare(*args).code == 0


def test_a_database_that_cannot_be_reached(bare: Command) -> None:
    answer = bare("jobs", "ls")
    assert answer.code == 1
    assert "database cannot be reached" in answer.err
    assert "DATABASE_URL" in answer.err


def test_a_broken_environment(bare: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    answer = Command({k: v for k, v in bare.env.items() if k != "DATABASE_URL"} | {"OURVIDZ_HOME": str(file)}, tmp_path)("jobs", "ls")
    assert answer.code == 1
    assert "error: " in answer.err
    assert str(file) in answer.err


def test_debug_shows_the_traceback(bare: Command) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ourvidz.cli.main", "jobs", "ls"], env=bare.env | {"OURVIDZ_DEBUG": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
