"""Edit mode over telnet: how a client comes to it and leaves it, what is drawn, and what it costs. Without a socket."""

from __future__ import annotations

from dataclasses import replace

from support.clients import ASKED
from support.samples import for_each
from support.words import error_line

from chat_threads import commands, events
from chat_threads.dialects import screen
from chat_threads.dialects.base import Request
from chat_threads.dialects.notices import OFFER, UNANSWERED
from chat_threads.dialects.screen import Situation
from chat_threads.dialects.text import Mode, TextDialect
from chat_threads.dialects.typed import parse_line
from chat_threads.disconnects import TooSlow
from chat_threads.errors import TextTooLong

IAC, DONT, DO, WONT, WILL, SB, SE = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb", b"\xfa", b"\xf0"
ECHO, SGA, TTYPE, NAWS = b"\x01", b"\x03", b"\x18", b"\x1f"
WANTS_KEYS = IAC + WILL + ECHO + IAC + WILL + SGA
WANTS_LINES = IAC + WONT + ECHO + IAC + WONT + SGA
AGREES = IAC + DO + ECHO + IAC + DO + SGA
WHERE = b"\x1b[6n"
PASTED_IN = b"\x1b[200~%s\x1b[201~"
HERE = Situation("ann", "#lobby", 3, (("#lobby", 7), ("#lab", 2)))


def size(columns: int, rows: int) -> bytes:
    return IAC + SB + NAWS + columns.to_bytes(2, "big") + rows.to_bytes(2, "big") + IAC + SE


def drain(dialect, situation=HERE):
    """What the client is sent on its own, and what it asks for; its screen is drawn as the service draws it."""
    drawn, asked = b"", []
    while (item := dialect.next_input()) is not None:
        if isinstance(item, events.WireBytes):
            drawn += item.data
            continue
        assert isinstance(item, Request)
        if isinstance(item.command, commands.ShowScreen):
            drawn += dialect.draw(situation, item.command.drawn)
        else:
            asked.append(item.command)
    return drawn, asked


def asked(*chunks, name="ann", current=lambda: None):
    """A dialect that has asked for single keys."""
    dialect = TextDialect()
    for chunk in chunks:
        dialect.feed(chunk)
    drain(dialect)
    dialect.admitted(name)
    dialect.edit(True, current)
    dialect.feed(IAC + WONT + TTYPE)
    drain(dialect)
    return dialect


def editing(columns=80, rows=24):
    dialect = asked()
    dialect.feed(IAC + WILL + NAWS + size(columns, rows) + AGREES)
    begin(dialect)
    return dialect


def begin(dialect, row=12, situation=HERE):
    """The terminal is asked where its cursor is, and says it. Return what is drawn then."""
    assert drain(dialect, situation)[0].endswith(WHERE)
    dialect.feed(b"\x1b[%d;1R" % row)
    return drain(dialect, situation)[0]


def said(text="hi", sender="bob"):
    return events.Message(1, "#lobby", 1, 0, sender, "say", text)


# --- coming and going -----------------------------------------------------------------------------------


def test_a_client_is_asked_only_by_edit_and_its_screen_begins_with_its_answer():
    dialect = TextDialect()
    dialect.admitted("ann")
    assert drain(dialect) == (b"", [])
    dialect.edit(True)
    assert drain(dialect) == (ASKED + IAC + DO + TTYPE, [])
    dialect.feed(IAC + WONT + TTYPE)
    assert drain(dialect) == (WANTS_KEYS, [])
    before = dialect.views
    dialect.feed(IAC + WILL + NAWS + size(40, 20) + IAC + DO + ECHO)
    assert b"\x1b" not in drain(dialect)[0]
    dialect.feed(IAC + DO + SGA)
    drawn = begin(dialect)
    assert b"\x1b[1;18r" in drawn
    assert b"\x1b[20;1H\x1b[7m ann  #lobby  3 people" in drawn
    assert b"* Your line stays whole now." in drawn
    assert dialect.views.here is not before.here


TINTIN = IAC + SB + TTYPE + b"\x00TINTIN++" + IAC + SE


@for_each("refusal", [IAC + DONT + ECHO, IAC + DO + ECHO + IAC + DONT + SGA])
def test_a_client_that_refuses_is_told_and_goes_on_with_lines(refusal):
    dialect = asked()
    views = dialect.views
    dialect.feed(refusal)
    drawn, _ = drain(dialect)
    assert b"Your program sends whole lines only" in drawn
    assert b"\x1b" not in drawn
    dialect.feed(b"hello\r\n")
    assert drain(dialect) == (b"", [commands.Say("hello")])
    assert dialect.views == views


