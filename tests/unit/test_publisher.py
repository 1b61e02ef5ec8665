"""The Publisher: atomic joins, one order for all, who sees joins and leaves, and no work under its lock."""

from __future__ import annotations

import pickle
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from support.waiting import WAIT

from chat_threads import chatroom, events, ordered, register
from chat_threads.chatroom import MESSAGE, NAMED, RECENT, ROOMS_EACH, ChatRoom
from chat_threads.disconnects import TooSlow
from chat_threads.errors import (
    CutOff,
    NotAllowed,
    NotInRoom,
    NotStored,
    RoomExists,
    RoomGone,
    TooManyRooms,
    UnknownRoom,
    Unreadable,
)
from chat_threads.governance import Governance
from chat_threads.mailbox import Life
from chat_threads.paging import PAGE_LINES
from chat_threads.parcel import Parcel, Views
from chat_threads.publisher import CROWD, MAX_OVERTAKEN, Publisher
from chat_threads.register import LOBBY


class OwnedLock:
    """A lock that can say whether the thread that asks has it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()

    def __exit__(self, *args: object) -> None:
        self._owner = None
        self._lock.release()

    def locked(self) -> bool:
        return self._owner == threading.get_ident()


class Plain:
    """A view whose bytes can be read back: its name and the events."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, events: Sequence[events.Event]) -> bytes:
        return pickle.dumps((self.name, tuple(events)))


THERE, HERE = Plain("there"), Plain("here")
BOTH = Views(HERE, THERE)


class Box:
    """A mailbox that keeps everything; it is always idle, unless a test makes it busy or full."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.idle = True
        self.full = False
        self.pushed = 0
        self.closed = False
        self.life = Life.OPEN

    def push(self, parcel: Parcel) -> bool:
        self.pushed += 1
        if self.full:
            self.life = Life.OVERFLOWED
            return True
        self.parcels.append(parcel)
        return self.idle

    def add(self, parcel: Parcel) -> bool:
        return self.push(parcel)

    def wait_for_low_water(self) -> bool:
        """Wait as a session does."""
        return not self.closed


class Person:
    """A subscriber that records everything that it is shown."""

    def __init__(self, house: House, name: str, views: Views = BOTH) -> None:
        self._house = house
        self.name = name
        self.views = views
        self.identity = 0
        self.account = self.operator = False
        self.address = "10.0.0.1"
        self.mailbox = Box()
        self.error: CutOff | None = None
        self.paid_for = 0  # bytes

    def __repr__(self) -> str:
        return self.name

    def person(self, rooms: tuple[str, ...]) -> events.PersonRow:
        return events.PersonRow(self.name, rooms, 0.0, None)

    def cut_off(self, error: CutOff) -> None:
        assert not self._house.lock.locked()
        self.error = error
        self.mailbox.closed = True

    def next_page(self) -> bool:
        return self.mailbox.wait_for_low_water()

    def was_shown(self, size: int) -> None:
        self.paid_for += size

    @property
    def shown(self) -> list[tuple[str, events.Event]]:
        """Everything so far, each with the name of the view it was shown by."""
        pairs = [pickle.loads(parcel.data) for parcel in self.mailbox.parcels]
        return [(view, event) for view, events in pairs for event in events]

    @property
    def seen(self) -> list[events.Event]:
        return [event for _, event in self.shown]

    def news(self) -> list[events.Event]:
        """The events shown since the last call."""
        seen = self.seen
        self.mailbox.parcels.clear()
        return seen

    def numbers(self) -> list[int]:
        """The numbers of all messages in the order in which they were shown, replayed or live."""
        found: list[int] = []
        for event in self.seen:
            if isinstance(event, events.Replay):
                found += [message.number for message in event.messages]
            elif isinstance(event, events.Message):
                found.append(event.number)
        return found


class House:
    """A Publisher among fakes. Each fake asserts that it is not called under the Publisher's lock."""

    def __init__(self, retain: float | None = None, recent_bytes: int = 1 << 20) -> None:
        self.scheduled: list[Person] = []
        self.enqueued: list[ordered.Ordered] = []
        self.stored: dict[int, list[events.Message]] = {}
        self.reads = 0
        self.at_read: Callable[[], None] = lambda: None
        self.full = False
        self.publisher = Publisher(
            self._schedule,  # type: ignore[arg-type]
            self._newest,
            self._newer,
            self._enqueue,
            retain,
            recent_bytes=recent_bytes,
        )
        self.lock = OwnedLock()
        self.publisher._lock = self.lock  # type: ignore[assignment]
        self.lobby = self.publisher.create_chat_room(LOBBY, "chat_threads")

    def _schedule(self, sessions: list[Person]) -> None:
        assert not self.lock.locked()
        assert sessions
        self.scheduled += sessions

    def _newest(self, room: int, number: int, count: int) -> list[events.Message]:
        assert not self.lock.locked()
        self.reads += 1
        found = [message for message in self.stored.get(room, []) if message.number <= number][-count:]
        self.at_read()
        return found

    def _newer(self, room: int, number: int, count: int) -> list[events.Message]:
        assert not self.lock.locked()
        self.reads += 1
        found = [message for message in self.stored.get(room, []) if message.number > number][:count]
        self.at_read()
        return found

    def _enqueue(self, item: ordered.Ordered) -> None:
        if self.full:
            raise NotStored("the history does not keep up")
        self.enqueued.append(item)

    def dispatch(self, *batch: ordered.Published | None) -> None:
        """Dispatch as the history thread does after a commit."""
        items = [item for item in batch if item is not None]
        for item in items:
            if isinstance(item, events.Message):
                self.stored.setdefault(item.room_id, []).append(item)
        self.publisher.dispatch_messages(items)

    def enter(self, person: Person, *rooms: ChatRoom, replay: int = 20) -> Person:
        """Subscribe, and let everybody see it."""
        for room in rooms:
            self.dispatch(self.publisher.subscribe(person, room, replay))  # type: ignore[arg-type]
        return person

    def people(self, *names: str, room: ChatRoom | None = None) -> list[Person]:
        """People in a room, the lobby unless told otherwise, who have seen one another come."""
        people = [self.enter(Person(self, name), room or self.lobby) for name in names]
        for person in people:
            person.mailbox.parcels.clear()
        return people

    def old_room(self, last: int, kept: int | None = None) -> ChatRoom:
        """A room as after a restart, with the last number ``last`` and the newest ``kept`` messages in the history."""
        room = ChatRoom(50, "#old", "#old", "ann", "of old", last)
        self.publisher.restore([room], 51)
        self.stored[50] = said(room, *range(1 + (0 if kept is None else last - kept), last + 1))
        return room


def said(room: ChatRoom, *numbers: int, sender: str = "ann") -> list[events.Message]:
    return [events.Message(room.id, room.name, n, n, sender, "say", f"message {n}") for n in numbers]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def lab(house: House) -> ChatRoom:
    return house.publisher.create_chat_room("#lab", "ann", "graphs")


# --- coming back ----------------------------------------------------------------------------------------


