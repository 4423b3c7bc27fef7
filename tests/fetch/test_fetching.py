"""Every kind of server answer and its result: real TLS on loopback, under the tests' own authority."""

from __future__ import annotations

import ast
import datetime
import inspect
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from origin import ELSEWHERE, PICTURES, Behaviour, Canary, Origin, info, moved, ok
from proxy_server import Proxy
from waiting import LIMIT

import ourvidz.fetch
from ourvidz.fetch import Fetcher, FetchError, FetchRefused, FetchUnavailable, Limits, fetch
from ourvidz.outbound.proxies import rule

SMALL = Limits(bytes=10_000, total=1.0, connect=1.0, read=0.5, redirects=3, head=2_000)
SECRET = "/sign/someone/a.png?token=hush-hush"


def url(origin: Origin, path: str = "/a.png", host: str = PICTURES) -> str:
    return f"https://{host}:{origin.port}{path}"


@contextmanager
def secretive(kind: type[FetchError], match: str = "") -> Iterator[None]:
    with pytest.raises(kind, match=match) as raised:
        yield
    told = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert "hush" not in told and "/sign/" not in told


def test_a_file_is_returned_unchanged(origin: Origin, fetcher: Fetcher) -> None:
    origin.says["/a.png?w=1"] = ok(b"\x89PNG" * 1000)
    assert fetcher.get(url(origin, "/a.png?w=1#top")) == b"\x89PNG" * 1000
    (request,) = origin.asked
    assert request.split(b"\r\n") == [
        b"GET /a.png?w=1 HTTP/1.1",
        f"Host: {PICTURES}:{origin.port}".encode(),
        b"User-Agent: OurVidz",
        b"Accept: image/png, image/jpeg, image/webp, image/heic, image/avif",
        b"Accept-Encoding: identity",
        b"Connection: close",
        b"",
        b"",
    ]
    assert origin.names == [PICTURES]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello!",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok(b"hello!"),
        ok(b"hello!", "Content-Encoding: identity\r\nSet-Cookie: a=b\r\n"),
    ],
    ids=["chunked", "until it closes", "after a hint", "identity"],
)
def test_every_http_body_framing_is_read(origin: Origin, fetcher: Fetcher, answer: bytes) -> None:
    origin.says["/a.png"] = answer
    assert fetcher.get(url(origin), SMALL) == b"hello!"


def endless(wire: ssl.SSLSocket) -> None:
    wire.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        wire.sendall(b"400\r\n" + bytes(1024) + b"\r\n")


def drip(start: bytes, drops: bytes = b"x") -> Behaviour:
    def dripping(wire: ssl.SSLSocket) -> None:
        wire.sendall(start)
        pause = threading.Event()
        while not pause.wait(0.05):
            wire.sendall(drops)

    return dripping


def silent(wire: ssl.SSLSocket) -> None:
    wire.recv(1)


def raw(data: bytes) -> Behaviour:
    """Send, then cut the connection without a TLS close."""

    def cut(wire: ssl.SSLSocket) -> None:
        wire.sendall(data)
        wire.shutdown(socket.SHUT_RDWR)

    return cut


REFUSED: dict[str, tuple[bytes | Behaviour, str]] = {
    "not found": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
    "forbidden": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "answered 403"),
    "expired": (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "answered 400"),
    "part": (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx", "answered 206"),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
    "unchanged": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "answered 304"),
    "says it is big": (b"HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n", "has over 10,000 bytes"),
    "says it is endless": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n", "has over 10,000 bytes"),
    "is endless": (endless, "sends over 10,000 bytes"),
    "big until it closes": (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(10_001), "sends over 10,000 bytes"),
    "gzip": (ok(b"\x1f\x8b", "Content-Encoding: gzip\r\n"), "compressed"),
    "brotli in capitals": (ok(b"x", "CONTENT-ENCODING: BR\r\n"), "compressed"),
    "long headers": (ok(b"x", "X: " + "y" * 3_000 + "\r\n"), "bytes of headers"),
    "hints without end": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2_000, "sends over"),
    "chunk lines as padding": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"y" * 500 + b"\r\nx\r\n") * 500,
        "sends over",
    ),
    "to nowhere": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "redirects to nowhere"),
    "to no URL": (moved("https://[::1"), "redirects to what is no URL"),
    "to plain http": (moved("http://" + PICTURES + "/a.png"), "Only https"),
    "to a file": (moved("file:///etc/hostname"), "Only https"),
    "to itself": (moved("?hush-hush"), "more than 3 times"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_permanent_errors_are_refused(origin: Origin, fetcher: Fetcher, what: str) -> None:
    origin.says[SECRET], says = REFUSED[what]
    origin.says["/sign/someone/a.png?hush-hush"] = origin.says[SECRET]
    with secretive(FetchRefused, says):
        fetcher.get(url(origin, SECRET), SMALL)


UNAVAILABLE: dict[str, tuple[bytes | Behaviour, str]] = {
    "broken": (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "answered 500"),
    "busy": (b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n", "answered 503"),
    "too often": (b"HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n", "answered 429"),
    "cut short": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), "broke off"),
    "cut short between chunks": (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), "broke off"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2 hush-hush\r\n\r\n", "does not speak HTTP"),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", "does not speak HTTP"),
    "nothing at all": (raw(b""), "broke"),
    "silence": (silent, "silent for too long"),
    "single bytes of a header": (drip(b"HTTP/1.1 200 OK\r\nX: "), "took too long|silent"),
    "single bytes of a body": (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"), "took too long|silent"),
    "hints, one by one": (drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "took too long|silent"),
}


