from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
import trustme
from origin import NAMES, Canary, Origin, info

from ourvidz.fetch import Fetcher


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def origin(authority: trustme.CA) -> Iterator[Origin]:
    made = Origin(authority)
    yield made
    made.close()


@pytest.fixture
def canary() -> Iterator[Canary]:
    made = Canary()
    assert made.strangers() == []
    yield made
    made.close()


@pytest.fixture
def roots(authority: trustme.CA) -> Callable[[], ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return lambda: context


@pytest.fixture
def fetcher(origin: Origin, canary: Canary, roots: Callable[[], ssl.SSLContext]) -> Fetcher:
    """Reaches the origin under its names; would reach the canary, whose port is allowed, if its addresses were public."""

    def resolve(host: str, port: int) -> list[tuple[object, ...]]:
        if host in NAMES:
            return [info("127.0.0.1", port)]
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    ports = frozenset({443, origin.port, canary.port})
    return Fetcher(resolve, roots, ports, also=frozenset({("127.0.0.1", origin.port)}))
