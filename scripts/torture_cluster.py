"""Several servers in torture.py: they share a PostgreSQL, which each of them reaches by a wire of its own.

At the end all of their histories have to be the same, row by row.
"""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import sys
import threading
import time
import traceback

from engine import Postgres, Wire, programs
from torture_clients import Client, Odd, World, now
from torture_faults import Meddling, Server

FAULTS = (
    "kills of servers",
    "kills of PostgreSQL",
    "SIGTERM, and started again",
    "clients broke off",
    "a client did not read",
)
SAME = 30.0  # seconds in which all histories become the same when nobody says anything any more
STARTS = 60.0  # seconds in which a server starts, whatever else happens
TABLES = ("messages", "rooms", "governance", "refs", "places", "present", "servers")  # that have to be the same


class Members:
    """The servers, the engine that they share, and the wires to it."""

    def __init__(self, directory: pathlib.Path, count: int, options: tuple[str, ...]) -> None:
        found = programs()
        if found is None:
            sys.exit("torture: several servers need PostgreSQL. Install Debian's package postgresql.")
        self.engine = Postgres(found)
        database = self.engine.new_database()
        self.wires = [Wire(self.engine.port) for _ in range(count)]
        self.servers = [
            Server(
                directory / f"{number}.db", (*options, "--cluster", self.engine.url(database, wire.port)), {}, number
            )
            for number, wire in enumerate(self.wires, 1)
        ]

    def close(self) -> None:
        for server in self.servers:
            server.end()
        for wire in self.wires:
            wire.close()
        self.engine.remove()

    def differences(self) -> list[str]:
        """What is not the same in the histories. Waits for the servers, which must still run, but not for ever."""
        deadline = now() + SAME
        while True:
            first, *others = [_tables(server.db) for server in self.servers]
            wrong = [
                f"server {number} has {len(other[table] ^ first[table])} rows of {table} that differ from those of"
                f" server 1: {sorted(other[table] ^ first[table])[:2]}"
                for number, other in enumerate(others, 2)
                for table in TABLES
                if other[table] != first[table]
            ]
            if not wrong or now() > deadline:
                return wrong
            time.sleep(0.2)


def _tables(db: pathlib.Path) -> dict[str, set[str]]:
    """All rows of a history, as they stood at one moment."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        return {table: {repr(row) for row in connection.execute(f"SELECT * FROM {table}")} for table in TABLES}


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
        chosen = self._chance.sample(self._members.servers, self._chance.choice([1, 1, 1, 2, len(self._members.wires)]))
        with contextlib.ExitStack() as faults:
            for server in chosen:
                in_order = self._chance.random() < 0.2
                faults.enter_context(
                    self._world.fault("SIGTERM, and started again" if in_order else "kills of servers")
                )
                if not in_order:
                    server.kill()
                elif (code := server.stop()) != 0:
                    self._world.odd.append(f"on SIGTERM server {server.number} exited with {code}")
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
