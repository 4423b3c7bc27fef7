"""One GET, by hand: resolve once, check every address, connect to exactly that address, verify TLS for the name, read with limits.

Plain sockets and h11 on purpose: no pool, cookie jar or redirect logic that could connect elsewhere. A proxy from the environment
(`ourvidz.outbound.proxies`) is asked to connect to the checked address, not to the name, so it cannot connect elsewhere either.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

from ourvidz.fetch.target import FetchRefused, FetchUnavailable, Target, not_public, target
from ourvidz.outbound import proxies, tunnel
from state.catalog import BUCKETS, REFERENCE_BUCKET

if TYPE_CHECKING:
    import h11

AddressInfo = tuple[Any, Any, int, str, Any]
Resolve = Callable[[str, int], list[AddressInfo]]
"""(host, port) → the result of `socket.getaddrinfo`. Raises `socket.gaierror`."""

ACCEPT: Final = "image/png, image/jpeg, image/webp, image/heic, image/avif"
ADDRESSES: Final = 4  # addresses of a name, tried in turn
REDIRECTS: Final = (301, 302, 303, 307, 308)
LATER: Final = (408, 425, 429)
"""Statuses below 500 after which another try may help."""


@dataclass(frozen=True)
class Limits:
    """Times in seconds; `total` covers all redirects, `read` a single read."""

    bytes: int = BUCKETS[REFERENCE_BUCKET].max_bytes
    total: float = 30.0
    connect: float = 5.0
    read: float = 10.0
    redirects: int = 3
    head: int = 16_384  # bytes of a response's status line and headers


LIMITS: Final = Limits()


def fetch(url: str, *, limits: Limits = LIMITS) -> bytes:
    """The bytes at an https URL. Raises `FetchRefused` (permanent) or `FetchUnavailable` (retryable); neither contains the URL."""
    return Fetcher().get(url, limits)


def _system(host: str, port: int) -> list[AddressInfo]:
    # The dot makes the name absolute: no search domain of resolv.conf is tried. As bytes, to bypass Python's IDNA codec.
    return socket.getaddrinfo(f"{host}.".encode(), port, type=socket.SOCK_STREAM)


@cache
def _public_roots() -> ssl.SSLContext:
    """A context that verifies certificate and host name. `create_default_context` would read SSL_CERT_FILE and SSLKEYLOGFILE."""
    import certifi

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    return context


@dataclass(frozen=True)
class Fetcher:
    """Production always uses the defaults: nothing in the environment or in a configuration sets these fields, except the proxy. Tests do:
    their hosts have no DNS, and their servers listen on loopback (`also`: non-public addresses and ports to allow) with their own CA."""

    resolve: Resolve = _system
    roots: Callable[[], ssl.SSLContext] = _public_roots
    ports: frozenset[int] = frozenset({443})
    also: frozenset[tuple[str, int]] = frozenset()
    rule: Callable[[], proxies.Rule] = proxies.rule

    def get(self, url: str, limits: Limits = LIMITS) -> bytes:
        """As `fetch`."""
        deadline = time.monotonic() + limits.total
        for _ in range(limits.redirects + 1):
            where = target(url, self.ports)
            got = self._ask(where, limits, deadline)
            if isinstance(got, bytes):
                return got
            try:
                url = urljoin(f"https://{where.authority}{where.path}", got)  # the result is checked like the first URL
            except ValueError:
                raise FetchRefused(f"{where.host} redirects to what is no URL.") from None
        raise FetchRefused(f"{where.host} redirects more than {limits.redirects} times.")

    def _ask(self, where: Target, limits: Limits, deadline: float) -> bytes | str:
        """The body, or the location that it redirects to."""
        with closing(self._connect(where, limits, deadline)) as plain:
            try:
                plain.settimeout(_left(where, deadline, limits.connect))
                with closing(self.roots().wrap_socket(plain, server_hostname=where.host)) as wire:
                    return _exchange(wire, where, limits, deadline)
            except ssl.SSLCertVerificationError as error:
                raise FetchRefused(f"{where.host} has no valid certificate ({error.verify_message}).") from None
            except TimeoutError:
                raise FetchUnavailable(f"{where.host} was silent for too long.") from None
            except OSError as error:  # ssl.SSLError is one
                raise FetchUnavailable(f"The connection to {where.host} broke ({type(error).__name__}).") from None

    def _connect(self, where: Target, limits: Limits, deadline: float) -> socket.socket:
        why = "no address"
        for family, sockaddr in self._addresses(where, limits, deadline):
            try:
                return self._reach(where, family, sockaddr, limits, deadline)
            except tunnel.TunnelFailed as error:
                why = str(error)
            except OSError as error:
                why = type(error).__name__
        raise FetchUnavailable(f"{where.host} cannot be reached ({why}).")

    def _reach(self, where: Target, family: int, sockaddr: Any, limits: Limits, deadline: float) -> socket.socket:
        try:
            proxy = self.rule().of("https", where.host, where.port, str(sockaddr[0]))
        except proxies.BadProxy as error:
            raise FetchUnavailable(f"{where.host} cannot be reached. {error}") from None
        if proxy is not None:
            return tunnel.connect(proxy, str(sockaddr[0]), where.port, lambda: _left(where, deadline, limits.connect))
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(_left(where, deadline, limits.connect))
            plain.connect(sockaddr)
        except BaseException:
            plain.close()
            raise
        return plain

    def _addresses(self, where: Target, limits: Limits, deadline: float) -> list[tuple[int, Any]]:
        """Resolve the name once. If one address is not public, the name is refused: such an answer is an attack or a mistake."""
        found: list[tuple[int, Any]] = []
        for family, _, _, _, sockaddr in self._resolved(where, _left(where, deadline, limits.connect)):
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = str(sockaddr[0])
            if (address, where.port) not in self.also and (why := not_public(address)):
                raise FetchRefused(f"{where.host} leads to {why}: nothing is fetched from there.")
            # Rebuilt from the checked address alone, without the answer's flow info and scope.
            ip = ip_address(address)
            found.append((family, (str(ip), where.port) if ip.version == 4 else (str(ip), where.port, 0, 0)))
        return list(dict.fromkeys(found))[:ADDRESSES]

    def _resolved(self, where: Target, seconds: float) -> list[AddressInfo]:
        """Resolve in a thread that may be left behind, as getaddrinfo has no timeout."""
        answer: SimpleQueue[list[AddressInfo] | OSError] = SimpleQueue()

        def look_up() -> None:
            try:
                answer.put(self.resolve(where.host, where.port))
            except (OSError, UnicodeError) as error:
                answer.put(error if isinstance(error, OSError) else OSError(str(error)))

        threading.Thread(target=look_up, name="resolve", daemon=True).start()
        try:
            found = answer.get(timeout=seconds)
        except Empty:
            raise FetchUnavailable(f"The name {where.host} was not resolved in time.") from None
        if isinstance(found, socket.gaierror) and found.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            raise FetchRefused(f"There is no host {where.host}.")
        if isinstance(found, OSError):
            raise FetchUnavailable(f"The name {where.host} could not be resolved.")
        return found


def _left(where: Target, deadline: float, most: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise FetchUnavailable(f"{where.host} took too long.")
    return min(left, most)


def _exchange(wire: ssl.SSLSocket, where: Target, limits: Limits, deadline: float) -> bytes | str:
    import h11

    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.head)
    asked = {"Host": where.authority, "User-Agent": "OurVidz", "Accept": ACCEPT, "Accept-Encoding": "identity", "Connection": "close"}
    request = h11.Request(method="GET", target=where.path, headers=list(asked.items()))
    body = bytearray()
    try:
        wire.settimeout(_left(where, deadline, limits.read))
        wire.sendall(http.send(request) or b"")
        http.send(h11.EndOfMessage())
        for event in _events(http, wire, where, limits, deadline):
            if isinstance(event, h11.Response):
                location = _judged(event, where, limits)
                if location is not None:
                    return location
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > limits.bytes:
                    raise FetchRefused(f"{where.host} sends over {limits.bytes:,} bytes.")
    except h11.RemoteProtocolError as error:  # not quoted: it may hold what the server echoed
        if error.error_status_hint == 431:
            raise FetchRefused(f"{where.host} answers with over {limits.head:,} bytes of headers.") from None
        raise FetchUnavailable(f"{where.host} broke off, or does not speak HTTP.") from None
    return bytes(body)


def _events(http: h11.Connection, wire: ssl.SSLSocket, where: Target, limits: Limits, deadline: float) -> Iterator[Any]:
    """The server's events until the end of its message. All that it sends is limited: interim responses and chunk lines are not body."""
    import h11

    most = limits.bytes + limits.bytes // 8 + 4 * limits.head
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            # A TLS read's timeout covers its whole record, so single bytes gain a slow server nothing.
            wire.settimeout(_left(where, deadline, limits.read))
            data = wire.recv(65_536)
            most -= len(data)
            if most < 0:
                raise FetchRefused(f"{where.host} sends over {limits.bytes:,} bytes.")
            http.receive_data(data)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
            return
        else:
            yield event


def _judged(response: h11.Response, where: Target, limits: Limits) -> str | None:
    """The location that it redirects to, or None if its body is the picture. Raises for everything else."""
    status, headers = response.status_code, dict(response.headers)
    if sum(len(name) + len(value) for name, value in response.headers) > limits.head:  # h11 limits only incomplete events
        raise FetchRefused(f"{where.host} answers with over {limits.head:,} bytes of headers.")
    if status in REDIRECTS:
        if b"location" not in headers:
            raise FetchRefused(f"{where.host} redirects to nowhere.")
        return headers[b"location"].decode("latin-1")
    if status in LATER or status >= 500:
        raise FetchUnavailable(f"{where.host} answered {status}.")
    if status != 200:
        raise FetchRefused(f"{where.host} answered {status}.")
    # We ask for identity encoding and never decompress: a compressed answer is refused.
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        raise FetchRefused(f"{where.host} sends a compressed answer, which was not asked for.")
    if int(headers.get(b"content-length", b"0")) > limits.bytes:
        raise FetchRefused(f"{where.host} has over {limits.bytes:,} bytes there.")
    return None
