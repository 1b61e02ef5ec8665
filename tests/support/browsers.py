"""Real browsers on the chat's page: Debian's Chromium and Firefox, driven by Playwright.

A ``Tab`` is one page. It waits for what it expects, as a ``clients.Client`` does, and finds things as people do: by
their roles and labels. What goes wrong in the page is kept in ``faults``; the fixture ``tab`` fails on any.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .servers import needs
from .waiting import WAIT

PHONE = {"viewport": {"width": 360, "height": 640}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
AXE = pathlib.Path(os.environ.get("CHAT_THREADS_AXE") or pathlib.Path.home() / ".cache/chat_threads/axe")
"""Where .ci/run has npm install axe-core."""
SPOILT = re.compile(r"ERR_INVALID_HTTP_RESPONSE|interrupted by another navigation")
LOST = re.compile(r"WebSocket connection to|can.t establish a connection|connection to ws://.* was interrupted")


@contextlib.contextmanager
def started(kind: str) -> Iterator[Any]:
    """A browser of that kind, "chromium" or "firefox"; skip without it, but fail in CI."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        message = "playwright is not installed, so no browser was tested"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    path = needs({"chromium": "chromium", "firefox": "firefox-esr"}[kind])
    with _driver(sync_playwright) as playwright:
        if kind == "chromium":
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        else:
            browser = playwright.firefox.launch(channel="moz-firefox", executable_path=path)
        yield browser
        browser.close()


_drivers: list[Any] = []  # the one that runs, and how many browsers it has


@contextlib.contextmanager
def _driver(make: Any) -> Iterator[Any]:
    """One Playwright for all browsers of this process: two cannot run in a thread."""
    if _drivers:
        yield _drivers[0]
        return
    with make() as playwright:
        _drivers.append(playwright)
        yield playwright
        _drivers.clear()


class Tab:
    """A tab with the chat's page. ``faults`` has what the page complained about."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        page.set_default_timeout(WAIT * 1000)
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self._hear("error", f"uncaught: {error.stack}"))

    def _hear(self, kind: str, text: str) -> None:
        """Browsers themselves complain of a server that is gone. That is no fault of the page's."""
        if kind in ("error", "warning") and not LOST.search(text):
            self.faults.append(f"{kind}: {text}")

    def beside(self, page: Any) -> Tab:
        """The page of another tab that this one has opened."""
        other = Tab(page, self.url)
        other.faults = self.faults
        return other

    # --- what a person does ---------------------------------------------------------------------------------

    def open(self, path: str = "") -> Tab:
        """Load a page of the server. If this machine is so busy that the request comes after the greeting, the page is
        loaded again, as Chromium does by itself for people (docs/operators.rst)."""
        for left in reversed(range(5)):
            try:
                self.page.goto(self.url + path)
                if "* Welcome to" not in self.page.content()[:1000]:
                    break
            except Exception as error:
                if not left or not SPOILT.search(str(error)):
                    raise
            self.faults.clear()
        return self

    def enter(self, name: str, room: str = "") -> Tab:
        """Open the page, give the name, and wait until the server has let us in."""
        self.open()
        self.page.get_by_label("Your name").fill(name)
        if room:
            self.page.get_by_label("Room", exact=True).fill(room)
        self.page.get_by_role("button", name="Enter", exact=True).click()
        self.box.wait_for()
        return self

    @property
    def box(self) -> Any:
        return self.page.get_by_role("textbox", name="Message")

    def say(self, *lines: str) -> None:
        for line in lines:
            self.box.fill(line)
            self.box.press("Enter")

    # --- what a person sees ---------------------------------------------------------------------------------

    @property
    def log(self) -> Any:
        return self.page.get_by_role("log")

    def said(self) -> list[str]:
        """The texts of the messages on the page, without what waits to be sent."""
        return self.page.eval_on_selector_all(
            "[role=log] .row.message .text", "all => all.map((each) => each.textContent)"
        )

    def expect(self, text: str) -> Any:
        """Wait for a row with this text, and return it."""
        row = self.log.locator("li", has_text=text).last
        row.wait_for()
        return row

    def until(self, expression: str, argument: object = None) -> None:
        """Wait until a JavaScript function returns something true."""
        self.page.wait_for_function(expression, arg=argument)

    def firm(self) -> None:
        """Wait until nothing waits to be sent."""
        self.until("() => !document.querySelector('.row.waiting')")

    def width(self) -> int:
        """How many pixels the page is wider than the window."""
        return self.page.evaluate(
            "() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"
        )

    def top_of(self, row: Any) -> float:
        """Where the row is on the screen, in pixels from the top."""
        return float(row.evaluate("(each) => each.getBoundingClientRect().top"))

    def complaints(self) -> list[str]:
        """What axe-core finds serious or critical in the page as it is now: rule, and elements."""
        source = AXE / "node_modules/axe-core/axe.min.js"
        if not source.exists():
            message = f"axe-core is not installed in {AXE}, so the page was not checked with it"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
        self.page.evaluate(source.read_text("utf-8"))
        found = self.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{each['id']}: {[node['html'][:80] for node in each['nodes']]}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]


class Cable:
    """A network between browsers and a server, on a port of its own. It can be cut, and mended; or hold everything back
    for a while. It holds the first bytes of each connection back for ``late`` seconds."""

    def __init__(self, port: int, late: float = 0.0) -> None:
        self._to = port
        self._late = late
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: dict[socket.socket, socket.socket] = {}  # the thread's
        self._cut = False
        self._paused = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        self._cut = True

    def mend(self) -> None:
        self._cut = False

    def pause(self) -> None:
        self._paused = True

    def go_on(self) -> None:
        self._paused = False

    def close(self) -> None:
        self._stopped = True
        self._thread.join(WAIT)
        self._listener.close()

    def _run(self) -> None:
        while not self._stopped:
            if self._cut:
                self._drop(*self._ends)
            for sock in select.select([self._listener, *self._ends], [], [], 0.02)[0]:
                if sock is self._listener:
                    self._connect(sock.accept()[0])
                elif sock in self._ends and not self._paused:
                    self._pass_on(sock)
        self._drop(*self._ends)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._to), WAIT)
        except OSError:
            near.close()
            return
        self._ends[near], self._ends[far] = far, near
        time.sleep(self._late)

    def _pass_on(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
            self._ends[sock].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(sock)

    def _drop(self, *socks: socket.socket) -> None:
        for sock in socks:
            other = self._ends.pop(sock, None)
            if other:
                del self._ends[other]
                sock.close()
                other.close()
