"""lab.py play: the student chooses which thread runs next, and the check says what it thinks of that order."""

from __future__ import annotations

import contextlib
import pathlib
import sys
from typing import Any

import click
from lab_folders import fail
from lab_replay import accepted, chosen_check, command, line_of, title_of, without
from lab_report import story
from lab_running import Limits, Outcome, run_checks
from lab_screen import Screen, fold, help_of, is_a_terminal, layout, step_through
from lab_story import Story, one_line, plain_step, story_of

PROMPT = "a number: this thread  Enter: 1  p back  q end  ? help"
HELP = """\
1, 2, ...           this thread goes on, until the next point at which
                    another one could be next
Enter, n, space     the first one, which would go on anyway
p, left             take the last choice back
q                   end
?                   this help

A thread without a number waits: it cannot be next. At the end you see the
check's answer, and a line with which the same run can be seen again."""


class Ended(Exception):
    """The student has had enough."""


class Play:
    """Asks for each choice: ``choose`` is what the stepper calls."""

    def __init__(self, folder: pathlib.Path, free: bool) -> None:
        self._folder = folder
        self._check = ""
        self._title = ""
        self.screen: Screen | None = None
        self.chosen: list[str] = []
        self._mode = "free" if free else "gil"
        self._told = 0  # lines of the story that were printed

    def command(self) -> str:
        """What to type to see the run again, up to here."""
        number, at, _ = title_of(self._folder, self._check)
        return command(number, at, f"{self._mode} {', '.join(self.chosen)}".strip())

    def choose(self, moment: dict[str, Any]) -> str:
        """The name of the thread that is next, or "-": one choice back."""
        if moment["check"] != self._check:
            self._check = moment["check"]
            self._title = f"{title_of(self._folder, self._check)[2]}."
            if not self.screen:
                click.echo(self._title)
        self.chosen = list(moment["chosen"])
        steps = [[each["thread"], each["kind"], each["line"], each["text"]] for each in moment["steps"]]
        now = story_of({"threads": moment["threads"], "steps": steps, "values": moment["values"]})
        can, cannot = nexts(now, moment)
        answer = self._by_key(now, can, cannot) if self.screen else self._by_line(now, can, cannot)
        if answer < 0:
            return "-"
        self.chosen.append(moment["names"][answer])
        return self.chosen[-1]

    def _by_key(self, now: Story, can: list[str], cannot: list[str]) -> int:
        assert self.screen
        help_shown, typed = False, ""
        while True:
            width, height = self.screen.size()
            lines = help_of(HELP, width, height)
            self.screen.show(lines if help_shown else draw(now, can, cannot, self._title, width, height, typed))
            key = self.screen.key()
            if help_shown and key:
                help_shown = False
            elif key == "q":
                raise Ended
            elif key == "?":
                help_shown = True
            elif key == "p" and typed:
                typed = ""
            elif key == "p" and self.chosen:
                return -1
            elif key == "n" and not typed:
                return 0
            elif key.isdecimal() or (key == "n" and typed):
                typed += key if key.isdecimal() else ""
                whole = key == "n" or len(can) < 10 * int(typed)  # no longer number is possible
                if 0 < int(typed) <= len(can) and whole:
                    return int(typed) - 1
                typed = "" if whole else typed

    def tell(self, now: Story) -> None:
        """Print what was not printed yet."""
        lines = [line for step in now.steps for line in plain_step(now, step)]
        for line in lines[self._told :]:
            click.echo(line)
        self._told = len(lines)

    def _by_line(self, now: Story, can: list[str], cannot: list[str]) -> int:
        """In a pipe, and for a screen reader: only what is new, then the choice."""
        self.tell(now)
        for label, value in (now.steps[-1].values if now.steps else now.first).items():
            click.echo(f"{label} = {value}")
        for line in (*can, *cannot):
            click.echo(line)
        while True:
            click.echo("Who is next? ", nl=False)
            line = sys.stdin.readline()
            click.echo()
            typed = line.strip()
            if typed == "q":
                raise Ended
            if typed == "p" and self.chosen:
                return -1
            if not typed:
                return 0  # also at the end of the lines
            if typed.isdecimal() and 0 < int(typed) <= len(can):
                return int(typed) - 1
            names = [each.partition(": ")[0].partition(" ")[2] for each in can]
            if typed in names:
                return names.index(typed)
            click.echo(f"Type a number from 1 to {len(can)}, p for one choice back, or q to end.")


