"""scripts/torture.py: its checker finds each way of breaking a promise, and short runs work."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from support.programs import load

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"

# So that a run which hangs can still be asked to end, and clean up.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


checker, web = load("torture_checker"), load("torture_web")
connection, world, rules = (load(f"torture_{name}") for name in ("connection", "world", "rules"))
Ack, Ask, Fault, Look, Refusal, Row, Seen, Stay = (
    getattr(checker, name) for name in ("Ack", "Ask", "Fault", "Look", "Refusal", "Row", "Seen", "Stay")
)


# --- the checker ----------------------------------------------------------------------------------------


@dataclass
class Run:
    """The logs of a run that was made up."""

    asks: list[Ask] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def results(self) -> list[object]:
        return checker.check(self.asks, self.stays, self.rows, self.faults, self.looks)

    def found(self) -> set[str]:
        """The checks that find something."""
        return {each.check for each in self.results() if each.violations}

    def row(self, room: str, number: int) -> int:
        """Where in ``rows`` a message is."""
        return next(at for at, row in enumerate(self.rows) if (row.room, row.number) == (room, number))

    def ask(self, room: str, number: int) -> Ask:
        text = self.rows[self.row(room, number)].text
        return next(ask for ask in self.asks if ask.text == text)

    def stays_of(self, subscriber: str, room: str) -> list[Stay]:
        return [stay for stay in self.stays if (stay.subscriber, stay.room) == (subscriber, room)]


def good_run() -> Run:
    """Two rooms, two writers in turn, ten messages a second for 20 s. ann sees all and leaves in order; bob loses
    the connection and comes back twice; cy joins late. Some things fail, and some are unknown."""
    run = Run()
    numbers = {"#a": 0, "#b": 0}
    seen: dict[str, list[Seen]] = {"#a": [], "#b": []}
    for count in range(200):
        at, sender, room = 100 + count * 0.1, f"w{count % 2}", "#a" if count % 3 else "#b"
        kind = "action" if count % 7 == 0 else "say"
        ask = Ask(sender, room, kind, f"{sender} {count}", [at])
        run.asks.append(ask)
        if count % 20 == 10:
            ask.refusals.append(Refusal(at + 0.01, "not_stored"))
            continue
        if count % 20 == 15:
            continue  # unknown, and not stored
        numbers[room] += 1
        number = numbers[room]
        run.rows.append(Row(room, number, sender, kind, ask.text))
        seen[room].append(Seen(number, sender, kind, ask.text, at + 0.02))
        if count % 20 == 16:
            ask.sent.append(at + 0.05)
            ask.acks.append(Ack(at + 0.06, room, number))
        elif count % 20 != 5:  # otherwise unknown, and stored
            ask.acks.append(Ack(at + 0.03, room, number))
            if count % 20 == 7:
                ask.sent.append(at + 0.5)
                ask.acks.append(Ack(at + 0.51, room, number))

    def stay(subscriber: str, room: str, asked: float, ended: float, since: int | None = None) -> Stay:
        before = [each.number for each in seen[room] if each.at < asked]
        last = before[-1] if before else 0
        start = last if since is None else since
        messages = [each for each in seen[room] if each.number > start and each.at < ended]
        run.stays.append(Stay(subscriber, room, asked, since, last, asked + 0.001, messages, None, ended))
        return run.stays[-1]

    for room in ("#a", "#b"):
        stay("ann", room, 99, 125).left = 124.9
        first = stay("bob", room, 99, 106)
        second = stay("bob", room, 108, 112, first.reached)
        stay("bob", room, 113, 125, second.reached).left = 124.9
        stay("cy", room, 110, 125)
    run.faults.append(Fault("kill", 106, 108))
    # dan searches for each text a second after it was sent, and for one that is acknowledged only later.
    stored = {row.text for row in run.rows}
    for ask in run.asks:
        run.looks.append(Look("dan", ask.text, ask.sent[0] + 1, (ask.text,) if ask.text in stored else ()))
    run.looks.append(Look("dan", run.asks[30].text, run.asks[30].sent[0], ()))
    return run


def swap_rows(run: Run) -> None:
    """Two neighbours of different senders change places in the history, long after each other."""
    first, second = run.row("#a", 20), run.row("#a", 40)
    one, other = run.rows[first], run.rows[second]
    run.rows[first] = one._replace(text=other.text, sender=other.sender, kind=other.kind)
    run.rows[second] = other._replace(text=one.text, sender=one.sender, kind=one.kind)


def drop_row(run: Run) -> None:
    del run.rows[run.row("#a", 30)]


def drop_row_and_close_up(run: Run) -> None:
    """A message is lost, and nobody can see it from the numbers."""
    drop_row(run)
    run.rows = [row._replace(number=row.number - (row.room == "#a" and row.number > 30)) for row in run.rows]


def double_row(run: Run) -> None:
    """A message is there once more, at the end."""
    last = max(row.number for row in run.rows if row.room == "#b")
    run.rows.append(run.rows[run.row("#b", 10)]._replace(number=last + 1))


def invent_row(run: Run) -> None:
    last = max(row.number for row in run.rows if row.room == "#b")
    run.rows.append(Row("#b", last + 1, "w0", "say", "never said"))


def change_text(run: Run) -> None:
    at = run.row("#a", 30)
    run.rows[at] = run.rows[at]._replace(text="never said")


def change_sender(run: Run) -> None:
    at = run.row("#a", 30)
    run.rows[at] = run.rows[at]._replace(sender="w7")


def store_refused(run: Run) -> None:
    ask = next(ask for ask in run.asks if ask.outcome == "fail" and ask.room == "#a")
    last = max(row.number for row in run.rows if row.room == "#a")
    run.rows.append(Row("#a", last + 1, ask.sender, ask.kind, ask.text))


def deny_stored(run: Run) -> None:
    """The server says that it does not know the token, but has what was sent under it."""
    run.ask("#a", 30).denied = True


def store_unknown_twice(run: Run) -> None:
    ask = next(ask for ask in run.asks if ask.outcome == "unknown" and ask.room == "#a")
    last = max(row.number for row in run.rows if row.room == "#a")
    run.rows += [Row("#a", last + count, ask.sender, ask.kind, ask.text) for count in (1, 2)]
    run.rows = list(dict.fromkeys(run.rows))


def acknowledge_other_number(run: Run) -> None:
    ask = next(ask for ask in run.asks if len(ask.acks) == 2)
    ask.acks[1] = ask.acks[1]._replace(number=ask.acks[1].number + 1)


def unseen(run: Run) -> None:
    """ann does not see a message in the middle."""
    del run.stays_of("ann", "#a")[0].messages[20]


def seen_twice(run: Run) -> None:
    messages = run.stays_of("ann", "#a")[0].messages
    messages.insert(31, messages[30])


def seen_swapped(run: Run) -> None:
    messages = run.stays_of("ann", "#a")[0].messages
    messages[30], messages[31] = messages[31], messages[30]


def seen_invented(run: Run) -> None:
    messages = run.stays_of("ann", "#a")[0].messages
    messages[30] = messages[30]._replace(text="never said")


def seen_beyond_the_history(run: Run) -> None:
    """ann has seen a message that the history has not."""
    stay = run.stays_of("ann", "#a")[0]
    stay.messages.append(stay.messages[-1]._replace(number=stay.messages[-1].number + 1, text="never said"))


def unseen_at_the_end(run: Run) -> None:
    """ann leaves in order, and the end was not shown to her."""
    del run.stays_of("ann", "#a")[0].messages[-3:]


def joined_too_early(run: Run) -> None:
    """On joining, cy gets an older last number than was acknowledged, and all messages from there."""
    stay = run.stays_of("cy", "#a")[0]
    earlier = run.stays_of("ann", "#a")[0].messages[stay.last - 1]
    stay.last -= 1
    stay.messages.insert(0, earlier)


def acknowledged_out_of_order(run: Run) -> None:
    """Message 41 was acknowledged before message 20 was sent."""
    ask = run.ask("#a", 41)
    ask.sent[0] = run.ask("#a", 20).sent[0] - 1
    ask.acks[0] = ask.acks[0]._replace(at=ask.sent[0] + 0.01)


def sender_out_of_order(run: Run) -> None:
    """Two by the same sender, both under way at the same time, are stored in the other order."""
    first = run.ask("#a", 30)
    second = next(run.ask("#a", number) for number in (31, 32, 33) if run.ask("#a", number).sender == first.sender)
    second.sent[0] = first.sent[0] - 0.01


def come_back_with_a_gap(run: Run) -> None:
    del run.stays_of("bob", "#a")[1].messages[0]


def come_back_with_a_repeat(run: Run) -> None:
    first, second, _ = run.stays_of("bob", "#a")
    second.messages.insert(0, first.messages[-1])


def come_back_to_less(run: Run) -> None:
    """The room's last number is below what bob has seen."""
    second = run.stays_of("bob", "#a")[1]
    second.last = second.since - 1


