"""Sessions: how a session is cut off, and that a name belongs to one session only."""

from __future__ import annotations

import threading

import pytest
from support.views import WORDS, texts
from support.waiting import WAIT, in_threads

from chat_threads import names
from chat_threads import session as module
from chat_threads.disconnects import ShuttingDown, TooSlow
from chat_threads.errors import Busy, NameTaken, UnknownPerson, UnknownRoom
from chat_threads.events import (
    Notice,
    PersonRow,
    Problem,
    problem,
)
from chat_threads.mailbox import Life
from chat_threads.metrics import LEFT
from chat_threads.parcel import Views
from chat_threads.rules import fold
from chat_threads.session import Session, SessionStore


class Dialect:
    name = "text"
    views = Views(WORDS, WORDS)


class StillWire:
    """A wire that only counts how often its reader was woken."""

    def __init__(self) -> None:
        self.stopped = 0
        self.sent = 0

    def stop_reading(self) -> None:
        self.stopped += 1


# --- a session ------------------------------------------------------------------------------------------


class Desk:
    """A session, and how often it was scheduled."""

    def __init__(self, limit: int = 10) -> None:
        self.wire = StillWire()
        self.scheduled: list[Session] = []
        self.session = Session(7, self.wire, Dialect(), self.scheduled.extend, limit)  # type: ignore[arg-type]

    def collected(self) -> list[str]:
        return texts(self.session.mailbox.collect())


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_sending_schedules_a_session_that_was_idle_once(desk: Desk) -> None:
    desk.session.send(Notice("a"), Notice("b"))
    desk.session.send(Notice("c"))
    assert desk.scheduled == [desk.session]
    assert desk.collected() == ["a|b", "c"]


def test_sending_to_a_session_that_does_not_read_cuts_it_off_and_says_why(desk: Desk) -> None:
    for n in range(11):
        desk.session.send(Notice(f"line {n}"))
    assert isinstance(desk.session.reason, TooSlow)
    assert desk.session.ended.is_set()
    assert desk.wire.stopped == 1
    assert desk.collected() == [desk.session.reason.text]
    assert desk.session.reason.text.startswith("You read too slowly")
    assert set(desk.scheduled) == {desk.session}


def test_an_error_comes_with_its_code(desk: Desk) -> None:
    assert problem(UnknownRoom("#a", "#b")) == Problem("unknown_room", UnknownRoom("#a", "#b").text, "#a", "#b")
    desk.session.tell(Busy())
    assert desk.collected() == [Busy().text]


def test_the_client_gets_the_first_reason_to_cut_it_off(desk: Desk) -> None:
    desk.session.cut_off(ShuttingDown())
    desk.session.cut_off(TooSlow())
    assert isinstance(desk.session.reason, ShuttingDown)
    assert desk.collected() == ["The server is shutting down. Goodbye."]
    assert desk.scheduled == [desk.session]


def test_the_reason_to_close_a_session_counts_only_if_the_client_gets_it(desk: Desk) -> None:
    desk.session.cut_off(TooSlow())
    desk.session.close(problem(ShuttingDown()), reason=ShuttingDown())
    assert isinstance(desk.session.reason, TooSlow)
    other = Desk()
    other.session.close(problem(ShuttingDown()), reason=ShuttingDown())
    other.session.cut_off(TooSlow())
    assert other.collected() == [TooSlow().text]
    assert isinstance(other.session.reason, TooSlow)


def test_a_reason_that_the_client_cannot_get_does_not_replace_an_earlier_one(desk: Desk) -> None:
    desk.session.cut_off(ShuttingDown())
    desk.session.abandon(TooSlow())
    assert isinstance(desk.session.reason, ShuttingDown)
    other = Desk()
    other.session.abandon(TooSlow())
    assert isinstance(other.session.reason, TooSlow)


def test_closing_sends_the_last_events_and_takes_no_more(desk: Desk) -> None:
    desk.session.send(Notice("a"))
    desk.session.close(Notice("so long"), Notice("goodbye"))
    desk.session.send(Notice("late"))
    assert desk.collected() == ["a", "so long|goodbye"]
    assert desk.session.mailbox.life is Life.CLOSED


def test_closing_a_session_with_nothing_to_send_is_scheduled_so_that_it_ends(desk: Desk) -> None:
    desk.session.close()
    assert desk.scheduled == [desk.session]


def test_ending_wakes_the_reader_and_leaves_what_is_queued(desk: Desk) -> None:
    desk.session.send(Notice("a"))
    desk.session.end()
    assert desk.session.ended.is_set()
    assert desk.wire.stopped == 1
    assert desk.collected() == ["a"]


def test_abandoning_drops_all_and_wakes_the_reader(desk: Desk) -> None:
    desk.session.send(Notice("a"))
    desk.session.abandon()
    assert desk.session.mailbox.collect() == []
    assert desk.session.mailbox.finish()
    assert desk.session.ended.is_set()
    assert desk.wire.stopped == 1


def test_a_session_is_logged_by_its_number_and_its_name(desk: Desk) -> None:
    assert str(desk.session) == "session 7"
    SessionStore().claim(desk.session, "ann")
    assert str(desk.session) == "session 7 (ann)"


