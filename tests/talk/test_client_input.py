"""Input of the terminal client from a paste or a script: where its lines end, and their texts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.clients import whole
from support.servers import needs
from support.terminals import ENV, Tmux, run
from support.waiting import WAIT

from chat_threads.client import Ack, Answer, Asked, PrivateLine, Redacted, lines
from chat_threads.client.decoding import Other
from chat_threads.client.errors import Disconnected, TimedOut
from chat_threads.client.lines import MAX_PASTED, Lines, pasted
from chat_threads.client.talk import Talk
from chat_threads.rules import LINES

pytestmark = pytest.mark.slow

# Characters that end a line for Python's str.splitlines, except LF and CR LF.
NO_ENDS = {"CR": "\r", "VT": "\v", "FF": "\f", "FS": "\x1c", "GS": "\x1d", "RS": "\x1e", "NEL": "\x85"}
NO_ENDS |= {"LS": "\u2028", "PS": "\u2029"}


def shown(mark: str) -> str:
    """The characters that the server shows for such a mark."""
    return "" if "\x1c" <= mark <= "\x1e" else " "


# --- a script ----------------------------------------------------------------------------------------------


def test_a_script_sends_lines_and_only_lf_and_cr_lf_end_one(server, connect):
    typed, said = "", []
    for mark in NO_ENDS.values():
        typed += f"one{mark}/quit now\r\ntwo{mark}{mark}/nick eve{mark}\n three{mark}/quit{mark}\nno end{mark}/quit\n"
        gap = shown(mark)
        said += [f"one{gap}/quit now", f"two{gap}{gap}/nick eve", f" three{gap}/quit", f"no end{gap}/quit"]
    done = run(server.port, "--name", "ann", typed=typed.removesuffix("\n").encode())
    assert (done.returncode, done.stderr) == (0, "")
    assert [(each.sender, each.text) for each in whole(connect(server, "bob"), "#lobby")] == [
        ("ann", text) for text in said
    ]


def test_a_script_that_ends_before_it_has_answered_a_question_has_not_done_it(server):
    done = run(server.port, "--name", "ann", typed=b"/register\nhunter22\n")
    unfinished = "! The input ended before the question was answered, so nothing was done.\n"
    assert (done.returncode, done.stderr) == (1, unfinished)


BROKEN = [
    b"caf\xe9",  # Latin-1
    b"caf\xc3",  # half a letter
    b"caf\xc0\xa9",  # too long a form
    b"caf\xed\xa0\x80",  # a surrogate
    "café".encode("utf-16"),
    b"/topic caf\xe9",
]


@pytest.mark.parametrize("locale", ["C.UTF-8", "C", ""], ids=["C.UTF-8", "C", "none"])
def test_lines_that_are_not_in_the_locales_encoding_are_not_sent_and_that_is_said(server, connect, locale):
    typed = b"\n".join([b"one", *BROKEN, "grüße".encode(), BROKEN[0]])
    done = run(server.port, "--name", "ann", typed=typed, env={"LC_ALL": locale, "LANG": "C"})
    assert done.returncode == 1
    why = "is not UTF-8, so it was not sent. Convert it, or set LC_ALL to a locale with its encoding."
    assert done.stderr.replace("\n!   ", " ").splitlines() == [f"! Line {each} {why}" for each in (2, 3, 4, 5, 6, 7, 9)]
    bob = connect(server, "bob")
    assert [each.text for each in whole(bob, "#lobby")] == ["one", "grüße"]
    assert bob.topic("#lobby") == ""


@pytest.fixture(scope="module")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Latin-1 locale, made if the system has none."""
    made = tmp_path_factory.mktemp("locale")
    path = made / "de_DE.ISO-8859-1"
    done = subprocess.run(
        [needs("localedef"), "-i", "de_DE", "-f", "ISO-8859-1", str(path)], capture_output=True, check=False
    )
    env = {"LOCPATH": str(made), "LC_ALL": path.name, "PYTHONUTF8": "0"}
    ask = "import locale, sys; locale.setlocale(locale.LC_ALL, ''); print(sys.stdin.encoding.lower())"
    told = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=False, env={**os.environ, **env}
    )
    if "8859" not in told.stdout:
        pytest.skip(f"no Latin-1 locale here, and none can be made: {done.stderr!r} {told.stderr}")
    return env


