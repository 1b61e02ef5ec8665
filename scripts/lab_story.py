"""The story of one run, step by step: what each thread does, where it is, and what the shared values are then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lab_report import TURNS, printable

TAKES, RELEASES = "takes ", "releases "
STAYS = ("waits ", "spins ", "ends", "dies ")  # how a note begins that says where its thread is from then on


@dataclass
class Step:
    """A line of code that a thread has run, and all that is known then. Texts are safe for a terminal."""

    number: int  # from 1
    thread: int
    line: int  # 0: nothing of the code; the thread has only ended, or waited
    text: str
    goes_on: bool  # it has lost the turn within this line, and goes on
    notes: list[str] = field(default_factory=list)  # what it did and changed, as stories show it
    changed: list[str] = field(default_factory=list)  # labels of the shared values that it changed
    values: dict[str, str] = field(default_factory=dict)  # the shared values after it, by their labels
    stopped: str = ""  # where it could have gone on, but lost the turn
    where: list[str] = field(default_factory=list)  # for each thread, after this step
    holds: list[list[str]] = field(default_factory=list)  # for each thread: its locks, after this step

    def code(self) -> str:
        """The line with its number, as stories show it."""
        return f"{self.line} {'… ' if self.goes_on else ''}{self.text}" if self.line else ""


@dataclass
class Story:
    """A run."""

    check: str  # the name of its function
    scene: str  # what the check does; "" if it is not known
    threads: list[str]
    steps: list[Step]
    fault: str  # "": none
    schedule: str
    free: bool
    first: dict[str, str]  # the shared values at the beginning

    def python(self) -> str:
        return f"a Python {'without' if self.free else 'with'} the interpreter lock"

    def stop(self, step: Step) -> str:
        """How its thread loses the turn, in words."""
        after = self.steps[step.number].thread if step.number < len(self.steps) else step.thread
        turn = "" if after == step.thread else f"; {self.threads[after]} has the turn now"
        return f"── {self.threads[step.thread]} is {step.stopped}{turn}"

    def told(self, step: Step) -> list[str]:
        """What happened in it, a line each."""
        return [*step.notes, *([self.stop(step)] if step.stopped else [])]


def one_line(text: Any) -> str:
    return " ".join(printable(str(text)).split())


def story_of(run: dict[str, Any]) -> Story:
    """What ``lab_told`` has passed on."""
    text = printable(run.get("text", ""))
    scene, told, _ = text.partition(TURNS)
    threads = [one_line(name) for name in run["threads"]]
    first = {one_line(label): one_line(value) for label, value in run["values"].items()}
    return Story(
        check=run.get("check", ""),
        scene=one_line(scene) if told else "",
        threads=threads,
        steps=list(_steps(threads, run["steps"], dict(first))),
        fault=printable(run.get("fault") or "").strip(),
        schedule=one_line(run.get("schedule", "")),
        free=bool(run.get("free")),
        first=first,
    )


def _steps(threads: list[str], rows: list[Any], values: dict[str, str]) -> Iterator[Step]:
    where = ["has not begun"] * len(threads)
    holds: list[list[str]] = [[] for _ in threads]
    lines = [""] * len(threads)  # where each thread is in the code
    step: Step | None = None
    number = 0
    for thread, kind, line, text in rows:
        text = one_line(text)
        if step is None or line or step.thread != thread:
            if step:
                yield step
            number += 1
            step = Step(number, thread, line, text if line else "", kind == "goes on")
            if line:
                lines[thread] = f"line {line}"
                where[thread] = lines[thread]
        if kind == "value":
            label, _, value = text.partition(" = ")
            values[label] = value
            step.notes.append(text)
            step.changed = [*(each for each in step.changed if each != label), label]
        elif kind == "stopped":
            step.stopped = text
            where[thread] = ", ".join(filter(None, (lines[thread], text)))
        elif kind == "note":
            step.notes.append(f"({text})")
            _note(text, thread, where, holds, lines)
        step.values, step.where, step.holds = dict(values), list(where), [list(each) for each in holds]
    if step:
        yield step


def _note(text: str, thread: int, where: list[str], holds: list[list[str]], lines: list[str]) -> None:
    """What a note says about where the threads are, and which locks they have."""
    if text.startswith(TAKES):
        holds[thread].append(text.removeprefix(TAKES))
    elif text.startswith(RELEASES):
        name = text.removeprefix(RELEASES)
        if owner := next((each for each in (holds[thread], *holds) if name in each), None):
            owner.remove(name)
    if text == "ends":
        where[thread] = "has ended"
    elif text.startswith(STAYS):
        where[thread] = ", ".join(filter(None, (lines[thread], text)))
    elif re.match(r"takes |continues|its timeout", text):
        where[thread] = lines[thread] or where[thread]


def plain(story: Story) -> Iterator[str]:
    """The story for a pipe or a screen reader: each step with all that changes in it."""
    for label, value in story.first.items():
        yield f"At the beginning: {label} = {value}"
    for step in story.steps:
        yield from plain_step(story, step, f" of {len(story.steps)}")


def plain_step(story: Story, step: Step, of: str = "") -> Iterator[str]:
    """A step with all that changes in it. ``of`` follows its number."""
    code = f"line {step.line}: {step.text}" if step.line else "no line of its own"
    on = " (goes on within the line)" if step.goes_on else ""
    yield f"Step {step.number}{of}: {story.threads[step.thread]}, {code}{on}"
    yield from (f"    {each}" for each in story.told(step))
