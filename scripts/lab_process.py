"""The process in which a hand-in meets the checks of a lab. ``lab_running`` starts it, and says on stdin what to do.

Each result goes to a pipe at once, after a secret that the hand-in does not know. At the end, the checks run
once more, on the task as it was handed out, with the student's code still loaded. Now a check has to fail: if all
pass, somebody has changed the checks.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from lab_rules import Broken, made_safe
from lab_suspect import signs

RULES = "test_it_uses_only_what_solutions_need"  # is no check of the lab
WHY = "A grader gives no points for it as it is. docs/labs/README.rst says what a hand-in may use, and why."
LOOKS = 3  # signs that are passed on
LONGEST = 20_000  # characters of one story
MORE = 4096  # processes, where the system counts all of a user and not only these

Say = Callable[..., None]


def limit(limits: dict[str, int]) -> None:
    """Set the limits, for this process and all that it starts. Windows has none."""
    if importlib.util.find_spec("resource") is None:
        return
    import resource

    def soft(name: str, most: int) -> None:
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            return
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):
            pass  # a system that does not know this limit

    for name in limits.keys() - {"NPROC"}:
        soft(name, limits[name])
    soft("CORE", 0)
    if "NPROC" in limits:
        before = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (limits["NPROC"], before[1]))
        try:
            threading.Thread(target=int).start()
        except RuntimeError:
            resource.setrlimit(resource.RLIMIT_NPROC, before)
            soft("NPROC", limits["NPROC"] + MORE)
        else:
            soft("NPROC", limits["NPROC"])


def shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]}\n…\n{text[-LONGEST // 2 :]}"


class Recorder:
    """A plugin of pytest that passes the results on."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.failed = False  # a check, and not only the loading of a file

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._say(check="", passed=False, text=shortened(str(report.longrepr)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or not report.passed:
            self.failed |= report.when == "call" and report.failed
            name = report.nodeid.rpartition("::")[2].partition("[")[0]
            text = "" if report.passed else shortened(str(report.longrepr))
            self._say(check=name, passed=report.passed, text=text)


def run(checks: pathlib.Path, task: pathlib.Path, say: Say, *options: str, recorder: Recorder | None = None) -> bool:
    """Run the checks on a task. Returns whether one of them failed."""
    import pytest

    os.environ["LAB_TASK"] = str(task)
    sys.modules.pop(checks.stem, None)
    recorder = recorder or Recorder(say)
    place = checks.parent.parent
    settings = ["-q", "--tb=short", "--show-capture=no", "--no-header", "--no-summary", "-c", str(place / "pytest.ini")]
    settings += ["--rootdir", str(place), "--basetemp", str(place / "tmp" / "pytest"), "-p", "no:cacheprovider"]
    pytest.main([*settings, *options, str(checks)], plugins=[recorder])
    return recorder.failed


def work() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    secret = order["secret"]
    answers = os.dup(0)  # what the student chooses in lab.py play
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    channel = os.dup(1)  # processes that this one starts do not have it
    os.dup2(2, 1)

    def say(**what: Any) -> None:
        line = f"{secret} {json.dumps(what)}\n".encode()
        while line:
            line = line[os.write(channel, line) :]

    limit(order["limits"])
    checks, task = pathlib.Path(order["checks"]), pathlib.Path(order["task"])
    unsolved = checks.with_name("task.py").read_bytes()
    look: list[str] = []
    broken = ""
    try:
        if not order["trusted"]:
            safe = made_safe(task.read_bytes(), unsolved)
            task.write_bytes(safe.text.encode(safe.encoding))
            look = signs(safe.text, unsolved, order["words"])
    except Broken as error:
        if not order["lenient"]:
            say(refused=str(error))
            return
        broken = str(error)
    except SyntaxError as error:
        say(start=True, check="", passed=False, text="".join(traceback.format_exception_only(error)))
        say(end=True)
        return
    except (ValueError, RecursionError, MemoryError) as error:
        say(refused=f"it cannot be read: {error or type(error).__name__}.")
        return
    say(start=True, look=look[:LOOKS])
    if wanted := order.get("wanted"):
        from lab_told import Told  # it needs Recorder; main has loaded it

        sys.path.insert(0, str(checks.parent.parent))  # where the stepper is
        run(checks, task, say, recorder=Told(say, wanted, answers))
        say(end=True)
        return
    run(checks, task, say)
    if broken:
        say(check=RULES, passed=False, text=f"{broken}\n\n{WHY}")
    say(canary=run(checks, checks.with_name("task.py"), lambda **what: None, "-x"))
    say(end=True)


def main() -> None:
    """What the process does, and its end, whatever the hand-in has left running."""
    importlib.import_module("lab_told")
    sys.path.remove(str(pathlib.Path(__file__).parent))
    work()
    sys.stdout.flush()
    os._exit(0)
