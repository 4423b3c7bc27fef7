"""URLs aimed at this machine or its neighbours. Each is refused, and nothing connects to a canary that listens on all local addresses, on a
port that these fetchers may use."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from origin import ELSEWHERE, NAMES, PICTURES, Canary, Origin, info, moved

from ourvidz.fetch import Fetcher, FetchRefused, FetchUnavailable

# {port} is replaced by the canary's.
URLS = Path(__file__).with_name("hostile_urls.txt").read_text(encoding="utf-8").split()
WITH_BLANKS = [
    "https://127.0.0.1:{port}/ ",
    " https://127.0.0.1:{port}/",
    "https://127.0.\t0.1:{port}/",
    "https://127.0.0.1:{port}/\r\nHost: x",
    "https://127.0.0.1\n:{port}/",
    "https://127.0.0.1:{port}/\0.png",
    "",
    "https://",
    "https://pictures.example.net/" + "a" * 2_000,
]

NAMED = {
    "loopback": ["127.0.0.1"],
    "loopback6": ["::1"],
    "unspecified": ["0.0.0.0"],
    "unspecified6": ["::"],
    "mapped": ["::ffff:127.0.0.1"],
    "compatible": ["::127.0.0.1"],
    "nat64": ["64:ff9b::7f00:1"],
    "sixtofour": ["2002:7f00:1::1"],
    "teredo": ["2001:0:7f00:1::80ff:fffe"],
    "linklocal": ["169.254.169.254"],
    "linklocal6": ["fe80::1%lo"],
    "scoped": ["::1%lo"],
    "uniquelocal": ["fd00:ec2::254"],
    "private10": ["10.0.0.7"],
    "private172": ["172.31.255.255"],
    "private192": ["192.168.0.1"],
    "carrier": ["100.64.0.1"],
    "azure": ["168.63.129.16"],
    "multicast": ["224.0.0.251"],
    "multicast6": ["ff02::fb"],
    "broadcast": ["255.255.255.255"],
    "benchmark": ["198.18.0.1"],
    "publicandprivate": ["1.1.1.1", "127.0.0.1"],
    "privateandpublic": ["127.0.0.1", "1.1.1.1"],
    "manyandone": [*["1.1.1.1"] * 50, "::1"],
    "127.0.0.1.nip": ["127.0.0.1"],
    "xn--rebinding-test": ["::1", "127.0.0.1"],
}


def own_addresses() -> list[str]:
    """This machine's own addresses, from a connected datagram socket, which sends nothing."""
    found = []
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if probe.connect_ex((somewhere, 9)) == 0:
                found.append(probe.getsockname()[0])
    return found


@pytest.fixture
def reach(fetcher: Fetcher) -> Fetcher:
    """Resolves addresses spelled in a URL as the system would, and the names above to their addresses."""

    def resolve(host: str, port: int) -> list[tuple[object, ...]]:
        label = host.removesuffix(".example.net")
        if host in NAMES:
            return fetcher.resolve(host, port)  # type: ignore[return-value]
        if label in NAMED:
            return [info(address, port) for address in NAMED[label]]
        if host.rstrip(".").endswith(("localhost", "localdomain", "local", "internal", "metadata")):
            return [info("127.0.0.1", port)]
        return socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)  # type: ignore[return-value]

    return replace(fetcher, resolve=resolve)


@pytest.fixture(autouse=True)
def nobody_came(canary: Canary) -> Iterator[None]:
    yield
    assert canary.strangers() == []


def test_the_lists_are_long() -> None:
    assert len(URLS) + len(WITH_BLANKS) + len(NAMED) >= 60


@pytest.mark.parametrize("url", [*URLS, *WITH_BLANKS], ids=ascii)
def test_hostile_urls_are_refused(reach: Fetcher, canary: Canary, url: str) -> None:
    with pytest.raises(FetchRefused):
        reach.get(url.format(port=canary.port))


@pytest.mark.parametrize("name", NAMED)
def test_names_of_private_addresses_are_refused(reach: Fetcher, canary: Canary, name: str) -> None:
    with pytest.raises(FetchRefused, match="leads to"):
        reach.get(f"https://{name}.example.net:{canary.port}/")


@pytest.mark.parametrize("url", [*URLS, *(f"https://{name}.example.net:{{port}}/" for name in NAMED)], ids=ascii)
def test_redirects_to_hostile_urls_are_refused(reach: Fetcher, origin: Origin, canary: Canary, url: str) -> None:
    """From an allowed host. A Location that is not an absolute URL stays on that host, which has nothing there."""
    there = url.format(port=canary.port)
    origin.says["/a.png"] = moved(there)
    with pytest.raises(FetchRefused):
        reach.get(f"https://{PICTURES}:{origin.port}/a.png")
    assert origin.asked[0].startswith(b"GET /a.png ")


def test_a_redirect_may_not_leave_https_for_the_same_host(reach: Fetcher, origin: Origin, canary: Canary) -> None:
    origin.says["/a.png"] = moved(f"http://{PICTURES}:{canary.port}/")
    with pytest.raises(FetchRefused, match="Only https"):
        reach.get(f"https://{PICTURES}:{origin.port}/a.png")


def test_this_machines_own_addresses_are_refused(fetcher: Fetcher, canary: Canary) -> None:
    for address in own_addresses():
        answer = [info(address, canary.port)]
        reach = replace(fetcher, resolve=lambda *_, answer=answer: answer)
        # If the machine has a public address of its own, that is allowed as such, and TLS must prove its name.
        with pytest.raises((FetchRefused, FetchUnavailable)) as refused:
            reach.get(f"https://{ELSEWHERE}:{canary.port}/")
        if refused.type is FetchUnavailable:
            assert canary.strangers()


def test_a_name_that_rebinds_is_resolved_once(fetcher: Fetcher, origin: Origin, canary: Canary) -> None:
    """First an allowed address, then loopback at the canary's port: the first answer is checked and used to connect."""
    answers = iter([[info("127.0.0.1", origin.port)], [info("127.0.0.1", canary.port)]])
    reach = replace(fetcher, resolve=lambda *_: next(answers))
    origin.says["/a.png"] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    assert reach.get(f"https://{PICTURES}:{origin.port}/a.png") == b"hi"
    assert len(list(answers)) == 1


def test_a_name_that_rebinds_between_redirects_is_checked_again(fetcher: Fetcher, origin: Origin, canary: Canary) -> None:
    answers = iter([[info("127.0.0.1", origin.port)], [info("127.0.0.2", canary.port)]])
    reach = replace(fetcher, resolve=lambda *_: next(answers))
    origin.says["/a.png"] = moved(f"https://{PICTURES}:{canary.port}/")
    with pytest.raises(FetchRefused, match="leads to"):
        reach.get(f"https://{PICTURES}:{origin.port}/a.png")


def test_the_canary_records_connections(fetcher: Fetcher, canary: Canary) -> None:
    with pytest.raises(FetchUnavailable):
        replace(fetcher, also=frozenset({("127.0.0.1", canary.port)})).get(f"https://{PICTURES}:{canary.port}/")
    assert len(canary.strangers()) == 1
