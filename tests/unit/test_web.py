"""The dialect of browsers, by itself: requests by HTTP, and the frames of a WebSocket."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from collections.abc import Callable

import pytest
from support.hostile import hostile
from support.samples import for_each

from chat_threads import commands, errors, events
from chat_threads.dialects import web
from chat_threads.dialects.base import Request, Settings
from chat_threads.dialects.http import MAX_HEAD
from chat_threads.dialects.jsonlines import LINE, JsonDialect
from chat_threads.dialects.web import WebDialect

pytest.importorskip("websockets")

HEAD = "GET {} HTTP/1.1\r\nHost: chat.example:8080\r\n{}\r\n"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def get(path: str, fields: str = "") -> bytes:
    return HEAD.format(path, fields).encode()


def inputs(dialect: WebDialect) -> list[object]:
    """All inputs, with the bytes on the wire joined."""
    found: list[object] = []
    while (each := dialect.next_input()) is not None:
        if isinstance(each, events.WireBytes):
            each = each.data
            if found and isinstance(found[-1], bytes):
                each = found.pop() + each
        found.append(each)
    return found


def answer_to(*requests: bytes, settings: Settings | None = None) -> list[object]:
    dialect = WebDialect(settings or Settings())
    for each in requests:
        dialect.feed(each)
    return inputs(dialect)


def upgraded(settings: Settings | None = None) -> WebDialect:
    dialect = WebDialect(settings or Settings())
    dialect.feed(get("/ws", UPGRADE))
    (answer,) = inputs(dialect)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer  # RFC 6455, section 1.3
    return dialect


def test_cookies_of_other_servers_on_the_host_keep_no_websocket_from_opening():
    (answer,) = answer_to(get("/ws", f"Cookie: {'x' * 9000}\r\n{UPGRADE}"))
    assert answer.startswith(b"HTTP/1.1 101 ")


def masked(payload: bytes, first: int = 0x81, mask: bytes = b"\x0f\xf0\x55\xaa") -> bytes:
    """A frame of a client."""
    size = len(payload)
    if size < 126:
        length = struct.pack("!B", 0x80 | size)
    else:
        length = struct.pack("!BH", 0xFE, size) if size < 1 << 16 else struct.pack("!BQ", 0xFF, size)
    return bytes([first]) + length + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a server: the first byte and the payload of each."""
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            (size,), start = struct.unpack_from("!H", data, 2), 4
        elif size == 127:
            (size,), start = struct.unpack_from("!Q", data, 2), 10
        assert len(data) >= start + size
        found.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return found


HELLO, SAY = b'{"type":"hello","name":"ann"}', '{"type":"say","text":"héllo","ref":"1"}'.encode()


# --- HTTP -------------------------------------------------------------------------------------------------


