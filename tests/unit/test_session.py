"""Sessions: the mailbox and who writes for it, how a session is cut off, and names that are had by one."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from support.samples import for_each
from support.waiting import WAIT, wait_for

from chat_threads import names
from chat_threads import session as module
from chat_threads.errors import Busy, NameTaken, ShuttingDown, TooSlow, UnknownPerson, UnknownRoom
from chat_threads.events import (
    LINE_SIZE,
    Answer,
    Event,
    HistoryPage,
    Message,
    Notice,
    PersonRow,
    PrivateLine,
    Problem,
    Replay,
    problem,
)
from chat_threads.history import BATCH
from chat_threads.mailbox import EASY_BYTES, LEAST_BYTES, LINE_BYTES, Mailbox
from chat_threads.parcel import Parcel, Views
from chat_threads.queues import BatchQueue
from chat_threads.rules import TEXT_LENGTH, fold
from chat_threads.session import Session, SessionStore


class Words:
    """A view that shows notices and problems as their text, and nothing else."""

    def encode(self, events: Sequence[Event]) -> bytes:
        return b"|".join(event.text.encode() for event in events if isinstance(event, (Notice, Problem)))


WORDS = Words()


class Dialect:
    views = Views(WORDS, WORDS)


class StillWire:
    """A wire that only counts how often its reader was woken."""

    def __init__(self) -> None:
        self.stopped = 0

    def stop_reading(self) -> None:
        self.stopped += 1


def parcel(text: str = "hello", lines: int = 1) -> Parcel:
    return Parcel(WORDS, [Notice(text)] * lines)


def texts(parcels: list[Parcel] | None) -> list[str]:
    assert parcels is not None
    return [each.data.decode() for each in parcels]


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def waiting(condition: threading.Condition) -> int:
    """How many threads wait for the condition."""
    return len(condition._waiters)  # type: ignore[attr-defined]


def joined(thread: threading.Thread) -> bool:
    thread.join(WAIT)
    return not thread.is_alive()


@pytest.fixture
def nimble() -> Iterator[None]:
    """Threads take turns often, so that what can go wrong between two of them does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


# --- a queue emptied in one go --------------------------------------------------------------------------


def test_all_that_waits_is_taken_in_order() -> None:
    queue: BatchQueue[int] = BatchQueue(10)
    for n in range(5):
        queue.put(n)
    assert queue.take(100) == [0, 1, 2, 3, 4]
    assert queue.empty()


def test_no_more_is_taken_than_was_asked_for() -> None:
    queue: BatchQueue[int] = BatchQueue(10)
    for n in range(5):
        queue.put(n)
    assert [queue.take(2), queue.take(2), queue.take(2)] == [[0, 1], [2, 3], [4]]


def test_taking_from_an_empty_queue_ends_when_the_time_is_up() -> None:
    assert BatchQueue[int](10).take(5, 0.01) == []
    assert BatchQueue[int](10).take(5, 0.0) == []


def test_taking_from_an_empty_queue_waits_for_what_comes() -> None:
    queue: BatchQueue[int] = BatchQueue(10)
    taken: list[int] = []
    taker = in_thread(lambda: taken.extend(queue.take(5)))
    wait_for(lambda: waiting(queue.not_empty) == 1)
    queue.put(7)
    assert joined(taker)
    assert taken == [7]


def test_a_batch_that_is_taken_lets_as_many_put_as_it_made_room_for() -> None:
    queue: BatchQueue[int] = BatchQueue(3)
    for n in range(3):
        queue.put(n)
    putters = [in_thread(lambda n=n: queue.put(n)) for n in range(3, 6)]  # type: ignore[misc]
    wait_for(lambda: waiting(queue.not_full) == 3)
    assert queue.take(10) == [0, 1, 2]
    assert all(joined(putter) for putter in putters)
    assert sorted(queue.take(10)) == [3, 4, 5]


# --- the mailbox ----------------------------------------------------------------------------------------


def test_who_puts_into_an_idle_mailbox_has_to_schedule_it_and_nobody_else() -> None:
    box = Mailbox(10)
    assert [box.push(parcel("a")), box.push(parcel("b")), box.push(parcel("c"))] == [True, False, False]


