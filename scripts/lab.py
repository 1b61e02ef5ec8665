#!/usr/bin/env python3
"""The labs of docs/labs: copy one, check your work, get a hint: lab.py start 1 ~/labs

It does not use the network. The exit code is 0; 1 if a check fails; or 2, with a line that says why, if the command
could not be carried out.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import xml.etree.ElementTree as ElementTree
from typing import NoReturn

import click

from chat_threads import streams

LABS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "labs"
NOT_COPIED = ("solution.py", "hints.rst", "__pycache__")
GIVEN = ".hints"  # file in the student's folder: how many hints were shown
PATIENCE = 120.0  # seconds for all checks of a lab


def fail(why: str) -> NoReturn:
    click.echo(f"lab: {why}", err=True)
    sys.exit(2)


def labs() -> dict[int, pathlib.Path]:
    """The labs' folders by their numbers."""
    found = [path for path in LABS.glob("[0-9][0-9]_*") if (path / "task.py").exists()]
    return {int(path.name[:2]): path for path in sorted(found)}


def lab(number: int) -> pathlib.Path:
    """The original folder of a lab."""
    if number not in labs():
        fail(f"there is no lab {number}; there are {', '.join(map(str, labs()))}.")
    return labs()[number]


def title(folder: pathlib.Path) -> str:
    return (folder / "README.rst").read_text(encoding="utf-8").partition("\n")[0]


def students(number: int | None) -> pathlib.Path:
    """The student's folder of a lab: the current folder, or one beside it or inside it."""
    here = pathlib.Path.cwd()
    if number is None:
        if here.name not in [folder.name for folder in labs().values()]:
            fail(f"{here} is not a lab's folder. Go to it, or say which: lab.py check 1")
        found = here
    else:
        name = lab(number).name
        found = here if here.name == name else next((p for p in (here / name, here.parent / name) if p.is_dir()), here)
        if found.name != name:
            fail(f"lab {number} is not here. Start it first: lab.py start {number} DIR")
    if LABS in found.resolve().parents:
        fail(
            f"{found} is where the labs are handed out from. Start it elsewhere: lab.py start {int(found.name[:2])} DIR"
        )
    return found


def run_checks(folder: pathlib.Path, task: pathlib.Path, report: pathlib.Path) -> str | None:
    """Run a lab's original checks on a task.py. Return the reason if there is no report.

    They are the ones that were handed out, whatever has become of the copy.
    """
    if importlib.util.find_spec("pytest") is None:
        return f"the checks need pytest. Install it with: {sys.executable} -m pip install pytest"
    with tempfile.TemporaryDirectory() as clean:
        place = pathlib.Path(clean)
        shutil.copytree(folder, place / folder.name, ignore=shutil.ignore_patterns(*NOT_COPIED))
        shutil.copy(LABS / "stepper.py", place)
        (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
        command += ["-o", "junit_family=xunit2", f"--junitxml={report}", str(place / folder.name / "test_task.py")]
        environment = os.environ | {"LAB_TASK": str(task), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        environment.pop("PYTEST_ADDOPTS", None)
        with (place / "output").open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                command,
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                return f"the checks did not end within {PATIENCE:g} seconds: {task.name} waits for ever, or has no end."
            finally:
                end(process)
            output.seek(0)
            said = output.read()
    if process.returncode not in (0, 1, 2) or not report.exists():
        return (
            f"the checks could not be run: {said.strip().splitlines()[-1] if said.strip() else 'pytest said nothing'}"
        )
    return None


def end(process: subprocess.Popen[bytes]) -> None:
    """End the checks and all processes that they started."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    elif process.poll() is None:
        process.kill()
    process.wait()


def sentence(case: ElementTree.Element) -> str:
    """A check's name as a sentence. A check that could not begin has the name of the file with the checks."""
    name = case.get("name") or ""
    return "task.py can be loaded" if name.endswith("test_task") else name.removeprefix("test_").replace("_", " ")


def story(problem: ElementTree.Element, task: pathlib.Path) -> str:
    """The message of a failed check; for an error in the student's file, also its traceback.

    The message is taken from the report's text: pytest may shorten the attribute of that name.
    """
    chain = r"(?m)^(?:The above exception was the direct cause|During handling of the above).*\n"
    text = re.split(chain, problem.text or "")[-1]
    lines = text.split("\n")
    said = "\n".join(line.removeprefix("E").removeprefix("   ") for line in lines if re.match(r"E( |$)", line))
    places = [(found, at) for at, line in enumerate(lines) if (found := re.match(r"(\S.*):(\d+): in (.+)$", line))]
    files = [pathlib.Path(found[1]).name for found, _ in places]
    if not said:
        return text
    if task.name in files and files[-1] not in ("test_task.py", "stepper.py"):
        way = [
            f"{task.name}, line {found[2]}, in {found[3]}: {lines[at + 1].strip()}"
            for found, at in places
            if pathlib.Path(found[1]).name == task.name
        ]
        return "\n".join([*way, said])
    return re.sub(r"^(?:Failed|AssertionError|(?:stepper|test_task)\.\w+): ", "", said)


def show(report: pathlib.Path, folder: pathlib.Path, task: pathlib.Path, everything: bool) -> bool:
    """Print which checks pass, and the story of the first failed check, or of all. Return whether all pass."""
    click.echo(f"{title(folder)}\n")
    cases = list(ElementTree.parse(report).iter("testcase"))
    told = failed = 0
    for case in cases:
        problem = next((each for each in case if each.tag in ("failure", "error")), None)
        click.echo(f"  {'ok   ' if problem is None else 'FAILS'}  {sentence(case)}")
        failed += problem is not None
        if problem is not None and (everything or not told):
            told += 1
            ending = "" if case is cases[-1] else "\n"
            click.echo("\n" + textwrap.indent(story(problem, task).rstrip(), "         ") + ending)
    if not failed:
        click.echo(f"\nAll {len(cases)} checks pass. Now write down your answers to the questions in README.rst.")
    else:
        more = "" if told == failed else " lab.py check --all tells the story of each."
        click.echo(f"\n{failed} of {len(cases)} checks {'fails' if failed == 1 else 'fail'}.{more}")
    return not failed


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
        if not (directory / "stepper.py").exists():
            shutil.copy(LABS / "stepper.py", directory)
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


def read_hints(path: pathlib.Path) -> list[str]:
    """The items of the numbered list in a file, with their numbers."""
    parts = re.split(r"(?m)^(?=\d+\. )", path.read_text(encoding="utf-8"))[1:]
    return [part.strip() for part in parts]


if __name__ == "__main__":
    streams.prepare()
    main()