def test_a_script_in_a_latin_1_locale_says_what_it_says_and_reads_what_others_say(server, connect, latin_1):
    bob = connect(server, "bob")
    bob.say("#lobby", "ça va, Ωλγα?")
    done = run(server.port, "--name", "ann", typed="café, für\n".encode("latin-1"), env=latin_1, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "bob: ça va, \\u03a9\\u03bb\\u03b3\\u03b1?" in done.stdout
    assert "ann: café, für" in done.stdout
    assert [each.text for each in whole(bob, "#lobby")][1:] == ["café, für"]


def test_a_line_without_end_is_not_kept_and_the_next_one_is_said(server, connect):
    long = b"x" * (lines.LINE + 1)
    typed = long + b"\nfirst\n" + b"/quit " * 50_000 + b"\r\n" + b"y" * lines.LINE + b"\nlast\n" + long
    done = run(server.port, "--name", "ann", typed=typed)
    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == [
        *(f"! Line {number} is longer than {lines.LINE} bytes, so it was not sent." for number in (1, 3, 6)),
        f"! That is {lines.LINE} characters, and a message has at most 2000. Nothing was sent.",
    ]
    assert [each.text for each in whole(connect(server, "bob"), "#lobby")] == ["first", "last"]


@pytest.mark.parametrize("streams", ["<&-", "</dev/null", "<&- >&-", "<&- 2>&-", ">&- 2>&-", ">/dev/full"])
def test_a_script_may_have_closed_its_streams(server, streams):
    command = [sys.executable, "-m", "chat_threads.client", f"127.0.0.1:{server.port}", "--name", "ann"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *command], capture_output=True, check=False, timeout=WAIT, env=ENV,
        input=b"",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_input_that_cannot_be_read_is_reported(server):
    command = [sys.executable, "-m", "chat_threads.client", f"127.0.0.1:{server.port}", "--name", "ann"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 0>/dev/null', "sh", *command], capture_output=True, check=False, timeout=WAIT, env=ENV
    )
    assert (done.returncode, done.stderr) == (1, b"! The input cannot be read: Bad file descriptor.\n")


class Input:
    """A pipe as a stream of text, that a test writes into."""

    def __init__(self) -> None:
        out, self.into = os.pipe()
        self.stream = os.fdopen(out, encoding="utf-8")

    def close(self) -> None:
        self.stream.close()


@pytest.fixture
def typing() -> Iterator[Input]:
    opened = Input()
    yield opened
    opened.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_however_they_come(typing, size, monkeypatch):
    monkeypatch.setattr(lines, "READ_SIZE", size)
    monkeypatch.setattr(lines, "LINE", 10)
    os.write(
        typing.into, b"one\r\n\n\ntwo\r\r\n" + b"x" * 10 + b"\r\n" + b"x" * 11 + b"\nq\x0cr\n" + b"y" * 40 + b"\nz"
    )
    os.close(typing.into)
    found = Lines(typing.stream)
    assert list(found) == [b"one", b"", b"", b"two\r", b"x" * 10, None, b"q\x0cr", None, b"z"]
    found.close()


def test_a_line_that_came_after_the_end_is_not_done(typing):
    found = Lines(typing.stream)
    os.write(typing.into, b"one\ntwo\nthree\n")
    taken = []
    for line in found:
        taken.append(line)
        found.stop()
    assert taken == [b"one"]
    os.close(typing.into)
    found.close()


# --- a paste -----------------------------------------------------------------------------------------------


class Chat:
    """The part of the client that a Talk uses. It records the requests."""

    name = "ann"
    heading: str | None = "#lab"
    online = False

    def __init__(self) -> None:
        from chat_threads.events import Welcome

        self.welcome = Welcome("ann")
        self.replay = 20
        self.asked: list[dict[str, Any]] = []

    def submit(self, **request: Any) -> Any:
        self.asked.append(request)
        return Asked("1")

    def close(self, words: str = "") -> None:
        self.asked.append({"type": "quit", "words": words})


def entered(before: str, *blocks: str) -> list[dict[str, Any]]:
    """The requests after typing ``before``, pasting these blocks behind it, and pressing Enter."""
    chat = Chat()
    talk = Talk(chat, lambda lines, error: None)  # type: ignore[arg-type]
    for block in blocks:
        before += pasted(before, block)
    try:
        talk.enter(before)
    except EOFError:
        pass
    return chat.asked


@pytest.mark.parametrize("line", ["/register", "/who", "/msg bob hi", "/join #a"])
@pytest.mark.parametrize("sent", [True, False])
def test_that_a_line_got_no_answer_is_said_once_with_the_line(line, sent):
    class Lost(Chat):
        def submit(self, **request: Any) -> Any:
            asked = Asked("1")
            asked.sent = sent
            asked.set_exception(Disconnected("lost", "The connection was lost."))
            return asked

    shown: list[str] = []
    Talk(Lost(), lambda lines, error: shown.append(lines) if error else None).obey(line)
    what = "This may have arrived or not" if sent else "This was not sent"
    assert shown == [f"! The connection was lost. {what}: {line}"]


@pytest.mark.parametrize("online", [True, False])
def test_a_typed_line_that_is_shown_again_does_nothing_to_the_terminal(online):
    """A web page can hide control characters in what people copy from it."""

    class Lost(Chat):
        def submit(self, **request: Any) -> Any:
            asked = Asked("1")
            asked.set_exception(Disconnected("lost", "The connection was lost."))
            return asked

    chat, shown = Lost(), []
    talk = Talk(chat, lambda lines, error: shown.append(lines))
    chat.online = online
    talk.enter("/who #lab\x1b]0;title\x07\x1b[2J\x9b31m\u202e")
    told = "! The connection was lost. This was not sent: /who #lab"
    assert shown[1:] == (["> /who #lab", told] if online else [told])


@pytest.mark.parametrize("screen", [True, False])
def test_lines_that_wait_are_kept_only_for_a_screen_because_a_script_may_send_many(screen):
    talk = Talk(Chat(), lambda lines, error: None, screen=screen)  # type: ignore[arg-type]
    for line in ("one", "two"):
        talk.enter(line)
    assert talk.waiting(0.0) == (["one", "two"] if screen else [])


@pytest.mark.parametrize("before", ["", "/msg bob ", "/me ", "one\n"])
def test_a_text_that_is_too_long_stays_in_the_line(before):
    chat, shown = Chat(), []
    talk = Talk(chat, lambda lines, error: shown.append(lines), screen=True)  # type: ignore[arg-type]
    shown.clear()
    line = before + "y" * 2001
    assert talk.enter(line) == line
    assert "characters, and a message has at most 2000" in "".join(shown)
    assert chat.asked == []


def test_help_that_could_not_be_asked_for_does_not_change_what_the_next_one_shows():
    chat, shown = Chat(), []
    talk = Talk(chat, lambda lines, error: shown.append(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat, "submit", refusing)
        talk.obey("/help all")
    talk.obey("/help")
    talk._show(Other("help", {"requests": []}))
    assert "/help COMMAND explains a command" in shown[-1]


def test_whoever_removes_a_message_that_is_gone_reads_so():
    shown: list[str] = []
    talk = Talk(Chat(), lambda lines, error: shown.append(lines))  # type: ignore[arg-type]
    gone = "* That message has been removed already."
    for by, told in (("ann", False), ("bob", True), ("", True)):
        if by:
            talk._show(Redacted("#lab", 7, by))
        talk._show(PrivateLine(0, "bob", "ann", "psst"))
        talk._show(Answer(Ack("#lab", 8), "1", "say"))
        talk._show(Answer(Ack(), "2", "redact"))
        assert (shown[-1] == gone) is told


def refusing(**request: Any) -> None:
    raise TimedOut("no time")


def says(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "say", "text": text} for text in texts]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"], ids=["LF", "CR", "CR LF"])
@pytest.mark.parametrize(
    ("before", "block", "asked"),
    [
        ("", "one|two", says("one\ntwo")),
        ("", "one|", says("one")),
        ("", "|if x:|\tgo()||else:  ||", says("if x:\n    go()\n\nelse:")),
        ("", "one|/quit|  /nick eve|//three", says("one\n/quit\n  /nick eve\n//three")),
        ("", "/msg bob one|/quit", [{"type": "private", "to": "bob", "text": "one\n/quit"}]),
        ("", "|/me waves|//twice|", [{"type": "action", "text": "waves\n//twice"}]),
        ("", "one|/msg bob two", says("one\n/msg bob two")),
        ("", "// a comment|one", says("// a comment\none")),
        ("", "\x1b[A/me waves|one", [{"type": "action", "text": "waves\none"}]),
        ("", "\u200b/me waves|/quit", [{"type": "action", "text": "waves\n/quit"}]),
        ("so: ", "one|/quit", says("so: one\n/quit")),
        (" ", "/quit|one", []),  # an error: it may have been meant for one person only
        (" ", "/nothing|one", says(" /nothing\none")),
        (" ", " |/me waves|one", [{"type": "action", "text": "waves\none"}]),
        ("", "/join #lab|", [{"type": "join", "room": "#lab"}]),
        ("/join ", "#lab", [{"type": "join", "room": "#lab"}]),
        ("/msg bob ", "one|/quit|two", [{"type": "private", "to": "bob", "text": "one\n/quit\ntwo"}]),
        ("/me ", "|waves|  twice", [{"type": "action", "text": "waves\n  twice"}]),
        ("/topic ", "|one|two", [{"type": "topic", "text": "one two"}]),
    ],
)
def test_a_pasted_block_is_text_unless_it_begins_with_a_command(before, block, asked, end):
    assert entered(before, block.replace("|", end)) == asked


@pytest.mark.parametrize("mark", [mark for mark in NO_ENDS.values() if mark != "\r"])  # terminals send CR for LF
def test_other_line_ends_of_python_do_not_end_a_line_in_a_paste(mark):
    assert entered("", f"one{mark}/quit{mark}two") == says(f"one{shown(mark)}/quit{shown(mark)}two")


def test_a_line_is_not_said_in_a_room_that_it_was_not_begun_for():
    shown: list[str] = []
    chat = Chat()
    talk = Talk(chat, lambda lines, error: shown.append(lines))  # type: ignore[arg-type]
    for typed in ("hi", "two\nlines", "/topic x", "/leave"):
        chat.heading = "#lab"
        talk.begin()
        assert not talk.holds(typed), "nothing has changed"
        chat.heading = "#lobby"
        assert [talk.holds(each) for each in (typed, typed + " ", typed + " ")] == [True, True, False]
        assert shown.pop().startswith(
            "* You are in #lobby now, not in #lab. If your line is meant for this room, press"
        )
    for typed in ("/who", "/msg bob hi", "/join #a", "/nosuch"):
        chat.heading = "#lab"
        talk.begin()
        chat.heading = "#lobby"
        assert not talk.holds(typed)


def test_whoever_has_had_time_to_read_the_question_is_not_asked_again_if_the_line_is_changed(monkeypatch):
    monkeypatch.setattr("chat_threads.client.talk.AWARE", 1000.0)
    chat = Chat()
    talk = Talk(chat, lambda lines, error: None)  # type: ignore[arg-type]
    talk.begin()
    chat.heading = "#lobby"
    assert [talk.holds("one"), talk.holds("one!")] == [True, True]
    monkeypatch.setattr("chat_threads.client.talk.AWARE", 0.0)
    assert not talk.holds("one!?")
    talk.begin()
    chat.heading = "#lab"
    assert talk.holds("one!?"), "another room"
    talk.begin()
    assert not talk.holds("erased, and begun here")


def test_what_is_typed_after_ctrl_c_is_a_line_that_was_begun_in_the_room_of_now():
    pytest.importorskip("prompt_toolkit")
    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.keys import Keys

    from chat_threads.client.screen import Screen, _keys

    chat, line = Chat(), Buffer()
    screen = Screen(chat)  # type: ignore[arg-type]
    screen._talk = Talk(chat, lambda lines, error: None)  # type: ignore[arg-type]
    line.on_text_changed += screen._note_beginning
    [ctrl_c] = [each for each in _keys(screen._talk).bindings if each.keys == (Keys.ControlC,)]
    line.insert_text("begun in the lab")
    chat.heading = "#lobby"
    ctrl_c.handler(SimpleNamespace(current_buffer=line))  # type: ignore[arg-type]
    line.insert_text("begun here")
    assert not screen._talk.holds("begun here")


def test_whoever_is_sent_out_of_a_room_while_typing_does_not_say_the_line_elsewhere_unawares(server, screen, connect):
    ann = connect(server, "ann", room="#lab")
    bob = screen(server, "bob")
    bob.enter("/join #lab")
    bob.expect(r"^\* You are in #lab with 1 other")
    bob.type("half a li")
    bob.expect(r"^> half a li$")
    ann.request("kick", name="bob", room="#lab")
    bob.expect(r"^> half a li$", r"^ bob   #lobby   1 person   connected$")
    bob.enter("ne")
    bob.expect(r"^\* You are in #lobby now, not in #lab\.", r"^> half a line$")
    assert ann.request("history", room="#lobby").messages == ()
    bob.keys("Enter")
    bob.expect(r"bob: half a line$", r"^>$")


def test_a_line_that_is_begun_just_after_somebody_was_sent_out_of_a_room_is_held_once(server, screen, connect):
    ann = connect(server, "ann", room="#lab")
    bob = screen(server, "bob")
    bob.enter("/join #lab")
    bob.expect(r"^\* You are in #lab with 1 other")
    ann.request("kick", name="bob", room="#lab")
    bob.expect(r"^ bob   #lobby   1 person   connected$")
    bob.enter("for the lab")
    bob.expect(r"^\* You are in #lobby now, not in #lab\.", r"^> for the lab$")
    bob.keys("Enter")
    bob.expect(r"bob: for the lab$", r"^>$")
    bob.enter("hello")
    bob.expect(r"bob: hello$", r"^>$")


def test_alt_enter_begins_another_line_and_a_second_ctrl_c_does_not_leave(server, screen):
    ann = screen(server, "ann")
    ann.type("one")
    ann.keys("M-Enter")
    ann.type("two")
    ann.keys("Enter")
    ann.expect(r"ann: one$", r"^  \| two$", r"^>$")
    ann.enter("/who")
    ann.expect(r"^> /who$", r"^\* name", r"^>$")
    ann.type("erased")
    ann.keys("C-c")
    ann.expect("^>$")
    ann.keys("C-c")
    ann.expect("Another Ctrl-C leaves", "^>$")
    ann.keys("C-c")
    ann.expect("^ended with 0$")


def test_ctrl_c_leaves_at_once_if_a_line_was_typed_since_it_has_erased_one(server, screen):
    ann = screen(server, "ann")
    ann.type("erased")
    ann.keys("C-c")
    ann.expect("^>$")
    ann.enter("said")
    ann.expect("ann: said$", "^>$")
    ann.keys("C-c")
    ann.expect("^ended with 0$")


def test_a_long_paste_is_said_in_few_messages_and_a_longer_one_is_not(server, screen):
    lines = [f"{number}" for number in range(MAX_PASTED)]
    assert entered("", "\n".join(lines)) == says(*("\n".join(lines[at : at + LINES]) for at in range(0, 100, LINES)))
    assert entered("", "x\n" * (MAX_PASTED + 1)) == entered("", "x" * 1000 + "\n" + "é" * 3600) == []
    assert entered("", "one\n" + "x" * 2001 + "\nthree") == [], "and not a part of it"
    ann = screen(server, "ann")
    ann.type("before ")
    paste(ann, "x\n" * (MAX_PASTED + 1))
    ann.expect(r"^\* What you pasted does not fit: at most 100 lines and 8 KiB ", r"^> before$")


def test_the_part_of_a_long_paste_that_comes_too_soon_comes_back_into_the_line(server, screen, connect):
    owner, ann = connect(server, "cy"), screen(server, "ann")
    owner.request("create", room="#slow")
    owner.request("room", room="#slow", setting="slow 30")
    ann.enter("/join #slow")
    ann.expect("#slow is slow")
    paste(ann, "".join(f"line {number}\n" for number in range(60)))
    ann.keys("Enter")
    ann.expect("line 39$", "^! #slow is slow", "^line 50$", "^line 59$", "^ ann")
    ann.keys("Home")  # of the last line
    ann.type("/help is no command there: ")
    ann.expect("^/help is no command there: line 59$")
    assert whole(owner, "#slow")[-1].text.endswith("line 39")


def paste(terminal: Tmux, text: str) -> None:
    """As the terminal does, with the brackets if the program has asked for them."""
    terminal._call("set-buffer", "--", text)
    terminal._call("paste-buffer", "-p", "-r")


def test_a_paste_into_the_terminal_client_is_text_unless_it_begins_with_a_command(
    server: Any,
    screen: Callable[..., Tmux],
    connect: Callable[..., Any],
) -> None:
    ann = screen(server, "ann")
    paste(ann, "one\n/quit\n\u2028/quit\x85/nick eve\n  three\n")
    ann.expect(r"^> one$|^> one ", r"/quit")
    ann.keys("Enter")
    ann.expect(r"ann: one$", r"^  \| /quit$", r"^  \|  /quit /nick eve$", r"^  \|   three$", r"^>$")
    paste(ann, "\n/me waves\n\t/quit")
    ann.expect(r"^      /quit$|^ +/quit$")
    ann.keys("Enter")
    ann.expect(r"^  \|   three$", r"~ ann waves$", r"^  \|     /quit$", r"^>$")
    paste(ann, "/join #lab\n")
    ann.keys("Enter")
    ann.expect(r"^\* You are in #lab, and nobody else is\.")
    said = [(each.sender, each.text) for each in whole(connect(server, "bob"), "#lobby")]
    assert said == [("ann", "one\n/quit\n /quit /nick eve\n  three"), ("ann", "waves\n    /quit")]


def test_a_paste_with_a_long_line_is_seen_and_ctrl_u_erases_all_of_it(
    server: Any, screen: Callable[..., Tmux], connect: Callable[..., Any]
) -> None:
    ann = screen(server, "ann")
    paste(ann, "intro\n" + "word " * 360 + "\nend")
    ann.expect("^> intro$", "^word word", "^end$", r"connected   3 lines typed$")
    ann.keys("C-u")
    ann.expect("^>$", "connected$")
    paste(ann, "word " * 180)  # one line is wrapped, and so are several that have room
    ann.expect("^> word word", "^d word word", "^d$")
    ann.keys("C-u", "C-y", "Home", "C-k")
    ann.expect("^>$")
    ann.enter("/away")
    ann.expect("You are away")
    paste(ann, "one\ntwo")
    ann.keys("C-u")
    ann.enter("after")
    ann.expect("ann: after$")
    assert [each.text for each in whole(connect(server, "bob"), "#lobby")] == ["after"]
