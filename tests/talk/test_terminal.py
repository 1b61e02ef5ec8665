"""The terminal client: under tmux, where a test types into it and reads the screen, and with plain lines in and out."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest
from support.clients import line_of, whole
from support.samples import for_each
from support.servers import free_port
from support.spoken import SPOKEN
from support.terminals import ENV, RUN, run
from support.waiting import WAIT, wait_for
from support.words import error_line

from chat_threads import commands, qr, rules
from chat_threads.client import terminal
from chat_threads.client.completions import completions
from chat_threads.client.decoding import Other
from chat_threads.client.surroundings import MAX_KNOWN, Surroundings
from chat_threads.client.talk import request_of
from chat_threads.client.terminal import Address
from chat_threads.commands import AreYouThere, Help, SetOption
from chat_threads.dialects.base import Request
from chat_threads.dialects.columns import columns as columns_of
from chat_threads.dialects.jsonlines import JsonDialect
from chat_threads.dialects.typed import parse_line
from chat_threads.errors import UnknownCommand, UnknownPerson
from chat_threads.events import Departed, Entered, Message, PeopleList, PersonRow, Presence, Renamed, RoomList, RoomRow
from chat_threads.letters import clusters

pytestmark = pytest.mark.slow

ROWS = [kind.row for kind in commands.TYPED]

WITHOUT_PROMPT_TOOLKIT = "import sys; sys.modules['prompt_toolkit'] = None"


# --- what is typed --------------------------------------------------------------------------------------


@for_each("line", [line for _, _, line in SPOKEN if line])
def test_a_typed_line_becomes_the_request_that_means_the_same_to_the_server(line):
    command = parse_line(line)
    dialect = JsonDialect()
    dialect.admitted("ann")
    dialect.feed(line_of(request_of(command)))
    assert dialect.next_input() == Request(command)


def test_a_command_that_programs_cannot_ask_for_has_no_request():
    with pytest.raises(ValueError, match="has no request"):
        request_of(AreYouThere())
    assert request_of(Help()) == {"type": "help"}
    assert request_of(SetOption()) == {"type": "set"}


def message(number: int, room: str, sender: str) -> Message:
    return Message(1, room, number, 0, sender, "say", "hi")


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("/jo", ["/join"]),
        ("/t", ["/topic", "/token", "/threads", "/trace"]),
        ("/", [row.name for row in ROWS if row.name != "/edit"]),
        ("hi /jo", []),
        ("/join #la", ["#lab", "#lab2"]),
        ("#", ["#lab", "#lab2", "#lobby"]),
        ("/leave #la", ["#lab2"]),
        ("/invite bob #", ["#lab2", "#lobby"]),
        ("/create #la", []),
        ("/msg bob #la", ["#lab", "#lab2"]),
        ("see #la", ["#lab", "#lab2"]),
        ("b", ["bob: "]),
        ("hi ö", ["Ömer"]),
        ("/msg C", ["cy"]),
        ("/away with b", ["bob"]),
        *((f"{line} b", []) for line in ("/nick", "/edit", "/resume", "/join", "/rooms")),
        ("/set c", ["colour"]),
        ("/search from:b", ["from:bob"]),
        ("/search From:@b", ["From:@bob"]),
        ("/search IN:#lab", ["IN:#lab", "IN:#lab2"]),
        ("/topic ", ["#lab", "#lab2", "#lobby"]),
        ("@b", ["@bob: "]),
        ("", ["bob: ", "Ömer: ", "cy: "]),
        ("/msg ", ["bob", "Ömer", "cy", "dan", "eve"]),
        ("/kick |/kick #lab2 ", ["bob", "Ömer", "cy"]),
        ("/kick #lobby ", ["cy"]),
        ("/msg g", []),
        ("hi ", []),
    ],
)
def test_the_last_word_is_completed(before, found):
    around = Surroundings()
    rooms = tuple(RoomRow(name, 1, 0, "") for name in ("#lobby", "#lab2", "#lab"))
    people = PeopleList(None, tuple(PersonRow(name, ("#lab",), 0, None) for name in ("eve", "dan")), 0)
    for event in (
        *(people, Entered("#lobby", "", ("gus",), 2, 7), message(7, "#lobby", "gone"), message(8, "#lobby", "cy")),
        *(Presence("#lobby", "joined", ("hal",)), Departed("#lobby", None), Entered("#lobby", "", ("cy", "gus"), 2, 8)),
        *(Entered("#lab2", "", ("cy", "gus", "Ömer"), 3, 0), RoomList(rooms, 0), Renamed("al", "bob")),
        *(Presence("#lab2", "left", ("gus", "cy")), Presence("#lobby", "left", ("gus", "hal"))),
        message(1, "#lab2", "cy"),
        *(message(2, "#lab2", name) for name in ("Ömer", "bob")),
        Other("help", {"type": "help", "text": "of a server that does not say what works"}),
    ):
        around.note(event, "ann")
    for line in before.split("|"):
        assert completions(around, line) == found


def test_after_a_reconnection_only_those_are_offered_who_are_still_there():
    around = Surroundings()
    for event in (
        Entered("#lobby", "", ("bob", "eve", "gus"), 3, 5),
        Entered("#lobby", "", ("eve", "gus"), 2, 9),
        PeopleList("#lobby", (PersonRow("eve", ("#lobby",), 0, None), PersonRow("gus", ("#z",), 0, None)), 0),
    ):
        around.note(event, "ann")
    assert completions(around, "/kick ") == ["eve"]
    assert completions(around, "/msg ") == ["eve", "gus", "bob"]


def test_a_room_that_comes_while_rooms_are_completed_does_no_harm(monkeypatch):
    around = Surroundings()
    around.note(Entered("#lab", "", (), 0, 0), "ann")

    def fold(name: str) -> str:
        around.note(RoomList((RoomRow("#new", 1, 0, ""),), 0), "ann")
        return rules.fold(name)

    monkeypatch.setattr("chat_threads.client.completions.fold", fold)
    assert completions(around, "/leave #") == ["#lab"]


def test_names_to_complete_are_bounded_and_the_latest_are_kept():
    around = Surroundings()
    around.note(Entered("#lobby", "", (), 0, 0), "ann")
    for number in range(MAX_KNOWN + 10):
        around.note(Presence("#lobby", "joined", (str(number), "always")), "ann")
    assert len(around.names) == MAX_KNOWN
    assert "always" in around.names
    assert "0" not in around.names


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("localhost", ("localhost", 8080)),
        ("localhost:99", ("localhost", 99)),
        ("192.0.2.1:8081", ("192.0.2.1", 8081)),
        ("[::1]:8081", ("::1", 8081)),
        ("[::1]", ("::1", 8080)),
        ("::1", ("::1", 8080)),
        ("telnet://localhost", ("localhost", 8080)),
        ("http://192.0.2.1:8081/", ("192.0.2.1", 8081)),
    ],
)
def test_an_address_is_a_host_and_maybe_a_port(typed, address):
    assert Address().convert(typed, None, None) == (*address, False, None)


def test_an_address_for_browsers_says_whether_the_server_speaks_tls_and_maybe_a_room():
    assert Address().convert("https://[::1]:8081/", None, None) == ("::1", 8081, True, None)
    assert Address().convert("https://chat.example", None, None) == ("chat.example", 443, True, None)
    assert Address().convert("chat.example:8081/#lab2", None, None) == ("chat.example", 8081, False, "#lab2")
    assert Address().convert("http://192.0.2.1/#lab2", None, None) == ("192.0.2.1", 80, False, "#lab2")
    assert Address().convert("http://[::1]:8081#%C3%9Cbung", None, None) == ("::1", 8081, False, "#Übung")


# --- plain lines ----------------------------------------------------------------------------------------


def without_times(text: str) -> list[str]:
    return re.sub(r"^\[\d\d:\d\d\] ", "", text, flags=re.M).splitlines()


def test_a_scripts_input_is_said_and_acknowledged_and_the_room_is_printed(server):
    done = run(server.port, "--name", "ann", typed="hi\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert without_times(done.stdout) == [
        "* Hello, ann. What is said in a room is kept: /history shows it.",
        "* You are in #lobby, and nobody else is. /help lists the commands.",
        "ann: hi",
    ]
    bob = server.client("bob")
    assert bob.ask("/history")[-1].endswith("ann: hi")


def test_a_script_that_may_not_enter_its_room_says_nothing_elsewhere(server, connect):
    ann = connect(server, "ann", room="#study")
    ann.request("room", room="#study", setting="invite-only")
    done = run(server.port, "--name", "cy", "--room", "study", typed="only for #study\n")
    assert done.returncode == 1
    assert "#study is only for people who were invited." in done.stderr
    ann.register("ann's password")
    ann.close()
    taken = run(server.port, "--name", "ann", typed="hi\n")
    assert taken.stderr == (
        "chat-threads-client: The name ann belongs to an account. Log in on a terminal, or take another name, such as"
        " ann2.\n"
    )
    bob = server.client("bob")
    assert not any("#study" in line or ": hi" in line for line in bob.ask("/history"))


@pytest.mark.parametrize("passwords", [["not this one", ""], [""]])
def test_whoever_does_not_know_a_password_reads_once_what_to_do(server, connect, monkeypatch, capsys, passwords):
    connect(server, "ann").register("ann's password")
    wrong = ["chat-threads-client: That is not the password of ann."] * (len(passwords) - 1)
    told = "The name ann belongs to an account. Type its password, or take another name, such as ann2."
    monkeypatch.setattr(terminal, "_password", lambda name: passwords.pop(0))
    with pytest.raises(SystemExit):
        terminal._connected("127.0.0.1", server.port, "ann", 1, True)
    assert capsys.readouterr().err.splitlines() == [*wrong, f"chat-threads-client: {told}"]


def test_commands_may_be_piped_in_too_and_what_is_not_a_command_is_an_error_and_its_exit_code(server):
    bob = server.client("bob")
    lines = "/leave\n/join #lab\n//x\n/me waves\n\n/topic locks\n/msg bob psst\n/help me\n"
    lines += "/set joins off\n/nick anna\nbye\n"
    done = run(server.port, "--name", "ann", "--room", "#begin", typed=lines)
    assert done.returncode == 0, done.stderr
    shown = without_times(done.stdout)
    for line in (
        "* You are in #begin, and nobody else is. /help lists the commands.",
        "* You are in #lab, and nobody else is.",
        "ann: /x",
        "~ ann waves",
        "you -> bob: psst",
        "* /me action: do something: ~ ann waves.",
        "* Set: joins off.",
        "* You are anna now.",
    ):
        assert line in shown
    assert shown[-1] == "anna: bye"
    bob.expect("ann -> you: psst")

    done = run(server.port, "--name", "ann", typed="/jion #lab\n/whois nobody\nhi\n")
    assert done.returncode == 1
    assert "ann: hi" in without_times(done.stdout)
    assert done.stderr.splitlines() == [
        error_line(UnknownCommand("/jion", "/join")),
        error_line(UnknownPerson("nobody")),
    ]


@pytest.mark.parametrize("lab", [False, True])
def test_the_help_has_the_commands_that_work_here(serve, lab):
    server = serve(lab=lab)
    done = run(server.port, "--name", "ann", typed="/help\n/help all\n")
    assert done.returncode == 0, done.stderr
    groups, _, every = done.stdout.partition("/help COMMAND explains")
    assert "/join #room" in groups
    for word in ("/lab ", "/locks "):
        assert (word in groups, word in every) == (lab, lab)
    assert ("/edit" in done.stdout, "/threads" in groups) == (False, True)


def test_an_action_is_not_taken_for_the_servers_line_without_timestamps_either(server):
    said = run(server.port, "--name", "ann", typed="/set timestamps off\n/me left\n")
    read = run(server.port, "--name", "ann", "--replay", "0", typed="/set timestamps off\n/history 1\n/search left\n")
    seen = [line for done in (said, read) for line in done.stdout.splitlines() if "left" in line]
    assert seen == ["~ ann left", "1 ~ ann left", "* 1 message found for: left", "#lobby 1 ~ ann left"]


def test_the_replay_is_set_as_the_other_options_are(server):
    typed = "/set\n/set Replay 4\n/set\n/set replay 500\n/set replay\n"
    done = run(server.port, "--name", "ann", "--replay", "2", typed=typed)
    assert re.findall(r"replay (\d+)", done.stdout) == ["2", "4", "4"]
    assert done.stderr.splitlines() == ["! Usage: /set replay N: messages shown on entering a room, 0 to 200"] * 2


def test_much_is_piped_in_and_all_of_it_is_said_in_order(server, connect):
    texts = [f"line {number}" for number in range(1000)]
    done = run(server.port, "--name", "ann", typed="".join(text + "\n" for text in texts))
    assert done.returncode == 0
    assert [line for line in without_times(done.stdout) if line.startswith("ann: ")] == [
        f"ann: {each}" for each in texts
    ]
    assert [each.text for each in whole(connect(server, "bob"), "#lobby")] == texts


def test_quit_with_words_leaves_and_what_comes_after_it_is_not_said(server):
    bob = server.client("bob")
    assert run(server.port, "--name", "ann", typed="hi\n/quit good night\nnever\n").returncode == 0
    assert bob.upto("* ann left (good night)")[-1].endswith("ann: hi")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--name", "bob"), 1, "chat-threads-client: The name bob is taken. Try bob2."),
        (("--name", "a!"), 1, "chat-threads-client: A name is 1 to 20 letters, digits, '-', '_' or '.',"),
        (("--name", "ann", "--room", "my lab"), 1, "chat-threads-client: A room's name is '#' and 1 to 32 letters,"),
        (("--name", "ann", "--replay", "201"), 2, "Error: Invalid value for '--replay'"),
    ],
)
def test_a_person_who_cannot_enter_gets_the_reason_in_one_line(server, options, code, said):
    server.client("bob")
    done = run(server.port, *options, typed="hi\n")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines()[-1].startswith(said)


def test_a_server_that_does_not_answer_is_reported_in_one_line():
    port = free_port()
    done = run(port, "--name", "ann", typed="hi\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"chat-threads-client: No server answers at 127.0.0.1, port {port}: Connection refused.\n"


def test_a_server_of_another_kind_is_reported_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            peer, _ = other.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.0 400 Bad request\r\nDate: today\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        done = run(other.getsockname()[1], "--name", "ann", typed="hi\n")
        thread.join(WAIT)
    said = "What answers there is no chat_threads server. It said: HTTP/1.0 400 Bad request"
    assert (done.returncode, done.stderr) == (1, f"chat-threads-client: {said}\n")


def test_the_port_may_be_an_argument_of_its_own_as_for_telnet(server):
    command = [sys.executable, "-m", "chat_threads.client", "127.0.0.1", str(server.port), "--name", "ann"]
    done = subprocess.run(command, input="hi\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ann: hi" in done.stdout


def test_a_script_finds_what_it_has_just_said(server):
    told = without_times(run(server.port, "--name", "ann", typed="hello\n/history\n/search hello\n").stdout)
    assert "* #lobby, message 1 of 1:" in told
    assert "* 1 message found for: hello" in told


@pytest.mark.parametrize("address", ["localhost:0", "localhost:70000", "a:b:c", ":8080", "[::1", "", "8080"])
def test_an_argument_that_is_no_address_is_a_mistake_in_the_command_line(address):
    done = subprocess.run(
        [sys.executable, "-m", "chat_threads.client", address], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Error: Invalid value for 'HOST[:PORT]'" in done.stderr
    with pytest.raises(click.BadParameter, match="'extra' is not a whole number"):
        terminal.main.make_context("chat-threads-client", ["localhost", "extra"])
    with pytest.raises(click.MissingParameter) as missing:
        terminal.main.main([], standalone_mode=False)
    assert missing.value.format_message() == "Missing argument 'HOST[:PORT]'."


@pytest.mark.parametrize(("login", "name"), [("grace", "grace"), ("root", "root2"), ("_www", "www")])
def test_without_a_name_one_has_the_name_of_ones_login_or_one_like_it(server, login, name):
    shown = run(server.port, typed="hi\n", before=f"import getpass; getpass.getuser = lambda: '{login}'")
    assert f"{name}: hi" in without_times(shown.stdout)


def test_a_second_client_of_one_login_has_a_name_of_its_own_unless_it_asked_for_the_one_that_is_taken(server):
    server.clients_named("grace", "grace2")
    before = "import getpass; getpass.getuser = lambda: 'grace'"
    shown = run(server.port, typed="hi\n", before=before)
    assert "grace3: hi" in without_times(shown.stdout)
    shown = run(server.port, "--name", "grace", typed="hi\n", before=before)
    assert (shown.returncode, shown.stderr) == (1, "chat-threads-client: The name grace is taken. Try grace3.\n")


def test_the_address_for_browsers_is_an_address_for_the_client_too(server):
    address = f"http://127.0.0.1:{server.port}/"
    done = subprocess.run(
        [sys.executable, "-m", "chat_threads.client", address, "--name", "ann", "--room", "lab2"],
        input="hi\n", capture_output=True, text=True, check=False, timeout=WAIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ann: hi" in without_times(done.stdout)
    assert "You are in #lab2," in done.stdout


def test_without_a_name_and_a_login_like_one_the_client_asks_for_the_option(server):
    shown = run(server.port, typed="hi\n", before="import getpass; getpass.getuser = lambda: '___'")
    assert (shown.returncode, shown.stderr) == (
        1,
        "chat-threads-client: You have no name yet. Give one with --name NAME.\n",
    )


class Piped:
    """The client with a pipe for its input that stays open."""

    def __init__(self, port: int, *options: str, before: str = "pass") -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", f"{before}; {RUN}", f"127.0.0.1:{port}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENV,
        )

    def expect(self, text: str) -> str:
        for line in self.popen.stdout:
            if text in line:
                return line
        raise AssertionError(f"it ended before {text!r}: {self.popen.stderr.read()}")

    def say(self, line: str) -> None:
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def end(self) -> tuple[int, str, str]:
        out, errors = self.popen.communicate(timeout=WAIT)
        return self.popen.returncode, out, errors


@pytest.fixture
def piped() -> Iterator[Callable[..., Piped]]:
    """Start clients: piped(port, "--name", "ann"); killed at the end."""
    started: list[Piped] = []

    def start(*arguments: Any, **more: Any) -> Piped:
        started.append(Piped(*arguments, **more))
        return started[-1]

    yield start
    for each in started:
        if each.popen.poll() is None:
            each.popen.kill()
            each.popen.communicate()


def test_a_server_that_is_killed_under_a_script_and_comes_back_has_all_of_its_lines_once(start_process, piped, connect):
    port = free_port()
    process = start_process(port=port)
    ann = piped(port, "--name", "ann")
    ann.say("one")
    ann.expect("ann: one")
    process.kill()
    ann.say("two")
    start_process(port=port)
    ann.expect("ann: two")
    ann.say("three")
    code, out, errors = ann.end()
    assert (code, errors) == (0, "! The connection was lost.\n")
    assert without_times(out)[-1] == "ann: three"
    assert [each.text for each in whole(connect(port, "bob"), "#lobby")] == ["one", "two", "three"]


def test_a_server_that_does_not_come_back_makes_a_script_fail_in_the_end(start_process, piped):
    process = start_process()
    ann = piped(
        process.port, "--name", "ann", before="from chat_threads.client import terminal as t; t.ANSWERED_WITHIN = 1"
    )
    ann.say("one")
    ann.expect("ann: one")
    process.kill()
    ann.say("two")
    code, _, errors = ann.end()
    assert code == 1
    assert errors.splitlines() == [
        "! The connection was lost.",
        "! The server has not answered for 1 seconds.",
        "! The client is closed. This was not sent: two",
    ]


def test_a_script_that_is_replaced_ends_at_once_and_says_so(server, piped, connect):
    ann = piped(server.port, "--name", "ann")
    ann.say("/token")
    ann.expect("To come back to where you were, connect under any name,")
    token = ann.expect("/resume ").split()[-1]
    connect(server, "bob").request("resume", token=token)
    code, _, errors = ann.end()
    assert code == 1
    assert errors == "! You reconnected elsewhere; this connection is closed. Goodbye.\n"


def test_a_script_whose_output_nobody_reads_goes_on(server, connect):
    command = f"{shlex.quote(sys.executable)} -m chat_threads.client 127.0.0.1:{server.port} --name ann"
    lines = "".join(f"{number}\n" for number in range(500))
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -1"], input=lines, capture_output=True, text=True, check=False, timeout=WAIT
    )
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
    assert len(whole(connect(server, "bob"), "#lobby")) == 500


def test_messages_of_another_day_are_shown_under_their_date(server, connect):
    ann = connect(server, "ann")
    ann.say("#lobby", "old")
    tomorrow = "import time; real = time.strftime; time.strftime = lambda f, *t: real(f, *t) if t else '2999-01-01'"
    done = run(server.port, "--name", "bob", typed="", before=tomorrow)
    shown = without_times(done.stdout)
    assert re.fullmatch(r"\* \d{4}-\d\d-\d\d", shown[-2])
    assert shown[-1] == "ann: old"


# --- on a terminal --------------------------------------------------------------------------------------


def test_the_line_being_typed_stays_whole_while_others_talk(server, screen):
    bob = server.client("bob")
    ann = screen(server, "ann")
    ann.expect(r"^ ann   #lobby   2 people   connected$")
    ann.type("half a")
    ann.expect(r"^> half a$")
    for number in range(50):
        bob.send(f"message {number}")
        if number % 10 == 0:
            ann.type(str(number // 10))
    bob.expect("message 49")
    ann.expect(r"bob: message 48$", r"bob: message 49$", r"^> half a01234$", r"^ ann   #lobby   2 people   connected$")
    wait_for(lambda: sum("half a" in line for line in ann.lines()) == 1)
    ann.enter(" line")
    bob.expect("ann: half a01234 line")
    ann.expect(r"^\[\d\d:\d\d\] ann: half a01234 line$", r"^>$")


def test_history_scrolls_above_in_the_terminals_own_scrollback(server, screen):
    bob = server.client("bob")
    ann = screen(server, "ann")
    bob.send(*(f"message {number}" for number in range(100)))
    ann.expect(r"bob: message 99$", r"^>")
    said = [line.partition("bob: message ")[2] for line in ann.scrollback() if "bob: message " in line]
    assert said == [str(number) for number in range(100)]


def test_a_narrower_window_leaves_no_old_row_of_the_line_and_erases_nothing(server, screen):
    ann = screen(server, "ann")
    ann.enter("this stays")
    ann.expect("ann: this stays", "^>$")
    ann.type("a line that is longer than forty columns, and stays whole")
    ann.expect("stays whole$")
    ann.resize(40, 20)
    ann.expect("ann: this stays", "^> a line that is longer than forty colum$", "^ns, and stays whole$", "^ ann")
    wait_for(lambda: sum("a line that" in row for row in ann.rows()) == 1)


def test_up_and_down_bring_back_what_was_typed(server, screen):
    ann = screen(server, "ann")
    ann.enter("first")
    ann.expect(r"ann: first$", r"^>$")
    ann.enter("/me waves")
    ann.expect(r"~ ann waves$", r"^>$")
    ann.keys("Up")
    ann.expect(r"^> /me waves$")
    ann.keys("Up")
    ann.expect(r"^> first$")
    ann.keys("Down")
    ann.expect(r"^> /me waves$")
    ann.keys("Enter")
    ann.expect(r"~ ann waves$", r"~ ann waves$", r"^>$")
    ann.type("half a line")
    for _ in range(3):
        ann.keys("PPage", "NPage")
        ann.expect("scrolls back", "^> half a line$")
    assert sum("scrolls back" in line for line in ann.lines()) == 1


@for_each(
    ("typed", "shown", "columns"),
    [
        ("👩\u200d👩\u200d👧", "👩", 2),
        ("👍🏽", "👍", 2),
        ("👨🏽\u200d🚀👨🏽\u200d🚀", "👨👨", 4),
        ("🇷🇴", "RO", 2),
        ("❤\ufe0f", "❤", 1),
        ("1\ufe0f\u20e3", "1", 1),
        ("e\u0301", "é", 1),
        ("กำ", "กำ", 2),
        ("한क्\u200dष", "한क्\u200dष", None),
    ],
)
def test_letters_whose_width_differs_between_terminals_are_drawn_simpler_while_typed(typed, shown, columns):
    drawn = pytest.importorskip("chat_threads.client.screen", reason="the extra [client] is not installed").drawn
    assert unicodedata.normalize("NFC", "".join(map(drawn, clusters(typed)))) == shown
    assert columns is None or sum(columns_of(drawn(letter)) for letter in clusters(typed)) == columns


def test_the_cursor_stands_where_it_belongs_beside_emoji_and_moves_by_letters(server, screen):
    ann = screen(server, "ann", columns=40, rows=20)
    for typed, shown, left in (
        ("a👩\u200d👩\u200d👧 b", "> aX👩 b", "> aX b"),
        ("a🇷🇴 b", "> aXRO b", "> aX b"),
        ("ae\u0301e\u0301", "> aXe\u0301e\u0301", "> aXe\u0301"),
    ):
        ann.type(typed)
        ann.keys("Home", "Right")
        ann.type("X")
        ann.expect(f"^{shown}$")
        assert ann.cursor()[1] == 5
        ann.keys("Right", "BSpace")
        ann.expect(f"^{left}$")
        assert ann.cursor()[1] == 5
        ann.keys("Delete", "Left", "End", "C-u")
        ann.expect("^>$")


def test_tab_completes_commands_rooms_and_names(server, screen):
    server.client("barnaby #lab2")
    ann = screen(server, "ann")
    server.client("cy")
    ann.expect(r"^\* cy joined$")
    ann.keys("/", "j", "o", "Tab", "#", "l", "a")  # as fast as it can be
    ann.expect(r"^> /join #la$")
    ann.keys("Tab")
    ann.expect(r"^> /join #lab2$")
    ann.keys("Enter")
    ann.expect(r"^\* You are in #lab2 with 1 other: barnaby\.$", r"^ ann   #lab2   2 people   connected$")
    ann.type("hello ba")
    ann.keys("Tab")
    ann.expect(r"^> hello barnaby$")
    ann.keys("C-u", *"/t", "Tab")
    ann.expect(r"^\* /topic /token /threads$", r"^> /t$", r"^ ann   #lab2   2 people   connected$")
    ann.keys("C-u", *"/h", "Tab")
    ann.expect(r"^\* /history /help$")
    ann.keys("C-u", *"/lo", "Tab")  # without --lab, /locks is not counted
    ann.expect(r"^> /login$")
    ann.keys("Tab", "Tab", "C-z", "C-o", "C-l", "C-c")
    ann.expect("^>$", r"^ ann   #lab2   2 people   connected$")
    assert ann.lines()[-2] == ">"


def test_what_is_typed_before_the_last_line_is_done_is_not_lost_and_not_shown_among_what_is_said(server, screen):
    ann = screen(server, "ann")
    for number in range(5):
        ann.type(f"line {number}")
        ann.keys("Enter", *"/who", "Enter", *"half a ", "C-u")
    ann.type("end")
    ann.expect("ann: line 4$", "^> end$")
    # The last answer may come before the last line.
    wait_for(lambda: sum("name    rooms" in line for line in ann.scrollback()) == 5)
    lines = ann.scrollback()
    assert [line[8:] for line in lines if "line" in line] == [f"ann: line {number}" for number in range(5)]
    assert [line for line in lines if line[0] not in "*[> "] == []


def test_a_mention_rings_and_is_highlighted_and_other_lines_are_not(server, screen):
    bob = server.client("bob")
    ann = screen(server, "ann")
    bob.send("annual reports")
    ann.expect("annual reports")
    assert b"\x07" not in ann.written()
    bob.send("are you there, Ann?")
    ann.expect("are you there, Ann")
    wait_for(lambda: ann.written().count(b"\x07") == 1)
    lines = ann.lines("-e")
    [plain] = [line for line in lines if "annual" in line]
    [bold] = [line for line in lines if "Ann?" in line]
    assert "\x1b[1m" not in plain
    assert re.search("\x1b\\[[0;]*1m", bold)
    bob.send("/msg ann psst")
    ann.expect("bob -> you: psst")
    wait_for(lambda: ann.written().count(b"\x07") == 2)
    ann.enter("/set bell off")
    ann.expect(r"^\* Set: bell off\.$")
    bob.send("ann, do not ring")
    ann.expect("do not ring")
    assert ann.written().count(b"\x07") == 2


def test_the_bottom_line_shows_the_room_who_is_there_and_the_connection(start_process, screen):
    port = free_port()
    process = start_process(port=port)
    ann = screen(process, "ann")
    ann.expect(r"^ ann   #lobby   1 person   connected$")
    with process.client("bob"):
        ann.expect(r"^ ann   #lobby   2 people   connected$")
    ann.expect(r"^ ann   #lobby   1 person   connected$")
    ann.enter("/leave")
    ann.expect(r"^\* You left #lobby and are not in a room now", r"^ ann   in no room   connected$")
    ann.enter("/join #lab")
    ann.expect(r"^ ann   #lab   1 person   connected$")
    ann.enter("/nick anna")
    ann.expect(r"^ anna   #lab   1 person   connected$")


@for_each(
    ("room", "name", "width", "shown"),
    [
        ("#lobby", "ann", 40, " ann   #lobby   3 people   connected"),
        ("#lobby", "caroline40", 40, " caroline40  #lobby  3 people  connected"),
        ("#lobby", "caroline4041", 40, " connected  #lobby  caroline4…  3 people"),
        ("#lobby", "ann", 30, " connected  #lobby  ann  3 pe…"),
        ("#とても長い部屋の名前でございます", "佐藤" * 5, 40, " connected  #とても長…  佐藤…  3 people"),
        ("#とても長い部屋の名前でございます", "ann", 40, " connected  #とても長い…  ann  3 people"),
    ],
)
def test_in_a_narrow_window_the_bottom_line_begins_with_the_state_and_cuts_the_room_and_the_name(
    room, name, width, shown
):
    pytest.importorskip("prompt_toolkit")
    from chat_threads.client.screen import bottom

    assert bottom(name, room, "3 people", "connected", "", width) == shown


def test_a_line_taller_than_the_window_leaves_nothing_behind(server, screen):
    ann = screen(server, "ann", columns=40, rows=12)
    for _ in range(33):
        ann.type("words and words " * 4)
    ann.expect("words and words", "^ ann   #lobby")
    ann.keys("Enter")
    ann.expect("^!   has at most 2000. Nothing was sent.", "words and words", "^ ann   #lobby")
    ann.keys("C-c")
    ann.expect("^!   has at most 2000. Nothing was sent.", "^>$", "^ ann   #lobby")
    assert [line for line in ann.scrollback() if "words" in line or line.startswith(" ann")] == [
        " ann   #lobby   1 person   connected"
    ]


def test_on_entering_the_screen_says_how_to_see_what_was_said_before(server, screen, connect):
    bob = connect(server, "bob")
    for number in range(25):
        bob.say("#lobby", f"line {number}")
    ann = screen(server, "ann")
    ann.expect(
        r"^\* The last 20 of 25 messages; /history #lobby before 6 shows older ones\.$",
        r"bob: line 5$",
        r"bob: line 24$",
    )
    ann.enter("/join #lab")
    ann.expect(r"^\* You are in #lab, and nobody")
    bob.join("#lab")
    bob.say("#lab", "first")
    ann.expect(r"bob: first$")
    assert not any("1 message" in line for line in ann.lines())
    ann.enter("/quit")
    ann.expect(r"^\* Goodbye\.$", "^ended with 0$")


def test_it_comes_back_by_itself_with_what_was_missed_and_says_what_was_typed_meanwhile(start_process, screen):
    port = free_port()
    process = start_process(port=port)
    ann = screen(process, "ann")
    ann.enter("before")
    ann.expect("ann: before$")
    process.kill()
    ann.expect(r"^! The connection was lost\.$", r"^\* Trying to reconnect\.$", r"not connected: trying to reconnect$")
    ann.enter("typed meanwhile")
    ann.expect(
        "^… typed meanwhile$", "^>$", r"^ ann   #lobby   1 person   not connected: trying to reconnect   1 waiting$"
    )
    ann.resize(40, 30)
    ann.expect(r"^ not connected  1 waiting  #lobby  ann")
    ann.enter("/who")
    ann.enter("a line that is wider than this window, which has forty columns")
    ann.enter("/me waves")
    ann.type("half a")
    ann.expect(
        "^… 1 more before these$", "^… /who$", "^… a line that is wider than this windo…$", "^… /me waves$", "^> half"
    )
    ann.keys("C-u")
    ann.resize(100, 30)
    process = start_process(port=port)
    ann.expect(r"^\* Connected again\.$", r"ann: typed meanwhile$", r"^>", r"^ ann   #lobby   1 person   connected$")
    shown = ann.lines()
    assert not any(line.startswith("…") for line in shown)
    assert shown[shown.index("> /who") + 1].startswith("* name"), "the answer stands below it"
    assert shown.count("> /who") == 1
    assert shown.index("> /who") > shown.index("* Connected again.")
    with process.client("bob") as bob:
        assert [line.partition("] ")[2] for line in bob.ask("/history")[-3:]] == [
            *("ann: typed meanwhile", "ann: a line that is wider than this window, which has forty columns"),
            "~ ann waves",
        ]


def test_a_qr_code_uses_only_what_the_terminals_character_set_has(server):
    for encoding, blocks in (("utf-8", True), ("latin-1", False)):
        env = {"PYTHONIOENCODING": encoding}
        shown = run(server.port, "--name", "ann", typed="/qr\n", env=env, encoding=encoding).stdout
        code = qr.drawn(qr.rows_of(f"http://127.0.0.1:{server.port}/#lobby"), blocks)
        plain = [re.sub("\x1b\\[[0-9;]+m", "", f"* {line}").rstrip() for line in code]  # a pipe gets no colours
        assert [line.rstrip() for line in shown.splitlines()[-len(code) :]] == plain


def test_nothing_that_others_type_or_are_called_can_harm_the_terminal(server, screen):
    bob = server.client("bob")
    ann = screen(server, "ann")
    bob.send("\x1b[2J\x1b]0;owned\x07\x9b31m\x1bcharm\u202eless")
    ann.expect(r"bob: harmless$", r"^>$")
    assert b"owned\x07" not in ann.written()
    assert b"\x1bc" not in ann.written()


@pytest.mark.parametrize("key", ["C-c", "C-d"])
def test_ctrl_c_and_ctrl_d_leave(server, screen, key):
    bob = server.client("bob")
    ann = screen(server, "ann")
    bob.expect("* ann joined")
    if key == "C-c":  # it first erases what is typed
        ann.type("half a line")
        ann.expect(r"^> half a line$")
        ann.keys(key)
        ann.expect(r"^>$")
        ann.keys(key)  # by habit
        ann.expect("Another Ctrl-C leaves", r"^>$")
    ann.keys(key)
    bob.expect("* ann left")
    ann.expect(r"ended with 0$")


def test_a_script_sees_where_the_past_ends(server):
    bob = server.client("bob")
    bob.ask("one")
    bob.ask("two")
    told = without_times(run(server.port, "--name", "ann", typed="three\n").stdout)
    assert told[-4:] == ["* What was said so far, 2 messages:", "bob: one", "bob: two", "ann: three"]


def test_quit_leaves_with_a_last_word(server, screen):
    bob = server.client("bob")
    ann = screen(server, "ann")
    ann.enter("/quit good night")
    bob.expect("* ann left (good night)")
    ann.expect(r"ended with 0$")


def test_a_replaced_client_shows_the_reason_and_ends(server, screen, connect):
    ann = screen(server, "ann")
    ann.enter("/token")
    ann.expect(r"/resume \S+$")
    token = re.search(r"/resume (\S+)", "\n".join(ann.lines()))
    connect(server, "bob").request("resume", token=token[1])
    ann.expect(r"^! You reconnected elsewhere", r"ended with 1$")


def test_without_prompt_toolkit_a_terminal_has_plain_lines_and_a_hint_to_install_it(server, tmux):
    bob = server.client("bob")
    ann = tmux(sys.executable, "-c", f"{WITHOUT_PROMPT_TOOLKIT}; {RUN}", f"127.0.0.1:{server.port}", "--name", "ann")
    ann.expect(
        r"^\* Plain lines\. To keep what you type apart, leave and type: /",
        r"^\* You are in #lobby with 1 other: bob\.",
    )
    ann.enter("hi bob")
    bob.expect("ann: hi bob")
    bob.send("hi ann")
    ann.expect(r"^hi bob$", r"ann: hi bob$", r"bob: hi ann$")
    ann.enter("/whois nobody")
    ann.expect(r"^! Nobody here is called nobody\.")
    ann.enter("/edit on")
    ann.expect(r"^! /edit is for telnet\.")
    ann.expect(r"prompt_toolkit is installed\.$")
    ann.keys("C-c")
    bob.expect("* ann left")
    ann.expect(r"ended with 0$")


def test_plain_lines_may_be_asked_for_on_a_terminal(server, tmux):
    ann = tmux(sys.executable, "-m", "chat_threads.client", f"127.0.0.1:{server.port}", "--name", "ann", "--plain")
    ann.expect(r"^\* You are in #lobby, and nobody else is\.")
    ann.enter("hi")
    ann.expect(r"^hi$", r"ann: hi$")
    ann.keys("C-d")
    ann.expect(r"ended with 0$")