def come_back_with_another_number(run: Run) -> None:
    """bob comes back with another number than that of the last message it saw."""
    del run.stays_of("bob", "#a")[0].messages[-1]


def late(run: Run) -> None:
    """ann is shown a message 2.1 s after it was acknowledged, and what is after it in time."""
    ask = run.ask("#a", 20)
    messages = run.stays_of("ann", "#a")[0].messages
    at = next(at for at, each in enumerate(messages) if each.number == 20)
    messages[at] = messages[at]._replace(at=ask.acks[0].at + 2.1)


def answered_late(run: Run) -> None:
    """w0 is in the room all the time, and waits 2.1 s for an acknowledgement."""
    ask = run.ask("#a", 20)
    ask.acks[0] = ask.acks[0]._replace(at=ask.sent[0] + 2.1)
    run.stays.append(dataclasses.replace(run.stays_of("ann", "#a")[0], subscriber=ask.sender))


def not_found(run: Run) -> None:
    """dan does not find what was acknowledged a second before."""
    at = next(at for at, look in enumerate(run.looks) if look.text == run.ask("#a", 30).text)
    run.looks[at] = run.looks[at]._replace(found=())


def found_but_never_stored(run: Run) -> None:
    """dan finds what was refused."""
    at = next(at for at, look in enumerate(run.looks) if not look.found)
    run.looks[at] = run.looks[at]._replace(found=(run.looks[at].text,))


