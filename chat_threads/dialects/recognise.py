"""How a client speaks, by what it sends first: the table of our dialects, and that of protocols that are not ours.

Scanners, and programs that were given the wrong port, begin with the words of another protocol. Some of these would
do as a name, and all that follows them would be said. So they are refused, in a form that such a client can show.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import NotChat
from .base import Dialect
from .jsonlines import JsonDialect
from .text import LINE, TextDialect

DIALECTS: dict[bytes, Callable[[int], Dialect]] = {b"{": JsonDialect}
"""What a client's first byte says of how it speaks. Any other byte is a person's, or another protocol's."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A protocol that is not ours. ``first`` matches what its clients send first, and no name that a person may
    have, alone or with a room after it; ``answer`` is a line that they can show, b"" if they would not read it."""

    first: re.Pattern[bytes]
    text: str
    answer: bytes


def _row(name: str, first: bytes, answer: str = "") -> Foreign:
    text = f"This is a chat server, not {name}. Connect with: telnet HOST PORT"
    return Foreign(re.compile(first), text, answer.format(text, length=len(text) + 2).encode())


FOREIGN = (
    _row(
        "a web server",
        rb"[A-Z]{3,16} \S+ HTTP/\d|GET /\S*[\r\n]",
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: {length}\r\nConnection: close\r\n\r\n{}\r\n",
    ),
    _row("RTSP", rb"[A-Z_]{3,16} \S+ RTSP/\d", "RTSP/1.0 400 {}\r\n\r\n"),
    _row("SIP", rb"[A-Z]{3,16} \S+ SIP/\d", "SIP/2.0 400 {}\r\n\r\n"),
    _row("SSH", rb"SSH-\d", "{}\r\n"),
    _row("a mail server", rb"(?:EHLO|HELO|LHLO)(?: +[^#\s]| *[\r\n])", "554 {}\r\n"),
    _row("IMAP", rb"[A-Za-z]{0,4}\d+ (?:CAPABILITY|LOGIN|NOOP|ID|AUTHENTICATE|STARTTLS|LOGOUT)\b", "* BYE {}\r\n"),
    _row("a news server", rb"MODE READER", "502 {}\r\n"),
    _row("IRC", rb"CAP (?:LS|LIST|REQ|END)\b|(?:NICK|PASS) +[^#\s]|USER +[^#\s]+ +[^#\s]", "ERROR :{}\r\n"),
    _row("FTP", rb"USER +[^#\s]+ *[\r\n]|AUTH (?:TLS|SSL)\b", "421 {}\r\n"),
    _row("Redis", rb"\*\d+[\r\n]", "-ERR {}\r\n"),
    _row("rsync", rb"@RSYNCD:", "@ERROR: {}\n"),
    _row("STOMP", rb"(?:CONNECT|STOMP)\r?\n[a-z]", "ERROR\nmessage:{}\n\n\0"),
    _row("XMPP or syslog", rb"<(?:\?xml|stream:|policy-file|\d{1,3}>)"),
    _row("one that trusts this proxy (--proxy-protocol)", rb"PROXY (?:TCP[46]|UNKNOWN)[ \r\n]", "{}\r\n"),
    _row("WebLogic", rb"t3s? \d"),
    _row("VNC", rb"RFB \d"),
    _row("a Java debugger", rb"JDWP-Handshake"),
    _row("BitTorrent", rb"\x13BitTorrent"),
    _row("TLS", rb"\x16"),  # RFC 8446, section 5.1
    # RDP, SMB, SOCKS, MQTT, LDAP, DNS, X11, databases, …: a NUL that is not the end of a line (RFC 854), nor in what
    # telnet says of itself
    _row("a binary protocol", rb"[^\xff\n]*?(?<!\r)\x00"),
)

_BLANKS = re.compile(rb"(?:\xef\xbb\xbf|[ \t\n]|\r(?:\x00|(?=[^\x00])))*")  # the first is a byte order mark
_ENOUGH = re.compile(rb"[^\r\n][\r\n]|\xff")  # a line, or telnet


def without_blanks(head: bytes) -> bytes:
    """What a client has sent so far, without byte order marks, blanks and blank lines before it."""
    found = _BLANKS.match(head)
    return head[found.end() :] if found else head


def recognise(head: bytes) -> Callable[[int], Dialect] | None:
    """How a client speaks that has sent this, by ``without_blanks``; None: too little to tell. Raises NotChat."""
    if head[:1] in DIALECTS:
        return DIALECTS[head[:1]]
    for foreign in FOREIGN:
        if foreign.first.match(head):
            raise NotChat(foreign.text, foreign.answer)
    return TextDialect if _ENOUGH.search(head) or len(head) > LINE else None
