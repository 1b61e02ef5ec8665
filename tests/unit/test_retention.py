"""--retain: which messages it deletes, by which clock, and what it logs."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator

import pytest

from chat_threads import retention as module
from chat_threads.events import AuditRow, Message
from chat_threads.ordered import RoomMade
from chat_threads.retention import DAY_MS
from chat_threads.storage import Batch, Storage

LAB, HALL = 1, 2  # rooms
TODAY = 20_000 * DAY_MS  # 2024-10-04
RETAIN = 90


def said(number: int, day: float, room: int = LAB, text: str = "hello") -> Message:
    """A message that was said ``day`` days after TODAY."""
    return Message(room, "", number, int(TODAY + day * DAY_MS), "ann", "say", text)


class History:
    """A stored history, swept as the history thread does it: one pass for each time of its clock."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.storage = Storage(str(path))
        self._numbers = {LAB: 0, HALL: 0}

    def say(self, *days: float, room: int = LAB, text: str = "hello") -> None:
        first = self._numbers[room] + 1
        self._numbers[room] += len(days)
        messages = [said(number, day, room, text) for number, day in enumerate(days, first)]
        self.storage.commit(Batch(messages=messages))

    def sweep(self, day: float, retain: float = RETAIN) -> int:
        """A whole pass on that day: how many messages it deleted."""
        now, kept = int(TODAY + day * DAY_MS), int(retain * DAY_MS)
        older_than = now - kept if kept >= self.storage.trusted_for(now, kept) else None
        deleted, more = self.storage.sweep(older_than)
        while more:
            gone, more = self.storage.sweep(older_than)
            deleted += gone
        return deleted

    def days(self, room: int = LAB) -> list[float]:
        return [(message.at - TODAY) / DAY_MS for message in self.storage.page(room, limit=100_000)]

    def restart(self) -> None:
        self.storage.close()
        self.storage = Storage(str(self._path))


@pytest.fixture
def history(tmp_path: pathlib.Path) -> Iterator[History]:
    """One with the rooms #lab and #hall."""
    history = History(tmp_path / "chat.db")
    rooms = [RoomMade(LAB, "#lab", "#lab", "", "ann", 0), RoomMade(HALL, "#hall", "#hall", "", "ann", 0)]
    history.storage.commit(Batch(rooms))
    yield history
    history.storage.close()


def told(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    lines = [record.getMessage() for record in caplog.records if record.levelno == level]
    caplog.clear()
    return lines


# --- the clock ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retain", "ahead"), [(90, 100), (90, 8), (90, 40_000), (365, 30), (20, 9), (7, 4), (2, 1.5), (1, 100), (0.1, 2)]
)
def test_a_clock_that_is_days_ahead_of_the_newest_message_deletes_nothing_and_the_log_says_what_to_do(
    history: History, caplog: pytest.LogCaptureFixture, retain: float, ahead: float
) -> None:
    history.say(-0.9 * retain, -0.1 * retain, 0)
    assert history.sweep(ahead, retain) == 0
    (line,) = told(caplog)
    assert "days after the history was last used (2024-10-04 00:00 UTC)" in line
    assert "If it is wrong, set it. If it is right, do nothing" in line
    assert history.sweep(ahead + 0.01, retain) == 0
    assert told(caplog) == []  # once is enough
    assert history.sweep(0.01, retain) == 0  # the clock was set right
    assert told(caplog) == []


@pytest.mark.parametrize(("retain", "off"), [(90, 7.1), (1, 0.9), (10, 4.9), (0.1, 0.9)])
def test_a_server_that_runs_now_and_then_deletes_what_is_too_old_at_once(
    history: History, caplog: pytest.LogCaptureFixture, retain: float, off: float
) -> None:
    history.say(off - retain - 0.01, off - retain + 0.01, 0)
    history.sweep(0, 1000)
    assert history.sweep(off, retain) >= 1
    assert told(caplog) == []


