"""The results of a lab's checks, in words and as JUnit XML."""

from __future__ import annotations

import pathlib
import re
import textwrap
import xml.etree.ElementTree as ElementTree

import click
from lab_folders import title
from lab_running import Check, Outcome, checks_of

TASK = "task.py"
TURNS = "\n\nHow the threads took turns"  # where a story of the stepper begins in the text of a check


def sentence(check: Check) -> str:
    """A check's name as a sentence."""
    return check.name.removeprefix("test_").replace("_", " ") or f"{TASK} can be loaded"


def story(text: str) -> str:
    """The message of a failed check; for an error in the student's file, also its traceback."""
    chain = r"(?m)^(?:The above exception was the direct cause|During handling of the above).*\n"
    text = re.split(chain, text)[-1]
    lines = text.split("\n")
    said = "\n".join(line.removeprefix("E").removeprefix("   ") for line in lines if re.match(r"E( |$)", line))
    places = [(found, at) for at, line in enumerate(lines) if (found := re.match(r"(\S.*):(\d+): in (.+)$", line))]
    places = [(found, at) for found, at in places if pathlib.Path(found[1]).parent.name != "stepper"]
    files = [pathlib.Path(found[1]).name for found, _ in places]
    if not said:
        return text
    if TASK in files and files[-1] != "test_task.py":
        way = [
            f"{TASK}, line {found[2]}, in {found[3]}: {lines[at + 1].strip()}"
            for found, at in places
            if pathlib.Path(found[1]).name == TASK
        ]
        return "\n".join([*way, said])
    return re.sub(r"^(?:Failed|AssertionError|(?:stepper|test_task)\.\w+): ", "", said)


def show(outcome: Outcome, folder: pathlib.Path, everything: bool) -> bool:
    """Print which checks pass, and the story of the first failed check, or of all. Return whether all pass."""
    click.echo(f"{title(folder)}\n")
    if outcome.problem:
        click.echo("  FAILS  " + textwrap.indent(outcome.problem, "         ").strip())
        return False
    if not outcome.checks[0].name:
        click.echo(f"  FAILS  {sentence(outcome.checks[0])}\n")
        click.echo(textwrap.indent(story(outcome.checks[0].text).rstrip(), "         "))
        click.echo(f"\nNone of the {len(outcome.checks) - 1} checks could be run.")
        return False
    told = failed = 0
    for check in outcome.checks:
        click.echo(f"  {'ok   ' if check.passed else 'FAILS'}  {sentence(check)}")
        failed += not check.passed
        if not check.passed and (everything or not told):
            told += 1
            ending = "" if check is outcome.checks[-1] else "\n"
            click.echo("\n" + textwrap.indent(story(check.text).rstrip(), "         ") + ending)
    if not failed:
        click.echo(
            f"\nAll {len(outcome.checks)} checks pass. Now write down your answers to the questions in README.rst."
        )
    else:
        more = "" if told == failed else " lab.py check --all tells the story of each."
        click.echo(f"\n{failed} of {len(outcome.checks)} checks {'fails' if failed == 1 else 'fail'}.{more}")
        steps = [
            checks_of(folder).index(each.name) + 1 for each in outcome.checks if not each.passed and TURNS in each.text
        ]
        if steps:
            again = f"lab.py replay {int(folder.name[:2])} --check {steps[0]}"
            click.echo(f"{again} goes through check {steps[0]} step by step, forward and back.")
    return not failed


def junit(outcome: Outcome, lab: str) -> bytes:
    """The results as JUnit XML."""
    failed = sum(not check.passed for check in outcome.checks)
    counts = {"tests": str(len(outcome.checks)), "failures": str(failed), "errors": str(int(bool(outcome.problem)))}
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", {"name": lab, "time": f"{outcome.seconds:.3f}", **counts})
    if outcome.problem:
        case = ElementTree.SubElement(suite, "testcase", {"classname": lab, "name": "all checks"})
        ElementTree.SubElement(case, "error").text = printable(outcome.problem)
    for check in outcome.checks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": lab, "name": check.name or "task"})
        if not check.passed:
            ElementTree.SubElement(case, "failure").text = printable(story(check.text))
    written: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written


def printable(text: str) -> str:
    """The text without what a terminal obeys, and what XML does not allow."""
    text = re.sub(r"[\u202a-\u202e\u2066-\u2069]", "\ufffd", text)  # these turn the rest of the line around
    return re.sub(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