@for_each(
    ("request_", "status"),
    {
        "no such page": (get("/nope"), 404),
        "another method": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405),
        "another method, at once": (b"OPTIONS * HTTP/1.1\r\n", 405),
        "HEAD": (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        "a body": (get("/", "Content-Length: 3\r\n") + b"abc", 400),
        "a body in chunks": (get("/", "Transfer-Encoding: chunked\r\n"), 400),
        "a body, twice": (get("/", "Content-Length: 0\r\nContent-Length: 3\r\n"), 400),
        "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
        "two hosts": (get("/", "Host: b\r\n"), 400),
        "a line that is no field": (get("/", "x\r\nX-Forwarded-For: 192.0.2.7\r\n"), 400),
        "a blank before a colon": (get("/", "Transfer-Encoding : chunked\r\n"), 400),
        "a field that is continued": (get("/", "A: b\r\n c\r\n"), 400),
        "a CR in a field": (get("/", "A: b\rC: d\r\n"), 400),
        "a NUL in a field": (get("/", "A: b\0\r\n"), 400),
        "no name of a field": (get("/", ": b\r\n"), 400),
        "a host that could break out of a header": (b"GET / HTTP/1.1\r\nHost: a; script-src *\r\n\r\n", 400),
        "a host with a quote": (b"GET / HTTP/1.1\r\nHost: a'b\r\n\r\n", 400),
        "no path": (b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        "too many fields": (get("/", "A: b\r\n" * 200), 431),
        "too long": (get("/", "A: " + "b" * MAX_HEAD + "\r\n"), 431),
        "too long, without an end": (get("/", "A: " + "b" * MAX_HEAD)[:-4], 431),
        "too long by a byte, without an end": (get("/", "A: " + "b" * MAX_HEAD)[:MAX_HEAD], 431),
        "a WebSocket without its fields": (get("/ws"), 426),
        "a WebSocket of an old version": (get("/ws", UPGRADE.replace("13", "8")), 400),
    }.values(),
)
def test_what_cannot_be_answered_is_refused_with_its_status(request_, status):
    answer, *rest = answer_to(request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"\r\ncontent-length: {len(body)}".encode() in head.lower()
    assert bool(body) == (b"HEAD" not in request_)
    assert rest == ([] if status == 404 else [Request(commands.Quit())])


def test_requests_are_answered_in_order_and_the_connection_stays_open_if_the_client_wants_that():
    two = get("/a") + get("/threads.json") + get("/b")
    for data in ([two], [two[at : at + 1] for at in range(len(two))]):
        first, request, last = answer_to(*data, settings=Settings(lab=True))
        assert first.startswith(b"HTTP/1.1 404")
        assert request == Request(commands.ShowThreads())
        assert last.startswith(b"HTTP/1.1 404")
    old = get("/a", "Connection: Keep-Alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")  # it would wait for the same field
    for closing in (get("/a", "Connection: close\r\n"), old):
        assert answer_to(closing + get("/b"))[1:] == [Request(commands.Quit())]


def test_a_health_check_by_http_1_0_needs_no_host():
    assert answer_to(b"GET /healthz HTTP/1.0\r\n\r\n") == [Request(commands.ShowHealth()), Request(commands.Quit())]


@for_each("before", [b"", b"\r\n", b"\r\n\r\n"])
def test_the_target_may_be_absolute_and_empty_lines_may_come_before_a_request(before):
    for target in ("/healthz", "http://chat.example:8080/healthz", "HTTP://other/healthz?x=y"):
        assert answer_to(get("/a") + before + get(target))[1] == Request(commands.ShowHealth())
    for target in ("http://chat.example:8080", "http://chat.example:8080/"):
        assert answer_to(get(target))[0].startswith(b"HTTP/1.1 200")


def test_a_flood_of_requests_is_answered_one_by_one():
    dialect = WebDialect()
    dialect.feed(get("/") * 100)
    first = dialect.next_input()
    assert first.data.count(b"HTTP/1.1 200") == 1
    assert len(dialect._found) == 0


def test_the_page_may_only_connect_to_the_host_that_it_came_from():
    (answer,) = answer_to(get("/"))
    assert answer.startswith(b"HTTP/1.1 200")
    head = answer.partition(b"\r\n\r\n")[0].decode()
    (policy,) = (line for line in head.split("\r\n") if line.startswith("Content-Security-Policy: "))
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.partition(": ")[2].split(";"))
    assert rules["connect-src"] == "'self' ws://chat.example:8080 wss://chat.example:8080"
    for rule in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert rules[rule] == "'none'"
    for field in ("X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer"):
        assert field in head.split("\r\n")


@for_each(
    ("origin", "allowed"),
    {
        "http://chat.example:8080": True,
        "https://chat.example:8080": True,
        "HTTP://CHAT.EXAMPLE:8080": True,
        "https://other.example": True,  # by --web-origin
        "http://chat.example": False,
        "http://chat.example:8081": False,
        "http://evil.example:8080": False,
        "http://chat.example:8080.evil": False,
        "null": False,
        "file://": False,
        "": False,
    }.items(),
)
def test_only_our_own_pages_and_those_of_the_option_may_open_a_websocket(origin, allowed):
    settings = Settings(origins=frozenset({"https://other.example"}))
    answer, *rest = answer_to(get("/ws", f"{UPGRADE}Origin: {origin}\r\n"), settings=settings)
    assert answer.startswith(b"HTTP/1.1 101" if allowed else b"HTTP/1.1 403")
    assert bool(rest) is not allowed


def test_the_port_that_a_scheme_has_anyway_may_be_left_out_of_an_origin():
    plain = get("/ws", UPGRADE + "Origin: http://chat.example\r\n").replace(b":8080", b"")
    for each in (plain, plain.replace(b"chat.example\r\n", b"chat.example:80\r\n", 1)):
        assert answer_to(each)[0].startswith(b"HTTP/1.1 101")


def test_without_websockets_a_browser_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(web, "ServerProtocol", None)
    for each in (get("/"), get("/ws", UPGRADE)):
        answer = answer_to(each)[0]
        assert answer.startswith(b"HTTP/1.1 501 ")
        assert b"pip install '.[web]'" in answer


# --- the WebSocket ----------------------------------------------------------------------------------------


def test_lines_come_in_text_frames_however_the_bytes_are_split():
    say = commands.Say("héllo")
    data = (
        masked(HELLO)
        + masked(SAY + b"\n" + SAY)  # several lines
        + masked(SAY[:20], 0x01)
        + masked(b"hm", 0x89)  # a ping between fragments
        + masked(SAY[20:22], 0x00)
        + masked(SAY[22:], 0x80)
        + masked(b"", 0x8A)  # a pong that nobody asked for
        + masked(b"")
        + masked(b'{"type":"say","text":"' + b"x" * 300 + b'"}')
    )
    rng = random.Random(1)
    splits = [[len(data)], [1] * len(data), *([rng.randint(1, 60) for _ in data] for _ in range(30))]
    for sizes in splits:
        dialect, found, at = upgraded(), [], 0
        for size in sizes:
            dialect.feed(data[at : at + size])
            at += size
            while (each := dialect.next_input()) is not None:
                if isinstance(each, Request) and isinstance(each.command, commands.Hello):
                    dialect.admitted("ann")
                found.append(each)
        assert [each for each in found if isinstance(each, events.WireBytes)] == [events.WireBytes(b"\x8a\x02hm")]
        assert [each for each in found if isinstance(each, Request)] == [
            Request(commands.Hello("ann")),
            *[Request(say, "1")] * 3,
            Request(commands.Say("x" * 300)),
        ]
        assert not dialect.pending


def test_hostile_frames_raise_nothing_and_mean_the_same_however_the_bytes_are_split():
    rng = random.Random(13)
    lines = hostile(rng)
    kinds = [0x81] * 8 + [0x01, 0x00, 0x80, 0x80, 0x89, 0x8A, 0x88, 0x82, 0xC1, 0x83]

    def found(data: bytes, sizes: Callable[[], int]) -> tuple[list[str], bool]:
        dialect, requests, at = upgraded(), [], 0
        while at < len(data):
            size = sizes()
            assert dialect.feed(data[at : at + size]) >= 0
            at += size
            while (each := dialect.next_input()) is not None:
                if isinstance(each, Request):
                    requests.append(repr(each))
                    if isinstance(each.command, commands.Hello):
                        dialect.admitted("ann")
        return requests, dialect.views.here.encode([events.Notice("hi")]) == b""

    for _ in range(60):
        sent = bytearray()
        for _ in range(rng.randrange(1, 12)):
            sent += masked(next(lines)[:5000], rng.choice(kinds), rng.randbytes(4))
        if rng.random() < 0.3:
            sent[rng.randrange(len(sent))] ^= 1 << rng.randrange(8)
        data = bytes(sent)
        assert found(data, lambda: 4096) == found(data, lambda: 1) == found(data, lambda: rng.randrange(1, 200))


@for_each(
    ("origin", "base"),
    [
        ("", "http://chat.example:8080/"),
        ("Origin: https://chat.example:8080\r\n", "https://chat.example:8080/"),
        ("Origin: http://other.example\r\n", "http://chat.example:8080/"),
    ],
)
def test_a_browser_gets_the_code_of_the_address_by_which_it_came(origin, base):
    dialect = WebDialect(Settings(origins=frozenset({"http://other.example"})))
    dialect.feed(get("/ws", UPGRADE + origin))
    dialect.feed(masked(b'{"type":"hello","name":"ann"}'))
    assert isinstance(inputs(dialect)[1], Request)
    dialect.admitted("ann")
    dialect.feed(masked(b'{"type":"qr","ref":"1"}'))
    assert inputs(dialect) == [Request(commands.ShowQr(base), "1")]


def test_frames_that_come_with_the_request_are_read():
    answer, hello = answer_to(get("/ws", UPGRADE) + masked(HELLO))
    assert answer.startswith(b"HTTP/1.1 101")
    assert hello == Request(commands.Hello("ann"))
    answer, hello = answer_to(get("/ws", UPGRADE) + masked(HELLO) + masked(b"hm", 0x89))
    assert answer.startswith(b"HTTP/1.1 101")
    assert answer.endswith(b"\r\n\r\n\x8a\x02hm")


def test_a_frame_ends_a_line_and_what_is_wrong_in_it_is_answered_as_on_a_line():
    dialect = upgraded()
    dialect.feed(masked(HELLO[:10]) + masked(HELLO[10:]))
    kinds = [type(each.command) for each in inputs(dialect)]
    assert kinds == [errors.BadJson] * 2


@for_each(
    ("sent", "code"),
    {
        "a Close": (masked(struct.pack("!H", 4000) + b"why", 0x88), 4000),
        "a Close without a code": (masked(b"", 0x88), None),
        "bytes": (masked(b"\x00", 0x82), 1003),
        "bytes that are not UTF-8": (masked(b"\xff", 0x82), 1003),
        "bytes, and a message at once": (masked(b"\x00", 0x82) + masked(SAY), 1003),
        "a Close, and a message at once": (masked(b"", 0x88) + masked(SAY), None),
        "not UTF-8": (masked(b'{"type":"\xff"}'), 1007),
        "a surrogate": (masked(b"\xed\xa0\x80"), 1007),
        "not UTF-8 in fragments": (masked(b"\xc3", 0x01) + masked(b"\x28", 0x80), 1007),
        "not masked": (b"\x81\x02hi", 1002),
        "a reserved bit": (masked(b"hi", 0xC1), 1002),
        "a reserved opcode": (masked(b"hi", 0x83), 1002),
        "a fragment of nothing": (masked(b"hi", 0x80), 1002),
        "a new message in fragments": (masked(b"hi", 0x01) + masked(b"hi"), 1002),
        "too long": (masked(b"x" * (LINE + 3)), 1009),
        "too long, by its length alone": (masked(b"x" * (LINE + 3))[:14], 1009),
        "too long in fragments": (masked(b"x" * 40000, 0x01) + masked(b"x" * 40000, 0x80), 1009),
    }.values(),
)
def test_what_ends_a_websocket_is_answered_with_one_close_and_nothing_after_it(sent, code):
    dialect = upgraded()
    dialect.feed(sent)
    dialect.feed(masked(HELLO))
    quit_, answer = inputs(dialect)
    assert quit_ == Request(commands.Quit())
    ((first, payload),) = frames(answer)
    assert first == 0x88
    assert payload[:2] == (b"" if code is None else struct.pack("!H", code))
    for view in (dialect.views.here, dialect.views.elsewhere):
        assert view.encode([events.Notice("hi")]) == view.encode([events.Bye()]) == b""
        assert view.encode([events.WireBytes(answer)]) == answer


def test_the_longest_line_fits():
    say = b'{"type":"say","text":"hi","ref":"1"' + b" " * (LINE - 36) + b"}"
    assert len(say) == LINE
    for end in (b"", b"\n", b"\r\n"):
        dialect = upgraded()
        dialect.admitted("ann")
        dialect.feed(masked(say + end))
        assert inputs(dialect) == [Request(commands.Say("hi"), "1")]


def test_a_frame_costs_something_and_so_does_each_line_in_it_but_not_a_byte_that_looks_like_its_end():
    dialect = upgraded()
    newlines = masked(b"\n" * 100)
    assert dialect.feed(newlines) == web.FRAME + 100
    assert dialect.feed(newlines[:50]) == 0
    assert dialect.pending
    assert dialect.feed(newlines[50:]) == web.FRAME + 100
    assert not dialect.pending
    looks = masked(b"x" * 100, mask=b"rrrr")
    assert looks.count(b"\n") == 100
    assert dialect.feed(looks) == dialect.feed(masked(b"")) == web.FRAME + 1
    assert dialect.feed(masked(b"", 0x89)) == web.FRAME
    assert dialect.feed(masked(b"\n", 0x01)) == web.FRAME
    assert dialect.pending


def test_a_long_message_is_kept_as_it_came_and_not_as_thousands_of_lines():
    dialect = upgraded()
    dialect.feed(masked(b"1\n" * 10_000))
    tracemalloc.start()
    try:
        assert isinstance(dialect.next_input().command, errors.BadJson)
        assert tracemalloc.get_traced_memory()[0] < 250_000  # where 10,000 lines would take 450,000
    finally:
        tracemalloc.stop()
    assert len(inputs(dialect)) == 9_999


def test_a_parcel_is_one_frame_with_the_lines_that_a_program_gets():
    programs, browsers = JsonDialect(), upgraded()
    message = events.Message(1, "#lobby", 1, 0, "ann", "say", "héllo")
    for shown in ([message], [message] * 3, [message] * 3000, [events.Notice("x" * 30)]):
        lines = programs.views.here.encode(shown)
        assert frames(browsers.views.here.encode(shown)) == [(0x81, lines)]
    assert browsers.views.here.encode([events.Greeting("1.2")]) == b""
    assert browsers.views.here is upgraded().views.here, "they share the bytes"


@for_each(
    ("reason", "code"),
    {
        "quit": 1000,
        "shutting_down": 1001,
        "too_slow": 4002,
        "replaced": 4004,
        "server_full": 4005,
        "internal": 1011,
    }.items(),
)
def test_our_goodbye_is_a_line_and_a_close_with_a_code_of_its_own(reason, code):
    for last in (events.Bye(reason), events.Answer(events.Bye(reason), "7")):
        text, close = frames(upgraded().views.here.encode([events.Problem(reason, "why"), last]))
        assert [json.loads(line)["type"] for line in text[1].splitlines()] == ["error", "bye"]
        assert close == (0x88, struct.pack("!H", code) + reason.encode())


def test_the_codes_differ():
    assert len(set(web.CLOSE_CODES.values())) == len(web.CLOSE_CODES)


def test_a_browser_that_cannot_be_served_is_told_by_http_and_an_idle_one_is_told_nothing():
    dialect = WebDialect()
    dialect.feed(get("/")[:-1])
    view = dialect.views.here
    for code, status in (("server_full", 503), ("too_many_connections", 503), ("internal", 500)):
        told = view.encode([events.Problem(code, "Try again later."), events.Bye(code)])
        assert told.startswith(b"HTTP/1.1 %d " % status)
        assert told.endswith(b"\r\n\r\nTry again later.\n")
    assert view.encode([events.Problem("no_handshake", "Too late."), events.Bye("no_handshake")]) == b""
    assert view.encode([events.Greeting("1.2")]) == b""
    assert view.encode([events.Bye()]) == b""
    dialect.feed(b"\n")
    assert inputs(dialect)
    idle = dialect.views.here
    assert idle.encode([events.Problem("server_full", "Try again later."), events.Bye("server_full")]) == b""
    assert idle.encode([events.Problem("internal", "A bug."), events.Bye("internal")]).startswith(b"HTTP/1.1 500 ")
