"""HTTP and SOCKS5 proxy for tests: connects every request to one local port and records the address that was asked for."""

from __future__ import annotations

import base64
import socket
import struct
import threading
from contextlib import suppress
from ipaddress import ip_address

from waiting import LIMIT


class Proxy:
    """`asked`: (kind, host:port as the client named it). `login`: the user:password it requires. `refuse`: refuses every request.
    `bytewise`: sends its last SOCKS reply in single bytes."""

    def __init__(self, port: int, login: str = "", refuse: bool = False, bytewise: bool = False) -> None:
        self._to, self._login, self._refuse, self._bytewise = port, login, refuse, bytewise
        self.asked: list[tuple[str, str]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, kind: str) -> str:
        return f"{kind}://{f'{self._login}@' if self._login else ''}127.0.0.1:{self.port}"

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.settimeout(30)
            first = client.recv(1, socket.MSG_PEEK)
            begun = self._socks(client) if first == b"\x05" else self._http(client)
            if begun is not None:
                self._relay(client, begun)

    def _http(self, client: socket.socket) -> bytes | None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65_536)
        line, *rest = head.split(b"\r\n")
        method, target, _ = line.split(b" ")
        login = b"Basic " + base64.b64encode(self._login.encode())
        kind = "CONNECT" if method == b"CONNECT" else "http"
        self.asked.append((kind, target.decode().removeprefix("http://").split("/")[0]))
        if self._refuse or (self._login and not any(field.split(b": ", 1)[1:] == [login] for field in rest)):
            status = b"403 Forbidden" if self._refuse else b"407 Proxy Authentication Required"
            client.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
            return None
        if kind == "http":
            return head  # the server accepts an absolute URL too
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return b""

    def _socks(self, client: socket.socket) -> bytes | None:
        ways = client.recv(2)[1]
        offered = client.recv(ways)
        way = 2 if self._login else 0
        client.sendall(bytes([5, way if way in offered else 255]))
        if way not in offered:
            return None
        if self._login:
            user = client.recv(client.recv(2)[1])
            password = client.recv(client.recv(1)[0])
            good = user + b":" + password == self._login.encode()
            client.sendall(bytes([1, 0 if good else 1]))
            if not good:
                return None
        kind = client.recv(4)[3]
        host = client.recv(client.recv(1)[0]).decode() if kind == 3 else str(ip_address(client.recv({1: 4, 4: 16}[kind])))
        (port,) = struct.unpack(">H", client.recv(2))
        self.asked.append(("socks5", f"{host}:{port}"))
        reply = bytes([5, 2 if self._refuse else 0, 0, 1, 0, 0, 0, 0, 0, 0])
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [reply[n : n + 1] for n in range(len(reply))] if self._bytewise else [reply]:
            client.sendall(piece)
        return None if self._refuse else b""

    def _relay(self, client: socket.socket, begun: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._to)) as server:
            server.sendall(begun)
            back = threading.Thread(target=_pour, args=(server, client), daemon=True)
            back.start()
            _pour(client, server)
            back.join(LIMIT)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
