"""Addresses of clients: how one is written, what it counts as, and whether it is the server's own machine's."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

_MAPPED = 96  # bits of an IPv6 address before an IPv4 address in it (RFC 4291, section 2.5.5.2)
_FIRST_HALF = 64  # bits of an IPv6 address; one customer has all that begin with them, at least (RFC 6177)
_SITE = 48  # bits of an IPv6 address; many a customer has all that begin with them


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


def network(address: str, bits: int = _FIRST_HALF) -> str:
    """What an address counts as: itself, or the first half of an IPv6 one, or so many bits of it."""
    address = plain(address)
    if ":" not in address:
        return address
    try:
        found = int(ipaddress.IPv6Address(address))
    except ValueError:
        return address
    return str(ipaddress.IPv6Network((found >> 128 - bits << 128 - bits, bits)))


def site(address: str) -> str:
    """The network of networks that an IPv6 address is in: one customer may have all of it, 65,536 networks. An IPv4
    address is a site of its own."""
    return network(address, _SITE)


def is_local(peer: str, own: str) -> bool:
    """Whether a connection comes from the server's own machine: from a loopback address, or the server's own."""
    peer, own = plain(peer), plain(own)
    if peer == own:
        return True
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Networks:
    """A set of addresses, as networks. An IPv4 address is in it by IPv4 alone."""

    all: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def __contains__(self, address: str) -> bool:
        if not self.all:
            return False
        try:
            found = ipaddress.ip_address(plain(address).partition("%")[0])
        except ValueError:
            return False
        return any(found in each for each in self.all)


def networks(typed: str) -> Networks:
    """Addresses and networks with commas between them: 127.0.0.1,10.0.0.0/8,[2001:db8::1]. Raises ValueError."""
    found: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for each in typed.split(","):
        if "%" in each:
            raise ValueError(f"{each.strip()!r} has a zone, which a network has not")
        network = ipaddress.ip_network(bare(each.strip()), strict=False)
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped and network.prefixlen >= _MAPPED:
            network = ipaddress.ip_network((mapped, network.prefixlen - _MAPPED))
        found.append(network)
    return Networks(tuple(found))
