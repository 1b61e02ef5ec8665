"""The dialect of people: every command is read, and every event is shown, with every setting."""

from __future__ import annotations

import itertools
import random
import re
import time
import tracemalloc
from dataclasses import replace

import pytest
from support.clients import ASKED
from support.samples import for_each
from support.spoken import SPOKEN

from chat_threads import commands, events, meant
from chat_threads.dialects import clock
from chat_threads.dialects.asking import may_have_password
from chat_threads.dialects.base import Request, Settings
from chat_threads.dialects.columns import columns as measured
from chat_threads.dialects.mistyped import Mistyped
from chat_threads.dialects.notices import OFFER
from chat_threads.dialects.render import SHOW
from chat_threads.dialects.speech import COLOURS
from chat_threads.dialects.telnet import RETURN
from chat_threads.dialects.text import LINE, SpoiltLine, TextDialect
from chat_threads.dialects.typed import parse_line, parse_name
from chat_threads.dialects.views import WIDTHS
from chat_threads.errors import (
    BadName,
    BadRoom,
    ChatError,
    LineTooLong,
    NotUtf8,
    Told,
    UnknownCommand,
    Usage,
)
from chat_threads.refusals import BadTime, LateTime
from chat_threads.rules import check_name, check_room, clean, is_room

ROWS = [kind.row for kind in commands.TYPED]

# --- what is typed: the table -------------------------------------------------------------------------

# Commands that the shared table lacks, because a program sends them in another form or not at all.
TYPED = (
    *((line, command) for _, command, line in SPOKEN if line),
    ("  indented", commands.Say("  indented")),
    ("1/2", commands.Say("1/2")),
    ("///", commands.Say("//")),
    ("// ", commands.Say("/")),
    ("/delete  #lab2  yes", commands.Delete("#lab2")),
    ("/topic -", commands.Topic(None, "-")),
    ("/topic #lab2 -", commands.Topic("#lab2", "-")),
    ("/msg bob /quit", commands.Private("bob", "/quit")),
    ("/history 90s", commands.ReadHistory(seconds=90)),
    ("/history 30m", commands.ReadHistory(seconds=1800)),
    ("/history #lab2 3d", commands.ReadHistory("#lab2", seconds=259_200)),
    ("/search in:#lab2 lost wakeup from:bob", commands.Search("lost wakeup", "#lab2", "bob")),
    ("/search from:bob lost in:#lab2 wakeup", commands.Search("lost wakeup", "#lab2", "bob")),
    ("/search IN:#lab2 From:@bob", commands.Search("", "#lab2", "bob")),
    ("/search in: from: before: before:x", commands.Search("in: from: before: before:x")),
    ("/search before:17 lost", commands.Search("lost", before="17")),
    ("/lab pause publisher 10", commands.MakeFault("pause", "publisher", 10)),
    ("/help /msg", commands.Help("/msg")),
    ("/help msg", commands.Help("/msg")),
    ("/help ALL", commands.Help("all")),
    ("/help text", commands.Help("text")),
    ("/help //text", commands.Help("text")),
    ("/help join, leave", commands.Help("/join")),
    ("/help join?", commands.Help("/join")),
    ("/help ?", commands.Help("/?")),
    ("/help /", commands.Help("text")),
    ("/delete #a YES", commands.Delete("#a")),
    ("/register", commands.Register()),
    ("/login", commands.Login()),
    ("/password", commands.ChangePassword()),
    ("/unregister", commands.Unregister()),
    ("/edit on", commands.Edit(True)),
    ("/edit OFF", commands.Edit(False)),
    ("/edit", commands.Edit()),
)


@for_each(("line", "command"), TYPED)
def test_a_line_is_the_command_that_the_table_says(line, command):
    assert parse_line(line) == command


@pytest.mark.parametrize("word", ["", "resume ", "Operator ", "token "])
def test_a_token_that_stands_alone_is_neither_said_nor_taken_as_a_name(word):
    name = "operator " if word == "Operator " else "resume "
    for parse in (parse_line, parse_name):
        with pytest.raises(Mistyped) as refused:
            parse(f"{word}cMAQvkElFNtI6_FQvRl_Kw")
        assert refused.value.text == (
            f"That looks like a token, which is secret. Nothing was sent. Type /{name}and the token."
        )
    assert parse_line("hahahahahahahahahahaha") == commands.Say("hahahahahahahahahahaha")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("login bob hunter2", "/login"),
        ("Login hunter2", "/login"),
        ("login bob swordfish", "/login"),
        ("register correct-horse", "/register"),
        ("password: hunter2", "/password"),
        ("unregister hunter2", "/unregister"),
    ],
)
def test_a_password_behind_a_command_without_its_slash_is_neither_said_nor_shown(line, name):
    with pytest.raises(Mistyped) as refused:
        parse_line(line)
    assert refused.value.text.startswith(f"That may be a password. Nothing was sent. Type {name} alone,")
    with pytest.raises(Mistyped) as refused:
        parse_name(line)
    assert line.split()[-1] not in refused.value.text
    assert may_have_password(line)
    assert parse_line(f" {line}") == commands.Say(f" {line}")  # as the advice says


@pytest.mark.parametrize("line", ["msg bob hi", "Msg @Bob, hi", "MSG Łukasz  hi", "msg bob a\nb"])
def test_a_private_line_without_its_slash_is_not_said(line):
    with pytest.raises(Mistyped, match="That looks like a private line"):
        parse_line(line)
    assert parse_line(f" {line}") == commands.Say(f" {line}")  # as the advice says


@pytest.mark.parametrize(
    "line",
    ["msg me when you are there", "msg", "msg bob", "message bob please", "msg: it works", "W kodzie jest błąd"],
)
def test_a_sentence_that_begins_like_a_private_line_is_said(line):
    assert parse_line(line) == commands.Say(line)


def test_words_that_mean_to_come_in_another_way_are_no_names():
    assert [parse_name(word) for word in ("login", "Register")] == [commands.Help("/login"), commands.Help("/register")]
    assert [parse_name(word) for word in ("resume", "/resume", "/nick")] == [
        commands.Help(each) for each in ("/resume", "/resume", "/nick")
    ]


@pytest.mark.parametrize("line", ["login problems?", "register tomorrow", "Password reset instructions", "login 2"])
def test_a_sentence_that_begins_like_a_command_with_a_password_is_said(line):
    assert parse_line(line) == commands.Say(line)


@pytest.mark.parametrize("line", ["login is broken!", "register now", "operator overloading", "passwords: 12345678"])
def test_a_line_about_passwords_is_said(line):
    assert parse_line(line) == commands.Say(line)


@for_each(
    ("typed", "meant"),
    [
        ("/msg　小红　秘密　だ", commands.Private("小红", "秘密　だ")),
        ("/me　挥手　", commands.Act("挥手")),
        ("/join　#实验", commands.Join("#实验")),
        ("/set　bell　on", commands.SetOption("bell", "on")),
        ("/history　３", commands.ReadHistory(count=3)),
        ("/topic 一　二", commands.Topic(None, "一　二")),
        ("/topic　#a　一　二", commands.Topic("#a", "一　二")),
        ("一　二　３", commands.Say("一　二　３")),
        ("// main.c", commands.Say("// main.c")),
        ("/* main.c */", commands.Say("/* main.c */")),
    ],
)
def test_wide_spaces_and_digits_are_taken_as_usual_ones_but_in_no_text_and_a_comment_is_no_command(typed, meant):
    assert parse_line(typed) == meant


def test_every_row_of_the_table_is_typed_above():
    typed = {line.split()[0] for line, _ in TYPED}
    assert {row.name for row in ROWS} <= typed


def test_every_command_that_a_person_can_ask_for_can_be_typed():
    """All but the handshake, which is a line of its own, what telnet says of itself, and what is asked by HTTP."""
    every = {
        each for each in vars(commands).values() if isinstance(each, type) and issubclass(each, commands.Command)
    } - {commands.Command}  # fmt: skip
    by_telnet = {commands.AreYouThere, commands.ShowScreen, commands.Complete}
    by_http = {commands.ShowMetrics, commands.ShowHealth}
    by_programs = {commands.Hello, commands.Typed}
    assert every - {type(command) for _, command in TYPED} == by_programs | by_telnet | by_http
    assert inputs(b"ann\r\n", name=None) == [commands.Hello("ann")]
    assert inputs(b"/Resume t0ken\r\n", name=None) == [commands.Hello(token="t0ken")]
    assert inputs(b"\xff\xf6") == [ASK, commands.AreYouThere()]


@for_each(
    ("alias", "name"),
    [
        ("/j", "/join"), ("/part", "/leave"), ("/list", "/rooms"), ("/names", "/who"), ("/r", "/reply"),
        ("/w", "/msg"), ("/tell", "/msg"), ("/query", "/msg"), ("/pm", "/msg"), ("/users", "/who"), ("/afk", "/away"),
        ("/?", "/help"), ("/exit", "/quit"), ("/bye", "/quit"),
    ],
)  # fmt: skip
def test_an_alias_is_the_command(alias, name):
    for arguments in ("", " #lab2", " a b"):
        assert _parsed(alias + arguments) == _parsed(name + arguments)


def test_no_two_commands_have_one_name():
    assert len(commands.BY_NAME) == sum(1 + len(row.aliases) for row in ROWS)


@for_each("line", ["/join #lab2", "/JOIN #lab2", "/Join   #lab2  ", "/join\t#lab2", "/join #lab2\t"])
def test_the_case_of_a_command_and_the_blanks_around_its_arguments_do_not_matter(line):
    assert parse_line(line) == commands.Join("#lab2")


def test_the_blanks_within_a_text_stay():
    assert parse_line("/me jumps   twice") == commands.Act("jumps   twice")
    assert parse_line("/msg bob  a   b") == commands.Private("bob", "a   b")


@for_each("line", ["", " ", "\t", "   \t "])
def test_a_blank_line_is_nothing(line):
    assert parse_line(line) is None


@for_each(
    "line",
    [
        "/join", "/create", "/delete", "/delete #a #b", "/delete #a yes x",
        "/delete #a no", "/who a b c",
        "/invite", "/invite bob #a #b", "/msg", "/msg bob", "/msg bob  ", "/reply", "/me", "/me  ", "/nick",
        "/resume", "/resume a b", "/whois", "/nick ann #b", "/unignore",
        "/history #a x", "/history 1 2", "/history -1", "/history 1.5", "/history ٣", "/history a.b", "/history x y",
        "/history before", "/history before x", "/history before 1 2", "/history since", "/history 2 parsecs",
        "/history since 1", "/history " + "9" * 10 + "d",
        "/history before " + "9" * 16, "/search",
    ],
)  # fmt: skip
def test_a_command_with_arguments_that_it_does_not_take_gets_its_usage(line):
    usage = commands.BY_NAME[line.split()[0]].row.usage
    with pytest.raises(Usage, match=f"^{re.escape('Usage: ' + usage)}$") as caught:
        parse_line(line)
    assert caught.value.code == "usage"
    assert isinstance(caught.value, Told)


def test_the_error_for_an_unknown_command_names_the_nearest_one():
    with pytest.raises(UnknownCommand) as caught:
        parse_line("/jion #lab2")
    assert caught.value.text == "There is no command /jion. Did you mean /join?"
    assert caught.value.code == "unknown_command"
    assert isinstance(caught.value, Told)


@for_each(
    ("typed", "near"),
    [
        ("/hsitory", "/history"),
        ("/MGS", "/msg"),
        ("/serach", "/search"),
        ("/ignor", "/ignore"),
        ("/help jion", "/join"),
        ("/ehlp", "/help"),
        ("/inv bob", "/invite"),
        ("/em waves", "/me"),
        ("/unig bob", "/unignore"),
        ("/quit!", "/quit"),
        ("/who;", "/who"),
        ('/help "join"', "/join"),
    ],
)
def test_the_nearest_command_is_found_whatever_the_case(typed, near):
    with pytest.raises(UnknownCommand, match=re.escape(f"Did you mean {near}?")):
        parse_line(typed)


def test_a_persons_name_may_be_typed_as_in_a_text():
    assert parse_line("/msg @bob: hi @cy:") == commands.Private("bob", "hi @cy:")
    assert parse_line("/invite @bob, #lab2") == commands.Invite("bob", "#lab2")
    for typed, kind in (
        ("op", commands.Op),
        ("kick", commands.Kick),
        ("mute", commands.Mute),
        ("report", commands.Report),
    ):
        assert parse_line(f"/{typed} #lab2 @bob:") == kind("bob", "#lab2")


@for_each("name", sorted({*meant.ELSEWHERE.values()}))
def test_a_word_of_another_chat_leads_to_the_command_for_it_here(name):
    words = [word for word, means in meant.ELSEWHERE.items() if means == name]
    assert f"/{name}" in commands.BY_NAME
    for word in words:
        with pytest.raises(UnknownCommand, match=re.escape(f"Did you mean /{name}?")):
            parse_line(f"/{word.upper()} bob")


