"""scripts/lab.py, as a student and a grader run it."""

from __future__ import annotations

import ast
import pathlib
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import lab_running
import pytest
from support.processes import descendants
from support.waiting import wait_for

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "lab.py"
LABS = ROOT / "docs" / "labs"


def lab(*arguments: object, at: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, cwd=at, capture_output=True, encoding="utf-8", timeout=55, check=False)


@pytest.fixture
def started(tmp_path):
    """Lab 1 in a folder of its own."""
    done = lab("start", 1, tmp_path, at=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "01_lines"


def test_the_list_has_every_lab_with_its_title(tmp_path):
    done = lab("list", at=tmp_path)
    folders = sorted(path for path in LABS.iterdir() if (path / "task.py").exists())
    titles = [(path / "README.rst").read_text(encoding="utf-8").partition("\n")[0] for path in folders]
    told = [f"{int(path.name[:2])}  {title.partition(': ')[2]}" for path, title in zip(folders, titles, strict=True)]
    assert done.stdout.splitlines() == told
    assert "1  a stream is not lines" in told


def test_a_lab_is_copied_out_without_what_gives_it_away(started):
    assert sorted(path.name for path in started.iterdir()) == ["README.rst", "task.py", "test_task.py"]
    for path in (LABS / "stepper").glob("*.py"):
        assert (started.parent / "stepper" / path.name).read_bytes() == path.read_bytes()
    assert (started / "task.py").read_bytes() == (LABS / "01_lines" / "task.py").read_bytes()


@pytest.mark.parametrize(
    ("path", "python"), [("/nowhere", sys.executable), (str(pathlib.Path(sys.executable).parent), "python")]
)
def test_start_prints_commands_for_the_python_that_runs_it(tmp_path, monkeypatch, path, python):
    monkeypatch.setenv("PATH", path)
    done = lab("start", 7, tmp_path / "new", at=tmp_path)
    commands = [line.split("  ")[1] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert commands == [
        f"cd {tmp_path / 'new' / '07_store_first'}",
        f"{python} task.py",
        f"{python} {SCRIPT} check",
        f"{python} {SCRIPT} hint",
    ]
    assert lab("hint", at=tmp_path / "new" / "07_store_first").stdout.startswith("1. ")


def test_start_prints_how_to_measure_where_there_is_something_to_measure(tmp_path):
    done = lab("start", 8, tmp_path, at=tmp_path)
    assert f" measure.py {SCRIPT.parent / 'load.py'}  measures it" in " ".join(done.stdout.split(" "))
    assert "measure.py" not in lab("start", 7, tmp_path, at=tmp_path).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_ending_the_check_ends_all_processes_that_it_started(started, name):
    (started / "task.py").write_text("while True: pass\n")
    with subprocess.Popen([sys.executable, SCRIPT, "check"], cwd=started) as process:
        wait_for(lambda: any("lab_process" in command for command in descendants(process.pid).values()))
        below = descendants(process.pid)
        process.send_signal(getattr(signal, name))
        assert process.wait(20) == 128 + getattr(signal, name)
    wait_for(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in below))


def test_a_lab_that_was_started_is_not_overwritten(started):
    (started / "task.py").write_text("my work")
    done = lab("start", 1, started.parent, at=started)
    assert (done.returncode, done.stderr) == (2, f"lab: {started} exists; it was left as it is.\n")
    assert (started / "task.py").read_text() == "my work"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["start", 99, "."], "lab: there is no lab 99; there are 1"),
        (["check", 99], "lab: there is no lab 99; there are 1"),
        (["check"], " is not a lab's folder. Go to it, or say which: lab.py check 1"),
        (["check", 1], "lab: lab 1 is not here. Start it first: lab.py start 1 "),
        (["hint"], " is not a lab's folder. Go to it, or say which: lab.py hint 1"),
        (["hint", 5], "lab: lab 5 is not here. Start it first: lab.py start 5 "),
    ],
)
def test_an_impossible_request_is_refused_in_one_line(arguments, why, tmp_path):
    done = lab(*arguments, at=tmp_path)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_labs_themselves_are_not_worked_in():
    done = lab("check", at=LABS / "01_lines")
    assert done.returncode == 2
    assert "is where the labs are handed out from" in done.stderr
    done = lab("start", 1, LABS / "mine", at=ROOT)
    assert done.returncode == 2
    assert "take another folder" in done.stderr
    assert not (LABS / "mine").exists()


