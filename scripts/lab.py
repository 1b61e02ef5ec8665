#!/usr/bin/env python3
"""The labs of docs/labs: copy one, check your work, get a hint, grade a class: lab.py start 1 ~/labs

It does not use the network. The exit code is 0; 1 if a check of your own work fails; or 2, with a line that says why,
if the command could not be carried out.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import sys

import click
from lab_folders import GIVEN, LABS, NOT_COPIED, fail, hints_given, lab, labs, read_hints, read_regular, students, title
from lab_grade import run as run_grading
from lab_hand_ins import find, others
from lab_play import play
from lab_points import read_points
from lab_replay import replay
from lab_report import junit, printable, show
from lab_rules import LONGEST
from lab_running import MEMORY, Limits, apart, run_checks

from chat_threads import streams

FILE = click.Path(dir_okay=False, path_type=pathlib.Path)


@click.group(help=__doc__.split("\n\n")[0])
def main() -> None:
    for name in ("SIGTERM", "SIGHUP"):  # they end the checks, too, as Ctrl-C does
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))


@main.command("list", help="List the labs.")
def list_labs() -> None:
    for number, folder in labs().items():
        click.echo(f"{number}  {title(folder).partition(': ')[2]}")


@main.command(help="Copy a lab into a folder of its own in DIR.")
@click.argument("number", type=int)
@click.argument("directory", type=click.Path(file_okay=False, path_type=pathlib.Path))
def start(number: int, directory: pathlib.Path) -> None:
    folder = lab(number)
    target = directory / folder.name
    if target.exists():
        fail(f"{target} exists; it was left as it is.")
    if LABS in target.resolve().parents:
        fail(f"{directory} is where the labs are handed out from; take another folder.")
    try:
        shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*NOT_COPIED))
        if not (directory / "stepper").exists():
            shutil.copytree(LABS / "stepper", directory / "stepper", ignore=shutil.ignore_patterns(*NOT_COPIED))
    except OSError as error:
        fail(f"{target} could not be written: {error.strerror}.")
    script = pathlib.Path(sys.argv[0]).absolute()
    python = next((name for name in ("python", "python3") if shutil.which(name) == sys.executable), sys.executable)
    click.echo(f"{title(folder)}\nRead README.rst in {target} and edit task.py there.\n")
    commands = [
        (f"cd {target.absolute()}", ""),
        (f"{python} task.py", "shows the fault"),
        (f"{python} {script} check", "checks what you did"),
        (f"{python} {script} hint", "gives a hint, another one each time"),
    ]
    if (folder / "measure.py").exists():
        commands.append((f"{python} measure.py {script.parent / 'load.py'}", "measures it"))
    width = max(len(command) for command, does in commands if does)
    for command, does in commands:
        click.echo(f"  {command:{width if does else 0}}  {does}".rstrip())


def handed_in(number: int | None, command: str) -> tuple[pathlib.Path, bytes]:
    """The folder of the original lab, and the text of the student's task.py."""
    place = students(number, command)
    task = place / "task.py"
    if not task.is_file():
        fail(f"{task} is missing.")
    try:
        source = read_regular(task.resolve(), LONGEST)
    except OSError as error:
        fail(f"{task} cannot be read: {error.strerror}.")
    return LABS / place.name, source


@main.command(help="Check your work: the lab in the current folder, or lab N there.")
@click.argument("number", type=int, required=False)
@click.option("--all", "everything", is_flag=True, help="Show the story of every failed check, not only of the first.")
@click.option("--junitxml", type=FILE, metavar="FILE", help="Also write the results to this file, as JUnit XML.")
def check(number: int | None, everything: bool, junitxml: pathlib.Path | None) -> None:
    folder, source = handed_in(number, "check")
    outcome = run_checks(folder, source, Limits(lenient=True))
    if not outcome.could_run and outcome.problem:
        fail(outcome.problem)
    if junitxml:
        try:
            junitxml.write_bytes(junit(outcome, folder.name))
        except OSError as error:
            fail(f"{junitxml} could not be written: {error.strerror}.")
    sys.exit(0 if show(outcome, folder, everything) else 1)


