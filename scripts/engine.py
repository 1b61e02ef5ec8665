"""A PostgreSQL: Debian's programs, run by an ordinary user, on a port of its own. And a wire to it, which can fail.

For torture.py, and for the tests of servers in a cluster.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from torture_network import Network

USER = "postgres"  # who runs it for root, because PostgreSQL refuses to be run by root
STARTS = 30.0  # seconds in which it has to answer after a start, and to be gone after a kill


def programs() -> pathlib.Path | None:
    """Where the newest PostgreSQL is; None: there is none."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_over(pid: int) -> bool:
    """Whether a process has ended. What nobody has waited for yet has no command line any more."""
    try:
        return not pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, rest = path.read_text().split(" ", 1)
            if int(rest.rpartition(")")[2].split()[1]) == parent:
                found.append(int(number))
    return found


class Postgres:
    """An engine. What its databases have is on disk after a kill, but not after a power cut, unless it is to sync.
    However the process ends that has made it, the engine ends too, and its files are removed.

    With a network, it is at the network's far end, and only there: ``host`` is its address by link 0."""

    def __init__(self, bin: pathlib.Path, network: Network | None = None, syncs: bool = False) -> None:
        self._bin = bin
        self._network = network
        self._syncs = {} if syncs else {"fsync": "off", "full_page_writes": "off"}
        self.host = network.address(0) if network else "127.0.0.1"
        self._user: dict[str, Any] = {"user": USER, "group": USER} if os.getuid() == 0 else {}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # others may enter /tmp, not tmp_path
        if self._user:
            shutil.chown(self.folder, USER, USER)
        # Ends the engine when its standard input ends: after ``remove``, or when this process is gone.
        self._guard = subprocess.Popen(
            ["sh", "-c", f'cat; "{bin}/pg_ctl" stop -m immediate -D "$0/data"; rm -rf "$0"', self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C does not reach it
            **self._user,
        )
        self.port = _free_port()
        self._databases = 0
        made = [*f"{bin}/initdb -U {USER} -A trust -E UTF8 --no-locale -N -D".split(), str(self.folder / "data")]
        subprocess.run(made, check=True, capture_output=True, cwd="/", **self._user)
        if network:
            with open(self.folder / "data" / "pg_hba.conf", "a", encoding="utf-8") as file:
                file.write("host all all samenet trust\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers. It repairs what a kill has left."""
        settings: dict[str, object] = {
            "listen_addresses": "*" if self._network else "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            **self._syncs,
            "max_connections": 50,
            "shared_buffers": "8MB",
        }
        before = self._network.inside(USER) if self._network else []
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [*before, self._bin / "postgres", "-D", self.folder / "data", *options],
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            **({} if before else self._user),
        )
        log.close()
        self._wait_until(self._answers)

    @staticmethod
    def _wait_until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STARTS
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL does not start, or does not end, within {STARTS:g} s")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str, port: int | None = None, host: str = "") -> str:
        """``port``: of a wire. ``host``: another address of the engine's."""
        at = f"{host or self.host}:{self.port}" if port is None else f"127.0.0.1:{port}"
        return f"postgresql://{USER}@{at}/{database}"

    def new_database(self) -> str:
        """Make an empty database; return its name."""
        self._databases += 1
        name = f"chat{self._databases}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return name

    def execute(self, database: str, statement: str) -> list[Any]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """kill -9: the main process, and all that it started, which have process groups of their own."""
        main = self.process.pid
        self.process.send_signal(signal.SIGSTOP)  # it starts no more
        found = children(main)
        for pid in (main, *found):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._wait_until(lambda: all(is_over(pid) for pid in found))
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast": it breaks all connections
            self.process.wait(20)

    def remove(self) -> None:
        self.stop()
        self._guard.communicate()


class Wire:
    """Between servers and an engine: a relay on a port of its own, which can fail as networks do.

    ``mode`` is "open"; "cut": all connections end, and no new ones begin; "silent": nothing passes, and nobody is told;
    "deaf": what servers send arrives, but no answer comes back. Connections stay as they are until the mode changes.
    When a server sends ``deafens``, the mode becomes "deaf".
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.mode = "open"
        self.deafens: bytes | None = None
        self._to = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped:
            if self.mode == "cut":
                self._end()
            watched = [end for pair in self._pairs for end in pair] if self.mode != "silent" else []
            for ready in select.select([self._listener, *watched], [], [], 0.02)[0]:
                if ready is self._listener:
                    self._accept()
                else:
                    self._pass_on(ready)

    def _accept(self) -> None:
        near = self._listener.accept()[0]
        if self.mode != "cut":
            with contextlib.suppress(OSError):  # the engine is not there
                self._pairs.append((near, socket.create_connection(self._to)))
                return
        near.close()

    def _pass_on(self, ready: socket.socket) -> None:
        found = [pair for pair in self._pairs if ready in pair]
        if not found:
            return
        near, far = found[0]
        try:
            data = ready.recv(65536)
            if self.deafens and ready is near and self.deafens in data:
                self.mode, self.deafens = "deaf", None
            if data and not (self.mode == "deaf" and ready is far):
                (far if ready is near else near).sendall(data)
        except OSError:
            data = b""
        if not data:
            self._pairs.remove((near, far))
            near.close()
            far.close()

    def _end(self) -> None:
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._pairs.clear()

    def close(self) -> None:
        self._stopped = True
        self._thread.join()
        self._end()
        self._listener.close()
