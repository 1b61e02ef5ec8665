"""Lines that are edited over telnet, by Debian's clients in terminals of tmux: what people type, and what they see."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable

import pytest
from support.servers import needs
from support.terminals import Tmux
from support.waiting import wait_for

from chat_threads.dialects import screen
from chat_threads.service import screen as service

pytestmark = pytest.mark.slow

COMMANDS = {
    "telnet": ("telnet", "127.0.0.1", "{}"),
    "telnet-ssl": ("telnet-ssl", "127.0.0.1", "{}"),
    "plink": ("plink", "-telnet", "-batch", "-P", "{}", "127.0.0.1"),
    "telnet that asks for options": ("telnet", "--", "127.0.0.1", "-{}"),
    "tt++": ("sh", "-c", "PATH=$PATH:/usr/games; tt++ -G -e '#split 0 0;#session chat 127.0.0.1 {}'"),
    "telnet and reset": ("sh", "-c", "telnet 127.0.0.1 {}; reset"),
    "tf": ("tf", "-n", "-f/dev/null", "127.0.0.1", "{}"),
}
ON = "Your line stays whole now"


@pytest.fixture
def come_in(tmux) -> Callable[..., Tmux]:
    """A person in a terminal who has asked to edit lines: come_in(server, "telnet", 80, 24)."""

    def start(server, program: str, columns: int = 80, rows: int = 24) -> Tmux:
        opened = tmux(*(part.format(server.port) for part in COMMANDS[program]), columns=columns, rows=rows)
        opened.expect("What is")
        opened.enter("ann")
        opened.expect("Hello, ann")
        opened.enter("/edit on")
        return opened

    return start


def edited(terminal: Tmux, line: str, column: int) -> None:
    """Wait until the line is shown above the status line, with the cursor in this column, and only the rows above both
    scroll."""
    expected: list[object] = []
    seen: list[object] = []

    def there() -> bool:
        rows = terminal.rows()
        expected[:] = line, len(rows) - 1, column, " ann", str(len(rows) - 3)
        seen[:] = rows[-2], *terminal.cursor(), rows[-1].split("  ")[0], *terminal.ask("#{scroll_region_lower}")
        return seen == expected

    with contextlib.suppress(AssertionError):
        wait_for(there)
    assert seen == expected, "\n".join(terminal.rows())


def said(lines: list[str]) -> list[str]:
    """What bob and cy have said, without what they have said more than once."""
    whole = "\n".join(lines).replace("\n  | ", " ")
    return re.findall(r"^\[[^]]*\] (?:bob|cy): (line \d+(?: and more)*)", whole, re.M)


def is_as_before(terminal: Tmux) -> None:
    """Wait until the client has ended. The whole terminal scrolls and wraps, and shows what is typed."""
    terminal.expect("^ended with")
    upper, lower, height, *flags = terminal.ask(
        "#{scroll_region_upper} #{scroll_region_lower} #{pane_height} #{origin_flag} #{wrap_flag} #{cursor_flag}"
    )
    assert (upper, int(lower), flags) == ("0", int(height) - 1, ["0", "1", "1"])
    terminal.type("typed")
    terminal.expect("^typed$")


@pytest.mark.parametrize(
    ("program", "columns", "rows"),
    [
        ("telnet", 80, 24),
        ("telnet", 40, 20),
        ("telnet-ssl", 200, 50),
        ("plink", 80, 24),
        ("telnet that asks for options", 80, 24),
    ],
)
def test_two_people_talk_while_a_third_edits_in_the_middle_of_a_line(server, come_in, program, columns, rows):
    ann = come_in(server, program, columns, rows)
    ann.expect(ON, "^>$", "^ ann  #lobby  1 person")
    bob, cy = server.clients_named("bob", "cy")
    ann.type("my frends meet")
    ann.keys("M-b", "M-b")
    for number in range(30):
        (bob, cy)[number % 2].send(f"line {number}{' and more' * (number % 12)}")
        if number % 6 == 0:
            ann.type("dear "[number // 6])
    edited(ann, "> my dear frends meet", 11)
    ann.keys("C-Right", *["Left"] * 4)
    ann.type("i")
    edited(ann, "> my dear friends meet", 14)
    ann.keys("Enter")
    bob.expect("] ann: my dear friends meet")
    ann.type("a line that stays")
    ann.resize(columns - 8, rows - 5)
    edited(ann, "> a line that stays", 20)
    cy.send("line 30")
    ann.expect("cy: line 30")
    bob.expect("line 30")
    ann.resize(columns + 20, rows + 6)
    edited(ann, "> a line that stays", 20)
    assert said(ann.scrollback("-J")) == said(bob.seen), "nothing is lost, doubled or in another place"
    ann.keys("C-u")
    ann.type("王雷กำ👩‍👩‍👧e\u0301")
    ann.keys("BSpace", "BSpace", "Left")
    ann.type("韩")
    edited(ann, "> 王雷韩กำ", 9)
    ann.keys("Enter")
    bob.expect("] ann: 王雷韩กำ")
    ann.keys("Up", "C-u", "Up", "Up", "Home", "C-k", "C-y", "C-c")
    ann.type("0123456789" * 30)
    ann.keys("Home")
    edited(ann, "> " + ("0123456789" * 30)[: min(columns + 20, 250) - 4] + ">", 3)
    ann.keys("Enter")
    bob.expect("] ann: " + "0123456789" * 30)
    ann.type("c")
    ann.keys("Tab")
    edited(ann, "> cy:", 7)
    ann.paste("x = 1\n/quit\nlast")
    edited(ann, "> cy: x = 1↵/quit↵last", 23)
    ann.keys("Enter")
    bob.expect("] ann: cy: x = 1")
    assert [bob.line(), bob.line()] == ["  | /quit", "  | last"]
    ann.expect(r"\] ann: cy: x = 1$", r"^  \| /quit$", r"^  \| last$")
    ann.enter("/edit off")
    ann.expect("Your program sends whole lines again")
    ann.enter("a whole line")
    bob.expect("] ann: a whole line")
    cy.send("line 31")
    ann.expect("^a whole line$", r"^\[.*\] ann: a whole line", r"^\[.*\] cy: line 31$")
    ann.enter("/edit on")
    ann.expect(ON)
    ann.keys("C-c")
    is_as_before(ann)


LONG = "a half-typed line that has about sixty columns, in the window"


@pytest.mark.parametrize(
    ("typed", "wrapped"),
    [("", [">"] * 5), (LONG, [f"> <{LONG[13:]}", f"> <{LONG[41:]}", "> " + LONG, f"> <{LONG[33:]}", "> " + LONG])],
)
def test_a_narrower_window_leaves_no_blank_row_in_what_was_said(server, come_in, monkeypatch, typed, wrapped):
    monkeypatch.setattr(screen, "_moment", lambda took: 0.0)  # nobody talks any more
    ann = come_in(server, "telnet")
    ann.expect(ON)
    with server.client("bob") as bob:
        for number in range(30):
            bob.send(f"line {number}{' and more' * (8 + number % 7)}")
        bob.expect("line 29")
        ann.expect("bob: line 29")
        ann.type(typed)
        edited(ann, f"> {typed}".rstrip(), 3 + len(typed))
        for size, line in zip([(60, 30), (30, 24), (80, 24), (40, 12), (80, 24)], wrapped, strict=True):
            ann.resize(*size)
            edited(ann, line, max(3, len(line) + 1))
            above = ann.rows()[:-2]
            while typed and not above[-1]:
                above.pop()  # a line that was wrapped leaves blank rows here, and not in the middle
            assert all(above), "\n".join(ann.rows())
            assert said(ann.scrollback("-J")) == said(bob.seen)


@pytest.mark.parametrize("program", ["telnet", "plink"])
@pytest.mark.parametrize("how", ["the server stops", "the token is used elsewhere", "/quit"])
def test_the_terminal_is_as_before_however_the_conversation_ends(start_process, come_in, program, how):
    server = start_process()
    ann = come_in(server, program)
    ann.expect(ON)
    ann.enter("/token")
    ann.expect(r"/resume \S+")
    ann.type("a half-typed line")
    if how == "the server stops":
        assert server.stop() == 0
        ann.expect("^> a half-typed line$", "^! The server is shutting down")
    elif how == "/quit":
        ann.keys("C-u")
        ann.enter("/quit")
    else:
        token = re.findall(r"/resume (\S{20,})", "\n".join(ann.scrollback()))[0]
        with server.client() as other:
            other.send(f"/resume {token}")
            other.expect("You are in #")
    is_as_before(ann)


def put_out(how: str) -> tuple[str, str]:
    """What bob types so that ann has to leave #lab, and what she sees."""
    return {
        "kick": ("/kick #lab ann", "You left #lab"),
        "ban": ("/ban #lab ann", "You left #lab"),
        "delete": ("/delete #lab yes", "bob deleted #lab"),
    }[how]