def test_a_client_that_returns_to_a_room_while_others_enter_and_leave_sees_no_hole_and_no_repeat(
    house: House,
) -> None:
    """The room is read once when it is empty; what that gave is old when the room is empty again."""
    room = house.old_room(1000)
    ann, bob = Person(house, "ann"), Person(house, "bob")

    def meanwhile() -> None:
        if house.reads == 2:
            house.enter(bob, room)
            house.dispatch(*said(room, *range(1001, 1051)))
        elif house.reads == 3:
            house.dispatch(ordered.Left(room.id, bob))

    house.at_read = meanwhile
    house.publisher.subscribe(ann, room, 20, since=350)
    assert house.reads > 3
    house.dispatch(*said(room, 1051))
    assert ann.numbers() == list(range(351, 1052))
    assert house.enter(Person(house, "cy"), room, replay=200).numbers() == list(range(852, 1052))


class SmallBox(Box):
    """A mailbox that holds 300 lines, and is emptied only while somebody waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0

    def push(self, parcel: Parcel) -> bool:
        self.full = self.full or self.lines >= 300
        self.lines += parcel.lines
        return super().push(parcel)

    def wait_for_low_water(self) -> bool:
        self.lines = 0
        return super().wait_for_low_water()


@pytest.mark.parametrize("since", [0, None], ids=["by number", "as a newcomer"])
def test_each_further_room_is_entered_when_there_is_room_for_what_it_shows(house: House, since: int | None) -> None:
    rooms = [house.publisher.create_chat_room(f"#room{number}", "ann") for number in range(20)]
    house.people("bob", room=rooms[0])
    for room in rooms:
        house.dispatch(*said(room, *range(1, 101)))
    ann = Person(house, "ann")
    ann.mailbox = SmallBox()
    for room in rooms:
        assert house.publisher.subscribe(ann, room, 100, since=since)
        house.dispatch(*said(rooms[0], *range(rooms[0].last + 1, rooms[0].last + 51)))
    assert ann.error is None
    assert len(ann.numbers()) == 20 * 100 + 20 * 50


def test_stored_messages_that_are_not_shown_yet_do_not_push_out_shown_ones(house: House) -> None:
    room = house.old_room(1000)
    house.stored[room.id] += said(room, *range(1001, 1301))
    assert house.enter(Person(house, "ann"), room).numbers() == list(range(981, 1001))


def test_a_session_that_is_cut_off_while_it_reads_missed_messages_does_not_become_a_member(house: House) -> None:
    room = house.old_room(1000)
    ann = Person(house, "ann")
    ann.mailbox.full = True
    assert house.publisher.subscribe(ann, room, 20, since=0) is None
    assert house.publisher.members(room) == []
    assert isinstance(ann.error, TooSlow)


# --- joining --------------------------------------------------------------------------------------------


def test_a_session_enters_even_if_more_is_said_during_each_read() -> None:
    house = House(recent_bytes=3000)
    room = house.old_room(500)
    house.at_read = lambda: house.dispatch(*said(room, *range(room.last + 1, room.last + RECENT + 51)))
    ann = house.enter(Person(house, "ann"), room, replay=RECENT)
    assert house.reads == MAX_OVERTAKEN
    house.at_read = lambda: None
    house.dispatch(*said(room, room.last + 1))
    numbers = ann.numbers()
    assert numbers == list(range(numbers[0], room.last + 1))


def test_a_session_that_enters_sees_the_room_and_its_last_messages(house: House, lab: ChatRoom) -> None:
    house.people("bob", "cy", room=lab)
    house.dispatch(*said(lab, 1, 2, 3))
    ann = Person(house, "ann")
    house.publisher.subscribe(ann, lab, 2)
    entered, replay = ann.seen
    assert entered == events.Entered("#lab", "graphs", ("bob", "cy"), 2, 3)
    assert replay == events.Replay("#lab", tuple(said(lab, 2, 3)), 3)
    assert [view for view, _ in ann.shown] == ["here", "here"]
    assert len(ann.mailbox.parcels) == 1
    assert house.scheduled[-1] is ann


def test_a_large_room_names_some_and_counts_the_rest(house: House) -> None:
    house.people(*(f"p{n}" for n in range(NAMED + 5)))
    ann = Person(house, "ann")
    house.publisher.subscribe(ann, house.lobby, 0, first_time=True)
    assert ann.seen == [events.Entered(LOBBY, "", tuple(f"p{n}" for n in range(NAMED)), NAMED + 5, 0, first_time=True)]


@pytest.mark.parametrize(("replay", "expected"), [(0, []), (1, [5]), (3, [3, 4, 5]), (99, [1, 2, 3, 4, 5])])
def test_a_session_that_enters_sees_as_many_old_messages_as_it_wants(
    house: House, lab: ChatRoom, replay: int, expected: list[int]
) -> None:
    house.people("bob", room=lab)
    house.dispatch(*said(lab, 1, 2, 3, 4, 5))
    assert house.enter(Person(house, "ann"), lab, replay=replay).numbers() == expected


def test_messages_that_are_too_old_to_be_kept_are_not_replayed() -> None:
    """The room may still remember a message for a while after the history has deleted it."""
    house = House(retain=3600)
    house.people("bob")
    now = int(time.time() * 1000)
    ages = (7200, 3700, 3500, 10)
    old = [
        events.Message(house.lobby.id, LOBBY, n, now - age * 1000, "ann", "say", "hi") for n, age in enumerate(ages, 1)
    ]
    house.dispatch(*old)
    ann = house.enter(Person(house, "ann"), house.lobby)
    assert ann.seen[1:] == [events.Replay(LOBBY, tuple(old[2:]), 4)]
    for keep, shown in ((1, old[2:]), (2, old[2:])):  # in days, by the room's own rule
        house.publisher._retain = None if keep == 1 else 3600
        house.lobby.governance = Governance(keep=keep)
        house.lobby.recent[0] = replace(old[0], at=now - 86_500_000)
        house.lobby.recent[1] = replace(old[1], at=now - 86_500_000)
        cy = house.enter(Person(house, f"cy{keep}"), house.lobby)
        assert cy.seen[1] == events.Replay(LOBBY, tuple(shown), 4)


def test_messages_after_entering_are_live_and_none_comes_twice(house: House, lab: ChatRoom) -> None:
    house.people("bob", room=lab)
    house.dispatch(*said(lab, 1, 2, 3))
    ann = Person(house, "ann")
    joined = house.publisher.subscribe(ann, lab, 20)
    house.dispatch(*said(lab, 4), joined, *said(lab, 5))
    assert ann.numbers() == [1, 2, 3, 4, 5]


def test_entering_again_only_makes_the_room_the_current_one(house: House, lab: ChatRoom) -> None:
    (ann, bob) = house.people("ann", "bob")
    house.enter(ann, lab)
    ann.news()
    bob.news()
    assert house.publisher.subscribe(ann, house.lobby, 20) is None
    assert ann.news() == [events.Current(LOBBY)]
    assert bob.news() == []
    assert house.publisher.current(ann) is house.lobby


def test_old_messages_are_read_from_the_history_once(house: House) -> None:
    room = house.old_room(10)
    ann, bob = Person(house, "ann"), Person(house, "bob")
    house.enter(ann, room, replay=4)
    house.enter(bob, room, replay=3)
    assert ann.numbers() == [7, 8, 9, 10]
    assert bob.numbers() == [8, 9, 10]
    assert house.reads == 1


def test_a_page_has_fewer_messages_the_more_lines_they_have(house: House, lab: ChatRoom) -> None:
    """So what is shown on entering does not fill the queue of a client that reads."""
    ann = house.enter(Person(house, "ann"), lab)
    house.dispatch(*(replace(each, text="x\n" * 39 + "x", lines=40) for each in said(lab, *range(1, 101))))
    bob = house.enter(Person(house, "bob"), lab, replay=100)
    assert bob.numbers() == list(range(101 - PAGE_LINES // 40, 101))
    assert sum(parcel.lines for parcel in bob.mailbox.parcels) <= PAGE_LINES + 3
    assert sum(parcel.lines for parcel in ann.mailbox.parcels) >= 4000


def test_a_room_that_everybody_left_is_read_from_the_history_again(house: House) -> None:
    room = house.old_room(10)
    ann = house.enter(Person(house, "ann"), room)
    house.dispatch(*said(room, 11))
    house.dispatch(ordered.Left(room.id, ann))
    assert len(room.recent) == 0
    assert house.enter(Person(house, "bob"), room, replay=3).numbers() == [9, 10, 11]
    assert house.reads == 2


def test_the_room_that_was_silent_for_longest_lets_go_of_its_oldest_messages_and_has_them_read_again() -> None:
    house = House(recent_bytes=21 * (MESSAGE + sys.getsizeof("message 1")) + 100)
    rooms = [house.publisher.create_chat_room(f"#lab{number}", "ann") for number in range(3)]
    ann = house.enter(Person(house, "ann"), *rooms)
    for room in (*rooms, rooms[0]):
        house.dispatch(*said(room, *range(room.last + 1, room.last + 9)))
    held = [[message.number for message in room.recent] for room in rooms]
    assert held == [list(range(4, 17)), [], list(range(1, 9))]
    assert house.reads == 0
    bob = Person(house, "bob")
    for room in rooms:
        assert house.enter(bob, room, replay=8).numbers() == list(range(room.last - 7, room.last + 1))
        bob.mailbox.parcels.clear()
    assert house.reads == 3
    assert sum(len(room.recent) for room in rooms) <= 21
    house.dispatch(
        ordered.RoomEnded(rooms[0].id, "ann", None), *(ordered.Left(rooms[1].id, person) for person in (ann, bob))
    )
    assert house.publisher._recent.held == sum(each.held for each in rooms) == rooms[2].held


def test_messages_published_while_the_history_is_read_are_replayed_with_it(house: House) -> None:
    room = house.old_room(10)

    def overtake() -> None:
        house.at_read = lambda: None
        house.dispatch(*said(room, 11, 12))

    house.at_read = overtake
    ann = house.enter(Person(house, "ann"), room, replay=5)
    house.dispatch(*said(room, 13))
    assert ann.numbers() == [8, 9, 10, 11, 12, 13]
    assert house.reads == 1


def test_messages_stored_but_not_yet_published_come_live_and_once(house: House) -> None:
    room = house.old_room(10)
    house.stored[room.id] += said(room, 11, 12)
    ann = Person(house, "ann")
    house.publisher.subscribe(ann, room, 3)
    house.publisher.dispatch_messages(said(room, 11, 12))
    assert ann.numbers() == [8, 9, 10, 11, 12]


def test_a_read_overtaken_by_more_than_is_remembered_is_done_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatroom, "RECENT", 5)
    room = house.old_room(10)

    def overtake() -> None:
        house.at_read = lambda: None
        house.dispatch(*said(room, *range(11, 21)))

    house.at_read = overtake
    ann = house.enter(Person(house, "ann"), room)
    assert ann.numbers() == [16, 17, 18, 19, 20]
    assert house.reads == 2


def test_a_room_used_and_left_by_others_while_it_is_read_leaves_no_hole(house: House) -> None:
    room = house.old_room(10)

    def others() -> None:
        house.at_read = lambda: None
        bob = house.enter(Person(house, "bob"), room)
        house.dispatch(*said(room, 11, 12), ordered.Left(room.id, bob))

    house.at_read = others
    assert house.enter(Person(house, "ann"), room, replay=4).numbers() == [9, 10, 11, 12]
    assert house.reads == 3


def test_a_history_that_cannot_be_read_keeps_a_session_out_and_has_no_other_effect(house: House) -> None:
    room = house.old_room(10)

    def broken() -> None:
        raise Unreadable("it took too long")

    house.at_read = broken
    ann = Person(house, "ann")
    with pytest.raises(Unreadable):
        house.publisher.subscribe(ann, room, 20)
    assert house.publisher.rooms_of(ann) == ()
    assert ann.seen == []
    house.at_read = lambda: None
    assert house.enter(ann, room, replay=2).numbers() == [9, 10]


def test_a_room_deleted_while_its_history_is_read_is_unknown(house: House) -> None:
    room = house.old_room(10)
    house.at_read = lambda: house.dispatch(ordered.RoomEnded(room.id, "ann", None))
    with pytest.raises(UnknownRoom, match="no room #old"):
        house.publisher.subscribe(Person(house, "ann"), room, 20)


def test_a_room_whose_oldest_messages_are_gone_is_entered_with_what_is_left(house: House) -> None:
    room = house.old_room(10, kept=2)
    assert house.enter(Person(house, "ann"), room).numbers() == [9, 10]


BATCHES = 300  # at most: if those who come get few turns, there would be thousands


@pytest.mark.usefixtures("nimble")
@pytest.mark.parametrize("recent_bytes", [1 << 20, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_session_that_enters_while_messages_are_published_misses_none_and_sees_none_twice(recent_bytes: int) -> None:
    """Joiners against the history thread. At first they all leave again, so the room is read again and again; then
    each leaves when three more have come, so there is somebody all the time; the last ones stay."""
    house = House(recent_bytes=recent_bytes)
    room = house.old_room(500)
    coming: list[threading.Thread] = []
    people: list[list[Person]] = [[] for _ in range(6)]
    left: list[tuple[Person, int]] = []

    def publish() -> None:
        chance = random.Random(1)
        for _ in range(BATCHES):
            if not any(thread.is_alive() for thread in coming):
                break
            first = room.last + 1
            house.dispatch(*said(room, *range(first, first + chance.choice((1, 2, 5, RECENT + 50)))))

    def come(mine: list[Person], seed: int) -> None:
        chance = random.Random(seed)
        for n in range(48):
            mine.append(Person(house, f"p{seed}-{n}"))
            house.publisher.subscribe(mine[-1], room, chance.choice((1, 20, RECENT)))
            if n < 16 or 19 <= n < 43:
                gone = mine[n] if n < 16 else mine[n - 3]
                house.publisher.unsubscribe(gone, room)
                left.append((gone, len(gone.mailbox.parcels)))

    coming += [threading.Thread(target=come, args=(mine, seed)) for seed, mine in enumerate(people)]
    publisher = threading.Thread(target=publish)
    for thread in (*coming, publisher):
        thread.start()
    for thread in (*coming, publisher):
        thread.join(WAIT)
        assert not thread.is_alive()
    house.dispatch(*said(room, room.last + 1))
    for person in (each for mine in people for each in mine):
        entered, numbers = person.seen[0], person.numbers()
        assert isinstance(entered, events.Entered)
        if numbers:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert numbers[0] <= entered.last + 1 <= numbers[-1] + 1
    for mine in people:
        assert [person.numbers()[-1] for person in mine[40:]] == [room.last] * 8
    assert len(left) == 6 * 40
    for person, count in left:
        assert len(person.mailbox.parcels) == count  # nothing came once it had left


# --- who comes and goes ---------------------------------------------------------------------------------


def test_the_others_see_who_joins_and_the_joiner_does_not_see_itself(house: House) -> None:
    (bob,) = house.people("bob")
    ann = house.enter(Person(house, "ann"), house.lobby)
    assert bob.seen == [events.Presence(LOBBY, "joined", ("ann",))]
    assert ann.seen == [events.Entered(LOBBY, "", ("bob",), 1, 0)]


def test_sessions_that_join_together_are_shown_in_one_line_and_only_to_members_who_did_not_see_it(house: House) -> None:
    """On entering, each has seen everybody who was there already, announced or not."""
    (old,) = house.people("old")
    first, second, third = Person(house, "first"), Person(house, "second"), Person(house, "third")
    joined = [house.publisher.subscribe(each, house.lobby, 0) for each in (first, second, third)]
    for each in (first, second, third):
        each.mailbox.parcels.clear()
    house.dispatch(*joined)
    assert old.seen == [events.Presence(LOBBY, "joined", ("first", "second", "third"))]
    assert first.seen == [events.Presence(LOBBY, "joined", ("second", "third"))]
    assert second.seen == [events.Presence(LOBBY, "joined", ("third",))]
    assert third.seen == []


def test_a_session_that_joins_later_does_not_see_earlier_joins_again(house: House) -> None:
    first, second = Person(house, "first"), Person(house, "second")
    joined = house.publisher.subscribe(first, house.lobby, 0)
    house.publisher.subscribe(second, house.lobby, 0)
    second.mailbox.parcels.clear()
    house.dispatch(joined, *said(house.lobby, 1))
    assert second.seen == said(house.lobby, 1)


@pytest.mark.parametrize("seed", range(20))
def test_everybody_knows_who_is_there_however_coming_and_going_is_batched(house: House, seed: int) -> None:
    """The names seen on entering, with all joins and leaves after that, must give the present members."""
    chance = random.Random(seed)
    people = [Person(house, f"p{n}") for n in range(NAMED)]
    inside: set[Person] = set()
    waiting: list[ordered.Published] = []  # submitted, and not yet dispatched
    for _ in range(300):
        person = chance.choice(people)
        if chance.random() < 0.3:
            count = chance.randint(0, len(waiting))
            house.dispatch(*waiting[:count])
            del waiting[:count]
        elif person not in inside:
            if ordered.Left(house.lobby.id, person) not in waiting:
                waiting.append(house.publisher.subscribe(person, house.lobby, 0))  # type: ignore[arg-type]
                inside.add(person)
        else:
            waiting.append(ordered.Left(house.lobby.id, person))
            inside.discard(person)
    house.dispatch(*waiting)
    assert set(house.publisher.members(house.lobby)) == inside
    for person in inside:
        known: set[str] = set()
        for event in person.seen:
            if isinstance(event, events.Entered):
                known = set(event.others)
            elif isinstance(event, events.Presence) and event.kind == "joined":
                assert not known & set(event.names)
                known |= set(event.names)
            elif isinstance(event, events.Presence):
                assert known >= set(event.names)
                known -= set(event.names)
        assert known == {other.name for other in inside - {person}}


def test_a_session_that_entered_another_room_sees_later_joins_as_of_another_room(house: House, lab: ChatRoom) -> None:
    first, second = Person(house, "first"), Person(house, "second")
    joined = [house.publisher.subscribe(each, house.lobby, 0) for each in (first, second)]
    house.enter(first, lab)
    first.news()
    house.dispatch(*joined)
    assert first.shown == [("there", events.Presence(LOBBY, "joined", ("second",)))]


def test_joins_are_gathered_only_where_nothing_was_said_between(house: House) -> None:
    (old,) = house.people("old")
    joined = [house.publisher.subscribe(Person(house, name), house.lobby, 0) for name in "abc"]
    house.dispatch(joined[0], joined[1], *said(house.lobby, 1), joined[2])
    assert old.seen == [
        events.Presence(LOBBY, "joined", ("a", "b")),
        *said(house.lobby, 1),
        events.Presence(LOBBY, "joined", ("c",)),
    ]


def test_a_session_removed_before_its_joining_was_shown_never_joined(house: House) -> None:
    (old,) = house.people("old")
    ann = Person(house, "ann")
    first = house.publisher.subscribe(ann, house.lobby, 0)
    house.publisher.unsubscribe(ann)
    second = house.publisher.subscribe(ann, house.lobby, 0)
    house.dispatch(first)
    assert old.seen == []
    house.dispatch(second)
    assert old.seen == [events.Presence(LOBBY, "joined", ("ann",))]


def test_joining_and_leaving_are_two_lines(house: House) -> None:
    old, bob, cy, dan = house.people("old", "bob", "cy", "dan")
    joined = house.publisher.subscribe(Person(house, "ann"), house.lobby, 0)
    house.dispatch(joined, ordered.LeftAll(bob), ordered.Left(house.lobby.id, cy), ordered.LeftAll(dan, "so long"))
    assert old.seen == [
        events.Presence(LOBBY, "joined", ("ann",)),
        events.Presence(LOBBY, "left", ("bob", "cy")),
        events.Presence(LOBBY, "left", ("dan",), "so long"),
    ]


def test_last_words_are_never_gathered_with_others_who_leave(house: House) -> None:
    old, bob, cy, dan = house.people("old", "bob", "cy", "dan")
    house.dispatch(ordered.LeftAll(bob, "bye"), ordered.LeftAll(cy), ordered.LeftAll(dan))
    assert old.seen == [events.Presence(LOBBY, "left", ("bob",), "bye"), events.Presence(LOBBY, "left", ("cy", "dan"))]


def test_a_crowded_room_shows_messages_but_no_joins_leaves_and_new_names(house: House) -> None:
    crowd = house.people(*(f"p{n}" for n in range(CROWD)))
    last = house.enter(Person(house, "last"), house.lobby)  # the room is too large from here on
    assert {len(person.seen) for person in crowd} == {0}
    house.dispatch(*said(house.lobby, 1), ordered.NameChanged(last, "last", "final"))
    assert {tuple(person.news()) for person in crowd} == {tuple(said(house.lobby, 1))}
    assert last.seen[1:] == said(house.lobby, 1)
    house.dispatch(ordered.LeftAll(last))  # and small enough again
    assert {tuple(person.news()) for person in crowd} == {(events.Presence(LOBBY, "left", ("last",)),)}


def test_the_largest_room_that_is_no_crowd_shows_joins(house: House) -> None:
    people = house.people(*(f"p{n}" for n in range(CROWD - 1)))
    house.enter(Person(house, "hundredth"), house.lobby)
    assert {tuple(person.seen) for person in people} == {(events.Presence(LOBBY, "joined", ("hundredth",)),)}


def test_leaves_are_not_shown_when_everybody_is_about_to_leave(house: House) -> None:
    ann, bob, cy = house.people("ann", "bob", "cy")
    house.publisher.be_quiet()
    house.enter(Person(house, "dan"), house.lobby)
    house.dispatch(*said(house.lobby, 1), ordered.LeftAll(bob), ordered.Left(house.lobby.id, cy))
    assert ann.seen == said(house.lobby, 1)


def test_a_session_that_leaves_sees_the_events_before_that_and_none_after(house: House, lab: ChatRoom) -> None:
    ann, bob = house.people("ann", "bob")
    house.enter(ann, lab)
    ann.news()
    house.dispatch(*said(house.lobby, 1), ordered.Left(house.lobby.id, ann), *said(house.lobby, 2))
    assert ann.seen == [*said(house.lobby, 1), events.Departed(LOBBY, "#lab")]
    assert bob.seen == [*said(house.lobby, 1), events.Presence(LOBBY, "left", ("ann",)), *said(house.lobby, 2)]
    assert house.publisher.rooms_of(ann) == ("#lab",)


def test_a_session_that_leaves_its_only_room_is_in_no_room(house: House) -> None:
    (ann,) = house.people("ann")
    house.dispatch(ordered.Left(house.lobby.id, ann))
    assert ann.seen == [events.Departed(LOBBY, None)]
    with pytest.raises(NotInRoom, match="not in a room"):
        house.publisher.current(ann)


def test_leaving_twice_or_leaving_a_room_from_outside_does_nothing(house: House, lab: ChatRoom) -> None:
    ann, bob = house.people("ann", "bob")
    house.dispatch(
        ordered.Left(lab.id, ann),
        ordered.Left(99, ann),
        ordered.LeftAll(ann),
        ordered.LeftAll(ann),
        ordered.Left(house.lobby.id, ann),
    )
    assert ann.seen == []
    assert bob.seen == [events.Presence(LOBBY, "left", ("ann",))]


def test_a_session_whose_conversation_is_over_leaves_every_room_and_is_forgotten(house: House, lab: ChatRoom) -> None:
    ann, bob, cy = house.people("ann", "bob", "cy")
    house.enter(ann, lab)
    house.enter(cy, lab)
    bob.news()
    cy.news()
    house.dispatch(ordered.LeftAll(ann, "bye"))
    assert bob.seen == [events.Presence(LOBBY, "left", ("ann",), "bye")]
    assert cy.seen == [
        events.Presence(LOBBY, "left", ("ann",), "bye"),
        events.Presence("#lab", "left", ("ann",), "bye"),
    ]
    assert house.publisher.members(lab) == [cy]
    assert ann not in house.publisher._places


def test_a_new_name_is_shown_once_however_many_rooms_are_shared(house: House, lab: ChatRoom) -> None:
    ann, bob, cy, dan = house.people("ann", "bob", "cy", "dan")
    for person in (ann, bob):
        house.enter(person, lab)
    house.dispatch(ordered.LeftAll(dan))
    other = house.people("elsewhere", room=house.publisher.create_chat_room("#else", "ann"))[0]
    for person in (ann, bob, cy):
        person.news()
    house.dispatch(ordered.NameChanged(ann, "ann", "anna"))
    assert bob.seen == [events.Renamed("ann", "anna")]
    assert cy.seen == [events.Renamed("ann", "anna")]
    assert ann.seen == []
    assert other.seen == []


def test_messages_under_the_old_name_are_shown_before_the_new_one_in_every_room(house: House, lab: ChatRoom) -> None:
    ann, bob = house.people("ann", "bob")
    for person in (ann, bob):
        house.enter(person, lab)
        person.news()
    house.dispatch(
        *said(lab, 1), *said(house.lobby, 1), ordered.NameChanged(ann, "ann", "anna"), *said(lab, 2, sender="anna")
    )
    names = [event.new if isinstance(event, events.Renamed) else event.sender for event in bob.seen]  # type: ignore[attr-defined]
    assert names == ["ann", "ann", "anna", "anna"]


def test_a_topic_is_shown_in_its_place_and_to_those_who_come_later(house: House, lab: ChatRoom) -> None:
    (ann,) = house.people("ann", room=lab)
    house.dispatch(
        *said(lab, 1),
        ordered.TopicSet(lab.id, "bob", "trees", None),
        *said(lab, 2),
        ordered.TopicSet(99, "b", "x", None),
    )
    assert ann.seen == [*said(lab, 1), events.TopicChanged("#lab", "bob", "trees"), *said(lab, 2)]
    assert house.publisher.topic(lab) == "trees"
    assert house.enter(Person(house, "cy"), lab).seen[0] == events.Entered("#lab", "trees", ("ann",), 1, 2)


# --- current rooms and views ----------------------------------------------------------------------------


def test_the_current_room_is_shown_one_way_and_the_others_another(house: House, lab: ChatRoom) -> None:
    (ann,) = house.people("ann")
    house.enter(ann, lab)
    ann.news()
    house.dispatch(*said(lab, 1), *said(house.lobby, 1))
    assert sorted((view, event.room) for view, event in ann.shown) == [  # type: ignore[attr-defined]
        ("here", "#lab"),
        ("there", LOBBY),
    ]
    house.enter(ann, house.lobby)
    ann.news()
    house.dispatch(*said(lab, 2), *said(house.lobby, 2))
    assert sorted((view, event.room) for view, event in ann.shown) == [  # type: ignore[attr-defined]
        ("here", LOBBY),
        ("there", "#lab"),
    ]


def test_leaving_the_current_room_leads_to_the_one_entered_last(house: House, lab: ChatRoom) -> None:
    hall = house.publisher.create_chat_room("#hall", "ann")
    (ann,) = house.people("ann")
    house.enter(ann, lab, hall)
    ann.news()
    house.dispatch(ordered.Left(hall.id, ann), *said(lab, 1))
    assert ann.shown == [("here", events.Departed("#hall", "#lab")), ("here", said(lab, 1)[0])]
    ann.news()
    house.dispatch(ordered.Left(house.lobby.id, ann), *said(lab, 2))
    assert ann.shown == [("here", events.Departed(LOBBY, "#lab")), ("here", said(lab, 2)[0])]


def test_changed_options_show_every_room_the_new_way(house: House, lab: ChatRoom) -> None:
    (ann,) = house.people("ann")
    house.enter(ann, lab)
    ann.news()
    views = Views(Plain("new here"), Plain("new there"))
    house.publisher.set_views(ann, views)
    house.dispatch(*said(lab, 1), *said(house.lobby, 1))
    assert [view for view, _ in ann.shown] == ["new here", "new there"]
    assert ann.views is views
    assert list(lab.groups) == [views.here]
    house.dispatch(ordered.LeftAll(ann))
    assert lab.groups == house.lobby.groups == {}


def test_what_is_shown_with_changed_options_stands_between_the_old_way_and_the_new(house: House) -> None:
    (ann,) = house.people("ann")
    ann.news()
    house.dispatch(*said(house.lobby, 1))
    house.publisher.set_views(ann, Views(Plain("new here"), THERE), events.Notice("now"))
    house.dispatch(*said(house.lobby, 1))
    assert [view for view, _ in ann.shown] == ["here", "here", "new here"]
    assert ann.shown[1] == ("here", events.Notice("now"))


def test_the_rooms_that_begin_with_a_word_are_found_in_any_case(house: House, lab: ChatRoom) -> None:
    house.publisher.create_chat_room("#Labor", "ann")
    assert house.publisher.beginning("#la", 10) == ["#lab", "#Labor"]
    assert house.publisher.beginning("#", 2) == [LOBBY, "#lab"]


def test_the_names_in_a_room_begin_with_those_who_spoke_last(house: House) -> None:
    house.people("ann", "bob", "cy")
    names = ("bob", "gone", "cy", "bob", "cy")
    spoke = [message for number, name in enumerate(names) for message in said(house.lobby, number + 1, sender=name)]
    house.dispatch(*spoke)
    assert house.publisher.names(house.lobby) == ["cy", "bob", "ann"]


def test_options_can_be_set_before_one_is_anywhere(house: House) -> None:
    ann = Person(house, "ann")
    house.publisher.set_views(ann, Views(THERE, THERE))
    house.enter(ann, house.lobby)
    assert [view for view, _ in ann.shown] == ["there"]


def test_members_with_the_same_view_share_one_parcel(house: House, lab: ChatRoom) -> None:
    ann, bob, cy, elsewhere = house.people("ann", "bob", "cy", "elsewhere")
    house.enter(elsewhere, lab)
    house.publisher.set_views(cy, Views(Plain("colour"), THERE))
    dan = house.enter(Person(house, "dan", Views(Plain("colour"), THERE)), house.lobby)
    for person in (ann, bob, cy, elsewhere, dan):
        person.news()
    house.dispatch(*said(house.lobby, 1, 2, 3))
    parcels = [person.mailbox.parcels for person in (ann, bob, cy, elsewhere, dan)]
    assert [len(each) for each in parcels] == [1, 1, 1, 1, 1]
    assert parcels[0][0] is parcels[1][0]
    assert len({id(each[0]) for each in parcels}) == 4  # equal views that are two objects are two views
    assert all(person.numbers() == [1, 2, 3] for person in (ann, bob, cy, elsewhere, dan))


def test_a_room_gets_one_parcel_a_batch_however_rooms_are_mixed_in_it(house: House, lab: ChatRoom) -> None:
    (ann,) = house.people("ann")
    house.enter(ann, lab)
    ann.news()
    house.dispatch(*(said(room, n)[0] for n in range(1, 11) for room in (lab, house.lobby)))
    assert len(ann.mailbox.parcels) == 2
    assert [event.number for event in ann.seen if isinstance(event, events.Message) and event.room == "#lab"] == [
        *range(1, 11)
    ]


def test_one_dispatch_schedules_only_idle_sessions(house: House) -> None:
    ann, bob, cy = house.people("ann", "bob", "cy")
    bob.mailbox.idle = False  # a writer has it already
    house.scheduled.clear()
    house.dispatch(*said(house.lobby, 1, 2))
    assert house.scheduled == [ann, cy]
    assert bob.numbers() == [1, 2]


def test_a_batch_that_concerns_nobody_schedules_nobody(house: House, lab: ChatRoom) -> None:
    house.people("ann")
    house.scheduled.clear()
    house.dispatch(*said(lab, 1), events.Message(99, "#gone", 1, 1, "ann", "say", "to nobody"))
    assert house.scheduled == []
    assert house.publisher.last(lab) == 1


def test_queued_parcels_are_scheduled_though_a_bug_ends_the_dispatch(house: House) -> None:
    """No writer would ever come to a mailbox that is neither idle nor scheduled."""
    (ann,) = house.people("ann")
    house.scheduled.clear()
    with pytest.raises(AttributeError):
        house.publisher.dispatch_messages([*said(house.lobby, 1), ordered.Left(house.lobby.id, ann), object()])  # type: ignore[list-item]
    assert house.scheduled
    assert set(house.scheduled) == {ann}
    assert ann.seen == [*said(house.lobby, 1), events.Departed(LOBBY, None)]


# --- too slow -------------------------------------------------------------------------------------------


def test_a_session_whose_queue_is_full_is_cut_off_after_the_lock_and_the_others_get_everything(house: House) -> None:
    ann, slow, cy = house.people("ann", "slow", "cy")
    slow.mailbox.full = True
    house.dispatch(*said(house.lobby, 1))  # Person.cut_off asserts that the lock is not held
    assert isinstance(slow.error, TooSlow)
    assert slow.seen == []
    assert (ann.error, cy.error) == (None, None)
    assert ann.numbers() == cy.numbers() == [1]


def test_a_session_whose_queue_is_full_on_entering_is_cut_off(house: House) -> None:
    ann = Person(house, "ann")
    ann.mailbox.full = True
    house.publisher.subscribe(ann, house.lobby, 20)
    assert isinstance(ann.error, TooSlow)


# --- rooms ----------------------------------------------------------------------------------------------


def test_a_room_is_queued_to_be_stored_before_it_can_be_found(house: House) -> None:
    lab = house.publisher.create_chat_room("#Lab", "ann", "graphs")
    made = house.enqueued[-1]
    assert isinstance(made, ordered.RoomMade)
    assert (made.room_id, made.room, made.key, made.topic, made.creator) == (lab.id, "#Lab", "#lab", "graphs", "ann")
    assert house.publisher.find("#LAB") is lab
    assert house.publisher.get("#LAB") is lab
    assert house.publisher.get("#hall") is None
    assert len(house.publisher) == 2


def test_a_room_that_cannot_be_queued_is_not_made(house: House) -> None:
    house.full = True
    with pytest.raises(NotStored):
        house.publisher.create_chat_room("#lab", "ann")
    with pytest.raises(UnknownRoom):
        house.publisher.find("#lab")
    house.full = False
    assert house.publisher.create_chat_room("#lab", "ann").id == house.lobby.id + 1


def test_a_room_that_exists_is_not_made_again_whatever_its_case(house: House, lab: ChatRoom) -> None:
    with pytest.raises(RoomExists, match="The room #lab exists"):
        house.publisher.create_chat_room("#LAB", "bob")


def test_the_number_of_rooms_is_limited(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "ROOMS", 2)
    house.publisher.create_chat_room("#lab", "ann")
    with pytest.raises(TooManyRooms, match="2 rooms already"):
        house.publisher.create_chat_room("#hall", "ann")


def test_the_number_of_rooms_of_one_person_is_limited(house: House) -> None:
    rooms = [house.publisher.create_chat_room(f"#room{n}", "ann", "a topic") for n in range(ROOMS_EACH + 1)]
    ann = house.enter(Person(house, "ann"), *rooms[:-1])
    with pytest.raises(TooManyRooms, match=f"in {ROOMS_EACH} rooms"):
        house.publisher.subscribe(ann, rooms[-1], 20)
    with pytest.raises(TooManyRooms, match=f"in {ROOMS_EACH} rooms"):
        house.publisher.check_place(ann)
    assert house.publisher.subscribe(ann, rooms[0], 20) is None  # where it is already, it may go
    assert len(house.publisher.rooms_of(ann)) == ROOMS_EACH
    house.dispatch(ordered.Left(rooms[3].id, ann))
    house.publisher.check_place(ann)
    house.publisher.check_place(Person(house, "nowhere yet"))
    assert house.publisher.subscribe(ann, rooms[-1], 20) is not None


def test_restored_rooms_are_there_and_new_ones_get_other_ids(house: House) -> None:
    room = house.old_room(10)
    assert house.publisher.find("#OLD") is room
    assert house.publisher.last(room) == 10
    assert house.publisher.create_chat_room("#new", "ann").id == 51


def test_rooms_are_listed_the_fullest_first(house: House, lab: ChatRoom) -> None:
    hall = house.publisher.create_chat_room("#hall", "ann")
    attic = house.publisher.create_chat_room("#Attic", "ann")
    house.people("ann", "bob", room=hall)
    house.dispatch(*said(lab, 1, 2))
    assert house.publisher.list_chat_rooms() == [
        events.RoomRow(hall.name, 2, 0, ""),
        events.RoomRow(lab.name, 0, 2, "graphs"),
        events.RoomRow(attic.name, 0, 0, ""),
        events.RoomRow(LOBBY, 0, 0, ""),
    ]


@pytest.mark.parametrize(("rules", "most"), [(Governance(5, unlisted=True), 4), (Governance(5, invite_only=True), 11)])
def test_a_room_that_is_not_listed_takes_few_calls(house: House, rules: Governance, most: int) -> None:
    """There may be 10,000 of them, and anybody may list the rooms a few times a second."""
    for number in range(100):
        house.publisher.create_chat_room(f"#r{number}", "ann").governance = rules
    calls, before = [0], sys.getprofile()

    def count(frame: object, event: str, what: object) -> None:
        calls[0] += event == "call"

    viewer = Person(house, "eve")
    sys.setprofile(count)
    try:
        found = house.publisher.hidden(viewer)
    finally:
        sys.setprofile(before)
    assert len(found) == 100
    assert calls[0] <= 100 * most + 20


def test_the_error_for_an_unknown_room_names_the_nearest_one(house: House, lab: ChatRoom) -> None:
    with pytest.raises(UnknownRoom, match=r"Did you mean #lab\?"):
        house.publisher.find("#labb")
    with pytest.raises(UnknownRoom, match=r"^There is no room #table\.$"):  # the # does not make it more alike
        house.publisher.find("#table")
    with pytest.raises(UnknownRoom, match=r"^There is no room #zzzzzz\.$"):
        house.publisher.find("#zzzzzz")


def test_a_room_can_be_meant_only_by_its_members(house: House, lab: ChatRoom) -> None:
    (ann,) = house.people("ann")
    assert house.publisher.member_of(ann, "#LOBBY") is house.lobby
    with pytest.raises(NotInRoom, match="not in #lab"):
        house.publisher.member_of(ann, "#lab")
    with pytest.raises(NotInRoom, match="not in #lab"):
        house.publisher.member_of(Person(house, "nobody"), "#lab")
    with pytest.raises(UnknownRoom):
        house.publisher.member_of(ann, "#attic")


def test_a_session_that_has_entered_no_room_is_in_no_room(house: House) -> None:
    nobody = Person(house, "nobody")
    assert house.publisher.rooms_of(nobody) == ()
    with pytest.raises(NotInRoom):
        house.publisher.current(nobody)
    house.publisher.unsubscribe(nobody)
    house.dispatch(ordered.NameChanged(nobody, "nobody", "somebody"), ordered.LeftAll(nobody))


def test_unsubscribing_removes_from_one_room_or_from_all_and_is_shown_to_nobody(house: House, lab: ChatRoom) -> None:
    ann, bob = house.people("ann", "bob")
    house.enter(ann, lab)
    bob.news()
    house.publisher.unsubscribe(ann, lab)
    house.publisher.unsubscribe(ann, lab)
    assert house.publisher.rooms_of(ann) == (LOBBY,)
    assert house.publisher.current(ann) is house.lobby
    house.publisher.unsubscribe(ann)
    assert house.publisher.members(house.lobby) == [bob]
    assert bob.seen == []


# --- deleting rooms -------------------------------------------------------------------------------------


def test_only_the_person_who_made_a_room_may_delete_it_under_any_name_and_nobody_the_lobby(house: House) -> None:
    ann, bob, other_ann = Person(house, "ann"), Person(house, "bob"), Person(house, "Ann")
    ann.identity, bob.identity, other_ann.identity = 7, 8, 9
    lab = house.publisher.create_chat_room("#lab", "ann", origin=ann)
    assert isinstance(house.enqueued[-1], ordered.RoomMade)
    assert house.enqueued[-1].owner == lab.owner == 7
    ann.name = "anna"
    assert house.publisher.delete_chat_room(ann, lab) == ordered.RoomEnded(
        lab.id, "anna", ann, "", lab.name, ann.identity
    )
    with pytest.raises(NotAllowed, match=r"made by ann\. Only ann and the server's operators can delete it\.$"):
        house.publisher.delete_chat_room(bob, lab)
    with pytest.raises(NotAllowed, match=r"If that was you"):
        house.publisher.delete_chat_room(other_ann, lab)
    house.lobby.owner = 7
    with pytest.raises(NotAllowed, match="cannot be deleted"):
        house.publisher.delete_chat_room(ann, house.lobby)
    assert house.publisher.find("#lab") is lab  # it ends when that is committed


def test_a_room_that_was_made_before_there_were_owners_belongs_to_nobody(house: House) -> None:
    room = house.old_room(3)
    for ann in (Person(house, "ann"), Person(house, "ann")):
        with pytest.raises(NotAllowed, match="belongs to nobody"):
            house.publisher.delete_chat_room(ann, room)
        ann.identity = 7


def test_a_person_who_deletes_a_room_from_outside_gets_an_answer_that_it_is_gone(house: House, lab: ChatRoom) -> None:
    (ann,) = house.people("ann")
    (bob,) = house.people("bob", room=lab)
    house.dispatch(ordered.RoomEnded(lab.id, "ann", ann), ordered.RoomEnded(lab.id, "ann", ann))
    assert ann.seen[0] == events.Notice("#lab and its history are deleted.")
    assert len([event for event in ann.seen if isinstance(event, events.Notice)]) == 1
    assert isinstance(bob.seen[0], events.RoomDeleted)


def test_members_of_a_deleted_room_see_its_deletion_and_land_in_the_lobby(house: House, lab: ChatRoom) -> None:
    (old,) = house.people("old")
    ann, bob = house.people("ann", "bob", room=lab)
    house.dispatch(*said(lab, 1), ordered.RoomEnded(lab.id, "ann", ann), *said(lab, 2), *said(house.lobby, 1))
    for person, others in ((ann, ("old",)), (bob, ("old", "ann"))):
        assert person.seen[:3] == [
            *said(lab, 1),
            events.RoomDeleted("#lab", "ann", LOBBY),
            events.Entered(LOBBY, "", others, len(others), 0),
        ]
        assert house.publisher.current(person) is house.lobby
        assert house.publisher.rooms_of(person) == (LOBBY,)
    assert ann.shown[3:] == [("here", events.Presence(LOBBY, "joined", ("bob",))), ("here", said(house.lobby, 1)[0])]
    assert bob.shown[3:] == [("here", said(house.lobby, 1)[0])]
    assert old.seen == [events.Presence(LOBBY, "joined", ("ann", "bob")), *said(house.lobby, 1)]


def test_a_session_that_is_also_in_the_lobby_goes_back_to_it(house: House, lab: ChatRoom) -> None:
    ann, bob = house.people("ann", "bob")
    house.enter(ann, lab)
    house.enter(bob, lab)
    house.enter(bob, house.lobby)  # bob's texts go there
    ann.news()
    bob.news()
    house.dispatch(ordered.RoomEnded(lab.id, "ann", ann))
    assert ann.shown == [("here", events.RoomDeleted("#lab", "ann", LOBBY))]
    assert bob.shown == [("here", events.RoomDeleted("#lab", "ann", LOBBY))]
    house.dispatch(*said(house.lobby, 1))
    assert ann.shown[-1] == bob.shown[-1] == ("here", said(house.lobby, 1)[0])


def test_a_session_that_talks_in_another_room_stays_there(house: House, lab: ChatRoom) -> None:
    hall = house.publisher.create_chat_room("#hall", "bob")
    (ann,) = house.people("ann", room=lab)
    house.enter(ann, hall)
    ann.news()
    house.dispatch(ordered.RoomEnded(lab.id, "bob", None), *said(hall, 1))
    assert ann.shown == [("here", events.RoomDeleted("#lab", "bob", "#hall")), ("here", said(hall, 1)[0])]
    assert house.publisher.rooms_of(ann) == ("#hall",)


def test_a_session_moved_to_the_lobby_sees_its_messages_from_then_on(house: House, lab: ChatRoom) -> None:
    """It must not see again the messages up to the number that it was given."""
    house.people("old")
    (ann,) = house.people("ann", room=lab)
    house.dispatch(*said(house.lobby, 1, 2), ordered.RoomEnded(lab.id, "ann", ann), *said(house.lobby, 3))
    entered = ann.seen[1]
    assert isinstance(entered, events.Entered)
    assert entered.last == 2
    assert ann.numbers() == [3]


def test_a_member_that_leaves_a_room_just_after_its_end_is_answered(house: House, lab: ChatRoom) -> None:
    ann = house.enter(Person(house, "ann"), lab)
    house.dispatch(ordered.RoomEnded(lab.id, "bob", None), ordered.Left(lab.id, ann, "r1"))
    assert ann.seen[-1] == events.Answer(events.problem(RoomGone()), "r1")


def test_a_deleted_room_is_gone_and_its_name_is_free(house: House, lab: ChatRoom) -> None:
    (ann,) = house.people("ann", room=lab)
    house.dispatch(ordered.RoomEnded(lab.id, "ann", ann), ordered.RoomEnded(lab.id, "ann", ann))
    with pytest.raises(UnknownRoom):
        house.publisher.find("#lab")
    with pytest.raises(UnknownRoom):
        house.publisher.subscribe(ann, lab, 20)
    again = house.publisher.create_chat_room("#lab", "bob")
    assert again is not lab
    assert again.id > lab.id


def test_members_of_a_deleted_room_go_to_the_room_that_they_entered_before_or_else_to_the_lobby(house: House) -> None:
    rooms = [house.publisher.create_chat_room(f"#room{n}", "ann") for n in range(ROOMS_EACH)]
    ann, bob = house.enter(Person(house, "ann"), *rooms), house.enter(Person(house, "bob"), rooms[-1])
    house.dispatch(ordered.RoomEnded(rooms[-1].id, "ann", ann))
    assert house.publisher.rooms_of(ann) == tuple(room.name for room in rooms[:-1])
    assert house.publisher.current(ann) is rooms[-2]
    assert house.publisher.rooms_of(bob) == (house.lobby.name,)
    assert house.publisher.current(bob) is house.lobby


def test_without_errors_every_fake_was_asked_outside_the_lock(house: House) -> None:
    """The fakes assert that. This test checks that their assertion works."""
    with house.lock:
        for call in (lambda: house._newest(1, 1, 1), lambda: house._schedule([])):
            with pytest.raises(AssertionError):
                call()
        with pytest.raises(AssertionError):
            Person(house, "ann").cut_off(TooSlow())


# --- messages that are removed --------------------------------------------------------------------------


def removal(room: ChatRoom, number: int) -> ordered.Redacted:
    return ordered.Redacted(room.id, room.name, number, "bob", 2, 2, None)


def texts(person: Person) -> list[str]:
    return [
        message.text
        for event in person.seen
        for message in (event.messages if isinstance(event, events.Replay) else [event])
        if isinstance(message, events.Message)
    ]


def test_members_see_who_removed_a_message_and_those_who_enter_later_see_that_it_is_gone(
    house: House, lab: ChatRoom
) -> None:
    (ann,) = house.people("ann", room=lab)
    house.dispatch(*said(lab, 1, 2), removal(lab, 2), *said(lab, 3))
    assert ann.seen == [*said(lab, 1, 2), events.Redacted("#lab", 2, "bob"), *said(lab, 3)]
    held = house.publisher._recent.held
    house.dispatch(removal(lab, 3), removal(lab, 99))
    assert house.publisher._recent.held < held
    assert texts(house.enter(Person(house, "cy"), lab)) == ["message 1", "", ""]


@pytest.mark.parametrize("since", [None, 0])
def test_a_message_that_is_removed_while_somebody_who_enters_reads_it_is_not_shown(
    house: House, since: int | None
) -> None:
    """Read for the memory of the room, or as a page of what a client has missed."""
    room = house.old_room(RECENT + 10)

    def remove() -> None:
        if house.reads == (1 if since is None else 2):
            house.dispatch(removal(room, 20), removal(room, RECENT))

    house.at_read = remove
    ann = Person(house, "ann")
    house.publisher.subscribe(ann, room, RECENT, since=since)
    assert len(ann.numbers()) == RECENT + (0 if since is None else 10)
    assert texts(ann).count("") == 2
    assert not {f"message {number}" for number in (20, RECENT)} & set(texts(ann))


def test_a_message_that_is_removed_while_a_page_is_read_is_not_in_the_page(house: House, lab: ChatRoom) -> None:
    (ann,) = house.people("ann", room=lab)
    house.dispatch(*said(lab, 1, 2))
    count = house.publisher.removals.count
    house.dispatch(removal(lab, 1))
    ann.news()
    paid = ann.paid_for
    house.publisher.show_page(ann, events.HistoryPage("#lab", tuple(said(lab, 1, 2)), 2, None, None), count, "r")
    (answer,) = ann.seen
    assert isinstance(answer, events.Answer)
    assert isinstance(answer.event, events.HistoryPage)
    assert [message.text for message in answer.event.messages] == ["", "message 2"]
    assert ann.paid_for == paid + answer.size
