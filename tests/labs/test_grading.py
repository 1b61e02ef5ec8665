"""lab.py grade: many hand-ins in one command, among them those that cheat, do not end or do harm."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import threading

import lab_hand_ins
import lab_points
import lab_rules
import lab_running
import lab_suspect
import pytest
from support.cheats import MISBEHAVES, REFUSED
from support.processes import descendants
from support.waiting import wait_for

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "lab.py"
LABS = ROOT / "docs" / "labs"
ANSWERS = ROOT / "tests" / "labs"
LAB_3 = (LABS / "03_name_race" / "task.py").read_text(encoding="utf-8")


def grade(folder: pathlib.Path, *options: object, wait: float = 50) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, "grade", folder, *map(str, options)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=wait, check=False)


def hand_in(folder: pathlib.Path, name: str, source: str | bytes, lab: str = "03_name_race") -> pathlib.Path:
    place = folder / name / lab
    place.mkdir(parents=True)
    (place / "task.py").write_bytes(source.encode() if isinstance(source, str) else source)
    return place


def rows(path: pathlib.Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def of(folder: pathlib.Path, number: int | None = None) -> list[tuple[str, int, str | None]]:
    found = lab_hand_ins.find(folder, number)
    return [(each.name, each.lab, str(each.task.relative_to(folder)) if each.task else None) for each in found]


# --- what a hand-in may use ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cheat", REFUSED)
def test_what_could_reach_the_checks_is_refused(cheat):
    code, why = REFUSED[cheat]
    with pytest.raises(lab_rules.Broken, match=r"^line \d+: it may ") as refused:
        lab_rules.made_safe(f"{LAB_3}\n\n{code}\n".encode())
    assert why in str(refused.value)


def test_no_answer_is_refused_or_suspected():
    paths = [*LABS.glob("[0-9]*/task.py"), *LABS.glob("[0-9]*/solution.py"), *ANSWERS.glob("*_answers/*/*.py")]
    for path in paths:
        lab = path.parent.name
        safe = lab_rules.made_safe(path.read_bytes(), (LABS / lab / "task.py").read_bytes())
        assert safe.emptied == [] or path.name in ("task.py", "solution.py"), path
        unsolved = (LABS / lab / "task.py").read_bytes()
        assert lab_suspect.signs(safe.text, unsolved, lab_suspect.words_of(LABS / lab)) == [], path
    assert len(paths) > 100


def test_what_honest_solutions_do_is_allowed():
    lab_rules.made_safe(
        b"""
import functools, sys, threading, queue as q, time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Callable as C, Optional

class Full(q.Full):
    pass

