"""Check `deploy/` against the code: it cannot be built here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import LIMIT

from ourvidz.db import wait_ready

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHELLS = [shell for shell in ("sh", "bash", "dash") if shutil.which(shell)]


def test_the_image_installs_extras_that_exist_with_torch_first() -> None:
    lines = re.sub(r"\\\n", " ", DOCKERFILE)
    (torch,) = re.findall(r"^ARG TORCH=(\S+)", lines, re.M)
    wanted = [e for e in PROJECT["project"]["optional-dependencies"]["models"] if e.startswith("torch>")]
    assert wanted == [f"torch>={torch.rpartition('.')[0]},<2.{int(torch.split('.')[1]) + 1}"]
    (extras,) = re.findall(r"pip install '\.\[([\w,]+)\]'", lines)
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()
    assert lines.index('pip install "torch==') < lines.index(f".[{extras}]")
    assert "torchvision" not in re.sub(r"^#.*$", "", lines, flags=re.M)


def test_the_image_gets_every_package_and_nothing_else() -> None:
    copied = {source for line in re.findall(r"^COPY (?!--)(.+)$", DOCKERFILE, re.M) for source in line.split()[:-1]}
    packages = {pattern.removesuffix("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages | {"pyproject.toml", "README.md"} == copied
    assert all((ROOT / source).exists() for source in copied)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == copied | {"deploy/start.sh"}
    stubs = set(re.findall(r"(\w+)/__init__\.py", DOCKERFILE))
    assert stubs == packages


def test_the_image_has_no_secret_and_does_not_run_as_root() -> None:
    assert re.search(r"^USER (?!root)", DOCKERFILE, re.M)
    assert not re.search(r"TOKEN|PASSWORD|DATABASE_URL|SECRET", re.sub(r"^#.*$", "", DOCKERFILE, flags=re.M))


@pytest.fixture(params=SHELLS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., tuple[int, list[str], str]]:
    """Run start.sh with stub programs that record their calls. `database`: the number of failed attempts before the database answers."""

    def run(*args: str, database: int = 0, refused: bool = False, pull: int = 0, **env: str) -> tuple[int, list[str], str]:
        bin_, log = tmp_path / "bin", tmp_path / "log"
        bin_.mkdir()
        asked = tmp_path / "asked"
        programs = {
            "ourvidz": f'echo "ourvidz $* [${{DATABASE_URL:-}}] [${{OURVIDZ_MIGRATE_URL:-}}]" >> {log}; [ "$2" != pull ] || exit {pull}',
            "python3": "exit 2" if refused else f'echo . >> {asked}; [ "$(wc -l < {asked})" -gt {database} ]',
            "sleep": "exit 0",
            "timeout": 'shift; exec "$@"',
        }
        for name, body in programs.items():
            (bin_ / name).write_text(f"#!/bin/sh\n{body}\n")
            (bin_ / name).chmod(0o755)
        environment = {"PATH": f"{bin_}:{os.environ['PATH']}", **env}
        done = subprocess.run(
            [request.param, str(ROOT / "deploy/start.sh"), *args], env=environment, capture_output=True, text=True, timeout=LIMIT
        )
        return done.returncode, log.read_text().splitlines() if log.exists() else [], done.stderr

    return run


def test_it_waits_for_the_database_then_execs_up(start: Callable[..., tuple[int, list[str], str]]) -> None:
    """It waits for any length of time: whatever restarts a container gives up after some tries."""
    assert start("--split", database=40, DATABASE_URL="postgresql://u:pw@db/x") == (
        0,
        ["ourvidz up --split [postgresql://u:pw@db/x] []"],
        "start: the database does not answer; waiting for it\n",
    )


def test_it_gives_up_on_a_database_that_never_answers(start: Callable[..., tuple[int, list[str], str]]) -> None:
    code, called, said = start(database=1000, DATABASE_URL="postgresql://u:pw@db/x", OURVIDZ_WAIT="6")
    assert (code, called) == (1, [])
    assert "does not answer after 6 s" in said
    assert "pw" not in said.replace("password", "")


def test_it_does_not_wait_for_a_database_that_refuses(start: Callable[..., tuple[int, list[str], str]]) -> None:
    assert start(refused=True, DATABASE_URL="postgresql://u:pw@db/x") == (1, [], "")


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("postgresql://u:pw@127.0.0.1:1/x?pgbouncer=true", 1, ""),
        ("postgresql://u:pw@127.0.0.1:1/x?typo=1", 2, "'typo'"),
        ("postgresql://u:pw@127.0.0.1:x/y", 2, "port"),
    ],
)
def test_the_probe_distinguishes_unreachable_from_misconfigured(
    url: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert wait_ready.main() == code
    printed = capsys.readouterr().err
    assert said in printed and "pw" not in printed


def test_it_migrates_once_the_database_takes_writes(start: Callable[..., tuple[int, list[str], str]]) -> None:
    code, called, said = start(database=3, OURVIDZ_MIGRATE_URL="as-owner")
    assert (code, len(called), said.splitlines()[0]) == (0, 2, "start: the database does not take writes; waiting for it")


def test_it_migrates_with_the_owners_url_and_hides_it_from_up(start: Callable[..., tuple[int, list[str], str]]) -> None:
    assert start(DATABASE_URL="as-executor", OURVIDZ_MIGRATE_URL="as-owner")[1] == [
        "ourvidz migrate [as-owner] [as-owner]",
        "ourvidz up [as-executor] []",
    ]


def test_it_fetches_the_roles_named_and_stops_when_that_fails(start: Callable[..., tuple[int, list[str], str]]) -> None:
    assert [line.partition(" [")[0] for line in start(OURVIDZ_PULL="wan vace")[1]] == [
        "ourvidz models pull --locked wan vace",
        "ourvidz models convert",
        "ourvidz up",
    ]


def test_a_failed_pull_prevents_the_start(start: Callable[..., tuple[int, list[str], str]]) -> None:
    code, called, _ = start(OURVIDZ_PULL="wan", pull=1)
    assert (code, len(called)) == (1, 1)


def test_the_systemd_unit_names_existing_files() -> None:
    unit = (ROOT / "deploy/ourvidz.service").read_text()
    (command,) = re.findall(r"^ExecStart=/opt/ourvidz/src/(\S+)$", unit, re.M)
    assert os.access(ROOT / command, os.X_OK)
    (page,) = re.findall(r"^Documentation=file:///opt/ourvidz/src/(\S+)$", unit, re.M)
    assert (ROOT / page).is_file()
