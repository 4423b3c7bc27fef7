"""A real Valkey, and the part of its protocol that `upstash.py` needs (RESP2, https://valkey.io/topics/protocol/)."""

from __future__ import annotations

import socket
from pathlib import Path
from secrets import token_hex
from typing import Any

from ourvidz.dev.keys import private
from ourvidz.dev.process import Process, listening, on_free_port

HOST = "127.0.0.1"


class ReplyError(Exception):
    """Valkey's `-ERR …` reply. `Connection.call` returns it."""


class Connection:
    """An authenticated connection. Raises OSError if nothing listens, ReplyError for a wrong password."""

    def __init__(self, port: int, password: str, timeout: float = 10.0) -> None:
        self._socket = socket.create_connection((HOST, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        answer = self.call(b"AUTH", password.encode())
        if isinstance(answer, ReplyError):
            self.close()
            raise answer

    def call(self, *args: bytes) -> Any:
        """Returns None, int, str (a status), bytes, a list of these, or a ReplyError. Raises OSError if the connection is lost."""
        parts = [b"*%d\r\n" % len(args), *(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)]
        self._socket.sendall(b"".join(parts))
        return self._read()

    def _read(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("Valkey closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return ReplyError(rest.decode(errors="replace"))
        size = int(rest)
        if size < 0:
            return None
        if kind == b"*":
            return [self._read() for _ in range(size)]
        data = self._file.read(size + 2)
        if len(data) < size + 2:
            raise ConnectionResetError("Valkey closed the connection")
        return data[:-2]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Valkey:
    """A durable server: every write is in its file before the answer, as at Upstash. It may be stopped and started again, on the same
    port and with the same data.

    Every account of the machine can reach its port, so it requires a password.
    """

    def __init__(self, program: Path, folder: Path, password: str = "") -> None:
        self._program, self._folder, self._password = program, folder, password or token_hex(20)
        self.port = 0
        self.process: Process | None = None

    def start(self) -> Valkey:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.process, self.port = on_free_port(self._start, self.port)
        return self

    def _start(self, port: int) -> Process:
        said = {
            "port": port,
            "bind": HOST,
            "dir": self._folder,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "daemonize": "no",
            "requirepass": self._password,
        }
        settings = self._folder / "valkey.conf"
        private(settings, "".join(f'{name} "{value}"\n' for name, value in said.items()))
        argv = [str(self._program), str(settings)]  # every account can read arguments
        return Process("Valkey", argv, self._folder / "valkey.log", {}).until(lambda: listening(port)() and self._loaded(port))

    def _loaded(self, port: int) -> bool:
        try:
            connection = Connection(port, self._password)
            try:
                return bool(connection.call(b"PING") == "PONG")
            finally:
                connection.close()
        except (OSError, ReplyError):  # not up yet, or another program's port
            return False

    def connect(self) -> Connection:
        return Connection(self.port, self._password)

    def stop(self, *, kill: bool = False) -> None:
        if self.process:
            self.process.stop(kill=kill)

    def restart(self, *, kill: bool = False) -> None:
        self.stop(kill=kill)
        self.start()

    def call(self, *args: str | bytes | int) -> Any:
        """Run one command directly, not over REST. Raises ReplyError."""
        connection = self.connect()
        try:
            answer = connection.call(*(arg if isinstance(arg, bytes) else str(arg).encode() for arg in args))
        finally:
            connection.close()
        if isinstance(answer, ReplyError):
            raise answer
        return answer