def test_a_program_that_has_a_line_of_its_own_keeps_it():
    dialect = TextDialect()
    dialect.admitted("ann")
    dialect.edit(True)
    dialect.feed(IAC + WILL + TTYPE + TINTIN)
    drawn, _ = drain(dialect)
    assert b"your program edits your line itself" in drawn
    assert IAC + WILL not in drawn
    assert "your program edits your line itself" in dialect.edit(True)
    assert drain(dialect) == (b"", [])


@for_each("line", [b"one\r\n", b""])
def test_a_client_that_is_silent_is_told_once_and_may_still_agree(line):
    dialect = asked()
    dialect.feed(line)
    if not line:
        dialect.pause()  # it has said nothing for two seconds
    drawn, lines = drain(dialect)
    assert b"has not answered" in drawn
    assert lines == [commands.Say("one")] * bool(line)
    dialect.pause()
    assert drain(dialect) == (b"", [])
    assert "has not answered" in dialect.edit(True)
    dialect.feed(b"two\r\n")
    assert drain(dialect) == (b"", [commands.Say("two")])
    dialect.feed(AGREES)
    assert b"\x1b[1;22r" in begin(dialect)


def test_edit_off_as_the_next_line_of_a_silent_client_is_answered_alone():
    dialect = asked()
    dialect.feed(b"/edit off\r\n")
    request = dialect.next_input()
    assert request.command == commands.Edit(False)
    assert "whole lines as before" in dialect.edit(False)
    assert b"has not answered" not in drain(dialect)[0]


def test_a_silent_client_is_not_told_so_between_a_question_and_the_answer():
    dialect = asked()
    dialect.feed(b"/register\r\n")
    assert dialect.next_input().command == commands.Register()
    dialect.ask(commands.Register())
    drawn, _ = drain(dialect)
    assert drawn.index(b"has not answered") < drawn.index(b"Choose a password")

    dialect = asked()
    dialect.ask(commands.Register())  # the line came together with /edit on, so the client may still answer
    dialect.pause()
    assert b"has not answered" not in drain(dialect)[0]
    dialect.feed(b"a good password\r\n/who\r\n")
    drawn, lines = drain(dialect)
    assert drawn.index(b"has not answered") < drawn.index(b"Type it once more")
    assert lines == [], "the second line is no command, but an answer"


def test_edit_off_puts_everything_back():
    dialect, plain = editing(), TextDialect()
    plain.admitted("ann")
    plain.window(80)
    dialect.feed(b"half a line")
    drain(dialect)
    dialect.edit(False)
    assert dialect.draw(HERE) == screen.END
    assert drain(dialect) == (WANTS_LINES, [])
    assert dialect.views == plain.views
    dialect.feed(IAC + DONT + ECHO + IAC + DONT + SGA + b"whole\r\n")
    assert drain(dialect) == (b"", [commands.Say("whole")])


def test_a_client_that_withdraws_gets_its_terminal_back():
    dialect = editing()
    dialect.feed(IAC + DONT + ECHO)
    drawn, _ = drain(dialect)
    assert screen.END in drawn
    assert IAC + WONT + SGA in drawn
    dialect.feed(b"whole\r\n")
    assert drain(dialect)[1] == [commands.Say("whole")]


def test_edit_may_be_said_again_and_again_and_is_asked_and_withdrawn_once_for_each_answer():
    dialect = asked()
    for _ in range(50):
        dialect.edit(False)
        dialect.edit(True)
    drawn, _ = drain(dialect)
    assert drawn == b""
    dialect.feed(AGREES)
    assert b"\x1b[1;22r" in begin(dialect)
    assert "already" in dialect.edit(True)


def test_what_was_typed_after_edit_off_in_the_same_read_is_not_lost():
    dialect = editing()
    dialect.feed(b"/edit off\rand more\r")
    found = []
    while (item := dialect.next_input()) is not None:
        if isinstance(item, Request) and isinstance(item.command, commands.Edit):
            dialect.edit(False)
        elif isinstance(item, Request) and isinstance(item.command, commands.Say):
            found.append(item.command)
    assert found == [commands.Say("and more")]


@for_each("mode", list(Mode))
@for_each("terminal", [IAC + WONT + TTYPE, IAC + WILL + TTYPE + IAC + SB + TTYPE + b"\x00XTERM" + IAC + SE, TINTIN])
@for_each("later", [True, False])
def test_telnet_is_offered_edit_once_and_never_while_it_has_it_or_has_a_line_of_its_own(mode, terminal, later):
    dialect = TextDialect()
    dialect.feed(IAC + WILL + NAWS if later else terminal + IAC + WILL + NAWS)
    assert drain(dialect)[0].count(IAC + DO + TTYPE) == later, "asked for its terminal after it has answered"
    if mode is not Mode.LINES:
        dialect._mode = mode
    dialect.admitted("ann")
    dialect.feed(terminal * later + (IAC + WONT + NAWS + IAC + WILL + NAWS) * 3)
    assert drain(dialect)[0].count(b"/edit on") == (mode is Mode.LINES and terminal is not TINTIN)


