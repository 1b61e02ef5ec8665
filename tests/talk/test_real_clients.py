"""Real clients from Debian, each in a terminal of its own: what people type and what they see."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator

import pytest
from support.clients import ASKED, Client
from support.servers import needs
from support.waiting import WAIT, wait_for

from chat_threads.dialects.telnet import BINARY, WILL

pytestmark = pytest.mark.slow

fcntl = pytest.importorskip("fcntl")
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
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 250, 0, 0))
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

    @property
    def shown(self) -> bytes:
        """The bytes that came so far."""
        return self._bytes

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
    ann.expect(r"^\[\d\d:\d\d\] ~ bob waves$")
    ann.enter("/jion #lab2")
    ann.expect(r"^! There is no command /jion\. Did you mean /join\?$")
    ann.enter("/history 2")
    ann.expect(r"^\* #lobby, messages 2 to 3 of 3:$")
    ann.expect(r"^2 \[\d\d:\d\d\] bob: mine hangs every time$")
    ann.expect(r"^3 \[\d\d:\d\d\] ~ bob waves$")
    ann.enter("/history before 2")
    ann.expect(r"^1 \[\d\d:\d\d\] ann: did anyone get lab 2 to hang\?$")
    ann.enter("/search hangs from:bob")
    ann.expect(r"^\* 1 message found for: hangs from:bob$")
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
    cy.expect(r"^\[\d\d:\d\d\] ~ bob waves$")
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


def test_letters_outside_ascii_pass_through_telnet_unharmed(telnet, server):
    ann, bob = telnet(server, "ann"), telnet(server, "bob")
    text = "gr\u00fc\u00dfe, \u3053\u3093\u306b\u3061\u306f \U0001f600"
    ann.enter(text)
    ann.expect(rf"^\[\d\d:\d\d\] ann: {text}$")
    bob.expect(rf"^\[\d\d:\d\d\] ann: {text}$")


# --- letters --------------------------------------------------------------------------------------------

# Telnet takes six bytes in these for its own keys. For 83, 8F, 9A and 9C (Ctrl-C, O, Z and \) it sends a command: the
# first line has all four. It drops 85, and 9D is Ctrl-], which opens its prompt: the first line has neither.
FIRST_LINE = "моя книга у Мити и Кати"
WORDS = (
    "привет, у меня хорошо",
    "Dănuț, Über, Åsa, Ý",
    "한국 셀 힝",
    "日本語です パーティー",
    "she said “yes” ‘…’",
    "😀🏃🚏🚚💜💝",
    "Надя",
    "".join(map(chr, range(0xC0, 0x100))),  # 80 to BF in second position
    "".join(map(chr, range(0x3080, 0x30C0))),  # and in third: E3 82 80 to E3 82 BF
)

HOST = "127.0.0.1"
SPEAKERS = {  # how each is started; PORT is put in
    "telnet": ("telnet", HOST, "PORT"),
    "telnet -8": ("telnet", "-8", HOST, "PORT"),
    "telnet -L": ("telnet", "-L", HOST, "PORT"),
    "telnet that asks for options": ("telnet", "--", HOST, "-PORT"),
    "telnet-ssl that asks for options": ("telnet-ssl", "-E", "--", HOST, "-PORT"),
    "tt++": ("tt++", "-G", "-e", f"#split 0 0;#session chat {HOST} PORT"),
    "plink -telnet": ("plink", "-telnet", "-P", "PORT", HOST),
    "plink -raw": ("plink", "-raw", "-P", "PORT", HOST),
    "nc": ("nc", HOST, "PORT"),
}


def command_of(speaker: str, port: int) -> list[str]:
    return [word.replace("PORT", str(port)) for word in SPEAKERS[speaker]]


def said_by(line: str, name: str) -> str:
    """The text of a line as others see it."""
    match = re.fullmatch(rf"\[\d\d:\d\d\] {re.escape(name)}: (.*)", line)
    assert match, line
    return match[1]


def come_in(terminal, command: list[str], name: str = "ann") -> Terminal:
    opened = terminal(*command)
    opened.expect(r"What is your name\?$")
    opened.enter(name)
    opened.expect(r"^\* You are in #lobby")
    return opened


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_letters_of_any_language_arrive_from(speaker, terminal, server):
    needs(SPEAKERS[speaker][0])
    bob = server.client("bob")
    bob.news()
    ann = come_in(terminal, command_of(speaker, server.port))
    bob.expect("ann joined")
    for text in (FIRST_LINE, *WORDS):
        ann.enter(text)
        assert said_by(bob.line(), "ann") == text
        ann.expect(rf"ann: {re.escape(text)}$")
    if speaker in ("plink -raw", "nc"):
        assert b"\xff" not in ann.shown


def test_telnet_ssl_says_all_letters_but_those_with_its_two_keys(terminal, server):
    """They are 85 and 9D, and BINARY does not change that. It never sends a command by itself."""
    bob = server.client("bob")
    bob.news()
    ann = come_in(terminal, ["telnet-ssl", HOST, str(server.port)])
    bob.expect("ann joined")
    for text in (FIRST_LINE, "한국, 日本語です, Dănuț", "Über"):
        ann.enter(text)
        assert said_by(bob.line(), "ann") == text


def test_tin_fugue_says_ascii_before_and_after_it_is_asked_for_binary(terminal, server):
    """It has 7 bits of the keyboard, and no more."""
    bob = server.client("bob")
    bob.news()
    ann = terminal("tf", "-n", HOST, server.port)
    ann.expect(r"What is your name\?")
    ann.enter("ann")
    ann.expect(r"\* You are in #lobby")
    bob.expect("ann joined")
    for text in ("hello", "and again"):
        ann.enter(text)
        assert said_by(bob.line(), "ann") == text
        ann.expect(f"ann: {text}")


def printable(last: int = 0xFFFF) -> list[str]:
    """The printable characters, blanks too, that are more than a byte in UTF-8: each as it can stand in a text."""
    found = []
    for char in map(chr, range(0xA0, last + 1)):
        if char.isprintable() or unicodedata.category(char) == "Zs":
            found.append("o" + char if unicodedata.category(char).startswith("M") else char)  # a mark has its letter
    return found


@pytest.mark.parametrize("speaker", ["telnet", "telnet-ssl that asks for options"])
def test_every_printable_character_of_the_basic_multilingual_plane_can_be_said_in(speaker, terminal, server):
    needs(SPEAKERS[speaker][0])
    bob = server.client("bob")
    bob.news()
    ann = come_in(terminal, command_of(speaker, server.port))
    bob.expect("ann joined")
    ann.enter(FIRST_LINE)
    assert said_by(bob.line(), "ann") == FIRST_LINE
    ann.expect(rf"ann: {FIRST_LINE}$")
    chars = printable()
    assert len(chars) > 50_000
    for at in range(0, len(chars), 1000):
        text = "".join(["<", *chars[at : at + 1000], ">"])
        ann.enter(text)
        assert said_by(bob.line(), "ann") == text
        ann.expect(">$")  # what telnet shows is read, or else it would stop


@pytest.mark.parametrize("name", ["Dănuț", "Über", "한국", "моя"])
def test_names_rooms_topics_and_private_lines_have_letters_from_telnets_first_line_on(name, telnet, server):
    bob = server.client("bob")
    bob.news()
    ann = telnet(server, f"{name} #Кум")
    bob.send("/join #Кум")
    bob.expect(name)
    ann.expect(r"^\* bob joined$")
    ann.enter("/topic Наш “хор”")
    assert bob.expect("topic") == (f"* {name} set the topic of #Кум: Наш “хор”")
    ann.enter("/msg bob Å 日本語")
    assert bob.expect("->").endswith(f"{name} -> you: Å 日本語")


@pytest.mark.parametrize("text", ["ххх", "хорошо, ха-ха", "々々々"])
def test_rows_begin_at_the_left_after_a_line_that_telnet_has_spoilt(text, tmux, server):
    """85 is its key Ctrl-E: an odd number of them ends its echo, and then LF does not return to the first column."""
    ann = tmux("telnet", HOST, str(server.port))
    ann.expect("What is")
    ann.enter("ann")
    ann.expect("Hello, ann")
    ann.enter(text)
    ann.expect("^! That line is not UTF-8, so it was not sent. Type it again.$")
    [session] = server.chat.sessions.all()
    wait_for(lambda: session.dialect._telnet._options.on((WILL, BINARY)))
    ann.enter(text)
    ann.expect(rf"^\[\d\d:\d\d\] ann: {text}$")


@pytest.mark.parametrize("name", ["Åsa", "Надя"])
def test_a_name_of_which_telnet_itself_loses_a_letter_can_be_given_once_the_server_has_noticed(name, terminal, server):
    """85 is dropped without a word, and 9D opens telnet's prompt: nothing of that reaches the server."""
    ann = terminal("telnet", HOST, server.port)
    ann.expect(r"What is your name\?$")
    ann.enter(name)
    if name[0] != "Å":
        ann.expect("telnet> ")
        ann.expect("Invalid command")
        ann.enter("")
        ann.expect(r"^(?:telnet> )?\* A letter has opened your telnet's own prompt, and the rest of the line is$")
    else:
        ann.expect(r"^! That line is not UTF-8, so it was not sent\. Type it again\.")
    [session] = server.chat.sessions.all()
    wait_for(lambda: session.dialect._telnet._options.on((WILL, BINARY)))
    ann.enter(name)
    ann.expect(rf"^\r?\* Hello, {name}\.")