def test_who_collects_is_told_of_what_comes_next() -> None:
    box = Mailbox(10)
    box.push(parcel("a"))
    box.push(parcel("b"))
    assert texts(box.collect()) == ["a", "b"]
    assert box.push(parcel("c")) is True
    assert texts(box.collect()) == ["c"]
    assert box.collect() == []
    assert not box.finish()
    assert box.push(parcel("d")) is True


def test_a_held_mailbox_is_its_holders_until_that_finds_it_empty() -> None:
    box = Mailbox(10)
    box.push(parcel("a"))
    box.collect()
    box.push(parcel("b"))
    box.hold()
    assert box.push(parcel("c")) is False  # the holder will come again
    assert box.collect() == []
    assert not box.finish()
    assert texts(box.collect_held()) == ["b", "c"]
    assert box.push(parcel("d")) is False
    assert texts(box.collect_held()) == ["d"]
    assert box.collect_held() == []
    assert not box.finished
    assert box.push(parcel("e")) is True
    assert texts(box.collect()) == ["e"]


def test_the_holder_of_a_closed_mailbox_finishes_it() -> None:
    box = Mailbox(10)
    box.hold()
    assert box.close(parcel("bye")) is False
    assert texts(box.collect_held()) == ["bye"]
    assert not box.finished
    assert box.collect_held() == []
    assert box.finished


def test_what_bounds_a_mailbox_is_lines_and_one_parcel_may_overshoot() -> None:
    box = Mailbox(10)
    assert [box.push(parcel(lines=6)), box.push(parcel(lines=100))] == [True, False]
    assert box.lines == 106
    assert box.push(parcel()) is None
    assert box.lines == 106


