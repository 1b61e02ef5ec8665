"""Several servers in torture.py: they share a PostgreSQL, which each of them reaches by a way of its own.

The first server's way is a network that can fail (``torture_network``), where that is possible. That of the others, and
otherwise of all, is a relay.

At the end all of their histories have to be the same, row by row.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import signal
import sys
import threading
import time
import traceback
from typing import Any

from engine import Postgres, Wire, programs
from torture_clients import Client
from torture_connection import PATIENCE, Connection, Gone, Odd
from torture_copies import differences, rows
from torture_faults import Meddling, Server
from torture_network import Network, NotHere
from torture_world import World, now

FAULTS = (
    "kills of servers",
    "kills of PostgreSQL",
    "SIGTERM, and started again",
    "SIGSTOP, then SIGCONT",
    "SIGSTOP beyond the lease",
    "the way to PostgreSQL cut",
    "the way to PostgreSQL silent",
    "PostgreSQL's answers lost",
    "the network to PostgreSQL down",
    "PostgreSQL's answers lost in the network",
    "one name claimed on two servers",
    "clients broke off",
    "a client did not read",
)
LEASE = 15.0  # seconds after which a server from which nothing is heard counts as gone
WAIT = 30.0  # seconds for which a server keeps what is said while PostgreSQL does not answer
WAYS = {  # how the way between a server and PostgreSQL fails: what the wire calls it
    "the way to PostgreSQL cut": "cut",
    "the way to PostgreSQL silent": "silent",
    "PostgreSQL's answers lost": "deaf",
}
NETWORK_FAULTS = ("the network to PostgreSQL down", "PostgreSQL's answers lost in the network")
TIMES = ((0.5, 4), (4, 12), (LEASE + 1, LEASE + 6), (WAIT + 1, WAIT + 4))  # seconds for which a way fails
SAME = 30.0  # seconds in which all histories become the same when nobody says anything any more
STARTS = 60.0  # seconds in which a server starts, whatever else happens


class Members:
    """The servers, the engine that they share, and the ways to it."""

    def __init__(self, directory: pathlib.Path, count: int, options: tuple[str, ...]) -> None:
        found = programs()
        if found is None:
            sys.exit("torture: several servers need PostgreSQL. Install Debian's package postgresql.")
        self.network: Network | None = None
        self.no_network = ""  # why there is none
        try:
            self.network = Network(2)
        except NotHere as why:
            self.no_network = f"skipped: {why}"
        self.engine = Postgres(found, self.network)
        database = self.engine.new_database()
        self.wires = [Wire(self.engine.port, self.engine.host) for _ in range(count - bool(self.network))]
        ways = [self.engine.url(database, wire.port) for wire in self.wires]
        if self.network:
            ways.insert(0, self.engine.url(database, host=self.network.address(1)))
        self.servers = [
            Server(directory / f"{number}.db", (*options, "--cluster", way), {}, number)
            for number, way in enumerate(ways, 1)
        ]

    def behind(self, wire: Wire) -> int:
        """The number of the server that has this way."""
        return self.wires.index(wire) + 1 + bool(self.network)

    def faults_found(self, world: World) -> list[str]:
        """What only several servers can do wrong. The servers must still run."""
        faults = [each for each in world.faults if each.who is None]
        twice = [
            f"two people had the name {name} at once"
            for name, began, ended, servers in world.doubles
            if not any(
                each.began <= ended and began <= each.ended and each.server in (None, *servers) for each in faults
            )
        ]
        return [*self._differences(), *twice]

    def close(self) -> None:
        for server in self.servers:
            server.end()
        for wire in self.wires:
            wire.close()
        self.engine.remove()
        if self.network:
            self.network.close()

    def _differences(self) -> list[str]:
        """What is not the same in the histories. Waits for the servers, which must still run, but not for ever."""
        deadline = now() + SAME
        while True:
            first, *others = [rows(server.db) for server in self.servers]
            wrong = [
                f"server {number} differs from server 1 in {difference}"
                for number, other in enumerate(others, 2)
                for difference in differences(first, other)
            ]
            if not wrong or now() > deadline:
                return wrong
            time.sleep(0.2)


class ClusterKiller(threading.Thread):
    """Kills one server, several at once, or the engine, and starts them again."""

    def __init__(self, world: World, members: Members) -> None:
        super().__init__(name="killer", daemon=True)
        self._world = world
        self._members = members
        self._chance = world.chance("killer")
        self.hurry = threading.Event()  # check whether the run is over

    def run(self) -> None:
        try:
            while not self._world.over.is_set():
                self.hurry.wait(self._chance.uniform(1, 6))
                if self._world.over.is_set() or any(server.ended for server in self._members.servers):
                    return  # leave what has ended by itself, so that the end notices it
                if self._chance.random() < 0.3:
                    self._kill_engine()
                else:
                    self._kill_servers()
        except Odd as odd:
            self._world.odd.append(str(odd))
        except Exception:
            self._world.odd.append(f"the kills broke: {traceback.format_exc()}")

    def _pause(self) -> None:
        time.sleep(self._chance.choice([0, 0, 0.2, 1]))

    def _kill_engine(self) -> None:
        with self._world.fault("kills of PostgreSQL"):
            self._members.engine.kill()
            self._pause()
            self._members.engine.start()

    def _kill_servers(self) -> None:
        """At once, as far as one thread can."""
        servers = self._members.servers
        chosen = self._chance.sample(servers, self._chance.choice([1, 1, 1, 2, len(servers)]))
        with contextlib.ExitStack() as faults:
            for server in chosen:
                in_order = self._chance.random() < 0.2 and server.turn.acquire(blocking=False)
                what = "SIGTERM, and started again" if in_order else "kills of servers"
                faults.enter_context(self._world.fault(what, server=server.number))
                if not in_order:
                    server.kill()
                    continue
                if (code := server.stop()) != 0:
                    self._world.odd.append(f"on SIGTERM server {server.number} exited with {code}")
                server.turn.release()
            self._pause()
            for server in chosen:
                self._start(server)

    def _start(self, server: Server) -> None:
        deadline = now() + STARTS
        while not server.start():
            self._world.count("starts refused for want of PostgreSQL")
            if now() > deadline:
                raise Odd(f"server {server.number} does not start any more")
            time.sleep(0.5)


class ClusterMeddler(Meddling):
    """All other faults of several servers, one after the other, equally often."""

    def __init__(self, world: World, clients: list[Client], members: Members) -> None:
        super().__init__(world, clients)
        self._members = members
        self._claims = 0
        self._faults += [self._stop, self._claim_one_name]
        self._faults += [functools.partial(self._fail_way, fault) for fault in WAYS]
        if members.network:
            self._faults += [functools.partial(self._fail_network, fault, members.network) for fault in NETWORK_FAULTS]
        else:
            self.skipped |= dict.fromkeys(NETWORK_FAULTS, members.no_network)

    def _stop(self) -> None:
        """A server that stands still for longer than the lease learns afterwards that it counted as gone."""
        server = self._chance.choice(self._members.servers)
        beyond = self._chance.random() < 0.3
        if not server.turn.acquire(blocking=False):
            return
        process = server.process
        what = "SIGSTOP beyond the lease" if beyond else "SIGSTOP, then SIGCONT"
        with self._world.fault(what, server=server.number):
            process.send_signal(signal.SIGSTOP)
            self._hold(*(LEASE + 1, LEASE + 4) if beyond else (0.5, 6))
            process.send_signal(signal.SIGCONT)  # no effect if it was killed in the meantime
        server.turn.release()

    def _fail_way(self, fault: str) -> None:
        """Both ends are alive."""
        wire = self._chance.choice(self._members.wires)
        with self._world.fault(fault, server=self._members.behind(wire)):
            wire.mode = WAYS[fault]
            self._hold(*self._chance.choice(TIMES))
            if wire.mode == "deaf":  # TCP loses no bytes: what has lost some ends
                wire.mode = "cut"
                time.sleep(0.2)
            wire.mode = "open"

    def _fail_network(self, fault: str, network: Network) -> None:
        """A fault of the network. Both ends are alive, and neither is told anything."""
        with self._world.fault(fault, server=1):
            (network.cut if fault == NETWORK_FAULTS[0] else network.lose_answers)(1)
            self._hold(*self._chance.choice(TIMES))
            network.mend(1)

    def _claim_one_name(self) -> None:
        """Two people, without tokens, want a name at the same moment: at most one may have it."""
        self._claims += 1
        began = now()
        servers = self._chance.sample(self._members.servers, 2)
        people = [Claimant(server.port, f"x{self._claims}") for server in servers]
        for person in people:
            person.start()
        for person in people:
            person.join()
        self._world.count("one name claimed on two servers")
        if all(person.has_name for person in people) and all(person.is_there() for person in people):
            numbers = tuple(server.number for server in servers)
            self._world.doubles.append((people[0].wanted, began, now(), numbers))
        for person in people:
            person.close()


class Claimant(threading.Thread):
    """Somebody who wants a name, once."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.wanted = name
        self.has_name = False
        self._port = port
        self._connection: Connection | None = None

    def run(self) -> None:
        with contextlib.suppress(Gone):
            self._connection = Connection(self._port)
            answer = self._ask({"type": "hello", "name": self.wanted, "room": "#lobby", "replay": 0}, "welcome")
            self.has_name = answer is not None

    def _ask(self, request: dict[str, Any], kind: str) -> dict[str, Any] | None:
        assert self._connection
        self._connection.send({**request, "ref": "1"})
        deadline = now() + PATIENCE
        while now() < deadline:
            event = self._connection.next(0.1)
            if event and event.get("ref") == "1" and event["type"] in (kind, "error"):
                return event if event["type"] == kind else None
        return None

    def is_there(self) -> bool:
        """Whether its server still thinks so."""
        try:
            return self._ask({"type": "ping"}, "pong") is not None
        except Gone:
            return False

    def close(self) -> None:
        if self._connection:
            self._connection.close()
