"""A story on a terminal: the current step, where each thread is, and the shared values; and the keys that move."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import sys
from collections.abc import Callable

from lab_story import Step, Story

from chat_threads.dialects.columns import columns

try:
    import termios
    import tty
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

HELP = """\
n, space, right   one step forward
p, left           one step back
g, a number       to that step, with Enter
Home, End         to the first step, to the last one
q                 end
?                 this help

> marks the step that was just run. Below it stands what it did. ── says
that a thread could have gone on, but lost the turn. Then the screen shows
where each thread is, and the shared values; * marks what just changed."""
PROMPT = "n next  p back  g go to  q end  ? help"
KEYS = {"\x1b[C": "n", "\x1bOC": "n", " ": "n", "\r": "n", "\n": "n", "\x1b[D": "p", "\x1bOD": "p", "\x7f": "p"}
KEYS |= {"\b": "p", "\x1b[H": "first", "\x1bOH": "first", "\x1b[1~": "first", "\x1b[F": "last", "\x1bOF": "last"}
KEYS |= {"\x1b[4~": "last", "\x04": "q"}
ONE_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|[^\x1b]|\x1b(?!\[|O)")


def fold(text: str, width: int, indent: str = "") -> list[str]:
    """The text in lines of so many columns; all but the first begin with the indent. Long words are broken."""
    lines, line = [], ""
    for word in re.findall(r" *[^ ]+| +", text):
        if columns(line + word) > width and line.strip():
            lines.append(line)
            line, word = indent, word.lstrip()
        for character in word:
            if columns(line + character) > width:
                lines.append(line)
                line = indent
            line += character
    return [*lines, line]


def rows_of(story: Story, step: Step, width: int, current: bool) -> list[str]:
    """A step in the list of what has happened."""
    name = story.threads[step.thread]
    digits = len(str(len(story.steps)))
    head = f"{'>' if current else ' '} {step.number:>{digits}} {name}  "
    indent = " " * (digits + 5)
    rows = fold(head + (step.code() or "(no line of its own)"), width, indent)
    for each in story.told(step):
        rows += fold(indent + each, width, indent + "  ")
    return rows


def draw(story: Story, at: int, title: str, width: int, height: int, prompt: str = PROMPT) -> list[str]:
    """The screen at a step: index ``at`` of ``story.steps``."""
    step = story.steps[at]
    head = [*fold(title, width), *fold(f"Step {step.number} of {len(story.steps)}, on {story.python()}", width), ""]
    below = [""]
    for number, name in enumerate(story.threads):
        has = f" (holds {', '.join(step.holds[number])})" if step.holds[number] else ""
        where = step.where[number] if number < len(step.where) else "has not begun"
        mark = ">" if number == step.thread else " "
        below += fold(f"{mark} {name}: {where}{has}", width, "    ")
    for label, value in step.values.items():
        below += fold(f"{'*' if label in step.changed else ' '} {label} = {value}", width, "    ")
    if step.number == len(story.steps):
        below += ["", *fold(story.fault or "Nothing goes wrong in this run.", width)]
    return layout(story, at, head, below, fold(prompt, width), width, height)


def layout(
    story: Story, at: int, head: list[str], below: list[str], last: list[str], width: int, height: int
) -> list[str]:
    """A screen: the head, as many steps up to ``at`` as fit (-1: none), what stands below, and the last lines."""
    room = max(1, height - len(head) - len(below) - len(last) - 1)
    shown = rows_of(story, story.steps[at], width, True) if at >= 0 else []
    if len(shown) > room:
        shown[room - 1 :] = ["  …"]
    for earlier in reversed(story.steps[: max(0, at)]):
        more = rows_of(story, earlier, width, False)
        if len(more) + len(shown) > room:
            break
        shown = more + shown
    middle = [*head, *shown, *below]
    space = height - len(last) - 1
    if len(middle) > space:
        middle = [*middle[: max(0, space - 1)], "… (a larger window shows more)"[:width]]
    return [*middle, *[""] * (space - len(middle)), "", *last]


def is_a_terminal() -> bool:
    """Whether keys can be read one by one, and the screen be drawn."""
    return bool(termios) and sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def help_of(text: str, width: int, height: int) -> list[str]:
    """The help, which any key ends."""
    rows = [row for line in text.split("\n") for row in (fold(line, width) if line else [""])]
    return [*rows[: height - 2], "", "any key: back to the story"[:width]]


class Screen:
    """The terminal, while it shows one screen after the other. Use it in a with statement."""

    def __enter__(self) -> Screen:
        self._input = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._input)
        self._waking, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._signals = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._handlers = {each: signal.signal(each, self._again) for each in (signal.SIGWINCH, signal.SIGCONT)}
        self._typed = ""
        self._write("\x1b[?1049h")
        tty.setcbreak(self._input)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._signals)
        os.close(self._waking)
        os.close(self._wake)
        self._write("\x1b[?1049l")
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _again(self, number: int, frame: object) -> None:
        if number == signal.SIGCONT:  # the shell has had the terminal
            tty.setcbreak(self._input)
            self._write("\x1b[?1049h")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def show(self, lines: list[str]) -> None:
        self._write("\x1b[H\x1b[2J" + "\r\n".join(lines))

    def size(self) -> tuple[int, int]:
        """Columns and rows that may be used. The last column stays free: some terminals wrap there."""
        columns, rows = shutil.get_terminal_size()
        return max(20, columns - 1), max(8, rows)

    def key(self) -> str:
        """The next key: its character or its name in KEYS; "" if the size has changed."""
        while True:
            if found := ONE_KEY.match(self._typed):
                self._typed = self._typed[found.end() :]
                return KEYS.get(found[0], found[0])
            ready, _, _ = select.select([self._input, self._waking], [], [])
            if self._waking in ready:
                os.read(self._waking, 4096)
                return ""
            data = os.read(self._input, 1024)
            if not data:
                return "q"
            self._typed += data.decode("utf-8", "replace")

    def number(self, draw: Callable[[str], None], prompt: str) -> int | None:
        """A number that is typed, ended by Enter; None after another key."""
        typed = ""
        while True:
            draw(prompt + typed)
            key = self.key()
            if key == "":
                continue
            if key == "n":
                return int(typed) if typed else None
            if key == "p":
                typed = typed[:-1]
            elif key in "0123456789" and len(typed) < 5:
                typed += key
            else:
                return None


def step_through(story: Story, title: str, at: int = 0) -> None:
    """Let somebody step through the story with keys, beginning with the step with the index ``at``."""
    help_shown = False
    with Screen() as screen:

        def show(prompt: str = PROMPT) -> None:
            screen.show(draw(story, at, title, *screen.size(), prompt))

        while True:
            width, height = screen.size()
            if help_shown:
                screen.show(help_of(HELP, width, height))
            else:
                show()
            key = screen.key()
            if not key:
                continue
            if help_shown:
                help_shown = False
            elif key == "q":
                return
            elif key == "g":
                if number := screen.number(show, f"To which step, 1 to {len(story.steps)}? "):
                    at = min(max(1, number), len(story.steps)) - 1
            else:
                help_shown = key == "?"
                last = len(story.steps) - 1
                at = {"n": min(at + 1, last), "p": max(at - 1, 0), "first": 0, "last": last}.get(key, at)