def test_a_word_that_is_like_no_command_leads_to_none():
    for word in "rm rx clear cls date save time get upload version2 grip foo remind shrug 1 é".split():
        with pytest.raises(UnknownCommand) as caught:
            parse_line(f"/{word} bob")
        assert caught.value.near is None, word


def test_an_unknown_command_is_shown_short_and_without_what_could_harm():
    with pytest.raises(UnknownCommand) as caught:
        parse_line("/\x1b[2J" + "x" * 5000)
    assert caught.value.text.startswith("There is no command /xxx")
    assert len(caught.value.text) < 100


@for_each("line", ["/del", "/dele #a", "/delet #a", "/DELTE #a", "/ann hi", "/anounce hi"])
def test_what_deletes_a_room_or_reaches_everybody_is_never_suggested(line):
    with pytest.raises(UnknownCommand) as caught:
        parse_line(line)
    assert caught.value.near is None


@for_each(
    ("line", "expected"),
    [
        ("/create #my room", "/create #my_room"),
        ("/create #My new  room", "/create #My_new_room"),
        ("/create #study group", "/create #study_group"),
        ("/create #lab 3", "/create #lab_3"),
        ("/create #lab3 deadlocks", commands.Create("#lab3", "deadlocks")),
        ("/create #new what is to come", commands.Create("#new", "what is to come")),
        ("/create #quiet room for two", commands.Create("#quiet", "room for two")),
        ("/create #my room?", commands.Create("#my", "room?")),  # no name, so it is a topic
        ("/create #lab3 -", commands.Create("#lab3")),  # as for /topic
    ],
)
def test_a_room_is_not_made_from_one_half_of_its_name(line, expected):
    if isinstance(expected, commands.Command):
        assert parse_line(line) == expected
    else:
        with pytest.raises(BadRoom, match="has no spaces") as caught:
            parse_line(line)
        assert f"/create {caught.value.near}" == expected


@for_each("seed", range(5))
def test_every_line_that_is_typed_is_a_command_or_gets_an_error(seed):
    rng = random.Random(seed)
    words = [
        *commands.BY_NAME,
        "#a",
        "bob",
        "in:#a",
        "from:",
        "before",
        "1",
        "2h",
        "on",
        "é",
        "\x1b",
        "\u2028",
        "\t",
        " ",
        "/",
    ]
    for _ in range(400):
        line = "".join(rng.choices([*words, *" " * len(words)], k=rng.randrange(8)))
        result = _parsed(line)
        if isinstance(result, tuple):
            error, text = result
            assert issubclass(error, Told), line
            assert clean(text) == text, line
        else:
            assert isinstance(result, commands.Command) or (result is None and not line.strip()), line


def _parsed(line):
    """The command in a line, or the error for it."""
    try:
        return parse_line(line)
    except ChatError as error:
        return type(error), error.text


# --- what is typed: bytes -----------------------------------------------------------------------------


def dialect_of(name="ann", *settings):
    """The dialect of somebody who is called that, None: not yet anything, with /set typed for each setting."""
    dialect = TextDialect()
    if name is not None:
        dialect.admitted(name)
    for setting in settings:
        dialect.set_option(*setting.split())
    return dialect


def drain(dialect):
    """All inputs that are there, requests as their commands; errors, which are no values, as their type and text."""
    found = []
    while (item := dialect.next_input()) is not None:
        if isinstance(item, Request):
            assert item.ref == ""
            item = item.command
        found.append((type(item), item.text) if isinstance(item, ChatError) else item)
    return found


ASK = events.WireBytes(ASKED)


def inputs(*chunks, name="ann"):
    dialect, found = dialect_of(name), []
    for chunk in chunks:
        dialect.feed(chunk)
        found += drain(dialect)
    return found


@for_each(
    ("typed", "hello"),
    [
        (b"ann\r\n", commands.Hello("ann")),
        (b"  ann \r\n", commands.Hello("ann")),
        (b"ann #lab2\r\n", commands.Hello("ann", "#lab2")),
        (b"ann\t#lab2\n", commands.Hello("ann", "#lab2")),
        (b"anm\x7fn\r\n", commands.Hello("ann")),
        ("Zoë #Übung\n".encode(), commands.Hello("Zoë", "#Übung")),
        (b"\xef\xbb\xbfann\n", commands.Hello("ann")),
        ("\u3000\u00a0\ufeff ann #lab2\u00a0\n".encode(), commands.Hello("ann", "#lab2")),
        (b"\x1b[A\x1b[Bann\x1bOC\n", commands.Hello("ann")),
        (b"\x1b[200~ann #lab2\x1b[201~\n", commands.Hello("ann", "#lab2")),
        (b"ann\x1b[M#\xff\xff\n", commands.Hello("ann")),
        (b"/nick ann\n", commands.Hello("ann")),
        (b"/NICK  ann \n", commands.Hello("ann")),
        (b"\x1b[A/nick ann\n", commands.Hello("ann")),
        (b"/resume token\n", commands.Hello(token="token")),
    ],
)
def test_the_first_line_is_a_name_and_maybe_a_room(typed, hello):
    assert inputs(typed, name=None) == [hello]


@for_each(
    "typed",
    [
        "ann bob cy",
        "ann b!b",
        "7 up",
        "//ann",
        "an\x00n",
        "\x01ann",
        "ann\x07",
        "an\x80n",
        "an\u202en",
    ],
)
def test_a_first_line_that_is_no_name_and_room_is_kept_whole_for_the_error(typed):
    """Nothing of it is dropped silently, and the rules refuse it."""
    (hello,) = inputs(typed.encode() + b"\n", name=None)
    assert f"{hello.name} {hello.room or ''}".rstrip() == typed
    with pytest.raises((BadName, BadRoom)):
        check_name(hello.name), check_room(hello.room or "#lobby")


@for_each(
    ("typed", "told"),
    [
        ("ann lab2", "A name has no spaces. Try annlab2. To begin in the room #lab2, type ann #lab2."),
        *((typed, "First comes your name, and then at most one room. Type ann #lab2.")
          for typed in ("#lab2", "#lab2 ann", "ann #lab2 #lab3", "ann #lab2 or 3", "ann cy #lab2", "a\x07 #lab2 b")),
        ("#lab2 joe", "First comes your name, and then at most one room. Type joe #lab2."),
        ("/foo", "There is no command /foo. First type your name; /help says more."),
        ("ann#lab2", "A space is between a name and a room. Type ann #lab2."),
        *((typed, "Type only your name. If it is Pat, type Pat.")
          for typed in ("Hello, my name is Pat!", "I'm Pat", "i am Pat", "name: Pat", "login Pat")),
        ("ann #my lab", "A room's name has no spaces. Type ann #my_lab."),
    ],
)  # fmt: skip
def test_what_is_typed_in_place_of_a_name_and_a_room_is_explained(typed, told):
    with pytest.raises(Mistyped, match=f"^{re.escape(told)}$"):
        parse_name(typed)


@for_each(
    ("typed", "told"),
    [
        ("/msg #lab2 hi", "#lab2 is a room, and /msg is for a person. /join #lab2 goes there."),
        ("/ignore #lab2", "#lab2 is a room, and /ignore is for a person. /leave #lab2 leaves it."),
        ("/invite #lab2 bob", "The person's name comes first. Type /invite bob #lab2."),
        ("/join #lab2, #lab3", "/join takes one room at a time. Type /join #lab2."),
        ("/join #lab2,#lab3", "/join takes one room at a time. Type /join #lab2."),
        ("/kick tess #opr", "The room comes first. Type /kick #opr tess."),
        ("/lab pause foo 3", "What can be paused is the publisher or the history. Type /lab pause publisher 10."),
        ("/leave #lab2 #lab3", "/leave takes one room at a time. Type /leave #lab2."),
        ("/rooms #lab2", "/rooms takes nothing after it. Type /rooms alone."),
        (
            "/help #lab2",
            "#lab2 is a room, and /help is about commands. /room #lab2 shows its rules, /who #lab2 who is there.",
        ),
        ("/ hello", "A line that begins with / is a command. To say this one, put a space in front of it."),
        *(
            (
                f"/history {page}",
                f"A page has 1 to 200 messages. Type /history {room}200; the page says how to see older ones.",
            )
            for page, room in (("0", ""), ("201", ""), ("9" * 40, ""), ("#a 500", "#a "), ("#a all", "#a "))
        ),
        ("/ join #lab2", "No space belongs after the /. Type /join #lab2."),
        ("/etc/passwd", "A line that begins with / is a command. To say this one, put another / in front of it."),
        ("/a/b\nc", "A line that begins with / is a command. To say these lines, put a space in front of them."),
        ("/search x in:#a in:#b", "A search takes in:, from: and before: once each. Without in:, it looks everywhere."),
        ("/redact #lab2 5", "The number comes first. Type /redact 5 #lab2."),
        ("/history 5 #lab2", "The room comes first. Type /history #lab2 5."),
        ("/history before 5 #lab2", "The room comes first. Type /history #lab2 before 5."),
        ("/history #lab2 #lab3", "/history takes one room at a time. Type /history #lab2."),
        ("/history lobby",
         "A room's name begins with '#'. Type /history #lobby; or /search from:lobby for what a person said."),
        ("/history befor 3", "before and after take the number of a message. Type /history before 3."),
        ("/history Lobby after 5", "A room's name begins with '#'. Type /history #Lobby after 5."),
        *((f"/history {typed}", f"A time span is a number with s, m, h or d. Type /history {meant}.")
          for typed, meant in (("2 h", "2h"), ("the last 2 Hours", "2h"), ("2w", "14d"), ("h", "1h"), ("today", "1d"),
                               ("yesterday", "2d"), ("#lab2 5 min ago", "#lab2 5m"), ("lab2 an hour", "#lab2 1h"))),
        ("/who bob", "A room's name begins with '#'. Type /who #bob; or /whois bob for a person."),
        ("/whois #lab", "#lab is a room, and /whois is for a person. /who #lab lists who is there."),
        ("/invite #lab", "#lab is a room, and /invite is for a person. Type /invite NAME #lab."),
        ("/join#lab", "A space belongs before the #. Type /join #lab."),
        ("/join my room", "A room's name has no spaces. Type /join #my, or /join #my_room."),
        ("/join #my room", "A room's name has no spaces. Type /join #my, or /join #my_room."),
        ("/redact #3 #lab2", "The number of a message has no #. Type /redact 3 #lab2."),
        ("/kick bob 10 minutes", "/kick keeps somebody out for one minute. For longer, type /ban bob 10 minutes."),
        ("/kick #lab2 bob 2h", "/kick keeps somebody out for one minute. For longer, type /ban #lab2 bob 2h."),
        ("/who\n/rooms", "/who takes one line. Nothing was done. Send the lines one by one."),
        ("/leave\n#lab2", "/leave takes one line. Nothing was done. Send the lines one by one."),
        ("/ x", "A line that begins with / is a command. To say this one, put a space in front of it."),
        ("/search hi in:lab2", "A room's name begins with '#'. Type in:#lab2; or from:lab2 for a person."),
        ("/search From:#lab2", "#lab2 is a room, and from: is for a person. Type in:#lab2."),
        ("/who all", "/who alone lists everybody. Type /who."),
        ("/report #3", "The number of a message has no #. Type /report 3."),
        ("/op bob cy", "/op takes one name at a time. Type /op bob."),
        ("/nick 2 h", "A name has no spaces. Type /nick h2."),
        ("/delete 3", "A message is removed with /redact. Type /redact 3."),
        ("/Remove 3", "A message is removed with /redact. Type /redact 3."),
        ("/say hi", "There is no command /say: a line without a / is said to the room. Type only the text."),
        ("/leave #my now", "A room's name has no spaces. Type /leave #my, or /leave #my_now."),
        ("/j #my own room", "A room's name has no spaces. Type /join #my, or /join #my_own_room."),
        ("/nick ann b", "A name has no spaces. Type /nick annb."),
        ("/nick ann b c", "A name has no spaces. Type /nick annbc."),
        *((f"{name} ann{more}", f"{name} takes one name at a time. Type {name} ann.")
          for name in ("/whois", "/ignore", "/unignore") for more in (" bob", ", bob", " and bob")),
        ("/invite bob to #lab2", "/invite takes one name, and then at most one room. Type /invite bob #lab2."),
        ("/invite bob, cy",
         "A room's name begins with '#'. Type /invite bob #cy; for another person, type /invite cy."),
    ],
)  # fmt: skip
def test_a_person_in_place_of_a_room_and_a_name_of_two_words_are_explained(typed, told):
    with pytest.raises(Mistyped, match=f"^{re.escape(told)}$"):
        parse_line(typed)


