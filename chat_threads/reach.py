"""Where others reach this server: the addresses of this machine, and the address that a browser opens."""

from __future__ import annotations

import socket
from urllib.parse import quote

from .addresses import plain

EVERYWHERE = {"0.0.0.0": ("192.0.2.1",), "::": ("192.0.2.1", "2001:db8::1")}
"""Hosts that mean all addresses of this machine, each with documentation addresses to probe with in ``own_address``
(RFC 5737, 3849)."""
HERE = "localhost"  # this machine, for itself
LOOPBACK = "127.0.0.1"
HTTP, HTTPS = 80, 443  # the ports that an address leaves out


def own_address(other: str) -> str | None:
    """This machine's address as a host with that address sees it; None: there is no network of that family.

    Connecting a UDP socket sends nothing: the system only looks up which of its addresses it would use.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in other else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def from_others(host: str) -> list[str]:
    """The addresses by which others reach a server on ``host``, as in --host. If it is on all addresses, those are this
    machine's on its networks; none, if it has no network."""
    if host not in EVERYWHERE:
        return [plain(host)]
    return [address for probe in EVERYWHERE[host] if (address := own_address(probe))]


def url(host: str, port: int, room: str = "", secure: bool = False) -> str:
    """The address of the chat for a browser, which leads into ``room`` (with its ``#``) if one is given. ``secure``: by
    TLS."""
    name = f"[{host}]" if ":" in host else host
    scheme, usual = ("https", HTTPS) if secure else ("http", HTTP)
    return f"{scheme}://{name}{'' if port == usual else f':{port}'}/{with_room(room)}"


def with_room(room: str) -> str:
    """What stands after the address of the chat, to lead into a room: "#lab2". Letters beyond ASCII are escaped."""
    return f"#{quote(room[1:], safe='')}" if room else ""


def home(host: str, port: int, secure: bool) -> str:
    """The address of the chat on a server at ``host`` and ``port``, as others reach it; this machine's own address, if
    there is no other."""
    return url((from_others(host) or [HERE])[0], port, secure=secure)
