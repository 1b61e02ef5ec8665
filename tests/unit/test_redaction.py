"""Who may remove a message, what is left of it, and that no page shows it any more."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Iterator

import pytest
from support.waiting import WAIT

from chat_threads import ordered, redaction
from chat_threads.batch import Batch
from chat_threads.errors import ChatError, NotAllowed, NotStored, RoomGone, Unreadable
from chat_threads.events import Message
from chat_threads.history import History
from chat_threads.ordered import Draft, Marker, RoomMade
from chat_threads.redaction import WITHIN, Lately, OldMessage, OthersMessage, RemovedAlready, UnknownMessage
from chat_threads.storage import Storage
from chat_threads.storage_errors import StorageError

LAB = 1
ANN, BOB = 11, 22  # numbers of tokens
NOW = 1_800_000_000.0


class House:
    """A history with its thread, a clock that the test sets, and what the thread hands on."""

    def __init__(self, path: str) -> None:
        self.storage = Storage(path)
        self.now = NOW
        self.at_publish: Callable[[], None] = lambda: None
        self.published: list[ordered.Published] = []
        self.refused: list[ChatError] = []
        self.history = History(self.storage, now=lambda: self.now)
        self.history.enqueue(RoomMade(LAB, "#lab", "#lab", "", "ann", 0))
        self.history.start(self._publish, lambda item, error: self.refused.append(error))

    def _publish(self, batch: object) -> None:
        self.published += batch  # type: ignore[arg-type]
        self.at_publish()

    def do(self, *items: ordered.Ordered) -> list[ChatError]:
        """Submit these, wait until all is done, and return the new errors."""
        before = len(self.refused)
        for item in items:
            self.history.submit(item)
        marker = Marker()
        self.history.submit(marker)
        assert marker.passed.wait(WAIT)
        return self.refused[before:]

    def left(self) -> list[tuple[int, str, str, str]]:
        return [(each.number, each.sender, each.kind, each.text) for each in self.storage.page(LAB)]


@pytest.fixture
def house(tmp_path: pathlib.Path) -> Iterator[House]:
    house = House(str(tmp_path / "chat.db"))
    yield house
    assert house.history.stop(WAIT)
    house.storage.close()


def said(text: str, sender: str = "ann", who: int = ANN) -> Draft:
    return Draft(LAB, "#lab", sender, "say", text, "session", who=who)


def redact(number: int, who: int = ANN, owner: int = 0, ref: str = "", room: int = LAB) -> ordered.Redacted:
    return ordered.Redacted(room, "#lab", number, "cy", who, owner, "session", ref)


def test_the_author_can_remove_a_message_for_a_day_and_the_rooms_owner_always(house: House) -> None:
    house.do(said("one"), said("two"), said("three"), said("nobody's", who=0))
    assert [type(error) for error in house.do(redact(1, BOB), redact(4, 0))] == [OthersMessage] * 2
    house.now += WITHIN / 1000
    assert house.do(redact(1)) == []
    house.now += 0.001
    assert [type(error) for error in house.do(redact(2))] == [OldMessage]
    assert house.do(redact(3, BOB, owner=BOB), redact(4, BOB, owner=BOB)) == []
    assert house.left() == [
        (1, "ann", "removed", ""),
        (2, "ann", "say", "two"),
        (3, "ann", "removed", ""),
        (4, "ann", "removed", ""),
    ]
    assert [item.number for item in house.published if isinstance(item, ordered.Redacted)] == [1, 3, 4]
    assert house.storage.count() == house.history.stored == 4


def test_a_message_that_does_not_exist_cannot_be_removed(house: House) -> None:
    house.do(said("one"))
    assert [type(error) for error in house.do(redact(0), redact(2), redact(10**15), redact(1, room=9))] == [
        *[UnknownMessage] * 3,
        RoomGone,
    ]


def test_a_message_is_removed_once_and_a_program_that_asks_again_is_acknowledged(house: House) -> None:
    """In the same batch, which also says the message, and later."""
    gate = Marker()
    house.at_publish = lambda: gate.passed.wait(WAIT)  # type: ignore[assignment]
    house.history.submit(said("before"))
    for item in (said("one"), redact(2, ref="a"), redact(2), redact(2, ref="b"), redact(2, BOB)):
        house.history.submit(item)
    gate.passed.set()
    house.do()
    house.do(redact(2), redact(2, ref="c"))
    assert [type(error) for error in house.refused] == [RemovedAlready, OthersMessage, RemovedAlready]
    assert [item.ref for item in house.published if isinstance(item, ordered.Acked)] == ["a", "b", "c"]
    assert [item.ref for item in house.published if isinstance(item, ordered.Redacted)] == ["a"]
    assert house.left() == [(1, "ann", "say", "before"), (2, "ann", "removed", "")]


def test_a_failed_commit_removes_nothing_and_shows_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.do(said("one"))

    def full(batch: Batch) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(house.storage, "commit", full)
        (error,) = house.do(redact(1))
    assert isinstance(error, NotStored)
    assert not any(isinstance(item, ordered.Redacted) for item in house.published)
    assert house.left() == [(1, "ann", "say", "one")]


def test_after_a_kill_between_the_commit_and_the_publication_the_text_is_gone(
    house: House, tmp_path: pathlib.Path
) -> None:
    house.do(said("secret"))
    killed = tmp_path / "killed.db"

    def kill() -> None:
        for end in ("", "-wal"):
            shutil.copy(f"{house.storage.path}{end}", f"{killed}{end}")

    house.at_publish = kill
    house.do(redact(1))
    again = Storage(str(killed))
    assert [(each.kind, each.text) for each in again.page(LAB)] == [("removed", "")]
    assert again.remains  # and is purged now
    while again.purge() is not None:
        pass
    again.close()
    assert b"secret" not in killed.read_bytes()


def test_no_search_finds_what_was_removed_whether_it_was_in_the_index_or_not(house: House) -> None:
    house.do(said("needle one"), said("needle two"), said("needle three"))
    house.storage.index()
    house.do(redact(1))
    house.do(said("needle four"), redact(4))
    for _ in range(2):  # with one message outside the index, and with all of them in it
        assert [each.number for each in house.storage.search("needle", None, None, 9)] == [2, 3]
        assert [each.number for each in house.storage.search("", LAB, "ann", 9)] == [2, 3]
        house.storage.index()
    house.storage._writer.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")
    assert house.storage._writer.execute("SELECT count(*) FROM pieces_docsize").fetchone() == (2,)


def test_a_page_that_was_read_before_a_removal_no_longer_has_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "LATELY", 3)
    lately = Lately()
    page = [Message(LAB, "#lab", number, 0, "ann", "say", "text") for number in (1, 2, 3)]
    lately.add(LAB, 1)
    count = lately.count
    assert lately.without(page, count) == tuple(page)
    lately.add(LAB, 2)
    lately.add(2, 3)
    assert [each.text for each in lately.without(page, count)] == ["text", "", "text"]
    lately.add(LAB, 3)
    assert [each.text for each in lately.without(page, count)] == ["text", "", ""]
    lately.add(LAB, 9)
    with pytest.raises(Unreadable):
        lately.without(page, count)
    assert issubclass(OthersMessage, NotAllowed)