@dataclass
class Table:
    lock: threading.Lock = field(default_factory=threading.Lock)
    locks: dict[str, Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    writer: Optional[C[[Full], threading.Thread]] = None
    __slots__ = ("lock", "locks", "writer")

    def start(self, daemon: bool = True, then: list[Thread] | dict[str, q.Queue] = ()) -> "Thread | None":
        same = type(self) is Table and type(then) == list
        self.writer = Thread(target=self._run, name=type(self).__name__)
        self.writer.daemon = daemon
        with suppress(q.Full, q.Empty):
            raise q.Full
        return self.writer

    def __enter__(self):
        self.lock.__enter__()
        return self

    def _run(self):
        if isinstance(self.writer, threading.Thread) and getattr(self, "writer", None):
            print(f"{self.writer.name!r}", time.monotonic(), self.__class__.__name__, file=sys.stderr)
            sys.stdout.write("{0:.2f} of {name!r}".format(1.5, name="a"))

def logged(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner

class TooLong(ValueError):
    def __init__(self, text):
        ValueError.__init__(self, text)

class Worker(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        threading.Thread.__init__(self)
        self.__private = {}

if __name__ == "__main__":
    sys.exit(Table().start())
"""
    )


def test_a_demonstration_may_use_everything_and_is_emptied_and_no_line_moves():
    source = (
        "import os\n\n\ndef show(name):\n    # é\n    if name:\n        os.kill(1, 9)\n    return 1\n\n\nlast = 1\n"
    )
    safe = lab_rules.made_safe(source.encode())
    assert safe.emptied == ["show"]
    assert safe.text.split("\n")[5] == (
        "    raise RuntimeError('show() was emptied for the checks: line 7: it may not use os.kill.')"
    )
    assert safe.text.count("\n") == source.count("\n")
    assert safe.text.endswith("\n\n\n\n\nlast = 1\n")
    with pytest.raises(lab_rules.Broken, match="line 1: it may not use eval"):
        lab_rules.made_safe(b"def show(x=eval): pass\n")


@pytest.mark.parametrize("source", [b"# coding: utf-7\n", b"x = '\0'", b"((" * 5000, b"\xff\xfe"])
def test_what_cannot_be_read_is_refused(source):
    with pytest.raises((ValueError, SyntaxError, RecursionError, MemoryError)):
        lab_rules.made_safe(source)


# --- which hand-ins there are -------------------------------------------------------------------------------


def test_hand_ins_are_found_in_folders_of_all_shapes(tmp_path):
    hand_in(tmp_path, "Zoë Ångström", "")
    hand_in(tmp_path, "ann/labs", "")
    hand_in(tmp_path, "bob", "", "01_lines")
    (tmp_path / "list.csv").write_text("")
    (tmp_path / ".git").mkdir()
    assert of(tmp_path) == [
        ("Zoë Ångström", 1, None),
        ("Zoë Ångström", 3, "Zoë Ångström/03_name_race/task.py"),
        ("ann", 1, None),
        ("ann", 3, "ann/labs/03_name_race/task.py"),
        ("bob", 1, "bob/01_lines/task.py"),
        ("bob", 3, None),
    ]
    assert [each[0] for each in of(tmp_path, 1) if each[2]] == ["bob"]
    assert of(tmp_path / "bob") == [("bob", 1, "01_lines/task.py")]


def test_hand_ins_without_the_name_of_a_lab_need_its_number(tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "task.py").write_text("")
    (tmp_path / "bob_late_123.py").write_text("")
    assert of(tmp_path, 3) == [("ann", 3, "ann/task.py"), ("bob_late_123", 3, "bob_late_123.py")]
    assert of(tmp_path / "ann", 3) == [("ann", 3, "task.py")]
    with pytest.raises(ValueError, match="Say which lab it is: lab"):
        of(tmp_path)


def test_links_are_not_followed(tmp_path):
    place = hand_in(tmp_path / "in", "ann", "")
    (place / "task.py").unlink()
    (place / "task.py").symlink_to(LABS / "03_name_race" / "solution.py")
    hand_in(tmp_path, "elsewhere", "")
    (tmp_path / "in" / "bob").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "cy").mkdir()
    (tmp_path / "in" / "cy" / "03_name_race").symlink_to(tmp_path / "elsewhere" / "03_name_race")
    done = grade(tmp_path / "in", "--csv", tmp_path / "points.csv")
    assert done.returncode == 0, done.stderr
    remarks = {name: row["remark"] for name, row in rows(tmp_path / "points.csv").items()}
    assert remarks == {
        "ann": "task.py cannot be read: Too many levels of symbolic links. It is a symbolic link.",
        "bob": "it is a symbolic link",
        "cy": "there is no task.py for this lab",
    }


def test_points_for_checks_are_read_and_mistakes_are_named():
    points = lab_points.read_points(
        "lab,check,points\n3,1,2.5\n3,test_only_one_session_gets_a_name_by_claim_or_by_rename,0\n"
    )
    assert points == {
        (3, "test_only_one_session_gets_a_name"): 2.5,
        (3, "test_only_one_session_gets_a_name_by_claim_or_by_rename"): 0,
    }
    for line in ("3,99,1", "3,1,-1", "3,1,nan", "99,1,1", "3,0,1", "3,1", "x,1,1"):
        with pytest.raises(ValueError, match="is not: lab,check,points"):
            lab_points.read_points(f"lab,check,points\n{line}\n")


# --- grading ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_points_hints_and_stories_go_to_csv_and_to_gradescope(tmp_path):
    folder = tmp_path / "in"
    solution = (LABS / "03_name_race" / "solution.py").read_text(encoding="utf-8")
    place = hand_in(folder, '=1+1, "Zoë" \u202e', solution)
    (place / ".hints").write_text("2\n")
    hand_in(folder, "ann", LAB_3)
    place = hand_in(folder, "Bob Roy", (ANSWERS / "wrong_answers" / "03_name_race" / "two_locks.py").read_bytes())
    (place / ".hints").write_text("2\n")
    hand_in(folder, "Cy Öz", LAB_3)
    hand_in(folder, "Dan Wu", f"{solution}\nimport sys\nsys.modules['stepper'].explore = lambda *a, **k: None\n")
    hand_in(folder, "bob", "x" * 300_000)
    hand_in(folder, "cy", LAB_3 + "\n\nNameTable.claim = lambda self, name:\n")
    os.mkfifo(hand_in(folder, "dan", "") / "pipe")
    (folder / "dan" / "03_name_race" / "task.py").unlink()
    (folder / "dan" / "03_name_race" / "pipe").rename(folder / "dan" / "03_name_race" / "task.py")
    (folder / "bob.zip").write_bytes(b"")
    (tmp_path / "worth.csv").write_text("lab,check,points\n3,1,2\n")
    options = ("--csv", tmp_path / "points.csv", "--points", tmp_path / "worth.csv", "--gradescope", tmp_path / "out")
    done = grade(folder, *options, wait=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" All checks pass for 1 of them.")
    assert "\u202e" not in done.stdout
    assert done.stdout.startswith("Not looked at: bob.zip. ")
    page = (LABS / "README.rst").read_text(encoding="utf-8")
    shown, printed = (
        set(re.findall(r"(?m)^ *\d/\d  ((?:Bob|Cy|Dan) .*?: )\d+ of \d+(.*?)(?:  \(\d+ s left\))?$", text))
        for text in (page, done.stdout)
    )
    assert shown == printed
    assert len(shown) == 3
    found = rows(tmp_path / "points.csv")
    best, _, _, _, ann, bob, cy, dan = found.values()
    assert (best["name"], best["points"], best["of"], best["hints"]) == ('\'=1+1, "Zoë" \ufffd', "11", "11", "2")
    assert (best["only one session gets a name"], best["remark"]) == ("2", "")
    assert (ann["points"], ann["remark"]) == ("3", "task.py is as it was handed out")
    assert bob["remark"] == "task.py cannot be read: it has more than 200,000 bytes."
    assert (cy["points"], cy["remark"]) == ("0", "fails first: task.py can be loaded")
    assert dan["remark"] == "task.py cannot be read: it is not a file."
    results = json.loads((tmp_path / "out" / "ann.json").read_text(encoding="utf-8"))
    assert set(results) == {"execution_time", "output", "output_format", "extra_data", "tests"}
    first = results["tests"][0]
    assert first.pop("output").startswith("ann's session claims the name sam,")
    assert first == {
        "number": "3.1",
        "name": "only one session gets a name",
        "score": 0.0,
        "max_score": 2.0,
        "status": "failed",
        "output_format": "text",
    }
    assert sum(test["score"] for test in results["tests"]) == 3
    done = grade(folder / "ann", "--gradescope", tmp_path / "results.json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "results.json").read_text())["tests"]) == 10
    assert grade(folder, "--gradescope", tmp_path / "results.json").stderr == (
        "lab: there are 8 hand-ins, so --gradescope needs a folder.\n"
    )


def test_the_examples_for_gradescope_and_github_use_what_there_is(tmp_path):
    folder = LABS / "grading"
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()]
    options = {each for text in texts for each in re.findall(r" (--[a-z]+)", text)}
    assert options == {"--lab", "--gradescope"}
    assert all(f'"{each}"' in SCRIPT.read_text(encoding="utf-8") for each in options)
    assert all(path.stat().st_mode & 0o100 for path in (folder / "gradescope").iterdir())
    report = textwrap.dedent((folder / "github.yml").read_text(encoding="utf-8").partition("run: |\n")[2])
    tests = [{"name": "one", "score": each, "max_score": 2.0, "output": ""} for each in (2.0, 0.0)]
    (tmp_path / "results.json").write_text(json.dumps({"tests": tests}))
    done = subprocess.run([sys.executable, "-c", report], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert '::notice title=Autograding report::{"totalPoints": 2.0, "maxPoints": 4.0}\n' in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sixty_hand_ins_are_graded_in_one_command(tmp_path):
    """Lab 1, because its checks take the least time."""
    folder, lab = tmp_path / "in", "01_lines"
    solution = (LABS / lab / "solution.py").read_text(encoding="utf-8")
    for number in range(30):
        hand_in(folder, f"right {number}", solution, lab)
    wrong = sorted((ANSWERS / "wrong_answers" / lab).glob("*.py"))
    for number in range(25):
        hand_in(folder, f"wrong {number}", wrong[number % len(wrong)].read_bytes(), lab)
    hand_in(folder, "cheat", f"{solution}\nimport sys\nsys.modules['stepper'].explore = print\n", lab)
    hand_in(folder, "loop", f"{solution}\nimport time\nwhile True:\n    time.sleep(0.01)\n", lab)
    hand_in(folder, "bomb", f"{solution}\nimport os\nwhile True:\n    os.fork()\n", lab)
    hand_in(folder, "syntax", f"{solution}\n)\n", lab)
    place = hand_in(folder, "plugins", (LABS / lab / "task.py").read_bytes(), lab)
    for name in ("conftest.py", "sitecustomize.py", "pytest.py", "stepper.py", "threading.py", "test_task.py"):
        (place / name).write_text("raise SystemExit(0)\n")
    (place / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    done = grade(folder, "--csv", tmp_path / "points.csv", "--seconds", 30, wait=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 61
    assert "60 graded in " in done.stdout
    assert " All checks pass for 30 of them." in done.stdout
    found = rows(tmp_path / "points.csv")
    assert {row["points"] for name, row in found.items() if name.startswith("right")} == {"13"}
    assert all(int(row["points"]) < 13 for name, row in found.items() if name.startswith("wrong"))
    told = {
        name: (found[name]["points"], found[name]["remark"]) for name in ("cheat", "loop", "bomb", "syntax", "plugins")
    }
    refused = "task.py uses something that a hand-in may not use. line"
    assert told == {
        "cheat": ("0", f"{refused} {solution.count(chr(10)) + 3}: it may not use sys.modules."),
        "loop": ("0", "the checks did not end within 30 seconds: task.py waits for ever, or has no end."),
        "bomb": ("0", f"{refused} {solution.count(chr(10)) + 4}: it may not use os.fork."),
        "syntax": ("0", "fails first: task.py can be loaded"),
        "plugins": ("4", "task.py is as it was handed out"),
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")
@pytest.mark.timeout(150)
def test_a_hand_in_that_misbehaves_harms_no_other_and_leaves_nothing(tmp_path):
    folder, lab = tmp_path / "in", "01_lines"
    unsolved = (LABS / lab / "task.py").read_text(encoding="utf-8")
    for name, (code, _) in MISBEHAVES.items():
        hand_in(folder, name, f"{unsolved}\n\n{code}", lab)
    hand_in(folder, "honest", (LABS / lab / "solution.py").read_bytes(), lab)
    command = [sys.executable, SCRIPT, "grade", folder, "--csv", tmp_path / "points.csv", "--trust", "--seconds", "20"]
    command += ["--memory", "1024", "--jobs", "2"]
    most, over = [0], threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:

        def watch() -> None:
            while not over.wait(0.3):
                most.append(len(below) if (below := descendants(process.pid)) else 0)
                seen.update(below)

        seen: dict[int, str] = {}
        watcher = threading.Thread(target=watch)
        watcher.start()
        said, _ = process.communicate(timeout=140)
        over.set()
        watcher.join()
        assert process.returncode == 0, said
    wait_for(lambda: not any("lab_process" in command_of(pid) for pid in seen))
    if lab_running.apart() and ("setpriv" in lab_running.inside(1) or os.geteuid()):
        assert 20 < max(most) < 2 * lab_running.PROCESSES + 10
    found = rows(tmp_path / "points.csv")
    assert found.pop("honest")["points"] == "13"
    for name, row in found.items():
        assert MISBEHAVES[name][1] in row["remark"], name
        assert int(row["points"]) <= 4, name  # those of the unsolved task


def command_of(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_ending_the_grading_ends_all_processes(tmp_path):
    for name in ("ann", "bob", "cy"):
        hand_in(tmp_path, name, "while True:\n    pass\n")
    with subprocess.Popen([sys.executable, SCRIPT, "grade", tmp_path, "--jobs", "2"]) as process:
        wait_for(lambda: sum("lab_process" in each for each in descendants(process.pid).values()) >= 2)
        below = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    wait_for(lambda: not any("lab_process" in command_of(pid) for pid in below))


@pytest.mark.slow
def test_an_answer_for_these_very_checks_is_to_be_looked_at(tmp_path):
    code = "if name == 'sam' and threading.current_thread().name == 'ann':\n            return"
    hand_in(tmp_path, "ann", LAB_3.replace("key = name.casefold()", code, 1))
    done = grade(tmp_path)
    number = LAB_3[: LAB_3.index("key = name.casefold()")].count("\n") + 1
    looks = [f"line {number} {sign}" for sign in ("knows 'sam', as the checks do", "knows 'ann', as the checks do")]
    assert f"; look: {looks[0]}; look: {looks[1]}; look: line {number} asks in which thread it runs\n" in done.stdout


@pytest.mark.slow
def test_a_stepper_that_was_replaced_is_found():
    code = (
        "import sys\nfound = type('R', (), {'fault': None})\nsys.modules['stepper'].explore = lambda *a, **k: found\n"
    )
    limits = lab_running.Limits(trusted=True)
    outcome = lab_running.run_checks(LABS / "03_name_race", f"{LAB_3}\n\n{code}".encode(), limits)
    assert outcome.problem == "task.py has changed the checks: with it, even the unsolved task passes all of them."


@pytest.mark.slow
def test_a_thread_that_calls_itself_a_daemon_is_still_waited_for():
    source = (LABS / "04_deadlock" / "task.py").read_text(encoding="utf-8")
    for method in ("leave(self, member)", "say(self, text)"):
        source = source.replace(f"def {method}:", f"def {method}:\n        threading.current_thread().daemon = True")
    outcome = lab_running.run_checks(LABS / "04_deadlock", source.encode(), lab_running.Limits())
    failed = [check for check in outcome.checks if not check.passed]
    assert failed[0].name == "test_a_member_can_leave_while_its_queue_is_full"
    assert "bob waits for self._lock, which ann holds." in failed[0].text


def test_results_do_not_count_if_the_process_of_the_checks_did_not_end_in_order():
    results = ('{"start": true}', '{"check": "x", "passed": true}', '{"canary": true}', '{"end": true}')
    said = b"5\n" + "".join(f"secret {each}\n" for each in results).encode()
    whole = lab_running._judge(["x"], said, "secret", "", "", False)
    assert (whole.problem, whole.checks) == (None, [("x", True, "")])
    assert lab_running._judge(["x"], said, "secret", "it ended early", "", False).problem == "it ended early"


@pytest.mark.slow
@pytest.mark.skipif("setpriv" not in lab_running.inside(1), reason="root and its namespaces are needed")
def test_a_hand_in_cannot_replace_the_checks_and_sees_no_other_process():
    source = """import os, pathlib
place = pathlib.Path.cwd().parent
found = [each for each in os.listdir("/proc") if each.isdigit()] if SEES_NONE else []
tried = [os.access(place, os.W_OK), os.access(place / "handed_in", os.W_OK), os.access(place / "tmp", os.W_OK)]
raise OSError(f"{len(found) < 5} {tried}")
""".replace("SEES_NONE", str("--mount-proc" in lab_running.inside(1)))
    outcome = lab_running.run_checks(LABS / "03_name_race", source.encode(), lab_running.Limits(trusted=True))
    assert "True [False, False, True]" in outcome.checks[0].text


@pytest.mark.slow
def test_the_solution_is_not_beside_the_checks():
    source = "import os, pathlib\nraise OSError([str(path) for path in pathlib.Path.cwd().parent.rglob('*.py')])\n"
    outcome = lab_running.run_checks(LABS / "03_name_race", source.encode(), lab_running.Limits(trusted=True))
    assert "test_task.py" in outcome.checks[0].text
    assert "solution.py" not in outcome.checks[0].text