BROKEN: dict[Callable[[Run], None], set[str]] = {
    drop_row: {"C1", "C3", "C4", "C8"},
    drop_row_and_close_up: {"C1", "C4", "C8"},
    double_row: {"C1", "C5"},
    swap_rows: {"C1", "C4", "C5"},
    invent_row: {"C3"},
    change_text: {"C1", "C3", "C4", "C8"},
    change_sender: {"C1", "C3", "C4"},
    store_refused: {"C2", "C5"},
    deny_stored: {"C2"},
    store_unknown_twice: {"C2", "C5"},
    acknowledge_other_number: {"C1"},
    unseen: {"C4", "C7"},
    seen_twice: {"C4"},
    seen_swapped: {"C4"},
    seen_invented: {"C4"},
    seen_beyond_the_history: {"C4"},
    unseen_at_the_end: {"C4", "C7"},
    joined_too_early: {"C4"},
    acknowledged_out_of_order: {"C5", "C7"},
    sender_out_of_order: {"C5"},
    come_back_with_a_gap: {"C6"},
    come_back_with_a_repeat: {"C6"},
    come_back_to_less: {"C4", "C6"},
    come_back_with_another_number: {"C6"},
    late: {"C7"},
    answered_late: {"C7"},
    not_found: {"C8"},
    found_but_never_stored: {"C8"},
}


def test_a_run_that_kept_every_promise_has_no_violations_and_every_check_had_something_to_check():
    run = good_run()
    results = run.results()
    assert [each.check for each in results] == ["C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8"]
    assert [each.violations for each in results] == [[]] * 8
    assert all(each.judged > 0 for each in results)
    assert {ask.outcome for ask in run.asks} == {"ok", "fail", "unknown"}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_promise_is_found(broken):
    run = good_run()
    broken(run)
    assert run.found() == BROKEN[broken]


