"""The clients of torture.py. Each is a thread that connects, loses its connection, comes back, and logs everything.

They speak JSON lines by ``torture_connection``. ``torture_web`` puts the lines into WebSockets, and ``torture_tls``
encrypts some of them.
"""

from __future__ import annotations

import contextlib
import queue
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from torture_checker import Ack, Ask, Look, Refusal, Seen, Stay
from torture_connection import PATIENCE, Connection, Gone, Odd
from torture_world import World, now

BURST = 20  # texts that a writer has under way at most; far fewer than the refs that the server remembers
SLOW = (2.0, 6.0)  # seconds that a slow client does not read: below and above the server's limit
HUNGER = 150  # pages of history that it requests before that
PINGS = 10_000  # that it sends instead to a server that has no pages
AWAY = (5.0, 40.0)  # seconds that a traveller is away
MUCH = 1000  # missed messages in all rooms together from which a return is counted
RECENT = 50  # acknowledged texts that searchers look for
COUNTED = 56  # characters of a refusal's text, by which it is counted
MOST_LINES = 40  # in a text, and in several sent at once beyond one for each
RATE = 20  # lines a second that the server takes in the long run; a client that sends more has to wait
FILLER = "as far as one can hear: ÄÖÜ 你好 🧵 "
# Errors that end a connection; after these the client comes back.
CUT_OFF = frozenset({"too_slow", "replaced", "shutting_down", "no_handshake", "server_full"})

OUT = frozenset({"banned", "invite_only"})  # errors for somebody who may not enter a room now

# Answers to a hello while nobody can tell who gets the name, or whose a token is.
UNDECIDED = frozenset({"not_stored", "maybe_stored", "unreadable"})

LOBBY = "#lobby"  # where the server puts whoever cannot enter a room now
OUTSIDE = (" says that you may ", " banned you from ", " muted you in ", " lifted your ")  # in notices about rooms
ENTERING = (" is quiet: ", " is slow: ", "You are muted in ")  # the same on entering them

DISK_FAILED = "told that the disk failed"  # after this the server stores nothing until a restart


