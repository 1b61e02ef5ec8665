"""The check of lab 8: it counts what is sent in one call, and stops the clock to see whether any send is delayed."""

from __future__ import annotations

import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import stepper

task = stepper.load_task(__file__)

patience = [3.0]  # seconds to wait for what should happen at once; the last counts, less once it has not
GATHERED = (1, 10, 100, 1000)
SHOWN = 24  # steps of a story that has no end
MOST = 100  # lines in a call that are enough, however many there are


def tell(*story: str) -> None:
    """Fail with a story instead of a traceback."""
    patience.append(0.2)
    pytest.fail("\n".join(story), pytrace=False)


def explore(make, check=lambda state: None, preemptions: int = 2, story: str = "") -> None:
    """Try every order of the threads' lines; tell the story of one that goes wrong."""
    result = stepper.explore(make, check, preemptions, only=[task])
    if not result.fault:
        return
    if "no end" in result.fault:
        result.steps = result.steps[:SHOWN]
        tell(
            story,
            "",
            stepper.story(result),
            "A writer that has nothing to do has to sleep until it is woken, and not to check again and again.",
        )
    tell(story, "", stepper.story(result))


def lines(count: int, who: str = "line") -> list[bytes]:
    return [b"%s %d\n" % (who.encode(), number) for number in range(1, count + 1)]


def short(sent: list[bytes]) -> str:
    text = ", ".join(map(repr, sent)) or "nothing"
    return text if len(text) < 200 else text[:150] + " ..." + text[-40:]


class Writer:
    """An Outbox with its writer thread. The first send is under way until ``go_on``."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.under_way = threading.Event()
        self.may_end = threading.Event()
        self.outbox = task.Outbox(self._send)
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.thread.start()

    def _send(self, data: bytes) -> None:
        self.sent.append(bytes(data))
        self.under_way.set()
        self.may_end.wait(60)

    def _run(self) -> None:
        try:
            self.outbox.run()
        except Exception as error:
            self.error = error

    def go_on(self, *story: str) -> None:
        """Let the send end, close the outbox, and wait until the writer is done."""
        self.may_end.set()
        self.outbox.close()
        self.thread.join(patience[-1])
        if self.error:
            tell(*story, f"run() raised {self.error!r}.")
        if self.thread.is_alive():
            tell(
                *story,
                f"close() was called, and {patience[-1]:g} seconds later run() has not returned.",
                f"It has sent {short(self.sent)}.",
            )


def put(writer: Writer, wanted: list[bytes], *story: str) -> None:
    """Put lines from a thread that may be left hanging."""

    def work() -> None:
        for line in wanted:
            writer.outbox.put(line)

    putter = threading.Thread(target=work, name="reader", daemon=True)
    putter.start()
    putter.join(patience[-1])
    if putter.is_alive():
        tell(*story, "put() does not return while a send is under way: it waits for a slow client.")


def test_a_line_by_itself_is_sent_at_once():
    def make():
        sent = []
        outbox = task.Outbox(lambda data: sent.append(stepper.idled()))
        threading.Thread(target=outbox.run, name="writer", daemon=True).start()
        return sent, {"ann": lambda: outbox.put(b"hello\n")}

    def check(sent):
        if not sent:
            return "'hello' was put, all threads are idle, and it was not sent."
        if sent[0] > 0:
            return f"'hello' was sent {sent[0]:g} s after it was put, although nothing delayed it."
        return None

    explore(
        make,
        check,
        story="Only one line is put. Only sleeping and waiting take time in this check.",
    )


@pytest.mark.parametrize("before", [0, 1])
def test_no_line_is_lost_in_any_order_of_the_threads(before):
    said = [b"one\n", b"two\n"]

    def make():
        sent = []
        outbox = task.Outbox(sent.append)
        for line in said[:before]:
            outbox.put(line)

        def speak():
            for line in said[before:]:
                outbox.put(line)
            outbox.close()

        return sent, {"writer": outbox.run, "ann": speak}

    def check(sent):
        return None if b"".join(sent) == b"".join(said) else f"'one' and 'two' were put; the writer sent {short(sent)}."

    what = "'one' was put. Ann puts 'two'" if before else "Ann puts 'one' and 'two'"
    explore(make, check, story=f"{what} and closes the outbox, while its writer runs.")


def test_two_threads_may_put_at_once():
    def make():
        sent = []
        outbox = task.Outbox(sent.append)
        threading.Thread(target=outbox.run, name="writer", daemon=True).start()

        def speak(name, count):
            for line in lines(count, name):
                outbox.put(line)

        return sent, {"ann": lambda: speak("ann", 2), "bob": lambda: speak("bob", 1)}

    def check(sent):
        got = b"".join(sent).splitlines(keepends=True)
        for name, count in (("ann", 2), ("bob", 1)):
            if [line for line in got if line.startswith(name.encode())] != lines(count, name):
                return f"{name} put {short(lines(count, name))}; the writer sent {short(sent)}."
        return None

    result = stepper.explore(make, check, preemptions=1, only=[task])
    if result.fault:
        tell("Ann puts two lines, and bob one at the same time.", "", stepper.story(result))


def test_put_never_waits_for_a_send():
    def make():
        read = threading.Event()  # never set: this client does not read

        def send(data):
            read.wait()

        outbox = task.Outbox(send)
        threading.Thread(target=outbox.run, name="writer", daemon=True).start()

        def speak():
            for line in lines(3):
                outbox.put(line)

        return None, {"ann": speak}

    explore(make, preemptions=1, story="The client does not read, so send() does not return. Ann puts three lines.")


def test_all_lines_are_sent_whole_and_in_order():
    writer = Writer()
    writer.may_end.set()
    wanted = lines(300)
    put(writer, wanted)
    writer.go_on()
    sent = b"".join(writer.sent)
    if sent != b"".join(wanted):
        tell(
            "300 lines were put, 'line 1' to 'line 300', and then the outbox was closed.",
            "",
            f"  put   {short(wanted)}",
            f"  sent  {short(writer.sent)}",
            "",
            "These are not the same bytes.",
        )


def test_lines_that_gather_during_a_send_go_out_together():
    rows = []
    for count in GATHERED:
        writer = Writer()
        put(writer, [b"first\n"])
        if not writer.under_way.wait(patience[-1]):
            tell(f"One line was put, and nothing was sent for {patience[-1]:g} seconds.")
        put(writer, lines(count), "One line is being sent, which takes long, and more lines are put.")
        writer.go_on()
        rows.append((count, len(writer.sent) - 1))
    if any(calls > 1 + count / MOST for count, calls in rows):
        tell(
            "While one send is under way, more lines are put. Then the send is done.",
            "",
            "  lines put        calls of send() for them",
            *(f"  {count:15}  {calls:24}" for count, calls in rows),
            "",
            "Each call costs the same, however much it sends: all gathered lines should go out in one call,",
            f"or in a few calls of at least {MOST} lines each.",
        )