@pytest.mark.parametrize("what", UNAVAILABLE)
def test_temporary_errors_are_unavailable(origin: Origin, fetcher: Fetcher, what: str) -> None:
    origin.says[SECRET], says = UNAVAILABLE[what]
    with secretive(FetchUnavailable, says):
        fetcher.get(url(origin, SECRET), SMALL)


def test_redirects_are_followed_a_few_times(origin: Origin, fetcher: Fetcher) -> None:
    origin.says |= {
        "/1": moved("/2", 301),
        "/2": moved(url(origin, "/3", ELSEWHERE), 307),
        "/3": moved("4?x=y", 308),
        "/4?x=y": ok(b"there"),
    }
    assert fetcher.get(url(origin, "/1")) == b"there"
    assert origin.names == [PICTURES, PICTURES, ELSEWHERE, ELSEWHERE]
    assert b"Referer" not in b"".join(origin.asked)


def test_the_time_limit_covers_all_redirects(origin: Origin, fetcher: Fetcher) -> None:
    def slowly(wire: ssl.SSLSocket) -> None:
        threading.Event().wait(0.4)
        wire.sendall(moved("?again"))

    origin.says |= {"/a.png": slowly, "/a.png?again": slowly}
    with pytest.raises(FetchUnavailable, match=r"took too long|silent"):
        fetcher.get(url(origin), replace(SMALL, total=0.7, redirects=1_000))


# -- server identity ---------------------------------------------------------------------------------------------------------------------


def past(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(PICTURES, not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))


@pytest.mark.parametrize(
    "certificate",
    [
        lambda ca: ca.issue_cert("another.example.net"),
        lambda ca: trustme.CA().issue_cert(PICTURES),
        past,
        lambda ca: ca.issue_cert("127.0.0.1"),
    ],
    ids=["another name's", "another authority's", "expired", "an address's"],
)
def test_a_host_must_prove_its_name(authority: trustme.CA, fetcher: Fetcher, certificate: Callable[[trustme.CA], trustme.LeafCert]) -> None:
    other = Origin(authority, {SECRET: ok()}, certificate=certificate(authority))
    reach = replace(fetcher, ports=frozenset({other.port}), also=frozenset({("127.0.0.1", other.port)}))
    with secretive(FetchRefused, "no valid certificate"):
        reach.get(url(other, SECRET))
    assert other.asked == []
    other.close()


