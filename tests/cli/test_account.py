"""Accounts without a home or a name, as in containers: each command works, or says what to set."""

from __future__ import annotations

import getpass
import os
import pwd
from pathlib import Path

import pytest
from cli_command import Command

from ourvidz import account

NAMELESS = """import pwd
def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = nobody
"""
UNSET = ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "OURVIDZ_HOME")


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def contained(ourvidz: Command, tmp_path: Path) -> Command:
    """The command in a process whose uid has no passwd entry, without home variables in its environment."""
    (tmp_path / "sitecustomize.py").write_text(NAMELESS)
    env = {name: value for name, value in ourvidz.env.items() if name not in UNSET}
    return Command(env | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{env.get('PYTHONPATH', '')}"}, ourvidz.cwd)


def test_a_missing_account_gets_a_name_and_our_home(nameless: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    monkeypatch.setenv("OURVIDZ_HOME", str(tmp_path))
    account.begin()
    assert getpass.getuser() == f"uid-{os.getuid()}"  # torch's compile cache calls it
    assert os.path.expanduser("~/.cache/huggingface") == f"{tmp_path}/.cache/huggingface"  # noqa: PTH111  (as huggingface_hub does)


@pytest.mark.parametrize(
    ("given", "home"),
    [({"HOME": "/nonexistent"}, "ours"), ({"HOME": ""}, "ours"), ({"HOME": "own"}, "own"), ({"OURVIDZ_HOME": "~/x"}, None), ({}, "ours")],
)
def test_an_existing_home_is_kept(nameless: None, tmp_path: Path, given: dict[str, str], home: str | None) -> None:
    own, ours = tmp_path / "own", tmp_path / "ours"
    own.mkdir()
    environ = {"OURVIDZ_HOME": str(ours), "LOGNAME": "me"} | {k: str(own) if v == "own" else v for k, v in given.items()}
    account.begin(environ)
    assert environ.get("HOME") == (str(tmp_path / home) if home else None) and "USER" not in environ


def test_an_existing_account_is_not_changed() -> None:
    environ = {"OURVIDZ_HOME": "/somewhere"}
    account.begin(environ)
    assert environ == {"OURVIDZ_HOME": "/somewhere"}


def test_a_tilde_path_without_a_home_is_refused(nameless: None) -> None:
    with pytest.raises(account.NoHome, match="Set OURVIDZ_HOME"):
        account.folder(Path("~/.ourvidz"))
    assert account.folder(Path("/srv/x")) == Path("/srv/x")


@pytest.mark.parametrize(
    "command", [["jobs", "ls", "--json"], ["up", "--dry-run", "--json"], ["models", "ls", "--json"], ["top", "--json"]]
)
def test_commands_work_or_say_what_to_set(contained: Command, tmp_path: Path, command: list[str]) -> None:
    without = contained(*command)
    assert without.code == 0 or (without.code == 1 and "Set OURVIDZ_HOME to a folder" in without.err), without.err
    answer = contained(*command, OURVIDZ_HOME=str(tmp_path / "home"))
    assert answer.code == 0, answer.err
    assert not list(contained.cwd.rglob("~*"))


def test_submit_works_without_an_account_name(contained: Command, tmp_path: Path) -> None:
    held = contained("submit", "image_fast", "-p", "x", "--json", OURVIDZ_HOME=str(tmp_path / "home"))
    assert held.code in (0, 1) and "KeyError" not in held.err and "Traceback" not in held.err
