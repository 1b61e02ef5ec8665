"""Looking inside a running server: its threads, while they work and while they are stuck."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from support.waiting import WAIT, held, wait_for

from chat_threads import inside
from chat_threads.dialects.sentences import NOT_COUNTED
from chat_threads.ordered import Left
from chat_threads.queues import BatchQueue

pytestmark = pytest.mark.usefixtures("waits_under_a_lock_on_purpose")

SOON = 0.1  # seconds; how fast it must answer whatever is stuck


def threads(client) -> dict[str, dict]:
    """The answer of /threads: its rows by the thread's name."""
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
    assert rows[mine]["where"].endswith(" show_threads")
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
    sent = sum(len(line.encode()) + 2 for line in bob.seen)
    wait_for(lambda: threads(ann)[reader(server, "bob")]["bytes"] == sent)
    rows = threads(ann)[reader(server, "bob")]
    assert rows["lines"] == len(bob.seen)
    assert rows["queue"] == 0
    assert rows["most"] >= 1


def test_a_person_sees_a_table(server):
    ann = server.client("ann")
    lines = ann.ask("/threads")
    assert lines[0].split() == "* thread session doing for queue/most".split()
    assert any(line.startswith("* history ") for line in lines)
    assert any("obeys ShowThreads" in line and " ann " in line for line in lines)


@pytest.mark.parametrize("writers", [2, None])
def test_it_answers_within_100_ms_while_the_publishers_lock_is_held(serve, program, writers):
    server = serve(writers=writers)
    ann, bob = program("ann", server=server), server.client("bob")
    with held(server.chat.publisher._lock):
        server.chat.history.submit(Left(0, None))
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
        with stuck if batch.messages else contextlib.nullcontext():  # not ann's coming in
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


def test_a_queue_shows_the_most_that_ever_waited():
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
    wait_for(lambda: inside.places({thread.ident}).get(thread.ident, "").endswith(" take"))
    assert inside.places({thread.ident})[thread.ident].startswith("queues.py:")
    assert threading.get_ident() not in inside.places({thread.ident})
    queue.put(1)
    thread.join()


def test_the_threads_of_a_process_include_main_and_log(start_process):
    process = start_process()
    with process.client("ann") as ann:
        lines = ann.ask("/threads")
    assert {"MainThread", "log", "acceptor", "history"} <= {line.split()[1] for line in lines}


# --- locks --------------------------------------------------------------------------------------------------


def locks(client) -> dict[str, dict]:
    """The answer of /locks: its rows by the lock's name."""
    client.send(type="locks", ref="look")
    return {row["lock"]: row for row in client.expect("locks", ref="look")["locks"]}


def test_locks_are_not_counted_unless_that_is_asked_for(server, program):
    [answer] = program("ann", server=server).ask(type="locks")
    assert answer == {"type": "locks", "counted": False, "locks": [], "text": NOT_COUNTED}
    assert server.client("bob").ask("/locks")[-1] == f"* {NOT_COUNTED}"
    assert not isinstance(server.chat.publisher._lock, inside.CountedLock)


def test_a_lock_counts_how_often_it_was_taken_waited_for_and_held():
    lock = inside.CountedLock("L", threading.Lock())
    seen = []
    lock.observe = lambda *times: seen.append(times)
    with lock:
        assert lock.locked()
        assert lock.holder is not None
        assert lock.holder[0] == threading.current_thread().name
    assert (lock.taken, lock.contended, lock.waited, lock.holder) == (1, 0, 0.0, None)
    with held(lock):
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(timeout=0.01)
        waiter = threading.Thread(target=lambda: lock.acquire() and lock.release(), name="waiter")
        waiter.start()
        wait_for(lambda: [name for name, since in lock.waiting().values()] == ["waiter"])
        threading.Event().wait(0.02)
    waiter.join()
    assert lock.waiting() == {}
    assert (lock.taken, lock.contended) == (3, 1)
    assert 0.01 < lock.waited < WAIT
    assert lock.longest >= 0.02
    assert [asked <= had <= released for asked, had, released in seen] == [True] * 3