def test_a_room_that_keeps_little_makes_the_server_doubt_the_clock_for_that_room_only(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.say(0)

    def needed(day: float) -> float:
        """For how many days messages must be kept to be deleted then, where some are kept for a day."""
        return history.storage.trusted_for(int(TODAY + day * DAY_MS), DAY_MS) / DAY_MS

    assert [needed(day) for day in (0, 0.9, 4, 4.5)] == [0, 0, 6.2, 6.2]  # it was off for 3.1 days
    (line,) = told(caplog)
    assert "nothing that is kept for less than 6.2 days is deleted for its age now" in line
    assert [needed(day) for day in (5, 5.9)] == [0, 0]
    assert needed(14) > 1000
    assert "so nothing is deleted for its age now" in told(caplog)[-1]


def test_a_message_with_the_time_of_a_wrong_clock_does_not_make_it_right(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.say(-50, 0)
    for hour in range(3):
        assert history.sweep(100 + hour / 24) == 0
        history.say(100 + hour / 24)
        history.restart()
    assert len(told(caplog)) == 3  # at each start
    assert history.sweep(0.1) == 0
    assert told(caplog) == []
    assert history.sweep(100.2) == 0
    assert history.days()[:2] == [-50, 0]


@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_that_has_gone_on_for_a_day_since_it_was_doubted_is_believed(
    history: History, caplog: pytest.LogCaptureFixture, restart: bool
) -> None:
    """The server was off for a hundred days, or starts once a month."""
    history.say(-50, 0)
    for day in (100, 100.5, 100.9):
        assert history.sweep(day) == 0
        if restart:
            history.restart()
    assert len(told(caplog)) == (3 if restart else 1)
    assert history.sweep(101) == 2
    assert len(told(caplog)) == 1
    history.say(101)
    history.restart()
    assert history.sweep(108) == 0
    assert told(caplog) == []


def test_a_clock_that_was_moved_again_is_doubted_again(history: History, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    history.say(-50, 0)
    for day in (100, 200, 150, 300, 120):
        assert history.sweep(day) == 0
        assert len(told(caplog)) == 1
    assert history.sweep(0) == 0
    assert told(caplog, logging.INFO) == ["the server trusts the clock again: 2024-10-04 00:00 UTC"]


def test_a_clock_that_is_behind_deletes_too_little_and_the_log_says_so(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.say(-50, -10, 0)
    history.sweep(0)
    assert history.sweep(-20_000) == 0
    (line,) = told(caplog)
    assert "1970-01-01 00:00 UTC, 20000 days before the history was last used" in line
    assert history.sweep(41) == 0  # ahead is still ahead of what was believed
    assert len(told(caplog)) == 1
    history.say(7)
    assert history.sweep(7) == 0
    assert history.sweep(14) == 0
    assert told(caplog) == []


def test_a_history_without_messages_asks_nothing_of_the_clock(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    assert history.sweep(0) == 0
    history.restart()
    assert history.sweep(5) == 0
    assert told(caplog) == []


def test_the_time_that_was_believed_is_written_once_an_hour(history: History) -> None:
    writes = []
    for minute in range(0, 180, 10):
        before = history.storage._writer.total_changes
        history.sweep(minute / 1440)
        writes.append(history.storage._writer.total_changes - before)
    assert writes == [1, 0, 0, 0, 0, 0] * 3


# --- what a pass checks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("future", [1, 1000])
@pytest.mark.parametrize("days", [1, 3000])
def test_messages_stamped_in_the_future_do_not_keep_the_others(history: History, future: int, days: float) -> None:
    history.say(-80)
    history.say(*[days] * future)
    history.say(*[-70 + n / 1000 for n in range(1500)])
    history.say(0)
    assert history.sweep(0) == 0
    for day in range(7, 21, 7):
        history.sweep(day)
    assert history.sweep(21.001) >= 2
    assert history.sweep(22) >= 1
    left = history.days()
    assert sorted(set(left)) == [0, days] if days > 22 else min(left) >= 22 - RETAIN
    assert len(left) == future + 1


def test_a_pass_ends_after_a_few_steps_that_find_nothing_but_one_a_day_checks_all(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_ROWS", 10)
    now = [0.0]
    history.storage.sweeper._clock = lambda: now[0]
    history.say(*[0] * 100)
    history.say(-89.5)
    assert history.sweep(0) == 0  # the first pass checks all
    looks: list[object] = []
    sweep = history.storage.sweep
    history.storage.sweep = lambda older_than: looks.append(older_than) or sweep(older_than)  # type: ignore
    now[0] = module.THOROUGH_EVERY - 1
    assert history.sweep(1) == 0
    assert len(looks) == module.LOOK_PAST
    now[0] = module.THOROUGH_EVERY
    assert history.sweep(1) == 1
    assert len(looks) == module.LOOK_PAST + 11


def test_long_messages_go_few_at_a_time(history: History) -> None:
    """Taking a message out of the index takes as long as it has letters, and others wait."""
    history.say(*[-100] * 100, text="長" * 2000)
    slices = []
    while (gone := history.storage.sweep(TODAY))[1]:
        slices.append(gone[0])
    assert max(slices) <= 1 + module.SWEEP_LETTERS // 2000
    assert sum(slices) + gone[0] == 100


def test_a_room_with_a_hole_in_its_numbers_goes_on_and_its_messages_are_counted(history: History) -> None:
    history.say(3000, -100, -100, 0)
    assert history.sweep(0) == 2
    assert [message.number for message in history.storage.page(LAB)] == [1, 4]
    assert history.storage.count_in(LAB) == 2
    history.restart()
    assert [room.last for room in history.storage.rooms()] == [4, 0]


# --- what the log says ----------------------------------------------------------------------------------


def test_the_log_says_once_for_each_pass_what_was_deleted(
    history: History, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_ROWS", 7)
    caplog.set_level("INFO")
    history.say(*[-100] * 30)
    history.say(*[-95] * 20, room=HALL)
    history.say(0)
    assert history.sweep(0) == 50
    assert told(caplog, logging.INFO) == [
        "deleted 50 messages that were too old, from 2024-06-26 to 2024-07-01: 30 of #lab, 20 of #hall"
    ]
    assert history.sweep(0) == 0
    assert told(caplog, logging.INFO) == []


def test_the_log_says_what_was_deleted_of_deleted_rooms(history: History, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    history.say(-1, 0)
    history.say(0, room=HALL)
    history.storage.commit(Batch(rooms_ended=[LAB]))
    assert history.sweep(0) == 2
    assert told(caplog, logging.INFO) == [
        "deleted 2 messages of deleted rooms, from 2024-10-03 to 2024-10-04: 2 of #lab"
    ]
    history.storage.commit(Batch(rooms_ended=[HALL]))
    history.restart()  # afterwards nobody knows its name
    assert history.sweep(0) == 1
    assert told(caplog, logging.INFO)[0].endswith("1 of room 2")


@pytest.mark.parametrize("messages", [0, 1])
def test_nothing_is_kept_of_a_deleted_room_once_it_is_gone(
    history: History, caplog: pytest.LogCaptureFixture, messages: int
) -> None:
    caplog.set_level("INFO")
    for room in range(10, 40):
        history.storage.commit(Batch([RoomMade(room, f"#r{room}", f"#r{room}", "", "ann", 0)]))
        history.storage.commit(Batch(messages=[said(1, 0, room)] * messages))
        history.storage.commit(Batch(rooms_ended=[room]))
        assert history.sweep(0) == messages
    assert history.storage.sweeper._names == {}
    assert [line.rpartition(": ")[2] for line in told(caplog, logging.INFO)] == [
        f"1 of #r{room}" for room in range(10, 40) if messages
    ]


def test_a_line_of_the_log_is_bounded_however_many_rooms_there_are(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rooms = range(10, 1000)
    history.storage.commit(Batch([RoomMade(room, f"#r{room}", f"#r{room}", "", "ann", 0) for room in rooms]))
    history.storage.commit(Batch(messages=[said(1, -100, room) for room in rooms]))
    history.say(0)
    assert history.sweep(0) == 990
    (line,) = told(caplog, logging.INFO)
    assert line.endswith(", and the rest of 985 other rooms")
    assert len(line) < 300


def test_in_rooms_with_a_time_of_their_own_what_is_older_goes_in_small_steps(
    history: History, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_ROWS", 7)
    caplog.set_level("INFO")
    history.say(*[-40] * 16, -20, -1, 0)
    history.say(*[-40] * 9, 0, room=HALL)
    left = {99: TODAY, LAB: TODAY - 10 * DAY_MS}
    found = []
    while not found or found[-1][1]:
        found.append(history.storage.sweep(None, left))
    assert (found, left) == ([(7, True), (7, True), (3, True), (0, False)], {})
    assert history.days() == [-1, 0]
    assert len(history.days(HALL)) == 10
    history.say(0)
    assert [message.number for message in history.storage.page(LAB)] == [18, 19, 20]
    assert told(caplog, logging.INFO) == [
        "deleted 17 messages that were too old, from 2024-08-25 to 2024-09-14: 17 of #lab"
    ]


def test_what_operators_did_is_forgotten_with_the_messages_of_that_time(history: History) -> None:
    history.say(0)
    rows = [AuditRow(int(TODAY + day * DAY_MS), "#lab", "ann", "ban", "bob") for day in (-91, -89)]
    history.storage.commit(Batch(audit=[(LAB, row) for row in rows]))
    assert not history.storage.remains
    assert history.sweep(0) == 0
    assert history.storage.audit(None, 9) == (rows[1],)
    assert history.storage.remains


def test_a_pass_that_is_cut_short_by_the_end_is_logged_too(
    history: History, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_ROWS", 7)
    caplog.set_level("INFO")
    history.say(*[-100] * 30)
    assert history.storage.sweep(TODAY) == (7, True)
    history.restart()
    assert told(caplog, logging.INFO)[0].startswith("deleted 7 messages")


# --- a real server and a real clock ---------------------------------------------------------------------
