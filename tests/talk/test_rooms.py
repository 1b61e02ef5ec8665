"""Rooms that nobody needs disappear, and nobody can use up all the rooms."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from support.clients import Program, Start
from support.servers import Process, Running
from support.waiting import WAIT, wait_for

from chat_threads import ordered, publisher, quota, register
from chat_threads.batch import Batch, StoredRef
from chat_threads.errors import NotStored, RoomGone, TooManyRooms
from chat_threads.events import Message
from chat_threads.history import History
from chat_threads.mailbox import Life
from chat_threads.ordered import Draft, RoomMade, TokenUsed, TopicSet
from chat_threads.parcel import Views
from chat_threads.quota import Quota
from chat_threads.storage import Storage
from chat_threads.storage_errors import StorageError


def rooms_of(program: Program) -> list[str]:
    """The names of all rooms."""
    return sorted(row["room"] for row in program.ask(type="rooms")[0]["rooms"])


def stored(db: pathlib.Path | str) -> list[str]:
    """The names of the rooms that are in the file."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        return sorted(name for (name,) in reader.execute("SELECT name FROM rooms"))


def codes(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["code"] for answer in answers if answer["type"] == "error"]


# --- rooms that are of no use ---------------------------------------------------------------------------


def test_a_room_disappears_with_its_last_member_if_nothing_was_said_and_it_has_no_topic(
    serve: Callable[..., Running], program: Start
) -> None:
    server = serve()
    ann, bob = program("ann", server), program("bob", server)
    ann.ask({"type": "join", "room": "#lab"})
    bob.ask({"type": "join", "room": "#lab"})
    ann.ask(type="leave", room="#lab")
    assert rooms_of(ann) == ["#lab", "#lobby"]
    bob.ask(type="leave", room="#lab")
    assert rooms_of(ann) == ["#lobby"]
    assert stored(server.chat.storage.path) == ["#lobby"]
    assert codes(ann.ask(type="who", room="#lab")) == ["unknown_room"]
    assert codes(ann.ask(type="say", room="#lab", text="hello")) == ["unknown_room"]


@pytest.mark.parametrize(
    "use", [{"type": "say", "text": "hello"}, {"type": "topic", "text": "graphs"}], ids=["said", "topic"]
)
def test_a_room_with_a_message_or_a_topic_stays(
    serve: Callable[..., Running], program: Start, use: dict[str, str]
) -> None:
    server = serve()
    ann = program("ann", server)
    ann.ask({"type": "join", "room": "#lab"}, {**use, "room": "#lab"}, {"type": "leave", "room": "#lab"})
    assert rooms_of(ann) == stored(server.chat.storage.path) == ["#lab", "#lobby"]
    if use["type"] == "topic":
        ann.ask({"type": "join", "room": "#lab"}, {"type": "topic", "room": "#lab", "text": "-"})
        ann.ask(type="leave", room="#lab")
        assert rooms_of(ann) == ["#lobby"]


@pytest.mark.parametrize("end", ["quit", "the connection is lost"])
def test_a_room_disappears_however_its_last_member_goes_and_the_lobby_stays(
    serve: Callable[..., Running], program: Start, end: str
) -> None:
    server = serve()
    ann = program("ann", server, room="#lab")
    ann.ask({"type": "join", "room": "#hall"}, {"type": "join", "room": "#lobby"})
    if end == "quit":
        ann.send(type="quit")
        ann.rest()
    ann.close()
    bob = program("bob", server, room="#other")
    wait_for(lambda: rooms_of(bob) == ["#lobby", "#other"], "ann's reader sees the end")
    assert stored(server.chat.storage.path) == ["#lobby", "#other"]


def test_a_room_whose_maker_is_gone_before_entering_it_disappears(house: House) -> None:
    """Its reader finds the session ended between making and entering."""
    room = house.make("#lab")
    ann = house.person("ann")
    ann.gone = True
    assert house.publisher.subscribe(ann, room, 20) is None
    house.submit(ordered.LeftAll(ann))
    assert house.rooms() == ["#lobby"]


