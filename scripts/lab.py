#!/usr/bin/env python3
"""The labs of docs/labs: copy one, check your work, get a hint: lab.py start 1 ~/labs

It does not use the network. The exit code is 0; 1 if a check fails; or 2, with a line that says why, if the command
could not be carried out.
"""

from __future__ import annotations

import pathlib
import shutil
import signal
import sys
import tempfile

import click
from lab_folders import GIVEN, LABS, NOT_COPIED, fail, lab, labs, read_hints, students, title
from lab_report import show
from lab_running import run_checks

from chat_threads import streams


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


@main.command(help="Check your work: the lab in the current folder, or lab N there.")
@click.argument("number", type=int, required=False)
@click.option("--all", "everything", is_flag=True, help="Show the story of every failed check, not only of the first.")
@click.option(
    "--junitxml",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    metavar="FILE",
    help="Also write the results to this file, as JUnit XML.",
)
def check(number: int | None, everything: bool, junitxml: pathlib.Path | None) -> None:
    place = students(number)
    task = place / "task.py"
    if not task.is_file():
        fail(f"{task} is missing.")
    folder = LABS / place.name
    with tempfile.TemporaryDirectory() as kept:
        report = pathlib.Path(kept) / "report.xml"
        problem = run_checks(folder, task, report)
        if problem:
            fail(problem)
        if junitxml:
            try:
                shutil.copy(report, junitxml)
            except OSError as error:
                fail(f"{junitxml} could not be written: {error.strerror}.")
        passed = show(report, folder, task, everything)
    sys.exit(0 if passed else 1)


@main.command(help="Give the next hint for the lab in the current folder, or for lab N there.")
@click.argument("number", type=int, required=False)
@click.option("--again", is_flag=True, help="Show the hints that you have already seen.")
def hint(number: int | None, again: bool) -> None:
    place = students(number)
    hints = read_hints(LABS / place.name / "hints.rst")
    memory = place / GIVEN
    try:
        given = int(memory.read_text(encoding="ascii")) if memory.exists() else 0
    except ValueError:
        given = 0
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
