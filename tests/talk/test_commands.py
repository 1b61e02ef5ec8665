"""The effect of each command, as people see it: a test types into a socket and reads the lines that come back."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterable, Iterator

import pytest
from support.clients import Client, Editor
from support.servers import Running
from support.waiting import WAIT, wait_for
from support.words import error_line

from chat_threads import __version__, qr, quota, register
from chat_threads.dialects import clock
from chat_threads.dialects.notices import OFFER
from chat_threads.errors import (
    BadName,
    BadRoom,
    InTooManyRooms,
    NameTaken,
    NobodyWrote,
    NothingToFind,
    NothingToSay,
    NotInRoom,
    RoomExists,
    ServerHasTooManyRooms,
    TextTooLong,
    UnknownCommand,
    UnknownPerson,
    UnknownRoom,
    WordsTooLong,
    WriterLeft,
)
from chat_threads.ordered import Left
from chat_threads.service import screen

DAY = 86_400


def timeless(lines: Iterable[str]) -> list[str]:
    """The lines with the same time of day in all, without the line that says which day it is."""
    return [re.sub(r"\[\d\d:\d\d\]", "[14:03]", line) for line in lines if not line.startswith("* It is ")]


def asked(client: Client, line: str) -> list[str]:
    """The lines that a client sees after it types a line."""
    return timeless(client.ask(line))


def news(client: Client) -> list[str]:
    """The lines that a client has received since the last call."""
    return timeless(client.news())


def say_many(client: Client, count: int) -> None:
    """Say "line 1" to "line <count>" in the current room."""
    client.send(*(f"line {number}" for number in range(1, count + 1)))
    client.expect(f"line {count}")


def tell_wrong_time(server: Running, ago: float) -> None:
    """From now on messages are stored as if they were said ``ago`` seconds ago."""
    server.chat.history._now = lambda: time.time() - ago


def test_qr_shows_the_address_that_leads_into_the_current_room(server, program):
    ann, bob = server.client("ann #lab2"), program("bob", server=server)
    home = f"http://127.0.0.1:{server.port}/"
    url, *code = asked(ann, "/qr")
    assert url == f"* {home}#lab2"
    assert [line.removeprefix("* ") for line in code] == qr.drawn(qr.rows_of(f"{home}#lab2"))
    bob.send({"type": "leave"}, {"type": "qr", "ref": "q"})
    assert bob.expect("qr", ref="q") == {"type": "qr", "url": home, "rows": [*qr.rows_of(home)], "ref": "q"}


def test_without_segno_qr_still_shows_the_address(server, monkeypatch):
    ann = server.client("ann")
    monkeypatch.setattr(qr, "segno", None)
    qr.rows_of.cache_clear()
    assert asked(ann, "/qr") == [error_line(qr.NoQrCode(f"http://127.0.0.1:{server.port}/#lobby"))]


@contextlib.contextmanager
def history_held_up(server: Running) -> Iterator[None]:
    """The history thread waits, and what is submitted meanwhile becomes one batch."""
    history = server.chat.history
    publish, inside, gate = history._publish, threading.Event(), threading.Event()

    def wait_and_publish(batch):
        inside.set()
        gate.wait(WAIT)
        publish(batch)

    history._publish = wait_and_publish
    history.submit(Left(0, None))
    assert inside.wait(WAIT)
    try:
        yield
    finally:
        history._publish = publish
        gate.set()


def waiting(server: Running, count: int) -> None:
    """Wait until ``count`` values are in the history's queue."""
    wait_for(lambda: server.chat.history._queue.qsize() == count, f"{count} values in the history's queue")


# --- saying -------------------------------------------------------------------------------------------------


def test_edit_alone_says_whether_lines_are_edited(server):
    assert server.client("bob").ask("/edit") == [
        "* /edit is off. Over telnet, /edit on keeps your line whole while others talk."
    ]
    ann = Editor(server.port, "ann")
    server.clients.append(ann)
    assert ann.ask("/edit") == ["* /edit is on. /edit off ends it."]


def test_a_newcomer_sees_what_was_said_and_who_is_there(serve):
    server = serve(replay=2)
    bob, cy = server.clients_named("bob", "cy")
    say_many(bob, 429)
    bob.ask("did anyone get lab 2 to hang?")
    cy.ask("mine hangs every time")
    ann = server.client()
    ann.expect("Welcome")
    ann.send("ann")
    ann.expect("mine hangs")
    assert timeless(ann.seen) == [
        f"* Welcome to chat_threads {__version__}. What is your name?",
        "* Hello, ann. What is said in a room is kept: /history shows it.",
        f"* {OFFER}",
        "* You are in #lobby with 2 others: bob, cy. /help lists the commands.",
        "* The last 2 of 431 messages; /history #lobby before 430 shows older ones.",
        "[14:03] bob: did anyone get lab 2 to hang?",
        "[14:03] cy: mine hangs every time",
    ]
    assert asked(ann, "hi all") == ["[14:03] ann: hi all"]
    assert asked(ann, "/jion #lab2") == [error_line(UnknownCommand("/jion", "/join"))]
    assert news(cy)[-2:] == ["* ann joined", "[14:03] ann: hi all"]


def test_a_message_looks_the_same_to_its_sender_and_to_the_others(server):
    ann, bob = server.clients_named("ann", "bob")
    assert asked(ann, "hi all") == news(bob) == ["[14:03] ann: hi all"]


def test_an_action_is_shown_with_the_name_of_its_actor(server):
    ann, bob = server.clients_named("ann", "bob")
    assert asked(ann, "/me waves") == news(bob) == ["[14:03] ~ ann waves"]