def test_a_room_whose_maker_could_not_enter_it_disappears(house: House) -> None:
    room = house.make("#lab")
    ann = house.person("ann")
    ann.next_page = lambda: 1 // 0
    with pytest.raises(ZeroDivisionError):
        house.publisher.subscribe(ann, room, 20)
    house.submit(ordered.LeftAll(ann))
    assert house.rooms() == ["#lobby"]


def test_a_person_who_joins_while_the_last_one_leaves_is_in_a_room_that_exists(
    serve: Callable[..., Running], program: Start
) -> None:
    """Many at the same moment, again and again."""
    server = serve()
    people = [program(f"ann{number}", server) for number in range(6)]
    acknowledged: list[str] = []

    def come_and_go(number: int) -> None:
        me = people[number]
        for count in range(40):
            me.send(type="join", room="#lab", ref=f"join {count}")
            me.expect("joined", room="#lab", ref=f"join {count}")
            if number == 0 and count == 39:
                answer = me.ask(type="say", room="#lab", text="the only one", ref="say")
                acknowledged.extend(each["type"] for each in answer if each.get("ref") == "say")
            me.ask(type="leave", room="#lab")

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert not any(thread.is_alive() for thread in threads)
    assert acknowledged == ["ack"]
    late = program("late", server)
    assert rooms_of(late) == stored(server.chat.storage.path) == ["#lab", "#lobby"]
    assert late.ask(type="history", room="#lab")[0]["messages"][0]["text"] == "the only one"


def test_a_room_that_is_made_again_starts_at_1_whatever_since_says(
    serve: Callable[..., Running], program: Start
) -> None:
    server = serve()
    ann = program("ann", server)
    for _ in range(2):
        ann.ask({"type": "join", "room": "#lab"}, {"type": "leave", "room": "#lab"})
    bob = program("bob", server)
    bob.send(type="join", room="#lab", since=0)
    assert bob.expect("joined", room="#lab")["last"] == 0
    assert bob.ask(type="say", room="#lab", text="first", ref="1")[-1]["number"] == 1
    cy = Program(server.port)
    with closing(cy):
        cy.send(type="hello", name="cy", since={"#lab": 0, "#gone": 7})
        assert cy.expect("message", room="#lab")["text"] == "first"
        assert cy.expect("joined", room="#gone")["last"] == 0


# --- the history thread ---------------------------------------------------------------------------------


class Person:
    """The part of a subscriber that the Publisher uses."""

    views: Any = Views("here", "there")  # type: ignore[arg-type]
    address = "10.0.0.1"

    def __init__(self, name: str, identity: int = 0) -> None:
        self.name, self.identity = name, identity
        self.mailbox = self
        self.life = Life.OPEN
        self.gone = False

    def push(self, parcel: object) -> bool:
        return True

    add = push

    def next_page(self) -> bool:
        return not self.gone

    def was_shown(self, size: int) -> None:
        pass


class Store(Storage):
    failing = False

    def commit(self, batch: Batch) -> None:
        if self.failing:
            raise StorageError("disk full")
        super().commit(batch)


class House:
    """A Publisher and a History. The test's thread acts as the history thread."""

    def __init__(self, path: pathlib.Path) -> None:
        self.storage = Store(str(path))
        self.history = History(self.storage)
        self.queued: list[ordered.Ordered] = []
        self.publisher = publisher.Publisher(
            lambda sessions: None,
            lambda *what: (),
            lambda *what: (),
            self.queued.append,  # type: ignore[arg-type]
        )
        self.publisher._address = lambda view, shown, members: (shown, ())  # type: ignore
        self.refused: list[object] = []
        self.history._publish = self.publisher.dispatch_messages
        self.history._refuse = lambda item, error: self.refused.append(type(error))
        self.history._announce = lambda error: None
        self.publisher.create_chat_room("#lobby", "chat_threads")
        self.submit()

    @staticmethod
    def person(name: str, identity: int = 0) -> Any:
        return Person(name, identity)

    def submit(self, *items: ordered.Ordered) -> None:
        """Let the history thread take what is queued, and these, in one batch."""
        batch = [*self.queued, *items]
        self.queued.clear()
        self.history._handle(batch)

    def make(self, name: str, person: Any = None) -> Any:
        return self.publisher.create_chat_room(name, "ann", origin=person)

    def rooms(self) -> list[str]:
        return sorted(row.room for row in self.publisher.list_chat_rooms())


