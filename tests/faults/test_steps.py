"""A thread that breaks harms nobody or ends the server, whichever line of the package it breaks at."""

from __future__ import annotations

import json
import os
import pathlib
import queue
import subprocess
import sys
import threading

import pytest
from support.steps import Step
from support.wellness import needs_proc

PROGRAM = [sys.executable, "-m", "support.steps"]
ENV = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
WORKERS = 8 * (os.cpu_count() or 1)  # they mostly wait
ERRORS = ("MemoryError", "ZeroDivisionError")  # in turns

pytestmark = [pytest.mark.slow, needs_proc, pytest.mark.skipif(not hasattr(os, "fork"), reason="servers are forked")]


def found_steps(tmp_path: pathlib.Path) -> list[Step]:
    """Find them in a separate process, because pytest has threads and the suite watches the locks."""
    found = subprocess.run(
        [*PROGRAM, str(tmp_path)], input="null\n", stdout=subprocess.PIPE, env=ENV, text=True, check=True
    )
    return [tuple(step) for step in json.loads(found.stdout)]


def outcomes(cases: list[tuple[str, str, int, str]], directory: pathlib.Path) -> list[str]:
    """The outcome of each case, in any order. Several workers try the cases at the same time."""
    left: queue.SimpleQueue[tuple[str, str, int, str]] = queue.SimpleQueue()
    for case in cases:
        left.put(case)
    found: list[str] = []

    def employ(number: int) -> None:
        own = directory / f"worker{number}"
        own.mkdir()
        program = [*PROGRAM, str(own)]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV, text=True) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            while not left.empty():
                try:
                    case = left.get_nowait()
                except queue.Empty:
                    break
                print(json.dumps(case), file=worker.stdin, flush=True)
                found.append(json.loads(worker.stdout.readline() or f'"{case}: the worker broke"'))

    threads = [threading.Thread(target=employ, args=(number,)) for number in range(min(WORKERS, len(cases)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_a_thread_that_breaks_at_any_step_harms_nobody_or_ends_the_server(tmp_path):
    """Each line that a thread reaches raises an exception, one line per run."""
    steps = found_steps(tmp_path)
    assert {kind for kind, _, _ in steps} == {"MainThread", "acceptor", "history", "reader-N", "writer-N", "log"}
    cases = [(*step, ERRORS[number % 2]) for number, step in enumerate(steps)]
    found = outcomes(cases, tmp_path)
    assert len(found) == len(cases)
    wrong = [each for each in found if each not in ("went on", "ended")]
    assert not wrong, "\n\n".join(wrong)
    assert set(found) == {"went on", "ended"}
