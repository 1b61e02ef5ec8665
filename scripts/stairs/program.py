"""The program under test: a command that starts it, its process, and its end."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading

LATELY = 8  # lines that the program wrote last, which a story shows
DYING = 0.5  # seconds that it may need to write its traceback and end
FIRST_WITH_A_FILE = 8  # the step from which on the program is told where to keep what was said


def free_port() -> int:
    """A port that nobody uses. It is not one of those that the system gives to connections, so that it stays free."""
    while True:
        port = random.randint(15_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def command_line(command: str, port: int, file: pathlib.Path, step: int = 10) -> list[str]:
    """The command with the port and the file, where it has ``{port}`` and ``{db}``, or at its end as options."""
    if "{port}" not in command:
        command += " --port {port}"
    if step >= FIRST_WITH_A_FILE and "{db}" not in command:
        command += " --db {db}"
    words = shlex.split(command)
    if words[:1] == ["python"]:
        words[0] = sys.executable
    words = [os.path.expanduser(word) for word in words]  # the shell leaves ~ alone inside quotes
    return [word.replace("{port}", str(port)).replace("{db}", str(file)) for word in words]


class Program:
    """A process that can be started again and again, always on the same port and with the same file."""

    def __init__(self, command: str, directory: pathlib.Path, step: int) -> None:
        self.port = free_port()
        self.file = directory / "chat.db"
        self.wrote: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._words = command_line(command, self.port, self.file, step)
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Raises OSError if there is no such command, or no such file for Python."""
        if (
            pathlib.Path(self._words[0]).name.startswith("python")
            and self._words[1:2]
            and self._words[1].endswith(".py")
        ):
            with open(self._words[1], "rb"):
                pass
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            self._words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), name="output", daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                self.wrote.append(line.rstrip("\n"))

    def last_words(self) -> list[str]:
        """What it wrote lately. If it is about to end, that is what it wrote of its end."""
        if self.process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(DYING)
                assert self._reader
                self._reader.join(DYING)
        return self.wrote[-LATELY:]

    @property
    def ended(self) -> int | None:
        """The exit code, if it has ended."""
        return self.process.poll() if self.process else None

    def send_signal(self, number: int) -> None:
        """Send a signal to the process and to those that it has started, as Ctrl-C does."""
        assert self.process
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def kill(self) -> None:
        """kill -9"""
        if self.process:
            self.send_signal(signal.SIGKILL)
            self.process.wait()

    def usage(self) -> tuple[int, int] | None:
        """How many threads and descriptors it has; None where the system does not say."""
        assert self.process
        proc = pathlib.Path(f"/proc/{self.process.pid}")
        try:
            return len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))
        except OSError:
            return None

    def memory(self) -> int | None:
        """How much memory it uses, in MB; None where the system does not say."""
        assert self.process
        try:
            pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE") >> 20
        except (OSError, ValueError, AttributeError):
            return None
