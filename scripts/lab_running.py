"""Running a lab's checks on one hand-in: in processes of its own, with limits, so that nothing of it is left over."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import json
import os
import pathlib
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from lab_folders import LABS, NOT_COPIED
from lab_process import RULES
from lab_suspect import words_of

PATIENCE = 120.0  # seconds for all checks of a lab
MEMORY = 2048  # MB for each process
PROCESSES = 100  # with their threads
FILE = 16  # MB
REPORT = 4_000_000  # bytes that the results may have
PROCESS = "import sys; sys.path.insert(0, sys.argv[1]); import lab_process; lab_process.main()"
USERS = 61_184  # the first of the numbers that systemd gives to users who have no account; it has some 4,000


Choose = Callable[[dict[str, Any]], str]  # gets a moment of the stepper, and returns the name of a thread, or "-"


class Check(NamedTuple):
    """One check of a lab and its result."""

    name: str  # of its function; "": loading the task
    passed: bool
    text: str = ""  # the story of a failed one


@dataclass
class Outcome:
    """What became of one hand-in."""

    checks: list[Check] = field(default_factory=list)  # all of the lab, if there is no problem; a Check "" may precede
    problem: str | None = None  # why the results do not count
    look: list[str] = field(default_factory=list)  # what a grader should look at
    could_run: bool = True  # False: the problem is not the hand-in's
    seconds: float = 0.0
    run: dict[str, Any] | None = None  # what was wanted of the threads of one check: see lab_told
    misfit: str = ""  # why the schedule that was wanted does not fit


@dataclass
class Limits:
    """What the checks of one hand-in may use."""

    seconds: float = PATIENCE
    memory: int = MEMORY  # MB
    trusted: bool = False  # it may use everything
    lenient: bool = False  # it is run, too, if it uses what it may not: that is a check of its own


class Running:
    """The processes of hand-ins that are run at once, each by a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # for what follows; end() is quick enough to be called under it
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def add(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.add(process)
            if self._over:
                end(process)

    def remove(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.discard(process)

    def end(self) -> None:
        """End all of them, and those that are still to come."""
        with self._lock:
            self._over = True
            for process in self._processes:
                end(process)


def checks_of(folder: pathlib.Path) -> list[str]:
    """The names of a lab's checks, in their order."""
    tree = ast.parse((folder / "test_task.py").read_bytes())
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def run_checks(
    folder: pathlib.Path,
    source: bytes,
    limits: Limits,
    running: Running | None = None,
    slot: int = 0,
    wanted: dict[str, Any] | None = None,
    choose: Choose | None = None,
) -> Outcome:
    """Run a lab's original checks on the text of a task.py. ``slot``: tells hand-ins apart that are run at once.

    ``wanted``: which run to pass on, for lab_told. ``choose``: is asked there, in this thread, which thread is next.
    """
    if importlib.util.find_spec("pytest") is None:
        why = f"the checks need pytest. Install it with: {sys.executable} -m pip install pytest"
        return Outcome(problem=why, could_run=False)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as clean:
        place = pathlib.Path(clean)
        shutil.copytree(folder, place / folder.name, ignore=shutil.ignore_patterns(*NOT_COPIED))
        shutil.copytree(LABS / "stepper", place / "stepper", ignore=shutil.ignore_patterns(*NOT_COPIED))
        (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (place / "handed_in").mkdir()
        (place / "tmp").mkdir()
        task = place / "handed_in" / "task.py"
        task.write_bytes(source)
        user = USERS + (os.getpid() * 8 + slot) % 4000
        prefix = inside(user)
        if "setpriv" in prefix:
            os.chown(place, -1, user)
            place.chmod(0o750)  # whoever owned it could replace the checks
            for path in (task, place / "tmp"):
                os.chown(path, user, user)
        order = {
            "secret": secrets.token_hex(),
            "checks": str(place / folder.name / "test_task.py"),
            "task": str(task),
            "trusted": limits.trusted,
            "lenient": limits.lenient,
            "words": words_of(folder),
            "wanted": wanted,
            "limits": {
                "AS": limits.memory << 20,
                "CPU": int(limits.seconds) + 1,
                "FSIZE": FILE << 20,
                "NOFILE": 256,
                **({"NPROC": PROCESSES} if prefix else {}),
            },
        }
        with (place / "output").open("w+", encoding="utf-8", errors="replace") as output:
            said, ending = _run(prefix, place, order, output, limits.seconds, running or Running(), choose)
            output.seek(0)
            last = output.read(REPORT).strip().splitlines()[-1:]
    outcome = _judge(checks_of(folder), said, str(order["secret"]), ending, "".join(last), bool(wanted))
    outcome.seconds = time.monotonic() - began
    return outcome


def _run(
    prefix: list[str],
    place: pathlib.Path,
    order: dict[str, Any],
    output: IO[str],
    seconds: float,
    running: Running,
    choose: Choose | None,
) -> tuple[bytes, str]:
    """Start the process, and end it with everything that it has started. Returns its results, and how it ended."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    python = {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    process = subprocess.Popen(
        [*prefix, sys.executable, "-I", "-B", "-X", "utf8", "-c", PROCESS, str(pathlib.Path(__file__).parent)],
        cwd=place / "tmp",
        env=keep | python | {"HOME": str(place / "tmp"), "TMPDIR": str(place / "tmp")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=output,
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    said = bytearray()
    moments: queue.SimpleQueue[Any] = queue.SimpleQueue()  # in which a thread is to be chosen; None: there are no more

    def read(results: IO[bytes]) -> None:
        while len(said) < REPORT and (data := os.read(results.fileno(), 65536)):
            said.extend(data)
            if choose and b"\n" in data:
                whole, _, rest = said.rpartition(b"\n")
                lines = [(line, _result(line, order["secret"]).get("moment")) for line in bytes(whole).splitlines(True)]
                said[:] = b"".join(line for line, moment in lines if not moment) + b"\n" + rest
                for _, moment in lines:
                    if moment:
                        moments.put(moment)
        if len(said) >= REPORT:
            end(process)
        moments.put(None)

    reader = threading.Thread(target=read, args=(process.stdout,), daemon=True)
    reader.start()
    ending = ""
    running.add(process)
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
            while choose and (moment := moments.get(timeout=seconds)):
                process.stdin.write(json.dumps(choose(moment)).encode() + b"\n")
                process.stdin.flush()
            process.stdin.close()
        process.wait(seconds)
    except (subprocess.TimeoutExpired, queue.Empty):
        ending = f"the checks did not end within {seconds:g} seconds: task.py waits for ever, or has no end."
    finally:
        end(process)
        running.remove(process)
        if not prefix:
            _sweep(place)
    reader.join(2)
    process.stdout.close()
    if not ending and process.returncode:
        number = process.returncode if process.returncode < 0 else 128 - process.returncode
        name = signal.Signals(-number).name if -number in set(signal.Signals) else f"exit code {process.returncode}"
        ending = f"the process of the checks ended early ({name})."
    return bytes(said), ending


def _result(line: bytes, secret: str) -> dict[str, Any]:
    """What a line of the checks says; {} if somebody else wrote it: it may be anything, and is not read."""
    first, _, rest = line.partition(b" ")
    what: dict[str, Any] = json.loads(rest) if first == secret.encode() else {}
    return what


def _judge(names: list[str], said: bytes, secret: str, ending: str, last: str, wanted: bool) -> Outcome:
    """What the results mean. Only lines with the secret count. Nothing counts without the last line and a good end."""
    found: dict[str, Check] = {}
    started = ended = canary = False
    look: list[str] = []
    run, misfit = None, ""
    for line in said.splitlines():
        what = _result(line, secret)
        if "refused" in what:
            why = f"task.py uses something that a hand-in may not use.\n{what['refused']}"
            return Outcome(problem=why)
        if "check" in what and (what["check"] not in found or not what["passed"]):
            found.setdefault(what["check"], Check(what["check"], what["passed"], what.get("text", "")))
            if not what["passed"] and found[what["check"]].passed:
                found[what["check"]] = Check(what["check"], False, what["text"])
        run, misfit = run or what.get("run"), misfit or what.get("misfit", "")
        canary |= bool(what.get("canary"))
        started |= "start" in what
        look = what.get("look", look)
        ended |= "end" in what
    if not started:
        return Outcome(
            problem=f"the checks could not be run: {last or ending or 'Python said nothing'}", could_run=False
        )
    if ending or not ended:
        return Outcome(problem=ending or "task.py ended the process of the checks.")
    if wanted and found:
        return Outcome(list(found.values()), run=run, misfit=misfit)
    if not found:
        return Outcome(problem="no check could be run: task.py leaves too little memory or too few threads for them.")
    checks = [found[""]] if "" in found else []
    if not checks and not canary:
        return Outcome(problem="task.py has changed the checks: with it, even the unsolved task passes all of them.")
    absent = "This check was not run." if not checks else checks[0].text
    every = [found.get(name) or Check(name, False, absent) for name in names]
    return Outcome([*checks, *every, *([found[RULES]] if RULES in found else [])], look=look)


def end(process: subprocess.Popen[bytes]) -> None:
    """End the checks and all processes that they started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
    process.wait()


def _sweep(place: pathlib.Path) -> None:
    """End what has left its process group, where no namespace has ended it. Linux tells by the environment."""
    mark = f"HOME={place}/".encode()
    for _ in range(100):  # it may be starting more
        found = 0
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
                    found += 1
        if not found:
            break


@functools.cache
def _ways() -> list[str]:
    """How to start a process so that all its descendants end with it, and cannot become too many; [] if not at all.

    In a process namespace, the kernel ends all processes together with the first one, and there is a limit for their
    number. Root has none: the hand-ins of root get a user of their own, with "{user}" for its number. With a /proc of
    their own they see no other process; some containers do not let anybody have one.
    """
    if sys.platform != "linux" or not shutil.which("unshare"):
        return []
    if os.geteuid():
        ways = [["unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child"]]
    else:
        other = ["unshare", "--pid", "--fork", "--kill-child", "setpriv", "--reuid={user}", "--regid={user}"]
        other += ["--clear-groups", "--no-new-privs", "--pdeathsig=KILL"]
        reads = [f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
        ways = [other, other + reads, other[:4]]  # the project may lie where only root may read
    start = "import pytest, subprocess, sys; subprocess.run([sys.executable, '-I', '-c', ''], check=True)"
    for way in [[*way[:1], *more, *way[1:]] for way in ways for more in (["--mount-proc"], [])]:
        test = [each.format(user=USERS) for each in way] + [sys.executable, "-I", "-c", start]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if subprocess.run(test, cwd="/", capture_output=True, timeout=20, check=False).returncode == 0:
                return way
    return []


def inside(user: int) -> list[str]:
    """The beginning of a command that runs apart from the others."""
    return [each.format(user=user) for each in _ways()]


def apart() -> bool:
    """Whether the system keeps hand-ins apart that run at the same time."""
    return bool(_ways())