@for_each("typed", [b"ann\r\n", b"ann\r\x00", b"ann\r"])
def test_a_client_whose_lines_end_as_telnets_do_is_offered_edit_with_its_welcome_and_only_there(typed):
    dialect = TextDialect()
    dialect.feed(typed)
    assert drain(dialect)[1] == [commands.Hello("ann")]
    dialect.admitted("ann")
    assert dialect.hint() == OFFER
    assert len(f"* {OFFER}") <= 80, "it is one line"
    dialect.feed(IAC + WONT + TTYPE + IAC + WILL + NAWS)
    assert dialect.hint() == ""
    assert OFFER.encode() not in drain(dialect)[0]


@for_each("option", [("timestamps", "on"), ("colour", "on")])
def test_edit_is_not_offered_to_whoever_comes_back_to_it_however_they_want_to_see_things(option):
    dialect = TextDialect()
    dialect.feed(IAC + WILL + NAWS + IAC + WONT + TTYPE)
    dialect.admitted("ann")
    dialect.set_option(*option)
    dialect.set_option("/edit", "on")
    drawn, lines = drain(dialect)
    assert lines == [commands.Edit(True)]
    assert b"/edit on keeps" not in drawn


@for_each("typed", [b"ann\n", b"", IAC + WILL + NAWS + b"ann\r\n"])
def test_nc_and_a_program_that_does_not_type_are_not_offered_edit_nor_is_telnet_twice(typed):
    dialect = TextDialect()
    dialect.feed(typed)
    drain(dialect)
    dialect.admitted("ann")
    assert dialect.hint() == ""


def test_edit_alone_says_whether_it_is_on_and_how_to_change_it():
    dialect = TextDialect()
    dialect.admitted("ann")
    assert "is off" in dialect.edits
    assert "/edit on" in dialect.edits
    dialect.edit(True)
    assert "has not answered" in dialect.edits
    dialect.feed(b"line\r\n")
    drain(dialect)
    assert dialect.edits == UNANSWERED
    assert editing().edits == "/edit is on. /edit off ends it."
    dialect.feed(IAC + WILL + TTYPE + TINTIN)
    drain(dialect)
    assert "your program edits your line itself" in dialect.edits


# --- keys -----------------------------------------------------------------------------------------------


def test_keys_make_lines_and_ctrl_c_on_an_empty_one_leaves():
    dialect = editing()
    dialect.feed(b"helo\x1b[D" + b"l\r\x00\r\r\n")
    assert drain(dialect)[1] == [commands.Say("hello")]
    dialect.feed(b"away with it" + IAC + b"\xf4")
    assert drain(dialect)[1] == []
    dialect.feed(IAC + b"\xf4")
    drawn, lines = drain(dialect)
    assert b"Another Ctrl-C leaves" in drawn, "the second one came perhaps by habit"
    assert lines == []
    dialect.feed(IAC + b"\xf4")
    assert drain(dialect)[1] == [commands.Quit()]
    dialect.feed(b"\x03")
    assert drain(dialect)[1] == [commands.Quit()]


def test_half_a_line_may_wait_for_ever_and_half_a_telnet_command_may_not():
    dialect = editing()
    dialect.feed(b"half a line")
    drain(dialect)
    assert not dialect.pending
    dialect.feed(IAC)
    assert dialect.pending


def test_tab_asks_for_completions():
    dialect = editing()
    dialect.feed(b"hey b\t")
    assert dialect.next_input().command == commands.ShowScreen(b"hey b", pressed=True)
    assert dialect.next_input().command == commands.Complete("hey b")
    dialect.complete(["bob"])
    dialect.feed(b"there\r")
    assert drain(dialect)[1] == [commands.Say("hey bob there")]


def test_many_keys_cost_tokens_even_if_they_come_to_nothing():
    dialect = editing()
    assert dialect.feed(b"\r" * 4096) >= 4096
    assert dialect.feed(b"\x1b[D" * 1000) >= 3000


# --- what is drawn --------------------------------------------------------------------------------------


