"""The PROXY protocol: the header in which a proxy names the client whose connection it passes on.

This is HAProxy's protocol, versions 1 and 2 (proxy-protocol.txt in HAProxy's documentation; nginx, stunnel, Traefik and
cloud load balancers send it, too). Bytes in, result out: no sockets here.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass

from .addresses import plain

V1, V2 = b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1 = 107  # bytes of a header of version 1, with its end (section 2.1)
V2_FIXED = 16  # bytes of a header of version 2 before its addresses
MAX_V2 = 4096  # bytes after these that are accepted; a header with a client's certificate has about 2,000

_PORT = rb"(?:0|[1-9][0-9]{0,4})"
_V1_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (%b) (%b))\r\n" % (_PORT, _PORT)
)
_ADDRESSES = {1: (ipaddress.IPv4Address, 4), 2: (ipaddress.IPv6Address, 16)}  # by the family of version 2
_UNIX, _UNIX_SIZE = 3, 216  # the family of Unix sockets, and the bytes of their two paths


class BadHeader(Exception):
    """The proxy sent no valid header. The text says why, and quotes no bytes from the network."""


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header. ``source`` and ``destination`` are the addresses of the client's connection to the proxy, "" if
    the header has none. ``own``: the proxy connected for itself, for example to check that the server is up."""

    length: int  # of the header, in bytes; the client's bytes follow it
    source: str = ""
    destination: str = ""
    own: bool = False


def parse(data: bytes) -> Header | None:
    """Parse the header at the beginning of the data. None: it is not complete yet. Raises BadHeader."""
    if data.startswith(V2):
        return _version_2(data)
    if data.startswith(V1):
        return _version_1(data)
    if V1.startswith(data) or V2.startswith(data):
        return None
    raise BadHeader("it has no header")


def _version_1(data: bytes) -> Header | None:
    end = data.find(b"\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise BadHeader("the line is too long")
        return None
    found = _V1_LINE.fullmatch(data[: end + 1])
    if not found:
        raise BadHeader("the line is not a header of version 1")
    version, source, destination, *ports = found.groups()
    if version is None:
        return Header(end + 1)
    if any(int(port) > 65535 for port in ports):
        raise BadHeader("a port is above 65535")
    make = ipaddress.IPv4Address if version == b"4" else ipaddress.IPv6Address
    try:
        return Header(end + 1, plain(str(make(source.decode()))), plain(str(make(destination.decode()))))
    except ValueError:
        raise BadHeader("an address is invalid") from None


def _version_2(data: bytes) -> Header | None:
    if len(data) < V2_FIXED:
        return None
    version_and_command, family_and_protocol, size = struct.unpack_from("!BBH", data, len(V2))
    version, command = divmod(version_and_command, 16)
    family, protocol = divmod(family_and_protocol, 16)
    if version != 2 or command > 1:
        raise BadHeader("its version or command is unknown")
    if size > MAX_V2:
        raise BadHeader("it is too long")
    length = V2_FIXED + size
    if command == 0:  # LOCAL: whatever the rest says
        return Header(length, own=True) if len(data) >= length else None
    if family > _UNIX or protocol > 2:
        raise BadHeader("its address family is unknown")
    if family not in _ADDRESSES:
        if family == _UNIX and size < _UNIX_SIZE:
            raise BadHeader("it is too short for its addresses")
        return Header(length) if len(data) >= length else None
    make, width = _ADDRESSES[family]
    if size < 2 * width + 4:
        raise BadHeader("it is too short for its addresses")
    if len(data) < length:
        return None
    source, destination = (plain(str(make(data[at : at + width]))) for at in (V2_FIXED, V2_FIXED + width))
    return Header(length, source, destination)
