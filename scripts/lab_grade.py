"""Grading many hand-ins: run the checks on several at a time, tell how far it is, write the points down."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import pathlib
import queue
import time
from collections.abc import Iterator

import click
from lab_folders import fail, hints_given, labs, read_regular
from lab_hand_ins import HandIn
from lab_points import Graded, Points, gradescope, table
from lab_report import printable
from lab_rules import LONGEST
from lab_running import Check, Limits, Outcome, Running, checks_of, run_checks


def run(
    hand_ins: list[HandIn],
    points: Points,
    limits: Limits,
    jobs: int,
    table_file: pathlib.Path | None,
    gradescope_path: pathlib.Path | None,
) -> None:
    """Grade them, tell how far it is, and write the files. Ends the program if a file cannot be written."""
    began, total = time.monotonic(), len(hand_ins)
    graded = []
    for each in grade(hand_ins, points, limits, jobs):
        graded.append(each)
        done, taken = len(graded), time.monotonic() - began
        left = taken / done * (total - done)
        hints = f", {each.hints} hint{'s' * (each.hints > 1)}" if each.hints else ""
        remark = f"; {printable(each.remark)}" if each.remark else ""
        click.echo(
            f"{done:>{len(str(total))}}/{total}  {printable(each.hand_in.name)} lab {each.hand_in.lab}: "
            f"{sum(each.points):g} of {sum(each.of):g}{hints}{remark}{f'  ({left:.0f} s left)' if left >= 10 else ''}"
        )
    place = {id(hand_in): at for at, hand_in in enumerate(hand_ins)}
    graded.sort(key=lambda each: place[id(each.hand_in)])
    try:
        if table_file:
            table_file.write_text(table(graded), encoding="utf-8-sig", newline="")
        if gradescope_path:
            _write_gradescope(graded, gradescope_path)
    except OSError as error:
        fail(f"{error.filename} could not be written: {error.strerror}.")
    whole = sum(each.points == each.of and not each.outcome.problem for each in graded)
    click.echo(f"{len(graded)} graded in {time.monotonic() - began:.0f} s. All checks pass for {whole} of them.")
    broken = [each for each in graded if not each.outcome.could_run]
    if broken:
        fail(f"{len(broken)} could not be run, which is not their fault: {broken[0].outcome.problem}")


def grade(hand_ins: list[HandIn], points: Points, limits: Limits, jobs: int) -> Iterator[Graded]:
    """Grade them, ``jobs`` at a time. Yields each when it is done. If the iterator is closed, all processes end."""
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)
    running = Running()

    def one(hand_in: HandIn) -> Graded:
        slot = slots.get()
        try:
            return _grade(hand_in, points, limits, running, slot)
        finally:
            slots.put(slot)

    executor = concurrent.futures.ThreadPoolExecutor(jobs, "grader")
    try:
        waiting = [executor.submit(one, hand_in) for hand_in in hand_ins]
        for done in concurrent.futures.as_completed(waiting):
            yield done.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        running.end()


def _grade(hand_in: HandIn, points: Points, limits: Limits, running: Running, slot: int) -> Graded:
    folder = labs()[hand_in.lab]
    names = checks_of(folder)
    of = [points.get((hand_in.lab, name), 1.0) for name in names]
    source, hints = b"", 0
    if hand_in.task is None:
        outcome = Outcome(problem=hand_in.problem)
    else:
        hints = hints_given(hand_in.task.parent)
        try:
            source = read_regular(hand_in.task, LONGEST)
        except OSError as error:
            link = " It is a symbolic link." if hand_in.task.is_symlink() else ""
            outcome = Outcome(problem=f"{hand_in.task.name} cannot be read: {error.strerror}.{link}")
        else:
            outcome = run_checks(folder, source, limits, running, slot)
    passed = {check.name: check for check in outcome.checks}
    checks = [passed.get(name, Check(name, False, outcome.problem or "")) for name in names]
    given = [each if check.passed else 0.0 for each, check in zip(of, checks, strict=True)]
    unchanged = source == (folder / "task.py").read_bytes()
    return Graded(hand_in, outcome, hints, given, of, checks, unchanged)


def _write_gradescope(graded: list[Graded], path: pathlib.Path) -> None:
    one = path.suffix == ".json"
    (path.parent if one else path).mkdir(parents=True, exist_ok=True)
    for number, (name, group) in enumerate(itertools.groupby(graded, lambda each: each.hand_in.name), 1):
        short = name if len(os.fsencode(name)) < 200 else f"{number}"
        text = json.dumps(gradescope(list(group)), indent=1)
        (path if one else path / f"{short}.json").write_text(text, encoding="utf-8")