def test_what_is_said_is_the_same_bytes_for_windows_of_any_height_and_of_about_one_width():
    large, small = editing(84, 50), editing(80, 20)
    assert (large.views.here, large.views.elsewhere) == (small.views.here, small.views.elsewhere)
    data = small.views.here.encode([said("one\n* bob left"), said("two")])
    plain = TextDialect().views.here.encode([said("one\n* bob left"), said("two")])
    assert b"one\r\n  | * bob left\r\n" in data
    assert data == b"\x1b7\x1b[?6h\x1b[999B\n" + plain[:-2] + b"\x1b[?6l\x1b8"
    assert len(data) - len(plain) <= 20


def test_a_line_with_ones_name_is_bold_if_the_bell_rings_for_it():
    dialect = editing()
    for option in ("colour", "bell"):
        dialect.set_option(option, "on")
        for text, bold in (("hi ann", option == "bell"), ("hi cy", False)):
            drawn = dialect.views.here.encode((said(text),))
            assert (b"\x1b[1m[" in drawn, b"\x1b[0;1m" in drawn, b"\a" in drawn) == (bold, bold, bold)


def test_hidden_and_raw_events_are_drawn_as_they_are():
    dialect = editing()
    dialect.ignoring(frozenset((5,)))
    hidden = events.Message(1, "#lobby", 1, 0, "bob", "say", "hi", who=5)
    assert dialect.views.here.encode([hidden]) == b""
    raw = events.WireBytes(b"\x1b[5;1H")
    assert dialect.views.own.encode([raw]) == raw.data
    mixed = dialect.views.own.encode([raw, events.Notice("x"), raw])
    assert mixed == raw.data + screen.above(b"* x\r\n") + raw.data


def test_the_last_words_stand_below_the_screen_however_it_ends():
    view = editing().views.own
    assert view.encode([events.Bye("quit")]) == screen.END + WANTS_LINES + b"* Goodbye.\r\n"
    slow = TooSlow()
    last = view.encode([events.problem(slow), events.Bye(slow.code)])
    assert last.startswith(screen.END + WANTS_LINES + b"! ")
    assert last.replace(b"\r\n!   ", b" ").endswith(error_line(slow).encode() + b"\r\n")


def test_an_unfinished_line_can_be_shown_among_what_was_said():
    dialect = editing(19)
    assert dialect.unfinished() == b""
    dialect.feed(b"half a line of ann\x1b[200~\rx\x1b[201~")
    drain(dialect)
    assert dialect.unfinished() == screen.above(b"> half a line of\r\n  ann\r\n  x\r\n")
    dialect.edit(False)
    assert dialect.unfinished() == b""


@for_each(
    "line", [b"/who", b"/topic queues", b"/edit off", b"/search from:bob x", b"/nick bob", b"/quit so long", b"/help"]
)
@for_each("colour", ["on", "off"])
def test_a_command_is_kept_above_its_answer_before_it_is_carried_out(line, colour):
    dialect = editing()
    dialect.set_option("colour", colour)
    dialect.feed(line + b"\r")
    order = []
    while (item := dialect.next_input()) is not None:
        order.append(item.data if isinstance(item, events.WireBytes) else item.command)
    shown = b"\x1b[2m> %s\x1b[0m\r\n" if colour == "on" else b"> %s\r\n"
    above = screen.above(shown % line)
    assert order.index(above) < [type(each) for each in order].index(type(parse_line(line.decode())))
    assert order.count(above) == 1


TOKEN = b"abcdefghijkLMNOPQRS-_Q"


@for_each(
    "line",
    [
        *(b"hi", b"//who", b"/me waves", b"/msg bob psst", b"/reply psst", b"who"),  # shown when they are said
        *(b"/login ann secret", b"/LOGIN secret", b"/register secret", b"/password secret", b"/unregister secret"),
        *(
            b"/resume secret",
            b"/operator secret",
            b"/login\tann secret",
            PASTED_IN % b"/login\nsecret",
            b"/who " + TOKEN,
        ),
        *(
            b"/logn ann secret",
            b"/auth ann secret",
            b"/ login ann secret",
            b"login ann secret-1",
            b"/nickserv id secret",
        ),
        *(TOKEN, b" /login secret", b"/login secret\x1b[Z"),
    ],
)
def test_nothing_that_is_said_or_may_be_secret_is_kept_above(line):
    dialect = editing()
    dialect.set_option("colour", "on")
    dialect.feed(line)
    drain(dialect)
    dialect.feed(b"\r")
    assert b"> " + line[:3] not in drain(dialect)[0].replace(b"\x1b[23;1H> \x1b[K", b"")
    dialect.feed(b"x")
    assert b"secret" not in drain(dialect)[0]


def test_a_command_that_was_pasted_with_its_end_stands_in_one_row():
    dialect = editing()
    dialect.feed(PASTED_IN % b"/who\n\n" + b"\r")
    assert b"\n> /who\x1b[?6l" in drain(dialect)[0]