def test_the_first_name_may_have_any_letter_in_a_telnet_that_asks_for_options(terminal, server):
    ann = terminal("telnet", "--", HOST, f"-{server.port}")
    ann.expect(r"What is your name\?$")
    [session] = server.chat.sessions.all()
    wait_for(lambda: session.dialect._telnet._options.on((WILL, BINARY)), "both ends agree, which takes people no time")
    ann.enter("Надя")
    ann.expect(r"^\* Hello, Надя\.")


@pytest.mark.parametrize("first", ["hello", FIRST_LINE], ids=["7 bits", "8 bits"])
def test_ctrl_c_leaves_telnet_after_a_line_and_in_one(first, telnet, server):
    bob = server.client("bob")
    bob.news()
    ann = telnet(server, "ann")
    ann.enter(first)
    ann.expect(rf"ann: {first}$")
    ann.type("half a li")
    ann.expect("half a li")
    ann.type(CTRL_C)
    ann.expect(r"\* Goodbye\.$")
    assert ann.end() == 0
    assert said_by(bob.expect("ann: "), "ann") == first
    bob.expect("ann left")


def test_a_client_is_asked_for_binary_once_and_only_if_it_seems_to_be_telnet(server):
    raw = Client(server.port)
    with contextlib.closing(raw):
        raw.send_bytes("ann\r\nüber “so”\r\n".encode() + b"caf\xe9 \xff\xff\n")  # ends as nc's lines do
        seen = b""
        raw.sock.settimeout(WAIT)
        while b"not UTF-8" not in seen:
            seen += raw.sock.recv(65536)
        assert b"\xff" not in seen
        raw.send_bytes(b"\xff\xf6" * 3)
        while seen.count(b"I am here") < 3:
            seen += raw.sock.recv(65536)
        assert (seen.count(b"\xff"), seen.count(ASKED)) == (2, 1)


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


def test_a_missing_client_program_is_reported(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-client is not installed"):
        needs("no-such-client")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-client is not installed"):
        needs("no-such-client")