def nexts(now: Story, moment: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What each thread would do next: those that can be next, with numbers, and those that cannot."""
    last = {step.thread: step for step in now.steps if step.line}
    where = now.steps[-1].where if now.steps else ["has not begun"] * len(now.threads)
    can = []
    for number, name in enumerate(moment["names"], 1):
        thread = moment["threads"].index(name)
        place = where[thread] if number > 1 or not moment["why"] else f"{where[thread]}, {one_line(moment['why'])}"
        can.append(f"{number} {now.threads[thread]}: {_next(place, last.get(thread), name in moment['early'])}")
    rest = [index for index, name in enumerate(moment["threads"]) if name not in moment["names"]]
    return can, [f"- {now.threads[index]}: {where[index]}" for index in rest]


def _next(place: str, step: Any, early: bool) -> str:
    if early:
        return f"its timeout ends, as if the others were slow ({place})"
    if step is None:
        return "begins"
    after = place.partition("stopped ")[2]
    if "waits " in place:
        after = "and waits no longer"
    return f"goes on in line {step.line}{', ' * bool(after)}{after}: {step.text}"


def draw(
    now: Story, can: list[str], cannot: list[str], title: str, width: int, height: int, typed: str = ""
) -> list[str]:
    """The screen before a choice."""
    head = [*fold(title, width), ""]
    below = [""]
    step = now.steps[-1] if now.steps else None
    for label, value in (step.values if step else now.first).items():
        below += fold(f"{'*' if step and label in step.changed else ' '} {label} = {value}", width, "    ")
    below += ["", "Who is next?"]
    for line in (*can, *cannot):
        below += fold(line, width, "    ")
    return layout(now, len(now.steps) - 1, head, below, fold(f"{PROMPT} {typed}".rstrip(), width), width, height)


def play(folder: pathlib.Path, source: bytes, which: str, schedule: str, free: bool) -> None:
    """Let somebody choose the order of the threads of a check, from the end of ``schedule``, which may be ""."""
    name = chosen_check(folder, which) if which else ""
    line = line_of(schedule)
    game = Play(folder, line.startswith("free") if line else free)
    wanted = {"check": name, "schedule": line, "play": True, "free": free}
    on_screen = is_a_terminal()
    try:
        with Screen() if on_screen else contextlib.nullcontext() as screen:
            game.screen = screen
            if screen:
                screen.show(["The checks begin ..."])
            outcome = run_checks(folder, source, Limits(lenient=True), wanted=wanted, choose=game.choose)
    except Ended:
        click.echo(f"You have ended the run. Up to here:\n{game.command()}")
        return
    accepted(outcome)
    if outcome.misfit and not outcome.run:
        fail(without(outcome, int(folder.name[:2]), name, line))
    if not outcome.run or not outcome.run["steps"]:
        click.echo("No threads take turns there, so there is nothing to choose.")
        return
    _finish(folder, outcome, on_screen, game)


def _finish(folder: pathlib.Path, outcome: Outcome, on_screen: bool, game: Play) -> None:
    """The end of the run, and what the check says."""
    assert outcome.run
    told = story_of(outcome.run)
    number, at, title = title_of(folder, told.check)
    if on_screen:
        step_through(told, f"{title}. {told.scene}".rstrip(". ") + ".", len(told.steps) - 1)
    else:
        game.tell(told)
        click.echo()
    failed = [each for each in outcome.checks if each.name == told.check and not each.passed]
    said = told.fault or (one_line(story(failed[0].text)) if failed else "The check finds nothing wrong in this order.")
    click.echo(f"{title}.\n{said}\n\n{command(number, at, told.schedule)}")
