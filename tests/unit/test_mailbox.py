"""The queues: a queue that is emptied all at once, and a session's mailbox with its states and its one writer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest
from support.samples import for_each
from support.views import WORDS, parcel, texts
from support.waiting import WAIT, wait_for

from chat_threads.events import LINE_SIZE, Answer, HistoryPage, Message, Notice, PrivateLine, Replay
from chat_threads.history import BATCH
from chat_threads.mailbox import EASY_BYTES, LEAST_BYTES, LIFE, LINE_BYTES, LOW_WATER, WRITER, Life, Mailbox, Writer
from chat_threads.paging import PAGE_LINES
from chat_threads.parcel import Parcel
from chat_threads.queues import BatchQueue
from chat_threads.rules import TEXT_LENGTH


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
    wait_for(lambda: queue._bell is not None)
    queue.put(7)
    assert joined(taker)
    assert taken == [7]


@pytest.mark.usefixtures("nimble")
def test_the_consumer_is_woken_for_every_item_though_it_often_leaves_before_the_bell_rings() -> None:
    queue: BatchQueue[int] = BatchQueue(10)
    taken: list[int] = []

    def take() -> None:
        while len(taken) < 4000:
            taken.extend(queue.take(3, 0.0))
            taken.extend(queue.take(3, 1e-6))
            if len(taken) < 4000:
                taken.extend(queue.take(3))

    def put(first: int) -> None:
        for n in range(first, 4000, 4):
            queue.put(n)

    threads = [in_thread(take), *(in_thread(lambda n=n: put(n)) for n in range(4))]  # type: ignore[misc]
    assert all(joined(thread) for thread in threads)
    assert [[n for n in taken if n % 4 == first] for first in range(4)] == [[*range(n, 4000, 4)] for n in range(4)]


def test_a_queue_is_done_while_its_consumer_waits_for_more() -> None:
    waiting: BatchQueue[int] = BatchQueue(10)
    assert not waiting.is_done()  # there is no consumer yet
    consumer = in_thread(lambda: waiting.take(10))
    wait_for(waiting.is_done)
    waiting.put(1)
    assert joined(consumer)
    assert not waiting.is_done()  # the consumer may still work at it
    assert waiting.take(10, 0.0) == []
    assert not waiting.is_done()  # nothing came in time, so the consumer may do something else
    waiting.put(2)
    assert not waiting.is_done()


def test_one_item_is_got_at_a_time_as_from_any_queue() -> None:
    waiting: BatchQueue[int] = BatchQueue(2)
    waiting.put(1)
    waiting.put_nowait(2)
    assert waiting.full()
    with pytest.raises(queue.Full):
        waiting.put_nowait(3)
    with pytest.raises(queue.Full):
        waiting.put(3, timeout=0.01)
    assert [waiting.get(), waiting.get_nowait(), waiting.empty()] == [1, 2, True]
    with pytest.raises(queue.Empty):
        waiting.get(timeout=0.01)


def test_a_batch_that_is_taken_lets_as_many_put_as_it_made_room_for() -> None:
    queue: BatchQueue[int] = BatchQueue(3)
    for n in range(3):
        queue.put(n)
    putters = [in_thread(lambda n=n: queue.put(n)) for n in range(3, 6)]  # type: ignore[misc]
    wait_for(lambda: waiting(queue.not_full) == 3)
    assert queue.take(10) == [0, 1, 2]
    assert all(joined(putter) for putter in putters)
    assert sorted(queue.take(10)) == [3, 4, 5]


# --- the mailbox's states ---------------------------------------------------------------------------------


def box_for(writer: Writer) -> Mailbox:
    """A mailbox that this thread is to empty."""
    box = Mailbox(10)
    if writer is not Writer.IDLE:
        box.push(parcel())
    if writer is Writer.HELD:
        box.collect()
        box.hold()
    assert box.writer is writer
    return box


WRITER_EVENTS = {
    "put": [lambda box: box.push(parcel()), Mailbox.close, Mailbox.cut_off],
    "collect": [Mailbox.collect],
    "hold": [Mailbox.hold],
    "release": [lambda box: (box.queue.clear(), box.collect_held())],  # which finds nothing
}


@for_each("event", WRITER_EVENTS)
@for_each("state", Writer)
def test_the_writer_of_a_mailbox_after_an_event_is_in_the_table(state: Writer, event: str) -> None:
    for happen in WRITER_EVENTS[event]:
        box = box_for(state)
        happen(box)  # type: ignore[operator]
        assert box.writer is WRITER[state].get(event, state)


def box_of(life: Life) -> Mailbox:
    """A mailbox that is full, unless it is closed."""
    box = Mailbox(1)
    box.push(parcel())
    if life is Life.OVERFLOWED:
        overflow(box)
    elif life is Life.CUT:
        box.cut_off(parcel())
    elif life is not Life.OPEN:
        box.close(parcel())
    if life is Life.FINISHED:
        sent_all(box)
    assert box.life is life
    return box


def sent_all(box: Mailbox) -> None:
    box.collect()
    box.finish()


def overflow(box: Mailbox) -> None:
    box.push(parcel())


LIFE_EVENTS = {"overflow": overflow, "close": Mailbox.close, "cut_off": Mailbox.cut_off, "finish": sent_all}


@for_each("event", LIFE_EVENTS)
@for_each("state", Life)
def test_the_life_of_a_mailbox_after_an_event_is_in_the_table(state: Life, event: str) -> None:
    box = box_of(state)
    LIFE_EVENTS[event](box)  # type: ignore[operator]
    assert box.life is LIFE[state].get(event, state)
    assert box.closed is (box.life not in (Life.OPEN, Life.OVERFLOWED))


def test_the_tables_have_all_states_and_no_event_that_is_not_tried() -> None:
    assert (set(WRITER), set(LIFE)) == (set(Writer), set(Life))
    assert {event for row in WRITER.values() for event in row} == set(WRITER_EVENTS)
    assert {event for row in LIFE.values() for event in row} == set(LIFE_EVENTS)


# --- the mailbox as any queue.Queue -----------------------------------------------------------------------


def test_parcels_that_are_put_and_got_keep_their_order_and_are_counted() -> None:
    box = Mailbox(10)
    assert (box.empty(), box.qsize(), box.full()) == (True, 0, False)
    for lines in (1, 0, 3):  # a parcel of no lines is there all the same
        box.put(parcel(str(lines), lines))
    assert (box.empty(), box.qsize(), box.full(), box.lines) == (False, 4, False, 4)
    assert [box.get().lines, box.get_nowait().lines] == [1, 0]
    box.put_nowait(parcel(lines=7))
    assert (box.qsize(), box.full()) == (10, True)
    with pytest.raises(queue.Full):
        box.put(parcel(), timeout=0.01)
    assert [box.get().lines, box.get().lines, box.taken, box.depth()] == [3, 7, 11, (0, 0)]
    with pytest.raises(queue.Empty):
        box.get_nowait()
    assert (box.writer, box.life) == (Writer.IDLE, Life.OPEN)


def test_many_bytes_make_a_mailbox_full_too() -> None:
    box = Mailbox(1000)
    box.put(Parcel(WORDS, [Message(1, "#lab", 1, 0, "ann", "say", "x" * (LEAST_BYTES - 2 * LINE_SIZE))]))
    assert (box.full(), box.qsize()) == (False, 1)
    box.put(parcel())
    assert (box.full(), box.lines) == (True, 2)
    box.get()
    assert (box.full(), box.qsize()) == (False, 1)


@for_each("put", [Mailbox.push, Mailbox.put, Mailbox.close])
def test_a_thread_that_waits_to_get_is_woken_by_whatever_is_put(put: Callable[[Mailbox, Parcel], object]) -> None:
    box = Mailbox(10)
    got: list[Parcel] = []
    getter = in_thread(lambda: got.append(box.get()))
    wait_for(lambda: waiting(box.not_empty) == 1)
    put(box, parcel("a"))
    assert joined(getter)
    assert texts(got) == ["a"]


@for_each("take", [Mailbox.get, Mailbox.collect])
def test_all_that_wait_to_put_are_woken_when_there_is_room(take: Callable[[Mailbox], object]) -> None:
    box = Mailbox(2)
    box.put(parcel(lines=2))
    putters = [in_thread(lambda: box.put(parcel("later"))) for _ in range(2)]
    wait_for(lambda: waiting(box.not_full) == 2)
    take(box)
    assert all(joined(putter) for putter in putters)
    assert box.lines == 2


def test_a_thread_that_waits_to_put_is_woken_though_a_reader_has_stopped_waiting() -> None:
    box = Mailbox(2)
    box.push(parcel(lines=2))
    reader = in_thread(box.wait_for_low_water)
    putter = in_thread(lambda: box.put(parcel("later")))
    wait_for(lambda: waiting(box.not_full) == 2)
    box.collect()
    assert joined(reader)
    assert joined(putter)
    box.push(parcel())
    late = in_thread(lambda: box.put(parcel("last")))
    wait_for(lambda: waiting(box.not_full) == 1)
    assert texts(box.collect()) == ["later", "hello"]
    assert joined(late)


def test_nothing_can_be_put_into_a_mailbox_that_overflowed_or_was_closed() -> None:
    box = Mailbox(1)
    box.push(parcel("a"))
    overflow(box)
    box.collect()
    with pytest.raises(queue.Full):
        box.put(parcel("b"))
    box.close()
    box.put(parcel("c"))
    assert box.empty()


# --- the mailbox and its writer ------------------------------------------------------------------------


def test_only_the_thread_that_puts_into_an_idle_mailbox_has_to_schedule_it() -> None:
    box = Mailbox(10)
    assert [box.push(parcel("a")), box.push(parcel("b")), box.push(parcel("c"))] == [True, False, False]


def test_a_put_after_a_collect_schedules_the_session_again() -> None:
    box = Mailbox(10)
    box.push(parcel("a"))
    box.push(parcel("b"))
    assert texts(box.collect()) == ["a", "b"]
    assert box.push(parcel("c")) is True
    assert texts(box.collect()) == ["c"]
    assert box.collect() == []
    assert not box.finish()
    assert box.push(parcel("d")) is True


def test_a_put_before_another_one_need_not_be_scheduled_unless_much_waits() -> None:
    box = Mailbox(10)
    assert box.push(parcel("a"), more=True) is False
    assert box.push(parcel("b")) is True
    assert texts(box.collect()) == ["a", "b"]
    assert [box.push(parcel("c"), more=True) for _ in range(6)] == [False] * 5 + [True]  # a reader would wait now
    box = Mailbox(10)
    box.push(parcel("d"), more=True)
    assert box.close() is True


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
    assert box.life is not Life.FINISHED
    assert box.push(parcel("e")) is True
    assert texts(box.collect()) == ["e"]


def test_the_holder_of_a_closed_mailbox_finishes_it() -> None:
    box = Mailbox(10)
    box.hold()
    assert box.close(parcel("bye")) is False
    assert texts(box.collect_held()) == ["bye"]
    assert box.life is not Life.FINISHED
    assert box.collect_held() == []
    assert box.life is Life.FINISHED


def refuses(box: Mailbox) -> bool:
    """Whether the mailbox is too full for a parcel, and the caller of ``push`` is told to cut the session off."""
    return box.push(parcel("lost")) and box.life is Life.OVERFLOWED


def test_a_mailbox_is_bounded_by_lines_and_one_parcel_may_overshoot() -> None:
    box = Mailbox(10)
    assert [box.push(parcel(lines=6)), box.push(parcel(lines=100))] == [True, False]
    assert box.lines == 106
    assert refuses(box)
    assert box.lines == 106


@for_each("text", ["x" * 6000, "é" * 3000, "🙂" * 1500])
def test_a_mailbox_is_bounded_by_bytes_too_whatever_the_characters(text: str) -> None:
    box = Mailbox(1000)
    message = Message(1, "#lab", 1, 0, "ann", "say", text)
    for event in (message, Answer(message, "1"), PrivateLine(0, "ann", "bob", text)):
        assert Parcel(WORDS, [event]).size == 6000 + LINE_SIZE
    for page in (HistoryPage("#lab", (message,) * 3, 3, None, None), Replay("#lab", (message,) * 3, 3)):
        assert Parcel(WORDS, [page, Notice("and this")]).size == 3 * (6000 + LINE_SIZE) + LINE_SIZE
    most = -(-LEAST_BYTES // (5 * (6000 + LINE_SIZE)))
    assert [box.push(Parcel(WORDS, [message] * 5)) for _ in range(most)] == [True] + [False] * (most - 1)
    assert box.lines < 1000
    assert refuses(box)


def test_the_more_lines_may_wait_the_more_bytes_may() -> None:
    assert Mailbox(10_000).most_bytes == 10_000 * LINE_BYTES > LEAST_BYTES == Mailbox(1000).most_bytes


def test_the_longest_batch_is_never_too_many_bytes_for_an_empty_mailbox() -> None:
    batch = [Message(1, "#lab", 1, 0, "ann", "say", "🙂" * TEXT_LENGTH)] * BATCH
    box = Mailbox(BATCH + 1)
    assert box.push(Parcel(WORDS, batch)) is True
    assert box.push(parcel()) is False


@for_each("limit", [BATCH + 1, 1000])
def test_a_page_leaves_room_for_what_others_say(limit: int) -> None:
    box = Mailbox(limit)
    box.push(parcel(lines=int(limit * LOW_WATER)))
    box.wait_for_low_water()  # not long: little is left
    longest = Message(1, "#lab", 1, 0, "ann", "say", "x", lines=PAGE_LINES)
    box.push(Parcel(WORDS, [HistoryPage("#lab", (longest,), 1, None, None)]))
    assert not refuses(box)


def test_a_mailbox_that_was_emptied_of_many_bytes_takes_as_many_again() -> None:
    box = Mailbox(1000)
    most = box.most_bytes // (6000 + LINE_SIZE)
    for _ in range(3):
        for _ in range(most):
            box.push(Parcel(WORDS, [Message(1, "#lab", 1, 0, "ann", "say", "x" * 6000)]))
        box.collect()


def test_a_mailbox_that_was_emptied_in_time_takes_as_much_again() -> None:
    box = Mailbox(10)
    for _ in range(3):
        box.push(parcel(lines=10))
        box.collect()
        assert box.lines == 0


def test_a_mailbox_that_was_full_takes_nothing_more_even_when_it_is_emptied() -> None:
    """Otherwise there would be a hole in what its session sees, before it is cut off."""
    box = Mailbox(2)
    box.push(parcel("a"))
    box.push(parcel("b"))
    assert refuses(box)
    assert texts(box.collect()) == ["a", "b"]
    assert refuses(box)
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
    assert box.life is not Life.FINISHED
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
    """The wire broke in the middle of a line, so more bytes would continue that line."""
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


def test_a_writer_that_finds_a_held_mailbox_does_not_take_the_bytes_under_way_for_sent() -> None:
    """The session may still be on its writer's list when the mailbox becomes the holder's."""
    box = Mailbox(10)
    box.push(Parcel(WORDS, [Message(1, "#lab", 1, 0, "ann", "say", "x" * (EASY_BYTES + 1))]))
    [taken] = box.collect()
    box.push(parcel())  # schedules the session again
    box.keep(taken)
    box.hold()
    assert box.collect() == []
    box.sent()
    assert box.under_way == taken.size


def test_a_reader_does_not_wait_while_little_is_queued() -> None:
    box = Mailbox(10)
    box.push(parcel(lines=5))
    box.wait_for_low_water()


@pytest.mark.usefixtures("waits_under_a_lock_on_purpose")
def test_parcels_from_many_threads_are_counted_line_by_line_and_scheduled_by_one_thread() -> None:
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
    answers: list[bool] = []
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
