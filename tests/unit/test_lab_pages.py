"""The pages beside the chat, without a browser: who gets /threads and /trace, and what /qr says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess

from support.samples import for_each
from support.servers import needs
from support.waiting import WAIT

from chat_threads import commands, events, qr
from chat_threads.dialects.base import Request, Settings
from chat_threads.dialects.web import WebDialect
from chat_threads.page import read
from chat_threads.page.lab import qr_page, threads_page, trace_page

LAB = Settings(lab=True)


def answer_to(path: str, settings: Settings = LAB, host: str = "chat.example:8080") -> events.WireBytes | Request:
    dialect = WebDialect(settings)
    dialect.feed(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    found = dialect.next_input()
    assert found is not None
    return found


def hashes(body: bytes, element: str) -> tuple[str, ...]:
    found = re.findall(rf"<{element}>(.*?)</{element}>", body.decode(), re.DOTALL)
    return tuple(f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in found)


@for_each("path", ["/threads", "/threads.json", "/locks.json", "/trace", "/trace.json", "/trace.json?number=1"])
def test_without_lab_a_browser_is_told_how_to_start_the_server(path):
    answer = answer_to(path, Settings())
    assert isinstance(answer, events.WireBytes)
    assert answer.data.startswith(b"HTTP/1.1 404 ")
    assert answer.data.endswith(b"\r\n\r\nStart the server with --lab to see that in a browser.\n")


@for_each(("path", "page"), [("/threads", threads_page()), ("/trace", trace_page())])
def test_with_lab_each_page_is_one_answer_that_asks_only_the_host_that_it_came_from(path, page):
    head, _, body = answer_to(path).data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == page.body
    assert page.scripts == hashes(body, "script")
    assert page.styles == hashes(body, "style")
    assert len(page.scripts) == 1
    policy = re.search(r"^Content-Security-Policy: (.+)$", head.decode(), re.MULTILINE)[1]
    assert "connect-src 'self';" in policy
    assert f"script-src {' '.join(page.scripts)};" in policy
    assert not re.search(r' (?:src|on[a-z]+|style)="', body.decode().partition("<script>")[0].rpartition("</style>")[2])


@for_each(
    ("query", "command"),
    [
        ("", commands.ShowTrip()),
        ("?room=lab2", commands.ShowTrip(room="#lab2")),
        ("?room=%23lab2&number=12", commands.ShowTrip(12, "#lab2")),
        ("?number=0", commands.ShowTrip(0)),
    ],
)
def test_a_trip_is_asked_for_by_the_address(query, command):
    assert answer_to(f"/trace.json{query}") == Request(command)


@for_each("number", ["x", "-1", "1.5", "1" * 16, "%D9%A1"])
def test_a_number_that_is_none_is_refused(number):
    assert answer_to(f"/trace.json?number={number}").data.startswith(b"HTTP/1.1 400 ")


@for_each(
    ("host", "base"),
    [
        ("192.168.1.5:8080", "http://192.168.1.5:8080/"),
        ("chat.example", "http://chat.example/"),
        ("[2001:db8::7]:8080", "http://[2001:db8::7]:8080/"),
        ("localhost:8080", ""),
        ("127.0.0.1:8080", ""),
        ("[::1]:8080", ""),
    ],
)
def test_the_code_has_the_address_by_which_the_browser_came_unless_that_is_the_browsers_own_machine(host, base):
    assert answer_to("/qr", Settings(), host) == Request(commands.ShowQr(base))


def test_the_page_of_the_code_shows_the_address_and_a_square_for_each_dark_one():
    url = "http://192.168.1.5:8080/"
    rows = qr.rows_of(url)
    head, _, body = WebDialect().views.here.encode([events.QrShown(url, rows)]).partition(b"\r\n\r\n")
    assert body == qr_page(url, rows).body
    assert b"script-src 'none';" in head
    assert b"connect-src 'none';" in head
    assert f'<a href="{url}">{url}</a>' in body.decode()
    assert body.count(b"h1v1h-1z") == "".join(rows).count("1")
    squares = {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", body.decode())}
    assert {(x, y) for y, row in enumerate(rows) for x, square in enumerate(row) if square == "1"} == squares


def test_no_address_breaks_out_of_the_page():
    body = qr_page('http://h/#"><script>alert(1)</script>', ("1",)).body.decode()
    assert "<script" not in body
    assert body.count("&lt;script&gt;") == 2


def test_without_segno_the_browser_is_told_what_to_install():
    data = WebDialect().views.here.encode([events.problem(qr.NoQrCode("http://h/"))])
    assert data.startswith(b"HTTP/1.1 501 ")
    assert data.endswith(b"pip install '.[web]' in the folder of README.rst.\n")


ASKING = """
let now = 0, hidden = false, took = 0, asked = 0, wrong = "";
const timers = [], listeners = [], state = { dataset: {} };
globalThis.document = {
  get hidden() { return hidden; },
  addEventListener: (kind, listener) => listeners.push(listener),
};
Object.defineProperty(globalThis, "performance", { value: { now: () => now } });
globalThis.setTimeout = (again, pause) => timers.push([again, pause]);
globalThis.clearTimeout = () => {};
globalThis.byId = () => state;
const done = () => new Promise((resolve) => setImmediate(resolve));
async function next(milliseconds) {
  took = milliseconds;
  timers.at(-1)[0]();
  await done();
  return timers.at(-1)[1];
}
(async () => {
  repeat(async () => {
    asked += 1;
    now += took;
    if (wrong) throw new Error(wrong);
    say("Well.");
  });
  await done();
  const pauses = [timers.at(-1)[1]];
  for (const each of [10, 1000, 9000]) pauses.push(await next(each));
  wrong = "No.";
  pauses.push(await next(10));
  const told = [state.textContent, state.className];
  wrong = "";
  await next(10);
  told.push(state.textContent, state.className);
  hidden = true;
  const before = [asked, timers.length];
  timers.at(-1)[0]();
  await done();
  const silent = before[0] === asked && before[1] === timers.length;
  hidden = false;
  listeners[0]();
  await done();
  console.log(JSON.stringify({ pauses, told, silent, woken: asked === before[0] + 1 }));
})();
"""


def test_the_pages_ask_less_often_when_answers_are_slow_and_not_at_all_while_they_are_hidden():
    source = f"{read('asking.js')}\n{ASKING}"
    done = subprocess.run([needs("node"), "-"], input=source, capture_output=True, text=True, check=True, timeout=WAIT)
    found = json.loads(done.stdout)
    assert found["pauses"] == [500, 500, 4000, 10_000, 2000]  # milliseconds
    assert found["told"] == ["No.", "wrong", "Well.", ""]
    assert found["silent"]
    assert found["woken"]