def test_every_check_finds_something():
    assert set().union(*BROKEN.values()) == {f"C{number}" for number in range(1, 9)}


@pytest.mark.parametrize("change", ["drop", "double", "swap", "invent"])
@pytest.mark.parametrize("where", ["history", "seen"])
def test_any_message_that_is_dropped_doubled_swapped_or_invented_is_found(where, change):
    """In a hundred places each. The last messages of bob and cy are left out: their connection may have broken."""
    chance = random.Random(change)
    for _ in range(100):
        run = good_run()
        messages = run.rows if where == "history" else chance.choice(run.stays).messages
        at = chance.randrange(len(messages) - 1)
        if change == "drop":
            del messages[at]
        elif change == "double":
            messages.insert(at + 1, messages[at])
        elif change == "swap":
            other = chance.randrange(len(messages) - 1)
            if messages[at].text == messages[other].text:
                continue
            one, two = messages[at], messages[other]
            messages[at], messages[other] = one._replace(text=two.text), two._replace(text=one.text)
        else:
            messages[at] = messages[at]._replace(text="never said")
        assert run.found(), (where, change, at)


@pytest.mark.parametrize("room", ["#a", "#b"])
def test_the_last_message_of_a_room_is_missed_when_it_was_acknowledged(room):
    """The history itself does not show that it is gone."""
    run = good_run()
    run.rows.remove(max((row for row in run.rows if row.room == room), key=lambda row: row.number))
    assert "C1" in run.found()


def test_a_text_that_may_be_stored_is_unknown_however_often_it_was_sent():
    for sent in ([1.0], [1.0, 2.0]):
        ask = Ask("w0", "#a", "say", "w0 1", sent, refusals=[Refusal(3.0, "maybe_stored")])
        assert ask.outcome == "unknown"


def test_a_late_message_during_a_fault_is_not_judged():
    run = good_run()
    late(run)
    at = run.ask("#a", 20).acks[0].at
    run.faults.append(Fault("stopped", at + 1, at + 1.5, server=0))
    assert run.found() == set()
    run.faults[-1] = run.faults[-1]._replace(server=1)  # another server's
    assert run.found() == {"C7"}


@pytest.mark.parametrize(
    ("later", "faults", "judged"),
    [
        (1, [], False),
        (2.5, [], True),
        (2.5, [Fault("engine", 104, 105)], False),
        (9, [Fault("engine", 104, 105)], True),
        (2.5, [Fault("cut", 104, 105, server=0)], False),
        (2.5, [Fault("cut", 104, 105, server=1)], True),  # another server's
        (2.5, [Fault("kills of servers", 104, 105, server=0)], True),  # a server that starts has read all
    ],
)
def test_servers_that_are_apart_have_a_moment_without_a_fault_to_hear_of_what_others_acknowledged(
    later, faults, judged
):
    run = good_run()
    ask = run.ask("#a", 24)
    assert 103 < ask.done < 104
    looks = [*run.looks, Look("dan", ask.text, ask.done + later, ())]
    results = checker.check(run.asks, run.stays, run.rows, faults, looks, apart=True)
    assert {each.check for each in results if each.violations} == ({"C8"} if judged else set())


def test_a_client_that_does_not_read_is_not_timed_but_the_others_are():
    run = good_run()
    late(run)
    at = run.ask("#a", 20).acks[0].at
    run.faults.append(Fault("slow", at - 5, at + 5, frozenset({"bob"})))
    assert run.found() == {"C7"}
    run.faults[-1] = run.faults[-1]._replace(who=frozenset({"ann"}))
    assert run.found() == set()