def test_neither_a_password_nor_another_answer_is_kept_above():
    dialect = editing()
    dialect.ask(commands.Login())
    drain(dialect)
    dialect.feed(b"/who\rann\r")
    assert b"/who" not in drain(dialect)[0].replace(b"\x1b[23;1H> /who", b"")
    dialect.feed(b"hunter2-hunter2\r")
    assert b"hunter2" not in drain(dialect)[0]


def test_a_change_of_the_window_draws_everything_again_and_another_report_of_it_nothing():
    dialect = editing()
    dialect.feed(b"half")
    drain(dialect)
    dialect.feed(size(60, 30))
    drawn = begin(dialect, 23)
    assert b"\x1b[1;28r" in drawn
    assert b"\x1b[29;1H> half" in drawn
    assert b"\x1b[30;1H\x1b[7m ann" in drawn
    dialect.feed(size(60, 30) * 100)
    assert drain(dialect) == (b"", [])
    for columns, rows in ((60, 3), (60, 4), (60, 2), (8, 24), (9, 24), (9, 300), (9, 301)):  # also beyond the bounds
        dialect.feed(size(columns, rows))
        assert b"half" in begin(dialect, 1)


@for_each(
    ("columns", "rows", "cursor", "clear"),
    [
        (100, 24, (23, 61), "\x1b[23;1H\x1b[J\x1b[24;1H"),  # it is where it was
        (80, 20, (20, 61), "\x1b[20;1H\x1b[J\x1b[20;1H\n"),  # the terminal has dropped the status line
        (80, 30, (29, 61), "\x1b[29;1H\x1b[J\x1b[30;1H"),  # it has got rows back from those above
        (80, 30, (23, 61), "\x1b[23;1H\x1b[J\x1b[H\x1b[6L"),  # there were none
        (60, 24, (9999, 61), "\x1b[24;1H\x1b[J\x1b[24;1H\n"),  # no terminal says so
        (40, 24, (23, 40), "\x1b[23;1H\x1b[J\x1b[24;1H"),  # it has cut the line
        (40, 24, (22, 21), "\x1b[21;1H\x1b[J\x1b[24;1H"),  # it has wrapped the line, and a long status line
        (40, 24, (23, 21), "\x1b[22;1H\x1b[J\x1b[24;1H"),  # only the line
        (40, 20, (20, 21), "\x1b[19;1H\x1b[J\x1b[20;1H"),  # and dropped the status line
        (40, 30, (29, 21), "\x1b[28;1H\x1b[J\x1b[30;1H"),  # it has got rows back, and wrapped the line
        (40, 30, (23, 21), "\x1b[22;1H\x1b[J\x1b[H\x1b[6L"),  # there were none, and it has wrapped the line
    ],
)
def test_in_another_window_the_line_is_erased_where_the_terminal_says_that_it_is(columns, rows, cursor, clear):
    dialect = editing()
    dialect.feed(b"x" * 58)
    drain(dialect)
    dialect.feed(size(columns, rows))
    drain(dialect)
    dialect.feed(b"\x1b[%d;%dR" % cursor)
    assert drain(dialect)[0].startswith(f"\x1b[r{clear}\x1b[1;{rows - 2}r".encode())


def test_a_wide_letter_that_does_not_fit_into_a_narrower_window_begins_the_next_row():
    dialect = editing()
    dialect.feed(("x" * 37 + "王" + "y" * 10).encode())
    drain(dialect)
    dialect.feed(size(40, 24))
    drain(dialect)
    dialect.feed(b"\x1b[23;13R")
    assert drain(dialect)[0].startswith(b"\x1b[r\x1b[22;1H\x1b[J\x1b[24;1H\x1b[1;22r")


def test_a_window_that_becomes_larger_and_then_narrower_before_the_terminal_answers_is_only_narrower():
    dialect = editing()
    dialect.feed(b"x" * 58)
    drain(dialect)
    for columns, rows in ((60, 30), (40, 24)):
        dialect.feed(size(columns, rows))
        drain(dialect)
    dialect.feed(b"\x1b[22;21R" * 2)
    assert drain(dialect)[0].startswith(b"\x1b[r\x1b[21;1H\x1b[J\x1b[24;1H\x1b[1;22r")