@for_each(
    "typed",
    [
        " /msg bob secret",
        "\t/TOKEN",
        " /msg bob\nand more",
        "\n /msg bob",
        "\u3000/help",
        "／help",
        " ／w bob x",
        "、msg bob 秘密",
        "・msg　bob 秘密",
    ],
)
def test_a_command_behind_a_blank_or_with_a_wide_slash_is_not_said_to_all(typed):
    with pytest.raises(Mistyped, match=r"^That looks like /\w+, but .* Nothing was sent\. Begin the line with /\w+\."):
        parse_line(typed)


@for_each("typed", ["  x = 1", " // a comment", " /usr/bin", "a /help", " / ", "／", "\u3000ok", " /nothing\nmore"])
def test_other_lines_that_begin_with_a_blank_or_a_wide_slash_are_said(typed):
    assert parse_line(typed) == commands.Say(typed.rstrip().replace("\t", "    "))


def test_a_blank_line_in_place_of_the_name_asks_for_help():
    assert inputs(b"\r\n  \r\nann\r\n", name=None) == [commands.Help(), commands.Help(), commands.Hello("ann")]


@for_each("typed", [b"/quit\n", b"/exit\n", b"/bye\n", b"quit\n", b"exit\n", b"Bye \r\n", b"\x1b[Aquit\n"])
def test_a_client_may_quit_instead_of_giving_a_name(typed):
    assert inputs(typed, name=None) == [commands.Quit()]
    assert inputs(b"/nick ann #lab2\nann # lab2\n", name=None) == [commands.Hello("ann", "#lab2")] * 2
    assert inputs(b"/QUIT good night\n", name=None) == [commands.Quit("good night")]


@for_each(
    ("typed", "about"),
    [
        (b"help", None),
        (b"HELP", None),
        (b"/help", None),
        (b"?", None),
        (b"/?", None),
        (b"/help join", "/join"),
        (b"/join #lab2", "/join"),
        (b"/j #lab2", "/join"),
        (b"/join", "/join"),
        (b"/who", "/who"),
        (b"/msg bob hi", "/msg"),
        (b"stats", "/stats"),
        (b"/quit?", "/quit"),
        (b"quit?", "/quit"),
        (b"help?", "/help"),
    ],
)
def test_a_command_that_needs_a_name_is_explained_when_typed_in_place_of_one(typed, about):
    assert inputs(typed + b"\r\n", name=None) == [commands.Help(about)]


@for_each("row", ROWS)
def test_every_command_in_place_of_a_name_is_a_name_a_quit_or_help(row):
    for name in (row.name, *row.aliases):
        for typed in (name, name.upper(), f"{name} #lab2", f"{name} ann", f"{name} ann hi"):
            (found,) = inputs(typed.encode() + b"\n", name=None)
            assert isinstance(found, (commands.Hello, commands.Quit, commands.Help)) or (
                isinstance(found, tuple)
                and (row.name in ("/nick", "/resume", "/help"))
                and found[0] in (Usage, UnknownCommand, Mistyped)
            ), typed
    for typed, kind in (("/frob", Mistyped), ("/jion #lab", UnknownCommand)):
        assert inputs(typed.encode() + b"\n", name=None)[0][0] is kind


@for_each("typed", ["helper", "quitter", "who", "join", "nick", "exit2", "Q", "stats2", "me", "list"])
def test_other_words_are_names(typed):
    assert inputs(typed.encode() + b"\n", name=None) == [commands.Hello(typed)]
    assert check_name(typed) == typed


def test_once_admitted_lines_are_commands():
    dialect = dialect_of(None)
    dialect.feed(b"ann\nhi\n")
    assert dialect.next_input() == Request(commands.Hello("ann"))
    dialect.admitted("ann")
    assert drain(dialect) == [commands.Say("hi")]


def test_cursor_keys_and_colours_around_a_command_are_no_part_of_it():
    quits, helps, told = inputs(b"\x1b[A/quit\r\n\x0c/help\r\n")
    assert (quits, helps) == (commands.Quit(), commands.Help())
    assert b"Arrow keys do not work" in told.data
    says, told = inputs(b"\x1b[A\x1b[B\r\n")
    assert says == commands.Say("")  # which gets an error
    assert inputs(b"helo\x1b[1;5D\r\n")[1] == told
    assert inputs(b"helo\x1bOD\r\nagain\x1b[3~\r\n").count(told) == 1, "once"
    assert inputs(b"\x1b[31mFAILED\x1b[0m test\r\n") == [commands.Say("FAILED test")]
    assert inputs(b"\x1b[200~pasted\x1b[201~\r\n") == [commands.Say("pasted")]
    assert inputs(b"/msg \x1b[31mbob hi\r\n") == [commands.Private("bob", "hi")]


@for_each("report", [b" !!", b"#\x80\xff", b"#\xa0\xc3", b"`\xff\xfe"])
def test_a_mouse_report_beyond_column_95_takes_nothing_from_its_line(report):
    report = b"\x1b[M" + report.replace(b"\xff", b"\xff\xff")  # as telnet sends it
    for at in range(len(report)):
        found = inputs(b"gr\xc3\xbc" + report[:at], report[at:] + b"\xc3\x9fe" + report + b"\r\n")
        assert [each for each in found if not isinstance(each, events.WireBytes)] == [commands.Say("grüße")]


@for_each("name", [None, "ann"])
@for_each("line", [b"caf\xe9", b"\xff\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"])
def test_a_line_that_is_not_utf_8_gets_an_error_and_the_next_is_a_line(name, line):
    """If it ends as telnet's lines do, the client is asked for 8 bits, once: a telnet has perhaps said nothing yet.

    It may also have ended its echo, and then LF no longer returns to the first column: so what it is told has one row.
    """
    told, bob = (NotUtf8, NotUtf8().text), commands.Say("bob") if name else commands.Hello("bob")
    assert inputs(line + b"\nbob\n", name=name) == [told, bob]
    asked = events.WireBytes(b"\xff\xfd\x00\xff\xfd\x1f\xff\xfb\x01")  # and to put its echo right
    found = inputs(b"gr\xc3\xbc\xc3\x9fe\r\n" + (line + b"\r\n") * 2 + b"bob\r\n", name=name)
    assert found[1:] == [asked, (SpoiltLine, SpoiltLine().text), RETURN, told, bob]
    assert len(f"! {SpoiltLine().text}") < 80
    agrees = b"\xff\xfb\x00\xff\xfb\x1f"  # a telnet, so the second line is not UTF-8 for another reason
    found = [each for each in inputs(line + b"\r\n", agrees, line + b"\r\n", name=name) if isinstance(each, tuple)]
    assert found == [(SpoiltLine, SpoiltLine().text), told]
    assert issubclass(NotUtf8, Told)


@for_each(
    ("line", "found"),
    [
        (b"\xd0/quit", commands.Quit()),
        (b"\xe5\x85/WHO #lab2", commands.Who("#lab2")),
        (b"\xf0\x9f\x98/msg bob \xd0\x9d", commands.Private("bob", "\u041d")),
        (b"\xd0/msg bob \xd0", NotUtf8),
        (b"\xd0/\xd0\x94", NotUtf8),
        (b"\xd0/who's there", NotUtf8),
        (b"a\xd0/quit", NotUtf8),
        (b"\xd0quit", NotUtf8),
    ],
)
def test_half_a_letter_of_a_lost_line_does_not_keep_a_command_from_being_one(line, found):
    (told,) = inputs(line + b"\n")
    assert (told[0] if isinstance(told, tuple) else told) == found


@for_each("name", [None, "ann"])
def test_a_line_that_is_too_long_gets_an_error_and_the_next_is_a_line(name):
    told, after = inputs(b"x" * (LINE + 1) + b"\r\nbob\r\n", name=name)
    assert told[0] is LineTooLong
    assert "8192 bytes" in told[1]
    assert after == (commands.Say("bob") if name else commands.Hello("bob"))
    assert issubclass(LineTooLong, Told)


def test_a_line_of_8192_bytes_is_a_line():
    assert LINE == 8192
    assert inputs(b"x" * LINE + b"\r\n") == [commands.Say("x" * LINE)]


def test_a_line_of_ten_megabytes_gets_one_error_and_is_never_kept():
    dialect, chunk = dialect_of("ann"), b"x" * 4096
    tracemalloc.start()
    try:
        for _ in range(2560):
            dialect.feed(chunk)
            assert dialect.next_input() is None
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 128 * 1024
    dialect.feed(b"\r\nhi\r\n")
    told, after = drain(dialect)
    assert told[0] is LineTooLong
    assert after == commands.Say("hi")


def test_line_separators_of_unicode_end_no_line():
    """A text that str.splitlines would split is one line here, and is cleaned as one."""
    text = "one\u2028two\u2029three\u0085four\x0b\x0c\x1c\x1d\x1efive"
    cleaned = "one two three four  five"
    assert inputs(text.encode() + b"\r\n") == [commands.Say(cleaned)]
    assert inputs(f"/msg bob {text}\r\n".encode()) == [commands.Private("bob", cleaned)]
    assert inputs("\u2028/frob\r\n".encode()) == [commands.Say(" /frob")]


@for_each(
    ("typed", "command"),
    [(b"\xff\xf6", commands.AreYouThere()), (b"\xff\xf4", commands.Quit()), (b"\xff\xec", commands.Quit())],
)
@for_each("name", [None, "ann"])
def test_are_you_there_ctrl_c_and_end_of_file_are_commands_at_any_time(typed, command, name):
    assert inputs(b"half a li" + typed, name=name) == [ASK, command]


def test_answers_of_the_telnet_layer_come_in_order_with_the_lines():
    typed = b"one\r\n\xff\xfd\x01two\r\n\xff\xfb\x18"
    assert inputs(typed) == [
        commands.Say("one"),
        ASK,
        events.WireBytes(b"\xff\xfc\x01"),
        commands.Say("two"),
        events.WireBytes(b"\xff\xfe\x18"),
    ]


DIALOGUE = (
    b"\xff\xfd\x03\xff\xfb\x18ann #lab2\r\nhi \xff\xf1all\r\x00/jion #a\r\n\xff\xfa\x18\x00xterm\xff\xf0//x\n"
    b"/msg bob caf\xc3\xa9\x7f\xc3\xa8\r/history before x\r\n\xff\xf6\xff\xff\r\n\r\n"
    + b"x" * 9000 + b"\n/quit\xff\xf8" + "/me waves 🙂\r\n".encode() + b"\xff\xfd\x06\xff\xfd\x06\xff\xf4"
)  # fmt: skip


def test_a_split_of_a_conversation_at_any_byte_changes_nothing():
    whole = inputs(DIALOGUE)
    assert [type(item) for item in whole if not isinstance(item, tuple)] == [
        events.WireBytes, events.WireBytes, events.WireBytes, commands.Say, commands.Say, commands.Say,
        commands.Private, commands.AreYouThere, commands.Act, events.WireBytes, events.WireBytes, commands.Quit,
    ]  # fmt: skip
    assert [item[0] for item in whole if isinstance(item, tuple)] == [UnknownCommand, Usage, NotUtf8, LineTooLong]
    long = range(DIALOGUE.index(b"xxx") + 50, DIALOGUE.index(b"\n/quit") - 50)
    for at in [*range(long.start), *long[::500], *range(long.stop, len(DIALOGUE) + 1)]:
        assert inputs(DIALOGUE[:at], DIALOGUE[at:]) == whole, at


@for_each("seed", range(10))
def test_random_bytes_are_inputs_that_are_the_same_at_random_splits(seed):
    rng = random.Random(seed)
    pieces = [
        b"\r\n",
        b"/j ",
        b"#a",
        b"hi",
        b"\xc3\xa9",
        b"\xff\xf6",
        b"\xff\xfd\x06",
        b"\x7f",
        b"\xff\xfa",
        b"\xff\xf0",
    ]
    for _ in range(20):
        data = b"".join(rng.choice([*pieces, rng.randbytes(2)]) for _ in range(rng.randrange(60)))
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(6))
        chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert inputs(*chunks) == inputs(data), chunks


@for_each(
    ("typed", "pending"),
    [
        (b"", False),
        (b"h", True),
        (b"hi\r\n", False),
        (b"hi\r\nh", True),
        (b"h\x7f", False),
        (b"\xff", True),
        (b"\xff\xfa\x18", True),
    ],
)
def test_a_line_or_a_telnet_command_that_has_begun_is_pending(typed, pending):
    dialect = dialect_of("ann")
    dialect.feed(typed)
    assert dialect.pending is pending


@for_each("end", [b"\r\n", b"\n", b"\r\x00", b"\r"])
def test_each_line_that_ends_is_counted_so_that_a_flood_of_blank_ones_is_paid_for(end):
    assert dialect_of("ann").feed(b"x" + 3 * end + b"y") == 3


# --- what is seen -------------------------------------------------------------------------------------

AT = int(time.mktime((2024, 1, 2, 14, 3, 5, 0, 0, -1))) * 1000  # in the zone of this machine


BOB, CY = 7, 8  # the numbers of their tokens


def said(text="hi", sender="ann", room="#lobby", number=7, at=AT, kind="say", who=0, lines=1):
    return events.Message(1, room, number, at, sender, kind, text, who, lines)