def test_a_text_sent_again_and_refused_for_a_reason_other_than_the_history_is_unknown():
    """The first time may still be waiting to be stored when the second is refused."""
    ask = Ask("w0", "#a", "say", "w0 1", [1.0, 2.0], refusals=[Refusal(3.0, "not_in_room")])
    assert ask.outcome == "unknown"
    ask.refusals[0] = Refusal(3.0, "not_stored")
    assert ask.outcome == "fail"
    ask = Ask("w0", "#a", "say", "w0 1", [1.0], refusals=[Refusal(3.0, "not_in_room")])
    assert ask.outcome == "fail"


def test_one_text_for_two_asks_is_no_run_to_be_judged():
    ask = Ask("w0", "#a", "say", "w0 1", [1.0])
    with pytest.raises(ValueError, match="two asks"):
        checker.check([ask, ask], [], [])


def test_a_banned_person_who_still_speaks_is_found():
    governor = rules.Governor(world.World(1, 1), [])
    governor._enters("#room1")
    said = {"type": "message", "room": "#room1", "number": 1, "from": "w1", "kind": "say", "text": "hello"}
    notice = {"type": "moderated", "room": "#room1", "by": "g1", "name": "w1"}
    governor._take(said)
    governor._take({**notice, "action": "ban"})
    governor._take({**notice, "action": "unban"})
    governor._take(said)
    governor._take({**notice, "action": "ban"})
    with pytest.raises(connection.Odd, match="a banned person spoke"):
        governor._take(said)


def test_a_row_that_one_history_has_and_another_has_not_is_found_also_in_a_table_that_is_new(tmp_path):
    copies = load("torture_copies")
    for name, used in (("a", 3), ("b", 5), ("c", 1)):
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as db, db:
            db.execute("CREATE TABLE tokens (id, name, kept, used)")
            db.execute("CREATE TABLE doomed (room)")
            db.execute("CREATE TABLE new (value)")
            db.executemany("INSERT INTO tokens VALUES (?, 'ann', 1, ?)", [(1, 2), (2, used)])
            db.execute("INSERT INTO doomed VALUES (?)", (name,))
    a, b, c = [copies.rows(tmp_path / name) for name in "abc"]
    assert copies.differences(a, b) == []
    assert [found.split(":")[0] for found in copies.differences(a, c)] == ["4 rows of tokens"]
    assert copies.differences(a, {**b, "new": [("x",)]}) == ["1 rows of new: [('x',)]"]


def test_private_lines_that_are_lost_late_doubled_or_invented_are_found():
    people = load("torture_people")
    line = people.Line("ann", "bob", "hi", 10.0, 1, copied=10.1)
    visits, told = [people.Visit("bob", 2, 5.0, 20.0)], []

    def found(came: list[float], faults: list[Fault] = [], text: str = "hi", nobody: bool = False) -> int:  # noqa: B006
        heard = [people.Heard("bob", "ann", text, at) for at in came]
        return len(people.lines_of([dataclasses.replace(line, nobody=nobody)], heard, told, visits, faults)[1])

    assert found([10.2]) == 0
    assert found([10.2, 10.3]) == 1
    assert found([12.2]) == found([]) == found([], nobody=True) == 1
    assert found([10.2], text="ho") == 2
    for server in (1, 2, None):
        assert found([], [Fault("cut", 11, 12, server=server)]) == 0
    assert found([], [Fault("cut", 11, 12, server=3)]) == 1
    visits.append(people.Visit("ann", 1, 5.0, 20.0))
    stopped = [Fault("stopped", 10, 11, server=2)]
    assert found([], stopped) == 1  # ann was not told
    assert found([], [Fault("stopped", 10, 11, server=1)]) == found([], stopped, nobody=True) == 0
    told.append(people.Told("ann", "bob", 15.2))
    assert found([], stopped) == 0
    visits[0].ended = 11.0
    assert found([]) == 0


def test_accounts_that_are_not_as_was_acknowledged_are_found():
    people = load("torture_people")

    def found(kept: dict[str, bool | None], asked: float = 10.0, faults: list[Fault] = []) -> int:  # noqa: B006
        told = people.Contradiction("ann has an account, and was told otherwise", 1, asked, known=7.0)
        return len(people.accounts_of(kept, {"ann", "bob"}, [told], faults)[1])

    assert found({"ann": True, "bob": None, "cy": False, "dan": None}, asked=8.0) == 0
    assert found({"ann": False, "bob": True, "cy": True}, asked=8.0) == 2
    assert found({}) == found({}, faults=[Fault("cut", 9, 9.5, server=2)]) == 1
    assert found({}, faults=[Fault("cut", 9, 9.5, server=1)]) == 0


