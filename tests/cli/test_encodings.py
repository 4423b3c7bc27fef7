"""Terminals, pipes and locales that are not UTF-8: no command fails, symbols fall back to ASCII, data stays lossless."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from cli_command import environment
from support import claim, executor, finish, new_user, submit
from waiting import LIMIT

from ourvidz.cli.terminal import SafeStream, encodable, unicode_stream
from ourvidz.db import schema_objects
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
from ourvidz.cli.main import run
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["ourvidz", *arguments]
    print("$", *arguments, flush=True)
    run()
"""
PROMPT = "a pier – naïve, 海, 🌊, ∅"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp1252", "cp932", "koi8-r", "utf-8", "utf-16"])
def test_everything_can_be_written_to_every_encoding(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    SafeStream(cast("io.TextIOWrapper", stream)).write(f"✓ {PROMPT} → … │ ─ ┌ ⠹ █ 1×2 “so” ≥")
    written = raw.getvalue().decode(encoding)
    if encoding.startswith("utf"):
        assert PROMPT in written and unicode_stream(stream)
    else:
        assert not unicode_stream(stream) and "\\U0001f30a" in written
    if encoding == "ascii":
        assert written == '+ a pier - na\\xefve, \\u6d77, \\U0001f30a, - -> ... | - + * # 1x2 "so" >='
    assert encodable("naïve ×", "latin-1") == "naïve ×", "what fits stays"


SHOWN = "jobs ls | jobs show JOB | stats | top --once | audit | jobs show nothing | events tail --no-follow | models"
PIPED = "--help | jobs ls | jobs ls --json | jobs show JOB --json | jobs show JOB | top --json | migrate --sql -o f.sql | jobs ls --x"


def commands(lines: str, job_id: str) -> str:
    return json.dumps([line.replace("JOB", job_id).split() for line in lines.split("|")])


@pytest.fixture
def job_id(database: Database, jobs: Jobs) -> str:
    found = submit(jobs, new_user(database), prompt=PROMPT)
    finish(jobs, claim(jobs, executor(jobs)))
    return found


def in_terminal(argv: list[str], env: dict[str, str], cwd: Path) -> Iterator[bytes]:
    main, side = pty.openpty()
    process = subprocess.Popen(argv, env=env | {"TERM": "xterm-256color", "COLUMNS": "100"}, cwd=cwd, stdin=side, stdout=side, stderr=side)
    os.close(side)
    while select.select([main], [], [], 120)[0]:
        try:
            yield os.read(main, 65536)
        except OSError:  # other side closed
            break
    os.close(main)
    assert process.wait(timeout=LIMIT) == 0


def test_every_command_works_in_a_terminal_with_a_legacy_code_page(job_id: str, database: Database, tmp_path: Path) -> None:
    env = environment(tmp_path / "home", DATABASE_URL=database.url, PYTHONIOENCODING="cp437")
    seen = b"".join(in_terminal([sys.executable, "-c", RUN, commands(SHOWN, job_id)], env, tmp_path)).decode("cp437")
    assert "UnicodeEncodeError" not in seen and "unexpected" not in seen, seen
    assert "\\u6d77" in seen and "naïve" in seen


def test_every_command_works_in_an_ascii_locale(job_id: str, database: Database, tmp_path: Path) -> None:
    """As in a service on an old distribution: no UTF-8 mode, no coerced locale; files and arguments are ASCII too."""
    ascii_alone = {"LC_ALL": "POSIX", "LANG": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    env = environment(tmp_path / "home", DATABASE_URL=database.url, **ascii_alone)
    line = [sys.executable, "-c", RUN, commands(PIPED, job_id)]
    done = subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, timeout=LIMIT, check=True)
    out, err = done.stdout.decode("ascii"), done.stderr.decode("ascii")
    assert "Unicode" not in err + out and "unexpected" not in err + out, err
    shown = out.split(f"$ jobs show {job_id} --json\n")[1].split("$ jobs show")[0]
    assert PROMPT in json.dumps(json.loads(shown), ensure_ascii=False), "JSON loses nothing"
    written = (tmp_path / "f.sql").read_text(encoding="utf-8")
    assert f"release {schema_objects.numbered().release}" in written and not written.isascii()


def test_a_prompt_on_stdin_that_is_not_text_is_refused(database: Database, tmp_path: Path) -> None:
    env = environment(tmp_path / "home", DATABASE_URL=database.url, PYTHONIOENCODING="ascii")
    line = [sys.executable, "-c", RUN, json.dumps([["submit", "sdxl_image_fast", "--prompt", "-"]])]
    done = subprocess.run(line, env=env, cwd=tmp_path, input="a pier – 海".encode(), capture_output=True, timeout=LIMIT, check=True)
    assert b"not text in ascii" in done.stderr and b"PYTHONUTF8=1" in done.stderr


def _opens(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that open a file as text without an encoding."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""
        mode = [a.value for a in [*call.args, *(k.value for k in call.keywords if k.arg == "mode")] if isinstance(a, ast.Constant)]
        as_text = any(isinstance(m, str) and m and set(m) <= set("rwxa+t") for m in mode)
        opens = name in ("read_text", "write_text") or (name in ("open", "fdopen", "NamedTemporaryFile") and as_text)
        of_av = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "av"  # binary
        if opens and not of_av and not any(k.arg == "encoding" for k in call.keywords):
            yield call


def test_every_text_file_is_opened_with_an_encoding() -> None:
    """The locale's encoding could misread our SQL on another machine and change its digest."""
    files = [file for folder in ("state", "ourvidz", "executors", "migrations") for file in (ROOT / folder).rglob("*.py")]
    assert [f"{file}:{call.lineno}" for file in files for call in _opens(ast.parse(file.read_text(encoding="utf-8")))] == []