def test_a_port_that_accepts_and_never_speaks_tls_is_given_up(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        reach = replace(fetcher, ports=frozenset({port}), also=frozenset({("127.0.0.1", port)}))
        with secretive(FetchUnavailable, "silent"):
            reach.get(f"https://{PICTURES}:{port}{SECRET}", SMALL)


def test_a_closed_port_is_unavailable(origin: Origin, fetcher: Fetcher) -> None:
    origin.close()
    with secretive(FetchUnavailable, r"cannot be reached|broke"):
        fetcher.get(url(origin, SECRET), SMALL)


def test_the_next_address_is_tried(origin: Origin, fetcher: Fetcher) -> None:
    origin.says["/a.png"] = ok(b"there")
    answer = [info("127.0.0.9", origin.port), info("127.0.0.1", origin.port)]
    two = replace(fetcher, resolve=lambda *_: answer, also=frozenset((str(a[4][0]), origin.port) for a in answer))
    assert two.get(url(origin)) == b"there"


@pytest.mark.parametrize(("errno", "kind"), [(socket.EAI_NONAME, FetchRefused), (socket.EAI_AGAIN, FetchUnavailable)])
def test_a_name_that_does_not_resolve(errno: int, kind: type[FetchError]) -> None:
    def resolve(*_: object) -> list[object]:
        raise socket.gaierror(errno, "no")

    with secretive(kind, "no host|could not be resolved"):
        Fetcher(resolve).get("https://nowhere.example.net" + SECRET)


def test_a_hung_resolver_is_abandoned() -> None:
    release = threading.Event()

    def resolve(*_: object) -> list[object]:
        release.wait(LIMIT)
        return []

    with secretive(FetchUnavailable, "not resolved in time"):
        Fetcher(resolve).get("https://nowhere.example.net" + SECRET, replace(SMALL, connect=0.1))
    release.set()


# -- production settings -----------------------------------------------------------------------------------------------------------------


def test_the_environment_is_ignored(
    origin: Origin, canary: Canary, fetcher: Fetcher, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, no trusted certificates and no key log file."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    origin.says["/a.png"] = ok(b"there")
    ourvidz.fetch.fetcher._public_roots.cache_clear()
    with pytest.raises(FetchRefused, match="no valid certificate"):
        replace(fetcher, roots=Fetcher().roots).get(url(origin))
    assert fetcher.get(url(origin)) == b"there"
    assert canary.strangers() == []
    assert not (tmp_path / "keys").exists()


def test_fetch_accepts_only_a_url_and_limits() -> None:
    """No code of ours can widen the reachable addresses: only tests construct a Fetcher with fields of its own."""
    assert list(inspect.signature(fetch).parameters) == ["url", "limits"]
    root = Path(ourvidz.__path__[0]).parent
    calls = [
        node
        for folder in ("ourvidz", "executors", "state", "migrations")
        for file in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Fetcher"
    ]
    assert len(calls) == 1 and not calls[0].args and not calls[0].keywords


@pytest.mark.parametrize(("kind", "said"), [("http", "CONNECT"), ("socks5", "socks5"), ("socks5h", "socks5")])
@pytest.mark.parametrize("login", ["", "user:pass"])
def test_through_a_proxy(origin: Origin, fetcher: Fetcher, kind: str, said: str, login: str) -> None:
    """The proxy is asked for the checked address, so that it cannot resolve the name differently; TLS uses the name."""
    origin.says["/a.png"] = ok(b"a picture")
    proxy = Proxy(origin.port, login=login, bytewise=True)
    try:
        ours = replace(fetcher, rule=lambda: rule({"ALL_PROXY": proxy.url(kind)}), resolve=lambda _, port: [info("203.0.113.7", port)])
        assert replace(ours, also=frozenset({("203.0.113.7", origin.port)})).get(url(origin)) == b"a picture"
        assert proxy.asked == [(said, f"203.0.113.7:{origin.port}")] and origin.names == [PICTURES]
        with pytest.raises(FetchRefused, match="nothing is fetched from there"):  # a non-public address is not even requested
            replace(ours, resolve=lambda _, port: [info("10.0.0.7", port)]).get(url(origin))
        exempt = replace(fetcher, rule=lambda: rule({"ALL_PROXY": proxy.url(kind), "NO_PROXY": PICTURES}))
        assert exempt.get(url(origin)) == b"a picture" and len(proxy.asked) == 1
    finally:
        proxy.close()


@pytest.mark.parametrize("kind", ["http", "socks5", "https"])
def test_a_proxy_that_refuses_is_unavailable(origin: Origin, fetcher: Fetcher, kind: str) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    nowhere = closed.getsockname()[1]
    closed.close()
    proxy, other = Proxy(origin.port, refuse=True), Proxy(origin.port, login="user:pass")
    behind = replace(fetcher, resolve=lambda _, port: [info("203.0.113.7", port)], also=frozenset({("203.0.113.7", origin.port)}))
    try:
        for address in (proxy.url(kind), f"{kind}://127.0.0.1:{other.port}", f"{kind}://user:hush@127.0.0.1:{other.port}",
                        f"{kind}://127.0.0.1:{nowhere}", f"{kind}://127.0.0.1:{origin.port}"):  # fmt: skip
            with secretive(FetchUnavailable, "HTTPS_PROXY"):
                replace(behind, rule=lambda address=address: rule({"HTTPS_PROXY": address})).get(url(origin), SMALL)
    finally:
        proxy.close()
        other.close()
