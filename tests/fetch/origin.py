"""Servers for the fetcher's tests: a TLS server with a test certificate and scripted answers, and one that must not be reached."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import trustme
from waiting import LIMIT

NAMES = ("pictures.example.net", "elsewhere.example.net")
PICTURES, ELSEWHERE = NAMES
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
Behaviour = Callable[[ssl.SSLSocket], None]


def info(address: str, port: int) -> tuple[int, int, int, str, tuple[object, ...]]:
    """An address as returned by `socket.getaddrinfo`."""
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)


def ok(body: bytes = b"a picture", more: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def moved(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def shut(listener: socket.socket) -> None:
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # wakes a thread blocked in accept, which would take one more connection
    listener.close()


@dataclass
class Origin:
    """A TLS server on loopback. `says[path]` is its answer: bytes, or a function that gets the connection."""

    authority: trustme.CA
    says: dict[str, bytes | Behaviour] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)  # whole requests
    names: list[str | None] = field(default_factory=list)  # server names from TLS (SNI)
    certificate: trustme.LeafCert | None = None

    def __post_init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (self.certificate or self.authority.issue_cert(*NAMES)).configure_cert(self._context)
        self._context.sni_callback = lambda _, name, __: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, plain: socket.socket) -> None:
        with suppress(OSError):  # the client may disconnect at any time
            plain.settimeout(60)
            with self._context.wrap_socket(plain, server_side=True) as wire:
                request = b""
                while b"\r\n\r\n" not in request and (part := wire.recv(65_536)):
                    request += part
                self.asked.append(request)
                answer = self.says.get(request.split(b" ")[1].decode(), NOT_FOUND)
                if isinstance(answer, bytes):
                    wire.sendall(answer)
                else:
                    answer(wire)

    def close(self) -> None:
        shut(self._listener)


class Canary:
    """Listens on every address of this machine and records who connects."""

    def __init__(self) -> None:
        self._peers: list[tuple[str, int]] = []
        self._came = threading.Condition()
        v4 = socket.create_server(("0.0.0.0", 0))
        self.port: int = v4.getsockname()[1]
        self._doors = [("127.0.0.1", v4)]
        if socket.has_ipv6:
            with suppress(OSError):  # without IPv6 nobody can connect that way either
                self._doors.append(("::1", socket.create_server(("::", self.port), family=socket.AF_INET6)))
        for _, listener in self._doors:
            threading.Thread(target=self._remember, args=(listener,), daemon=True).start()

    def _remember(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, peer = listener.accept()
                connection.close()
                with self._came:
                    self._peers.append(peer[:2])
                    self._came.notify_all()

    def strangers(self) -> list[tuple[str, int]]:
        """Connections since the last call. It first connects to each of its own sockets, so that all earlier ones are recorded by then."""
        knocks = set()
        for host, _ in self._doors:
            with socket.create_connection((host, self.port)) as knock:
                knocks.add(knock.getsockname()[:2])
        with self._came:
            assert self._came.wait_for(lambda: knocks <= set(self._peers), timeout=LIMIT), "the canary is dead"
            found = [peer for peer in self._peers if peer not in knocks]
            self._peers.clear()
        return found

    def close(self) -> None:
        for _, listener in self._doors:
            shut(listener)