def test_lines_of_another_room_say_which(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/join #lab2")
    assert asked(ann, "/join #lobby") == ["* You are in #lobby. What you type goes there now."]
    for line in ("/join #lab2", "hi", "/me waves", "/leave"):
        bob.ask(line)
    assert news(ann) == [
        "* bob joined #lab2",
        "[14:03] #lab2 bob: hi",
        "[14:03] #lab2 ~ bob waves",
        "* bob left #lab2",
    ]


def test_a_text_has_up_to_2000_characters(server):
    ann, bob = server.clients_named("ann", "bob")
    assert asked(ann, "ü" * 2000) == ["[14:03] ann: " + "ü" * 2000]
    assert asked(ann, "ü" * 2001) == [error_line(TextTooLong(2001, 2000))]
    assert news(bob) == ["[14:03] ann: " + "ü" * 2000]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (b"red \x1b[31mtext\x1b[0m", "red text"),
        (b"bell\x07 and form\x0c feed", "bell and form  feed"),
        ("one\u0085two\u009bthree".encode(), "one twohree"),
        ("one\u2028two\u2029three".encode(), "one two three"),
        ("left\u202eright\u202c \u2066iso\u2069 \u200fmark\u200e \u061c.".encode(), "leftright iso mark ."),
        ("no\u200bwidth\ufeff".encode(), "nowidth"),
        (b"nul\x00nul", "nulnul"),
        (b"typ0\x08o and wird\x7f\x7f\x7ford", "typo and word"),
        ("gr\u00fc\u00dfe \U0001f469\u200d\U0001f4bb \u65e5\u672c".encode(), "grüße 👩\u200d💻 日本"),
    ],
    ids=["escapes", "C0", "C1", "separators", "directions", "invisible", "nul", "erased", "kept"],
)
def test_everything_people_write_loses_what_could_harm_a_terminal(server, typed, shown):
    ann, bob = server.clients_named("ann", "bob")
    for command in (b"", b"/me ", b"/topic ", b"/away ", b"/msg bob "):
        ann.send_bytes(command + typed + b"\r\n")
        ann.news()
    assert news(bob) == [
        f"[14:03] ann: {shown}",
        f"[14:03] ~ ann {shown}",
        f"* ann set the topic of #lobby: {shown}",
        f"[14:03] ann -> you: {shown}",
    ]
    assert asked(bob, "/msg ann are you there?")[-1] == f"* ann is away: {shown}"
    assert asked(bob, "/topic") == [f"* The topic of #lobby is: {shown}"]
    ann.send_bytes(b"/quit " + typed + b"\r\n")
    ann.rest()
    assert news(bob) == [f"* ann left ({shown})"]


def test_a_line_of_control_characters_only_is_an_error_and_is_not_sent(server):
    ann, bob = server.clients_named("ann", "bob")
    assert asked(ann, "\x1b\x07\u202e") == [error_line(NothingToSay())]
    assert news(bob) == []


def test_an_error_does_not_repeat_control_characters(server):
    (ann,) = server.clients_named("ann")
    assert asked(ann, "/msg \x1b[31mbobby hi") == [error_line(UnknownPerson("bobby"))]
    assert asked(ann, "/fl\x1b[5m\u202eash") == [error_line(UnknownCommand("/flash"))]


def test_pasted_code_stays_aligned(server):
    (ann,) = server.clients_named("ann")
    ann.send("\tif x:", "\t\ty", "a\tb")
    ann.expect("b")
    assert [line.partition("ann: ")[2] for line in ann.seen[-3:]] == ["    if x:", "        y", "a   b"]