def test_a_check_tells_the_story_of_the_first_that_fails_and_nothing_of_pytest(started):
    done = lab("check", at=started)
    assert done.returncode == 1
    assert done.stdout.startswith("Lab 1: a stream is not lines\n\n  ok     a line in one piece is a line\n")
    assert "  FAILS  a line in two pieces is one line\n\n         The client sent b'hi bob\\n'\n" in done.stdout
    assert "Step 1: No line has ended yet" in done.stdout
    assert done.stdout.count("The client sent") == 1
    assert "9 of 13 checks fail. lab.py check --all tells the story of each." in done.stdout
    for pytests in ("test_task", "pytest", "Failed", "____", ".py:"):
        assert pytests not in done.stdout


def test_a_long_story_is_told_to_its_end(tmp_path):
    lab("start", 7, tmp_path, at=tmp_path)
    answer = ROOT / "tests" / "labs" / "wrong_answers" / "07_store_first" / "enters_without_the_lock.py"
    shutil.copy(answer, tmp_path / "07_store_first" / "task.py")
    done = lab("check", 7, at=tmp_path)
    assert "'one' was said. Bob enters while ann says 'two'. He has to see 1 and 2, each once.\n" in done.stdout
    assert "bob was shown 1: 2 is missing.\n" in done.stdout


def test_an_assertion_in_the_students_file_is_told_with_its_line(started):
    shutil.copy(LABS / "01_lines" / "solution.py", started / "task.py")
    with (started / "task.py").open("a") as task:
        task.write("\n\nraise AssertionError('my own test\\n  fails')\n")
    done = lab("check", at=started)
    assert "in <module>: raise AssertionError" in done.stdout
    assert "my own test\n           fails\n" in done.stdout


def test_all_stories_are_told_on_demand(started):
    done = lab("check", "--all", at=started)
    assert done.stdout.count("FAILS") == 9
    assert "Ann and bob are connected at the same time" in done.stdout
    assert "--all" not in done.stdout


def test_a_lab_that_is_solved_passes(started):
    shutil.copy(LABS / "01_lines" / "solution.py", started / "task.py")
    for arguments, place in ((["check"], started), (["check", 1], started.parent), (["check", 1], started)):
        done = lab(*arguments, at=place)
        assert done.returncode == 0, done.stdout
        assert "All 13 checks pass." in done.stdout
        assert "FAILS" not in done.stdout


def test_the_checks_are_those_that_were_handed_out(started):
    (started / "test_task.py").write_text("def test_nothing():\n    pass\n")
    assert lab("check", at=started).returncode == 1


def test_an_error_in_the_students_file_is_shown_with_its_line(started):
    shutil.copy(LABS / "01_lines" / "solution.py", started / "task.py")
    with (started / "task.py").open("a") as task:
        task.write("\n\nclass Lines:\n    def __init__(self, limit):\n        self.limit = limits\n")
    done = lab("check", at=started)
    assert done.returncode == 1
    assert "in __init__: self.limit = limits\n         NameError: name 'limits' is not defined" in done.stdout


def test_a_file_that_is_not_python_is_shown_where_it_breaks(started):
    (started / "task.py").write_text("class Lines:\n    def feed(self, data)\n        pass\n")
    done = lab("check", at=started)
    assert done.returncode == 1
    assert "  FAILS  task.py can be loaded\n" in done.stdout
    assert done.stdout.endswith("\nNone of the 13 checks could be run.\n")
    assert "line 2" in done.stdout
    assert "SyntaxError: expected ':'" in done.stdout


def test_a_file_that_could_change_the_checks_is_checked_and_told_why_it_will_not_count(started):
    shutil.copy(LABS / "01_lines" / "solution.py", started / "task.py")
    with (started / "task.py").open("a") as task:
        task.write("\n\nimport os\nnumber = os.getpid()\nkept = [os.getpid(), os.getpid()]\n")
    done = lab("check", at=started)
    number = (started / "task.py").read_text().count("\n")
    assert done.returncode == 1
    assert done.stdout.partition("  FAILS  ")[2].splitlines() == [
        "it uses only what solutions need",
        "",
        f"         line {number - 1}: it may not use os.getpid.",
        f"         line {number}: it may not use os.getpid.",
        "",
        "         A grader gives no points for it as it is. docs/labs/README.rst says what a hand-in may use, and why.",
        "",
        "1 of 14 checks fails.",
    ]


