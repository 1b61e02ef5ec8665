"""Real clients, telnet and nc as Debian has them, each in a terminal of its own: what people type and what they see."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import WAIT, needs

pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")

IUTF8 = 0x4000  # Linux: the terminal's own line editor takes back whole characters; termios has no name for it
TAKE_THE_TERMINAL = (
    "import fcntl, os, signal, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " signal.signal(signal.SIGINT, signal.SIG_DFL);"  # which a shell's background job ignores
    " os.execvp(sys.argv[1], sys.argv[1:])"
)
CTRL_C, CTRL_D, ESCAPE, ERASE = b"\x03", b"\x04", b"\x1d", b"\x7f"


class Terminal:
    """A program in a pseudo-terminal: keys in, and what the screen would show out."""

    def __init__(self, *command: str, raw: bool = False) -> None:
        self._keys, inside = pty.openpty()
        mode = termios.tcgetattr(inside)
        mode[0] |= IUTF8
        if raw:  # no line editor: every key goes to the program at once
            mode[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(inside, termios.TCSANOW, mode)
        self.popen = subprocess.Popen(
            [sys.executable, "-c", TAKE_THE_TERMINAL, *command],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "dumb"},
        )
        os.close(inside)
        self._read = 0
        self.screen = ""
        self._bytes = b""

    def type(self, keys: str | bytes) -> None:
        os.write(self._keys, keys.encode() if isinstance(keys, str) else keys)

    def enter(self, line: str) -> None:
        self.type(line + "\r")

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows this after what was expected before; the regular expression's match."""
        deadline = time.monotonic() + WAIT
        while not (match := re.compile(pattern, re.M).search(self.screen, self._read)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} did not come; the screen shows {self.screen!r}"
            if not self._more(left):
                raise AssertionError(f"it ended before {pattern!r} came; the screen shows {self.screen!r}")
        self._read = match.end()
        return match

    def end(self) -> int:
        """Wait until the program ends; its exit code."""
        deadline = time.monotonic() + WAIT
        while self._more(max(0.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"it does not end; the screen shows {self.screen!r}"
        return self.popen.wait(WAIT)

    def _more(self, timeout: float) -> bool:
        if not select.select([self._keys], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self._keys, 65536)
        except OSError:  # Linux says so when the last one has closed the terminal
            data = b""
        self._bytes += data
        self.screen = re.sub("\r+\n", "\n", self._bytes.decode(errors="replace"))
        return bool(data)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(WAIT)
        os.close(self._keys)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start programs in terminals: terminal("telnet", "127.0.0.1", "8080"); killed at the end."""
    with contextlib.ExitStack() as stack:

        def start(*command: object, raw: bool = False) -> Terminal:
            opened = Terminal(needs(str(command[0])), *map(str, command[1:]), raw=raw)
            stack.callback(opened.close)
            return opened

        yield start


@pytest.fixture
def telnet(terminal) -> Callable[..., Terminal]:
    """Come in with telnet: telnet(server, "ann"), or telnet(server, "ann #lab")."""

    def come_in(server, hello: str) -> Terminal:
        opened = terminal("telnet", "127.0.0.1", server.port)
        opened.expect(r"^\* Welcome to chat_threads \S+ What is your name\?$")
        opened.enter(hello)
        opened.expect(r"^\* You are in #.*")
        return opened

    return come_in


# --- telnet ---------------------------------------------------------------------------------------------


def test_two_telnet_users_talk_page_and_search_and_a_third_reads_it_after_a_restart(telnet, start_process):
    first = start_process()
    ann = telnet(first, "ann")
    bob = telnet(first, "bob")
    ann.expect(r"^\* bob joined$")
    ann.enter("did anyone get lab 2 to hang?")
    ann.expect(r"^\[\d\d:\d\d\] ann: did anyone get lab 2 to hang\?$")
    bob.expect(r"^\[\d\d:\d\d\] ann: did anyone get lab 2 to hang\?$")
    bob.enter("mine hangs every time")
    ann.expect(r"^\[\d\d:\d\d\] bob: mine hangs every time$")
    bob.enter("/me waves")
    ann.expect(r"^\[\d\d:\d\d\] \* bob waves$")
    ann.enter("/jion #lab2")
    ann.expect(r"^! There is no command /jion\. Did you mean /join\?$")
    ann.enter("/history 2")
    ann.expect(r"^\* #lobby, messages 2 to 3 of 3:$")
    ann.expect(r"^2 \[\d\d:\d\d\] bob: mine hangs every time$")
    ann.expect(r"^3 \[\d\d:\d\d\] \* bob waves$")
    ann.enter("/history before 2")
    ann.expect(r"^1 \[\d\d:\d\d\] ann: did anyone get lab 2 to hang\?$")
    ann.enter("/search hangs from:bob")
    ann.expect(r"^\* 1 message found for: hangs$")
    ann.expect(r"^#lobby 2 \[\d\d:\d\d\] bob: mine hangs every time$")
    bob.enter("/quit good night")
    bob.expect(r"^\* Goodbye\.$")
    bob.expect(r"^Connection closed by foreign host\.$")
    assert bob.end() == 0
    ann.expect(r"^\* bob left \(good night\)$")
    assert first.stop() == 0
    ann.expect(r"^! The server is shutting down\. Goodbye\.$")
    ann.end()

    second = start_process()
    cy = telnet(second, "cy")
    cy.expect(r"^\* What was said so far, 3 messages:$")
    cy.expect(r"^\[\d\d:\d\d\] ann: did anyone get lab 2 to hang\?$")
    cy.expect(r"^\[\d\d:\d\d\] bob: mine hangs every time$")
    cy.expect(r"^\[\d\d:\d\d\] \* bob waves$")
    cy.enter("/set numbers on")
    cy.enter("so does mine")
    cy.expect(r"^4 \[\d\d:\d\d\] cy: so does mine$")


def test_ctrl_c_in_telnet_says_goodbye_and_the_others_see_that_one_left(telnet, server):
    ann, bob = telnet(server, "ann"), telnet(server, "bob")
    bob.type(CTRL_C)
    bob.expect(r"\* Goodbye\.$")
    bob.expect(r"^Connection closed by foreign host\.$")
    assert bob.end() == 0
    ann.expect(r"^\* bob left$")


def test_ctrl_c_before_a_name_is_given_says_goodbye_too(terminal, server):
    nobody = terminal("telnet", "127.0.0.1", server.port)
    nobody.expect(r"What is your name\?$")
    nobody.type(CTRL_C)
    nobody.expect(r"\* Goodbye\.$")
    assert nobody.end() == 0


@pytest.mark.parametrize(
    ("command", "answer"),
    [("send ip", r"^\* Goodbye\.$"), ("send eof", r"^\* Goodbye\.$"), ("send ayt", r"^\* Yes, I am here\.$")],
)
def test_telnets_own_commands_are_understood(telnet, server, command, answer):
    ann = telnet(server, "ann")
    ann.type(ESCAPE)
    ann.expect("telnet> ")
    ann.enter(command)
    ann.expect(answer)


def test_telnet_asks_for_options_is_refused_and_goes_on(telnet, server):
    ann = telnet(server, "ann")
    bob = server.client("bob")
    for command in ("send do echo", "send will naws", "mode character", "mode line"):
        ann.type(ESCAPE)
        ann.expect("telnet> ")
        ann.enter(command)
        bob.send("go on")
        ann.expect("bob: go on")  # shown once telnet has left its command mode
        ann.enter(f"after {command}")
        ann.expect(rf"^\[\d\d:\d\d\] ann: after {command}$")


def test_characters_erased_in_telnet_are_not_said(telnet, server):
    ann = telnet(server, "ann")
    ann.type("helo" + "\x7f" + "lo, gr\u00fc\u00fc" + "\x7f" + "n\r")
    ann.expect(r"^\[\d\d:\d\d\] ann: hello, gr\u00fcn$")


def test_what_is_not_ascii_goes_through_telnet_unharmed(telnet, server):
    ann, bob = telnet(server, "ann"), telnet(server, "bob")
    text = "gr\u00fc\u00dfe, \u3053\u3093\u306b\u3061\u306f \U0001f600"
    ann.enter(text)
    ann.expect(rf"^\[\d\d:\d\d\] ann: {text}$")
    bob.expect(rf"^\[\d\d:\d\d\] ann: {text}$")


# --- nc -------------------------------------------------------------------------------------------------


def test_nc_and_telnet_users_talk(terminal, telnet, server):
    ann = telnet(server, "ann")
    bob = terminal("nc", "127.0.0.1", server.port)
    bob.expect(r"What is your name\?$")
    bob.enter("bob")
    bob.expect(r"^\* You are in #lobby with 1 other: ann\.")
    ann.expect(r"^\* bob joined$")
    bob.enter("gr\u00fc\u00dfe")
    for user in (ann, bob):
        user.expect(r"^\[\d\d:\d\d\] bob: gr\u00fc\u00dfe$")
    ann.enter("hi bob")
    bob.expect(r"^\[\d\d:\d\d\] ann: hi bob$")
    bob.type(CTRL_C)
    assert bob.end() == -signal.SIGINT
    ann.expect(r"^\* bob left$")


def test_keys_that_nc_passes_on_as_they_are_typed_are_erased_by_the_server(terminal, server):
    ann = terminal("nc", "127.0.0.1", server.port, raw=True)
    ann.expect(r"What is your name\?$")
    for key in ("a", "n", "x", ERASE, "n", "\r"):
        ann.type(key)
    ann.expect(r"^\* Hello, ann\.")
    ann.expect(r"^\* You are in #lobby")
    for key in ("gr", "\u00fc", "\u3042", ERASE, "\u00dfe\u00e9", b"\x08", "\n"):
        ann.type(key)
    ann.expect(r"^\[\d\d:\d\d\] ann: gr\u00fc\u00dfe$")
    for key in ("never mind", b"\x15", "better", "\n"):
        ann.type(key)
    ann.expect(r"^\[\d\d:\d\d\] ann: better$")


def test_a_script_that_pipes_its_lines_into_nc_gets_its_echo_and_the_end(server):
    result = subprocess.run(
        [needs("nc"), "-N", "127.0.0.1", str(server.port)],  # -N: pass on the end of the input
        input=b"ann\nhi\n",
        capture_output=True,
        timeout=WAIT,
    )
    assert result.returncode == 0
    assert re.search(rb"^\[\d\d:\d\d\] ann: hi\r\n\Z", result.stdout, re.M)


def test_a_script_that_pipes_into_nc_and_leaves_it_open_gets_its_echo(server):
    nc = subprocess.Popen([needs("nc"), "127.0.0.1", str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        nc.stdin.write(b"ann\nhi\n")
        nc.stdin.close()
        assert any(re.fullmatch(rb"\[\d\d:\d\d\] ann: hi\r\n", line) for line in nc.stdout)
    finally:
        nc.kill()
        nc.wait(WAIT)
        nc.stdout.close()


def test_what_a_client_needs_is_said_when_it_is_missing(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-client is not installed"):
        needs("no-such-client")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-client is not installed"):
        needs("no-such-client")
