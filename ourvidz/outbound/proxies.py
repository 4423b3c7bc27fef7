"""Choose the proxy for a connection from the environment: one rule for all our clients (docs/decisions/0049).

HTTPS_PROXY and HTTP_PROXY apply to URLs of their scheme, ALL_PROXY to schemes without one; lower-case names take precedence. NO_PROXY lists
what is reached directly, with the syntax of curl and Go. This machine itself is always reached directly.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import unquote, urlsplit

VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
KINDS = ("http", "https", "socks5", "socks5h")


class BadProxy(Exception):
    """A variable's value is not a usable proxy. The message does not contain the value: it may hold a password."""


@dataclass(frozen=True)
class Proxy:
    """`kind`: http (CONNECT, or the whole URL for http://), https (the same over TLS), socks5. All names are resolved by the proxy."""

    kind: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    variable: str = field(default="", compare=False)

    @property
    def url(self) -> str:
        """The proxy's URL without user and password."""
        return f"{self.kind}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def auth(self) -> tuple[str, str] | None:
        return (self.user, self.password) if self.user or self.password else None

    @property
    def shown(self) -> str:
        return f"{self.variable} ({self.url}{', with a password' if self.password else ''})"


@dataclass(frozen=True)
class Exempt:
    """An entry of NO_PROXY. `name`: matches that host and its subdomains; `port` 0: any."""

    name: str = ""
    network: IPv4Network | IPv6Network | None = None
    port: int = 0

    def covers(self, host: str, port: int) -> bool:
        if self.port not in (0, port):
            return False
        if self.network is not None:
            return _in(host, self.network)
        return self.name == "*" or host == self.name or host.endswith(f".{self.name}")


@dataclass(frozen=True)
class Rule:
    proxies: Mapping[str, Proxy]  # by scheme, or "all"
    exempt: tuple[Exempt, ...] = ()

    def of(self, scheme: str, host: str, port: int | None = None, address: str = "") -> Proxy | None:
        """The proxy for a connection to `host` (a name, or an address with or without brackets); None: direct. `address`: the name's
        address, if the caller has resolved it; NO_PROXY may list that too."""
        proxy = self.proxies.get(scheme) or self.proxies.get("all")
        if proxy is None:
            return None
        port = port or {"https": 443, "http": 80}.get(scheme, 0)
        known = [one for one in (_bare(host), _bare(address)) if one]
        direct = any(_own(one) or any(entry.covers(one, port) for entry in self.exempt) for one in known)
        return None if direct else proxy


def rule(environ: Mapping[str, str] | None = None) -> Rule:
    """Read the rule from the environment. Raises `BadProxy`."""
    environ = os.environ if environ is None else environ
    given = {name: _value(environ, name).strip() for name in VARIABLES}
    found = {name.removesuffix("_PROXY").lower(): _proxy(name, value) for name, value in given.items() if value}
    entries = (_exempt(entry) for entry in re.split(r"[\s,]+", _value(environ, "NO_PROXY")) if entry)
    return Rule(found, tuple(entries))


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ[name.lower()] if name.lower() in environ else environ.get(name, "")


def _proxy(variable: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
    except ValueError:  # brackets that do not close
        parts = urlsplit("http://")
    kind = {"socks": "socks5"}.get(parts.scheme.lower(), parts.scheme.lower())  # desktops write socks://
    if kind not in KINDS:
        raise BadProxy(f"{variable}: a proxy's address begins with {', '.join(f'{one}://' for one in KINDS)}; {kind[:20]}:// is not known.")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # a port, or brackets, that cannot be read
        host, port = None, None
    if not host:
        raise BadProxy(f"{variable} is not a proxy's address: write it like http://proxy.example:3128 or socks5://127.0.0.1:1080.")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(kind, host, port or {"http": 80, "https": 443}.get(kind, 1080), user, password, variable)


def _exempt(entry: str) -> Exempt:
    """Parse `*`, host, .host, host:port, an address, [address]:port, or a network. Anything else is a name that matches nothing."""
    text, port = entry.lower(), 0
    if found := re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:]+):(\d{1,5})", text):
        text, port = found[1], int(found[2])
    try:
        return Exempt(network=ip_network(text.strip("[]"), strict=False), port=port)
    except ValueError:
        return Exempt(text if text == "*" else text.removeprefix("*").strip("."), port=port)


def _bare(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")


def _in(host: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address in network or (mapped is not None and mapped in network)


def _own(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