def test_a_missing_pair_of_brackets_is_told_as_such(tmp_path):
    lab("start", 3, tmp_path, at=tmp_path)
    task = tmp_path / "03_name_race" / "task.py"
    source = (LABS / "03_name_race" / "solution.py").read_text(encoding="utf-8")
    task.write_text(source.replace("with self._lock:", "with threading.Lock:"))
    done = lab("check", 3, at=tmp_path)
    assert "died of TypeError: " in done.stdout
    assert "hand-in" not in done.stdout
    task.write_text(source.replace("= threading.Lock()", "= threading.Lock"))
    done = lab("check", "--all", 3, at=tmp_path)
    assert "it may not keep threading.Lock itself or pass it on, only call it. Is () missing after it?" in done.stdout


def test_a_missing_file_is_reported(started):
    (started / "task.py").unlink()
    done = lab("check", at=started)
    assert (done.returncode, done.stderr) == (2, f"lab: {started / 'task.py'} is missing.\n")


def test_a_task_that_waits_for_ever_is_ended():
    source = b"import threading\nthreading.Event().wait()\n"
    outcome = lab_running.run_checks(LABS / "01_lines", source, lab_running.Limits(seconds=3))
    assert outcome.problem == "the checks did not end within 3 seconds: task.py waits for ever, or has no end."


def test_a_grader_gets_junit_xml(started, tmp_path):
    done = lab("check", 1, "--junitxml", tmp_path / "ann.xml", at=started)
    assert done.returncode == 1
    suite = ElementTree.parse(tmp_path / "ann.xml").find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("13", "9", "0")
    done = lab("check", 1, "--junitxml", tmp_path / "nowhere" / "ann.xml", at=started)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lab: {tmp_path / 'nowhere' / 'ann.xml'} could not be written: ")


def test_hints_come_one_at_a_time_and_are_remembered(started):
    assert lab("hint", "--again", at=started).stdout == "No hint was given yet.\n"
    first, second = lab("hint", at=started).stdout, lab("hint", 1, at=started.parent).stdout
    assert first.startswith("1. Bytes without an LF are not a line yet.")
    assert second.startswith("2. Append the new bytes to the kept bytes")
    assert lab("hint", "--again", at=started).stdout == f"{first}\n{second}"
    assert (started / ".hints").read_text() == "2\n"
    for _ in range(3):
        lab("hint", at=started)
    done = lab("hint", at=started)
    assert done.returncode == 2
    assert done.stderr == "lab: there are no more hints; lab.py hint --again shows all 5.\n"


def test_every_lab_has_hints():
    for path in sorted(LABS.glob("[0-9]*")):
        text = (path / "hints.rst").read_text(encoding="utf-8")
        numbers = [int(line.split(".")[0]) for line in text.splitlines() if line[:1].isdigit()]
        assert numbers == list(range(1, len(numbers) + 1)), path
        assert len(numbers) >= 3, path


def test_the_network_is_not_used():
    imported = set()
    for path in SCRIPT.parent.glob("lab*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
    assert not imported & {"socket", "urllib", "http", "ftplib", "smtplib", "asyncio", "requests"}
    assert "xml" in imported


def test_the_lecturers_page_lists_the_labs_as_the_script_does(tmp_path):
    page = (LABS / "README.rst").read_text(encoding="utf-8")
    told = lab("list", at=tmp_path).stdout.splitlines()
    assert "lab.py list\n" + "".join(f"    {line}\n" for line in told) in page


def test_check_without_pytest_says_what_to_install(started):
    plant = (
        "import importlib.util, runpy, sys; find = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *more: None if name == 'pytest' else find(name, *more);"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r}); sys.argv = [{str(SCRIPT)!r}, 'check'];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", plant], cwd=started, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"lab: the checks need pytest. Install it with: {sys.executable} -m pip install pytest\n"
