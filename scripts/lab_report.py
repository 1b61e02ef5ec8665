"""The results of a lab's checks, in words."""

from __future__ import annotations

import pathlib
import re
import textwrap
import xml.etree.ElementTree as ElementTree

import click
from lab_folders import title


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
    places = [(found, at) for found, at in places if pathlib.Path(found[1]).parent.name != "stepper"]
    files = [pathlib.Path(found[1]).name for found, _ in places]
    if not said:
        return text
    if task.name in files and files[-1] != "test_task.py":
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