# --- the clients on WebSockets -------------------------------------------------------------------------


@pytest.fixture
def hear():
    """A function that gives the types of the events which a client on a WebSocket takes out of some bytes."""
    server_protocol = pytest.importorskip("websockets.server").ServerProtocol
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def answer(data: bytes) -> None:
            sock, _ = server.accept()
            protocol = server_protocol()
            with sock:
                protocol.receive_data(sock.recv(65536))
                while not (events := protocol.events_received()):
                    protocol.receive_data(sock.recv(65536))
                protocol.send_response(protocol.accept(events[0]))
                sock.sendall(b"".join(protocol.data_to_send()) + data)

        def hear(data: bytes) -> list[str]:
            thread = threading.Thread(target=answer, args=(data,))
            thread.start()
            stack.callback(thread.join)
            connection = web.WebConnection(server.getsockname()[1], 0, random.Random(1), lambda what: None)
            stack.callback(connection.close)
            found = []
            with contextlib.suppress(web.Gone):
                while event := connection.next(5):
                    found.append(event["type"])
            return found

        yield hear


def in_frame(*lines: str) -> bytes:
    data = "".join(line + "\n" for line in lines).encode()
    return bytes((0x81, len(data))) + data


BYE = in_frame('{"type":"bye","reason":"quit"}')


def test_a_client_on_a_websocket_gets_the_lines_in_the_frames(hear):
    data = in_frame('{"type":"one"}', '{"type":"two"}') + BYE + b"\x88\x06\x03\xe8quit"
    assert hear(data) == ["one", "two", "bye"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x81\x02{}", "does not end with a line"),
        (b"\x01\x03{}\n", "a frame that begins with 0x01"),
        (b"\x82\x03{}\n", "a frame that begins with 0x82"),
        (b"\x81\x83abcd{}\n", "no server's frame"),
        (b"\x8a\x01x", "which was in no ping"),
        (b"\x88\x02\x03\xe8", "a Close with 1000 '' and without a bye"),
        (BYE + b"\x88\x06\x03\xe9quit", "after a bye with 'quit', a Close with 1001"),
        (BYE + b"\x88\x06\x03\xe8quit" + BYE, "after its Close the server sent"),
    ],
)
def test_a_server_that_breaks_the_rules_of_websockets_is_found(hear, data, why):
    with pytest.raises(web.Odd, match=why):
        hear(data)


# --- runs -----------------------------------------------------------------------------------------------

SMALL = ("--writers", "3", "--readers", "4", "--travellers", "1", "--searchers", "1", "--rooms", "2")
PLANTED = """
import sys

if "chat_threads" in sys.orig_argv:  # the server, not what starts it
    from chat_threads.events import Message
    from chat_threads.publisher import Publisher
    from chat_threads.storage import Storage

    commit, dispatch = Storage.commit, Publisher.dispatch_messages

    def commit_less(self, batch):
        batch.messages[:] = [each for each in batch.messages if each.number % 20]
        commit(self, batch)

    def dispatch_less(self, batch):
        dispatch(self, [each for each in batch if not isinstance(each, Message) or each.number % 20])

    def dispatch_wrong(self, batch):
        dispatch(self, batch)
        for each in batch:
            if isinstance(each, Message) and each.number % 20 == 0:
                raise RuntimeError("planted")

"""
LEFT_IN_THE_LOG = """
    import os, signal, struct
    from chat_threads import wal
    from chat_threads.history import History
    from chat_threads.storage import StorageError

    handle, committed, failed = History._handle, [], []

    def commit_late(self, batch):
        if len(committed) >= 20 and batch.messages:
            with open(os.environ["TORTURE_CALLS"], "r+b") as numbers:
                numbers.write(struct.pack("4i", 1, 0, 5, 2))  # the write that ends the commit is done, and fails
        try:
            commit(self, batch)
        except StorageError:
            failed.append(batch)
            raise
        committed.append(batch)

    def handle_and_die(self, items):
        handle(self, items)
        if failed:
            self._flush()  # the senders are told
            os.kill(os.getpid(), signal.SIGKILL)

    Storage.commit, History._handle, wal.Log.undo = commit_late, handle_and_die, lambda *_: True
"""


