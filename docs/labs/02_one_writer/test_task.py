"""The checks of lab 2. They run Outbox under a stepper: see the folder stepper beside this one."""

import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import stepper

task = stepper.load_task(__file__)

MANY = 20_000  # lines; a larger bound is not found
STUCK = 3.0  # seconds without a line, after which say() counts as waiting for the client


def no_order_goes_wrong(scene, make, check, preemptions=2):
    result = stepper.explore(make, check, preemptions, only=[task])
    if result.fault:
        pytest.fail(f"{scene}\n\n{stepper.story(result)}", pytrace=False)


class Client:
    """What is at the other end: a socket that takes four bytes at a time, once the client reads."""

    def __init__(self, reads=True):
        self.got = b""
        self.got_at_the_end = b""  # when the outbox was closed
        self.reading = threading.Event()
        if reads:
            self.reading.set()

    def send(self, data):
        self.reading.wait()
        self.got += data[:4]
        return len(data[:4])


def talk(client, **lines):
    """A make() for the stepper: each thread says its lines; the last one waits for the others, lets the client
    read, and closes the outbox."""

    def make():
        end = client()
        outbox = task.Outbox(end.send)
        outbox.start()

        def say(*words):
            for word in words:
                outbox.say(word)

        def say_and_close():
            for thread in others:
                thread.start()
            say(*lines[last])
            stepper.note("has said all, and will call close()")
            for thread in others:
                thread.join()
            end.reading.set()
            outbox.close()
            end.got_at_the_end = end.got

        *first, last = lines
        others = [threading.Thread(target=say, args=lines[name], name=name) for name in first]
        return end, {last: say_and_close}

    return make


def says_many():
    """Say many lines, without the stepper, which would take too long. Return what is wrong, or None."""
    reading, all_said, said = threading.Event(), threading.Event(), []

    def send(data):
        reading.wait()
        return len(data)

    outbox = task.Outbox(send)
    outbox.start()

    def say_and_close():
        for number in range(MANY):
            outbox.say(str(number))
            said.append(number)
        all_said.set()
        outbox.close()

    ann, before = threading.Thread(target=say_and_close, name="ann", daemon=True), -1
    ann.start()
    while not all_said.wait(STUCK) and len(said) > before:
        before = len(said)
    wrong = None
    if not all_said.is_set():
        frame = sys._current_frames().get(ann.ident)
        while frame and frame.f_back and frame.f_code.co_filename != task.__file__:
            frame = frame.f_back
        where = f"ann waits in line {frame.f_lineno}" if frame else "it has raised an exception"
        wrong = f"say() returned {len(said)} times, and then no more: {where}."
    reading.set()
    ann.join(10 * STUCK)  # whoever waited for the client can go on
    return wrong


def test_lines_arrive_whole():
    def check(client):
        strange = [line for line in client.got.decode().splitlines() if line not in ("ann 1", "bob 1")]
        if strange:
            return f"The client got the line {strange[0]!r}, which nobody said. The client got {client.got}"
        if client.got_at_the_end.count(b"\n") != 2:
            return f"Two lines were said. When close() returned, the client had got {client.got_at_the_end}"
        return None

    scene = "ann and bob each say a line to one client. Its socket takes four bytes at a time. ann calls close()."
    no_order_goes_wrong(scene, talk(Client, bob=["bob 1"], ann=["ann 1"]), check)


def test_lines_of_one_thread_arrive_in_order_and_before_close_returns():
    def check(client):
        if client.got_at_the_end != b"1\n2\n3\n":
            return f"ann said 1, 2, 3. When close() returned, the client had got {client.got_at_the_end}"
        return None

    scene = "ann says three lines, and calls close()."
    no_order_goes_wrong(scene, talk(Client, ann=["1", "2", "3"]), check)


def test_say_does_not_wait_for_the_client():
    def check(client):
        if sorted(client.got_at_the_end.splitlines()) != [b"1", b"2", b"3"]:
            return f"1, 2 and 3 were said. When close() returned, the client had got {client.got_at_the_end}"
        return None

    scene = "ann says 1 and 2, and bob 3. The client reads only after that, so they must not wait for it."
    no_order_goes_wrong(scene, talk(lambda: Client(reads=False), bob=["3"], ann=["1", "2"]), check, preemptions=1)

    def check_a_hundred(client):
        got = client.got_at_the_end.count(b"\n")
        return None if got == 100 else f"100 lines were said. When close() returned, the client had got {got}."

    scene = "ann says 100 lines. The client reads only after that, so she must not wait for it."
    lines = [str(number) for number in range(1, 101)]
    no_order_goes_wrong(scene, talk(lambda: Client(reads=False), ann=lines), check_a_hundred, preemptions=0)

    if wrong := says_many():
        pytest.fail(
            f"ann says {MANY} lines, in real threads. The client reads only after that.\n\n{wrong}", pytrace=False
        )
