"""Step 10: torture, and a classmate's client."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
import threading

from stairs.program import command_line
from stairs.step08 import kill
from stairs.talk import Failed, Stage

LINES = 12  # that each client says
KILLED_AFTER = (3, 7)  # of them
TORTURE = pathlib.Path(__file__).resolve().parent.parent / "torture.py"
SHOWN = 45  # lines of what it says
ENDING = 30.0  # seconds that it may need to end early


class Person:
    """A client program, with somebody who types into it and reads what it prints."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.name = name
        self.printed: list[str] = []
        words = command_line(stage.client_command.replace("{name}", name), stage.program.port, stage.program.file, 1)
        if "{name}" not in stage.client_command:
            words += ["--name", name]
        try:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                bufsize=1,
                errors="replace",
            )
        except OSError as error:
            raise Failed(f"The client could not be started: {error.strerror}: {error.filename}.") from error
        threading.Thread(target=self._read, name=name, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout:
            for line in self.process.stdout:
                self.printed.append(line.rstrip("\n"))

    def types(self, line: str) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(line + "\n")
        except OSError as error:
            raise Failed(f"{self.name}'s client has ended.\n{self.lately()}") from error

    def leaves(self) -> None:
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def lately(self) -> str:
        return "\n".join(["It has printed, at the end:", *(f"  {line}" for line in self.printed[-20:])])


def two_clients_see_every_line_once_though_the_server_is_killed(stage: Stage) -> None:
    if not stage.client_command:
        raise Failed(
            "Expected: --client COMMAND, which starts your client, or better a classmate's. It gets --port and --name."
        )
    # The server is there when the clients come: this one is served first.
    stage.guest("first").quit()
    people = []
    try:
        for name in ("ann", "bob"):
            people.append(Person(stage, name))
            _see(stage, people, [], "both clients are in #lobby", greeting=name)
        said: list[str] = []
        for number in range(1, LINES + 1):
            for person in people:
                person.types(f"line {number}")
                said.append(f"{person.name}: line {number}")
            stage.note(f"ann and bob type 'line {number}'")
            if number in KILLED_AFTER:
                kill(stage)
            _see(stage, people, said, f"both print all lines up to line {number}")
        orders = [[line for line in person.printed if line in said] for person in people]
        if orders[0] != orders[1]:
            raise Failed(f"Expected: ann and bob print the lines in one order.\nann: {orders[0]}\nbob: {orders[1]}")
        for person in people:
            person.leaves()
            try:
                code = person.process.wait(stage.patience)
            except subprocess.TimeoutExpired:
                raise Failed(f"Expected: {person.name}'s client ends when its input ends.\nIt still runs.") from None
            if code:
                raise Failed(f"Expected: {person.name}'s client ends with the exit code 0. It is {code}.")
    finally:
        for person in people:
            person.process.kill()
            person.leaves()
            person.process.wait()


def _see(stage: Stage, people: list[Person], said: list[str], expected: str, greeting: str = "") -> None:
    """Wait until all have printed what was said, each line once. With ``greeting``, let that person say hello until
    all see it, because a client may still be on its way in."""
    if greeting:
        people[-1].types("hello")
        said = [f"{greeting}: hello"]
    with contextlib.suppress(Failed):
        stage.wait_for(lambda: all(line in person.printed for person in people for line in said), expected)
    for person in people:
        for line in said:
            if (count := person.printed.count(line)) != 1:
                how_often = "does not print it" if not count else f"prints it {count} times"
                raise Failed(
                    f"Expected: {expected}, each once.\n{line!r}: {person.name} {how_often}.\n{person.lately()}"
                )


def it_survives_torture(stage: Stage) -> None:
    least = ["--min-acks", str(int(500 * stage.minutes)), "--min-kills", str(int(4 * stage.minutes))]
    stage.note(f"scripts/torture.py --minutes {stage.minutes:g} {' '.join(least)} --server …")
    with subprocess.Popen(
        [sys.executable, TORTURE, "--minutes", f"{stage.minutes:g}", *least, "--server", stage.command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that Ctrl-C comes to this process only, which ends the other one
    ) as torture:
        try:
            printed = torture.communicate()[0]
        finally:
            torture.terminate()  # no effect if it has ended; otherwise, it ends the program that it has started
            with contextlib.suppress(subprocess.TimeoutExpired):
                torture.wait(ENDING)
            torture.kill()
    if torture.returncode:
        said = "\n".join(printed.splitlines()[-SHOWN:])
        raise Failed(f"Expected: every check of torture.py is ok, and the run counts. It says:\n\n{said}")


CHECKS = (two_clients_see_every_line_once_though_the_server_is_killed, it_survives_torture)
