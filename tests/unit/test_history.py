"""The history thread: one order, numbers without a gap, nothing shown that is not stored, and errors for senders."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from support.samples import for_each
from support.waiting import WAIT, wait_for

from chat_threads import history as module
from chat_threads import metrics, ordered, upkeep
from chat_threads.changes import Sanctioned, Set
from chat_threads.errors import ChatError, NotStored, RoomGone, RoomNotStored
from chat_threads.events import Message
from chat_threads.governance import Somebody
from chat_threads.history import AHEAD, BATCH, History
from chat_threads.refusals import Banned
from chat_threads.retention import DAY_MS
from chat_threads.storage import MEMORY, Batch, Storage
from chat_threads.storage_errors import StorageBroken, StorageError

LAB, HALL = 1, 2  # rooms


def made(room: int) -> ordered.RoomMade:
    return ordered.RoomMade(room, f"#room{room}", f"#room{room}", "", "ann", 0)


def draft(text: str, room: int = LAB, origin: object = "ann's session") -> ordered.Draft:
    return ordered.Draft(room, f"#room{room}", "ann", "say", text, origin)


class Store(Storage):
    """A history that records its calls. A test can make its commits wait or fail."""

    def __init__(self, path: str = MEMORY) -> None:
        super().__init__(path)
        self.gate = threading.Event()  # commits wait for it
        self.gate.set()
        self.waiting = threading.Event()  # a commit has come to the gate
        self.failing = ""
        self.log: list[str] = []
        self.batches: list[Batch] = []
        self.swept = threading.Event()  # a sweep has left nothing to do
        self.at_sweep: Callable[[], None] = lambda: None
        self.index_failing: StorageError | None = None
        self.indexed = threading.Event()  # all is in the index

    def commit(self, batch: Batch) -> None:
        self.waiting.set()
        assert self.gate.wait(WAIT)
        self.log.append("commit")
        if self.failing:
            raise StorageError(self.failing)
        super().commit(batch)
        self.batches.append(batch)

    def index(self) -> None:
        self.log.append("index")
        if self.index_failing:
            raise self.index_failing
        super().index()
        if not self.unindexed:
            self.indexed.set()

    def sweep(self, older_than: int | None, left: dict[int, int] | None = None) -> tuple[int, bool]:
        self.log.append("sweep")
        self.at_sweep()
        if self.failing:
            raise StorageError(self.failing)
        gone, more = super().sweep(older_than, left)
        if not more:
            self.swept.set()
        return gone, more


class House:
    """A history with its thread, and what the thread hands on."""

    def __init__(self, store: Store, **more: Any) -> None:
        self.store = store
        self.history = History(store, **more)
        self.published: list[ordered.Published] = []
        self.refused: list[tuple[ordered.Ordered, ChatError]] = []
        self.at_publish: Callable[[Sequence[ordered.Published]], None] = lambda batch: None
        self.at_flush: Callable[[], None] = lambda: None
        self.ready = True
        self.may_go_on: list[bool] = []

    def start(self, *rooms: int) -> House:
        for room in rooms:
            self.history.enqueue(made(room))
        self.history.start(
            self._publish,
            lambda item, error: self.refused.append((item, error)),
            flush=self._flush,
        )
        return self

    def _flush(self, may_go_on: bool) -> bool:
        """Are the writers ready now? They always are after a wait."""
        self.may_go_on.append(may_go_on)
        self.at_flush()
        return self.ready or not may_go_on

    def _publish(self, batch: Sequence[ordered.Published]) -> None:
        assert threading.current_thread().name == "history"
        self.at_publish(batch)
        self.published += batch

    def submit(self, *items: ordered.Ordered) -> None:
        for item in items:
            self.history.submit(item)

    def settle(self) -> None:
        assert self.history.settle(WAIT)

    def say(self, *texts: str, room: int = LAB) -> None:
        """Say a text, and wait until it is published or refused."""
        self.submit(*(draft(text, room) for text in texts))
        self.settle()

    def hold(self) -> None:
        """Make the history thread wait in a commit of one message: everything submitted meanwhile becomes one batch."""
        self.settle()
        self.store.waiting.clear()
        self.store.gate.clear()
        self.submit(draft("held"))
        assert self.store.waiting.wait(WAIT)

    def go_on(self) -> None:
        self.store.gate.set()
        self.settle()

    def messages(self, room: int = LAB) -> list[Message]:
        return [item for item in self.published if isinstance(item, Message) and item.room_id == room]

    def numbers(self, room: int = LAB) -> list[int]:
        return [message.number for message in self.messages(room)]

    def texts(self, room: int = LAB) -> list[str]:
        return [message.text for message in self.messages(room)]

    def close(self) -> None:
        self.store.gate.set()
        assert self.history.stop(WAIT)
        self.store.close()


@pytest.fixture
def open_house() -> Iterator[Callable[..., House]]:
    """Histories that are stopped and closed at the end of the test."""
    houses: list[House] = []

    def open_one(store: Store | None = None, **more: Any) -> House:
        houses.append(House(store or Store(), **more))
        return houses[-1]

    yield open_one
    for house in houses:
        house.close()


@pytest.fixture
def house(open_house: Callable[..., House]) -> House:
    """A running history with the rooms 1 and 2."""
    house = open_house().start(LAB, HALL)
    house.settle()
    return house


# --- numbers and order ----------------------------------------------------------------------------------


def test_each_room_counts_its_messages_from_one_without_a_gap(house: House) -> None:
    for n in range(30):
        house.submit(draft(f"in the lab {n}"), draft(f"in the hall {n}", HALL))
    house.settle()
    for room, where in ((LAB, "lab"), (HALL, "hall")):
        assert house.numbers(room) == list(range(1, 31))
        assert house.texts(room) == [f"in the {where} {n}" for n in range(30)]
        assert house.store.page(room, limit=100) == house.messages(room)


def test_the_numbers_go_on_after_a_restart(open_house: Callable[..., House], tmp_path: pathlib.Path) -> None:
    first = House(Store(str(tmp_path / "chat.db"))).start(LAB)
    first.say("one", "two")
    first.close()
    second = open_house(Store(str(tmp_path / "chat.db"))).start()
    assert second.history.stored == 2
    second.say("three")
    assert second.numbers() == [3]
    assert [message.text for message in second.store.page(LAB)] == ["one", "two", "three"]


def test_presence_and_names_keep_their_place_among_the_messages(house: House) -> None:
    house.hold()
    between = [
        ordered.Joined(LAB, "bob's session", "bob", 1),
        ordered.NameChanged("bob's session", "bob", "rob"),
        ordered.Left(LAB, "bob's session"),
    ]
    house.submit(draft("a"), between[0], draft("b"), between[1], between[2], draft("c"))
    house.go_on()
    seen = [item.text if isinstance(item, Message) else item for item in house.published]
    assert seen == ["held", "a", between[0], "b", between[1], between[2], "c"]


def test_many_senders_make_one_order_in_which_each_keeps_its_own(house: House) -> None:
    def speak(name: str) -> None:
        for n in range(100):
            house.history.submit(draft(f"{name} {n}"))

    speakers = [threading.Thread(target=speak, args=(f"speaker{n}",)) for n in range(8)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join(WAIT)
    house.settle()
    assert house.numbers() == list(range(1, 801))
    for n in range(8):
        own = [text for text in house.texts() if text.startswith(f"speaker{n} ")]
        assert own == [f"speaker{n} {each}" for each in range(100)]
    assert [message.text for message in house.store.page(LAB, limit=1000)] == house.texts()


def test_nothing_is_published_before_it_is_stored(open_house: Callable[..., House], tmp_path: pathlib.Path) -> None:
    house = open_house(Store(str(tmp_path / "chat.db")))
    looked: list[bool] = []

    def look(batch: Sequence[ordered.Published]) -> None:
        """Read through a second connection, which sees only committed data."""
        said = [item for item in batch if isinstance(item, Message)]
        looked.append(house.store.page(LAB, limit=1000)[-len(said) :] == said)

    house.at_publish = look
    house.start(LAB)
    for n in range(50):
        house.submit(draft(f"message {n}"))
    house.settle()
    assert house.numbers() == list(range(1, 51))
    assert looked
    assert all(looked)


def test_the_waiting_values_are_one_batch_up_to_a_bound(house: House) -> None:
    house.hold()
    house.submit(*(draft(f"message {n}") for n in range(BATCH + 88)))
    house.go_on()
    assert [len(batch.messages) for batch in house.store.batches][-3:] == [1, BATCH, 88]
    assert house.numbers() == list(range(1, BATCH + 90))


def test_a_batch_of_many_lines_is_published_in_parts_and_the_writers_send_between_them(house: House) -> None:
    """So it does not fill the queue of a client that reads."""
    parts: list[int | None] = []
    house.at_publish = lambda batch: parts.append(sum(each.lines for each in batch if isinstance(each, Message)))
    house.at_flush = lambda: parts.append(None)
    house.hold()
    house.submit(*(draft("x\n" * (n % 40) + "x") for n in range(100)))
    parts.clear()
    house.go_on()
    assert [len(batch.messages) for batch in house.store.batches][-1] == 100
    lines = [part for part in parts[parts.index(None) + 1 :] if part is not None]
    assert sum(lines) == sum(n % 40 + 1 for n in range(100))
    assert max(lines) <= BATCH - AHEAD < min(lines[:-1]) + 40
    assert parts[-2 * len(lines) :: 2] == [None] * len(lines)
    assert house.numbers() == list(range(1, 102))


def test_what_comes_while_the_writers_send_is_one_batch_with_what_waits(house: House) -> None:
    house.settle()
    house.store.batches.clear()

    def more_comes() -> None:
        assert not house.store.batches  # nothing is committed before the writers are ready
        house.at_flush = lambda: None
        house.submit(draft("two"), draft("three"))

    house.at_flush = more_comes
    house.say("one")
    assert [[message.text for message in batch.messages] for batch in house.store.batches] == [["one", "two", "three"]]


def test_a_batch_goes_with_a_small_one_that_the_writers_still_have_and_the_next_one_waits(house: House) -> None:
    """So the queue of a client that reads holds no more than AHEAD lines when a batch comes."""
    house.settle()
    house.ready = False
    went_on: list[bool] = []
    house.at_publish = lambda batch: went_on.append(house.may_go_on[-1])
    for text in ("one", "two", "three", "four", "five", "six", "two\nlines", "eight"):
        before = len(house.published)
        house.submit(draft(text))
        wait_for(lambda before=before: len(house.published) > before)  # type: ignore[misc]
    assert went_on == [True, True, False, True, False, True, False, False]


@for_each("at_once", [1, BATCH - AHEAD, BATCH])
def test_batches_that_the_writers_have_together_do_not_fill_the_smallest_queue(house: House, at_once: int) -> None:
    queued = [0]  # lines, since the writers had sent everything
    late = [draft("late") for _ in range(BATCH)]

    def flushed() -> None:
        while late:  # they come while the writers send
            house.submit(late.pop())
        if not house.may_go_on[-1]:
            queued.append(0)

    def published(batch: Sequence[ordered.Published]) -> None:
        queued[-1] += len(batch)

    house.hold()
    house.ready = False
    house.at_flush, house.at_publish = flushed, published
    house.submit(*(draft("early") for _ in range(at_once)))
    house.go_on()
    house.settle()  # once more, for those that came late
    assert sum(queued) == 1 + at_once + BATCH
    assert max(queued) <= BATCH


def test_a_message_has_the_time_at_which_it_was_stored(open_house: Callable[..., House]) -> None:
    house = open_house(now=lambda: 1234.5678).start(LAB)
    house.say("now")
    assert house.messages()[0] == Message(LAB, "#room1", 1, 1_234_567, "ann", "say", "now")


def test_a_bug_in_publishing_ends_the_thread_for_nobody_could_tell_who_saw_what(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    broke: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: broke.append(args.exc_type))

    def broken(batch: Sequence[ordered.Published]) -> None:
        raise ZeroDivisionError

    house.at_publish = broken
    house.submit(draft("stored, but shown to nobody"))
    house.history.thread.join(WAIT)
    assert broke == [ZeroDivisionError]
    assert house.store.count() == 1


# --- a commit that fails --------------------------------------------------------------------------------


def test_each_sender_of_a_failed_commit_gets_an_error_and_nobody_sees_the_messages(house: House) -> None:
    house.store.failing = "disk full"
    drafts = [draft("a", origin="ann's session"), draft("b", origin="bob's session")]
    house.submit(*drafts)
    house.settle()
    assert house.published == []
    assert [item for item, _ in house.refused] == drafts
    assert {(type(error), error.text) for _, error in house.refused} == {
        (NotStored, "Not stored, so not sent: disk full")
    }
    assert house.history.stored == 0


def test_a_failed_commit_leaves_no_gap_in_the_numbers(house: House) -> None:
    house.say("one")
    house.store.failing = "disk full"
    house.say("lost")
    house.store.failing = ""
    house.say("two", "three")
    assert house.numbers() == [1, 2, 3]
    assert house.texts() == ["one", "two", "three"]
    assert [message.number for message in house.store.page(LAB)] == [1, 2, 3]
    assert house.history.stored == 3


def test_a_disk_that_stays_full_is_logged_seldom_and_once_more_when_it_has_room(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "chat_threads.history")
    house.store.failing = "disk full"
    for _ in range(5):
        house.say("lost")
    for _ in range(3):  # and if a short message finds room, and a long one does not
        house.store.failing = ""
        house.say("one", "two")
        house.store.failing = "disk full"
        house.say("lost")
    assert [record.getMessage() for record in caplog.records] == [
        ":memory:: not stored: disk full (commits that failed: 1)",
        ":memory:: stored again",
    ]


def test_a_failed_commit_keeps_nobody_from_coming_and_going(house: House) -> None:
    house.hold()
    presence = [
        ordered.Joined(LAB, "bob's session", "bob", 1),
        ordered.Left(LAB, "bob's session"),
        ordered.NameChanged("s", "bob", "rob"),
    ]
    topic, end = (
        ordered.TopicSet(LAB, "ann", "graphs", "ann's session"),
        ordered.RoomEnded(HALL, "ann", "ann's session"),
    )
    house.submit(presence[0], topic, presence[1], end, presence[2])
    house.store.failing = "disk full"
    house.go_on()
    assert house.published == presence
    assert [item for item, _ in house.refused][1:] == [topic, end]
    assert isinstance(house.refused[-1][1], NotStored)
    house.store.failing = ""
    house.say("still there", room=HALL)
    assert house.numbers(HALL) == [1]


def test_a_room_that_could_not_be_stored_is_stored_with_the_next_message(open_house: Callable[..., House]) -> None:
    house = open_house()
    house.store.failing = "disk full"
    house.start(LAB, HALL)
    house.say("lost")
    assert house.store.rooms() == []
    told = [(item, type(error)) for item, error in house.refused if isinstance(item, ordered.RoomMade)]
    assert told == [(made(LAB), RoomNotStored), (made(HALL), RoomNotStored)]
    house.store.failing = ""
    house.say("kept")
    assert [room.id for room in house.store.rooms()] == [LAB, HALL]
    assert house.numbers() == [1]
    assert [(batch.rooms_made, len(batch.messages)) for batch in house.store.batches] == [([made(LAB), made(HALL)], 1)]
    house.say("and only once")
    assert house.numbers() == [1, 2]
    assert house.store.batches[-1].rooms_made == []


# --- rooms that are gone --------------------------------------------------------------------------------


def test_a_message_in_a_deleted_room_is_refused(house: House) -> None:
    """In the batch that deletes it, and later, and in a room that never was."""
    house.say("first")
    house.hold()
    end = ordered.RoomEnded(LAB, "ann", "ann's session")
    house.submit(draft("before"), end, draft("same batch"), ordered.TopicSet(LAB, "ann", "late", "ann's session"))
    house.go_on()
    house.say("later")
    house.say("never", room=99)
    house.submit(ordered.RoomEnded(LAB, "ann", "ann's session"))
    house.settle()
    assert house.texts() == ["first", "held", "before"]
    assert house.published[-1] == end
    assert [type(error) for _, error in house.refused] == [RoomGone] * 5
    assert [item.text for item, _ in house.refused if isinstance(item, ordered.Draft)] == [
        "same batch",
        "later",
        "never",
    ]
    assert house.store.page(LAB) == []
    assert [room.id for room in house.store.rooms()] == [HALL]


def test_a_room_can_be_made_used_and_deleted_in_one_batch(house: House) -> None:
    house.hold()
    house.submit(
        made(3),
        draft("hello", 3),
        ordered.TopicSet(3, "ann", "short", "s"),
        ordered.RoomEnded(3, "ann", "s"),
        draft("oh", 3),
    )
    house.go_on()
    assert house.texts(3) == ["hello"]
    assert [item.text for item, _ in house.refused if isinstance(item, ordered.Draft)] == ["oh"]
    assert [room.id for room in house.store.rooms()] == [LAB, HALL]


def test_a_topic_is_stored_before_it_is_shown(house: House) -> None:
    topics: list[str] = []
    house.at_publish = lambda batch: topics.append(house.store.rooms()[0].topic)
    house.submit(ordered.TopicSet(LAB, "ann", "graphs", "ann's session"))
    house.settle()
    assert topics == ["graphs"]
    assert house.published == [ordered.TopicSet(LAB, "ann", "graphs", "ann's session")]


# --- waiting --------------------------------------------------------------------------------------------


def test_settle_waits_until_what_came_before_is_published(house: House) -> None:
    house.hold()
    assert not house.history.settle(0.01)
    house.go_on()
    assert house.texts() == ["held"]


def test_settle_ends_early_for_a_thread_that_has_no_reason_to_wait_any_more(house: House) -> None:
    house.hold()
    gone = threading.Event()
    gone.set()
    began = time.monotonic()
    assert not house.history.settle(WAIT, unless=gone)
    assert time.monotonic() - began < WAIT / 2
    house.store.gate.set()
    assert house.history.settle(WAIT, unless=threading.Event())


def test_settle_waits_until_what_came_before_is_refused(house: House) -> None:
    house.settle()
    house.store.failing = "disk full"
    house.say("lost")
    assert len(house.refused) == 1


def test_a_full_queue_makes_a_sender_wait_until_there_is_room(
    open_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE", 4)
    house = open_house().start(LAB)
    house.hold()
    house.submit(*(draft(f"queued {n}") for n in range(4)))
    waiter = threading.Thread(target=house.submit, args=(draft("waited"),))
    waiter.start()
    house.go_on()
    waiter.join(WAIT)
    house.settle()
    assert house.texts() == ["held", "queued 0", "queued 1", "queued 2", "queued 3", "waited"]


def test_a_sender_waits_for_a_full_queue_only_so_long(
    open_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE", 4)
    monkeypatch.setattr(module, "PATIENCE", 0.02)
    house = open_house().start(LAB)
    house.hold()
    house.submit(*(draft(f"queued {n}") for n in range(4)))
    with pytest.raises(NotStored, match="does not keep up"):
        house.history.submit(draft("too much"))
    with pytest.raises(NotStored, match="does not keep up"):
        house.history.enqueue(draft("too much"))
    assert not house.history.settle(0.01)
    assert not house.history.stop(0.01)
    house.go_on()
    assert house.texts() == ["held", "queued 0", "queued 1", "queued 2", "queued 3"]


def test_a_queue_that_is_not_full_takes_without_waiting(house: House) -> None:
    house.history.enqueue(draft("quick"))
    house.settle()
    assert house.texts() == ["quick"]


# --- stopping -------------------------------------------------------------------------------------------


def test_stopping_finishes_what_is_queued(house: House) -> None:
    house.submit(*(draft(f"message {n}") for n in range(1500)))
    assert house.history.stop(WAIT)
    assert house.numbers() == list(range(1, 1501))
    assert house.store.count() == 1500


def test_stopping_does_not_wait_for_ever(house: House) -> None:
    house.hold()
    assert not house.history.stop(0.01)
    house.store.gate.set()
    assert house.history.stop(WAIT)
    assert house.texts() == ["held"]


def test_a_history_that_was_never_started_is_stopped(open_house: Callable[..., House]) -> None:
    assert open_house().history.stop(0.01)


# --- counting -------------------------------------------------------------------------------------------


def test_the_rate_is_the_mean_of_the_last_ten_whole_seconds(
    open_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.5]
    for each in (module, metrics):
        monkeypatch.setattr(each, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    house = open_house().start(LAB)
    rates = []
    house.say(*(f"message {n}" for n in range(30)))
    rates.append(house.history.commits.per_second())  # this second is not over
    clock[0] = 101.0
    house.say(*(f"message {n}" for n in range(20)))
    rates.append(house.history.commits.per_second())
    for clock[0] in (110.9, 111.0, 111.9, 112.0):
        rates.append(house.history.commits.per_second())
    assert rates == [0.0, 3.0, 5.0, 2.0, 2.0, 0.0]
    for second in range(200, 230):
        clock[0] = float(second)
        house.say("one a second")
    clock[0] = 230.0
    assert house.history.commits.per_second() == 1.0
    assert house.history.stored == 80


# --- the search index -------------------------------------------------------------------------------------


def test_the_index_catches_up_when_nobody_speaks(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert house.store.indexed.wait(WAIT)
    monkeypatch.setattr(upkeep, "QUIET", 0.0)
    house.store.indexed.clear()
    house.say("one", "two")
    assert house.store.indexed.wait(WAIT)
    assert house.store.unindexed == 0


def test_while_somebody_speaks_the_index_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "QUIET", WAIT)
    house.settle()
    house.store.log.clear()
    for number in range(20):
        house.say(str(number))
    assert house.store.log == ["commit"] * 20
    assert [message.text for message in house.store.search("19", None, None, 10)] == ["19"]


def test_however_much_is_said_the_index_does_not_fall_far_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "QUIET", WAIT)
    monkeypatch.setattr(upkeep, "INDEX_AFTER", 10)
    monkeypatch.setattr(upkeep, "INDEX_PAUSE", 0.0)
    monkeypatch.setattr(upkeep, "INDEX_REST", 0)
    behind = []
    house.at_publish = lambda batch: behind.append(house.store.unindexed)
    for number in range(100):
        house.say(str(number))
    assert max(behind) <= 10
    assert house.store.log.count("index") >= 10


@pytest.mark.parametrize(("quiet", "rest"), [(WAIT, 9), (0.0, 0)], ids=["people talk", "nobody talks"])
def test_while_people_talk_the_index_leaves_them_most_of_the_time(
    house: House, monkeypatch: pytest.MonkeyPatch, quiet: float, rest: int
) -> None:
    clock = [1000.0]

    def takes_a_second() -> None:
        clock[0] += 1.0

    history = House(house.store).history  # not started: this thread is its own
    monkeypatch.setattr(upkeep, "QUIET", quiet)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(house.store, "index", takes_a_second)
    monkeypatch.setattr(house.store, "unindexed", 1)
    history._upkeep.said_at = 1000.0
    history._upkeep._index()
    assert history._upkeep.indexing.at == pytest.approx(1001.0 + max(rest, upkeep.INDEX_PAUSE))


def test_an_index_that_cannot_be_written_hurts_nobody_and_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert house.store.indexed.wait(WAIT)
    monkeypatch.setattr(upkeep, "QUIET", 0.0)
    house.store.index_failing = StorageError("disk full")
    house.store.log.clear()
    for number in range(5):
        house.say(f"message {number}")
    house.settle()
    assert house.store.log.count("index") == 1  # and not again for a while
    assert "the search index could not be written, so searches take longer: disk full" in caplog.text
    assert len(house.store.search("message", None, None, 10)) == len(house.numbers()) == 5
    house.store.index_failing = None
    house.store.indexed.clear()
    house.history._upkeep.index_again = house.history._upkeep.indexing.at = 0.0
    house.say("message 5")
    assert house.store.indexed.wait(WAIT)


def test_a_disk_that_fails_while_the_index_is_written_makes_the_history_read_only(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "QUIET", 0.0)
    told = threading.Event()
    house.history._announce = lambda error: told.set()
    house.store.index_failing = StorageBroken()
    house.say("hello")
    assert told.wait(WAIT)
    assert house.history.read_only
    house.settle()
    assert house.store.log.count("index") <= 2  # the one at the start, and this one
    assert [message.text for message in house.store.search("hello", None, None, 10)] == ["hello"]


@pytest.mark.slow
def test_a_long_history_without_an_index_starts_at_once_and_the_log_says_how_far_it_is(
    open_house: Callable[..., House],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(upkeep, "INDEX_LONG", 100)
    monkeypatch.setattr(upkeep, "TOLD_EVERY", 0.0)
    monkeypatch.setattr(upkeep, "INDEX_PAUSE", 0.0)
    store = Store(str(tmp_path / "chat.db"))
    store.commit(
        Batch([made(LAB)], [Message(LAB, "#room1", n, n, "ann", "say", f"message {n}") for n in range(1, 2001)])
    )
    store.indexed.clear()
    house = open_house(store).start()
    house.say("hello")
    assert store.indexed.wait(WAIT)
    house.settle()
    assert store.log.count("index") >= 4
    lines = [record.getMessage() for record in caplog.records if "search index" in record.getMessage()]
    assert lines[0].startswith("making the search index: ")
    assert len(lines) >= 3
    assert lines[-1] == "the search index is made"


# --- sweeping -------------------------------------------------------------------------------------------


def test_an_owner_who_was_banned_just_before_does_not_delete_the_room(house: House) -> None:
    boss, owner = Somebody(9, "root", operator=True), Somebody(5, "ann")
    house.submit(
        ordered.RoomChanged(LAB, "#room1", 5, Sanctioned("ban", owner), boss, None),
        ordered.RoomEnded(LAB, "ann", None, "", "#room1", 5),
    )
    house.settle()
    assert [type(error) for _, error in house.refused] == [Banned]
    assert LAB in [room.id for room in house.store.rooms()]


def test_a_rooms_own_rule_deletes_what_is_older_there_and_nothing_elsewhere(open_house: Callable[..., House]) -> None:
    """At once, when the rule is made. ``/room keep all`` ends it."""
    day, owner = DAY_MS / 1000, Somebody(5, "ann")
    time_is = [10 * day]
    house = open_house(now=lambda: time_is[0]).start(LAB, HALL)

    def rule(setting: str) -> ordered.RoomChanged:
        return ordered.RoomChanged(LAB, "#room1", 5, Set(setting), owner, None)

    for room in (LAB, HALL):
        house.say("old", room=room)
    time_is[0] += 0.9 * day
    for room in (LAB, HALL):
        house.say("new", room=room)
    time_is[0] += 0.2 * day
    house.submit(rule("keep 1"))
    wait_for(lambda: [each.text for each in house.store.page(LAB)] == ["new"], "the old message is gone")
    assert [each.text for each in house.store.page(HALL)] == ["old", "new"]
    wait_for(lambda: house.history.stored == 3)
    house.submit(rule("keep all"))
    house.settle()
    assert house.history._kept() == {}


def test_a_room_that_keeps_all_again_loses_no_more_messages(open_house: Callable[..., House]) -> None:
    day = DAY_MS / 1000
    time_is = [10 * day]
    house = open_house(now=lambda: time_is[0]).start(LAB)
    house.say("old")
    time_is[0] += 2 * day
    upkeep = house.history._upkeep
    upkeep._rules, upkeep._left = {LAB: DAY_MS}, {LAB: int((time_is[0] - day) * 1000)}  # a pass by the rule has begun
    upkeep.passing = True
    house.submit(ordered.RoomChanged(LAB, "#room1", 5, Set("slow 1"), Somebody(5, "ann"), None))
    upkeep.sweeping.at = 0.0
    house.settle()
    wait_for(lambda: upkeep._left == {})
    assert [each.text for each in house.store.page(LAB)] == ["old"]


def old_and_new(path: pathlib.Path) -> Store:
    """A history with messages of the days 1 to 5, two a day."""
    store = Store(str(path))
    days = [Message(LAB, "#room1", n, (n + 1) // 2 * DAY_MS, "ann", "say", f"day {(n + 1) // 2}") for n in range(1, 11)]
    store.commit(Batch([made(LAB), made(HALL)], days))
    store.log.clear()
    return store


def test_messages_that_are_too_old_are_deleted_at_the_start(
    open_house: Callable[..., House], tmp_path: pathlib.Path
) -> None:
    house = open_house(old_and_new(tmp_path / "chat.db"), retain_days=2.5, now=lambda: 5 * DAY_MS / 1000)
    assert house.history.stored == 10
    house.start()
    assert house.store.swept.wait(WAIT)
    house.say("today")
    left = [message.text for message in house.store.page(LAB)]
    assert left == ["day 3", "day 3", "day 4", "day 4", "day 5", "day 5", "today"]
    assert house.numbers() == [11]
    assert house.history.stored == 7


def test_messages_that_become_too_old_are_deleted_later(
    open_house: Callable[..., House], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SWEEP_EVERY", 0.0)
    today, pace = [5], [0]

    def now() -> float:
        today[0] += pace[0]
        return today[0] * DAY_MS / 1000

    house = open_house(old_and_new(tmp_path / "chat.db"), retain_days=10, now=now)
    swept_all = threading.Event()
    house.store.at_sweep = lambda: swept_all.set() if house.history.stored == 0 else None
    house.start()
    assert house.store.swept.wait(WAIT)
    assert house.history.stored == 10
    pace[0] = 1  # a day passes from one look to the next
    assert swept_all.wait(WAIT)
    assert house.store.count() == 0


def test_without_a_limit_nothing_is_swept(open_house: Callable[..., House], tmp_path: pathlib.Path) -> None:
    house = open_house(old_and_new(tmp_path / "chat.db")).start()
    assert house.store.swept.wait(WAIT)
    house.say("today")
    house.settle()
    assert house.history.stored == 11
    assert [each for each in house.store.log if each != "index"] == ["sweep", "commit"]


def test_a_deleted_room_is_swept_away_in_slices_between_which_others_are_heard(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_threads.retention.SWEEP_ROWS", 100)
    monkeypatch.setattr(upkeep, "SWEEP_PAUSE", 0.0)
    house.say(*(f"message {n}" for n in range(250)))
    house.store.swept.clear()
    house.store.log.clear()

    def speak() -> None:
        """Somebody says something while a slice is being deleted."""
        if house.store.log.count("sweep") <= 2:
            house.history.enqueue(draft("meanwhile", HALL))

    house.store.at_sweep = speak
    house.submit(ordered.RoomEnded(LAB, "ann", "ann's session"))
    assert house.store.swept.wait(WAIT)
    house.settle()
    done = [each for each in house.store.log if each != "index"]
    # Three slices are wiped, the last of them is deleted; then the other two, and nothing is left.
    assert done == ["commit", "sweep", "commit", "sweep", "commit", *["sweep"] * 4]
    assert house.numbers(HALL) == [1, 2]
    assert (house.store.count(), house.history.stored) == (2, 2)


def test_a_sweep_that_fails_is_logged_and_what_is_said_goes_on(
    open_house: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    house = open_house()
    house.store.failing = "disk full"
    house.start(LAB)
    house.settle()
    house.store.failing = ""
    house.say("hello")
    assert house.numbers() == [1]
    assert "old data was not deleted: disk full" in caplog.text
    assert house.store.log.count("sweep") == 1