@for_each("text", ["x" * 6000, "é" * 3000, "🙂" * 1500])
def test_what_bounds_a_mailbox_is_bytes_too_whatever_the_characters(text: str) -> None:
    box = Mailbox(1000)
    message = Message(1, "#lab", 1, 0, "ann", "say", text)
    for event in (message, Answer(message, "1"), PrivateLine(0, "ann", "bob", text)):
        assert Parcel(WORDS, [event]).size == 6000 + LINE_SIZE
    for page in (HistoryPage("#lab", (message,) * 3, 3, None, None), Replay("#lab", (message,) * 3, 3)):
        assert Parcel(WORDS, [page, Notice("and this")]).size == 3 * (6000 + LINE_SIZE) + LINE_SIZE
    most = -(-LEAST_BYTES // (5 * (6000 + LINE_SIZE)))
    assert [box.push(Parcel(WORDS, [message] * 5)) for _ in range(most)] == [True] + [False] * (most - 1)
    assert box.lines < 1000
    assert box.push(parcel()) is None


def test_the_more_lines_may_wait_the_more_bytes_may() -> None:
    assert Mailbox(10_000).most_bytes == 10_000 * LINE_BYTES > LEAST_BYTES == Mailbox(1000).most_bytes


def test_the_longest_batch_is_never_too_many_bytes_for_an_empty_mailbox() -> None:
    batch = [Message(1, "#lab", 1, 0, "ann", "say", "🙂" * TEXT_LENGTH)] * BATCH
    box = Mailbox(BATCH + 1)
    assert box.push(Parcel(WORDS, batch)) is True
    assert box.push(parcel()) is False


def test_a_mailbox_that_was_emptied_of_many_bytes_takes_as_many_again() -> None:
    box = Mailbox(1000)
    most = box.most_bytes // (6000 + LINE_SIZE)
    for _ in range(3):
        for _ in range(most):
            assert box.push(Parcel(WORDS, [Message(1, "#lab", 1, 0, "ann", "say", "x" * 6000)])) is not None
        box.collect()


def test_a_mailbox_that_was_emptied_in_time_takes_as_much_again() -> None:
    box = Mailbox(10)
    for _ in range(3):
        assert box.push(parcel(lines=10)) is not None
        box.collect()
        assert box.lines == 0


def test_a_mailbox_that_was_full_takes_nothing_more_even_when_it_is_emptied() -> None:
    """Otherwise there would be a hole in what its session sees, before it is cut off."""
    box = Mailbox(2)
    box.push(parcel("a"))
    box.push(parcel("b"))
    assert box.push(parcel("lost")) is None
    assert texts(box.collect()) == ["a", "b"]
    assert box.push(parcel("c")) is None
    box.cut_off(parcel("reason"))
    assert texts(box.collect()) == ["reason"]


def test_closing_puts_a_last_parcel_whatever_the_limit_and_nothing_after_it() -> None:
    box = Mailbox(1)
    box.push(parcel("a"))
    assert box.close(parcel("bye")) is False  # its writer comes again anyway
    assert box.push(parcel("late")) is False
    assert box.close(parcel("bye again")) is False
    assert not box.finish()
    assert texts(box.collect()) == ["a", "bye"]
    assert not box.finished
    assert box.finish()


def test_closing_an_idle_mailbox_has_to_be_scheduled_so_that_a_writer_finds_it_finished() -> None:
    box = Mailbox(1)
    assert box.close() is True
    assert box.collect() == []
    assert box.finish()


def test_closing_an_idle_mailbox_with_a_last_parcel_has_to_be_scheduled_once() -> None:
    box = Mailbox(1)
    assert box.close(parcel("bye")) is True
    assert box.cut_off(parcel("reason")) is False
    assert texts(box.collect()) == ["reason"]


def test_cutting_off_throws_away_all_but_the_reason() -> None:
    box = Mailbox(10)
    box.push(parcel("a", lines=5))
    assert box.cut_off(parcel("first reason")) is False
    assert box.lines == 1
    assert box.cut_off(parcel("second reason")) is False
    assert box.close(parcel("bye")) is False
    assert box.push(parcel("late")) is False
    assert texts(box.collect()) == ["first reason"]
    assert box.finish()


def test_cutting_off_an_idle_mailbox_has_to_be_scheduled() -> None:
    assert Mailbox(10).cut_off(parcel("reason")) is True
    assert Mailbox(10).cut_off() is True


def test_cutting_off_without_a_reason_throws_away_the_one_that_waits() -> None:
    """The wire is broken: what goes out now would come in the middle of a line."""
    box = Mailbox(10)
    box.push(parcel("a"))
    box.cut_off(parcel("reason"))
    assert box.cut_off() is False
    assert box.collect() == []
    assert box.finish()


def test_a_finished_mailbox_is_never_scheduled_again() -> None:
    box = Mailbox(10)
    box.close()
    box.collect()
    assert box.finish()
    assert [box.push(parcel()), box.close(parcel()), box.cut_off(parcel()), box.cut_off()] == [False] * 4


def sent(box: Mailbox) -> None:
    """The writer takes all, and the socket takes it from the writer."""
    box.collect()
    box.sent()


@for_each("ease", [sent, Mailbox.close, Mailbox.cut_off])
@for_each("much", ["lines", "bytes"])
def test_a_reader_waits_while_much_is_queued(ease: Callable[[Mailbox], object], much: str) -> None:
    box = Mailbox(10)
    long = [Message(1, "#lab", 1, 0, "ann", "say", "x" * (box.most_bytes // 2))]
    box.push(parcel(lines=6) if much == "lines" else Parcel(WORDS, long))
    order: list[str] = []

    def wait() -> None:
        box.wait_for_low_water()
        order.append("easy")

    reader = in_thread(wait)
    wait_for(lambda: waiting(box.not_full) == 1)
    order.append("still waiting")
    ease(box)
    assert joined(reader)
    assert order == ["still waiting", "easy"]


@for_each("ease", [Mailbox.sent, Mailbox.collect_held, Mailbox.cut_off])
def test_a_reader_waits_while_much_is_on_its_way_to_a_full_socket(ease: Callable[[Mailbox], object]) -> None:
    """Otherwise a client that does not read would be given one long answer after the other."""
    box = Mailbox(10)
    box.push(Parcel(WORDS, [Message(1, "#lab", 1, 0, "ann", "say", "x" * (EASY_BYTES + 1))]))
    reader = in_thread(lambda: box.wait_for_low_water())
    wait_for(lambda: waiting(box.not_full) == 1)
    [taken] = box.collect()
    if ease is Mailbox.collect_held:
        box.keep(taken)
        box.hold()
    wait_for(lambda: waiting(box.not_full) == 1)
    assert box.held() == taken.size > EASY_BYTES
    ease(box)
    assert joined(reader)
    assert box.held() == 0


def test_a_reader_does_not_wait_while_little_is_queued() -> None:
    box = Mailbox(10)
    box.push(parcel(lines=5))
    box.wait_for_low_water()


@pytest.mark.usefixtures("waits_under_a_lock_on_purpose")
def test_what_many_threads_put_is_counted_line_by_line_and_scheduled_by_one_of_them() -> None:
    class SlowParcel(Parcel):
        """Lets others run while it is put."""

        @property
        def lines(self) -> int:  # type: ignore[override]
            threading.Event().wait(1e-6)
            return 1

        @lines.setter
        def lines(self, count: int) -> None:
            assert count == 1

    box = Mailbox(10**9)
    answers: list[bool | None] = []
    threads = [
        in_thread(lambda: answers.extend(box.push(SlowParcel(WORDS, [Notice("hello")])) for _ in range(50)))
        for _ in range(4)
    ]
    assert all(joined(thread) for thread in threads)
    assert box.lines == 200
    assert sorted(map(str, answers)) == ["False"] * 199 + ["True"]


@pytest.mark.usefixtures("nimble")
def test_at_any_time_a_mailbox_has_one_writer_at_most_and_nothing_is_left_in_it() -> None:
    """Four threads push, one writes what they schedule, and now and then has another one hold the mailbox."""
    box = Mailbox(10**9)
    scheduled: queue.SimpleQueue[bool] = queue.SimpleQueue()
    writing = threading.Lock()
    written: list[str] = []
    clashes: list[str] = []

    def push(name: str) -> None:
        for n in range(1000):
            if box.push(parcel(f"{name} {n}")):
                scheduled.put(True)

    def keep(parcels: list[Parcel]) -> None:
        if not writing.acquire(blocking=False):
            clashes.append(threading.current_thread().name)
            return
        written.extend(texts(parcels))
        writing.release()

    def hold() -> None:
        while parcels := box.collect_held():
            keep(parcels)

    def write() -> None:
        times = 0
        while scheduled.get():
            parcels = box.collect()
            if parcels:
                keep(parcels)
                times += 1
                if times % 2:
                    box.hold()
                    holders.append(in_thread(hold))

    holders: list[threading.Thread] = []
    writer = in_thread(write)
    threads = [in_thread(lambda name=name: push(name)) for name in "abcd"]  # type: ignore[misc]
    assert all(joined(thread) for thread in threads)
    scheduled.put(False)
    assert joined(writer)
    assert all(joined(holder) for holder in holders)
    assert holders
    assert clashes == []
    assert box.lines == 0
    assert len(written) == 4000
    for name in "abcd":
        assert [each for each in written if each.startswith(name)] == [f"{name} {n}" for n in range(1000)]


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
    assert desk.scheduled == [desk.session]


def test_an_error_is_told_with_its_code(desk: Desk) -> None:
    assert problem(UnknownRoom("#a", "#b")) == Problem("unknown_room", UnknownRoom("#a", "#b").text, "#a", "#b")
    desk.session.tell(Busy())
    assert desk.collected() == [Busy().text]


def test_the_first_reason_to_cut_off_is_the_one_that_is_told(desk: Desk) -> None:
    desk.session.cut_off(ShuttingDown())
    desk.session.cut_off(TooSlow())
    assert isinstance(desk.session.reason, ShuttingDown)
    assert desk.collected() == ["The server is shutting down. Goodbye."]
    assert desk.scheduled == [desk.session]


def test_closing_sends_the_last_events_and_takes_no_more(desk: Desk) -> None:
    desk.session.send(Notice("a"))
    desk.session.close(Notice("so long"), Notice("goodbye"))
    desk.session.send(Notice("late"))
    assert desk.collected() == ["a", "so long|goodbye"]
    assert desk.session.mailbox.closed


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
    desk.session.heard -= 100
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
def test_a_name_that_fifty_claim_at_once_goes_to_exactly_one_a_hundred_times(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_fold(name: str) -> str:
        """Let others run, so that they could come between looking whether a name is free and taking it."""
        threading.Event().wait(1e-6)
        return fold(name)

    for each in (module, names):
        monkeypatch.setattr(each, "fold", slow_fold)
    count, rounds = 50, 100
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

    for thread in [in_thread(lambda number=number: race(number)) for number in range(count)]:  # type: ignore[misc]
        thread.join()  # the barriers see to it that none waits for ever
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


def test_an_unknown_person_is_told_with_the_nearest_one(store: SessionStore) -> None:
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
