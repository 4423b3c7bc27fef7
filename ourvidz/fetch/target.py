"""Validate URLs and check that addresses are public. Both are decided only here, by allowlist."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final


class FetchError(Exception):
    """Base class. The message names only the host: the path and query of a signed URL are secret."""


class FetchRefused(FetchError):
    """The URL is not allowed, or its answer is not accepted. A retry would be refused too."""


class FetchUnavailable(FetchError):
    """The host did not answer, or not properly. A retry may succeed."""


@dataclass(frozen=True)
class Target:
    """A checked URL. `path` holds the query too; it stays out of messages and representations."""

    host: str
    port: int
    path: str = field(repr=False)

    @property
    def authority(self) -> str:
        return self.host if self.port == 443 else f"{self.host}:{self.port}"


LONGEST: Final = 2_000  # characters in a URL
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
# This expression is the only parser of the URL: its match is what is resolved, connected to, verified and requested, so no second
# parser can see another host in it. It allows no user:password@, no brackets, no backslash, no trailing dot. ASCII: without it
# IGNORECASE takes ſ for s and the Kelvin sign for k.
_URL = re.compile(
    rf"https://(?P<host>{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>[0-9]{{1,5}}))?(?P<path>(?:[/?][!\"$-\[\]-~]*)?)(?:\#[!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
# The WHATWG's "ends in a number": true of every IPv4 spelling that a resolver accepts (127.1, 0x7f000001, 017700000001).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
PRIVATE_NAMES: Final = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "arpa", "onion"}
)
"""Last labels that are never a public host's (RFC 6761, 6762, 8375; ICANN's reserved `internal`): metadata.google.internal, say."""


def target(url: str, ports: frozenset[int] = frozenset({443})) -> Target:
    """Parse and check a URL. Raises `FetchRefused`, whose message does not contain the URL."""
    if len(url) > LONGEST:
        raise FetchRefused(f"The URL has {len(url):,} characters; at most {LONGEST:,} are allowed.")
    found = _URL.fullmatch(url)
    if found is None:
        raise FetchRefused(_why_unread(url))
    host, port, path = found["host"].lower(), int(found["port"] or 443), found["path"]
    last = host.rpartition(".")[2]
    if _NUMBER.fullmatch(last):
        raise FetchRefused(f"{host} is an address in numbers. Give the host's name.")
    if "." not in host or last in PRIVATE_NAMES:
        raise FetchRefused(f"{host} is no name of a public host.")
    if len(host) > 253:
        raise FetchRefused("The host's name is over 253 characters long.")
    if port not in ports:
        raise FetchRefused(f"Port {port} is not allowed: pictures are fetched from https's own, {', '.join(map(str, sorted(ports)))}.")
    return Target(host, port, path if path.startswith("/") else f"/{path}")


def _why_unread(url: str) -> str:
    if not url.lower().startswith("https://"):
        return "Only https:// URLs are fetched."
    authority = re.split(r"[/?#]", url[8:], maxsplit=1)[0]
    if "@" in authority:
        return "The URL holds a user name or password. Leave them out."
    if "[" in authority:
        return "The URL gives its host as an address. Give the host's name."
    if not url.isascii():
        return "The URL holds characters beyond ASCII. Write the host in its xn-- form, and the rest percent-encoded."
    return "The URL is not well-formed: https://host/path, with no spaces, backslashes or control characters."


_NOT_PUBLIC: Final = tuple(
    (ip_network(network), why)
    for network, why in (
        ("168.63.129.16/32", "a cloud's metadata service"),  # Azure's, at a public address
        ("192.0.0.0/24", "reserved"),  # where Oracle's metadata service is; Python calls two of them global
        ("192.88.99.0/24", "a relay to embedded addresses"),  # 6to4
        ("2001::/23", "reserved"),  # Teredo and ORCHID: an IPv4 address in disguise, and no address at all
        ("2001:db8::/32", "reserved"),
        ("2002::/16", "an embedded IPv4 address"),  # 6to4
        ("3fff::/20", "reserved"),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # the interface identifier's first half, before an IPv4 address (RFC 5214)


def not_public(address: str) -> str | None:
    """The reason why an address is not public, or None if it is.

    Public IPv6 is 2000::/3 except what is reserved in it (IANA's special-purpose registry): mapped, compatible, NAT64, link-local and
    unique local addresses lie outside. Python's `is_global` is checked too, but counts multicast, ::127.0.0.1, 6to4 and NAT64 as
    global.
    """
    ip: IPv4Address | IPv6Address = ip_address(address)
    for network, why in _NOT_PUBLIC:
        if ip in network:
            return why
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return "an address of this machine's own networks"
        if ip not in _GLOBAL_UNICAST:
            return "not a public address"
        if (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "an embedded IPv4 address"
    return None if ip.is_global and not ip.is_multicast and not ip.is_reserved else "not a public address"
