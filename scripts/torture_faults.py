"""The faults of torture.py: the server, the disk of its history, and the threads that cause the faults."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable

from torture_clients import DISK_FAILED, Client
from torture_connection import PATIENCE, Odd
from torture_tls import WHY_NOT as WHY_NO_TLS
from torture_tls import Certificate
from torture_tls import attack as attack_by_tls
from torture_web import WHY_NOT, attack
from torture_world import RECOVERY, World, now

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIM = ROOT / "scripts" / "torture_shim.c"
SEND_TIMEOUT = 3  # of the server, in seconds
QUEUE_LIMIT = 600  # of the server
CALLS = 40  # roughly the calls of a commit and a checkpoint on the history's files
EARLY, LATE, COMMITS = range(3)  # a failing call does nothing, or its work; only the last writes of commits count
FAILURES = 3  # times in a row that calls fail
FAULTS = (
    "kills",
    "SIGTERM, and started again",
    "SIGSTOP, then SIGCONT",
    "disk full",
    "log grown, then disk full",
    "files may not grow",
    "calls on the files failed",
    "history locked by another",
    "clients broke off",
    "a client did not read",
    "hostile WebSockets",
    "hostile TLS clients",
    "certificate loaded again",
)
HOSTILE = (3, 8)  # hostile clients, one after the other


# --- the server, and where its history is --------------------------------------------------------------------


class Disk:
    """The directory of the history: a small file system of its own where mounting is allowed."""

    def __init__(self, megabytes: int) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="torture-"))
        self.ballast = self.directory / "ballast"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "torture", str(self.directory)]
        try:
            done = subprocess.run(mount, capture_output=True, text=True, check=False)
            self.mounted = done.returncode == 0
        except OSError:
            self.mounted = False

    def fill(self) -> None:
        with open(self.ballast, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.directory)], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


class Calls:
    """Makes the server's calls on the history's files fail, with the library compiled from SHIM. Linux only."""

    def __init__(self, db: pathlib.Path) -> None:
        self.environment: dict[str, str] = {}
        self.missing = ""  # why it does not work here
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="torture-calls-"))
        self._numbers = self._directory / "numbers"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not sys.platform.startswith("linux") or not compiler:
            self.missing = "skipped: it needs Linux and a C compiler"
            return
        library = self._directory / "shim.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
        self.fail(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "TORTURE_CALLS": str(self._numbers),
            "TORTURE_FILES": str(db.resolve()),
        }

    def fail(self, after: int, more: int = 0, error: int = errno.EIO, how: int = EARLY) -> None:
        """Make the ``after``-th call from now fail, and ``more`` calls after it; 0: none. ``how`` is EARLY, LATE or
        COMMITS."""
        with open(self._numbers, "r+b" if self._numbers.exists() else "w+b") as file:  # the server has this file mapped
            file.write(struct.pack("4i", after, more, error, how))
        self._more = more

    @property
    def begun(self) -> bool:
        """Whether a call has failed as planned."""
        after, more = struct.unpack_from("2i", self._numbers.read_bytes())
        return bool(after == 0 or more < self._more)

    @property
    def left(self) -> bool:
        """Whether more calls will fail as planned."""
        return bool(struct.unpack_from("i", self._numbers.read_bytes())[0])

    def close(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)


class Server:
    """The server, in a process of its own that is started again and again. Its stderr is kept."""

    def __init__(
        self, db: pathlib.Path, options: tuple[str, ...], environment: dict[str, str], number: int = 1
    ) -> None:
        """``number``: which of several it is."""
        self.db = db
        self.number = number
        self.port = 0
        self.unused = (0, 0)  # its usage without clients
        self.log: list[str] = []
        self.process: subprocess.Popen[str]
        self.catches_signals = False  # whether it has said that it listens
        # Held while it is told to stop, or is stopped by SIGSTOP for long: with both, it would end by force.
        self.turn = threading.Lock()
        self._options = options
        self._environment = {**os.environ, **environment}
        self._drain: threading.Thread

    def start(self) -> bool:
        """Return True when it listens; False if it reports that it cannot start now (exit code 2). Raises Odd."""
        command = [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--db", str(self.db), "--send-timeout", str(SEND_TIMEOUT)]
        command += ["--queue-limit", str(QUEUE_LIMIT), *self._options]
        self.catches_signals = False
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            errors="replace",
            env=self._environment,
        )
        assert self.process.stdout is not None
        self._drain = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self._drain.start()
        for line in self.process.stdout:
            if "telnet" in line and not self.port:
                self.port = int(line.split("telnet")[1].split()[1])
            if line.startswith("History:"):
                self.catches_signals = True
                return True
        code = self._wait()
        if code not in (2, -signal.SIGKILL):
            raise Odd(f"the server did not start, and exited with {code}")
        return False

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line.rstrip("\n"))

    def _wait(self) -> int:
        code = self.process.wait(PATIENCE)
        self._drain.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code

    @property
    def ended(self) -> str:
        """How it ended by itself, which must not happen; empty if it did not."""
        code = self.process.poll()
        return "" if code is None else f"the server ended by itself, and exited with {code}"

    def send_signal(self, number: int) -> None:
        """No effect if it has ended."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9"""
        self.send_signal(signal.SIGKILL)
        self._wait()

    def end(self) -> None:
        """Kill it if it runs."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.kill()

    def stop(self) -> int:
        """Send SIGTERM. Return the exit code; that of a kill if it had to be killed in the end."""
        self.send_signal(signal.SIGTERM)
        try:
            return self._wait()
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            return self._wait()

    def usage(self) -> tuple[int, int]:
        """The number of its threads and descriptors; (0, 0) where the system does not say."""
        proc = pathlib.Path(f"/proc/{self.process.pid}")
        try:
            return len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))
        except OSError:
            return 0, 0


# --- faults --------------------------------------------------------------------------------------------------


class Killer(threading.Thread):
    """Kills the server every few seconds, or stops it, even during other faults, and starts it again. Also at the
    end, if the server stores nothing until a restart."""

    def __init__(self, world: World, server: Server) -> None:
        super().__init__(name="killer", daemon=True)
        self._world = world
        self._server = server
        self._chance = world.chance("killer")
        self._told = 0  # clients' reports of a failed disk, up to the start of the server
        self.hurry = threading.Event()  # kill now, or check whether the run is over

    def run(self) -> None:
        try:
            while True:
                at_once = self.hurry.wait(self._chance.uniform(2, 10))
                self.hurry.clear()
                if self._world.over.is_set() and not self._disk_failed():
                    return
                if self._server.ended:
                    return  # leave it, so that the end notices it
                in_order = self._chance.random() < 0.2 and not at_once
                with self._world.fault("SIGTERM, and started again" if in_order else "kills"):
                    if in_order:
                        self._stop_in_order()
                    else:
                        self._server.kill()
                    time.sleep(self._chance.choice([0, 0, 0.2, 1]))
                    self._start()
        except Odd as odd:
            self._world.odd.append(str(odd))
        except Exception:
            self._world.odd.append(f"the kills broke: {traceback.format_exc()}")

    def _disk_failed(self) -> bool:
        time.sleep(RECOVERY)  # so that all clients hear of it
        return self._world.counted(DISK_FAILED) > self._told

    def _stop_in_order(self) -> None:
        code = self._server.stop()
        if code != 0:
            self._world.odd.append(f"on SIGTERM the server exited with {code}")

    def _start(self) -> None:
        deadline = now() + 60
        while not self._server.start():
            self._world.count("starts refused for want of room")
            if now() > deadline:
                raise Odd("the server does not start any more")
            time.sleep(0.5)
        self._told = self._world.counted(DISK_FAILED)


class Meddling(threading.Thread):
    """Causes faults, one after the other, equally often. These are for any number of servers."""

    def __init__(self, world: World, clients: list[Client]) -> None:
        super().__init__(name="meddler", daemon=True)
        self._world = world
        self._clients = clients
        self._chance = world.chance("meddler")
        self.skipped: dict[str, str] = {}
        self._faults: list[Callable[[], None]] = [self._break_clients, self._slow_client]

    def run(self) -> None:
        try:
            while True:
                for fault in self._chance.sample(self._faults, len(self._faults)):
                    if self._world.over.wait(self._chance.uniform(1, 5)):
                        return
                    fault()
        except Exception:
            self._world.odd.append(f"the faults broke: {traceback.format_exc()}")

    def _hold(self, least: float, most: float) -> None:
        self._world.over.wait(self._chance.uniform(least, most))

    def _break_clients(self) -> None:
        for client in self._chance.sample(self._clients, self._chance.randint(1, len(self._clients))):
            how = self._chance.choice(["reset", "close", "vanish"])
            self._world.count("clients broke off")
            client.orders.put(how)

    def _slow_client(self) -> None:
        for client in self._chance.sample(self._clients, min(3, len(self._clients))):
            client.orders.put("be slow")


class Meddler(Meddling):
    """All other faults of a single server, and of its disk."""

    def __init__(
        self,
        world: World,
        server: Server,
        disk: Disk,
        calls: Calls,
        clients: list[Client],
        killer: Killer,
        certificate: Certificate | None,
    ) -> None:
        super().__init__(world, clients)
        self._server = server
        self._killer = killer
        self._disk = disk
        self._calls = calls
        self._certificate = certificate
        self._faults += [self._pause, self._lock]
        if disk.mounted:
            self._faults += [self._fill_disk, self._grow_log_and_fill_disk]
        else:
            self.skipped |= dict.fromkeys(
                ["disk full", "log grown, then disk full"], "skipped: mounting is not allowed"
            )
        if WHY_NOT:
            self.skipped["hostile WebSockets"] = f"skipped: {WHY_NOT}"
        else:
            self._faults.append(self._attack)
        if certificate:
            self._faults += [self._attack_by_tls, self._load_certificate]
        else:
            why = f"skipped: {WHY_NO_TLS or 'nobody speaks TLS'}"
            self.skipped |= dict.fromkeys(["hostile TLS clients", "certificate loaded again"], why)
        if calls.missing:
            self.skipped["calls on the files failed"] = calls.missing
        else:
            self._faults.append(self._fail_calls)
        try:
            import resource

            self._resource = resource
            resource.prlimit(os.getpid(), resource.RLIMIT_FSIZE)
            self._faults.append(self._limit_files)
        except (ImportError, AttributeError, OSError):
            self.skipped["files may not grow"] = "skipped: there is no prlimit here"

    def _attack(self) -> None:
        """What hostile clients do must not disturb the others, so C7 applies."""
        for _ in range(self._chance.randint(*HOSTILE)):
            try:
                attack(self._server.port, self._chance, self._world.count)
            except Odd as odd:
                self._world.odd.append(f"a hostile WebSocket: {odd}")
            self._world.count("hostile WebSockets")

    def _attack_by_tls(self) -> None:
        assert self._certificate
        for _ in range(self._chance.randint(*HOSTILE)):
            try:
                attack_by_tls(self._server.port, self._certificate, self._chance, self._world)
            except Odd as odd:
                self._world.odd.append(f"a hostile TLS client: {odd}")
            self._world.count("hostile TLS clients")

    def _load_certificate(self) -> None:
        """SIGHUP: nobody must notice. A server that is just starting would end."""
        process = self._server.process
        if self._server.catches_signals:
            process.send_signal(signal.SIGHUP)  # no effect if it was killed in the meantime
            self._world.count("certificate loaded again")

    def _pause(self) -> None:
        process = self._server.process
        with self._world.fault("SIGSTOP, then SIGCONT"):
            process.send_signal(signal.SIGSTOP)
            self._hold(0.5, 6)
            process.send_signal(signal.SIGCONT)  # no effect if it was killed in the meantime

    def _lock(self) -> None:
        """Lock the history for 1 to 4 seconds, for which the server waits, or for longer than it waits."""
        with contextlib.closing(sqlite3.connect(self._server.db, timeout=PATIENCE, isolation_level=None)) as other:
            with self._world.fault("history locked by another"):
                try:
                    other.execute("BEGIN IMMEDIATE")
                except sqlite3.Error:
                    return  # for example, the disk is full
                self._hold(*self._chance.choice([(1, 4), (7, 11)]))
                other.execute("ROLLBACK")

    def _fill_disk(self) -> None:
        with self._world.fault("disk full"):
            self._fill_until_refused()

    def _fill_until_refused(self) -> None:
        self._disk.fill()
        try:
            self._hold_until_refused()
        finally:
            self._disk.free()

    def _grow_log_and_fill_disk(self) -> None:
        """A long read keeps SQLite from starting its log again. With more than 4,062 pages in it, the index of the log
        needs another block of ``-shm``, and there may be no room for that."""
        with contextlib.closing(sqlite3.connect(self._server.db, timeout=PATIENCE, isolation_level=None)) as other:
            try:
                other.execute("BEGIN")
                other.execute("SELECT count(*) FROM rooms").fetchone()
            except sqlite3.Error:
                return
            self._hold(2, 10)
            with self._world.fault("log grown, then disk full"):
                self._fill_until_refused()
        # The connection closes here, and with it the last read of the older pages.

    def _fail_calls(self) -> None:
        """Make one call on the history's files fail, or several in a row, somewhere in a commit or a checkpoint. Half
        of the time, kill the server right after it has refused a text."""
        for _ in range(FAILURES):
            process, refused = self._server.process, self._refused()
            kill = self._chance.random() < 0.5
            with self._world.fault("calls on the files failed"):
                how = self._chance.choice([EARLY, LATE, COMMITS])
                self._calls.fail(
                    self._chance.randint(1, 5 if how == COMMITS else CALLS),
                    self._chance.choice([0, 1, 3, 1000]),
                    self._chance.choice([errno.EIO, errno.ENOSPC]),
                    how,
                )
                deadline = now() + 4
                while self._calls.left and now() < deadline and not self._world.over.wait(0.02):
                    if kill and self._refused() > refused:
                        self._killer.hurry.set()
                        break
                while kill and self._killer.hurry.is_set() and process.poll() is None and now() < deadline:
                    time.sleep(0.01)
                self._calls.fail(0)
            if self._world.over.wait(self._chance.uniform(0, 1)):
                return

    def _limit_files(self) -> None:
        """Like a quota: no file of the server may grow beyond its first page."""
        process = self._server.process
        kind = self._resource.RLIMIT_FSIZE
        with self._world.fault("files may not grow"), contextlib.suppress(ProcessLookupError):
            _, hard = self._resource.prlimit(process.pid, kind)
            self._resource.prlimit(process.pid, kind, (4096, hard))
            try:
                self._hold_until_refused()
            finally:
                self._resource.prlimit(process.pid, kind, (hard, hard))

    def _hold_until_refused(self) -> None:
        """Wait until a text was refused as not stored, at most 8 seconds; then a little longer."""
        refused = self._refused()
        deadline = now() + 8
        while self._refused() == refused and now() < deadline and not self._world.over.wait(0.1):
            pass
        self._hold(0, 2)

    def _refused(self) -> int:
        return sum(count for what, count in self._world.counts().items() if what.startswith("refused: Not stored"))
