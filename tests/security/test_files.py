"""Attack: another account on the same host reads our files (spool, pictures, logs, keys, database), connects to the embedded Postgres,
or changes a file that we trust."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from waiting import LIMIT, wait_for

from ourvidz import file_permissions
from ourvidz.db import passwords
from ourvidz.db.embedded import EmbeddedPostgres, status

OPEN = [sys.executable, "-c", "import os; os.umask(0); from ourvidz.cli.main import main; main()"]
"""The command, started with umask 0."""


def ourvidz(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OURVIDZ_", "DATABASE_URL", "PG", "SUPABASE", "UPSTASH"))}
    return subprocess.run([*OPEN, *args], env=env | {"OURVIDZ_HOME": str(home)}, capture_output=True, text=True, timeout=LIMIT, check=False)


def open_to_others(root: Path) -> list[str]:
    """Independently of private.py, list every mode below a folder with any right for group or others, including links and socket
    folders."""
    found = []
    for folder, folders, files in os.walk(root):
        for path in [Path(folder), *(Path(folder, name) for name in (*folders, *files))]:
            try:
                mode = stat.S_IMODE(path.lstat().st_mode)
            except FileNotFoundError:  # files of the running Postgres come and go
                continue
            passed = 0o011 if path.name == "postgres" and os.geteuid() == 0 else 0  # root's Postgres runs as another uid that must pass
            if not path.is_symlink() and mode & 0o077 & ~passed:
                found.append(f"{path.relative_to(root)} {mode:04o}")
    return sorted(set(found))


def without_password(url: str, role: str, password: str = "") -> str:
    parts = urlsplit(url)
    query = "&".join(part for part in parts.query.split("&") if not part.startswith("passfile="))
    return urlunsplit((parts.scheme, f"{role}:{password}@" if password else f"{role}@", parts.path, query, ""))


def test_the_database_and_a_queued_job_are_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = ourvidz(home, "submit", "sdxl_image_fast", "-p", "a lighthouse at dusk")
    assert done.returncode == 0, done.stderr
    assert (home / "postgres" / passwords.FILE).exists() and open_to_others(home) == []


@pytest.mark.nightly
def test_all_created_files_are_private(tmp_path: Path) -> None:
    """A job from request to picture, with umask 0: the database, models, spool, buckets, logs and locks."""
    home = tmp_path / "home"
    done = ourvidz(home, "submit", "sdxl_image_fast", "-p", "a lighthouse at dusk", "--wait", "--steps", "1")
    assert done.returncode == 0, done.stderr
    models = {line for line in open_to_others(home) if line.startswith("models-tiny")}
    assert [line for line in open_to_others(home) if line not in models] == []
    assert all(line.endswith(("0755", "0644")) for line in models)  # other accounts may read model files, but not write
    assert list((home / "storage").rglob("*.png"))


def test_doctor_reports_and_fixes_open_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "spool").mkdir(parents=True)
    secret = home / "spool" / "a.png"
    secret.write_text("a picture")
    for path, mode in ((home, 0o755), (home / "spool", 0o775), (secret, 0o644)):
        path.chmod(mode)
    assert {one.path for one in file_permissions.exposed([home])} == {home, home / "spool", secret}
    said = ourvidz(home, "doctor").stdout
    assert "files" in said and str(secret) in said and "doctor --fix" in said
    ourvidz(home, "doctor", "--fix")
    assert open_to_others(home) == []


def test_shared_files_lose_only_write_rights(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir(mode=0o755)
    (models / "a.safetensors").write_text("weights")
    (models / "a.safetensors").chmod(0o666)
    models.chmod(0o755)
    (found,) = file_permissions.exposed([models], shared=[models])
    assert (found.path.name, found.mode, found.private) == ("a.safetensors", 0o666, 0o644)
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "mine" / "link").symlink_to(models)
    assert list(file_permissions.exposed([tmp_path / "mine"])) == []  # the target of a link is not changed through it


# -- the embedded Postgres --------------------------------------------------------------------------------------------------------


def refused(url: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
        psycopg.connect(url)


@pytest.mark.parametrize("role", ["postgres", "ourvidz", "authenticator", "nobody_of_that_name"])
def test_the_server_asks_for_a_password(tmp_path: Path, role: str, asking: EmbeddedPostgres) -> None:
    refused(without_password(asking.url, role))
    refused(without_password(asking.url, role, "wrong"))


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> object:
    with EmbeddedPostgres(tmp_path_factory.mktemp("asking")) as postgres:
        yield postgres


def test_the_password_is_stored_only_in_its_file(asking: EmbeddedPostgres) -> None:
    file = asking.folder / passwords.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    held = passwords.read(file)
    assert set(held) == {"postgres", "ourvidz"} and all(len(password) >= 32 for password in held.values())
    with psycopg.connect(asking.superuser_url) as connection:
        connection.execute("select 1")
        stored = dict(connection.execute("select rolname, rolpassword from pg_authid where rolname = any (%s)", (list(held),)).fetchall())
    for role, password in held.items():
        assert str(stored[role]).startswith("SCRAM-SHA-256$")
        assert password not in asking.url + asking.superuser_url + asking.log.read_text()
    assert open_to_others(Path(f"/tmp/{urlsplit(asking.url).query.split('/tmp/')[1].split('&')[0]}")) == []


def stopped(home: Path) -> None:
    wait_for(lambda: not status(home).running, "for the server to stop")


def older(postgres: EmbeddedPostgres) -> None:
    """As an earlier release left it: no passwords, and everyone with access to the socket's folder may connect."""
    with psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
        connection.execute("create table public.kept as select 7 as n")
        connection.execute("alter role postgres password null; alter role ourvidz password null")
    (postgres.data / "pg_hba.conf").write_text("local all all trust\n")
    (postgres.folder / passwords.FILE).unlink()


STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "nowhere": lambda patch: None,
    "before the file": lambda patch: patch.setattr(passwords, "prepare", _dies),
    "before the passwords": lambda patch: patch.setattr(passwords, "set_password", _dies),
    "before the rule": lambda patch: patch.setattr(passwords, "_put", _dies_at_the_rule),
}


class Killed(BaseException):
    """Simulates a kill: nothing after it runs."""


def _dies(*_: object) -> None:
    raise Killed


_put = passwords._put


def _dies_at_the_rule(file: Path, text: str, like: Path) -> None:
    if file.name == "pg_hba.conf":
        raise Killed
    _put(file, text, like)


@pytest.mark.parametrize("killed", STEPS)
def test_an_older_server_is_upgraded_to_passwords_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str) -> None:
    """At whichever step the program dies, the next start completes it."""
    home = tmp_path / "home"
    with EmbeddedPostgres(home) as postgres:
        older(postgres)
    stopped(home)
    if killed != "nowhere":
        with monkeypatch.context() as patch, pytest.raises(Killed):
            STEPS[killed](patch)
            EmbeddedPostgres(home).start()
    with EmbeddedPostgres(home) as postgres:
        with psycopg.connect(postgres.superuser_url) as connection:
            assert connection.execute("select n from public.kept").fetchone() == (7,)
        with psycopg.connect(postgres.url) as connection:
            assert connection.execute("select current_user").fetchone() == ("ourvidz",)
        for role in ("postgres", "ourvidz"):
            refused(without_password(postgres.url, role))


def test_a_lost_password_file_is_recreated_with_new_passwords(tmp_path: Path) -> None:
    """By an account that may write the data folder, which is the server's own or root; also while the server runs."""
    with EmbeddedPostgres(tmp_path / "home") as postgres:
        file = postgres.folder / passwords.FILE
        before = passwords.read(file)
        file.unlink()
        refused(postgres.url)
        with EmbeddedPostgres(tmp_path / "home") as again:
            assert passwords.read(file).keys() == before.keys() and passwords.read(file) != before
            with psycopg.connect(again.url) as connection:
                assert connection.execute("select 1").fetchone() == (1,)
            refused(without_password(again.url, "ourvidz", before["ourvidz"]))