@main.command("replay", help="Step through the run of a failed check.")
@click.argument("number", type=int, required=False)
@click.option(
    "--check", "which", default="", help="A check, by its number or its name. Without it: the first that fails."
)
@click.option(
    "--schedule", default="", metavar="LINE", help="The order of the threads: what a story has after Schedule."
)
@click.option("--html", "page", type=FILE, metavar="FILE", help="Write a page for a browser, and show nothing here.")
def replay_run(number: int | None, which: str, schedule: str, page: pathlib.Path | None) -> None:
    folder, source = handed_in(number, "replay")
    replay(folder, source, which, schedule, page)


@main.command("play", help="Choose which thread runs next.")
@click.argument("number", type=int, required=False)
@click.option("--check", "which", default="", help="A check, by its number or its name. Without it: the first one.")
@click.option("--schedule", default="", metavar="LINE", help="Begin with this order of the threads, as in replay.")
@click.option("--free", is_flag=True, help="Without the interpreter lock: more points at which you can choose.")
def play_run(number: int | None, which: str, schedule: str, free: bool) -> None:
    folder, source = handed_in(number, "play")
    play(folder, source, which, schedule, free)


@main.command("grade", help="Grade hand-ins: give points for each check, as CSV and for Gradescope.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path))
@click.option("--lab", "number", type=int, metavar="N", help="The lab. Without it: all labs whose folders are there.")
@click.option("--csv", "table_file", type=FILE, metavar="FILE", help="Write the points to this file, as CSV.")
@click.option(
    "--gradescope",
    type=click.Path(path_type=pathlib.Path),
    metavar="PATH",
    help="Write Gradescope's results.json: to this file, if there is one hand-in, or a file each to this folder.",
)
@click.option(
    "--points", "points_file", type=FILE, metavar="FILE", help="What checks are worth: CSV with lab,check,points."
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), metavar="N", help="How many hand-ins run at once. Without it: one per core."
)
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), metavar="N", default=60, show_default=True, help="For each hand-in."
)
@click.option(
    "--memory",
    type=click.IntRange(256),
    metavar="MB",
    default=MEMORY,
    show_default=True,
    help="For each process, in MB.",
)
@click.option("--trust", is_flag=True, help="Let the hand-ins use all of Python, also what could change the checks.")
def grade_all(
    folder: pathlib.Path,
    number: int | None,
    table_file: pathlib.Path | None,
    gradescope: pathlib.Path | None,
    points_file: pathlib.Path | None,
    jobs: int | None,
    seconds: float,
    memory: int,
    trust: bool,
) -> None:
    if number:
        lab(number)
    try:
        points = read_points(points_file.read_text(encoding="utf-8-sig")) if points_file else {}
        hand_ins = find(folder, number)
    except OSError as error:
        fail(f"{error.filename} could not be read: {error.strerror}.")
    except ValueError as error:
        fail(f"{points_file or folder}: {error}")
    if not hand_ins:
        fail(f"there are no hand-ins in {folder}: no folder and no .py file.")
    names = {hand_in.name for hand_in in hand_ins}
    if (left := others(folder)) and len(names) > 1:
        shown = ", ".join(map(printable, left[:3])) + ", ..." * (len(left) > 3)
        click.echo(f"Not looked at: {shown}. A hand-in is a folder or a .py file; unpack archives first.")
    if gradescope and gradescope.suffix == ".json" and len(names) > 1:
        fail(f"there are {len(names)} hand-ins, so --gradescope needs a folder.")
    jobs = jobs or (os.cpu_count() or 1 if apart() else 1)
    run_grading(hand_ins, points, Limits(seconds, memory, trust), jobs, table_file, gradescope)


@main.command(help="Give the next hint for the lab in the current folder, or for lab N there.")
@click.argument("number", type=int, required=False)
@click.option("--again", is_flag=True, help="Show the hints that you have already seen.")
def hint(number: int | None, again: bool) -> None:
    place = students(number, "hint")
    hints = read_hints(LABS / place.name / "hints.rst")
    memory = place / GIVEN
    given = hints_given(place)
    if again:
        click.echo("\n\n".join(hints[:given]) if given else "No hint was given yet.")
        return
    if given >= len(hints):
        fail(f"there are no more hints; lab.py hint --again shows all {len(hints)}.")
    click.echo(hints[given])
    try:
        memory.write_text(f"{given + 1}\n", encoding="ascii")
    except OSError as error:
        fail(f"{memory} could not be written: {error.strerror}.")


if __name__ == "__main__":
    streams.prepare()
    main()
