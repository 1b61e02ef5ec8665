"""Looking inside a running server: its threads, while they work and while they are stuck."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from conftest import WAIT, wait_for

from chat_threads import inside
from chat_threads.messages import Leaves
from chat_threads.queues import BatchQueue
from chat_threads.server import _is_local

SOON = 0.1  # seconds; how fast it must answer whatever is stuck


@contextlib.contextmanager
def held(lock):
    """Somebody holds the lock."""
    taken, release = threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            release.wait(WAIT)

    thread = threading.Thread(target=hold, name="holder")
    thread.start()
    assert taken.wait(WAIT)
    try:
        yield
    finally:
        release.set()
        thread.join()


def threads(client) -> dict[str, dict]:
    """What /threads answers, by the thread's name."""
    client.send(type="threads", ref="look")
    return {row["thread"]: row for row in client.expect("threads", ref="look")["threads"]}


def quickest(ask, times: int = 5) -> float:
    """The shortest time of a few, in seconds: what it takes when nothing else has the processor."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        ask()
        took.append(time.monotonic() - began)
    return min(took)


def reader(server, name: str) -> str:
    """The name of a client's reader thread."""
    return f"reader-{server.chat.sessions.named(name).number}"


def test_every_thread_of_the_server_is_shown_with_what_it_does(server, program):
    ann = program("ann", server=server)
    server.client("bob")
    rows = threads(ann)
    mine, bobs = reader(server, "ann"), reader(server, "bob")
    assert set(rows) >= {"acceptor", "history", "writer-1", "writer-2", mine, bobs}
    assert rows[mine] | {"session": "ann", "role": "reader", "doing": "obeys ShowThreads"} == rows[mine]
    assert rows[mine]["where"].endswith("_show_threads")
    assert rows["acceptor"]["doing"] == "accepts connections"

    def settled():
        rows = threads(ann)
        return (
            rows["history"]["doing"] == "waits for messages"
            and rows["writer-2"]["doing"] == "waits for sessions"
            and rows[bobs]["doing"] == "waits for input"
            and rows[bobs]["where"].endswith(" read")
        )

    wait_for(settled)


def test_how_long_a_thread_has_been_doing_something_goes_on_counting(server, program):
    ann = program("ann", server=server)
    server.client("bob")
    bobs = reader(server, "bob")
    wait_for(lambda: threads(ann)[bobs]["doing"] == "waits for input")
    wait_for(lambda: threads(ann)[bobs]["seconds"] > 0.05)
    assert threads(ann)[bobs]["seconds"] < WAIT


def test_lines_and_bytes_out_are_those_that_the_client_got(server, program):
    ann, bob = program("ann", server=server), server.client("bob")
    bob.ask("hello")
    rows = threads(ann)[reader(server, "bob")]
    assert rows["lines"] == len(bob.seen)
    assert rows["bytes"] == sum(len(line.encode()) + 2 for line in bob.seen)
    assert rows["queue"] == 0
    assert rows["most"] >= 1


def test_a_person_sees_a_table(server):
    ann = server.client("ann")
    lines = ann.ask("/threads")
    assert lines[0].split() == "* thread role session doing for queue most lines bytes where".split()
    assert any(line.startswith("* history ") and " history " in line for line in lines)
    assert any("obeys ShowThreads" in line and " ann " in line for line in lines)


@pytest.mark.parametrize("writers", [2, None])
def test_it_answers_within_100_ms_while_the_publishers_lock_is_held(serve, program, writers):
    server = serve(writers=writers)
    ann, bob = program("ann", server=server), server.client("bob")
    with held(server.chat.publisher._lock):
        server.chat.history.submit(Leaves(0, None))
        wait_for(lambda: threads(ann)["history"]["where"].endswith(" dispatch_messages"))
        assert threads(ann)["history"]["doing"] == "publishes"
        bob.send("hello")
        wait_for(lambda: threads(ann)[reader(server, "bob")]["where"].endswith(" current"))
        assert threads(ann)[reader(server, "bob")]["doing"] == "obeys Say"
        assert quickest(lambda: threads(ann)) < SOON
    bob.expect("hello")