def test_what_was_said_while_the_window_changed_is_not_erased():
    """The terminal has forgotten the region, so that it may stand in the rows of the line and the status line."""
    dialect = editing()
    drain(dialect)
    for columns, before, after, erased in (
        (60, 0.5, 0.51, True),
        (61, 0.5, 0.9, False),  # the terminal is far away
        (62, 0.01, 0.02, False),
        (63, 5.0, 0.01, False),  # it was said while the terminal was asked
    ):
        dialect.feed(size(columns, 30))
        drain(dialect, replace(HERE, silent=before))
        dialect.feed(b"\x1b[29;3R")
        drawn, _ = drain(dialect, replace(HERE, silent=after))
        assert drawn.startswith(b"\x1b[r\x1b[29;1H\x1b[J" if erased else b"\x1b[r\x1b[999;1H\n\n")


def test_a_terminal_that_does_not_say_where_its_cursor_is_has_its_screen_with_the_next_key():
    dialect = editing()
    for columns, silent, erased in ((60, 0.5, False), (61, 5.0, True)):
        dialect.feed(size(columns, 30))
        assert drain(dialect, replace(HERE, silent=silent))[0] == WHERE
        dialect.feed(b"x")
        drawn, _ = drain(dialect, replace(HERE, silent=silent))
        assert drawn.startswith(b"\x1b7\x1b[r\x1b8\r\x1b[J\n" if erased else b"\x1b[r\x1b[999;1H\n\n")
    dialect.feed(size(62, 30))
    drain(dialect)
    dialect.pause()
    assert b"\x1b[1;28r" in drain(dialect)[0]
    dialect.feed(b"\x1b[29;1R")  # too late
    assert drain(dialect) == (b"", [])


def test_after_a_pause_the_two_lines_are_drawn_once_more_as_telnets_own_prompt_may_have_been_there():
    dialect = editing()
    dialect.feed(b"half")
    drain(dialect)
    dialect.pause()
    assert b"\x1b[24;1H\x1b[7m ann  #lobby" in dialect.draw(HERE)
    assert drain(dialect) == (b"\x1b[23;1H> half\x1b[K", [])
    dialect.pause()
    assert dialect.draw(HERE) == b""
    assert drain(dialect) == (b"", [])


def test_a_key_after_a_while_is_not_drawn_where_telnets_own_prompt_has_left_the_cursor():
    dialect = editing()
    dialect.feed(b"half")
    drain(dialect)
    dialect.feed(b"x")
    drawn, _ = drain(dialect, replace(HERE, at=9.0))
    assert drawn.endswith(b"\x1b[23;1H> halfx\x1b[K")
    assert drawn.count(b"x") == 1


def test_whoever_types_without_a_pause_has_the_two_lines_drawn_again_now_and_then():
    dialect = editing()
    whole = []
    for at in range(1, 9):
        dialect.feed(b"x")
        drawn, _ = drain(dialect, replace(HERE, at=float(at)))
        whole.append(b"\x1b[23;1H> " + b"x" * at in drawn and b" ann  #lobby" in drawn)
    assert whole == [at % 2 == 0 for at in range(1, 9)]


def test_of_several_answers_the_last_counts_and_one_in_pieces_is_no_key():
    dialect = editing()
    for columns in (60, 70):
        dialect.feed(size(columns, 30))
        assert drain(dialect)[0] == WHERE
    answers = b"\x1b[20;3R\x1b[29;3R"
    for byte in answers[:-1]:
        dialect.feed(bytes((byte,)))
        assert drain(dialect) == (b"", [])
    dialect.feed(answers[-1:] + b"y")
    drawn, _ = drain(dialect)
    assert drawn.startswith(b"\x1b[r\x1b[29;1H\x1b[J")
    assert drawn.endswith(b"\x1b[29;1H> y\x1b[K")


def test_a_line_that_was_scrolled_sideways_is_whole_again_in_a_window_that_is_wide_enough():
    dialect = editing(40, 20)
    dialect.feed(b"a line of so many letters that some are hidden")
    assert b"<letters that some" in drain(dialect)[0]
    dialect.feed(size(60, 20))
    assert b"> a line of so many letters that some are hidden" in begin(dialect, 19)


def test_of_many_sizes_in_one_read_only_the_last_counts():
    dialect = editing()
    dialect.feed(b"".join(size(40 + n, 10) for n in range(100)))
    shown = [item for item in iter(dialect.next_input, None) if item == Request(commands.ShowScreen())]
    assert len(shown) == 1
    assert dialect.views.own.style.columns == 139


def test_the_status_line_is_drawn_when_it_changes_and_shows_rooms_with_something_new():
    dialect = editing()
    dialect.feed(b"x")
    assert drain(dialect)[0] == b"x"
    more = Situation("ann", "#lobby", 4, (("#lobby", 9), ("#lab", 3)))
    dialect.feed(b"y")
    assert b" ann  #lobby  4 people  new in #lab\x1b[0m" in drain(dialect, more)[0]
    there = Situation("ann", "#lab", 1, (("#lobby", 9), ("#lab", 3)))
    dialect.feed(b"z")
    assert b" ann  #lab  1 person\x1b[0m" in drain(dialect, there)[0]