def test_a_counted_lock_serves_a_condition():
    condition = threading.Condition(inside.CountedLock("C", threading.Lock()))
    ready = []

    def wait():
        with condition:
            condition.wait_for(lambda: ready, WAIT)

    thread = threading.Thread(target=wait, name="waits")
    thread.start()
    with condition:
        ready.append(1)
        condition.notify_all()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_no_lock_is_lost_count_of_by_many_threads():
    lock = inside.CountedLock("L", threading.Lock())

    def take():
        for _ in range(1000):
            with lock:
                pass

    workers = [threading.Thread(target=take, name=f"t{number}") for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert lock.taken == 4000


def test_the_locks_of_a_lab_are_counted(serve, program):
    server = serve(lab=True)
    ann, bob = program("ann", server=server), server.client("bob")
    before = locks(ann)
    assert list(before) == ["Publisher", "SessionStore", "Writers"]
    bob.ask("hello")
    after = locks(ann)
    assert after["Publisher"]["taken"] > before["Publisher"]["taken"] > 0
    assert after["Publisher"]["longest"] > 0
    shown = bob.ask("/locks")
    assert shown[0].split() == "* lock taken contended waited longest held now by".split()
    assert len(shown) == 5


@pytest.mark.parametrize("lab", [True, False])
def test_help_shows_what_only_a_lab_has_only_in_a_lab(serve, lab):
    ann = serve(lab=lab).client("ann")
    for line in ("/help", "/help all"):
        told = "  ".join(ann.ask(line)) + "  "
        assert [name in told for name in ("/threads ", "/locks ", "/trace ", "/lab ")] == [True, lab, lab, lab]


# --- a lab --------------------------------------------------------------------------------------------------


def test_a_reader_that_is_stuck_is_shown_before_those_that_wait_for_input(serve, program):
    server = serve(lab=True)
    ann, _, bob = program("ann", server=server), server.client("cy"), server.client("bob")
    with held(server.chat.publisher._lock):
        bob.send("hello")
        wait_for(lambda: threads(ann)[reader(server, "bob")]["doing"] == "obeys Say")
        shown = list(threads(ann))
        assert shown.index(reader(server, "bob")) < shown.index(reader(server, "cy"))


@pytest.mark.parametrize("writers", [2, None])
def test_threads_answers_within_100_ms_while_a_lab_pauses_the_publisher(serve, program, writers):
    server = serve(lab=True, writers=writers)
    ann, bob = program("ann", server=server), server.client("bob")
    ann.send(type="lab", fault="pause", target="publisher", amount=10)
    bob.expect("* ann holds the Publisher's lock for 10 s.")
    wait_for(lambda: locks(ann)["Publisher"]["holder"] == "lab-publisher")
    bob.send("hello")
    wait_for(lambda: reader(server, "bob") in locks(ann)["Publisher"].get("waiting", []))
    assert threads(ann)[reader(server, "bob")]["doing"] == "obeys Say"
    began = time.monotonic()
    assert quickest(lambda: threads(ann)) < SOON
    assert quickest(lambda: locks(ann)) < SOON
    assert locks(ann)["Publisher"]["held"] < 10
    assert locks(ann)["Publisher"]["holder"] == "lab-publisher", time.monotonic() - began
    assert threads(ann)["lab-publisher"]["doing"] == "holds the Publisher for 10 s"


def test_a_lab_says_who_waits_for_which_lock_and_who_holds_it(serve, program):
    server = serve(lab=True)
    ann, bob = program("ann", server=server), server.client("bob")
    ann.send(type="lab", fault="pause", target="publisher", amount=30)
    bob.expect("* ann holds the Publisher's lock for 30 s.")
    before = locks(ann)["Publisher"]
    bob.send("hello")
    wait_for(lambda: threads(ann)[reader(server, "bob")].get("lock") == "Publisher")
    row = threads(ann)[reader(server, "bob")]
    assert (row["holder"], row["held"] > 0) == ("lab-publisher", True)
    assert "lock" not in threads(ann)["lab-publisher"]
    now = locks(ann)["Publisher"]
    assert now["contended"] > before["contended"]
    assert locks(ann)["Publisher"]["waited"] > now["waited"] > before["waited"]
    ann.send(type="lab", fault="slow", target="bob", amount=1000)
    ann.expect("notice", text="ann makes every send to bob take 1000 ms more, for a minute at most.")
    ann.send(type="lab", fault="off")
    bob.expect("bob: hello")
    wait_for(lambda: ann.ask(type="lab", fault="off")[-1]["text"] == "No fault is under way.")
    assert locks(ann)["Publisher"]["contended"] >= now["contended"]


@pytest.mark.slow
def test_a_pause_ends_with_its_time_and_a_notice_to_everybody(serve, program):
    server = serve(lab=True)
    ann, bob = program("ann", server=server), server.client("bob")
    ann.send(type="lab", fault="pause", target="publisher", amount=1)
    bob.expect("* ann holds the Publisher's lock for 1 s.")
    bob.send("hello")
    bob.expect("* The Publisher is free again.")
    wait_for(lambda: bob.news() is not None and any("bob: hello" in line for line in bob.seen), "before or after that")
    assert ann.expect("notice", text="The Publisher is free again.")
    assert locks(ann)["Publisher"]["longest"] >= 1
    assert locks(ann)["Publisher"]["waited"] > 0


def test_a_paused_history_commits_nothing_and_then_everything(serve, program):
    server = serve(lab=True)
    ann, bob = program("ann", server=server), server.client("bob")
    bob.send("/lab pause history 60")
    bob.expect("* bob stops the history for 60 s.")
    bob.send("one")
    wait_for(lambda: threads(ann)["history"]["doing"] == "is paused by /lab")
    bob.send("two", "/quit")
    wait_for(lambda: threads(ann)["history"]["queue"] >= 1)
    assert server.chat.storage.count() == 0
    server.chat.faults.stop(WAIT)  # as if the time were up
    lines = bob.rest()
    assert [line.partition("] ")[2] for line in lines if line.startswith("[")] == ["bob: one", "bob: two"]
    assert any("The history runs again." in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("writers", [2, None], ids=["crew", "per-session"])
def test_a_slowed_client_gets_everything_later_and_nobody_else_notices(serve, program, writers):
    server = serve(lab=True, writers=writers)
    ann, bob = program("ann", server=server), server.client("bob")
    ann.send(type="lab", fault="slow", target="bob", amount=1000)
    bob.expect("* ann makes every send to bob take 1000 ms more")
    number = server.chat.sessions.named("bob").number
    ann.send(type="say", text="hello", ref="1")
    began = time.monotonic()
    ann.expect("ack", ref="1")
    wait_for(lambda: threads(ann).get(f"writer-of-{number}", {}).get("doing") == "is slowed down by /lab")
    bob.expect("hello")
    assert time.monotonic() - began > 0.5
    assert server.chat.faults.delay(number) == 1.0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/lab pause publisher 61", "1 to 60 s"),
        ("/lab pause history 0", "1 to 60 s"),
        ("/lab slow bob 0", "What is sent to that person is not slowed down"),
        ("/lab slow nobody 5", "Nobody here is called"),
        ("/lab pause acceptor 5", "What can be paused is the publisher or the history."),
        ("/lab pause publisher", "Usage: /lab slow NAME MS"),
    ],
)
def test_a_fault_that_cannot_be_made_gets_an_error(serve, line, why):
    bob = serve(lab=True).client("bob")
    [answer] = bob.ask(line)
    assert answer.startswith("! ")
    assert why in answer