def test_it_answers_within_100_ms_while_the_history_is_stuck(server, program):
    ann, bob = program("ann", server=server), server.client("bob")
    stuck = threading.Lock()
    commit = server.chat.storage.commit

    def commit_under(batch):
        with stuck:
            commit(batch)

    server.chat.storage.commit = commit_under
    with held(stuck):
        bob.send("one")
        wait_for(lambda: threads(ann)["history"]["doing"] == "commits")
        bob.send("two", "three")
        wait_for(lambda: threads(ann)["history"]["queue"] == 2)
        assert quickest(lambda: threads(ann)) < SOON
    bob.expect("three")
    assert threads(ann)["history"]["most"] >= 2


def test_nothing_is_shown_of_what_is_said(server, program):
    ann, bob = program("ann", server=server), program("bob", server=server)
    bob.ask(type="say", text="xyzzy")
    ann.ask(type="threads")
    shown = [each for each in ann.seen if each["type"] == "threads"]
    assert shown
    assert "xyzzy" not in str(shown)


def test_a_client_from_elsewhere_is_shown_nothing(server, program):
    ann = program("ann", server=server)
    server.chat.sessions.named("ann").local = False
    [answer] = ann.ask(type="threads", ref="1")
    assert (answer["type"], answer["code"], answer["ref"]) == ("error", "not_allowed", "1")


@pytest.mark.parametrize(
    ("peer", "own", "local"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.9", "127.0.0.1", True),
        ("192.0.2.2", "192.0.2.2", True),
        ("192.0.2.3", "192.0.2.2", False),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.2", True),
        ("::ffff:192.0.2.3", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", False),
        ("", "127.0.0.1", False),
    ],
)
def test_a_connection_is_local_by_a_loopback_address_or_the_servers_own(peer, own, local):
    assert _is_local(peer, own) is local


def test_a_threads_row_goes_with_the_thread(server, program):
    ann, bob = program("ann", server=server), server.client("bob")
    bobs = reader(server, "bob")
    assert bobs in threads(ann)
    bob.close()
    wait_for(lambda: bobs not in threads(ann))


def test_a_slow_readers_writer_is_shown_with_what_it_waits_for(serve, program):
    server = serve(queue_limit=100_000)
    ann, bob = program("ann", server=server), server.client("bob", receive_buffer=4096)
    number = server.chat.sessions.named("bob").number
    text = "x" * 2000

    def behind():
        for _ in range(50):
            ann.send(type="say", text=text)
        row = threads(ann).get(f"writer-of-{number}")
        return row and row["doing"] == "waits for a full socket" and row["queue"] > 0

    wait_for(behind)
    assert threads(ann)[f"writer-of-{number}"]["session"] == "bob"
    bob.close()


def test_a_queue_tells_the_most_that_ever_waited():
    queue: BatchQueue[int] = BatchQueue(10)
    assert queue.depth() == (0, 0)
    for item in range(5):
        queue.put(item)
    assert queue.depth() == (5, 5)
    queue.take(2)
    assert queue.depth() == (3, 5)
    queue.take(10)
    assert queue.depth() == (0, 5)


def test_a_thread_is_found_at_its_place_in_the_package():
    queue: BatchQueue[int] = BatchQueue(1)
    thread = threading.Thread(target=queue.take, args=(1,), name="taker")
    thread.start()
    wait_for(lambda: inside.places().get(thread.ident, "").endswith(" take"))
    assert inside.places()[thread.ident].startswith("queues.py:")
    assert threading.get_ident() not in inside.places()
    queue.put(1)
    thread.join()


def test_the_threads_of_a_process_include_main_and_log(start_process):
    process = start_process()
    with process.client("ann") as ann:
        lines = ann.ask("/threads")
    assert {"main", "log", "acceptor", "history"} <= {line.split()[2] for line in lines if len(line.split()) > 2}
