"""The little of HTTP/1.1 that a page in a browser needs: GET, and answers with a length (RFC 9110, RFC 9112).

Everything is pure. The standard library reads the header fields, as it does for its own HTTP server.
"""

from __future__ import annotations

import http.client
import io
import re
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl

MAX_HEAD = 16_384  # bytes of a request, with the empty line at its end; browsers send about 1,000
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"

_REQUEST_LINE = re.compile(rb"([A-Z-]{3,18}) (\S+) HTTP/1\.([01])")
_FIELDS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r?\n)*\r?\n")  # RFC 9110, section 5
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_NO_NAME = re.compile(r"localhost(?::[0-9]+)?|[0-9.]+(?::[0-9]+)?|\[.*")  # hosts that no foreign DNS server can name
_ABSOLUTE = re.compile(r"https?://[^/?]*/?", re.IGNORECASE)  # of a target as for a proxy (RFC 9112, section 3.2.2)
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


class Fields(Protocol):
    """The header fields of a request. Names are compared without regard to case."""

    def get_all(self, name: str, failobj: list[str]) -> list[str]:
        """The values of all fields of that name."""


@dataclass(frozen=True, slots=True)
class Get:
    """A request for a page, by GET. ``host`` is safe to write into a header or a page."""

    path: str
    query: dict[str, str]
    host: str  # a name or an address, maybe with a port; IPv6 in brackets
    origin: str | None  # of the page that asks; None: a program, or the browser itself
    forwarded: bool  # whether a proxy passed it on
    named: bool  # whether the host is a name, and not an address or localhost
    keep: bool  # whether the connection stays open afterwards


class Refused(Exception):
    """The request cannot be answered. The connection ends, because what follows may be the request's body."""

    def __init__(self, status: HTTPStatus, why: str, *fields: tuple[str, str]) -> None:
        super().__init__(why)
        self.answer = answer(status, TEXT, f"{why}\n".encode(), *fields, ("Connection", "close"))


def read(head: bytes) -> Get:
    """The request in ``head``, which ends with an empty line. Raises Refused."""
    line, _, rest = head.partition(b"\n")
    found = _REQUEST_LINE.fullmatch(line.rstrip(b"\r"))
    if not found:
        raise Refused(HTTPStatus.BAD_REQUEST, "The first line of the request is not one of HTTP/1.1 or HTTP/1.0.")
    method, target, version = (each.decode("latin-1") for each in found.groups())
    if method == "HEAD":
        raise _Headless(HTTPStatus.METHOD_NOT_ALLOWED, "", ("Allow", "GET"))
    if method != "GET":
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is possible here.", ("Allow", "GET"))
    if not _FIELDS.fullmatch(rest):  # what the standard library passes over, a proxy before us may read otherwise
        raise Refused(HTTPStatus.BAD_REQUEST, "A header field of the request cannot be read.")
    try:
        fields: Fields = http.client.parse_headers(io.BytesIO(rest))
    except http.client.HTTPException:
        raise Refused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request has too many header fields, or too long ones."
        ) from None
    if fields.get_all("Transfer-Encoding", []) or any(
        size.strip() != "0" for size in fields.get_all("Content-Length", [])
    ):
        raise Refused(HTTPStatus.BAD_REQUEST, "A GET has no content here.")
    hosts, origins = fields.get_all("Host", []), fields.get_all("Origin", [])
    if version == "0" and not hosts:  # HTTP/1.0 has no such field, and proxies check servers by it
        hosts = ["localhost"]
    host = hosts[0].strip().lower() if len(hosts) == 1 else ""
    if not _HOST.fullmatch(host) or len(origins) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "The request must have one Host, a name or an address with its port.")
    path, _, query = _ABSOLUTE.sub("/", target).partition("?")
    wishes = [wish.strip().lower() for field in fields.get_all("Connection", []) for wish in field.split(",")]
    return Get(
        path,
        dict(parse_qsl(query, max_num_fields=10)) if query.count("&") < 10 else {},
        host,
        origins[0].strip().lower() if origins else None,
        any(fields.get_all(name, []) for name in _FORWARDED),
        not _NO_NAME.fullmatch(host),
        version == "1" and "close" not in wishes,
    )


class _Headless(Refused):
    """HEAD is refused without a text, because its answers have none."""

    def __init__(self, status: HTTPStatus, why: str, *fields: tuple[str, str]) -> None:
        super().__init__(status, why, *fields)
        self.answer = answer(status, TEXT, b"", *fields, ("Connection", "close"))


def is_own(origin: str, host: str) -> bool:
    """Whether a page with this origin (RFC 6454) came from the host that is asked."""
    scheme, _, from_host = origin.partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    return default is not None and from_host.removesuffix(default) == host.removesuffix(default)


def answer(status: HTTPStatus, kind: str, body: bytes, *fields: tuple[str, str]) -> bytes:
    """The bytes of an answer. ``kind`` is its media type; ``fields`` are more header fields."""
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-cache",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
        *(f"{name}: {value}" for name, value in fields),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