def shown(*events, settings=(), name="ann", here=True, ignoring=()):
    """The text that a person sees for events in the current room or, if not ``here``, in another room."""
    dialect = dialect_of(name, *settings)
    dialect.ignoring(frozenset(ignoring))
    return dialect.views.of(here).encode(events).decode()


def lines_of(*events, **how):
    text = shown(*events, **how)
    assert not text or text.endswith("\r\n")
    return text.split("\r\n")[:-1]


ROOMS = events.RoomList(
    (
        events.RoomRow("#lobby", 120, 4000, "all and nothing"),
        events.RoomRow("#a", 1, 12345, ""),
        events.RoomRow("#übung_2", 7, 0, "x" * 50),
    ),
    0,
)
PEOPLE = events.PeopleList(
    "#lobby",
    (
        events.PersonRow("ann", ("#lobby", "#lab2"), 0.4, None),
        events.PersonRow("Bartholomew", ("#" + "x" * 32, "#lobby"), 59.9, "at lunch, and back at two o'clock"),
        events.PersonRow("cy", ("#lobby",), 60, ""),
        events.PersonRow("dee", (), 7199, None),
        events.PersonRow("eve", ("#lobby",), 86400 * 12.5, None),
    ),
    3,
)
STATS = events.StatsShown("1.0.0", 3 * 3600 + 5, 12, 3, 4000, 17, 12.34)
THREADS = events.ThreadList(
    (
        events.ThreadRow("history", "history", None, "commits", 0.012, "storage.py:9 go", 3, 40, None, None),
        events.ThreadRow("reader-1", "reader", "ann", "waits for input", 125, "wire.py:70 read", 0, 7, 120, 4500),
        events.ThreadRow(
            "reader-2", "reader", "bob", "obeys Say", 1.5, "a.py:7 say", 0, 7, 1, 9, "Publisher", "lab-publisher", 1.84
        ),
    ),
    1,
)
LOCKS = events.LockList(
    True,
    (
        events.LockRow("History", 120, 0, 0.0, 0.0003, None, None),
        events.LockRow("Writers", 4000, 12, 0.0105, 2.0, "history", 0.2, ("reader-7", "writer-1")),
    ),
)
WIDE_THREADS = events.ThreadList(
    (
        events.ThreadRow(
            "writer-of-123456",
            "writer",
            "x" * 20,
            "holds the Publisher for 10 s",
            9.9,
            "y" * 99,
            10**5,
            10**5,
            10**9,
            10**12,
            "SessionStore",
            "writer-of-123456",
            59.9,
        ),
    ),
    1,
)
WIDE_LOCKS = events.LockList(
    True, (events.LockRow("SessionStore", 10**6, 10**6, 99.9, 59.9, "lab-publisher", 2.171, ("writer-of-123456",) * 2),)
)
WIDE_ROOMS = events.RoomList((events.RoomRow("#" + "x" * 32, 10**4, 10**9, "t" * 200),), 0)
WIDE_PEOPLE = events.PeopleList(None, (events.PersonRow("x" * 20, ("#" + "y" * 32,) * 20, 10**7, "z" * 200),), 0)
NARROW = (
    events.HelpShown(None),
    events.HelpShown("all"),
    events.HelpShown("/history"),
    events.HelpShown(None, named=False),
    events.TokenShown("x" * 22),
    events.Notice("some words " * 20),
    events.Problem("x", "some words " * 20),
    events.Welcome("ann", ("a line of the motd " * 9,)),
    events.Entered("#" + "x-" * 16, "a topic " * 25, ("x" * 20,) * 10, 12, 1),
    events.Invited("x" * 20, "#" + "x-" * 16),
)
DAY = "2024-01-02"  # shown with what was said on another day