class Client(threading.Thread):
    """A client that connects, loses the connection and comes back, until the end. Its thread owns its logs."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name=name, daemon=True)
        self.world = world
        self.chance = world.chance(name)
        self.orders: queue.SimpleQueue[str] = queue.SimpleQueue()  # from the faults: what to do next
        self.asks: list[Ask] = []
        self.stays: list[Stay] = []
        self.finished = False
        rooms = self.chance.sample(world.rooms, min(2, len(world.rooms)))
        # By room, the number to come back with. None: join, and see only new messages.
        self.reached: dict[str, int | None] = {room: 0 if self.chance.random() < 0.3 else None for room in rooms}
        self.connect: Callable[..., Connection] = Connection  # by port and receive buffer
        self.connection: Connection
        self.token = ""
        self._staying: dict[str, Stay] = {}
        self._port = 0  # of the server that it is connected to, or was
        self._server = 0  # the number of that server
        self._refs = 0
        self._answers: dict[str, dict[str, Any]] = {}  # answers to requests other than texts, by ref
        self._coming = False  # has said hello, and has not entered all of its rooms yet
        self._old: Connection | None = None  # a connection that it left without closing it, as in a broken network

    def run(self) -> None:
        try:
            while not self.finished:
                try:
                    self._come_in()
                    self._take_part()
                except Gone:
                    pass
                finally:
                    self._lose()
                time.sleep(self.chance.uniform(0.02, 0.3))
        except Odd as odd:
            self.world.odd.append(f"{self.name}: {odd}")
        except Exception:
            self.world.odd.append(f"{self.name} broke: {traceback.format_exc()}")

    def _take_part(self) -> None:
        """Do what this kind of client does, until the end. Raises Gone."""
        raise NotImplementedError

    # --- coming and going ---------------------------------------------------------------------------------

    def _change_server(self) -> None:
        if len(self.world.ports) > 1:
            self._port = self.chance.choice(self.world.ports)
        else:
            self._port = self.world.ports[0]
        self._server = self.world.ports.index(self._port) + 1

    def _come_in(self) -> None:
        self._change_server()
        self.connection = self.connect(self._port, self.chance.choice([0, 16384, 65536]))
        self._coming = True
        while True:
            known = {room: number for room, number in self.reached.items() if number is not None}
            fresh = [room for room in self.reached if room not in known]
            hello: dict[str, Any] = {"type": "hello", "name": self.name, "replay": 0, "ref": self._ref("hello")}
            if self.token:
                hello["token"] = self.token
            if known:
                hello["since"] = known
            else:
                hello["room"] = fresh.pop(0)
            entered = [*known, *([] if known else [hello["room"]])]
            for room in entered:
                self._enters(room)
            self.connection.send(hello)
            answer = self._answer(hello["ref"])
            if answer["type"] == "welcome":
                self.token = answer["token"]
                break
            self._staying.clear()
            if answer.get("code") == "unknown_token":
                self.world.count("unknown tokens")
                self._denied()
                self._forget_token()
            elif answer.get("code") == "name_taken":  # the server has not noticed the lost connection yet
                raise Gone
            elif answer.get("code") in OUT:
                raise Gone
            elif len(self.world.ports) > 1 and answer.get("code") in UNDECIDED:
                self.world.count("could not enter: the engine did not answer")
                raise Gone
            else:
                raise Odd(f"hello was answered with {answer}")
        told = self._answers  # a second answer: welcome, but it could not enter all of its rooms
        self._wait(lambda: hello["ref"] in told or all(self._staying[room].last is not None for room in entered))
        if hello["ref"] in told:
            raise Gone
        for room in fresh:
            self._join(room)
        self._coming = False
        missed = sum((self._staying[room].last or 0) - number for room, number in known.items())
        if missed > MUCH:
            self.world.count(f"came back to more than {MUCH:,} messages")
        if self._old:
            self._old.close()
            self._old = None

    def _denied(self) -> None:
        """The token was unknown, so no text that was sent under it is in the history."""

    def _enters(self, room: str) -> None:
        self._staying[room] = Stay(self.name, room, now(), self.reached[room], server=self._server)

    def _join(self, room: str) -> None:
        ref = self._ref("join")
        self._enters(room)
        since = {} if self.reached[room] is None else {"since": self.reached[room]}
        self.connection.send({"type": "join", "room": room, "ref": ref, **since})
        if self._answer(ref)["type"] != "joined":  # for example, the history could not be read
            raise Gone

    def _leave(self, room: str) -> None:
        ref, asked = self._ref("leave"), now()
        self.connection.send({"type": "leave", "room": room, "ref": ref})
        if self._answer(ref)["type"] != "left":
            raise Gone
        self._staying[room].left = asked
        self._keep(self._staying.pop(room))

    def _keep(self, stay: Stay) -> None:
        if stay.since is not None or stay.last is not None:
            stay.ended = now()
            self.stays.append(stay)
            self.reached[stay.room] = stay.reached

    def _lose(self) -> None:
        """The connection is over: close its stays and answers."""
        for stay in self._staying.values():
            self._keep(stay)
        self._staying.clear()
        self._answers.clear()
        if hasattr(self, "connection"):
            self.connection.close()

    def _break_off(self, how: str) -> None:
        """Lose the connection, in one of several ways. Raises Gone."""
        if how == "reset":
            self.connection.reset()
        elif how == "vanish":  # the server does not notice until the client is back on another connection
            if self._old:
                self._old.close()
            self._old = self.connection
            self.connection = Connection(self._port)  # unused; closed with the others
        raise Gone

    def _start_afresh(self) -> None:
        """Leave, and enter with the same name but without the token. Raises Gone."""
        self.connection.quit()
        self._forget_token()
        raise Gone

    def _forget_token(self) -> None:
        self.token = ""

    def _finish(self) -> None:
        """Read all pending answers, then leave every room in order."""
        for room in list(self._staying):
            self._leave(room)
        self.connection.quit()
        self.finished = True

    def _obey(self) -> None:
        """Carry out an order from the faults, if there is one."""
        with contextlib.suppress(queue.Empty):
            order = self.orders.get_nowait()
            if order == "be slow":
                self._be_slow()
            else:
                self._break_off(order)

    def _be_slow(self) -> None:
        """Request many pages, read nothing for some seconds, and then continue, or come back if disconnected."""
        with self.world.fault("a client did not read", self.name):
            page = {"type": "history", "room": next(iter(self._staying)), "count": 200}
            much = [{"type": "ping"}] * PINGS if self.world.plain else [page] * HUNGER
            ref = self._ref("ping")
            self.connection.send(*much, {"type": "ping", "ref": ref})
            time.sleep(self.chance.uniform(*SLOW))
            self._answer(ref)

    # --- what comes ---------------------------------------------------------------------------------------

    def _ref(self, what: str) -> str:
        self._refs += 1
        return f"{what} {self._refs}"

    def _answer(self, ref: str) -> dict[str, Any]:
        self._wait(lambda: ref in self._answers)
        return self._answers.pop(ref)

    def _wait(self, until: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Read events until a condition holds; raise Gone if it does not hold in time."""
        deadline = now() + seconds
        while not until():
            if now() > deadline:
                self.world.count("answers not waited for")
                raise Gone
            self._hear(0.1)

    def _hear(self, seconds: float) -> None:
        event = self.connection.next(seconds)
        if event:
            self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        kind, ref = event["type"], event.get("ref")
        if kind == "message":
            stay = self._stay(event)
            stay.messages.append(Seen(event["number"], event["from"], event["kind"], event["text"], now()))
        elif kind == "joined" and event["room"] == LOBBY and str(ref).startswith("hello"):
            self.world.count("were let into the lobby only")
            raise Gone
        elif kind == "joined":
            stay = self._stay(event)
            stay.last, stay.joined = event["last"], now()
        elif kind == "left" and ref is None:
            self.world.count("were put out of a room, and came back")
            raise Gone
        elif kind == "history":
            numbers = [each["number"] for each in event["messages"]]
            if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
                raise Odd(f"a page of history has the numbers {numbers}")
        elif kind == "error" and ref is None and event["code"] == "read_only":
            self.world.count(DISK_FAILED)
        elif kind == "error" and ref is None:
            if event["code"] not in CUT_OFF:
                raise Odd(f"the server said {event}")
            if event["code"] == "too_slow" and self._coming:
                raise Odd("it was cut off for reading too slowly while it came back, though it read all the time")
            self.world.count(f"cut off: {event['code']}")
        elif kind == "notice" and any(told in event["text"] for told in OUTSIDE):
            self.world.count("told outside a room that they may not speak or enter, or may again")
        elif kind == "notice" and any(told in event["text"] for told in ENTERING):
            self.world.count("told on entering that they may not speak, or seldom")
        elif kind not in ("welcome", "left", "pong", "ack", "error", "presence", "search", "bye", "moderated", "room"):
            raise Odd(f"the server said {event}")
        if kind == "error" and event["code"] == "internal":
            raise Odd(f"the server said {event}")
        if ref is not None and kind in ("welcome", "joined", "left", "pong", "ack", "search", "error"):
            self._answered(ref, event)

    def _answered(self, ref: str, event: dict[str, Any]) -> None:
        if event["type"] != "joined" or not ref.startswith("hello"):  # the answer to a hello is its welcome
            self._answers[ref] = event

    def _stay(self, event: dict[str, Any]) -> Stay:
        stay = self._staying.get(event["room"])
        if stay is None:
            raise Odd(f"it is not in that room: {event}")
        return stay


