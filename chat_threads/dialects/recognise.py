"""How a client speaks, by what it sends first. ``PROTOCOLS`` is the table: our dialects, and others' protocols.

Scanners, and programs that were given the wrong port, begin with the words of another protocol. Some of these words are
valid names, and everything after them would be said in a room. So such clients are refused, in a form that they can
show.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .. import events
from ..disconnects import NotChat
from ..errors import CutOff
from ..parcel import Parcel
from .base import Dialect, Settings
from .jsonlines import JsonDialect
from .render import TextView
from .screen import LINE
from .speech import Style
from .text import TextDialect
from .web import ASKING, WebDialect


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol that a client may speak. ``first`` matches what its clients send first. In a row for a foreign
    protocol, it must not match a name, or a name and a room: that is a person's first line."""

    first: re.Pattern[bytes]
    dialect: Callable[[Settings], Dialect] | None = None  # None: it is not ours
    refusal: str = ""
    answer: bytes = b""  # the refusal in a form that its clients can show; b"": they would not read it


def _foreign(name: str, first: bytes, answer: str = "") -> Protocol:
    text = f"This is a chat server, not {name}. Connect with: telnet HOST PORT"
    return Protocol(re.compile(first), None, text, answer.format(text, length=len(text) + 2).encode())


HTTP = re.compile(rb"[A-Z-]{3,18} (?:[^\r\n]* )?HTTP/\d")
PROTOCOLS = (
    Protocol(re.compile(rb"\{"), JsonDialect),
    Protocol(HTTP, WebDialect),
    _foreign(
        "an HTTP/0.9 server",
        rb"GET /\S*[\r\n]",
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: {length}\r\nConnection: close\r\n\r\n{}\r\n",
    ),
    _foreign("RTSP", rb"[A-Z_]{3,16} \S+ RTSP/\d", "RTSP/1.0 400 {}\r\n\r\n"),
    _foreign("SIP", rb"[A-Z]{3,16} \S+ SIP/\d", "SIP/2.0 400 {}\r\n\r\n"),
    _foreign("SSH", rb"SSH-\d", "{}\r\n"),
    _foreign("a mail server", rb"(?:EHLO|HELO|LHLO)(?: +[^#\s]| *[\r\n])", "554 {}\r\n"),
    _foreign("IMAP", rb"[A-Za-z]{0,4}\d+ (?:CAPABILITY|LOGIN|NOOP|ID|AUTHENTICATE|STARTTLS|LOGOUT)\b", "* BYE {}\r\n"),
    _foreign("a news server", rb"MODE READER", "502 {}\r\n"),
    _foreign("IRC", rb"CAP (?:LS|LIST|REQ|END)\b|(?:NICK|PASS) +[^#\s]|USER +[^#\s]+ +[^#\s]", "ERROR :{}\r\n"),
    _foreign("FTP", rb"USER +[^#\s]+ *[\r\n]|AUTH (?:TLS|SSL)\b", "421 {}\r\n"),
    _foreign("Redis", rb"\*\d+[\r\n]", "-ERR {}\r\n"),
    _foreign("rsync", rb"@RSYNCD:", "@ERROR: {}\n"),
    _foreign("STOMP", rb"(?:CONNECT|STOMP)\r?\n[a-z]", "ERROR\nmessage:{}\n\n\0"),
    _foreign("XMPP or syslog", rb"<(?:\?xml|stream:|policy-file|\d{1,3}>)"),
    _foreign("one that trusts this proxy (--proxy-protocol)", rb"PROXY (?:TCP[46]|UNKNOWN)[ \r\n]", "{}\r\n"),
    _foreign("WebLogic", rb"t3s? \d"),
    _foreign("VNC", rb"RFB \d"),
    _foreign("a Java debugger", rb"JDWP-Handshake"),
    _foreign("BitTorrent", rb"\x13BitTorrent"),
    _foreign("SOCKS", rb"\x05[\x01-\x04][\x00-\x03]"),  # RFC 1928, section 3
    _foreign("TLS", rb"\x16"),  # RFC 8446, section 5.1
    # RDP, SMB, SOCKS, MQTT, LDAP, DNS, X11, databases, …: a NUL that is not the end of a line (RFC 854), nor in what
    # telnet says of itself
    _foreign("a binary protocol", rb"[^\xff\n]*?(?<!\r)\x00"),
    # A person's first line, whatever it is; or the first byte of telnet's own; or more than fits into a line.
    Protocol(re.compile(rb"(?s:.*?(?:[^\r\n][\r\n]|\xff)|.{%d})" % (LINE + 1)), TextDialect),
)
"""The first row that matches is the client's protocol. While no row matches, the client has sent too little."""

# One pattern for all rows, because each client is compared with all of them; the group that matched is the row.
_ANY = re.compile(b"|".join(b"(%s)" % each.first.pattern for each in PROTOCOLS))

_BLANKS = re.compile(rb"(?:\xef\xbb\xbf|[ \t\n]|\r(?:\x00|(?=[^\x00])))*")  # the first is a byte order mark


def without_blanks(head: bytes) -> bytes:
    """The bytes from a client without leading byte order marks, blanks and blank lines."""
    found = _BLANKS.match(head)
    return head[found.end() :] if found else head


def recognise(head: bytes) -> Callable[[Settings], Dialect] | None:
    """The dialect's constructor for a client that has sent ``head`` (from ``without_blanks``). None: too little has
    come. Raises NotChat."""
    found = _ANY.match(head)
    if not found:
        return None
    assert found.lastindex is not None
    protocol = PROTOCOLS[found.lastindex - 1]
    if protocol.dialect is None:
        raise NotChat(protocol.refusal, protocol.answer)
    return protocol.dialect


def in_place_of_the_greeting(error: CutOff, head: bytes = b"") -> bytes:
    """The reason why there is no greeting, for a client that has sent ``head``: an answer by HTTP, or a line of text,
    because it is not known yet which dialect the client speaks. The line is not folded, because a program may read it.
    """
    last = (events.problem(error), events.Bye(error.code))
    if HTTP.match(head):
        return bytes(Parcel(ASKING, last).data)
    return bytes(Parcel(_UNFOLDED, last).data)


_UNFOLDED = TextView(Style(columns=10_000))