SEEN = (
    (said(), ["[14:03] ann: hi"]),
    (said("waves", kind="action"), ["[14:03] ~ ann waves"]),
    (said("if x:\n\n    go()"), ["[14:03] ann: if x:", "  | ", "  |     go()"]),
    (events.Greeting("1.0.0"), ["* Welcome to chat_threads 1.0.0. What is your name?"]),
    (events.Welcome("ann"), ["* Hello, ann. What is said in a room is kept: /history shows it."]),
    (
        events.Welcome("ann", ("Be nice.", "", "Lab 2 is due.")),
        ["* Hello, ann. What is said in a room is kept: /history shows it.", "* Be nice.", "*", "* Lab 2 is due."],
    ),
    (
        events.Entered("#lobby", "", ("bob", "cy"), 2, 431, first_time=True),
        ["* You are in #lobby with 2 others: bob, cy. /help lists the commands."],
    ),
    (events.Entered("#lobby", "", ("bob",), 1, 0), ["* You are in #lobby with 1 other: bob."]),
    (
        events.Entered("#lab2", "deadlocks", (), 0, 0),
        ["* You are in #lab2, and nobody else is.", "* The topic of #lab2 is: deadlocks"],
    ),
    (
        events.Entered("#lobby", "", tuple("abcdefghij"), 137, 0),
        ["* You are in #lobby with 137 others: a, b, c, d, e, f, g, h, i, j and 127 more."],
    ),
    (
        events.Replay("#lobby", (said("one", "bob", number=430), said("two", "cy", number=431)), 431),
        [
            "* The last 2 of 431 messages; /history #lobby before 430 shows older ones.",
            f"[{DAY} 14:03] bob: one",
            f"[{DAY} 14:03] cy: two",
        ],
    ),
    (
        events.Replay("#lobby", (said(number=2), said(number=3)), 3),
        [
            "* The last 2 of 3 messages; /history #lobby before 2 shows older ones.",
            *[f"[{DAY} 14:03] ann: hi"] * 2,
        ],
    ),
    (
        events.Replay("#lobby", (said(number=9),), 9),
        ["* The last message of 9; /history #lobby before 9 shows older ones.", f"[{DAY} 14:03] ann: hi"],
    ),
    (
        events.Replay("#lobby", (said("one", number=1), said("waves", number=2, kind="action")), 2),
        [
            "* What was said so far, 2 messages:",
            f"[{DAY} 14:03] ann: one",
            f"[{DAY} 14:03] ~ ann waves",
        ],
    ),
    (
        events.TokenShown("t0ken"),
        [
            "* Your token is t0ken and nobody else should know it.",
            "* To come back to where you were, connect and type this in place of a name:",
            "* /resume t0ken",
        ],
    ),
    (events.Departed("#lab2", "#lobby"), ["* You left #lab2. What you type goes to #lobby now."]),
    (
        events.Departed("#lobby", None),
        ["* You left #lobby and are not in a room now. /rooms lists the rooms, and /join", "*   enters one."],
    ),
    (events.Current("#lab2"), ["* You are in #lab2. What you type goes there now."]),
    (events.Presence("#lobby", "joined", ("ann",)), ["* ann joined"]),
    (events.Presence("#lobby", "joined", ("ann", "bob")), ["* ann and bob joined"]),
    (events.Presence("#lobby", "left", ("ann", "bob", "cy")), ["* ann, bob and cy left"]),
    (events.Presence("#lobby", "joined", ("ann", "bob", "cy", "dee")), ["* ann, bob and 2 others joined"]),
    (
        events.Presence("#lobby", "joined", ("ann", "bob", *(f"x{number}" for number in range(35)))),
        ["* ann, bob and 35 others joined"],
    ),
    (events.Presence("#lobby", "left", ("ann",), "see you"), ["* ann left (see you)"]),
    (events.Renamed("ann", "Anna"), ["* ann is Anna now"]),
    (events.TopicChanged("#lab2", "ann", "deadlocks"), ["* ann set the topic of #lab2: deadlocks"]),
    (events.TopicChanged("#lab2", "ann", ""), ["* ann removed the topic of #lab2"]),
    (events.TopicShown("#lab2", "deadlocks"), ["* The topic of #lab2 is: deadlocks"]),
    (events.TopicShown("#lab2", ""), ["* #lab2 has no topic."]),
    (events.Redacted("#lab2", 17, "ann"), ["* ann removed message 17 of #lab2"]),
    (
        events.RoomDeleted("#lab2", "ann", "#lobby"),
        ["* ann deleted #lab2 and its history. What you type goes to #lobby now."],
    ),
    (
        events.RoomDeleted("#lab2", "ann", None),
        ["* ann deleted #lab2 and its history. You are not in a room now."],
    ),
    (events.Moderated("#lab2", "ann", "op", "bob"), ["* ann made bob an operator of #lab2"]),
    (events.Moderated("#lab2", "ann", "deop", "bob"), ["* ann took the role of operator of #lab2 from bob"]),
    (events.Moderated("#lab2", "ann", "kick", "bob", "rude"), ["* ann sent bob out of #lab2 for a minute: rude"]),
    (
        events.Moderated("#lab2", "ann", "ban", "bob", "rude", 7200),
        ["* ann banned bob from #lab2 for 2 hours: rude"],
    ),
    (events.Moderated("#lab2", "ann", "unban", "bob"), ["* ann lifted bob's ban from #lab2"]),
    (events.Moderated("#lab2", "ann", "mute", "bob", "", 90), ["* ann muted bob in #lab2 for 90 seconds"]),
    (events.Moderated("#lab2", "ann", "unmute", "bob"), ["* ann lets bob speak in #lab2 again"]),
    (events.RoomSet("#lab2", "ann", "quiet"), ["* ann made #lab2 quiet: only its operators may speak"]),
    (
        events.RoomSet("#lab2", "ann", "slow 60"),
        ["* ann made #lab2 slow: only its operators may speak more often than once in 1", "*   minute"],
    ),
    (
        events.RoomSet("#lab2", "ann", "slow 60", "quiet"),
        [
            "* ann made #lab2 slow: only its operators may speak more often than once in 1",
            "*   minute; it is still quiet",
        ],
    ),
    (
        events.RoomSet("#lab2", "ann", "everybody", "invite-only"),
        ["* ann opened #lab2 to everybody: nobody needs an account there; it is still", "*   invite-only"],
    ),
    (
        events.RoomSet("#lab2", "ann", "slow off", "quiet"),
        [
            "* ann ended the slow mode of #lab2: nobody has to wait between two messages",
            "*   there; it is still quiet",
        ],
    ),
    (
        events.RoomSet("#lab2", "ann", "open", "slow 60"),
        ["* ann opened #lab2 for talk: its members may speak again, once in 1 minute"],
    ),
    (
        events.RoomSet("#lab2", "ann", "accounts-only", "quiet"),
        [
            "* ann closed #lab2 to guests: only its operators and people who are logged in",
            "*   may enter and speak; it is still quiet",
        ],
    ),
    (
        events.RoomSet("#lab2", "ann", "keep 30"),
        ["* ann made #lab2 keep its messages for 30 days"],
    ),
    (events.RoomSet("#lab2", "ann", "pink"), ["* ann set #lab2 to pink"]),
    (
        events.RoomShown("#lab2", ("public", "slow 10"), "ann", ("bob", "cy")),
        [
            "* Everybody may enter #lab2. Everybody but its operators may speak once in 10",
            "*   seconds.",
            "* It was made by ann; its operators: bob, cy. /help room says more.",
        ],
    ),
    (
        events.RoomShown("#b", ("invite-only",), "ann", (), tuple(f"a{number}" for number in range(23))),
        [
            "* Only its operators and people who are invited may enter #b. Everybody in it",
            "*   may speak.",
            "* Invited: a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15,",
            "*   a16, a17, a18, a19, a20, a21, a22.",
            "* It was made by ann; its operators: nobody else. /help room says more.",
        ],
    ),
    (
        events.Moderated("#lab2", "ann", "ban", "bob", "rude", 7200, True),
        ["* ann banned bob from #lab2 for 2 hours, with all who come from the same", "*   address: rude"],
    ),
    (
        events.SanctionList("#lab2", (events.SanctionRow("bob", "ban", "ann", "", None, True),)),
        [
            "* name    what             time left    by    why",
            "* ------  ---------------  -----------  ----  -----",
            "* bob     banned, address  for good     ann",
        ],
    ),
    (events.AuditList(None, ()), ["* Nothing was reported, and operators have done nothing."]),
    (
        events.AuditList("#lab2", (events.AuditRow(AT, "#lab2", "ann", "ban", "bob", "rude"),)),
        [
            "* when              room    by    what    about    why",
            "* ----------------  ------  ----  ------  -------  -----",
            f"* {DAY} 14:03  #lab2   ann   ban     bob      rude",
        ],
    ),
    (
        events.RoomShown("#b", ("invite-only", "quiet", "slow 5", "accounts-only", "unlisted", "keep 30"), "ann", ()),
        [
            "* Only its operators and people who are invited and logged in may enter #b. Only",
            "*   its operators may speak. When it is open again, everybody else may speak",
            "*   once in 5 seconds. It is not on the list of rooms. Its messages are deleted",
            "*   after 30 days.",
            "* It was made by ann; its operators: nobody else. /help room says more.",
        ],
    ),
    (events.Moderated("#lab2", "cy", "deop", "cy"), ["* cy gave up the role of operator of #lab2"]),
    (events.Moderated("#lab2", "ann", "mute", "bob", "rude"), ["* ann muted bob in #lab2 for good: rude"]),
    (events.SanctionList("#lab2", ()), ["* Nobody is banned from #lab2 or muted in it."]),
    (
        events.SanctionList("#lab2", (events.SanctionRow("bob", "ban", "ann", "rude", 7200),)),
        [
            "* name    what    time left    by    why",
            "* ------  ------  -----------  ----  -----",
            "* bob     banned  2 hours      ann   rude",
        ],
    ),
    (
        events.RoomShown("#lobby", ("public",), "", ()),
        [
            "* Everybody may enter #lobby. Everybody in it may speak.",
            "* It belongs to nobody, so only the server's operators may change that. /help",
            "*   room says more.",
        ],
    ),
    (
        events.RoomShown("#lobby", ("public",), "", ("bob",)),
        [
            "* Everybody may enter #lobby. Everybody in it may speak.",
            "* It belongs to nobody; its operators: bob. /help room says more.",
        ],
    ),
    (events.PrivateLine(AT, "ann", "bob", "psst"), ["[14:03] ann -> you: psst"]),
    (events.PrivateLine(AT, "ann", "bob", "psst", sent=True), ["[14:03] you -> bob: psst"]),
    (events.Invited("bob", "#lab2"), ["* bob invites you to #lab2: /join #lab2"]),
    (
        events.HistoryPage("#lab2", (said("one", number=99), said("two", "bob", number=100)), 431, 99, 100),
        [
            "* #lab2, messages 99 to 100 of 431:",
            f" 99 [{DAY} 14:03] ann: one",
            f"100 [{DAY} 14:03] bob: two",
            "* Older: /history #lab2 before 99   Newer: /history #lab2 after 100",
        ],
    ),
    (
        events.HistoryPage("#lab2", (said(number=5),), 5, 5, None),
        ["* #lab2, message 5 of 5:", f"5 [{DAY} 14:03] ann: hi", "* Older: /history #lab2 before 5"],
    ),
    (
        events.HistoryPage("#lab2", (said(number=1),), 5, None, 1),
        ["* #lab2, message 1 of 5:", f"1 [{DAY} 14:03] ann: hi", "* Newer: /history #lab2 after 1"],
    ),
    (
        events.HistoryPage("#lab2", (said(number=1),), 1, None, None),
        ["* #lab2, message 1 of 1:", f"1 [{DAY} 14:03] ann: hi"],
    ),
    (events.HistoryPage("#lab2", (), 0, None, None), ["* Nothing was said in #lab2 yet."]),
    (events.HistoryPage("#lab2", (), 5, None, None), ["* That part of the history has no messages."]),
    (
        events.SearchPage("hi", (said(room="#lab2", number=12), said(kind="action", number=9)), False),
        [
            "* 2 messages found for: hi",
            f"#lab2 12 [{DAY} 14:03] ann: hi",
            f"#lobby 9 [{DAY} 14:03] ~ ann hi",
        ],
    ),
    (events.SearchPage("hi", (said(),), False), ["* 1 message found for: hi", f"#lobby 7 [{DAY} 14:03] ann: hi"]),
    (
        events.SearchPage("hi", (said(),), True),
        ["* More than 1 match; the newest 1 for: hi", f"#lobby 7 [{DAY} 14:03] ann: hi"],
    ),
    (events.SearchPage("hi", (), False), ["* Nothing was found for: hi"]),
    (
        events.SearchPage("it hangs from hans", (), False),
        ["* Nothing was found for: it hangs from hans", "* For what a person said, type /search it hangs from:hans"],
    ),
    (
        events.SearchPage("#lab2 hangs", (), False),
        ["* Nothing was found for: #lab2 hangs", "* To search in #lab2, type /search hangs in:#lab2"],
    ),
    (
        events.SearchPage("a hang in #lab2 now", (), False),
        ["* Nothing was found for: a hang in #lab2 now", "* To search in #lab2, type /search a hang now in:#lab2"],
    ),
    (
        events.SearchPage("a#lab2b #lab2", (), False),
        ["* Nothing was found for: a#lab2b #lab2", "* To search in #lab2, type /search a#lab2b in:#lab2"],
    ),
    (
        events.SearchPage("hangs in: #lab2", (), False),
        ["* Nothing was found for: hangs in: #lab2", "* To search in #lab2, type /search hangs in:#lab2"],
    ),
    (
        events.SearchPage('"it hangs"', (), False, "", "in:#lab2"),
        [
            '* Nothing was found for: "it hangs" in:#lab2',
            "* Quotes are searched for as they are. Without them: /search it hangs in:#lab2",
        ],
    ),
    (
        ROOMS,
        [
            "* room        people    messages  topic",
            "* --------  --------  ----------  ----------------------------------------------",
            "* #lobby         120        4000  all and nothing",
            "* #a               1       12345",
            "* #übung_2         7           0  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…",
        ],
    ),
    (
        events.RoomList((events.RoomRow("#lobby", 1, 0, ""),), 1),
        [
            "* room      people    messages  topic",
            "* ------  --------  ----------  -------",
            "* #lobby         1           0",
            "* and 1 more room.",
        ],
    ),
    (
        PEOPLE,
        [
            "* name         rooms                             idle  away",
            "* -----------  ------------------------------  ------  --------------------",
            "* ann          #lobby #lab2                        0s",
            "* Bartholomew  #xxxxxxxxxxxxxxxxxxxxxxxxxxxx…     59s  at lunch, and back …",
            "* cy           #lobby                              1m  away",
            "* dee                                              1h",
            "* eve          #lobby                             12d",
            "* and 3 more.",
        ],
    ),
    (events.PeopleList("#lab2", (), 0), ["* Nobody is in #lab2."]),
    (
        events.PersonShown(events.PersonRow("bob", ("#lobby", "#lab2"), 61, None), 7200),
        ["* bob is in #lobby, #lab2.", "* Connected for 2h, last typed 1m ago."],
    ),
    (
        events.PersonShown(events.PersonRow("boss", ("#lobby",), 3, None, True), 50, operator=True),
        [
            "* boss is in #lobby.",
            "* Connected for 50s, last typed 3s ago.",
            "* Logged in: the name belongs to an account.",
            "* An operator of the server.",
        ],
    ),
    (
        events.PersonShown(events.PersonRow("bob", (), 3, "at lunch"), 50),
        ["* bob is in no room that you can see.", "* Connected for 50s, last typed 3s ago.", "* Away: at lunch"],
    ),
    (
        events.PersonShown(events.PersonRow("bob", (), 3, ""), 50),
        ["* bob is in no room that you can see.", "* Connected for 50s, last typed 3s ago.", "* Away."],
    ),
    (
        THREADS,
        [
            "* thread    session    doing               for    queue/most",
            "* --------  ---------  ---------------  ------  ------------",
            "* history              commits          0.012s          3/40",
            "*   at storage.py:9 go",
            "* reader-1  ann        waits for input      2m           0/7",
            "*   at wire.py:70 read  sent 120 lines, 4500 bytes",
            "* reader-2  bob        obeys Say        1.500s           0/7",
            "*   at a.py:7 say  sent 1 line, 9 bytes",
            "*   waits for Publisher, held by lab-publisher for 1.8 s",
            "* and 1 more reader.",
        ],
    ),
    (
        LOCKS,
        [
            "* lock       taken    contended    waited    longest  held now by",
            "* -------  -------  -----------  --------  ---------  ---------------",
            "* History      120            0     0.0ms      0.3ms",
            "* Writers     4000           12    10.5ms   2000.0ms  history, 0.200s",
            "* reader-7 waits for Writers, held by history for 0.2 s",
            "* writer-1 waits for Writers, held by history for 0.2 s",
        ],
    ),
    (
        events.TripShown(
            "#lobby",
            12,
            "ann",
            events.Stages(0.1, 0.15, 0.7, None),
            (events.MemberTrip("ann", 0.8, 0.91234), events.MemberTrip("bob", 0.81, None)),
            3,
        ),
        [
            "* The trip of message 12 of #lobby, by ann, in ms since it was received:",
            "* queued 0.100, taken 0.150, committed 0.700, published not yet",
            "* member      queued    written",
            "* --------  --------  ---------",
            "* ann          0.800      0.912",
            "* bob          0.810",
            "* and 3 more.",
        ],
    ),
    (
        events.LockList(False, ()),
        ["* The use of locks is counted only with --lab or --trace."],
    ),
    (
        events.QrShown("http://h:1/#lab", ("010", "011", "001")),
        ["* http://h:1/#lab", "* \x1b[30;47m █▄\x1b[0m", "* \x1b[30;47m  ▀\x1b[0m"],
    ),
    (
        events.QrShown("http://h:1/#lab", ("0" * 77,) * 77),
        ["* http://h:1/#lab", "* The QR code needs a window of 81 columns."],
    ),
    (
        STATS,
        [
            "* what               value",
            "* ---------------  -------",
            "* version            1.0.0",
            "* uptime                3h",
            "* sessions              12",
            "* rooms                  3",
            "* messages stored     4000",
            "* messages/s          12.3",
            "* threads               17",
        ],
    ),
    (events.Pong(0.00123, None), ["* Pong: 1.23 ms through the server's queue."]),
    (
        events.Pong(0.00123, 0.0405),
        ["* Pong: 1.23 ms through the server's queue, 40.50 ms over the network."],
    ),
    (events.HelpShown("/ping"), ["* /ping: time the round trip."]),
    (events.Notice("You are away.", next="back"), ["* You are away. /back ends it."]),
    (events.Problem("usage", "Usage: /join #room"), ["! Usage: /join #room"]),
    (events.Bye(), ["* Goodbye."]),
    (events.Bye("too_slow"), []),
    (events.Ack("#lobby", 12), []),
    (events.Restored(("numbers on",)), []),
    (events.Answer(events.Notice("yes"), "1"), ["* yes"]),
)
EVENTS = [event for event, _ in SEEN] + [
    events.HelpShown(None),
    events.HelpShown("all"),
    events.HelpShown("/set"),
    events.HelpShown("/J"),
]
EVENT_TYPES = {
    each for each in vars(events).values() if isinstance(each, type) and issubclass(each, events.Event)
} - {events.Event, events.MetricsShown, events.HealthShown}  # fmt: skip


@for_each(("event", "expected"), SEEN)
def test_an_event_is_shown_as_people_know_it(event, expected):
    assert lines_of(event) == expected


def test_every_event_has_a_row_in_the_table_of_what_is_seen():
    """All events except the wire's own bytes, which are sent unchanged."""
    assert set(SHOW) == EVENT_TYPES - {events.WireBytes}


def test_every_event_is_shown_above():
    assert {type(event) for event in EVENTS} == set(SHOW)


def test_bytes_of_the_wire_go_out_as_they_are_and_in_order():
    assert TextDialect().views.here.encode([events.Bye(), events.WireBytes(b"\xff\xfc\x01"), events.Bye()]) == (
        b"* Goodbye.\r\n\xff\xfc\x01* Goodbye.\r\n"
    )


def test_events_are_shown_one_after_the_other():
    assert lines_of(said("one"), said("two"), events.Notice("three")) == [
        "[14:03] ann: one",
        "[14:03] ann: two",
        "* three",
    ]
    assert shown() == ""


def test_half_of_a_surrogate_pair_is_shown_as_a_question_mark():
    assert shown(events.Notice("a\ud800b")) == "* a?b\r\n"


SETTINGS = [
    (), ("timestamps off",), ("timestamps seconds",), ("numbers on",), ("colour on",), ("bell on",), ("joins off",),
    ("colour on", "bell on", "numbers on", "timestamps seconds"),
]  # fmt: skip


@for_each("settings", SETTINGS)
def test_every_line_ends_with_cr_lf_and_has_no_other_end_or_control_in_it(settings):
    for event in EVENTS:
        for here in (True, False):
            for line in lines_of(event, settings=settings, here=here):
                assert not re.search("[\x00-\x06\x08-\x1a\x1c-\x1f\x7f-\x9f\u2028\u2029]", line), line
                assert "colour on" in settings or isinstance(event, events.QrShown) or "\x1b" not in line
                assert "bell on" in settings or "\a" not in line


# --- the current room and others ----------------------------------------------------------------------


def test_a_line_of_another_room_names_it():
    assert lines_of(said(room="#lab2"), here=False) == ["[14:03] #lab2 ann: hi"]
    assert lines_of(said("waves", room="#lab2", kind="action"), here=False) == ["[14:03] #lab2 ~ ann waves"]
    assert lines_of(said(room="#lab2"), here=False, settings=["timestamps off"]) == ["#lab2 ann: hi"]


