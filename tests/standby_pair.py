"""A primary and a standby, made of the embedded server's binaries with pg_basebackup, to be promoted by pg_promote()."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import psycopg
from waiting import LIMIT

from ourvidz.db import supervisor
from ourvidz.db.cluster import Binaries, environment, find_binaries, make_cluster
from ourvidz.db.server_user import capability_for, give, server_user

SETTINGS = {"max_connections": 60, "fsync": "off", "unix_socket_directories": "", "shared_buffers": "32MB", "wal_receiver_timeout": "2s"}
OWNER = "ourvidz"


class Node:
    def __init__(self, binaries: Binaries, data: Path) -> None:
        self._binaries, self.data = binaries, data
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"host=127.0.0.1 port={self.port}"

    def url(self, user: str = OWNER, database: str = "ourvidz") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def ask(self, sql: str, user: str = "postgres", database: str = "postgres") -> object:
        with psycopg.connect(self.url(user, database), autocommit=True) as connection:
            found = connection.execute(sql)
            return found.fetchone()[0] if found.description else None  # type: ignore[index]

    def start(self) -> None:
        settings = {**SETTINGS, "listen_addresses": "127.0.0.1", "port": self.port}
        argv = [str(self._binaries.folder / "postgres"), "-D", str(self.data)]
        argv += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.data.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(self.command(argv), env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while True:
            try:
                self.ask("select 1")
                return
            except psycopg.OperationalError as error:
                said = self.data.with_suffix(".log").read_text()[-2000:]
                assert self._process.poll() is None and time.monotonic() < until, f"{error}\n{said}"
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once (SIGQUIT), without notice to clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=LIMIT)
            self._process = None

    def command(self, argv: list[str]) -> list[str]:
        uid, gid = server_user(self.data.parent, self.data)
        return supervisor.command(argv, uid, gid, capability_for(uid, self._binaries.folder, self.data.parent), signal.SIGKILL)

    def copy_to(self, data: Path) -> Node:
        """Create a standby that follows this server."""
        data.mkdir(mode=0o700)
        owner = self.data.stat()
        give(data, owner.st_uid, owner.st_gid)
        made = Node(self._binaries, data)
        argv = [str(self._binaries.folder / "pg_basebackup"), "-D", str(data), "-d", f"{self.host} user=postgres", "-R", "-c", "fast"]
        done = subprocess.run(self.command([*argv, "-N"]), env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 0, done.stderr
        return made

    def caught_up(self, with_: Node) -> None:
        """Wait until this standby has replayed everything that the other has written."""
        until, lsn = time.monotonic() + 60, with_.ask("select pg_current_wal_lsn()::text")
        while not self.ask(f"select pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn"):
            assert time.monotonic() < until
            time.sleep(0.02)


def primary(folder: Path) -> Node:
    binaries = next(find_binaries())
    folder.chmod(0o755)  # if run by root, the server's own user needs access
    data = folder / "primary"
    make_cluster(data, binaries, *server_user(folder, data))
    node = Node(binaries, data)
    node.start()
    node.ask(f"create role {OWNER} login createrole bypassrls")
    node.ask(f"create database ourvidz owner {OWNER}")
    return node
