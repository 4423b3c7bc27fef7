"""A proxy between Postgres and its clients that can be cut: TCP on one side, the server's own address on the other."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from psycopg.conninfo import conninfo_to_dict
from waiting import LIMIT

READY = b"Z\x00\x00\x00\x05"  # ReadyForQuery, which ends every answer; one byte follows


class Wire:
    """Passes everything on until told to lose a statement or its answer; then both ends find the connection closed."""

    def __init__(self, url: str) -> None:
        self._to = conninfo_to_dict(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{self._to['user']}@127.0.0.1:{port}/{self._to['dbname']}"
        if "passfile" in self._to:
            self.url += f"?passfile={self._to['passfile']}"
        self._lose: tuple[bytes, bool] | None = None
        self.lost = 0
        self._open: set[socket.socket] = set()

    def lead_to(self, url: str) -> None:
        """Connect new clients to that server, as after a failover behind one address, and cut the open ones."""
        self._to = conninfo_to_dict(url)
        self.cut()

    def lose(self, statement: str, *, answer: bool) -> None:
        """For the next statement containing this text, lose the answer (it was committed) or the statement itself (it never arrived)."""
        self._lose = statement.encode(), answer

    def cut(self) -> None:
        """Cut every open connection."""
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = self._connect()
                except OSError:
                    client.close()
                    continue
                self._open |= {client, server}
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._to.get("host", "localhost")), int(str(self._to.get("port", 5432)))
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        """Relay from client to server; the other direction runs in a thread, except for an answer to be lost."""
        silent = threading.Event()
        down = threading.Thread(target=self._down, args=(server, client, silent), daemon=True)
        down.start()
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self._lose is not None and self._lose[0] in data:
                    _, answer = self._lose
                    self._lose = None
                    self.lost += 1
                    if answer:
                        silent.set()
                        server.sendall(data)
                        down.join(LIMIT)  # until the server has answered, and so committed
                    break
                server.sendall(data)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            self._open.discard(end)
            end.close()

    def _down(self, server: socket.socket, client: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if silent.is_set():
                    if READY in data:
                        return
                else:
                    client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
