"""httpx clients with our common rules for proxies and certificates. httpx's own use of the environment is off: it fails on networks and
bracketed addresses in NO_PROXY, and sends requests to this machine through the proxy.
"""

from __future__ import annotations

import inspect
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from ourvidz.outbound.proxies import Proxy, rule

if TYPE_CHECKING:
    import httpx

HANDSHAKE = 30.0  # seconds to wait for a SOCKS proxy's answers: httpcore has no timeout for them


@cache
def certificates() -> ssl.SSLContext:
    """Trusted certificates: those of SSL_CERT_FILE and SSL_CERT_DIR if set, else the system's and certifi's."""
    import certifi

    context = ssl.create_default_context()  # OpenSSL reads both variables itself
    if not os.environ.get("SSL_CERT_FILE") and not os.environ.get("SSL_CERT_DIR"):
        context.load_verify_locations(certifi.where())
    return context


class _Ways:
    """A transport for each proxy in use, and one without, created on demand."""

    def __init__(self, library: Any, kind: str, more: dict[str, Any]) -> None:
        self._library, self._kind, self._more, self._rule = library, kind, more, rule()
        self._made: dict[Proxy | None, Any] = {}
        self._lock = threading.Lock()

    def of(self, url: Any) -> Any:
        proxy = self._rule.of(url.scheme, url.host, url.port)
        with self._lock:
            if proxy not in self._made:
                through = self._library.Proxy(proxy.url, auth=proxy.auth) if proxy else None
                make = getattr(self._library, self._kind)
                made = make(verify=certificates(), proxy=through, trust_env=False, **self._more)
                if proxy and proxy.url.startswith("socks"):
                    made._pool._network_backend = _Backend(made._pool._network_backend)  # neither library accepts one as an argument
                self._made[proxy] = made
            return self._made[proxy]

    def all(self) -> list[Any]:
        return list(self._made.values())


class _Backend:
    """httpcore's network backend, with a default timeout on its connections."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(self, *args: Any, **more: Any) -> Any:
        connected = self._backend.connect_tcp(*args, **more)
        return _awaited(connected) if inspect.isawaitable(connected) else _Stream(connected)


async def _awaited(connected: Any) -> _Stream:
    return _Stream(await connected)


class _Stream:
    """A stream with a default timeout. `read` and `write` return the library's result, or an awaitable of it in async code."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._stream.read(max_bytes, HANDSHAKE if timeout is None else timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> Any:
        return self._stream.write(buffer, HANDSHAKE if timeout is None else timeout)


@contextmanager
def _told(library: Any) -> Iterator[None]:
    """Raise `ProxyError` for socksio's ProtocolError, which httpcore does not translate and no retry expects."""
    from socksio import ProtocolError

    try:
        yield
    except ProtocolError as error:
        raise library.ProxyError(f"the proxy does not speak SOCKS5 ({error})") from None


def transport(library: Any = None, **more: Any) -> Any:
    """A synchronous transport of httpx, or of another `library` with its classes. Raises `BadProxy`."""
    if library is None:
        import httpx as library
    ways = _Ways(library, "HTTPTransport", more)

    class Transport(library.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            with _told(library):
                return ways.of(request.url).handle_request(request)

        def close(self) -> None:
            for each in ways.all():
                each.close()

    return Transport()


def client(**more: Any) -> httpx.Client:
    """As `httpx.Client(**more)`."""
    import httpx

    return httpx.Client(transport=transport(), trust_env=False, **more)


def async_client(limits: httpx.Limits | None = None, **more: Any) -> httpx.AsyncClient:
    """As `httpx.AsyncClient(**more)`."""
    import httpx

    ways = _Ways(httpx, "AsyncHTTPTransport", {} if limits is None else {"limits": limits})

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            with _told(httpx):
                answer: httpx.Response = await ways.of(request.url).handle_async_request(request)
                return answer

        async def aclose(self) -> None:
            for each in ways.all():
                await each.aclose()

    return httpx.AsyncClient(transport=Transport(), trust_env=False, **more)