@pytest.fixture
def house(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(publisher, "Parcel", lambda view, shown, output: SimpleNamespace(size=0))
    house = House(tmp_path / "chat.db")
    yield house
    house.storage.close()


def entered(house: House, name: str, room: Any) -> Any:
    person = house.person(name)
    house.submit(house.publisher.subscribe(person, room, 20))  # type: ignore[arg-type]
    return person


def test_a_message_that_comes_after_its_room_has_disappeared_is_refused(house: House) -> None:
    room = house.make("#lab")
    ann = entered(house, "ann", room)
    house.submit(ordered.Left(room.id, ann))
    house.submit(Draft(room.id, "#lab", "ann", "say", "late", None), TopicSet(room.id, "ann", "late", None))
    assert house.refused == [RoomGone, RoomGone]
    assert house.storage.count() == 0


def test_a_message_in_the_batch_in_which_everybody_leaves_keeps_the_room(house: House) -> None:
    """The message is committed and acknowledged, whether it comes before or after."""
    room = house.make("#lab")
    ann = entered(house, "ann", room)
    house.submit(ordered.Left(room.id, ann), Draft(room.id, "#lab", "ann", "say", "late", None))
    assert house.refused == []
    assert house.rooms() == stored(house.storage.path) == ["#lab", "#lobby"]
    assert house.storage.count() == 1


def test_a_room_that_somebody_entered_in_the_meantime_stays(house: House) -> None:
    room = house.make("#lab")
    ann = entered(house, "ann", room)
    bob = house.person("bob")
    joined = house.publisher.subscribe(bob, room, 20)
    house.submit(ordered.Left(room.id, ann))
    assert house.rooms() == ["#lab", "#lobby"]
    house.submit(joined)  # type: ignore[arg-type]
    house.publisher.unsubscribe(bob)  # as when the history is stuck
    house.submit(ordered.LeftAll(bob))
    assert house.rooms() == stored(house.storage.path) == ["#lobby"]


def test_a_room_that_disappears_before_its_row_is_stored_is_never_stored(house: House) -> None:
    room = house.make("#lab")
    ann = house.person("ann")
    house.publisher.subscribe(ann, room, 20)
    house.publisher.unsubscribe(ann)
    made = house.queued.pop()
    house.submit(ordered.NameChanged(ann, "ann", "anna"))  # anything, as long as it comes before
    assert house.rooms() == ["#lobby"]
    again = house.make("#lab")
    house.submit(made)
    assert stored(house.storage.path) == ["#lab", "#lobby"]
    assert {row.id for row in house.storage.rooms()} == {1, again.id}
    assert not house.history._rooms._unborn


def test_a_full_disk_keeps_a_row_until_there_is_room_again_and_the_name_is_free_all_the_same(house: House) -> None:
    room = house.make("#lab")
    ann = entered(house, "ann", room)
    house.storage.failing = True
    house.submit(ordered.Left(room.id, ann))
    assert house.rooms() == ["#lobby"]
    assert stored(house.storage.path) == ["#lab", "#lobby"]
    again = house.make("#LAB")
    house.submit()
    bob = entered(house, "bob", again)
    house.storage.failing = False
    house.submit(Draft(again.id, "#LAB", "bob", "say", "hello", None))
    assert stored(house.storage.path) == ["#LAB", "#lobby"]
    house.submit(ordered.Left(again.id, bob))
    assert house.rooms() == ["#LAB", "#lobby"]


def test_a_room_that_was_never_stored_for_want_of_space_disappears_too(house: House) -> None:
    house.storage.failing = True
    room = house.make("#lab")
    ann = entered(house, "ann", room)
    house.submit(ordered.Left(room.id, ann))
    house.storage.failing = False
    house.make("#lab")
    house.submit()
    assert house.rooms() == stored(house.storage.path) == ["#lab", "#lobby"]


def test_a_token_is_not_worth_more_for_a_room_that_has_disappeared(house: House) -> None:
    def kept() -> list[int]:
        return [row[0] for row in house.storage._read("SELECT kept FROM tokens ORDER BY id", ())]

    house.submit(TokenUsed(1, "ann"), TokenUsed(2, "bob"), TokenUsed(3, "cy"))
    house.storage.commit(Batch(refs=[StoredRef(2, 1, "1", "#lobby", 1)]))
    rooms = []
    for owner in (1, 2, 3):
        owned = house.person("somebody", owner)
        rooms.append(house.make(f"#lab{owner}", owned))
        house.submit(house.publisher.subscribe(owned, rooms[-1], 20))  # type: ignore[arg-type]
        house.submit(TokenUsed(owner, "somebody"))
    house.submit(TopicSet(rooms[2].id, "cy", "graphs", None))
    assert kept() == [1, 1, 1]
    for room in rooms:
        for member in list(room.members):
            house.submit(ordered.LeftAll(member))
    assert house.rooms() == ["#lab3", "#lobby"]
    assert kept() == [0, 1, 1]


# --- what is left over ----------------------------------------------------------------------------------


def test_at_the_start_unused_rooms_that_are_left_over_disappear_and_all_others_stay(
    serve: Callable[..., Running], program: Start, tmp_path: pathlib.Path
) -> None:
    db = tmp_path / "chat.db"
    with closing(Storage(str(db))) as storage:
        names = ["#lobby", *(f"#r{number}" for number in range(2, register.ROOMS + 1))]
        rooms = [RoomMade(number, name, name, "", "ann", 0) for number, name in enumerate(names, 1)]
        storage.commit(Batch(rooms))
        storage.commit(Batch(messages=[Message(7, "#r7", 1, 1000, "ann", "say", "hello")], topics={8: "graphs"}))
        storage.commit(Batch(messages=[Message(9, "#r9", 1, 10, "ann", "say", "old")]))
        storage.sweep(1000)
    server = serve(db=str(db))
    ann = program("ann", server)
    assert rooms_of(ann) == stored(db) == ["#lobby", "#r7", "#r8", "#r9"]
    assert ann.ask(type="create", room="#new")[0]["type"] == "joined"


def test_with_a_full_disk_the_server_starts_and_keeps_unused_rooms(
    serve: Callable[..., Running], program: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(storage: Storage, kept: str) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(Storage, "forget_unused_rooms", full)
    assert rooms_of(program("ann", serve())) == ["#lobby"]
    assert "unused rooms are still in the file: disk full" in caplog.text


# --- how many -------------------------------------------------------------------------------------------


def test_a_client_that_makes_and_leaves_rooms_without_end_takes_none_from_others(
    serve: Callable[..., Running], program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "ROOMS", 30)
    monkeypatch.setattr(quota, "ROOMS_MADE", 10)
    monkeypatch.setattr(quota, "AT_ONCE", 20)
    server = serve()
    ann = program("ann", server)
    for number in range(200):
        ann.ask({"type": "create", "room": f"#a{number}"}, {"type": "leave", "room": f"#a{number}"})
    assert rooms_of(ann) == ["#lobby"]
    told = []
    for number in range(100):
        told += codes(ann.ask(type="create", room=f"#b{number}", topic="mine"))
        ann.ask(type="leave", room=f"#b{number}")
    assert told == ["too_many_rooms"] * 90
    bob = program("bob", server)
    assert bob.ask(type="create", room="#lab")[0]["type"] == "joined"
    assert codes(bob.ask({"type": "delete", "room": "#b1"}, {"type": "create", "room": "#b1"})) == [
        "not_allowed",
        "room_exists",
    ]
    assert codes(ann.ask({"type": "delete", "room": "#b1"}, {"type": "create", "room": "#c", "topic": "mine"})) == []


def make_in_vain(maker: Program, *names: str) -> list[str]:
    """Make rooms with a topic, enter each, say nothing and leave; return the codes of the errors."""
    told = []
    for name in names:
        told += codes(maker.ask(type="create", room=name, topic="mine"))
        maker.ask(type="leave", room=name)
    return told


def test_rooms_in_which_nothing_was_ever_said_keep_nobody_from_making_rooms(
    serve: Callable[..., Running], program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rooms whose makers are away go first, the oldest first."""
    monkeypatch.setattr(register, "ROOMS", 40)  # so 36 may stay
    monkeypatch.setattr(quota, "NEWEST", 3)
    monkeypatch.setattr(quota, "SURPLUS_PAUSE", 0.0)
    server = serve()
    ann, bob = program("ann", server), program("bob", server)
    ann.ask({"type": "create", "room": "#said"}, {"type": "say", "room": "#said", "text": "hello"})
    ann.ask({"type": "leave", "room": "#said"}, {"type": "create", "room": "#held", "topic": "mine"})
    assert make_in_vain(bob, "#prepared") == []
    with closing(Program(server.port)) as mallory:
        mallory.send(type="hello", name="mallory")
        mallory.expect("joined")
        assert make_in_vain(mallory, *(f"#m{number}" for number in range(45))) == []
    stay = ["#held", "#lobby", "#prepared", "#said"]
    assert make_in_vain(bob, "#b1", "#b2") == []
    wait_for(lambda: ann.ask(type="ping") and len(rooms_of(ann)) == 36)
    left = set(rooms_of(ann)) - set(stay)
    assert {"#b1", "#b2", "#m44"} <= left
    assert left == {"#b1", "#b2", *(f"#m{number}" for number in range(45 - 30, 45))}
    wait_for(lambda: stored(server.chat.storage.path) == rooms_of(ann))


def test_a_server_that_was_filled_with_silent_rooms_has_space_again_after_a_restart(
    serve: Callable[..., Running], program: Start, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "ROOMS", 40)
    monkeypatch.setattr(quota, "NEWEST", 3)
    db = tmp_path / "chat.db"
    with closing(Storage(str(db))) as storage:
        names = ["#lobby", *(f"#r{number}" for number in range(2, 41))]
        storage.commit(Batch([RoomMade(number, name, name, "mine", "ann", 0) for number, name in enumerate(names, 1)]))
    ann = program("ann", serve(db=str(db)))
    ann.ask(type="say", text="hello")
    assert ann.ask(type="create", room="#new")[0]["type"] == "joined"


def test_a_room_that_had_to_go_gives_its_makers_address_no_other_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "ROOMS", 10)
    monkeypatch.setattr(quota, "NEWEST", 0)
    monkeypatch.setattr(quota, "SURPLUS_PAUSE", 0.0)
    monkeypatch.setattr(quota, "AT_ONCE", 12)
    house.publisher._register.quota = Quota(clock=lambda: 0.0)
    mallory = house.person("mallory", identity=666)
    for number in range(12):
        room = house.publisher.create_chat_room(f"#r{number}", "mallory", "mine", mallory)
        house.submit(house.publisher.subscribe(mallory, room, 20), ordered.LeftAll(mallory))  # type: ignore[arg-type]
    assert len(house.rooms()) == 9
    with pytest.raises(TooManyRooms):
        house.make("#more", mallory)


@pytest.mark.slow
def test_the_limit_of_rooms_per_person_holds_under_any_name_and_after_a_restart(
    start_process: Callable[..., Process], tmp_path: pathlib.Path
) -> None:
    process = start_process("--rate", "0")
    with closing(Program(process.port)) as ann:
        ann.send(type="hello", name="ann", token="")
        token = ann.expect("welcome")["token"]
        for number in range(quota.ROOMS_MADE):
            ann.ask(
                {"type": "create", "room": f"#r{number}", "topic": "mine"}, {"type": "leave", "room": f"#r{number}"}
            )
        ann.ask(type="nick", name="bob")
        (error,) = [each for each in ann.ask(type="create", room="#more") if each["type"] == "error"]
        assert error["code"] == "too_many_rooms"
    assert process.stop() == 0
    process = start_process("--rate", "0")
    with closing(Program(process.port)) as ann, closing(Program(process.port)) as cy:
        ann.send(type="hello", name="ann", token=token)
        assert codes(ann.ask(type="join", room="#more")) == ["too_many_rooms"]
        cy.send(type="hello", name="cy")
        assert codes(cy.ask(type="join", room="#more")) == []
        assert codes(ann.ask({"type": "delete", "room": "#r3"}, {"type": "join", "room": "#again"})) == []
    assert process.stop() == 0


def test_an_address_makes_a_burst_of_rooms_and_then_as_many_as_time_brings_or_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota, "AT_ONCE", 3)
    now = [0.0]
    rooms = Quota(lambda: now[0])
    for owner in (1, 2, 3):
        rooms.take(owner, "10.0.0.1")
    with pytest.raises(TooManyRooms, match=r"from your address.*or make another one in 120 seconds"):
        rooms.take(4, "10.0.0.1")
    rooms.take(4, "10.0.0.2")
    rooms.give_back(2, "10.0.0.1")
    rooms.take(4, "10.0.0.1")
    now[0] = 60.0
    with pytest.raises(TooManyRooms, match="in 60 seconds"):
        rooms.take(5, "10.0.0.1")
    now[0] = 121.0
    rooms.take(5, "10.0.0.1")
    rooms.restore(6)
    rooms.give_back(6, "")
    with pytest.raises(TooManyRooms):
        rooms.take(6, "10.0.0.1")
    rooms.take(0, "10.0.0.1")  # the server's own


def test_a_site_with_many_ipv6_networks_makes_no_more_rooms_than_a_few_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quota, "AT_ONCE", 3)
    monkeypatch.setattr(quota, "SITE_AT_ONCE", 10)
    now = [0.0]
    rooms = Quota(lambda: now[0])
    made = []
    for network in range(100):
        with contextlib.suppress(TooManyRooms):
            rooms.take(network + 1, f"2001:db8:1:{network:x}::1")
            made.append(f"2001:db8:1:{network:x}::1")
    assert len(made) == 10
    rooms.take(1, "2001:db8:2::1")
    for owner in (1, 2, 3):
        rooms.take(owner, "10.0.0.1")
    rooms.give_back(1, made[0])
    rooms.take(2, "2001:db8:1:ffff::1")
    now[0] = 31.0
    rooms.take(3, "2001:db8:1:ffff::1")
    with pytest.raises(TooManyRooms, match="in 29 seconds"):
        rooms.take(4, "2001:db8:1:ffff::1")


def test_a_room_that_is_refused_to_an_address_is_not_counted_for_its_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "AT_ONCE", 1)
    monkeypatch.setattr(quota, "SITE_AT_ONCE", 2)
    rooms = Quota(lambda: 0.0)
    rooms.take(1, "2001:db8:1:1::1")
    for _ in range(5):
        with pytest.raises(TooManyRooms):
            rooms.take(2, "2001:db8:1:1::1")
    rooms.take(2, "2001:db8:1:2::1")


def test_a_room_that_could_not_be_made_is_not_counted(
    serve: Callable[..., Running], program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    ann = program("ann", server)
    counted = server.chat.publisher._register.quota
    before = dict(counted._made), dict(counted._handout._left)

    def full(item: ordered.Ordered) -> None:
        raise NotStored("the history does not keep up")

    with monkeypatch.context() as patch:
        patch.setattr(server.chat.publisher, "_enqueue", full)
        assert codes(ann.ask(type="create", room="#lab")) == ["not_stored"]
    ann.ask(type="create", room="#lobby")
    assert dict(counted._made) == before[0]
    assert [left for left, _ in counted._handout._left.values()] == [quota.AT_ONCE]


@pytest.mark.stress
def test_after_ten_thousand_rooms_of_one_client_another_one_can_make_one_also_after_a_restart(
    start_process: Callable[..., Process], tmp_path: pathlib.Path
) -> None:
    process = start_process("--rate", "0")
    for name, use in (("ann", {}), ("anna", {"topic": "mine"})):
        with closing(Program(process.port)) as client:
            client.send(type="hello", name=name)
            for number in range(register.ROOMS):
                room = f"#{name}{number}"
                client.ask({"type": "create", "room": room, **use}, {"type": "leave", "room": room})
    for number in range(2):
        with closing(Program(process.port)) as bob:
            bob.send(type="hello", name="bob")
            bob.send(type="create", room=f"#b{number}")
            bob.expect("joined", room=f"#b{number}")
            bob.send(type="stats")
            assert bob.expect("stats")["rooms"] == 2 + quota.ROOMS_MADE
        assert process.stop() == 0
        process = start_process("--rate", "0")
