"""What hostile people and pages of others cannot do to a browser."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest
from support.browsers import PHONE
from support.clients import Client
from support.waiting import WAIT

pytestmark = pytest.mark.slow

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "</li></ol><iframe src='javascript:window.hacked=1'></iframe>",
    "javascript:window.hacked=1 or data:text/html,<script>window.hacked=1</script>",
    "http://good.example/\"onmouseover=\"window.hacked=1 and <http://good.example/?a=b>",
    "\u202edecalper si siht\u2066\u2067\u202a and after",
    "\x1b[31;1mred\x1b]0;title\x07\x1b[2J",
    "a" * 2000,
    "\u0e19\u0e49" * 1000,
    "&lt;b&gt; &amp; ${window.hacked = 1} {{constructor.constructor('window.hacked=1')()}}",
]  # fmt: skip
NODES = "script, img, iframe, object, embed, link, style, form, input, button, svg"


@pytest.fixture
def foreign() -> Iterator[Callable[[str], str]]:
    """Serve a page of another origin: foreign(html) returns its address."""
    pages: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(pages.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()

        def show(html: str) -> str:
            pages[f"/{len(pages)}"] = html.encode()
            return f"http://127.0.0.1:{server.server_port}/{len(pages) - 1}"

        yield show
        server.shutdown()
        thread.join()


def test_whatever_people_say_is_shown_as_text_and_nothing_else(start_process, connect, tab, browser):
    server = start_process("--rate", "0")
    size = {"viewport": PHONE["viewport"]} if browser.browser_type.name == "firefox" else PHONE
    carl = tab(browser, server, **size).enter("carl")
    nodes = carl.page.locator(NODES).count()
    with server.client("mal") as mal:
        mal.send(*HOSTILE, "/me " + HOSTILE[0], "the last one")
        carl.expect("the last one")
        mal.send(
            f"/msg carl {HOSTILE[1]}", f"/away {HOSTILE[2][:150]}", f"/topic {HOSTILE[0]}", f"/create #b {HOSTILE[1]}"
        )
        mal.expect("You are in #b")
    pia = connect(server, "pia")
    pia.say("#lobby", f"one\n* bob left\n\n  {HOSTILE[1]}")
    heard = [message.text for message in pia.history("#lobby").messages]
    carl.until("(count) => document.querySelectorAll('.row.message').length === count", len(heard))
    shown = [text.removeprefix("mal ") if HOSTILE[0] in text else text for text in carl.said()]
    assert shown == heard
    links = carl.log.locator("a")
    for each in links.all():
        assert each.get_attribute("href").startswith("http://good.example/")
        assert each.get_attribute("rel") == "noopener noreferrer"
    # What was there before, the private conversation in the list, and nothing else.
    assert carl.log.locator(NODES).count() == 0
    assert carl.page.locator(NODES).count() <= nodes + 2
    assert carl.page.evaluate("() => window.hacked") is None
    assert carl.width() <= 0
    for each in carl.log.locator(".text").all():
        assert each.evaluate("(text) => getComputedStyle(text).unicodeBidi") == "isolate"
        assert each.evaluate("(text) => getComputedStyle(text).whiteSpace") == "pre-wrap"


def test_a_page_of_another_origin_cannot_chat_and_a_program_can(start_process, browser, foreign):
    server = start_process()
    page = browser.new_page()
    page.goto(
        foreign(
            f"<script>document.title = 'tries'; const socket = new WebSocket('ws://127.0.0.1:{server.port}/ws');"
            "socket.onopen = () => document.title = 'open'; socket.onclose = () => document.title = 'refused'</script>"
        )
    )
    page.wait_for_function("() => document.title !== 'tries'", timeout=WAIT * 1000)
    assert page.title() == "refused"
    page.context.close()
    for origin, status in (("Origin: http://evil.example\r\n", "403"), ("Origin: null\r\n", "403"), ("", "101")):
        with Client(server.port) as program:
            program.send_bytes(
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{origin}Upgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            line = program.line()
            assert line
            assert line.split(" ")[1] == status


def test_no_page_can_put_the_chat_into_a_frame_or_read_it(start_process, browser, foreign):
    server = start_process()
    page = browser.new_page()
    page.goto(
        foreign(
            f"<iframe src='http://127.0.0.1:{server.port}/' onload='document.title = `loaded`'></iframe><script>"
            f"fetch('http://127.0.0.1:{server.port}/').then((it) => it.text())"
            ".then(() => window.read = 'read', () => window.read = 'refused')"
            "</script>"
        )
    )
    page.wait_for_function("() => window.read && document.title === 'loaded'", timeout=WAIT * 1000)
    assert page.evaluate("() => window.read") == "refused"
    assert all(frame.get_by_label("Your name").count() == 0 for frame in page.frames)
    page.context.close()