def test_a_person_who_joins_or_leaves_another_room_is_shown_with_the_room():
    assert lines_of(events.Presence("#lab2", "joined", ("ann", "bob")), here=False) == ["* ann and bob joined #lab2"]
    assert lines_of(events.Presence("#lab2", "left", ("ann",), "bye"), here=False) == ["* ann left #lab2 (bye)"]


def test_an_event_of_no_room_looks_the_same_in_every_room():
    for event in EVENTS:
        if not isinstance(event, events.Message | events.Presence):
            assert shown(event, here=False) == shown(event, here=True)


# --- the settings -------------------------------------------------------------------------------------


def test_time_can_be_shown_in_seconds_or_not_at_all():
    assert lines_of(said(), settings=["timestamps seconds"]) == ["[14:03:05] ann: hi"]
    assert lines_of(said(), settings=["timestamps off"]) == ["ann: hi"]
    assert lines_of(said(), settings=["timestamps off", "timestamps on"]) == ["[14:03] ann: hi"]
    private = events.PrivateLine(AT, "ann", "bob", "psst")
    assert lines_of(private, settings=["timestamps seconds"]) == ["[14:03:05] ann -> you: psst"]
    assert lines_of(private, settings=["timestamps off"]) == ["ann -> you: psst"]


def test_times_are_in_the_persons_own_zone():
    at = 1_709_424_185_000  # 2024-03-03, 00:03:05 UTC
    page = events.HistoryPage("#lobby", (said(at=at),), 7, None, None)
    for zone, day, time_ in (
        ("UTC", "03", "00:03"),
        ("Asia/Kolkata", "03", "05:33"),
        ("America/New_York", "02", "19:03"),
    ):
        assert lines_of(said(at=at), settings=[f"zone {zone}"]) == [f"[{time_}] ann: hi"]
        assert lines_of(page, settings=[f"zone {zone}"])[1] == f"7 [2024-03-{day} {time_}] ann: hi"
    both = [f"* {clock.today(zone, at // 60_000)}" for zone in ("Asia/Kolkata", "America/New_York")]
    assert both == [
        "* It is Sunday, 3 March 2024. Times are in IST (UTC+5:30).",
        "* It is Saturday, 2 March 2024. Times are in EST (UTC-5).",
    ]
    dialect = dialect_of("ann", "zone UTC")
    assert dialect.today(at / 1000) == "It is Sunday, 3 March 2024. Times are in UTC."
    dialect.set_option("timestamps", "off")
    assert dialect.today(at / 1000) == ""


def test_people_in_one_zone_share_their_view():
    dialects = [dialect_of(name, "zone Europe/Berlin") for name in ("ann", "bob")]
    assert dialects[0].views == dialects[1].views != dialect_of("cy", "zone Europe/Paris").views


def test_a_message_of_another_day_is_shown_with_the_day():
    page = events.HistoryPage("#lobby", (said(),), 7, None, None)
    assert lines_of(page)[1] == "7 [2024-01-02 14:03] ann: hi"
    assert lines_of(page, settings=["timestamps seconds"])[1] == "7 [2024-01-02 14:03:05] ann: hi"
    assert lines_of(page, settings=["timestamps off"])[1] == "7 ann: hi"


def test_a_message_of_today_is_shown_without_the_day():
    now = time.time()
    line = lines_of(events.HistoryPage("#lobby", (said(at=int(now * 1000)),), 7, None, None))[1]
    if time.localtime().tm_mday == time.localtime(now).tm_mday:  # not over midnight
        assert re.fullmatch(r"7 \[\d\d:\d\d\] ann: hi", line)


def test_numbers_are_shown_before_the_messages():
    assert lines_of(said(), settings=["numbers on"]) == ["7 [14:03] ann: hi"]
    assert lines_of(said("waves", kind="action"), settings=["numbers on", "timestamps off"]) == ["7 ~ ann waves"]
    assert lines_of(said(room="#lab2"), here=False, settings=["numbers on"]) == ["7 [14:03] #lab2 ann: hi"]
    assert lines_of(events.Replay("#lobby", (said(),), 7), settings=["numbers on", "timestamps off"])[1] == "7 ann: hi"


def test_colour_changes_nothing_but_the_colour():
    for event in EVENTS:
        coloured = shown(event, settings=["colour on"])
        plain = shown(event).replace("\x1b[30;47m", "").replace("\x1b[0m", "")  # a QR code has colours anyway
        assert re.sub("\x1b\\[[0-9;]+m", "", coloured) == plain


def test_colour_is_on_names_and_notices_and_ends_where_it_should():
    name = "\x1b\\[38;5;[0-9]+mann\x1b\\[0m"
    assert re.fullmatch(f"\\[14:03\\] {name}: hi", lines_of(said(), settings=["colour on"])[0])
    action = said("waves", kind="action")
    assert re.fullmatch(f"\\[14:03\\] ~ {name} waves", lines_of(action, settings=["colour on"])[0])
    private = events.PrivateLine(AT, "ann", "bob", "psst")
    assert re.fullmatch(f"\\[14:03\\] {name} -> you: psst", lines_of(private, settings=["colour on"])[0])
    assert lines_of(events.Bye(), settings=["colour on"]) == ["\x1b[2m* Goodbye.\x1b[0m"]
    assert lines_of(events.Problem("x", "No."), settings=["colour on"]) == ["\x1b[31m! No.\x1b[0m"]


