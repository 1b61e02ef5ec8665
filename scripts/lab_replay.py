"""lab.py replay: the run that a check found, forward and back."""

from __future__ import annotations

import pathlib
import re

import click
from lab_folders import fail
from lab_page import page_of
from lab_report import printable, sentence
from lab_running import Check, Limits, Outcome, checks_of, run_checks
from lab_screen import is_a_terminal, step_through
from lab_story import Story, plain, story_of


def chosen_check(folder: pathlib.Path, wanted: str) -> str:
    """The name of the check that is meant by its number or by its name, also as ``lab.py check`` prints it."""
    names = checks_of(folder)
    if wanted.isdecimal() and 0 < int(wanted) <= len(names):
        return names[int(wanted) - 1]
    name = "test_" + wanted.removeprefix("test_").strip().replace(" ", "_")
    if name not in names:
        listed = "\n".join(f"  {number}  {sentence(Check(each, True))}" for number, each in enumerate(names, 1))
        fail(f"there is no check {wanted!r}. There are:\n{listed}")
    return name


def quoted(text: str) -> str:
    """As an argument, for a shell of any system."""
    return f'"{text}"' if not re.search(r'["$`\\!%]', text) else "'" + text.replace("'", "'\"'\"'") + "'"


def command(number: int, at: int, schedule: str) -> str:
    """What to type to see a run again."""
    return f"lab.py replay {number} --check {at} --schedule {quoted(schedule)}"


def line_of(schedule: str) -> str:
    """A schedule as it was pasted: perhaps with the word before it, or broken by a terminal."""
    return " ".join(schedule.split()).removeprefix("Schedule:").strip()


def accepted(outcome: Outcome) -> Outcome:
    """The same outcome. Ends the program if the task could not be run at all."""
    if outcome.problem:
        fail(outcome.problem)
    if outcome.checks and not outcome.checks[0].name:
        fail(f"task.py cannot be loaded.\n{printable(outcome.checks[0].text)}")
    return outcome


def without(outcome: Outcome, number: int, check: str, schedule: str) -> str:
    """Why there is no run to show."""
    failed = [sentence(each) for each in outcome.checks if not each.passed]
    if outcome.misfit:
        which = outcome.misfit if check else "The schedule fits no check. Say which it is for, with --check."
        return f"{which} It belongs to another check, or task.py was changed since."
    if failed:
        where = f"lab.py check {number} says what is wrong."
        return f"The check fails without threads that take turns, so there is nothing to step through. {where}"
    if schedule:
        return "No thread takes turns with another one there, so there is nothing to step through."
    passes = "This check passes" if check else "All checks pass"
    return f"{passes}, so there is no run that went wrong. lab.py play {number} lets you choose an order yourself."


def title_of(folder: pathlib.Path, check: str) -> tuple[int, int, str]:
    """The lab's number, the check's, and both in words."""
    number, at = int(folder.name[:2]), checks_of(folder).index(check) + 1
    return number, at, f"Lab {number}, check {at}: {sentence(Check(check, True))}"


def ending(story: Story, number: int, at: int) -> str:
    return f"{story.fault or 'Nothing goes wrong in this run.'}\n\n{command(number, at, story.schedule)}"


def replay(folder: pathlib.Path, source: bytes, check: str, schedule: str, page: pathlib.Path | None) -> None:
    """Show the run of a check that went wrong, or that a schedule tells; or write it to a page."""
    number = int(folder.name[:2])
    name = chosen_check(folder, check) if check else ""
    wanted = {"check": name, "schedule": line_of(schedule), "play": False, "free": False}
    if is_a_terminal():
        click.echo("The checks run ...", err=True)
    outcome = accepted(run_checks(folder, source, Limits(lenient=True), wanted=wanted))
    if not outcome.run or not outcome.run["steps"]:
        why = without(outcome, number, name, schedule)
        if outcome.misfit and not outcome.run:
            fail(why)
        click.echo(why)
        return
    story = story_of(outcome.run)
    if page:
        write(folder, story, page)
    else:
        show(folder, story)


def write(folder: pathlib.Path, story: Story, page: pathlib.Path) -> None:
    """Write the page for a browser."""
    number, at, title = title_of(folder, story.check)
    try:
        page.write_text(page_of(story, title, command(number, at, story.schedule)), encoding="utf-8")
    except OSError as error:
        fail(f"{page} could not be written: {error.strerror}.")
    click.echo(f"{title}. Open {page} in a browser; it needs no network.")


def show(folder: pathlib.Path, story: Story) -> None:
    """On a terminal with keys; elsewhere line by line."""
    number, at, title = title_of(folder, story.check)
    if is_a_terminal():
        step_through(story, f"{title}. {story.scene}".rstrip(". ") + ".")
    else:
        click.echo(f"{title}.")
        if story.scene:
            click.echo(story.scene)
        click.echo(f"On {story.python()}.\n")
        for line in plain(story):
            click.echo(line)
        click.echo()
    click.echo(ending(story, number, at))