def test_blank_lines_say_nothing(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.send("", "   ", "\t")
    assert news(ann) == news(bob) == []


# --- the table of commands ----------------------------------------------------------------------------------


def test_help_on_msg_says_that_private_lines_are_never_stored(server):
    (ann,) = server.clients_named("ann")
    assert "never stored" in " ".join(ann.ask("/help msg"))


# --- joining and leaving ------------------------------------------------------------------------------------


def test_joining_makes_a_room_and_tells_its_members(server):
    ann, bob = server.clients_named("ann", "bob")
    assert asked(ann, "/join #lab2") == ["* You are in #lab2, and nobody else is."]
    assert asked(bob, "/join #LAB2") == ["* You are in #lab2 with 1 other: ann."]
    assert news(ann) == ["* bob joined"]
    assert asked(bob, "hi") == news(ann) == ["[14:03] bob: hi"]


def test_a_person_who_joins_sees_the_topic_and_the_newest_messages(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/create #lab2 -")
    assert asked(ann, "/topic -") == ["* #lab2 has no topic."], "nobody is told that it was removed"
    ann.ask("/topic Deadlocks, and how to get them")
    ann.ask("first")
    assert asked(bob, "/join #lab2") == [
        "* You are in #lab2 with 1 other: ann.",
        "* The topic of #lab2 is: Deadlocks, and how to get them",
        "* What was said so far, 1 message:",
        "[14:03] ann: first",
    ]


@pytest.mark.parametrize("room", ["lab2", "#", "#a.b", "#a/b", "#" + "x" * 33, "#a\u202eb!"])
def test_a_bad_room_name_is_explained(server, room):
    (ann,) = server.clients_named("ann")
    told = [error_line(BadRoom("#lab2" if room == "lab2" else None))]
    others = () if room == "lab2" else ("/invite ann", "/search hi in:" + room + " x")  # lab2 may be a person
    for command in ("/join", "/create", "/leave", "/delete", *others):
        assert asked(ann, f"{command} {room}" if "in:" not in command else command) == told, command


def test_a_large_room_names_ten_people_and_counts_the_rest(server):
    names = [f"p{number}" for number in range(12)]
    server.clients_named(*names)
    ann = server.client("ann")
    told = f"* You are in #lobby with 12 others: {', '.join(names[:10])} and 2 more. /help lists the commands."
    assert told in ann.seen


def test_leaving_goes_back_to_the_room_joined_before(server):
    ann, bob = server.clients_named("ann", "bob")
    for room in ("#one", "#two"):
        ann.ask(f"/join {room}")
    assert asked(ann, "/leave") == ["* You left #two. What you type goes to #one now."]
    assert asked(ann, "/leave #LOBBY") == ["* You left #lobby. What you type goes to #one now."]
    assert news(bob) == ["* ann left"]
    assert asked(ann, "/leave #lobby") == [error_line(NotInRoom("#lobby"))]
    assert asked(ann, "/leave #three") == [error_line(UnknownRoom("#three"))]


def test_a_person_who_left_the_last_room_sees_how_to_go_on(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.send("goodbye all", "/leave", "is anybody there?")
    assert news(ann) == [
        "[14:03] ann: goodbye all",
        "* You left #lobby and are not in a room now. /rooms lists the rooms, and /join enters one.",
        error_line(NotInRoom()),
    ]
    assert news(bob) == ["[14:03] ann: goodbye all", "* ann left"]
    for command in ("/leave", "/topic", "/history", "/me waves", "/invite bob"):
        assert asked(ann, command) == [error_line(NotInRoom())]
    assert asked(ann, "/join #lobby")[0] == "* You are in #lobby with 1 other: bob."


def test_a_person_is_in_at_most_twenty_rooms_and_makes_no_other(server):
    ann, bob = server.clients_named("ann", "bob")
    for number in range(19):
        ann.ask(f"/join #r{number}")
    bob.ask("/join #bobs")
    told = [error_line(InTooManyRooms(20))]
    for command in ("/join #bobs", "/join #new", "/create #new"):
        assert asked(ann, command) == told
    assert "#new" not in " ".join(ann.ask("/rooms"))
    assert asked(ann, "/join #r3") == ["* You are in #r3. What you type goes there now."]
    ann.ask("/leave #r4")
    assert asked(ann, "/join #new") == ["* You are in #new, and nobody else is."]


def test_people_who_join_together_are_shown_in_one_line(server):
    ann, bob = server.clients_named("ann", "bob")
    with history_held_up(server):
        for number in range(37):
            server.client(f"p{number}")
        waiting(server, 37)
    assert news(ann) == news(bob) == ["* p0, p1 and 35 others joined"]


def test_two_or_three_people_are_all_named(server):
    (ann,) = server.clients_named("ann")
    with history_held_up(server):
        others = [server.client(name) for name in ("bob", "cy", "di")]
        waiting(server, 3)
    assert news(ann) == ["* bob, cy and di joined"]
    assert [news(other)[-1] for other in others[:2]] == ["* cy and di joined", "* di joined"]
    with history_held_up(server):
        for number, other in enumerate(others[:2], 1):
            other.close()
            waiting(server, 2 * number)  # each leaves and waits until it has left
    assert news(ann) == ["* bob and cy left"]


def test_joins_messages_and_leaves_are_shown_in_order(server):
    (ann,) = server.clients_named("ann")
    with history_held_up(server):
        bob = server.client("bob")
        bob.send("hi")
        waiting(server, 2)
        server.client("cy")
        waiting(server, 3)
        bob.send("/quit good night")
        waiting(server, 5)
    assert news(ann) == ["* bob joined", "[14:03] bob: hi", "* cy joined", "* bob left (good night)"]


def test_coming_going_and_renaming_are_not_shown_in_a_room_of_over_100(server):
    ann, bob = server.clients_named("ann", "bob")
    crowd = server.clients_named(*(f"p{number}" for number in range(97)))
    news(ann)
    news(bob)
    server.client("hundredth").news()
    assert news(ann) == news(bob) == ["* hundredth joined"]  # a hundred are not too many
    for name in ("last", "very-last"):
        server.client(name).news()
    bob.ask("/nick bobby")
    crowd[0].send("/quit")
    crowd[0].rest()
    crowd[1].ask("I am still here")
    assert news(ann) == ["[14:03] p1: I am still here"]


# --- rooms --------------------------------------------------------------------------------------------------


def test_creating_a_room_that_exists_is_an_error(server):
    ann, bob = server.clients_named("ann", "bob")
    yours = "* #lab2 is yours while you are connected. To keep it for later, type /register or /token."
    assert asked(ann, "/create #lab2") == ["* You are in #lab2, and nobody else is.", yours]
    for line in ("/room quiet", "/room invite-only", "/room public", "/create #lab3"):  # she has been told
        assert "yours" not in str(asked(ann, line))
    bob.ask("/join #lab5")  # it stays from its first rule on
    assert yours.replace("lab2", "lab5") in asked(bob, "/room quiet")
    assert yours.replace("lab2", "lab5") not in asked(bob, "/room slow 5")
    cy = server.client("cy")
    cy.ask("/token")
    assert "yours" not in str([*asked(cy, "/create #lab4"), *asked(cy, "/room invite-only")])
    bob.news()
    assert asked(bob, "/create #Lab2 mine!") == [error_line(RoomExists("#lab2"))]
    assert asked(bob, "/create #lobby") == [error_line(RoomExists("#lobby"))]


def test_a_person_whom_a_room_knows_only_by_the_connection_is_told_how_to_keep_the_right(server):
    ann, bob, cy, dan = server.clients_named("ann", "bob", "cy", "dan")
    keep = "* {} while you are connected. To keep it for later, type /register or /token."
    cy.ask("/token")
    for each in (ann, bob, cy):
        each.ask("/join #lab2")
        each.news()
    for each in (bob, cy):
        each.news()
    ann.ask("/op bob")
    assert bob.news() == ["* ann made bob an operator of #lab2", keep.format("You are an operator of #lab2")]
    ann.ask("/room invite-only")
    closed = "* ann closed #lab2: only people who are invited may enter"
    enter = keep.format("You may enter #lab2")
    assert bob.news() == [closed, enter]
    assert cy.news()[-1] == closed
    assert enter not in str(ann.seen)
    dan.news()
    ann.ask("/invite dan")
    assert dan.news() == ["* ann invites you to #lab2: /join #lab2", enter]
    ann.ask("/invite cy")
    bob.ask("/room public")
    bob.ask("/room slow 5")
    assert enter not in dan.news()


def test_deleting_a_room_sends_its_members_to_the_lobby(server):
    ann, bob, cy = server.clients_named("ann", "bob", "cy")
    ann.send("/create #lab2", "/leave #lobby", "soon forgotten")
    ann.news()
    bob.send("/join #lab2", "/leave #lobby")
    bob.news()
    cy.send("/join #lab2", "/join #lobby")
    cy.news()
    bob.news()
    ann.news()
    gone = "* ann deleted #lab2 and its history. What you type goes to #lobby now."
    assert asked(ann, "/delete #LAB2") == ["* #lab2 has 1 message. /delete #lab2 yes deletes it for good."]
    assert asked(ann, "/delete #LAB2 yes") == [gone, "* You are in #lobby with 1 other: cy.", "* bob joined"]
    assert news(bob) == [gone, "* You are in #lobby with 2 others: cy, ann."]
    assert news(cy) == [gone, "* ann and bob joined"]
    moved = "! You are in #lobby now, not in #lab2, so nothing was sent."
    assert asked(bob, "hi") == [f"{moved} If your line is meant for this room, type it again."]
    assert asked(bob, "hi") == news(ann) == news(cy) == ["[14:03] bob: hi"]
    assert asked(bob, "/history #lab2") == [error_line(UnknownRoom("#lab2"))]
    assert asked(bob, "/search forgotten") == ["* Nothing was found for: forgotten"]
    assert asked(bob, "/join #lab2") == ["* You are in #lab2, and nobody else is."]
    assert asked(bob, "/history") == ["* Nothing was said in #lab2 yet."]


def test_only_its_maker_can_delete_a_room(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/create #lab2")
    for yes in ("", " yes"):
        assert asked(bob, "/delete #lab2" + yes) == [
            "! #lab2 was made by ann. Only ann and the server's operators can delete it."
        ]
        assert asked(ann, "/delete #Lobby" + yes) == ["! #lobby cannot be deleted."]
        assert asked(ann, "/delete #lab3" + yes) == [error_line(UnknownRoom("#lab3", "#lab2"))]
    assert asked(ann, "/join #lab2") == ["* You are in #lab2. What you type goes there now."]


def test_a_room_belongs_to_whoever_made_it_under_any_name_and_to_nobody_who_takes_that_name(server):
    ann = server.client("ann")
    ann.ask("/create #lab2 all about threads")
    ann.ask("/nick anna")
    thief = server.client("ann")
    assert asked(thief, "/delete #lab2 yes") == [
        "! #lab2 was made by ann, under another token. If that was you, /resume TOKEN first."
    ]
    command = ann.ask("/token")[-1][2:]
    ann.send("/quit")
    ann.rest()
    again = server.client("someone")
    again.ask(command)
    again.ask("/leave #lab2")
    assert asked(again, "/delete #lab2") == ["* #lab2 has no messages. /delete #lab2 yes deletes it for good."]
    assert asked(again, "/delete #lab2 yes") == ["* #lab2 and its history are deleted."]
    assert asked(again, "/delete #lab2 yes")[0].startswith("! There is no room #lab2.")


def test_the_count_of_a_rooms_messages_leaves_out_those_that_are_too_old_and_gone(serve):
    server = serve()
    ann = server.client("ann")
    ann.ask("/create #lab2")
    for count in range(1, 4):
        ann.ask(f"message {count}")
    server.chat.storage._writer.execute("DELETE FROM messages WHERE number = 1")
    assert asked(ann, "/delete #lab2")[0].startswith("* #lab2 has 2 messages.")


def test_rooms_are_listed_in_a_table(server):
    ann, _ = server.clients_named("ann", "bob")
    ann.send("/create #lab2 A topic that is too long for a table, which cuts it here")
    say_many(ann, 12)
    assert ann.ask("/rooms") == [
        "* room      people    messages  topic",
        "* ------  --------  ----------  ------------------------------------------------",
        "* #lobby         2           0",
        "* #lab2          1          12  A topic that is too long for a table, which cut…",
    ]


def test_people_are_listed_in_a_table(server):
    ann, bob = server.clients_named("ann", "Bob")
    bob.send("/join #lab2", "/away out for lunch")
    bob.news()
    listed = ann.ask("/who")
    assert [re.sub(r"\d+s", "0s", line) for line in listed] == [
        "* name    rooms           idle  away",
        "* ------  ------------  ------  -------------",
        "* ann     #lobby            0s",
        "* Bob     #lobby #lab2      0s  out for lunch",
    ]
    assert [line.split()[1] for line in ann.ask("/who #LAB2")[2:]] == ["Bob"]
    assert asked(ann, "/who #lap2") == [error_line(UnknownRoom("#lap2", "#lab2"))]


def test_a_room_without_people_says_so(server):
    (ann,) = server.clients_named("ann")
    ann.send("/join #lab2", "hello", "/leave")
    ann.news()
    assert asked(ann, "/who #lab2") == ["* Nobody is in #lab2."]


def test_tables_show_a_hundred_rows_and_count_the_rest(server, monkeypatch):
    monkeypatch.setattr(quota, "ROOMS_MADE", 103)
    (ann,) = server.clients_named("ann")
    for number in range(103):
        ann.send(f"/create #r{number} its topic", "/leave")
    ann.news()
    assert ann.ask("/rooms")[-1] == "* and 4 more rooms."
    for number in range(102):
        server.client(f"p{number}")
    assert ann.ask("/who")[-1] == "* and 3 more."


def test_a_topic_is_shown_and_set(server):
    ann, bob, cy = server.clients_named("ann", "bob", "cy")
    assert asked(ann, "/topic") == ["* #lobby has no topic."]
    assert asked(ann, "/topic Lab 2 is due") == news(bob) == ["* ann set the topic of #lobby: Lab 2 is due"]
    assert asked(bob, "/topic") == asked(bob, "/topic #LOBBY") == ["* The topic of #lobby is: Lab 2 is due"]
    cy.ask("/join #lab2")
    assert asked(cy, "/topic #lobby #lab2 is open") == ["* cy set the topic of #lobby: #lab2 is open"]
    assert news(ann) == ["* cy set the topic of #lobby: #lab2 is open"]
    assert asked(ann, "/topic #lab2 mine") == [error_line(NotInRoom("#lab2"))]
    assert asked(ann, "/topic #lab2") == ["* #lab2 has no topic."]
    assert asked(ann, "/topic " + "x" * 201) == [error_line(WordsTooLong(201, 200))]


def test_a_topic_that_begins_like_a_room_is_set_and_asked_about(server):
    (ann,) = server.clients_named("ann")
    hint = "* There is a room #lobby. If you meant it, type /topic #lobby and the text."
    for topic in ("Lobby talk", "lobby"):
        assert asked(ann, f"/topic {topic}") == [f"* ann set the topic of #lobby: {topic}", hint]
    for topic in ("lobbying", "lobby-talk", "the lobby", "..."):
        assert asked(ann, f"/topic {topic}") == [f"* ann set the topic of #lobby: {topic}"]
    assert asked(ann, "/topic #lobby lobby") == ["* ann set the topic of #lobby: lobby"]


def test_tab_offers_what_the_command_takes(server):
    ann, _, cy = server.clients_named("ann", "bob", "cy")
    cy.ask("/join #cellar")
    cy.ask("/leave #lobby")
    ann.ask("/ignore cy")
    session, context = server.chat.sessions.named("ann"), server.chat.server.service._context

    def offered(before):
        return screen._candidates(context, session, before)

    lobby, both, rules = ["#lobby"], ["#lobby", "#cellar"], ["quiet", "open", "slow", "invite-only", "public"]
    rules += ["accounts-only", "everybody", "unlisted", "listed", "keep"]
    for lines, found in (
        ("b|hello b|/msg b|/invite b|/msg cy is b|/topic b|/search b", ["bob"]),
        ("/kick |/kick #lobby |/kick #lobby b|/lab slow b", ["bob"]),
        ("/msg c|/ignore c|/unignore c|/op #lobby c", ["cy"]),
        ("c|hi |bob: |/unignore b|/nick b|/set b b|/edit b|/join b|/resume b|/create #c|hi /j|/msg bob |/room b", []),
        ("/kick c|/kick #cellar c|/me |/away |/set replay |/lab slow bob |/history 5 |/room keep 30 |/edit on ", []),
        ("/join #c|see #c|/room #c|/redact 3 #c", ["#cellar"]),
        ("/leave |/invite bob |/invite bob #|/leave #", lobby),
        ("/join |/room |/topic |/history |/who |/delete ", both),
        ("/jo", ["/join"]),
        ("/an|/tra|/la|/ope", []),
        ("/un", ["/unregister", "/unignore", "/unban", "/unmute", "/uninvite"]),
        ("/help jo", ["join"]),
        ("/help join |/help join jo|/invite #lobby |/invite #lobby #", []),
        ("/help /jo", ["/join"]),
        ("/set be", ["bell"]),
        ("/set colour |/edit |/edit o", ["on", "off"]),
        ("/set timestamps ", ["on", "off", "seconds"]),
        ("/set zone ", ["server", "UTC"]),
        ("/room #lobby ", rules),
        ("/room q|/room #lobby q", ["quiet"]),
        ("/room slow |/room #lobby slow o", ["off"]),
        ("/delete #lobby ", ["yes"]),
        ("/history #lobby b", ["before"]),
        ("/search in:#l|/search hi in:#l", ["in:#lobby"]),
        ("/search from:b", ["from:bob"]),
        ("well @b|@b|/msg @b", ["@bob"]),
        ("/lab p", ["pause"]),
        ("/lab pause p", ["publisher"]),
    ):
        for line in lines.split("|"):
            assert offered(line) == found, line


def test_tab_offers_those_for_whom_something_can_be_undone(server, monkeypatch):
    ann, bob, cy = server.clients_named("ann", "bob", "cy")
    ann.ask("/create #mine")
    ann.ask("/room invite-only")
    for line in ("/invite cy", "/ban bob 1h", "/mute cy"):
        ann.ask(line)
    cy.ask("/join #mine")
    ann.ask("/op cy")
    bob.send("/quit")
    context = server.chat.server.service._context

    def offered(line, name="ann"):
        return screen._candidates(context, server.chat.sessions.named(name), line)

    assert [offered(line) for line in ("/unban ", "/unmute c", "/uninvite ", "/deop ")] == [["bob"], *[["cy"]] * 3]
    assert offered("/unban #mine b") == ["bob"]
    assert offered("/unban #mine b", server.client("dan") and "dan") == []
    later = time.time() + 4000
    monkeypatch.setattr("chat_threads.service.screen.time.time", lambda: later)
    assert (offered("/unban "), offered("/unmute ")) == ([], ["cy"])


def test_an_invitation_says_how_to_follow_it(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/create #lab2")
    assert asked(ann, "/invite BOB") == ["* bob is invited to #lab2."]
    assert news(bob) == ["* ann invites you to #lab2: /join #lab2"]
    assert asked(bob, "/join #lab2") == ["* You are in #lab2 with 1 other: ann."]
    assert news(ann) == ["* bob joined"]
    assert asked(ann, "/invite bob") == ["* bob is in #lab2 already."]
    assert news(bob) == []
    assert asked(ann, "/invite bib #lobby") == [error_line(UnknownPerson("bib", "bob"))]
    ann.ask("/leave #lobby")
    assert asked(ann, "/invite bob #lobby") == [error_line(NotInRoom("#lobby"))]


# --- people -------------------------------------------------------------------------------------------------


def test_a_private_line_is_shown_to_two_people_and_stored_nowhere(server):
    ann, bob, cy = server.clients_named("ann", "bob", "cy")
    assert asked(ann, "/msg BOB the secret word") == ["[14:03] you -> bob: the secret word"]
    assert news(bob) == ["[14:03] ann -> you: the secret word"]
    assert news(cy) == []
    assert asked(cy, "/search secret") == ["* Nothing was found for: secret"]
    assert server.chat.storage.count() == 0
    assert asked(ann, "/msg bo hi") == [error_line(UnknownPerson("bo", "bob"))]
    assert asked(ann, "/msg zoe hi") == [error_line(UnknownPerson("zoe"))]
    assert asked(ann, "/msg bob " + "x" * 2001)[0].startswith("! That is 2001 characters")


def test_a_reply_goes_to_the_last_person_who_wrote(server):
    ann, bob, cy = server.clients_named("ann", "bob", "cy")
    assert asked(ann, "/reply hi") == [error_line(NobodyWrote())]
    bob.ask("/msg ann one")
    cy.ask("/msg ann two")
    assert asked(ann, "/reply got it") == [
        "[14:03] bob -> you: one",
        "[14:03] cy -> you: two",
        "[14:03] you -> cy: got it",
    ]
    assert news(cy) == ["[14:03] ann -> you: got it"]
    cy.send("/quit")
    cy.rest()
    assert asked(ann, "/reply still there?")[-1] == error_line(UnknownPerson("cy"))
    server.client("cy")
    assert error_line(WriterLeft("cy")) in asked(ann, "/reply still there?")  # maybe above "cy joined"


def test_a_new_name_is_shown_once_to_people_who_share_a_room(server):
    ann, bob, cy = server.clients_named("ann", "bob", "cy")
    for client in (ann, bob):
        client.send("/join #one", "/join #two")
        client.news()
    cy.ask("/leave")
    ann.news()
    bob.news()
    assert asked(ann, "/nick anna") == ["* You are anna now."]
    assert news(bob) == ["* ann is anna now"]
    assert news(cy) == []
    assert asked(ann, "hi") == news(bob) == ["[14:03] anna: hi"]
    assert asked(cy, "/nick ann") == ["* You are ann now."]


def test_a_name_in_use_or_not_allowed_is_not_taken(server):
    ann, bob = server.clients_named("ann", "bob")
    assert asked(ann, "/nick BOB") == [error_line(NameTaken("BOB", "BOB2"))]
    assert asked(ann, "/nick bob!") == [error_line(BadName("bob2"))]
    assert asked(ann, "/nick 123") == [error_line(BadName())]
    assert asked(ann, "hi") == ["[14:03] ann: hi"]
    assert news(bob) == ["[14:03] ann: hi"]


def test_a_name_may_change_its_case(server):
    ann, bob = server.clients_named("ann", "bob")
    assert asked(ann, "/nick ann") == ["* You are called ann already."]
    assert asked(ann, "/nick Ann") == ["* You are Ann now."]
    assert news(bob) == ["* ann is Ann now"]
    assert asked(bob, "/nick ANN") == [error_line(NameTaken("ANN", "ANN2"))]


def test_whois_shows_where_somebody_is_and_since_when(server):
    ann, bob = server.clients_named("ann", "bob")
    bob.send("/join #lab2", "/away at lunch")
    bob.news()
    about = [re.sub(r"\d+s", "0s", line) for line in ann.ask("/whois BOB")]
    assert about == [
        "* bob is in #lobby, #lab2.",
        "* Connected for 0s, last typed 0s ago.",
        "* Away: at lunch",
    ]
    bob.send("/away", "/leave", "/leave")
    bob.news()
    assert news(ann) == ["* bob left"]
    about = ann.ask("/whois bob")
    assert (about[0], about[2]) == ("* bob is in no room that you can see.", "* Away.")
    assert asked(ann, "/whois bobo") == [error_line(UnknownPerson("bobo", "bob"))]


def test_a_private_line_to_somebody_away_answers_with_the_reason(server):
    ann, bob = server.clients_named("ann", "bob")
    assert asked(bob, "/away feeding the cat") == ["* You are away: feeding the cat. /back ends it."]
    assert asked(ann, "/msg bob hi") == ["[14:03] you -> bob: hi", "* bob is away: feeding the cat"]
    bob.ask("/away")
    assert asked(ann, "/msg bob hi") == ["[14:03] you -> bob: hi", "* bob is away."]
    bob.news()
    assert asked(bob, "/msg bob a note") == ["[14:03] bob -> you: a note", "[14:03] you -> bob: a note"]
    assert asked(bob, "/back")[-1] == "* You are back."
    assert asked(bob, "/back") == ["* You were not away."]
    assert asked(ann, "/msg bob hi") == ["[14:03] you -> bob: hi"]
    assert asked(bob, "/away " + "x" * 201)[-1] == (error_line(WordsTooLong(201, 200)))


def test_an_ignored_person_is_hidden_until_unignored(server):
    ann, bob, cy = server.clients_named("ann", "bob", "cy")
    assert asked(ann, "/ignore BOB") == ["* What bob says is hidden now. /unignore bob shows it again."]
    assert asked(bob, "noise") == ["[14:03] bob: noise"]
    assert asked(bob, "/me makes noise") == ["[14:03] ~ bob makes noise"]
    assert asked(bob, "/msg ann noise") == ["[14:03] you -> ann: noise"]
    assert asked(bob, "/invite ann") == ["* ann is in #lobby already."]
    bob.ask("/create #lab2")
    assert asked(bob, "/invite ann") == ["* ann is invited to #lab2."]
    bob.ask("/leave")
    assert asked(cy, "sense") == ["[14:03] bob: noise", "[14:03] ~ bob makes noise", "[14:03] cy: sense"]
    assert news(ann) == ["[14:03] cy: sense"]
    assert "1 [14:03] bob: noise" in asked(ann, "/history")
    assert "bob" not in " ".join(asked(ann, "/join #lab2"))
    assert asked(ann, "/unignore bob") == ["* What bob says is shown again."]
    bob.ask("hello")
    assert news(ann) == ["[14:03] #lobby bob: hello"]
    assert asked(ann, "/unignore bob") == ["* bob was not ignored."]
    assert asked(ann, "/unignore nobody") == ["* nobody was not ignored."]
    assert asked(ann, "/unignore b!")[0].startswith("! A name is 1 to 20")
    assert asked(ann, "/ignore b!") == [error_line(UnknownPerson("b!"))]
    assert asked(ann, "/ignore bobb") == [error_line(UnknownPerson("bobb", "bob"))]


def test_a_replay_leaves_out_ignored_people(server):
    ann, bob = server.clients_named("ann", "bob")
    bob.send("/join #lab2", "noise")
    bob.news()
    ann.ask("/ignore bob")
    assert asked(ann, "/join #lab2") == [
        "* You are in #lab2 with 1 other: bob.",
        "* What was said so far, 1 message (1 hidden):",
    ]


# --- history ------------------------------------------------------------------------------------------------


def test_history_shows_the_newest_and_how_to_go_on(server):
    (ann,) = server.clients_named("ann")
    assert asked(ann, "/history") == ["* Nothing was said in #lobby yet."]
    say_many(ann, 45)
    page = asked(ann, "/history")
    assert page[0] == "* #lobby, messages 26 to 45 of 45:"
    assert page[1:-1] == [f"{number} [14:03] ann: line {number}" for number in range(26, 46)]
    assert page[-1] == "* Older: /history #lobby before 26"


def test_history_can_be_paged_through_by_what_it_says(server):
    (ann,) = server.clients_named("ann")
    say_many(ann, 90)
    numbers: list[int] = []
    typed = "/history"
    while typed:
        page = ann.ask(typed)
        numbers = [int(line.split()[0]) for line in page if "ann: line" in line] + numbers
        older = re.search(r"Older: (/history #lobby before \d+)", page[-1])
        typed = older[1] if older else ""
    assert numbers == list(range(1, 91))
    assert page[-1] == "* Newer: /history #lobby after 10"
    numbers, typed = [], "/history after 0"
    while typed:
        page = ann.ask(typed)
        numbers += [int(line.split()[0]) for line in page if "ann: line" in line]
        newer = re.search(r"Newer: (/history #lobby after \d+)", page[-1])
        typed = newer[1] if newer else ""
    assert numbers == list(range(1, 91))


@pytest.mark.parametrize(
    ("typed", "first", "last", "ways"),
    [
        ("/history 3", 248, 250, "* Older: /history #lobby before 248"),
        ("/history 200", 51, 250, "* Older: /history #lobby before 51"),
        ("/history before 11", 1, 10, "* Newer: /history #lobby after 10"),
        ("/history after 245", 246, 250, "* Older: /history #lobby before 246"),
        ("/history #LOBBY before 100", 80, 99, "* Older: /history #lobby before 80   Newer: /history #lobby after 99"),
        ("/history #lobby 2", 249, 250, "* Older: /history #lobby before 249"),
        ("/history 2h", 1, 200, "* Newer: /history #lobby after 200"),
    ],
)
def test_history_takes_a_number_a_place_or_a_time_span(server, typed, first, last, ways):
    (ann,) = server.clients_named("ann")
    say_many(ann, 250)
    if "#" in typed:
        ann.ask("/join #elsewhere")
    head, *lines, tail = ann.ask(typed)
    assert head == f"* #lobby, {f'messages {first} to {last}' if first < last else 'message 250'} of 250:"
    assert [line.split()[0] for line in lines] == [str(number) for number in range(first, last + 1)]
    assert tail == ways


def test_history_beyond_either_end_is_empty(server):
    (ann,) = server.clients_named("ann")
    say_many(ann, 2)
    for typed in ("/history before 1", "/history before 0", "/history after 2", f"/history after {10**15 - 1}"):
        assert asked(ann, typed) == ["* That part of the history has no messages."]


def test_history_of_a_while_ago_shows_the_day(server):
    (ann,) = server.clients_named("ann")
    tell_wrong_time(server, 3 * DAY)
    ann.ask("three days ago")
    tell_wrong_time(server, 3 * 3600)
    ann.ask("three hours ago")
    tell_wrong_time(server, 0)
    ann.ask("now")
    assert [line.split(": ")[-1] for line in ann.ask("/history 2h") if "ann" in line] == ["now"]
    assert [line.split(": ")[-1] for line in ann.ask("/history 4h") if "ann" in line] == ["three hours ago", "now"]
    assert [line.split(": ")[-1] for line in ann.ask("/history 300m") if "ann" in line] == ["three hours ago", "now"]
    assert asked(ann, "/history 30s")[1:-1] == ["3 [14:03] ann: now"]
    oldest = ann.ask("/history 4d")[1]
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 3 * DAY))
    assert re.fullmatch(rf"1 \[{day} \d\d:\d\d\] ann: three days ago", oldest)
    replayed = server.client("bob").upto("ann: now")
    assert re.fullmatch(rf"\[{day} \d\d:\d\d\] ann: three days ago", replayed[-2])


def test_people_outside_a_room_can_read_its_history(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.send("/join #lab2", "/me was here")
    ann.news()
    assert asked(bob, "/history #lab2") == ["* #lab2, message 1 of 1:", "1 [14:03] ~ ann was here"]
    assert asked(bob, "/history #lab") == [error_line(UnknownRoom("#lab", "#lab2"))]


def test_search_finds_messages_that_have_all_the_words(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("my lab hangs")
    bob.ask("so does my Lab")
    bob.ask("labour is something else")
    ann.ask("/join #lab2")
    ann.ask("the LAB, again")
    found = [
        "#lobby 1 [14:03] ann: my lab hangs",
        "#lobby 2 [14:03] bob: so does my Lab",
        "#lab2 1 [14:03] ann: the LAB, again",
    ]
    assert asked(bob, "/search lab")[0] == "* 4 messages found for: lab"  # and "labour"
    assert asked(bob, "/search lab,") == ["* 1 message found for: lab,", found[2]]
    assert asked(bob, "/search my lab") == ["* 2 messages found for: my lab", *found[:2]]
    assert asked(bob, "/search lab from:ann") == ["* 2 messages found for: lab from:ann", found[0], found[2]]
    assert asked(bob, "/search lab in:#lab2") == ["* 1 message found for: lab in:#lab2", found[2]]
    assert asked(bob, "/search in:#LOBBY from:ANN lab") == ["* 1 message found for: lab in:#lobby from:ANN", found[0]]
    assert asked(bob, "/search lab from:nobody") == ["* Nothing was found for: lab from:nobody"]
    assert asked(bob, "/search from:ann") == ["* 2 messages found for: from:ann", found[0], found[2]]
    assert asked(bob, "/search in:#Lab2") == ["* 1 message found for: in:#lab2", found[2]]
    assert asked(bob, '/search "lab* OR') == [
        '* Nothing was found for: "lab* OR',
        '* A * is searched for as it is. Parts of words need none: /search "lab OR',
    ]
    hint = "* before: takes a room and a message's number, as in before:#lab2/17"
    assert asked(bob, "/search hello before:lab2/17") == ["* Nothing was found for: hello before:lab2/17", hint]
    assert asked(bob, "/search from: bob")[1] == "* A name comes right after from: without a space, as in from:ann"
    assert asked(bob, "/search lab in:#lap2")[0].startswith("! There is no room #lap2. Did you mean #lab2?")
    for nothing in ("?!", "?! from:ann", "* in:#lab2"):
        assert asked(bob, f"/search {nothing}") == [error_line(NothingToFind())]
    assert asked(bob, "/search " + "lab " * 60) == ["! A search has at most 200 characters, and this one has 239."]
    assert asked(bob, "/search lab before:#lap2/3")[0].startswith("! There is no room #lap2. Did you mean #lab2?")
    for place in ("#lab2", "17", "17 in:#lab2"):
        assert asked(bob, f"/search lab before:{place}")[0].startswith("! before takes a room and the number")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("今天的作业在哪里", "今天"),
        ("重跑gen-7…", "gen"),
        ("오늘 숙제 어디", "\u1109\u116e\u11a8\u110c\u1166"),
        ("it hangs", "hang"),
        ("Straße 12", "strasse"),
        ("ёлка", "елка"),
        ("การบ้านวันนี้", "วันนี้"),
        ("مَرْحَبًا", "مرحبا"),
        ("done 👍", "👍"),
    ],
)
def test_search_finds_words_in_all_writing_systems(server, said, words):
    (ann,) = server.clients_named("ann")
    ann.ask(said)
    assert asked(ann, f"/search {words}") == [f"* 1 message found for: {words}", f"#lobby 1 [14:03] ann: {said}"]


@pytest.mark.parametrize("query", ["line", "from:ann", "in:#lobby", "line from:ann in:#lobby"])
def test_search_shows_the_newest_fifty_and_how_to_get_the_older_ones(server, query):
    (ann,) = server.clients_named("ann")
    say_many(ann, 110)
    head, *lines, older = asked(ann, f"/search {query}")
    assert head.startswith("* More than 50 matches; the newest 50 for: ")
    assert lines == [f"#lobby {number} [14:03] ann: line {number}" for number in range(61, 111)]
    lines = asked(ann, older.removeprefix("* Older: "))
    assert lines[1:-1] == [f"#lobby {number} [14:03] ann: line {number}" for number in range(11, 61)]
    last = asked(ann, lines[-1].removeprefix("* Older: "))
    assert last[1:] == [f"#lobby {number} [14:03] ann: line {number}" for number in range(1, 11)]


# --- what a session is shown --------------------------------------------------------------------------------


def test_the_settings_are_plain_at_first_and_shown(server):
    (ann,) = server.clients_named("ann")
    plain = f"timestamps on, numbers off, colour off, bell off, joins on, replay 20, zone {clock.here()}"
    assert asked(ann, "/set") == [f"* Set: {plain}."]
    assert asked(ann, "/SET Bell ON") == ["* Set: bell on."]
    assert asked(ann, "/set") == [f"* Set: {plain.replace('bell off', 'bell on')}."]


def test_the_numbers_shown_are_those_of_the_history(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("one")
    ann.ask("/set numbers on")
    assert asked(ann, "two") == ["2 [14:03] ann: two"]
    assert news(bob) == ["[14:03] ann: one", "[14:03] ann: two"]
    bob.send("/join #lab2", "three")
    bob.news()
    assert asked(ann, "/join #lab2")[-1] == "1 [14:03] bob: three"
    ann.ask("/join #lobby")
    bob.ask("four")
    assert news(ann) == ["2 [14:03] #lab2 bob: four"]


def test_replay_is_how_many_messages_one_sees_on_entering(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/join #lab2")
    say_many(ann, 25)
    for replay, shown in (
        ("0", []),
        ("1", ["* The last message of 25; /history #lab2 before 25 shows older ones.", "[14:03] ann: line 25"]),
        (
            "3",
            ["* The last 3 of 25 messages; /history #lab2 before 23 shows older ones."]
            + [f"[14:03] ann: line {number}" for number in (23, 24, 25)],
        ),
        ("200", ["* What was said so far, 25 messages:"] + [f"[14:03] ann: line {number}" for number in range(1, 26)]),
    ):
        assert asked(bob, f"/set replay {replay}") == [f"* Set: replay {replay}."]
        assert asked(bob, "/join #lab2")[1:] == shown
        bob.ask("/leave")


# --- the server ---------------------------------------------------------------------------------------------


def test_stats_are_a_table(server):
    ann, _ = server.clients_named("ann", "bob")
    ann.ask("/join #lab2")
    say_many(ann, 3)
    rows = dict(re.split(r"  +", line.removeprefix("* ")) for line in ann.ask("/stats"))
    assert list(rows) == [
        "what", "---------------", "version", "uptime", "sessions", "rooms", "messages stored", "messages/s", "threads",
    ]  # fmt: skip
    assert (rows["version"], rows["sessions"], rows["rooms"], rows["messages stored"]) == (__version__, "2", "2", "3")
    assert re.fullmatch(r"\d+s", rows["uptime"])
    assert re.fullmatch(r"\d+\.\d", rows["messages/s"])
    assert int(rows["threads"]) >= 6  # main, acceptor, history, a writer, two readers


def test_ping_shows_the_round_trip(server):
    (ann,) = server.clients_named("ann")
    ann.send("/ping")
    pong = ann.expect("Pong")
    assert re.fullmatch(r"\* Pong: \d+\.\d\d ms through the server's queue(, \d+\.\d\d ms over the network)?\.", pong)


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("/quit", "* ann left"),
        ("/quit see you at lab 2", "* ann left (see you at lab 2)"),
        ("/bye now", "* ann left (now)"),
        ("/exit", "* ann left"),
        ("/quit " + "so long, " * 30, f"* ann left ({'so long, ' * 22}so)"),
    ],
)
def test_quit_says_goodbye_and_shows_the_last_words_to_the_others(server, typed, left):
    ann, bob = server.clients_named("ann", "bob")
    ann.send("one more thing", typed, "never said")
    assert timeless(ann.rest()) == ["[14:03] ann: one more thing", "* Goodbye."]
    assert news(bob) == ["[14:03] ann: one more thing", left]
    assert "ann" not in " ".join(bob.ask("/who"))


def test_too_many_rooms_in_all_are_an_error(server, monkeypatch):
    (ann,) = server.clients_named("ann")
    monkeypatch.setattr(register, "ROOMS", 1)
    assert asked(ann, "/join #lab2") == [error_line(ServerHasTooManyRooms(1))]
