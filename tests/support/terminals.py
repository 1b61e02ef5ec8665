"""The terminal client: with plain lines in and out, and in a terminal of tmux."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
import textwrap
import unicodedata
from typing import Any

from chat_threads.dialects.columns import columns

from .waiting import WAIT, wait_for

RUN = "from chat_threads.client.terminal import main; main(prog_name='chat-threads-client')"
ENV = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
for each in ("COLUMNS", "LINES"):  # not the size of the terminals here
    ENV.pop(each, None)


def run(
    port: int,
    *options: str,
    typed: str | bytes = "",
    before: str = "",
    timeout: float = WAIT,
    env: dict[str, str] | None = None,
    encoding: str = "utf-8",
    host: str = "127.0.0.1",
) -> subprocess.CompletedProcess[str]:
    """Pipe lines through the client. ``before`` is Python code to run first."""
    start = ["-c", f"{before}; {RUN}"] if before else ["-m", "chat_threads.client"]
    done = subprocess.run(
        [sys.executable, *start, f"{host}:{port}", *options],
        input=typed if isinstance(typed, bytes) else typed.encode(),
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**ENV, **(env or {})},
    )
    shown = (done.stdout.decode(encoding), done.stderr.decode(encoding))
    return subprocess.CompletedProcess(done.args, done.returncode, *shown)


_numbers = itertools.count()

CURSOR = "▮"  # stands before the character that the cursor is on
CHANGING = (  # with what stands in its place
    (r"\[\d\d:\d\d\]", "[12:34]"),
    (r"It is \w+, \d+ \w+ \d{4}", "It is Monday, 1 January 2024"),
    (r"( \d|\d\d)s\b", " 0s"),
)


class Tmux:
    """A program in a terminal of tmux: keys in, the screen out."""

    def __init__(self, tmux: str, record: Any, *command: str, columns: int = 100, rows: int = 30) -> None:
        self._tmux = [tmux, "-f", "/dev/null", "-L", f"chat-{os.getpid()}-{next(_numbers)}"]
        self._record = record
        # The shell waits for a key first, so that nothing that the program writes is missed.
        script = f"trap : INT; read go; {shlex.join(command)}; echo ended with $?; read end"
        self._call("new-session", "-d", "-x", str(columns), "-y", str(rows), "sh", "-c", script)
        self._call("pipe-pane", f"cat > {shlex.quote(str(record))}")
        self.keys("Enter")

    def _call(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments],
            capture_output=True,
            check=True,
            timeout=WAIT,
            env={**ENV, "TERM": "xterm-256color"},
        )
        return done.stdout.decode()

    def keys(self, *keys: str) -> None:
        """Keys by their names: "Enter", "Up", "C-c"."""
        self._call("send-keys", *keys)

    def type(self, text: str) -> None:
        self._call("send-keys", "-l", text)

    def enter(self, line: str) -> None:
        self.type(line)
        self.keys("Enter")

    def paste(self, text: str) -> None:
        """Paste, between the marks of bracketed paste if the program has asked for them."""
        self._call("set-buffer", text)
        self._call("paste-buffer", "-p")

    def resize(self, columns: int, rows: int) -> None:
        self._call("resize-window", "-x", str(columns), "-y", str(rows))

    def rows(self) -> list[str]:
        """All rows of the screen, blank ones too."""
        return [line.rstrip() for line in self._call("capture-pane", "-p").split("\n")[:-1]]

    def ask(self, question: str) -> list[str]:
        """What tmux knows of the terminal: the words of "#{pane_width} #{wrap_flag}"."""
        return self._call("display-message", "-p", question).split()

    def cursor(self) -> tuple[int, int]:
        """The cursor's row and column, counted from 1."""
        row, column = self.ask("#{cursor_y} #{cursor_x}")
        return int(row) + 1, int(column) + 1

    def lines(self, *options: str) -> list[str]:
        """The lines of the screen that are not blank."""
        shown = self._call("capture-pane", "-p", *options)
        return [line.rstrip() for line in shown.splitlines() if line.strip()]

    def scrollback(self, *options: str) -> list[str]:
        """All lines of the screen and its scrollback. -J: those that wrap are whole."""
        return self.lines("-S", "-", "-E", "-", *options)

    def expect(self, *patterns: str) -> None:
        """Wait until the screen has lines that match these, in this order."""

        def there() -> bool:
            rest = iter(self.lines())
            return all(any(re.search(pattern, line) for line in rest) for pattern in patterns)

        try:
            wait_for(there, wait=2 * WAIT)  # a tmux, an interpreter and a program have to start first
        except AssertionError:
            raise AssertionError(f"{patterns} did not come; the screen shows\n" + "\n".join(self.lines())) from None

    def bottom(self, count: int) -> list[str]:
        """The last rows that are not blank, with CURSOR, and without what changes from day to day."""
        rows = self.rows()
        row, column = self.cursor()
        line, at = rows[row - 1], 0
        while at < len(line) and columns(line[: at + 1]) < column:
            at += 1
        blank = " " * (column - 1 - columns(line)) if at == len(line) else ""
        rows[row - 1] = line[:at] + blank + CURSOR + line[at:]
        for pattern, usual in CHANGING:
            rows = [re.sub(pattern, usual, each) for each in rows if each]
        return [unicodedata.normalize("NFC", each) for each in rows[-count:]]

    def shows(self, screen: str) -> None:
        """Wait until the screen ends with these rows (see ``bottom``)."""
        expected = textwrap.dedent(screen).strip("\n").split("\n")
        try:
            wait_for(lambda: self.bottom(len(expected)) == expected)
        except AssertionError:
            raise AssertionError("the screen ends with\n" + "\n".join(self.bottom(len(expected)))) from None

    def written(self) -> bytes:
        """Every byte that the program has written."""
        return self._record.read_bytes()

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False, timeout=WAIT)