def test_a_session_is_seen_by_others_with_its_rooms_and_how_long_it_was_silent(desk: Desk) -> None:
    SessionStore().claim(desk.session, "ann")
    desk.session.typed -= 100
    person = desk.session.person(("#lobby",))
    assert person == PersonRow("ann", ("#lobby",), person.idle, None)
    assert 100 <= person.idle < 100 + WAIT


# --- names ----------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> SessionStore:
    return SessionStore()


def named(store: SessionStore, *names: str) -> list[Session]:
    sessions = [Desk().session for _ in names]
    for session, name in zip(sessions, names, strict=True):
        store.claim(session, name)
    return sessions


@pytest.mark.usefixtures("nimble", "waits_under_a_lock_on_purpose")
def test_a_name_that_fifty_claim_at_once_goes_to_exactly_one_each_time(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_fold(name: str) -> str:
        """Let other threads run between the check whether a name is free and its taking."""
        threading.Event().wait(1e-6)
        return fold(name)

    for each in (module, names):
        monkeypatch.setattr(each, "fold", slow_fold)
    count, rounds = 50, 40
    start, end = threading.Barrier(count), threading.Barrier(count)
    winners: list[list[Session]] = [[] for _ in range(rounds)]
    losers: list[list[str]] = [[] for _ in range(rounds)]

    def race(number: int) -> None:
        session = Desk().session
        for turn in range(rounds):
            start.wait(WAIT)
            try:
                store.claim(session, "Ann" if number % 2 else "aNN")
                winners[turn].append(session)
            except NameTaken as taken:
                losers[turn].append(taken.near)
            end.wait(WAIT)
            store.release(session)

    in_threads(race, range(count))
    assert [len(each) for each in winners] == [1] * rounds
    assert [len(each) for each in losers] == [count - 1] * rounds
    assert {free for each in losers for free in each} == {"Ann2", "aNN2"}
    assert store.people() == []


def test_a_name_is_taken_whatever_its_case_and_one_near_it_is_free(store: SessionStore) -> None:
    named(store, "ann", "ANN2")
    session = Desk().session
    with pytest.raises(NameTaken) as taken:
        store.claim(session, "Ann")
    assert taken.value.near == "Ann3"
    assert session.name == ""
    store.claim(session, taken.value.near)
    assert store.named("ann3") is session


def test_a_new_name_frees_the_old_one(store: SessionStore) -> None:
    (ann,) = named(store, "ann")
    store.claim(ann, "bob")
    assert store.named("bob") is ann
    assert ann.name == "bob"
    assert named(store, "ann")[0] is store.named("ann")
    assert len(store.people()) == 2


def test_a_name_that_is_taken_leaves_one_with_the_name_one_has(store: SessionStore) -> None:
    ann, bob = named(store, "ann", "bob")
    with pytest.raises(NameTaken):
        store.claim(ann, "BOB")
    assert (store.named("ann"), store.named("bob")) == (ann, bob)
    assert ann.name == "ann"


def test_ones_own_name_may_be_written_in_another_case(store: SessionStore) -> None:
    (ann,) = named(store, "ann")
    store.claim(ann, "ANN")
    assert ann.name == "ANN"
    assert store.people() == [ann]


def test_a_released_name_is_free_and_releasing_again_takes_it_from_nobody(store: SessionStore) -> None:
    (ann,) = named(store, "ann")
    store.release(ann)
    (second,) = named(store, "Ann")
    store.release(ann)
    assert store.named("ann") is second


def test_a_removed_session_is_forgotten_and_its_name_free(store: SessionStore) -> None:
    session = Desk().session
    store.add(session)
    store.claim(session, "ann")
    assert store.all() == [session]
    assert len(store) == 1
    store.remove(session)
    assert (store.all(), store.people(), len(store)) == ([], [], 0)
    named(store, "ann")


def test_each_session_counts_once_in_the_traffic_while_it_is_removed(store: SessionStore, nimble: None) -> None:
    sessions = []
    for number in range(800):
        session = Desk().session
        session.number = number
        session.wire.sent = 3
        session.mailbox.taken = 2
        store.add(session)
        sessions.append(session)
    seen = []

    def look(over: threading.Event) -> None:
        while not over.wait(0.0001):  # otherwise it would hardly ever leave the lock to the other thread
            seen.append(store.traffic())

    def remove(over: threading.Event) -> None:
        for session in sessions:
            store.remove(session)
            store.remove(session)  # changes nothing
        over.set()

    over = threading.Event()
    in_threads(lambda work: work(over), [look, remove])
    assert {(each.sent, each.lines, each.begun) for each in [*seen, store.traffic()]} == {(2400, 1600, 800)}
    assert {each.here["text"] + each.ended[LEFT] for each in [*seen, store.traffic()]} == {800}


def test_the_error_for_an_unknown_person_names_the_nearest_one(store: SessionStore) -> None:
    named(store, "annabel", "bob")
    with pytest.raises(UnknownPerson, match=r"Nobody here is called anabel\. Did you mean annabel\?"):
        store.named("anabel")
    with pytest.raises(UnknownPerson, match="called"):
        store.named("zoe")


def test_people_are_those_who_have_a_name(store: SessionStore) -> None:
    (ann,) = named(store, "ann")
    store.add(Desk().session)
    assert store.people() == [ann]
    assert len(store) == 1
