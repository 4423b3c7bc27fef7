"""Classification of public addresses; no spelling of an address passes for a host name."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from origin import info

from ourvidz.fetch import Fetcher, FetchRefused
from ourvidz.fetch.target import not_public, target

V4 = st.one_of(
    st.ip_addresses(v=4),
    *(
        st.ip_addresses(network=n)
        for n in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
    ),
)
V6 = st.one_of(
    st.ip_addresses(v=6), *(st.ip_addresses(network=n) for n in ("::/96", "fe80::/10", "fc00::/7", "ff00::/8", "2001::/23", "2002::/16"))
)


def embedded(ip: IPv4Address) -> list[IPv6Address]:
    """The IPv6 addresses that embed it for some machine: mapped, compatible, translated, NAT64 (both), 6to4, Teredo, ISATAP."""
    n = int(ip)
    high = [
        0xFFFF << 32,
        0,
        0xFFFF << 48,
        0x64FF9B << 96,
        0x64FF9B0001 << 80,
        0x2A00_0000 << 96 | 0x5EFE << 32,
        0x2A00_0000 << 96 | 0x2005EFE << 32,
    ]
    return [*(IPv6Address(h | n) for h in high), IPv6Address(0x2002 << 112 | n << 80), IPv6Address(0x20010000 << 96 | n ^ 0xFFFFFFFF)]


@given(V4 | V6)
def test_what_python_calls_not_global_is_not_public(ip: IPv4Address | IPv6Address) -> None:
    assert not_public(str(ip)) is not None or (ip.is_global and not ip.is_multicast)


@given(V4)
def test_an_ipv4_address_inside_an_ipv6_one_is_never_public(ip: IPv4Address) -> None:
    assert all(not_public(str(six)) is not None for six in embedded(ip))


NOT_PUBLIC = """
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254 172.31.0.1 192.0.0.9
192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:db8::1
2001:10::1 2002:808:808::1 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 2a00::1%eth0 fec0::1 ff02::1 ff0e::1
2a00::5efe:7f00:1
"""
PUBLIC = "1.1.1.1 8.8.8.8 104.16.0.1 223.255.255.1 2606:4700::1111 2001:4860:4860::8888 2a00:1450::1"


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_non_public_addresses_are_recognised(address: str) -> None:
    assert not_public(address) is not None


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public_addresses_are_recognised(address: str) -> None:
    assert not_public(address) is None


@given(V4, st.integers(0, 5), st.lists(st.sampled_from(["{:d}", "{:o}", "{:x}"]), min_size=4, max_size=4), st.integers(1, 4))
def test_no_spelling_of_an_ipv4_address_is_taken_for_a_name(ip: IPv4Address, zeros: int, forms: list[str], parts: int) -> None:
    """Every inet_aton spelling: 1 to 4 parts, the last holding the remaining bits, each decimal, octal or hexadecimal."""
    bits = 8 * (4 - parts + 1)
    numbers = [int(ip) >> shift & 0xFF for shift in (24, 16, 8)[: parts - 1]] + [int(ip) & ((1 << bits) - 1)]
    mark = {"{:d}": "", "{:o}": "0" * (zeros + 1), "{:x}": "0x" + "0" * zeros}
    spelled = ".".join(mark[form] + form.format(number) for form, number in zip(forms, numbers, strict=False))
    (found, *_) = socket.getaddrinfo(spelled, 443, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
    assert ip_address(found[4][0]) == ip, "the spelling is one that the resolver takes"
    for host in (spelled, spelled.upper(), spelled + "."):
        with pytest.raises(FetchRefused):
            target(f"https://{host}/a.png")


@given(V6, st.sampled_from(["", "%eth0", "%25eth0"]))
def test_no_spelling_of_an_ipv6_address_is_taken_for_a_name(ip: IPv6Address, zone: str) -> None:
    for spelled in (str(ip), ip.exploded, str(ip).upper()):
        for host in (f"[{spelled}{zone}]", f"{spelled}{zone}", spelled.replace(":", "-") + ".ip6.arpa"):
            with pytest.raises(FetchRefused):
                target(f"https://{host}/a.png")


@given(V4 | V6, st.lists(st.sampled_from(["1.1.1.1", "2606:4700::1111"]), max_size=2), st.randoms())
def test_a_name_with_any_non_public_address_is_refused(ip: IPv4Address | IPv6Address, others: list[str], order: object) -> None:
    assume(not ip.is_global)
    answer = [str(ip), *others]
    order.shuffle(answer)  # type: ignore[attr-defined]
    fetcher = replace(Fetcher(), resolve=lambda _, port: [info(address, port) for address in answer])
    with pytest.raises(FetchRefused, match=r"pictures\.example\.net leads to"):
        fetcher.get("https://pictures.example.net/a.png")


@pytest.mark.parametrize("host", ["\u212aelvin.example.net", "picture\u017f.example.net", "b\u00fccher.example.net"])
def test_unicode_letters_that_fold_to_ascii_are_refused(host: str) -> None:
    with pytest.raises(FetchRefused, match="beyond ASCII"):
        target(f"https://{host}/")
    assert target("https://XN--BCHER-KVA.example.net/").host == "xn--bcher-kva.example.net"


def test_production_allows_one_port() -> None:
    for port in (0, 22, 80, 442, 444, 6379, 8443, 65_979):  # the last is 443 modulo 65,536
        with pytest.raises(FetchRefused, match=f"Port {port} is not allowed"):
            Fetcher().get(f"https://pictures.example.net:{port}/")
    assert target("https://pictures.example.net:443/").authority == target("https://pictures.example.net").authority
