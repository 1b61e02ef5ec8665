"""Addresses of clients: how one is written, what it counts as, and whether it is the server's own machine's."""

from __future__ import annotations

import ipaddress

_FIRST_HALF = 64  # bits of an IPv6 address; one customer has all that begin with them, at least (RFC 6177)


def bare(host: str) -> str:
    """What was typed as a host, without the brackets that an IPv6 address has in a URL (RFC 3986, section 3.2.2)."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def plain(address: str) -> str:
    """The address as it is shown and compared: an IPv4 client of a server that listens on :: has an IPv4 address."""
    if ":" not in address:
        return address
    try:
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return str(mapped) if mapped else address


def network(address: str) -> str:
    """What an address counts as: itself, or the first half of an IPv6 one."""
    address = plain(address)
    if ":" not in address:
        return address
    try:
        found = int(ipaddress.IPv6Address(address))
    except ValueError:
        return address
    return str(ipaddress.IPv6Network((found >> _FIRST_HALF << _FIRST_HALF, _FIRST_HALF)))


def is_local(peer: str, own: str) -> bool:
    """Whether a connection comes from the server's own machine: from a loopback address, or the server's own."""
    peer, own = plain(peer), plain(own)
    if peer == own:
        return True
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False
