"""What a monitoring system asks: the numbers of the server, and whether it is well.

Both answer while the Publisher or the history is stuck. They take no lock but the SessionStore's, for a moment.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator

from .. import __version__, commands, events, inside
from ..disconnects import CODES
from ..history import IDLE, QUEUE
from ..metrics import LEFT, LogNumbers, Metric, MetricsNotShown, histogram, process, text
from ..session import Session
from .table import Context, does

OURS = "chat_threads_"  # what our metrics' names begin with
STUCK = 10.0  # seconds that a step of the history may take; SQLite waits up to 5 s for another program's lock
FAILURE = 60.0  # seconds after which a failed commit says nothing of the next one
SESSIONS = 1000  # sessions whose numbers are read for one token (see pace)


@does(commands.ShowMetrics)
def show_metrics(context: Context, session: Session, command: commands.ShowMetrics) -> None:
    """A request that passed a proxy on the server's machine is not local. For --metrics-from, the address counts that
    the connection comes from, by the PROXY protocol if it is in use."""
    local = session.local and not command.forwarded
    if not local and session.address not in context.insight.metrics_from:
        raise MetricsNotShown()
    session.pace.pay(len(context.sessions) // SESSIONS)
    session.answer(events.MetricsShown(_metrics(context)))


def _metrics(context: Context) -> str:
    """The numbers at this moment. None of them tells who is here, or in which room."""
    history, traffic = context.history, context.sessions.traffic()
    python = ".".join(map(str, sys.version_info[:3]))
    server = [
        Metric("build_info", "gauge", f"Version of chat_threads, on Python {python}.", {__version__: 1}, "version"),
        Metric("healthy", "gauge", "1 if /healthz says ok, otherwise 0.", int(not _illness(context))),
        Metric(
            "sessions",
            "gauge",
            "Connections now, by dialect; one that has sent nothing yet counts as text.",
            {"text": 0, "json": 0, "web": 0} | traffic.here,
            "dialect",
        ),
        Metric("rooms", "gauge", "Rooms now.", len(context.publisher)),
        Metric("messages_total", "counter", "Messages that were committed since the start.", history.commits.messages),
        Metric(
            "deliveries_total",
            "counter",
            "Lines that writers took from sessions' queues: a message counts once for each member, and answers and"
            " notices count too.",
            traffic.lines,
        ),
        Metric("sent_bytes_total", "counter", "Bytes that the sockets of sessions took.", traffic.sent),
        Metric("connections_total", "counter", "Connections that were accepted, with those refused.", traffic.begun),
        Metric(
            "disconnects_total",
            "counter",
            f"Connections that ended, by the code of the reason; {LEFT}: the client left, or its connection broke.",
            dict.fromkeys((LEFT, *sorted(CODES)), 0) | traffic.ended,
            "reason",
        ),
        Metric(
            "writers_behind", "gauge", "Sessions whose socket was full, each with a waiting writer.", traffic.behind
        ),
        Metric("threads", "gauge", "Threads by role.", Counter(slot.role for slot in inside.slots()), "role"),
        Metric("history_queue_items", "gauge", f"Values that wait to be stored, at most {QUEUE}.", history.waiting()),
        Metric("commit_failures_total", "counter", "Commits that failed.", history.commits.failed),
        Metric("wrong_passwords_total", "counter", "Wrong passwords that were tried.", context.accounts.wrong),
        *(_of_the_log(history.log_numbers) if history.log_numbers else ()),
    ]
    times = histogram(f"{OURS}commit_seconds", "How long commits took; each stores a batch.", history.commits)
    return text(server, OURS) + times + text(process())


def _of_the_log(numbers: LogNumbers) -> Iterator[Metric]:
    """Only in a cluster."""
    yield Metric("log_position", "gauge", "Row of the servers' common log that is stored here.", numbers.position)
    yield Metric("log_behind_rows", "gauge", "Rows that the log had more, when last looked.", numbers.behind)
    yield Metric("log_appends_total", "counter", "Rows that this server has appended.", numbers.appends)
    yield Metric("log_append_retries_total", "counter", "Tries to append a row that failed.", numbers.retries)
    yield Metric("log_append_seconds_total", "counter", "Time that all appended rows took.", numbers.seconds)
    yield Metric(
        "log_appended_timestamp_seconds", "gauge", "When it last appended, in seconds since 1970.", numbers.appended_at
    )


@does(commands.ShowHealth)
def show_health(context: Context, session: Session, command: commands.ShowHealth) -> None:
    """For everybody: it says nothing of people or of what they say."""
    illness = _illness(context)
    session.answer(events.HealthShown(not illness, illness or "ok"))


def _illness(context: Context) -> str:
    """Why the server cannot store or serve, in a sentence; "" if it can."""
    history, now = context.history, time.monotonic()
    if history.read_only:
        return history.read_only.text
    slot = inside.slot_of(history.thread)
    if slot is None:
        return "The history thread does not run."
    doing, since = slot.doing
    if doing != IDLE and now - since > STUCK:
        return f"The history has been at one step for {now - since:.0f} seconds: it {doing}."
    if history.trouble:
        return history.trouble
    failure = history.commits.failure
    if failure and now - failure[0] < FAILURE:
        return f"The last message could not be stored: {failure[1]}."
    return ""
