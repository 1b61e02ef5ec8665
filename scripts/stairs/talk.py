"""Clients that talk to the program under test, and the story of what they sent and got."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from stairs.program import Program

Event = dict[str, Any]

ROWS = 16  # of a story that are shown, from its end
WIDTH = 100  # characters of a row
STARTS_WITHIN = 15.0  # seconds that the program has to accept its first connection
ASIDE = frozenset({"joined", "message", "presence", "notice", "topic", "room", "current"})
"""Events that are passed over while another one is expected."""


class Failed(Exception):
    """The program did not do what was expected."""


class Story:
    """What was sent and got, by all clients of a check. Any thread may add to it."""

    def __init__(self) -> None:
        self._rows: list[str] = []

    def add(self, who: str, does: str, what: str = "") -> None:
        if len(what) > WIDTH and who:
            what = f"{what[: WIDTH - 40]}… ({len(what):,} characters)"
        self._rows.append(f"{who:<5} {does:<6} {what}".rstrip())

    def forget_since(self, rows: int) -> None:
        """Leave out what came after so many rows, because it was tried again."""
        del self._rows[rows:]

    def __len__(self) -> int:
        return len(self._rows)

    def told(self) -> list[str]:
        if len(self._rows) <= ROWS + 2:
            return self._rows
        return [f"(the first {len(self._rows) - ROWS:,} lines are left out)", *self._rows[-ROWS:]]


def written(data: bytes) -> str:
    """Bytes for a story, with a sign for each end of a line."""
    return data.decode("utf-8", "backslashreplace").replace("\n", "⏎")


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace").decode()


def shown(event: Event) -> str:
    text = as_json(event)
    return text if len(text) <= 2 * WIDTH else f"{text[:WIDTH]}… ({len(text):,} characters)"


def encoded(request: Event) -> bytes:
    text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
    if not text.isprintable():  # half a character, for example
        text = json.dumps(request, separators=(",", ":"))
    return text.encode() + b"\n"


class Client:
    """One connection. Used by one thread at a time."""

    def __init__(self, name: str, program: Program, story: Story, patience: float, receive_buffer: int = 0) -> None:
        self.name = name
        self.token = ""
        self.greeting: list[bytes] = []  # the lines before the first object
        self._story = story
        self._patience = patience
        self._program = program
        self._rest = b""
        self._lines: list[bytes] = []  # the oldest at the end
        self._greeted = False
        self._refs = 0
        self._sock = self._connect(receive_buffer)
        story.add(name, "connects")

    def _connect(self, receive_buffer: int) -> socket.socket:
        """Connect as soon as the program accepts."""
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            sock = socket.socket()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.settimeout(self._patience)
            try:
                sock.connect(("127.0.0.1", self._program.port))
                return sock
            except OSError as error:
                sock.close()
                if self._program.ended is not None:
                    raise Failed(f"The program has ended, with exit code {self._program.ended}.") from error
                if time.monotonic() > deadline:
                    raise Failed(
                        f"Nobody listens on port {self._program.port}: {error.strerror or error}. "
                        "Does the program use the port that --port names?"
                    ) from error
                time.sleep(0.02)

    # --- sending ------------------------------------------------------------------------------------------

    def send(self, *what: Event | bytes, quietly: bool = False) -> None:
        """Send requests, or bytes as they are, in one call. ``quietly``: the story does not show it."""
        data = b"".join(each if isinstance(each, bytes) else encoded(each) for each in what)
        if not quietly:
            self._story.add(self.name, "sends", written(data))
        try:
            self._sock.sendall(data)
        except TimeoutError as error:
            raise Failed(f"The program reads nothing from {self.name} for {self._patience:g} s.") from error
        except OSError as error:
            raise Failed(f"The program has closed {self.name}'s connection.") from error

    def push(self, data: bytes, seconds: float = 1.0) -> bool:
        """Send bytes as they are. False if the program does not take them, or has closed the connection."""
        self._sock.settimeout(seconds)
        try:
            self._sock.sendall(data)
        except OSError:
            return False
        finally:
            self._sock.settimeout(self._patience)
        return True

    def ref(self) -> str:
        """Another ref."""
        self._refs += 1
        return f"{self.name}-{self._refs}"

    def ask(self, kind: str, answer: str, expected: str = "", aside: frozenset[str] = ASIDE, **fields: Any) -> Event:
        """Send a request with a ref, and expect an answer of that type, with this ref."""
        ref = self.ref()
        self.send({"type": kind, **fields, "ref": ref})
        return self.expect(answer, expected, aside, ref=ref)

    def hello(self, **fields: Any) -> Event:
        """Say hello with the client's name. Returns the welcome."""
        welcome = self.ask("hello", "welcome", name=self.name, **fields)
        if welcome.get("name") != self.name:
            raise Failed(f"Expected: a welcome with the name {self.name}.")
        token = welcome.get("token")
        self.token = token if isinstance(token, str) else ""
        return welcome

    def refused(self, code: str | tuple[str, ...], expected: str, request: Event) -> Event:
        """Send a request with a ref. Expect an error with that code, or one of those."""
        codes = (code,) if isinstance(code, str) else code
        ref = self.ref()
        self.send({**request, "ref": ref})
        answer = self.expect("error", expected, ref=ref)
        if answer.get("code") not in codes:
            raise Failed(f"Expected: {expected}, so an error with the code {' or '.join(codes)}.")
        return answer

    # --- reading ------------------------------------------------------------------------------------------

    def next(self, seconds: float | None = None) -> Event | None:
        """The next event; None if the program has closed the connection. Raises TimeoutError, or Failed."""
        line = self._line(self._patience if seconds is None else seconds)
        if line is None:
            return None
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            self._story.add(self.name, "gets", written(line))
            raise Failed(f"{self.name} got a line that is not JSON.") from None
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            self._story.add(self.name, "gets", written(line))
            raise Failed(f'{self.name} got a line that is not an object with a "type".')
        return event

    def _line(self, seconds: float) -> bytes | None:
        """The next line, without those before the first object; None at the end of the connection."""
        deadline = time.monotonic() + seconds
        while True:
            while self._lines:
                line = self._lines.pop()
                if self._greeted or line.startswith(b"{"):
                    self._greeted = True
                    return line
                self.greeting.append(line)
                self._story.add(self.name, "gets", written(line) + "⏎")
            self._sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._sock.recv(1 << 18)
            except ConnectionError:
                data = b""
            finally:
                self._sock.settimeout(self._patience)
            if not data:
                return None
            *ended, self._rest = (self._rest + data).split(b"\n")
            self._lines = ended[::-1]

    def expect(
        self,
        kind: str | tuple[str, ...],
        expected: str = "",
        aside: frozenset[str] = ASIDE,
        quietly: bool = False,
        **fields: Any,
    ) -> Event:
        """The next event of that type, or of one of those, which has these fields. Events in ``aside`` are passed over
        before it. ``quietly``: the story does not show it."""
        kinds = (kind,) if isinstance(kind, str) else kind
        expected = expected or f"{self.name} gets {_described(kinds[0], fields)}"
        while True:
            try:
                event = self.next()
            except TimeoutError:
                raise Failed(f"Expected: {expected}.\nIt got nothing more for {self._patience:g} s.") from None
            if event is None:
                self._story.add(self.name, "gets", "the end of the connection")
                raise Failed(f"Expected: {expected}.\nThe program has closed the connection instead.")
            if event["type"] in kinds:
                if not quietly:
                    self.got(event)
                if event["type"] in aside and event.get("ref") != fields.get("ref", event.get("ref")):
                    continue  # a server may put somebody into a room at once
                for field, value in fields.items():
                    if event.get(field) != value:
                        found = f"Its {field} is {as_json(event[field])}" if field in event else f"It has no {field}"
                        raise Failed(f"Expected: {expected}.\n{found}; {as_json(value)} was expected.")
                return event
            if event["type"] not in aside:
                self.got(event)
                raise Failed(f"Expected: {expected}.\nIt got this instead: {shown(event)}")

    def until(self, kind: str, ref: str) -> list[Event]:
        """The messages that come up to an answer, and the answer. The story shows the answer only."""
        came: list[Event] = []
        while True:
            event = self.expect((kind, "message"), f"{self.name} gets {kind!r}", ASIDE - {"message"}, quietly=True)
            if event["type"] == "message":
                came.append(event)
            elif event.get("ref") == ref:
                self.got(event)
                return [*came, event]

    def ask_since(self, room: str, since: int) -> list[Event]:
        """Enter a room with the last number that was seen. Returns what comes up to its joined: messages, maybe."""
        ref = self.ref()
        self.send({"type": "join", "room": room, "since": since, "ref": ref})
        return self.until("joined", ref)

    def got(self, event: Event) -> None:
        self._story.add(self.name, "gets", shown(event))

    def expect_end(self, seconds: float | None = None) -> list[Event]:
        """Read to the end of the connection, and return what came before it."""
        came: list[Event] = []
        while True:
            try:
                event = self.next(seconds)
            except TimeoutError:
                raise Failed(f"Expected: the program closes {self.name}'s connection.\nIt does not.") from None
            if event is None:
                self._story.add(self.name, "gets", "the end of the connection")
                return came
            self.got(event)
            came.append(event)

    def rest(self) -> list[Event]:
        """What comes to the end of the connection. The story does not show it."""
        came: list[Event] = []
        try:
            while event := self.next():
                came.append(event)
        except TimeoutError:
            raise Failed(f"Expected: the program closes {self.name}'s connection.\nIt does not.") from None
        return came

    # --- leaving ------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Leave in order."""
        self.send({"type": "quit"})
        self.expect("bye", f"quit is answered with bye, for {self.name}")
        self.expect_end()
        self._sock.close()

    def break_off(self) -> None:
        """Break the connection, as a machine that crashes: RST instead of FIN."""
        self._story.add(self.name, "breaks", "off, in the middle of the connection")
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._sock.close()

    def close(self) -> None:
        self._sock.close()


