"""All clients follow one proxy rule: the environment decides, and this machine is always contacted directly."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest
from proxy_server import Proxy

from ourvidz.cli.doctor_services import proxies
from ourvidz.db.outbox import Message
from ourvidz.delivery.sending import Keyring, send
from ourvidz.dev.process import answering
from ourvidz.dev.upstash import UpstashFace
from ourvidz.intake.upstash import RedisAway, RedisRefused, Upstash
from ourvidz.outbound import clients
from ourvidz.outbound.proxies import BadProxy, rule

NOWHERE = "http://127.0.0.1:9"  # nothing listens there
NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def set_them(**given: str) -> None:
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    return set_them


@pytest.fixture
def proxy_to() -> Iterator[Callable[..., Proxy]]:
    made: list[Proxy] = []

    def make(port: int, **more: object) -> Proxy:
        made.append(Proxy(port, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


def way(environ: dict[str, str], url: str) -> str | None:
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":") if rest.rpartition(":")[2].isdigit() else (rest, "", "")
    found = rule(environ).of(scheme, host, int(port) if port else None)
    return found and found.url


@pytest.mark.parametrize(
    ("environ", "url", "through"),
    [({"HTTPS_PROXY": "http://p:3128"}, "https://db.example", "http://p:3128"),
     ({"HTTPS_PROXY": "http://p:3128"}, "http://db.example", None),
     ({"HTTPS_PROXY": "p:3128"}, "https://db.example", "http://p:3128"),
     ({"HTTPS_PROXY": "http://p"}, "https://db.example", "http://p:80"),
     ({"ALL_PROXY": "socks5://p:1080"}, "https://db.example", "socks5://p:1080"),
     ({"ALL_PROXY": "socks5h://p"}, "http://db.example", "socks5h://p:1080"),
     ({"ALL_PROXY": "socks://p:1/"}, "https://db.example", "socks5://p:1"),
     ({"ALL_PROXY": "socks5://[fd00::1]:1080"}, "https://db.example", "socks5://[fd00::1]:1080"),
     ({"ALL_PROXY": "socks5://p", "HTTPS_PROXY": "http://q:1"}, "https://db.example", "http://q:1"),
     ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:2"}, "https://db.example", "http://q:2"),
     ({"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, "https://db.example", None),
     ({"HTTPS_PROXY": ""}, "https://db.example", None),
     # This machine
     ({"ALL_PROXY": "http://p:1"}, "http://127.0.0.1:8000", None),
     ({"ALL_PROXY": "http://p:1"}, "http://[::1]:8000", None),
     ({"ALL_PROXY": "http://p:1"}, "http://localhost:8000", None),
     ({"ALL_PROXY": "http://p:1"}, "http://project.localhost", None)],
)  # fmt: skip
def test_the_environment_selects_the_proxy(environ: dict[str, str], url: str, through: str | None) -> None:
    assert way(environ, url) == through


@pytest.mark.parametrize(
    ("entries", "direct", "not_direct"),
    [("*", ["https://a.example"], []),
     ("db.example", ["https://db.example", "https://eu.db.example", "https://DB.example."], ["https://mydb.example", "https://example"]),
     (".db.example", ["https://db.example", "https://eu.db.example"], ["https://mydb.example"]),
     ("*.db.example", ["https://eu.db.example"], ["https://mydb.example"]),
     ("db.example:8443", ["https://db.example:8443"], ["https://db.example"]),
     ("10.1.2.3", ["https://10.1.2.3"], ["https://10.1.2.4"]),
     ("10.0.0.0/8 192.168.0.0/16", ["https://10.200.1.1", "https://192.168.7.1"], ["https://11.0.0.1", "https://10.example"]),
     ("::1,fd00::/8", ["https://[fd12::1]", "https://[fdff::1]:8443"], ["https://[2001:db8::1]"]),
     ("[2001:db8::1]", ["https://[2001:db8::1]"], ["https://[2001:db8::2]"]),
     ("[2001:db8::1]:8443", ["https://[2001:db8::1]:8443"], ["https://[2001:db8::1]"]),
     ("2001:db8::1", ["https://[2001:db8:0:0:0:0:0:1]"], ["https://[2001:db8::2]"]),
     ("10.0.0.0/8", ["https://[::ffff:10.0.0.1]"], ["https://[::ffff:11.0.0.1]"]),
     ("10.0.0.0/99, <local>, ,a b", [], ["https://10.0.0.1", "https://c.example"])],
)  # fmt: skip
def test_no_proxy_entries_are_matched(entries: str, direct: list[str], not_direct: list[str]) -> None:
    environ = {"ALL_PROXY": "http://p:1", "NO_PROXY": entries}
    assert [way(environ, url) for url in direct] == [None] * len(direct)
    assert [way(environ, url) for url in not_direct] == ["http://p:1"] * len(not_direct)


@pytest.mark.parametrize("value", ["ftp://p:1", "socks4://p:1", "http://", "http://p:port", "http://[fd00:1", "socks5://u:hush@:1080"])
def test_an_invalid_proxy_is_refused_naming_its_variable(value: str, environment: Callable[..., None]) -> None:
    environment(ALL_PROXY=value)
    with pytest.raises(BadProxy, match="ALL_PROXY") as refused:
        clients.client()
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("login", ["", "some%40body:pass"])
def test_redis_through_a_proxy(
    upstash: UpstashFace, proxy_to: Callable[..., Proxy], environment: Callable[..., None], kind: str, login: str
) -> None:
    """The host name can be resolved by the proxy only."""
    proxy = proxy_to(int(upstash.url.rpartition(":")[2]), login=login.replace("%40", "@"))
    environment(
        ALL_PROXY=f"{kind}://{login}@127.0.0.1:{proxy.port}" if login else proxy.url(kind), NO_PROXY="fd00::/8,[::1],::1,10.0.0.0/8"
    )
    redis = Upstash("http://redis.example:8079", upstash.token)
    assert redis.pipeline([("PING",)]) == [b"PONG"]
    redis.close()
    assert set(proxy.asked) == {("http" if kind == "http" else "socks5", "redis.example:8079")}
    if login:
        environment(ALL_PROXY=f"{kind}://some%40body:wrong@127.0.0.1:{proxy.port}")
        with pytest.raises(RedisAway):
            Upstash("http://redis.example:8079", upstash.token).pipeline([("PING",)])


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_an_unusable_proxy_is_an_outage(
    upstash: UpstashFace, proxy_to: Callable[..., Proxy], environment: Callable[..., None], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "HANDSHAKE", 0.2)
    port = int(upstash.url.rpartition(":")[2])
    refuses, locked = proxy_to(port, refuse=True), proxy_to(port, login="user:pass")
    for address in (refuses.url(kind), f"{kind}://127.0.0.1:{locked.port}", f"{kind}://127.0.0.1:{port}", NOWHERE.replace("http", kind)):
        environment(ALL_PROXY=address)
        with pytest.raises((RedisAway, RedisRefused)):
            Upstash("http://redis.example:8079", "wrong").pipeline([("PING",)])


def test_a_silent_socks_proxy_times_out(environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """With both kinds of client; the connection stays open and no byte arrives."""
    monkeypatch.setattr(clients, "HANDSHAKE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment(ALL_PROXY=f"socks5://127.0.0.1:{silent.getsockname()[1]}")
        with clients.client(timeout=None) as client, pytest.raises(httpx.ReadTimeout):
            client.get("http://redis.example")

        async def ask() -> None:
            async with clients.async_client(timeout=None) as client:
                await client.get("http://redis.example")

        with pytest.raises(httpx.ReadTimeout):
            asyncio.run(ask())


def test_local_addresses_are_contacted_directly(upstash: UpstashFace, environment: Callable[..., None]) -> None:
    environment(ALL_PROXY=NOWHERE, HTTP_PROXY=NOWHERE, http_proxy=NOWHERE)
    assert Upstash(upstash.url, upstash.token).pipeline([("PING",)]) == [b"PONG"]
    assert not answering(f"{upstash.url}/ping")()  # 401, and not through the proxy
    assert answering(f"{upstash.url}/ping?_token={upstash.token}")()


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_callbacks_through_a_proxy(
    upstash: UpstashFace, proxy_to: Callable[..., Proxy], environment: Callable[..., None], kind: str
) -> None:
    proxy = proxy_to(int(upstash.url.rpartition(":")[2]))
    environment(ALL_PROXY=proxy.url(kind))
    message = Message("0", 0, f"http://receiver.example/ping?_token={upstash.token}", "HOOK", datetime.now(UTC), {})

    async def once() -> object:
        async with clients.async_client() as client:
            return await send(client, message, Keyring({"HOOK": "thirty-two-characters-of-a-word!"}))

    outcome = asyncio.run(once())
    assert outcome.status is not None and proxy.asked[0][1].startswith("receiver.example")  # type: ignore[attr-defined]


def test_storage_and_the_hub_use_the_same_transport(environment: Callable[..., None]) -> None:
    """Each makes its client through the code that reads the proxy variables: an invalid value proves it."""
    from ourvidz.storage.api import Api, Patience

    environment(ALL_PROXY="gopher://p")
    with pytest.raises(BadProxy, match="ALL_PROXY"):
        Api("https://project.supabase.co", "sb_secret_x", Patience())
    hub = pytest.importorskip("executors.models.hub")
    with pytest.raises(BadProxy, match="ALL_PROXY"):
        hub._client()


def test_doctor_says_which_proxies_are_in_force(environment: Callable[..., None]) -> None:
    assert list(proxies()) == []
    environment(HTTPS_PROXY="http://me:hush@proxy.example:3128", NO_PROXY="10.0.0.0/8,::1")
    (line,) = proxies()
    assert line.state == "ok" and "hush" not in line.found
    assert line.found == "HTTPS_PROXY (http://proxy.example:3128, with a password); 2 entries in NO_PROXY"


def test_http_clients_are_created_only_in_listed_files() -> None:
    """Anything outside this list would read the environment in its own way."""
    from pathlib import Path

    root = Path(__file__).parent.parent
    found = {
        str(path.relative_to(root))
        for folder in ("ourvidz", "executors", "state")
        for path in (root / folder).rglob("*.py")
        if re.search(r"httpx2?\.(Async)?Client\(|httpx2?\.(get|post|stream)\(|\burlopen\(", path.read_text())
    }
    assert found == {"ourvidz/outbound/clients.py", "executors/models/hub.py"}
    assert os.environ.get("ALL_PROXY") is None
