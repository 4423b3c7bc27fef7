"""A proxy in front of Postgres that cuts the connection at a chosen moment: simulated network failures on raw bytes."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from waiting import LIMIT

BEFORE, AFTER, DURING = "before", "after", "during"
"""BEFORE: the statement never arrives. AFTER: it is executed, but its answer is lost. DURING: it arrives, and the client does not wait
for its end."""


class Cutter:
    def __init__(self, url: str) -> None:
        self._to = conninfo_to_dict(url)
        self._folder = tempfile.TemporaryDirectory(prefix="cut")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(self._folder.name, ".s.PGSQL.5432")))
        self._listener.listen(32)
        self.url = f"postgresql:///{self._to['dbname']}?user={self._to['user']}&host={self._folder.name}&port=5432&sslmode=disable"
        for secret in ("password", "passfile"):
            if secret in self._to:
                self.url += f"&{secret}={self._to[secret]}"
        self.cut: str | None = None  # armed: cuts at the next statement that calls a function of ours
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self._folder.cleanup()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        lost = threading.Event()  # set: answers to this client are dropped from now on
        answers = threading.Thread(target=self._answers, args=(server, client, lost), daemon=True)
        answers.start()
        with contextlib.suppress(OSError):
            while sent := client.recv(1 << 20):
                if self.cut and b"ourvidz." in sent:
                    how, self.cut = self.cut, None
                    self.cuts += 1
                    if how == BEFORE:
                        break
                    lost.set()
                    server.sendall(sent)
                    if how == AFTER:
                        answers.join(LIMIT)
                    break
                server.sendall(sent)
        # Postgres still executes what it received: it notices the closed connection only when it sends an answer.
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _connect(self) -> socket.socket:
        host, port = str(self._to.get("host", "localhost")), int(self._to.get("port") or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    @staticmethod
    def _answers(server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while said := server.recv(1 << 20):
                if not lost.is_set():
                    client.sendall(said)
                elif said[-6:-1] == b"Z\x00\x00\x00\x05":  # ReadyForQuery: the statement is committed
                    return