@for_each(
    "text", [b"x" * 2001, PASTED_IN % (b"x" * 2001 + b"\nsecond"), PASTED_IN % (b"a\nb\n" * 30 + b"\t" * 501 + b"x")]
)
def test_of_a_text_with_a_line_that_is_too_long_nothing_is_sent_and_it_stays(text):
    dialect = editing()
    dialect.feed(text + b"\r")
    _, found = drain(dialect)
    assert [type(each) for each in found] == [TextTooLong]
    assert dialect._keys.text.count("x") + dialect._keys.text.count("\t") > 500
    dialect.feed(b"\x15hi\r")
    assert drain(dialect)[1] == [commands.Say("hi")]


@for_each("command", [b"/msg bob ", b"/me ", b"/reply ", b"/w bob "])
@for_each("text", [b"y" * 2001, b"y" * 1000 + b"\x1b\r" + b"y" * 1000])
def test_a_text_that_is_too_long_behind_a_command_stays_in_the_line(command, text):
    dialect = editing()
    dialect.feed(command + text + b"\r")
    assert [each.text for each in drain(dialect)[1]] == [TextTooLong(2001, 2000).text]
    dialect.feed(b"\x7f\r")
    ((done, *more),) = [drain(dialect)[1]]
    assert (len(done.text), more) == (2000, [])


@for_each("seconds", [0, 30])
def test_a_text_of_several_messages_is_not_sent_at_all_in_a_slow_room(seconds):
    dialect = TextDialect()
    dialect.admitted("ann")
    dialect.edit(True, slow=lambda: seconds)
    dialect.feed(IAC + WONT + TTYPE + AGREES)
    begin(dialect)
    dialect.feed(PASTED_IN % (b"x\n" * 60) + b"\r")
    drawn, lines = drain(dialect)
    assert len(lines) == (0 if seconds else 2)
    assert (b"Your text is 2 messages long, and here you may send one in 30s" in drawn) == bool(seconds)
    assert len(dialect._keys.text) == (120 if seconds else 0)
    for one in (b"x\n" * 30, b"/msg bob " + b"x\n" * 60):
        dialect.feed(b"\x15" + PASTED_IN % one + b"\r")
        assert len(drain(dialect)[1]) == 1


@for_each("typed", [b"x" * 9000, b"x\x1b\r" * 101])
def test_a_line_that_is_full_says_how_much_it_may_have(typed):
    dialect = editing()
    dialect.feed(typed)
    assert b"Your line is full, with 8 KiB or 100 lines" in drain(dialect)[0]


def test_a_line_of_which_a_letter_was_lost_is_not_sent():
    """By telnet, for its own prompt: one has to know it before everybody reads the rest."""
    dialect = editing()
    dialect.feed("type Н rest".encode().replace(b"\x9d", b"") + b"\r\r")
    drawn, lines = drain(dialect)
    assert lines == []
    assert drawn.count(b"Your telnet has lost a letter") == 1
    dialect.feed(b"\x1b[D" * 5 + b"\x7f" + "Н".encode() + b"\r")
    assert drain(dialect)[1] == [commands.Say("type Н rest")]


IN_LAB = replace(HERE, room="#lab")


def in_room():
    """A dialect on a screen, and the room that is its current one: a list of one."""
    room = ["#lab"]
    dialect = asked(current=lambda: room[0])
    dialect.feed(AGREES)
    begin(dialect)
    return dialect, room


@for_each("line", [b"hello", b"//hello", b"/me waves", b"/topic new", b"/leave", PASTED_IN % b"a\nb"])
def test_a_line_that_was_begun_in_another_room_is_held_until_an_enter_after_the_question(line):
    dialect, room = in_room()
    dialect.feed(line[:-1])
    drain(dialect)
    room[0] = "#lobby"
    for typed in (line[-1:] + b"\r\r \r", b"\r"):  # what is typed ahead is no answer
        dialect.feed(typed)
        drawn, lines = drain(dialect)
        assert lines == []
        assert drawn.count(b"* You are in #lobby now, not in #lab. If your line is meant for this room, press") == 1
        assert drain(dialect) == (b"", [])
    dialect.feed(b"\rhello\r")
    drawn, lines = drain(dialect)
    assert len(lines) == 2
    assert b"You are in" not in drawn