def _described(kind: str, fields: Event) -> str:
    return " ".join([f'"{kind}"', *(f"with {name} {as_json(value)}" for name, value in fields.items())])


class Stage:
    """The program, and the clients of one check."""

    def __init__(self, command: str, step: int, patience: float, client_command: str = "", minutes: float = 1) -> None:
        """``client_command`` and ``minutes`` are for step 10: what starts a client, and how long torture.py runs."""
        self.command = command
        self.client_command = client_command
        self.minutes = minutes
        self.patience = patience
        self.story = Story()
        self._directory = tempfile.TemporaryDirectory(prefix="capstone-", ignore_cleanup_errors=True)
        self.program = Program(command, pathlib.Path(self._directory.name), step)
        self._clients: list[Client] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self.program.kill()
        self._directory.cleanup()

    def client(self, name: str = "ann", receive_buffer: int = 0) -> Client:
        """A client that has connected, and said nothing."""
        client = Client(name, self.program, self.story, self.patience, receive_buffer)
        self._clients.append(client)
        return client

    def guest(self, name: str, **hello: Any) -> Client:
        """A client that has said hello."""
        client = self.client(name)
        client.hello(**hello)
        return client

    def member(self, name: str, room: str) -> Client:
        """A client that has entered a room."""
        client = self.guest(name)
        client.ask("join", "joined", room=room)
        return client

    def note(self, text: str) -> None:
        self.story.add("", "", text)

    def wait_for(self, holds: Callable[[], bool], expected: str) -> None:
        """Wait until something holds, or fail."""
        deadline = time.monotonic() + self.patience
        while not holds():
            if time.monotonic() > deadline:
                raise Failed(f"Expected: {expected}.\nIt is not so after {self.patience:g} s.")
            time.sleep(0.02)

    def told(self, failed: Failed) -> str:
        """The story of a check that failed."""
        rows = [str(failed)]
        if happened := self.story.told():
            rows = ["What the clients sent and got:", "", *(f"  {row}" for row in happened), "", *rows]
        if lately := self.program.last_words():
            rows += ["", "The program wrote, at the end:", *(f"  {row[: 2 * WIDTH]}" for row in lately)]
        return "\n".join(rows)


@contextlib.contextmanager
def at_once(*jobs: Callable[[], None]) -> Iterator[None]:
    """Run jobs in threads while the body runs. Raise what the first of them has raised that failed, even if the body
    has failed, too: it often fails because of them."""
    failures: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    except Failed:
        for thread in threads:
            thread.join()
        if not failures or isinstance(failures[0], TimeoutError):
            raise
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
