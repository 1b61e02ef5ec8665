"""Client addresses: how they are written, which of them count together, and which are the server's own machine."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

_MAPPED = 96  # bits of an IPv6 address before an IPv4 address in it (RFC 4291, section 2.5.5.2)
_FIRST_HALF = 64  # bits of an IPv6 address; a customer has at least all addresses that share them (RFC 6177)
_SITE = 48  # bits of an IPv6 address; many customers have all addresses that share them


def bare(host: str) -> str:
    """Return a host as typed, without the brackets of an IPv6 address in a URL (RFC 3986, section 3.2.2)."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def plain(address: str) -> str:
    """Return the address as it is shown and compared: an IPv4 address for IPv4 clients of a server on ::, too."""
    if ":" not in address:
        return address
    try:
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return str(mapped) if mapped else address


def network(address: str, bits: int = _FIRST_HALF) -> str:
    """Return what an address counts as: an IPv4 address itself, or the network of an IPv6 address's first ``bits``."""
    address = plain(address)
    if ":" not in address:
        return address
    try:
        found = int(ipaddress.IPv6Address(address))
    except ValueError:
        return address
    return str(ipaddress.IPv6Network((found >> 128 - bits << 128 - bits, bits)))


def site(address: str) -> str:
    """Return the site of an IPv6 address: one customer may have all its 65,536 networks. An IPv4 address is a site of
    its own."""
    return network(address, _SITE)


def is_local(peer: str, own: str) -> bool:
    """Whether a connection comes from the server's own machine: from a loopback address or the server's own address."""
    return is_loopback(peer) or plain(peer) == plain(own)


@lru_cache(maxsize=256)
def is_loopback(address: str) -> bool:
    """Whether this address only reaches the machine itself."""
    try:
        return ipaddress.ip_address(plain(address)).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Networks:
    """A set of networks, to look up addresses in. IPv4 addresses match only IPv4 networks."""

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
    """Parse addresses and networks separated by commas: 127.0.0.1,10.0.0.0/8,[2001:db8::1]. Raises ValueError."""
    found: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for each in typed.split(","):
        if "%" in each:
            raise ValueError(f"{each.strip()!r} has a zone, but a network has none")
        network = ipaddress.ip_network(bare(each.strip()), strict=False)
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped and network.prefixlen >= _MAPPED:
            network = ipaddress.ip_network((mapped, network.prefixlen - _MAPPED))
        found.append(network)
    return Networks(tuple(found))
