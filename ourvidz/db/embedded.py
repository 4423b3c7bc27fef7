"""Embedded Postgres, for whoever has not set DATABASE_URL: one server per home, shared by its processes.

The first process starts it, others join, and it stops when the last one is gone, however that one died.
Three files in `home/postgres` coordinate this, all of them by flock, which the kernel releases:

    start.lock        exclusive: held to start or join alone
    users.lock        shared: every user, until it ends; the supervisor tries it exclusively to learn if it is alone
    supervisor.lock   exclusive: the supervisor is alive

A forked child shares its parent's lock: the server stays until both have ended or called `stop_using()`, in either order, because a user's
lock is only ever dropped by closing. Programs that are exec'ed do not inherit it.
docs/decisions/0002 has the reasons.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from ourvidz import account
from ourvidz.db import passwords, supervisor
from ourvidz.db.cluster import choose_binaries, environment, make_cluster
from ourvidz.db.server_user import EmbeddedPostgresError, capability_for, give, make_socket_dir, server_user

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "Status", "embedded_url", "status"]

ROLE = DATABASE = "ourvidz"
PORT = 5432  # only the socket's name: nothing listens on TCP
ATTEMPTS = 3  # a supervisor that was killed during its start is replaced; one that gave up is not
MAX_LOG_BYTES = 20 * 2**20

_mutex = threading.RLock()


def _after_fork() -> None:
    global _mutex
    _mutex = threading.RLock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Status:
    running: bool
    version: str | None  # major, of the data folder
    data_dir: Path
    log_file: Path
    socket_dir: Path | None
    port: int
    supervisor_pid: int | None
    postmaster_pid: int | None
    users: tuple[int, ...]  # pids; a forked child appears as the process that took the lock. Linux only


class EmbeddedPostgres:
    def __init__(self, home: Path, *, timeout: float = 30.0) -> None:
        self.home = account.folder(Path(home)).resolve()
        self.timeout = timeout
        self.folder = self.home / "postgres"
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self._lock_fd: int | None = None

    @property
    def url(self) -> str:
        """URL of the role that owns the database: no superuser, like `postgres` at Supabase. psycopg and SQLAlchemy accept it."""
        return self._url(ROLE, DATABASE)

    @property
    def superuser_url(self) -> str:
        """For tests, which create databases from a template. It reaches every file that the server's uid can read."""
        return self._url("postgres", "postgres")

    def _url(self, role: str, database: str) -> str:
        passfile = quote(str(self.folder / passwords.FILE))  # not the password: a URL is printed, and appears on command lines
        return f"postgresql://{role}@/{database}?host={_socket_dir(self.folder)}&port={PORT}&passfile={passfile}"

    def start(self) -> str:
        """Start or join the server and return `url`; this process is its user from now on. Raises EmbeddedPostgresError.

        Calling it again is cheap, and restarts a server that has died.
        """
        deadline = time.monotonic() + self.timeout
        try:
            with _mutex:
                _make_folder(self.home, self.folder)
                with self._alone(deadline):
                    self._join(deadline)
            return self.url
        except OSError as error:  # a full or read-only disk, most of the time
            raise self._error(f"Postgres could not be started: {error}", "Mend that, or set OURVIDZ_HOME or DATABASE_URL.") from error

    def stop_using(self) -> None:
        """Stop being a user of the server. It stops shortly after its last user did this or ended."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)  # never LOCK_UN: that would unlock a forked relative as well
            self._lock_fd = None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop_using()

    @contextlib.contextmanager
    def _alone(self, deadline: float) -> Iterator[None]:
        fd = self._locked("start.lock", fcntl.LOCK_EX, deadline, "Another process has been starting Postgres")
        try:
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # before closing: a child forked meanwhile would hold it for ever
            os.close(fd)

    def _join(self, deadline: float) -> None:
        joined_now = self._lock_fd is None
        if joined_now:  # first: once we are a user, the supervisor cannot decide to stop
            self._lock_fd = self._locked("users.lock", fcntl.LOCK_SH, deadline, "Postgres has been shutting down")
        try:
            self._bring_up(deadline)
        except BaseException:
            if joined_now:
                self.stop_using()
            raise

    def _locked(self, name: str, kind: int, deadline: float, otherwise: str) -> int:
        path = self.folder / name
        fd = _open_private(path)
        while not supervisor.try_lock(fd, kind):
            if time.monotonic() > deadline:
                os.close(fd)
                raise EmbeddedPostgresError(f"{otherwise} for {self.timeout:g} s. Try again; if it lasts, see who holds {path} (fuser).")
            time.sleep(0.02)
        return fd

    def _bring_up(self, deadline: float) -> None:
        passwords.prepare(self.folder, ("postgres", ROLE), supervisor.running_postmaster(self.data))
        started = 0
        while True:
            if not _is_held(self.folder / "supervisor.lock"):
                if started == ATTEMPTS or (started and supervisor.GAVE_UP in _text(self.folder / "supervisor.lock")):
                    raise self._error("Postgres did not start", "Mend what the log names and try again.")
                self._start_supervisor()
                started, deadline = started + 1, time.monotonic() + self.timeout  # initdb had a timeout of its own
            problem = self._problem()
            if not problem:
                return
            if time.monotonic() > deadline:
                advice = "If it is recovering from a crash, try again with a longer timeout; else fix what the log names."
                raise self._error(f"Postgres does not answer after {self.timeout:g} s ({problem})", advice)
            time.sleep(0.03)

    def _problem(self) -> str:
        """Return why the server cannot be used yet; empty once it answers and has our role and database."""
        server = supervisor.number_in(self.folder / "supervisor.lock", line=1)
        if server is None or not supervisor.is_ready(self.data, server):
            return "it is still starting or recovering"
        import psycopg

        options = "-c statement_timeout=20000"
        try:
            with psycopg.connect(self.superuser_url, autocommit=True, connect_timeout=5, options=options) as connection:
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
                    # Like Supabase's `postgres`. BYPASSRLS because since 16 a role can only give what it has, and
                    # migrations make a service_role that has it.
                    connection.execute(f"CREATE ROLE {ROLE} LOGIN CREATEROLE BYPASSRLS")
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                    connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
                passwords.enforce(connection, self.folder)
        except psycopg.Error as error:
            instead = " (PGPASSWORD is set here and goes before the password file: unset it)" if os.environ.get("PGPASSWORD") else ""
            return str(error).strip() + instead
        return ""

    def _start_supervisor(self) -> None:
        uid, gid = server_user(self.folder, self.data)
        binaries = choose_binaries(self.data)
        if not self.data.exists():
            make_cluster(self.data, binaries, uid, gid)
        socket_dir = _socket_dir(self.folder)
        make_socket_dir(socket_dir, uid, gid)
        server = [str(binaries.folder / "postgres"), "-D", str(self.data), "-k", str(socket_dir), "-p", str(PORT),
                  "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-c", "logging_collector=off"]  # fmt: skip
        spec = {"folder": str(self.folder), "socket_dir": str(socket_dir), "argv": server, "uid": uid, "gid": gid,
                "capability": capability_for(uid, binaries.folder, self.data)}  # fmt: skip
        os.close(_open_private(self.folder / "supervisor.lock"))
        line = [sys.executable, "-I", "-S", supervisor.__file__, "supervise", json.dumps(spec)]
        _rotate(self.log)
        log = _open_private(self.log, os.O_APPEND)
        try:  # a session of its own: a Ctrl-C in our terminal must not reach it
            subprocess.run(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                           env=environment(), timeout=20, check=True)  # fmt: skip
        except subprocess.SubprocessError as error:
            raise self._error("The supervisor of Postgres did not come up", "Mend what the log names and try again.") from error
        finally:
            os.close(log)

    def _error(self, what: str, advice: str) -> EmbeddedPostgresError:
        tail = _tail(self.log)
        return EmbeddedPostgresError(f"{what}." + (f"\nThe end of {self.log}:\n{tail}\n" if tail else " ") + advice)


_in_use: dict[Path, EmbeddedPostgres] = {}


def embedded_url(home: Path, *, timeout: float = 30.0) -> str:
    """Start or join the Postgres of `home`, which then stays up at least as long as this process. Returns its URL."""
    with _mutex:
        postgres = EmbeddedPostgres(home, timeout=timeout)
        postgres = _in_use.setdefault(postgres.home, postgres)
        postgres.timeout = timeout
        return postgres.start()


def status(home: Path) -> Status:
    """Look without starting or creating anything. Raises EmbeddedPostgresError if it may not look."""
    postgres = EmbeddedPostgres(home)
    try:
        there = postgres.folder.exists()
    except OSError as error:
        raise EmbeddedPostgresError(f"uid {os.geteuid()} cannot look into {postgres.folder}: {error}. Ask its owner.") from error
    lock = postgres.folder / "supervisor.lock"
    server = supervisor.running_postmaster(postgres.data)
    return Status(
        running=server is not None, version=_text(postgres.data / "PG_VERSION").strip() or None,
        data_dir=postgres.data, log_file=postgres.log, socket_dir=_socket_dir(postgres.folder) if there else None, port=PORT,
        supervisor_pid=supervisor.number_in(lock) if _is_held(lock) else None, postmaster_pid=server,
        users=_holders(postgres.folder / "users.lock"),
    )  # fmt: skip


def _make_folder(home: Path, folder: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            owner = home.stat()
            # Root's folder lets the server's uid pass through to its data; everything inside is private.
            folder.chmod(0o711 if os.geteuid() == 0 == owner.st_uid else 0o700)
            give(folder, owner.st_uid, owner.st_gid)  # root visiting another's home must not shut them out of it
        if os.geteuid() not in (0, folder.stat().st_uid):
            raise PermissionError(f"it belongs to uid {folder.stat().st_uid}")
    except OSError as error:
        raise EmbeddedPostgresError(
            f"uid {os.geteuid()} cannot keep a Postgres in {folder}: {error}. Run as the account that owns it, "
            "or set OURVIDZ_HOME to a folder of your own, or DATABASE_URL to a server."
        ) from error


def _socket_dir(folder: Path) -> Path:
    """Return a short path, because a socket's path has at most 107 bytes; by inode, so that every path to a home leads to one server."""
    found = folder.stat()
    return Path("/tmp", "ourvidz-" + hashlib.sha256(f"{found.st_dev}:{found.st_ino}".encode()).hexdigest()[:12])


def _open_private(path: Path, flags: int = 0) -> int:
    # No symlinks: root may be visiting a folder that another account can write to.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | flags, 0o600)
    owner = path.parent.stat()
    if os.geteuid() == 0 and os.fstat(fd).st_uid != owner.st_uid:
        os.fchown(fd, owner.st_uid, owner.st_gid)
    return fd


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        free = supervisor.try_lock(fd, fcntl.LOCK_SH)
        if free:
            fcntl.flock(fd, fcntl.LOCK_UN)
        return not free
    finally:
        os.close(fd)


def _holders(path: Path) -> tuple[int, ...]:
    try:
        inode = str(path.stat().st_ino)
        locks = [line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ()
    held = {int(lock[4]) for lock in locks if lock[1] == "FLOCK" and lock[3] == "READ" and lock[5].rsplit(":", 1)[-1] == inode}
    return tuple(sorted(pid for pid in held if pid > 0))


def _rotate(log: Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _tail(log: Path, lines: int = 12) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