def test_no_colour_runs_on_into_the_next_line():
    for event in EVENTS:
        for line in lines_of(event, settings=["colour on"]):
            codes = re.findall("\x1b\\[([0-9;]+)m", line)
            assert codes[1::2] == ["0"] * (len(codes) // 2)
            assert len(codes) % 2 == 0


def test_a_name_has_one_colour_whatever_its_case_and_not_all_have_the_same():
    def colour(name):
        return re.findall(r"\x1b\[38;5;(\d+)m", shown(said(sender=name), settings=["colour on"]))

    assert colour("ann") == colour("ANN") == colour("ann")
    assert len({tuple(colour(f"ann{number}")) for number in range(50)}) > 1


@for_each("colour", COLOURS)
def test_a_colour_of_names_is_as_readable_on_white_as_on_black(colour):
    """Colours 16 to 231 are a cube of six levels each; the contrast is that of WCAG 2.2."""
    levels = [(0, 95, 135, 175, 215, 255)[(colour - 16) // size % 6] / 255 for size in (36, 6, 1)]
    linear = [level / 12.92 if level <= 0.03928 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    luminance = sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    assert min(1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05) >= 4


@for_each("text", ["ann?", "hi ann", "hi Ann!", "ANN: look", "is ann's lab done", "(ann)", "bob,ann,cy", "ann"])
def test_the_bell_rings_when_ones_name_is_said(text):
    assert lines_of(said(text, "bob"), settings=["bell on"]) == [f"[14:03] bob: {text}\a"]
    assert lines_of(said(text, "bob", kind="action"), settings=["bell on"]) == [f"[14:03] ~ bob {text}\a"]
    assert lines_of(said(text, "bob", "#lab2"), settings=["bell on"], here=False) == [f"[14:03] #lab2 bob: {text}\a"]


@for_each("text", ["hi", "annual", "Hermann", "ann2", "ann_", "an n", "änn", "ann\u0304"])
def test_the_bell_does_not_ring_for_other_words(text):
    assert "\a" not in shown(said(text, "bob"), settings=["bell on"])


def test_the_bell_does_not_ring_when_one_says_ones_own_name():
    assert "\a" not in shown(said("I am ann", "ann"), settings=["bell on"])


def test_the_bell_rings_for_a_name_as_it_is_written():
    assert "\a" in shown(said("a.n+", "bob"), name="a.n", settings=["bell on"])
    assert "\a" not in shown(said("axn", "bob"), name="a.n", settings=["bell on"])


def test_the_bell_rings_on_a_private_line_that_is_received():
    assert lines_of(events.PrivateLine(AT, "bob", "ann", "psst"), settings=["bell on"]) == [
        "[14:03] bob -> you: psst\a"
    ]
    assert "\a" not in shown(events.PrivateLine(AT, "ann", "bob", "ann here", sent=True), settings=["bell on"])


def test_the_bell_does_not_ring_for_what_was_said_before():
    old = (said("hi ann", "bob"),)
    for event in (
        events.Replay("#lobby", old, 7),
        events.HistoryPage("#lobby", old, 7, None, None),
        events.SearchPage("ann", old, False),
    ):
        assert "\a" not in shown(event, settings=["bell on"])


def test_the_bell_is_silent_unless_set():
    assert "\a" not in shown(said("ann!", "bob"), events.PrivateLine(AT, "bob", "ann", "psst"))
    assert "\a" not in shown(said("ann!", "bob"), settings=["bell on", "bell off"])


def test_the_bell_rings_for_the_new_name_after_a_change():
    dialect = dialect_of("ann", "bell on")
    dialect.renamed("Zoë")
    view = dialect.views.here
    assert b"\a" in view.encode([said("zoë?", "bob")])
    assert b"\a" not in view.encode([said("ann?", "bob")])


def test_a_bell_that_is_off_stays_off_with_a_new_name():
    dialect = dialect_of("ann")
    dialect.renamed("Zoë")
    assert b"\a" not in dialect.views.here.encode([said("Zoë?", "bob")])


def test_without_joins_nobody_is_seen_to_join_leave_or_change_names():
    for event in EVENTS:
        for here in (True, False):
            expected = "" if isinstance(event, events.Presence | events.Renamed) else shown(event, here=here)
            assert shown(event, settings=["joins off"], here=here) == expected


def test_what_an_ignored_person_says_is_hidden_whatever_the_name():
    for name in ("Bob", "rob"):
        assert shown(said(sender=name, who=BOB), ignoring=[BOB]) == ""
        assert shown(said(sender=name, who=BOB), ignoring=[BOB], here=False) == ""
        assert lines_of(said(sender=name, who=CY), ignoring=[BOB]) == [f"[14:03] {name}: hi"]
    assert lines_of(events.Presence("#lobby", "left", ("bob",), "noise", BOB), ignoring=[BOB]) == ["* bob left"]
    assert lines_of(events.Presence("#lobby", "left", ("cy",), "sense", CY), ignoring=[BOB]) == ["* cy left (sense)"]


def test_what_an_ignored_person_said_is_hidden_on_entering_but_not_in_the_history():
    old = (said("one", "Bob", who=BOB), said("two", "cy", number=8, who=CY))
    head, *_, line = lines_of(events.Replay("#lobby", old, 8), ignoring=[BOB])
    assert (" of 8 messages (1 hidden);" in head, "Bob" in line) == (True, False)
    assert " messages (2 hidden); " in lines_of(events.Replay("#lobby", old, 8), ignoring=[BOB, CY])[0]
    assert "hidden" not in lines_of(events.Replay("#lobby", old, 8))[0]
    for page in (events.HistoryPage("#lobby", old, 8, None, None), events.SearchPage("o", old, False)):
        assert shown(page, ignoring=[BOB]) == shown(page)


def test_a_person_who_is_no_longer_ignored_is_seen_again():
    dialect = dialect_of("ann")
    dialect.ignoring(frozenset({BOB}))
    dialect.ignoring(frozenset())
    assert dialect.views.here.encode([said(sender="bob", who=BOB)]) == b"[14:03] bob: hi\r\n"


LOOKS = [
    [f"timestamps {stamps}", f"numbers {numbers}", f"colour {colour}", "bell on"]
    for stamps in ("on", "off", "seconds")
    for numbers in ("on", "off")
    for colour in ("on", "off")
]


@for_each("settings", LOOKS)
@for_each(
    "text",
    ["left", "joined", "is bob now", "* ann left", "! Goodbye.", "-> you: psst", "a\n* bob left\n! No.\nbob: x"],
)
def test_what_people_say_never_looks_like_a_line_of_the_servers_in_any_setting(settings, text):
    old = tuple(said(text, number=1, kind=kind) for kind in ("say", "action"))
    seen = shown(
        *old,
        events.PrivateLine(AT, "ann", "bob", text),
        events.PrivateLine(AT, "ann", "bob", text, True),
        settings=settings,
    )
    seen += shown(*old, settings=settings, here=False)
    for page in (
        events.Replay("#lobby", old, 2),
        events.HistoryPage("#lobby", old, 2, None, None),
        events.SearchPage("x", old, False),
    ):
        head, _, lines = shown(page, settings=settings).partition("\r\n")
        assert "* " in head
        seen += lines
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in seen.split("\r\n")[:-1]]
    further = [line for line in lines if line.startswith("  | ")]
    assert len(lines) - len(further) == 12
    assert len(further) == 12 * text.count("\n"), "each further line of a text is marked"
    assert [line for line in lines if line[0] in "*!" or line.startswith("bob:")] == []
    servers = [
        events.Presence("#lobby", "left", ("ann",)),
        events.Presence("#lobby", "joined", ("ann",)),
        events.Renamed("ann", "bob"),
    ]
    assert not {*lines} & {*lines_of(*servers, settings=settings)}


# --- /set ---------------------------------------------------------------------------------------------


@for_each(
    ("option", "value", "answer"),
    [
        ("timestamps", "off", "Set: timestamps off."), ("timestamps", "seconds", "Set: timestamps seconds."),
        ("numbers", "on", "Set: numbers on."), ("colour", "on", "Set: colour on."),
        ("color", "on", "Set: colour on."), ("bell", "on", "Set: bell on."), ("joins", "off", "Set: joins off."),
        ("replay", "0", "Set: replay 0."), ("replay", "200", "Set: replay 200."), ("BELL", "On", "Set: bell on."),
        ("zone", "Europe/Berlin", "Set: zone Europe/Berlin."), ("zone", "asia/kolkata", "Set: zone Asia/Kolkata."),
        ("zone", "utc", "Set: zone UTC."),
    ],
)  # fmt: skip
def test_an_option_is_set_and_shown(option, value, answer):
    dialect = dialect_of("ann")
    assert dialect.set_option(option, value) == answer
    assert answer.removeprefix("Set: ").removesuffix(".") in dialect.set_option(None, None)


def test_without_arguments_the_settings_are_shown_and_all_are_plain_at_first():
    expected = f"Set: timestamps on, numbers off, colour off, bell off, joins on, replay 20, zone {clock.here()}."
    assert dialect_of("ann").set_option(None, None) == expected


@for_each(
    ("typed", "zone"),
    [
        ("Berlin", "Europe/Berlin"), ("new york", "America/New_York"), ("Port of Spain", "America/Port_of_Spain"),
        ("Asia/Berlin", "Europe/Berlin"), ("kolk", "Asia/Kolkata"),
    ],
)  # fmt: skip
def test_a_place_without_its_region_leads_to_its_time_zone(typed, zone):
    with pytest.raises(Mistyped, match=f"^The name of a time zone begins with its region. Type /set zone {zone}.$"):
        dialect_of("ann").set_option("zone", typed) if " " not in typed else parse_line(f"/set zone {typed}")
    assert clock.known(zone) == zone


@for_each(
    ("moment", "name"),
    [
        ("CET-1CEST,M3.5.0,M10.5.0/3", "CES?T"), ("UTC0", "UTC"), ("<+0530>-5:30", r"UTC\+5:30"), ("<-03>3", "UTC-3"),
    ],
)  # fmt: skip
def test_the_servers_own_zone_has_a_name_or_its_difference_from_utc(moment, name, monkeypatch):
    monkeypatch.setenv("TZ", moment)
    time.tzset()
    try:
        assert re.fullmatch(name, clock.here())
    finally:
        monkeypatch.undo()
        time.tzset()


@for_each(
    ("option", "value"),
    [
        ("timestamps", "yes"), ("numbers", "seconds"), ("colour", "red"), ("bell", "1"), ("joins", None), ("joins", ""),
        ("replay", "201"), ("replay", "-1"), ("replay", "many"), ("replay", "٣"), ("replay", "9" * 20), ("size", "on"),
        ("zone", "Nowhere/Nothing"), ("zone", "../UTC"), ("zone", "/etc/passwd"), ("zone", "a" * 99), ("zone", ""),
        ("", "on"), ("ignored", "on"), ("timestamp", "off"), ("here", "off"), ("_style", "on"),
    ],
)  # fmt: skip
def test_an_unknown_option_or_value_gets_an_error_and_changes_nothing(option, value):
    dialect = dialect_of("ann")
    views, settings = dialect.views, dialect.set_option(None, None)
    with pytest.raises(Told) as caught:
        dialect.set_option(option, value)
    known = f"/set {option} " in commands.SetOption.row.more
    told = f"Usage: /set {option} " if known else f"There is no option {option}."
    assert caught.value.text.startswith((told, f"There is no time {option} {value}"[:50]))
    assert caught.value.text.endswith("Type /set timestamps off.") is (option == "timestamp")
    assert dialect.views == views
    assert dialect.set_option(None, None) == settings


@for_each(
    ("typed", "advice"),
    [("numbers=on", "Type /set numbers on."), ("Bell= off", "Type /set bell off."), ("colr on", "Type /set colour on."),
     ("color=off", "Type /set colour off."), ("replya=5", "Type /set replay 5."),
     ("all", "/help set lists the options."), ("on", "/help set lists the options.")],
)  # fmt: skip
def test_an_option_that_does_not_exist_gets_the_one_that_was_meant(typed, advice):
    def set_option():
        command = parse_line(f"/set {typed}")
        dialect_of("ann").set_option(command.name, command.value)

    with pytest.raises(Told) as caught:
        set_option()
    assert caught.value.text.endswith(f". {advice}")


def test_replay_is_how_many_messages_are_shown_on_entering():
    dialect = TextDialect()
    assert dialect.replay == 20
    dialect.set_option("replay", "5")
    assert dialect.replay == 5
    assert TextDialect(Settings(replay=7)).replay == 7


@for_each("typed", ["timestamps", "bell loud", "colour", "color red", "replay 201", "zone", "joins off now"])
def test_a_set_that_is_wrong_gets_the_line_of_its_option(typed):
    option = typed.split()[0].replace("color", "colour")

    def set_option():
        command = parse_line(f"/set {typed}")
        dialect_of("ann").set_option(command.name, command.value)

    with pytest.raises(Usage, match=rf"^Usage: /set {option} "):
        set_option()


@for_each("typed", ["/help set zone", "/help /set  bell on", "/? SET x"])
def test_help_is_about_the_first_word(typed):
    assert lines_of(events.HelpShown(parse_line(typed).about)) == lines_of(events.HelpShown("/set"))


def test_help_on_set_tells_every_option():
    text = " ".join(lines_of(events.HelpShown("/set")))
    for option in re.findall(r"(\w+) \w+[,.]", dialect_of("ann").set_option(None, None)):
        assert f"/set {option} " in text


def test_settings_are_one_clients_own():
    dialect_of("ann", "colour on", "timestamps off")
    assert shown(said(), name="bob") == "[14:03] ann: hi\r\n"


def test_people_with_the_same_settings_share_a_view_and_no_others_do():
    """So an event for a thousand sessions with equal views is encoded once."""
    ann, bob = dialect_of("ann", "numbers on", "colour on"), dialect_of("bob", "colour on", "numbers on")
    assert ann.views.here is bob.views.here
    assert ann.views.elsewhere is bob.views.elsewhere
    assert ann.views.here is not ann.views.elsewhere
    bob.set_option("bell", "on")
    assert ann.views.here is not bob.views.here
    bob.set_option("bell", "off")
    assert ann.views.here is bob.views.here


def test_a_view_that_was_handed_out_does_not_change():
    dialect = dialect_of("ann")
    before = dialect.views.here
    dialect.set_option("timestamps", "off")
    assert before.encode([said()]) == b"[14:03] ann: hi\r\n"
    assert dialect.views.here.encode([said()]) == b"ann: hi\r\n"


# --- tables and help ----------------------------------------------------------------------------------


@for_each("settings", [(), ("colour on",)])
@for_each("event", [ROOMS, PEOPLE, STATS, events.HelpShown("all")])
def test_the_columns_of_a_table_line_up(event, settings):
    rows = [re.sub("\x1b\\[[0-9]+m", "", line) for line in lines_of(event, settings=settings)]
    rows = [line for line in rows if not line.startswith("* and ")]
    gaps = [match.span() for match in re.finditer("(?<=-)  (?=-)", rows[1])]
    assert gaps
    for row in rows:
        assert {row[start:end] for start, end in gaps if start < len(row)} <= {"  ", " ", ""}, row


def test_text_that_looks_like_a_number_is_shown_unchanged_in_a_table():
    table = lines_of(events.RoomList((events.RoomRow("#007", 1, 2, "1e5"), events.RoomRow("#8", 1, 2, "0010")), 0))
    assert table[2].split() == ["*", "#007", "1", "2", "1e5"]
    assert table[3].split() == ["*", "#8", "1", "2", "0010"]


def test_a_table_of_rooms_counts_those_left_out():
    row = events.RoomRow("#a", 1, 1, "")
    assert lines_of(events.RoomList((row,), 12))[-1] == "* and 12 more rooms."
    assert "more" not in shown(events.RoomList((row,), 0))


def test_help_lists_every_command_with_what_it_does():
    table = lines_of(events.HelpShown("all"))
    for row in ROWS:
        assert [line for line in table if line.startswith(f"* {row.usage} ") and line.endswith(f" {row.does}")], row
    assert [line for line in table if line.startswith("* text ")]
    assert [line for line in table if line.startswith("* //text ")]
    assert len(table) == len(ROWS) + 4


def test_help_fits_a_terminal_of_eighty_columns_and_twenty_four_lines():
    for about in (None, "all", *(row.name for row in ROWS)):
        for line in lines_of(events.HelpShown(about)) + lines_of(events.HelpShown(about, named=False)):
            assert len(line) < 80, line
    groups = lines_of(events.HelpShown(None))
    assert len(groups) < 22
    for row in ROWS:
        assert [line for line in groups if f"  {row.usage}  " in f" {line[10:]}  "], row.usage


@for_each(
    ("typed", "right"),
    [
        ("/mute gus spam 2h", "/mute gus 2h spam"),
        ("/mute gus ten minutes", "/mute gus 10m"),
        ("/ban #lab gus rude for an Hour", "/ban #lab gus 1h rude"),
        ("/ban gus 2 links a second for 3 days", None),  # not a time, and not right
        *((f"/mute gus {why}", "") for why in ("rude as", "noisy ones", "again", "two", "spam 10 times", "1h spam 2h")),
    ],
)
def test_a_time_after_a_reason_is_not_taken_for_a_part_of_it(typed, right):
    if right == "":
        assert parse_line(typed).name == "gus"
        return
    with pytest.raises(BadTime if right is None else LateTime) as refused:
        parse_line(typed)
    if right:
        assert refused.value.text.endswith(f"Nothing was done. Type {right}.")
        assert parse_line(right).seconds


def test_what_an_error_says_to_type_can_be_typed():
    words = "bob #lab @bob <bob> bob, #nope #3 3 -1 0 on all ? 10m 💥 # ##lab . - yes 2 h ö #ö х".split()
    words += ", ; bob,#x #lab,#x 0m 2w 99999d".split()
    words += ["1" * 30, "x" * 300, "#" + "x" * 40]
    ways = [*itertools.product(words), *itertools.product(words, words), *itertools.product(words[:9], repeat=3)]
    told: set[str] = set()
    for kind, way in itertools.product(commands.TYPED, ways):
        try:
            parse_line(" ".join((kind.row.name, *way)))
        except Mistyped as error:
            told.add(error.advice)
        except ChatError:
            pass
    lines = {
        line for each in told for line in re.findall(r"[Tt]ype (/.*?)(?=[.;](?: |$)|, or | for | to | alone)", each)
    }
    lines |= {line for each in told for line in re.findall(r", or (/.*?)\.$", each)}
    for line in lines:
        assert all(map(is_room, re.findall(r"(?<= )#\S*", line))), line
        assert "NAME" in line or parse_line(line)
    assert len(lines) > 500


def test_help_keeps_brackets_whole_in_a_narrow_window():
    dialect = dialect_of("ann")
    dialect.window(40)
    lines = dialect.views.own.encode((events.HelpShown("all"),)).decode().split("\r\n")
    at = lines.index("* /history [#room]")
    assert lines[at + 1 : at + 3] == ["*     [N|2h|before N|after N]", "*   page through what was said"]
    assert lines[:2] == ["* text", "*   say it in the current room"]
    lines = (
        dialect.views.own.encode((events.HelpShown("/history"), events.HelpShown("/operator"))).decode().split("\r\n")
    )
    assert lines[1] == "*   [N|2h|before N|after N]: page"
    wrong = events.problem(Usage(commands.ReadHistory.row.usage))
    assert dialect.views.own.encode((wrong,)).decode().split("\r\n")[1] == "!   [N|2h|before N|after N]"
    assert lines[-2] == "*   --operator-token."
    lines = dialect.views.own.encode((events.HelpShown("/lab"),)).decode().split("\r\n")
    assert lines[:2] == ["* /lab slow NAME MS | pause WHAT S", "*   | off: make a fault to look at."]
    lines = dialect.views.own.encode((THREADS,)).decode().split("\r\n")
    at = lines.index("*   at wire.py:70 read")
    assert lines[at + 1] == "*   sent 120 lines, 4500 bytes"


@for_each(
    ("typed", "hint"),
    [("exit", b"/quit"), ("Quit", b"/quit"), ("LOGOUT", b"/quit"), ("help", b"/help"), ("commands", b"/help"),
     ("login", b"/login"), ("Register", b"/register"), ("join #lab2", b"type /join #lab2."),
     ("who", b"/who"), ("Rooms", b"/rooms"), ("leave", b"/leave")],
)  # fmt: skip
def test_a_line_that_may_be_meant_as_a_command_is_said_with_a_hint(typed, hint):
    dialect = dialect_of("ann")
    dialect.feed(typed.encode() + b"\n")
    assert dialect.next_input().command == commands.Say(typed)
    assert hint in dialect.next_input().data
    assert dialect.next_input() is None


def test_the_end_of_help_offers_to_edit_lines_to_a_person_who_does_not_do_so():
    dialect = dialect_of("ann")
    assert "/edit on keeps" in dialect.views.own.encode((events.HelpShown(None),)).decode()
    dialect._set_style(screen=True)
    assert "/edit on keeps" not in dialect.views.own.encode((events.HelpShown(None),)).decode()


def test_help_leaves_out_what_does_not_work_here():
    for about in (None, "all"):
        told = shown(events.HelpShown(about, without=frozenset({"/lab"})))
        assert "/trace " in told
        assert "/lab " not in told


def test_an_indented_line_that_does_not_fit_beside_the_name_keeps_its_indentation():
    dialect = dialect_of("ann")
    dialect.feed(b"\xff\xfb\x1f\xff\xfa\x1f\x00\x28\x00\x14\xff\xf0")  # a window of 40 columns
    event = replace(said(), text=" " * 20 + "cond.wait()")
    first, second = dialect.views.own.encode((event,)).decode().splitlines()
    assert first.endswith("ann:")
    assert second == "  | " + " " * 20 + "cond.wait()"


@for_each("columns", [40, 60, 79, 80])
@for_each("event", [WIDE_THREADS, WIDE_LOCKS, WIDE_ROOMS, WIDE_PEOPLE, STATS, ROOMS, PEOPLE, THREADS, LOCKS, *NARROW])
def test_tables_help_and_sentences_of_the_server_fit_a_narrow_window(event, columns):
    """Each line says whose it is, and nothing of a table is lost but what is too long for a line."""
    dialect = dialect_of("ann")
    dialect.feed(b"\xff\xfb\x1f\xff\xfa\x1f" + bytes((0, columns, 0, 20)) + b"\xff\xf0")  # RFC 1073
    lines = dialect.views.own.encode((event,)).decode().splitlines()
    assert {line[:2].rstrip() for line in lines} in ({"*"}, {"!"})
    assert max(map(len, lines)) <= columns, lines


@for_each("columns", [40, 80])
def test_a_notice_that_goes_on_in_another_line_is_indented_and_keeps_names_whole(columns):
    dialect = dialect_of("ann")
    dialect.window(columns)
    room = "#a-very-long-room-name-12345678"
    for event in (
        events.Invited("bob", room),
        events.Entered(room, "今天的作业在哪里" * 9, ("bob-the-builder",) * 9, 12, 1),
    ):
        lines = dialect.views.own.encode((event,)).decode().splitlines()
        assert max(map(measured, lines)) <= columns
        assert all(line.startswith("*   ") for line in lines[1:] if "topic" not in line)
        assert any(room in line for line in lines)
        assert not any(line.endswith("-") for line in lines)
    lines = dialect_of("ann").views.own.encode((events.Problem("x", "what was wrong " * 9),)).decode().splitlines()
    assert [line[:5] for line in lines] == ["! wha", "!   w"]
    assert {word for line in lines for word in line.split()} == {"!", "what", "was", "wrong"}


def test_what_many_are_shown_fits_one_of_a_few_widths_so_that_windows_do_not_make_views():
    topic, long = events.TopicChanged("#lobby", "some words " * 18, "ann"), said("some words " * 18)
    made = set()
    for columns in range(10, 500):
        dialect = dialect_of("ann")
        dialect.window(columns)
        made.add(dialect.views.here)
        lines = dialect.views.here.encode((topic, long)).decode().splitlines()
        assert min(200, columns) - 15 < max(map(len, lines)) <= columns
    assert len(made) == WIDTHS


@for_each("settings", LOOKS)
@for_each("columns", [10, 23, 40])
def test_no_row_of_a_long_line_looks_like_a_line_of_the_servers_in_a_window_of_known_width(settings, columns):
    for begin in ("x" * 99, "x " * 50, "今天的作业" * 12, "กำ" * 40, "👩‍👩‍👧‍👦" * 20):
        for before in range(0, columns, 7):
            text = f"{begin[:before]} * bob left ! No. 7 [14:03] bob: hello ~ bob waves"
            old = tuple(said(f"{text}\n{text}", "bartholomew", number=1, kind=kind) for kind in ("say", "action"))
            dialect = dialect_of("ann", *settings)
            dialect.window(columns)
            shown = dialect.views.own.encode(
                (
                    *old,
                    events.PrivateLine(AT, "ann", "bob", text),
                    events.PrivateLine(AT, "ann", "bob", text, True),
                    events.HistoryPage("#lobby", old, 2, None, None),
                    events.SearchPage("x", old, False),
                )
            )
            lines = re.sub("\x1b\\[[0-9;]*m|\a", "", shown.decode()).split("\r\n")[:-1]
            assert max(map(measured, lines)) <= columns
            people = [line for line in lines if line[0] not in "*!"]
            assert len([line for line in people if not line.startswith("  | ")]) == 8
            said_again = "".join(line.removeprefix("  | ") for line in people).replace(" ", "")
            assert said_again.count(text.replace(" ", "")) == 14


def test_a_client_that_does_not_tell_its_width_gets_lines_as_long_as_they_are():
    long = said("some words " * 18 + "end")
    dialect = dialect_of("ann")
    assert dialect.views.here.encode((long,)).decode().count("\r\n") == 1
    dialect.feed(b"\xff\xfb\x1f\xff\xfa\x1f" + bytes((0, 0, 0, 20)) + b"\xff\xf0")  # it does not know it
    assert dialect.views.here.encode((long,)).decode().count("\r\n") == 1
    dialect.feed(b"\xff\xfa\x1f" + bytes((0, 80, 0, 20)) + b"\xff\xf0")
    lines = dialect.views.here.encode((long,)).decode().split("\r\n")
    assert [line[:4] for line in lines] == ["[14:", "  | ", "  | ", ""]


def test_a_table_that_became_a_list_keeps_each_value_beside_its_header():
    dialect = dialect_of("ann")
    dialect.window(40)
    rooms = events.RoomList((events.RoomRow("#" + "x" * 30, 1, 2, "deadlocks"), events.RoomRow("#a", 1, 2, "a b")), 0)
    lines = dialect.views.own.encode((rooms,)).decode().splitlines()
    assert lines == [
        "* #" + "x" * 30,
        "*   people: 1  messages: 2",
        "*   topic: deadlocks",
        "* #a  people: 1  messages: 2  topic: a b",
    ]
    (row,) = events.RoomList((events.RoomRow("#a", 10**9, 10**9, "d" * 200),), 0).rooms
    lines = dialect.views.own.encode((events.RoomList((row,), 0),)).decode().splitlines()
    assert lines[-1].startswith("*   topic: ddd")
    assert lines[-1].endswith("d…")


@for_each("columns", [24, 30, 36])
def test_a_cell_that_is_cut_in_a_list_ends_with_its_row(columns):
    dialect = dialect_of("ann")
    dialect.window(columns)
    long = "A topic that is rather long, and goes on and on"
    ann = events.PersonRow("ann", tuple(f"#room{n}" for n in range(9)), 2.0, long)
    for event in (
        events.RoomList((events.RoomRow("#" + "x" * 30, 1, 2, long),), 0),
        events.PeopleList(None, (ann,), 0),
    ):
        lines = dialect.views.own.encode((event,)).decode().splitlines()
        cut = [line for line in lines if line.endswith("…")]
        assert cut
        assert all(re.match(r"\*   (topic|rooms|away|idle): ", line) for line in cut), lines


@for_each("event", [WIDE_THREADS, WIDE_LOCKS, WIDE_ROOMS, WIDE_PEOPLE, STATS])
def test_a_table_fits_a_terminal_of_eighty_columns(event):
    for line in lines_of(event):
        assert len(line) <= 80, line


@for_each("row", ROWS)
def test_help_on_a_command_tells_its_usage_and_all_of_its_names(row):
    for name in (row.name, *row.aliases, row.name.upper()):
        text = lines_of(events.HelpShown(name))
        assert text[0] == f"* {row.usage}: {row.does}."
        told = " ".join(line.removeprefix("* ").removeprefix("  ") for line in text)
        assert row.more.replace("\n", " ") in told
        for alias in row.aliases:
            assert re.search(f"Also: .*{re.escape(alias)}", told)


def test_help_on_private_lines_tells_that_they_are_never_stored():
    (command,) = inputs(b"/help msg\r\n")
    assert "never stored" in shown(events.HelpShown(command.about))


def test_an_event_counts_at_least_as_many_lines_as_it_shows():
    """Therefore a queue that is bounded in lines bounds the memory."""
    many = tuple(said("a\nb\nc", number=number, lines=3) for number in range(1, 201))
    people = (events.PersonRow("ann", (), 0, None),) * 100
    for event in (
        events.Replay("#lobby", many, 200), events.HistoryPage("#lobby", many, 300, 1, 200),
        events.SearchPage("hi", many, True),
        events.RoomList((events.RoomRow("#a", 1, 1, ""),) * 100, 5), events.PeopleList(None, people, 5),
        events.HelpShown(None), events.HelpShown("all"), THREADS, many[0], events.PrivateLine(AT, "ann", "bob", "a\nb"),
    ):  # fmt: skip
        assert event.lines >= len(lines_of(event)), type(event)


@for_each(("answer", "told"), [(b"", False), (b"\xff\xfd\x01", False), (b"\xff\xfe\x01", True)])
def test_a_password_that_comes_before_telnets_answer_is_not_said_to_have_been_shown(answer, told):
    ann = dialect_of(None)
    ann.feed(b"\xff\xfb\x1f")  # it speaks telnet
    ann.admitted("ann")
    ann.ask(commands.Login("ann"))
    drain(ann)
    ann.feed(answer + b"secret words\r\n")
    shown = b"".join(each.data for each in drain(ann) if isinstance(each, events.WireBytes))
    assert (b"has shown what you typed" in shown) == told


def test_tables_are_as_wide_as_the_window_and_windows_of_about_one_width_share_the_views_of_rooms():
    """RFC 1073. The size may come before the name, and change later."""
    ann, bob = dialect_of(None), dialect_of("bob")
    rooms = events.RoomList((events.RoomRow("#lobby", 1, 2, "a topic of thirty characters"),), 0)
    told = b"\xff\xfb\x1f\xff\xfa\x1f\x00%c\x00\x18\xff\xf0"
    ann.feed(told % 50 + b"\xff\xfc\x18")  # and it does not tell its terminal's name
    assert drain(ann) == [ASK, events.WireBytes(b"\xff\xfd\x18")]
    ann.admitted("ann")
    assert max(map(len, ann.views.own.encode([rooms]).decode().splitlines())) == 50
    assert [item.data for item in drain(ann)] == [ann.views.own.encode([events.Notice(OFFER)])]
    ann.feed(told % 60)
    assert drain(ann) == [commands.ShowScreen()]
    assert max(map(len, ann.views.own.encode([rooms]).decode().splitlines())) > 50
    bob.window(63)
    assert (ann.views.here, ann.views.elsewhere) == (bob.views.here, bob.views.elsewhere)


@for_each(
    ("earlier", "lost"),
    [(b"hi\n", False), (b"hi\r\n", True), (b"hi\r\nho\n", False), (b"\xff\xf1hi\n", True), (b"", True)],
)
def test_only_a_client_that_may_be_a_telnet_has_lost_a_letter_that_does_not_end(earlier, lost):
    """A program that sends a character in two parts, or a phone, is slow, and ends its lines in LF."""
    ann = dialect_of("ann")
    ann.feed(earlier + "é".encode()[:1])
    drain(ann)
    assert ann.in_a_letter is lost
    ann.pause()
    assert (b"A letter has opened" in b"".join(item.data for item in drain(ann))) is lost
    ann.feed("é".encode()[1:] + b"\n")
    assert (commands.Say("é") in drain(ann)) is not lost
    if lost:  # it does not send all letters when it is asked to
        ann.feed(b"hi\r\n" + "é".encode()[:1])
        ann.pause()
        drawn = [item.data for item in drain(ann) if isinstance(item, events.WireBytes)]
        assert b"add -E" in b"".join(drawn)


def test_a_line_that_telnet_spoilt_before_it_was_asked_for_8_bits_is_only_to_be_typed_again():
    """Debian's telnet sends IAC BRK for a byte of 佐, and drops one of 々."""
    spoilt = "佐々木".encode().replace(b"\x90", b"\xff\xf3").replace(b"\x85", b"") + b"\r\n"
    found = inputs(spoilt * 2)
    assert [each[0] for each in found if isinstance(each, tuple)] == [SpoiltLine, NotUtf8]
    assert events.WireBytes(b"\xff\xfb\x01") in found, "for 85 may have been its Ctrl-E, which ends its echo"