def torture(*options: str, env: dict[str, str] | None = None, wait: float = 80) -> subprocess.CompletedProcess[str]:
    """Run the script. It is asked to end, and cleans up, if it takes too long."""
    with subprocess.Popen(
        [sys.executable, SCRIPTS / "torture.py", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    ) as process:
        try:
            out, err = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def value(output: str, what: str) -> int:
    """A number of the table at the end."""
    [line] = [line for line in output.splitlines() if line.startswith(what + "  ")]
    return int(line.split()[-1].replace(",", ""))


def test_a_short_run_with_a_kill_keeps_every_promise_and_all_that_is_needed_to_find_a_cause(tmp_path):
    kept = tmp_path / "kept"
    options = ("--minutes", "0.1", "--seed", "25", *SMALL, "--min-acks", "50", "--min-kills", "1")
    done = torture(*options, "--keep", str(kept))
    assert done.returncode == 0, done.stdout + done.stderr
    assert value(done.stdout, "seed") == 25
    assert value(done.stdout, "kills") >= 1
    assert value(done.stdout, "acknowledged") >= 50
    if importlib.util.find_spec("websockets"):
        assert value(done.stdout, "clients on WebSockets") == 5  # of 9: the first and the fourth of each kind
    if shutil.which("openssl"):
        assert value(done.stdout, "clients that speak TLS") == 3
    assert done.stdout.count("  ok") == 9
    files = {"chat.db", "server.log", "asks.jsonl", "stays.jsonl", "faults.jsonl"}
    assert files <= {path.name for path in kept.iterdir()}


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("Storage.commit = commit_less", "C1: "),
        ("Publisher.dispatch_messages = dispatch_less", "C4: "),
        ("Publisher.dispatch_messages = dispatch_wrong", "rest: the server ended by itself, and exited with 70"),
    ],
)
def test_a_server_that_breaks_a_promise_is_found(tmp_path, planted, found):
    (tmp_path / "sitecustomize.py").write_text(PLANTED + "    " + planted + "\n")
    options = ("--minutes", "0.05", "--seed", "4", *SMALL, "--min-acks", "0", "--min-kills", "0")
    done = torture(*options, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert f"\n{found}" in done.stdout, done.stdout + done.stderr


def test_a_server_whose_refused_texts_come_back_is_found(tmp_path):
    """The server leaves in SQLite's log what has failed, and is killed when it has told the senders."""
    (tmp_path / "sitecustomize.py").write_text(PLANTED + LEFT_IN_THE_LOG)
    options = ("--minutes", "0.05", "--seed", "4", *SMALL, "--min-acks", "0", "--min-kills", "0")
    done = torture(*options, env={"PYTHONPATH": str(tmp_path)})
    if "skipped: it needs Linux and a C compiler" in done.stdout:
        pytest.skip("no call can be made to fail here")
    assert "\nC2: " in done.stdout, done.stdout + done.stderr
    assert "exited with -9" in done.stdout


@pytest.mark.stress
@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [(), ("--", "--writers", "per-session", "--sync", "full")])
def test_a_longer_run_keeps_every_promise(options):
    done = torture("--minutes", "0.5", "--seed", "25", "--min-kills", "2", *options, wait=240)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_servers_that_share_an_engine_keep_every_promise_and_have_the_same_histories():
    pytest.importorskip("psycopg")
    if load("engine").programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    options = ("--servers", "3", "--minutes", "0.3", "--seed", "1", "--min-acks", "100", "--min-kills", "1")
    done = torture(*options, wait=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  ok") == 11