class Reader(Client):
    """Reads, and now and then leaves a room and comes back to it."""

    def _take_part(self) -> None:
        move = now() + self.chance.uniform(3, 20)
        while not self.world.finishing.is_set():
            self._obey()
            self._hear(0.1)
            if now() > move:
                move = now() + self.chance.uniform(3, 20)
                if self.chance.random() < 0.3:
                    self._start_afresh()
                self._go_and_come_back()
        self._finish()

    def _go_and_come_back(self) -> None:
        room = self.chance.choice(list(self._staying))
        self._leave(room)
        deadline = now() + self.chance.uniform(0, 2)
        while now() < deadline:
            self._hear(0.1)
        if self.chance.random() < 0.3:
            self.reached[room] = None  # as if it had never been there
        self._join(room)

    def _start_afresh(self) -> None:
        """Now and then read the whole room again, from its first message."""
        try:
            super()._start_afresh()
        finally:
            self._lose()
            if self.chance.random() < 0.3:
                self.reached[self.chance.choice(list(self.reached))] = 0


class Traveller(Reader):
    """Is in all rooms, stays away for long, and comes back to everything that it missed."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        self.reached = dict.fromkeys(world.rooms)

    def _take_part(self) -> None:
        leaves = now() + self.chance.uniform(1, 6)
        while not self.world.finishing.is_set():
            self._obey()
            self._hear(0.1)
            if now() > leaves:
                self._lose()
                self.world.finishing.wait(self.chance.uniform(*AWAY))
                raise Gone
        self._finish()


class Searcher(Client):
    """Searches as fast as allowed: for acknowledged texts, and for missing texts that take long to look for."""

    def _take_part(self) -> None:
        while not self.world.finishing.is_set():
            self._obey()
            if self.world.acked and self.chance.random() < 0.7:
                self._look_for(self.chance.choice(self.world.acked[-RECENT:]))
            else:
                self._search({"words": self.chance.choice(["hear", "as far", "e"]), "from": "nobody"})
            self._hear(self.chance.choice([0, 0.1, 0.5]))
        self._finish()

    def _look_for(self, text: str) -> None:
        """Search for a text by its first word, which no other text has."""
        asked, closings = now(), self.world.closings
        open_then = closings == self.world.openings
        answer = self._search({"words": text.split()[0]})
        if answer["type"] == "search" and open_then and closings == self.world.closings:
            found = tuple(each["text"] for each in answer["messages"])
            self.world.looks.append(Look(self.name, text, asked, found, self._server))

    def _search(self, request: dict[str, str]) -> dict[str, Any]:
        ref = self._ref("search")
        self.connection.send({"type": "search", "ref": ref, **request})
        answer = self._answer(ref)
        self.world.count("searches" if answer["type"] == "search" else f"searches refused: {answer['code']}")
        return answer


class Writer(Client):
    """Sends texts, a few at a time, and sends unanswered texts again."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        self._said = 0
        self._wrote_to = 0  # the port of the server to which it sent last
        self._by_ref: dict[str, Ask] = {}
        self._waiting: dict[str, Ask] = {}  # by ref: no answer yet
        self._under_token: list[Ask] = []
        self._acked: list[str] = []

    def _take_part(self) -> None:
        self._send_again()
        while not self.world.finishing.is_set():
            self._obey()
            lines = self._say(self.chance.choice([1, 1, 2, 3, 5, BURST]))
            if self._acked and lines < MOST_LINES and self.chance.random() < 0.05:
                lines += self._repeat(self.chance.choice(self._acked[-50:]))
            self._await_answers(self.chance.uniform(1, PATIENCE))
            deadline = now() + max(self.chance.uniform(0, 0.6), lines / RATE)
            while now() < deadline:
                self._hear(0.05)
            if self.chance.random() < 0.02:
                self._start_afresh()
        self._await_answers(PATIENCE)
        self._finish()

    def _say(self, count: int) -> int:
        """Send so many texts; return how many lines they have."""
        requests: list[dict[str, Any]] = []
        lines = 0
        for _ in range(count):
            self._said += 1
            room = self.chance.choice(list(self.reached))
            long = self.chance.choices([30, 100, 1900], [20, 10, 1])[0]
            text = f"{self.name}n{self._said}z {FILLER * (long // len(FILLER) + 1)}"[:long].rstrip() + "."
            if self.chance.random() < 0.1:
                text = text.replace(": ", ":\n", MOST_LINES - 1 - (lines - len(requests)))
            lines += text.count("\n") + 1
            ask = Ask(self.name, room, self.chance.choice(["say", "say", "action"]), text, [now()])
            ref = self._ref("say")
            self.asks.append(ask)
            self._by_ref[ref] = self._waiting[ref] = ask
            self._under_token.append(ask)
            requests.append(self._request(ref, ask))
        self.connection.send(*requests)
        return lines

    @staticmethod
    def _request(ref: str, ask: Ask) -> dict[str, Any]:
        return {"type": ask.kind, "room": ask.room, "text": ask.text, "ref": ref}

    def _repeat(self, ref: str) -> int:
        """Send an acknowledged text again: it has to be acknowledged again, but not stored again. Return its lines."""
        ask = self._by_ref[ref]
        ask.sent.append(now())
        self._waiting[ref] = ask
        self.world.count("acknowledged, and sent again")
        self.connection.send(self._request(ref, ask))
        return ask.text.count("\n") + 1

    def _send_again(self) -> None:
        """Send the unanswered texts of the last connection again, or leave them unknown."""
        left = {ref for ref in self._waiting if self.chance.random() < 0.25}
        self._waiting = {ref: ask for ref, ask in self._waiting.items() if ref not in left}
        for ask in self._waiting.values():
            ask.sent.append(now())
            self.world.count("not answered, and sent again")
            if self._port != self._wrote_to:
                self.world.count("not answered, and sent to another server")
        self._wrote_to = self._port
        self.connection.send(*(self._request(ref, ask) for ref, ask in self._waiting.items()))
        self._await_answers(PATIENCE)

    def _await_answers(self, seconds: float) -> None:
        try:
            self._wait(lambda: not self._waiting, seconds)
        except Gone:
            self._break_off(self.chance.choice(["reset", "close", "vanish"]))

    def _denied(self) -> None:
        for ask in self._under_token:
            ask.denied = True

    def _forget_token(self) -> None:
        """A text that is sent again is recognised only under the same token."""
        super()._forget_token()
        self._under_token.clear()
        self._waiting.clear()
        self._acked.clear()

    def _answered(self, ref: str, event: dict[str, Any]) -> None:
        ask = self._by_ref.get(ref)
        if ask is None:
            super()._answered(ref, event)
            return
        self._waiting.pop(ref, None)
        if event["type"] == "ack":
            ask.acks.append(Ack(now(), event["room"], event["number"]))
            self._acked.append(ref)
            self.world.acked.append(ask.text)
        else:
            ask.refusals.append(Refusal(now(), event["code"]))
            self.world.count(textwrap.shorten(f"refused: {event['text']}", COUNTED))
