"""Connect through a proxy to one address, over plain sockets: HTTP CONNECT (RFC 9110, 9.3.6) or SOCKS5 (RFC 1928, 1929).

The caller has checked the address, and the proxy resolves no name, so it cannot connect elsewhere.
"""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable
from ipaddress import ip_address

from ourvidz.outbound.proxies import Proxy

HEAD = 16_384  # maximum bytes of a proxy's answer before the tunnel is open


class TunnelFailed(OSError):
    """The proxy's answer is not valid, or it refuses the connection. The message names its variable."""


def connect(proxy: Proxy, address: str, port: int, left: Callable[[], float]) -> socket.socket:
    """Open a tunnel. `left` returns the remaining seconds. Raises `TunnelFailed`, and what `left` raises."""
    if proxy.kind == "https":
        raise TunnelFailed(f"references are not fetched through an https:// proxy ({proxy.variable}): name an http:// or socks5:// one")
    try:
        made = socket.create_connection((proxy.host, proxy.port), timeout=left())
    except OSError as error:
        raise TunnelFailed(f"the proxy of {proxy.variable} cannot be reached ({type(error).__name__})") from None
    try:
        (_by_http if proxy.kind == "http" else _by_socks)(made, proxy, address, port, left)
    except BaseException as error:
        made.close()
        if isinstance(error, OSError) and not isinstance(error, TunnelFailed):
            raise TunnelFailed(f"the proxy of {proxy.variable} broke off ({type(error).__name__})") from None
        raise
    return made


def _by_http(wire: socket.socket, proxy: Proxy, address: str, port: int, left: Callable[[], float]) -> None:
    target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.auth:
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(":".join(proxy.auth).encode()).decode())
    wire.sendall("\r\n".join([*lines, "", ""]).encode())
    said = b""
    while b"\r\n\r\n" not in said:
        said += _some(wire, proxy, left)
        if len(said) > HEAD:
            raise TunnelFailed(f"the proxy of {proxy.variable} says more than {HEAD:,} bytes")
    status = re.match(rb"HTTP/1\.[01] (\d{3})", said)
    if status is None or not status[1].startswith(b"2"):
        raise TunnelFailed(f"the proxy of {proxy.variable} answers {status[1].decode() if status else 'no HTTP'} to a CONNECT to {target}")


def _by_socks(wire: socket.socket, proxy: Proxy, address: str, port: int, left: Callable[[], float]) -> None:
    user, password = (word.encode()[:255] for word in proxy.auth or ("", ""))
    ways = b"\x00\x02" if proxy.auth else b"\x00"  # no login; user and password
    wire.sendall(bytes([5, len(ways)]) + ways)
    version, way = _exactly(wire, 2, proxy, left)
    if version != 5:
        raise TunnelFailed(f"the proxy of {proxy.variable} does not speak SOCKS5")
    if way == 2 and proxy.auth:
        wire.sendall(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if _exactly(wire, 2, proxy, left)[1] != 0:
            raise TunnelFailed(f"the proxy of {proxy.variable} refuses its user and password")
    elif way != 0:
        raise TunnelFailed(f"the proxy of {proxy.variable} asks for a login: put user:password@ into the variable")
    ip = ip_address(address)
    wire.sendall(bytes([5, 1, 0, 1 if ip.version == 4 else 4]) + ip.packed + port.to_bytes(2, "big"))
    _, code, _, kind = _exactly(wire, 4, proxy, left)
    if code != 0:
        raise TunnelFailed(f"the proxy of {proxy.variable} does not connect to {address} (SOCKS5 reply {code})")
    bound = {1: 4, 4: 16}.get(kind) or _exactly(wire, 1, proxy, left)[0]
    _exactly(wire, bound + 2, proxy, left)  # the proxy's own address of the connection, not needed here


def _exactly(wire: socket.socket, count: int, proxy: Proxy, left: Callable[[], float]) -> bytes:
    said = b""
    while len(said) < count:
        said += _some(wire, proxy, left, count - len(said))
    return said


def _some(wire: socket.socket, proxy: Proxy, left: Callable[[], float], most: int = 4096) -> bytes:
    wire.settimeout(left())
    data = wire.recv(most)
    if not data:
        raise TunnelFailed(f"the proxy of {proxy.variable} hangs up")
    return data