def test_whoever_has_had_time_to_read_the_question_is_not_asked_again_if_the_line_is_changed():
    dialect, room = in_room()
    dialect.feed(b"for the lab")
    drain(dialect)
    room[0] = "#lobby"
    for at, typed, sent in ((1.0, b"\r", 0), (1.5, b"!\r", 0), (4.0, b"?", 0), (4.0, b"\r", 1), (4.0, b"next\r", 1)):
        dialect.feed(typed)
        drawn, lines = drain(dialect, replace(HERE, at=at))
        assert (len(lines), b"You are in #lobby now" in drawn) == (sent, at < 2)
    dialect.feed(b"and now")
    drain(dialect, replace(HERE, at=9.0))
    room[0] = "#lab3"
    dialect.feed(b"\r")
    assert b"You are in #lab3 now, not in #lobby" in drain(dialect, replace(HERE, at=9.0))[0]


@for_each("line", [b"/msg bob hello", b"/join #lab2", b"/who", b"/search x", b"/nonsense", b"/edit off"])
@for_each("now", ["#lobby", None])
def test_a_line_that_is_not_about_the_current_room_is_not_held(line, now):
    dialect, room = in_room()
    dialect.feed(line[:-1])
    room[0] = now
    dialect.feed(line[-1:] + b"\r")
    drawn, lines = drain(dialect)
    assert len(lines) == 1
    assert b"You are in" not in drawn


def test_a_line_that_is_begun_just_after_another_room_became_the_current_one_is_held_once():
    believed = ["#lab"]
    dialect = TextDialect()
    dialect.admitted("ann")
    dialect.edit(True, lambda: "#lobby", lambda: believed[0])
    dialect.feed(IAC + WONT + TTYPE + AGREES)
    begin(dialect)
    dialect.feed(b"hello\r")
    drawn, lines = drain(dialect)
    assert b"You are in #lobby now, not in #lab" in drawn
    assert lines == []
    dialect.feed(b"\rhello\r")
    assert drain(dialect)[1] == [commands.Say("hello")] * 2


def test_a_line_after_a_command_that_changed_the_room_is_not_held():
    dialect, room = in_room()
    dialect.feed(b"/join #lobby\rhello\r")
    lines = []
    while (item := dialect.next_input()) is not None:
        if isinstance(item, Request) and not isinstance(item.command, commands.ShowScreen):
            lines.append(item.command)
            room[0] = "#lobby"
    assert lines == [commands.Join("#lobby"), commands.Say("hello")]


@for_each("event", [events.Departed("#lab", "#lobby"), events.RoomDeleted("#lab", "bob", "#lobby")])
def test_the_status_line_shows_another_room_as_soon_as_the_terminal_answers(event):
    dialect = editing()
    drawn = dialect.views.own.encode((said(), event))
    assert drawn.endswith(screen.STATUS)
    assert screen.STATUS not in dialect.views.own.encode((said(),))
    for part in (b"\x1b[", b"0n"):  # the answer
        dialect.feed(part)
    assert b" ann  #lab  3 people\x1b[0m" in drain(dialect, IN_LAB)[0]


@for_each(("row", "begins"), [(1, "\n" * 22 + "\x1b[H\x1b[21L"), (7, "\n" * 17 + "\x1b[H\x1b[16L"), (24, "\n")])
def test_what_was_said_before_editing_moves_down_to_the_line(row, begins):
    dialect = asked()
    dialect.feed(AGREES)
    assert f"{begins}\x1b[1;22r\x1b[23;1H\x1b[J".encode() in begin(dialect, row)


@for_each(("lines", "begins"), [(6, "\n" * 18 + "\x1b[H\x1b[17L"), (22, "\n\n\x1b[H\x1b[1L"), (23, "\n"), (90, "\n")])
def test_what_was_said_before_moves_as_far_as_rows_are_known_to_be_in_use_if_the_terminal_does_not_answer(
    lines, begins
):
    dialect = asked()
    dialect.feed(AGREES + b"x")
    drawn, _ = drain(dialect, replace(HERE, lines=lines))  # one of them was an answer to telnet
    assert f"{begins}\x1b[1;22r\x1b[23;1H\x1b[J".encode() in drawn


def test_page_up_is_answered_with_the_ways_to_look_back():
    dialect = editing()
    dialect.feed(b"x\x1b[5~")
    drawn, _ = drain(dialect)
    assert drawn.startswith(b"x\a")
    assert b"scrolls back" in drawn


def test_ctrl_l_draws_everything_again():
    dialect = editing()
    dialect.feed(b"half\x0c")
    drawn, _ = drain(dialect)
    assert b"\n" not in drawn, "the line was in its row, and leaves none behind"
    assert b"\x1b[1;22r" in drawn
    assert b"\x1b[23;1H> half" in drawn
