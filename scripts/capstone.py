#!/usr/bin/env python3
"""The capstone of docs/capstone: check a step of your own server: capstone.py check 1 --run "python my_server.py"

It starts your program, talks to it over TCP, and says what it sent, what it got, and what it expected. The exit code is
0; 1 if a check fails; or 2, with a line that says why, if the command could not be carried out.
"""

from __future__ import annotations

import errno
import importlib
import pathlib
import re
import shlex
import signal
import sys
import textwrap
from collections.abc import Callable
from typing import NoReturn

import click
from stairs.talk import Failed, Stage

from chat_threads import streams

PAGES = pathlib.Path(__file__).resolve().parent.parent / "docs" / "capstone"
PATIENCE = 5.0  # seconds to wait for an answer

Check = Callable[[Stage], None]


def fail(why: str) -> NoReturn:
    click.echo(f"capstone: {why}", err=True)
    sys.exit(2)


def pages() -> dict[int, pathlib.Path]:
    """The page of each step."""
    return {int(path.name[:2]): path for path in sorted(PAGES.glob("[0-9][0-9]_*.rst"))}


def title(step: int) -> str:
    return pages()[step].read_text(encoding="utf-8").partition("\n")[0]


def checks(step: int) -> tuple[Check, ...]:
    found: tuple[Check, ...] = importlib.import_module(f"stairs.step{step:02}").CHECKS
    return found


def sentence(check: Check) -> str:
    return check.__name__.replace("_", " ")


def run(
    check: Check, step: int, command: str, patience: float, client_command: str = "", minutes: float = 1
) -> str | None:
    """Run one check on a program of its own. Return the story if it fails."""
    with Stage(command, step, patience, client_command, minutes) as stage:
        try:
            stage.program.start()
        except OSError as error:
            why = f"The program could not be started: {error.strerror}: {error.filename}."
            if error.errno in (errno.EACCES, errno.ENOEXEC):
                return f"{why} Write 'python FILE', or make the file executable (chmod +x)."
            return f"{why} Is --run a command, such as 'python server.py'?"
        try:
            check(stage)
        except Failed as failed:
            return stage.told(failed)
        except TimeoutError:
            return stage.told(Failed(f"The program sent nothing for {patience:g} s."))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            why = f"This came of its last answer: {type(error).__name__}: {error}."
            return stage.told(Failed(f"Expected: events with the fields of docs/capstone/protocol.rst.\n{why}"))
    return None


def steps_named(context: click.Context, parameter: click.Parameter, value: str | None) -> range:
    """``3``, or ``1-3`` for several; all if nothing is said."""
    if value is None:
        return range(1, max(pages()) + 1)
    if not (found := re.fullmatch(r"(\d+)(?:-(\d+))?", value)):
        fail(f"{value} is not a step, such as 3, or 1-3 for several.")
    wanted = range(int(found[1]), int(found[2] or found[1]) + 1)
    if not wanted or not set(wanted) <= set(pages()):
        fail(f"there is no step {value}; there are 1 to {max(pages())}.")
    return wanted


def command_given(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """A command, with as many quotes as it needs."""
    try:
        shlex.split(value)
    except ValueError as error:
        fail(f"{value} is not a command: {error}.")
    return value


@click.group(help=__doc__.split("\n\n")[0])
def main() -> None:
    for name in ("SIGTERM", "SIGHUP"):  # they end the program under test, too, as Ctrl-C does
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))


@main.command("list", help="List the steps, or with STEP what is checked in it.")
@click.argument("steps", metavar="[STEP]", required=False, callback=steps_named)
def list_steps(steps: range) -> None:
    for step in steps:
        click.echo(title(step).removeprefix("Step "))
        for check in checks(step) if len(steps) == 1 else ():
            click.echo(f"  {sentence(check)}")


@main.command("check", help="Check a step: 3, or 1-3 for several. Your program is started anew for each check.")
@click.argument("steps", metavar="STEP", callback=steps_named)
@click.option(
    "--run",
    "command",
    metavar="COMMAND",
    required=True,
    callback=command_given,
    help="Starts your server. {port} in it is replaced by the port; without it, --port N is added at the end. From "
    "step 8 on, the same holds for {db} and --db FILE.",
)
@click.option("--all", "everything", is_flag=True, help="Show the story of every failed check, not only of the first.")
@click.option(
    "--patience",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    default=PATIENCE,
    show_default=True,
    help="How long to wait for an answer. A slow machine may need more.",
)
@click.option(
    "--client",
    "client_command",
    metavar="COMMAND",
    default="",
    callback=command_given,
    help="For step 10: starts a client. It gets --port N and --name NAME, or {port} and {name}.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    default=1.0,
    show_default=True,
    help="For step 10: how long torture.py runs.",
)
def check_steps(
    steps: range, command: str, everything: bool, patience: float, client_command: str, minutes: float
) -> None:
    failed = count = 0
    for step in steps:
        click.echo(f"{title(step)}\n")
        for check in checks(step):
            count += 1
            story = run(check, max(steps), command, patience, client_command, minutes)
            click.echo(f"  {'ok   ' if story is None else 'FAILS'}  {sentence(check)}")
            failed += story is not None
            if story and (everything or failed == 1):
                click.echo("\n" + textwrap.indent(story, "         ") + "\n")
        click.echo()
    if failed:
        more = "" if everything or failed == 1 else " With --all, the story of each is told."
        click.echo(f"{failed} of {count} checks {'fails' if failed == 1 else 'fail'}.{more}")
        sys.exit(1)
    click.echo(f"All {count} checks pass.")


if __name__ == "__main__":
    streams.prepare()
    main()