@pytest.mark.parametrize(("program", "how"), [("telnet", "kick"), ("plink", "ban"), ("telnet", "delete")])
def test_whoever_is_put_out_while_typing_does_not_say_it_elsewhere(server, come_in, monkeypatch, program, how):
    monkeypatch.setattr(service, "REFRESH", 600)  # so the status line is drawn because the terminal has answered
    typed, seen = put_out(how)
    with server.client("bob") as bob:
        bob.ask("/create #lab")
        ann = come_in(server, program)
        ann.expect(ON)
        ann.enter("/join #lab")
        ann.expect("^ ann  #lab  2 people")
        ann.type("this is for #lab alone")
        ann.expect("^> this is for #lab alone")
        bob.send(typed)
        ann.expect(seen, "^> this is for #lab alone", "^ ann  #lobby")
        ann.keys("Enter")
        ann.expect("You are in #lobby now, not in #lab", "^> this is for #lab alone")
        bob.send("/join #lobby")
        bob.expect("You are in #lobby")
        assert not any("] ann:" in line for line in bob.ask("/history"))
        ann.keys("Enter")
        bob.expect("] ann: this is for #lab alone")


def test_after_the_server_is_killed_a_reset_is_enough(start_process, come_in):
    server = start_process()
    ann = come_in(server, "telnet and reset")
    ann.expect(ON)
    ann.type("half a line")
    server.kill()
    is_as_before(ann)


def test_a_client_that_sends_whole_lines_is_told_so(server, come_in):
    fugue = come_in(server, "tf")
    fugue.enter("/send /edit on")  # it has an /edit of its own
    fugue.expect("/edit stays off: your program edits your line itself.")
    fugue.enter("hello")
    fugue.expect(r"\] ann: hello")


def test_a_client_with_a_line_of_its_own_keeps_it(server, come_in, monkeypatch):
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/games")  # Debian puts it there
    needs("tt++")
    tin = come_in(server, "tt++")
    tin.expect("/edit stays off: your program edits your line itself.")
    tin.enter("hello")
    tin.expect(r"\] ann: hello")