def test_one_fault_of_a_kind_is_made_at_a_time(serve):
    bob = serve(lab=True).client("bob")
    bob.send("/lab slow bob 1")
    bob.expect("1 ms more")
    assert any("under way already" in line for line in bob.ask("/lab slow bob 2"))
    bob.send("/lab slow bob 0")
    bob.expect("bob is no longer slowed down.")


def test_the_notice_of_a_fault_is_the_answer_to_the_one_who_made_it(serve, program):
    server = serve(lab=True)
    ann, bob = program("ann", server=server), program("bob", server=server)
    ann.send(type="lab", fault="slow", target="bob", amount=1, ref="1")
    ann.expect("notice", ref="1")
    assert "ref" not in bob.expect("notice")


def test_without_lab_no_fault_can_be_made(server, program):
    [answer] = program("ann", server=server).ask(type="lab", fault="pause", target="publisher", amount=1)
    assert (answer["type"], answer["code"]) == ("error", "not_allowed")
    assert server.chat.faults.stop(1.0) == []


def test_with_lab_everybody_may_look(serve, program):
    server = serve(lab=True)
    ann = program("ann", server=server)
    server.chat.sessions.named("ann").local = False
    assert [each["type"] for each in ann.ask({"type": "threads"}, {"type": "locks"})] == ["threads", "locks"]


@pytest.mark.parametrize("what", ["publisher", "history"])
def test_a_server_stops_at_once_in_the_middle_of_a_pause(start_process, what):
    process = start_process("--lab")
    ann = process.client("ann")
    ann.send(f"/lab pause {what} 60")
    ann.expect("for 60 s")
    began = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - began < 10
    assert "did not end" not in process.errors
    ann.close()
