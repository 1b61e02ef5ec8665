"""Labs 1, 5 and 7 to 10: each fails as it is handed out, passes when it is solved, and is not fooled."""

from __future__ import annotations

import ast
import importlib.util
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
LABS = ROOT / "docs" / "labs"
WRONG = ROOT / "tests" / "labs" / "wrong_answers"
RIGHT = ROOT / "tests" / "labs" / "right_answers"
OURS = ("01_lines", "05_slow_reader", "07_store_first", "08_batching", "09_asyncio", "10_many_servers")
ANSWERS = {
    kind: [path.relative_to(kind) for lab in OURS for path in sorted(kind.glob(f"{lab}/*.py"))]
    for kind in (WRONG, RIGHT)
}
PATIENCE = 170.0  # seconds; a few are enough, unless the machine is very busy
SHIPPED = {
    "01_lines": "No line has ended yet, but feed() returned one: what recv() returns is not a line.",
    "05_slow_reader": "200 lines were kept for bob; 5 may wait, with one last word.",
    "07_store_first": "Bob has seen '3 three' and will answer it, but nobody will find it: it was shown",
    "08_batching": "Each call costs the same, however much it sends: all gathered lines should go out in one call,",
    "09_asyncio": "While one task awaits, another one runs. Between the look and the taking there is an await.",
    "10_many_servers": "bob's server showed them in another order.",
}
REPEAT = """
def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("time_around")
    metafunc.parametrize("time_around", range(5))
"""


def copy_out(lab: str, folder: pathlib.Path) -> pathlib.Path:
    """The lab in a fresh folder, as students have it."""
    shutil.copytree(LABS / lab, folder / lab, ignore=shutil.ignore_patterns("solution.py", "__pycache__"))
    shutil.copytree(LABS / "stepper", folder / "stepper", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder / lab


def check(lab: str, task: pathlib.Path, folder: pathlib.Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a lab's checks on a file, with nothing but pytest, up to the first that fails."""
    copy = copy_out(lab, folder)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, "test_task.py"]
    environment = os.environ | {"LAB_TASK": str(task), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("lab", OURS)
def test_a_lab_as_handed_out_fails_for_the_right_reason(lab, tmp_path):
    done = check(lab, LABS / lab / "task.py", tmp_path)
    assert done.returncode == 1, done.stdout
    assert SHIPPED[lab] in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.timeout(PATIENCE + 10)
@pytest.mark.parametrize("lab", OURS)
def test_a_lab_solved_passes_five_times_in_a_row(lab, tmp_path):
    (tmp_path / "repeat.py").write_text(REPEAT)
    done = check(lab, LABS / lab / "solution.py", tmp_path, "-p", "repeat")
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 5 * (LABS / lab / "test_task.py").read_text().count("\ndef test_")


@pytest.mark.parametrize("answer", ANSWERS[WRONG], ids=str)
def test_a_wrong_answer_fails_and_the_first_story_says_why(answer, tmp_path):
    task = WRONG / answer
    why = ast.get_docstring(ast.parse(task.read_text(encoding="utf-8"))).partition("\nFails: ")[2]
    assert why
    done = check(answer.parent.name, task, tmp_path)
    assert done.returncode == 1, done.stdout
    assert why in done.stdout


@pytest.mark.parametrize("answer", ANSWERS[RIGHT], ids=str)
def test_another_right_answer_passes(answer, tmp_path):
    done = check(answer.parent.name, RIGHT / answer, tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("lab", OURS)
def test_there_are_several_wrong_answers_to_each_lab(lab):
    assert len([answer for answer in ANSWERS[WRONG] if answer.parent.name == lab]) >= 10


@pytest.mark.parametrize("lab", ["01_lines", "07_store_first", "10_many_servers"])
def test_the_readme_shows_what_the_command_prints(lab, tmp_path):
    copy = copy_out(lab, tmp_path)
    environment = os.environ | {"PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "task.py"], cwd=copy, env=environment, capture_output=True, encoding="utf-8", check=True
    )
    shown = textwrap.indent("$ python task.py\n" + done.stdout, "    ")
    assert shown in (LABS / lab / "README.rst").read_text(encoding="utf-8")


@pytest.mark.parametrize("lab", OURS)
def test_a_lab_needs_nothing_but_pytest_and_the_standard_library(lab):
    for path in (LABS / lab).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            allowed = sys.stdlib_module_names | ({"pytest", "stepper"} if path.name == "test_task.py" else set())
            assert {name.partition(".")[0] for name in names} <= allowed, path


@pytest.mark.parametrize("lab", OURS)
def test_a_lab_is_whole(lab):
    readme = (LABS / lab / "README.rst").read_text(encoding="utf-8")
    assert readme.startswith(f"Lab {int(lab[:2])}: ")
    for head in ("See it happen", "The task", "Check it", "Questions", "In the server"):
        assert f"\n{head}\n{'-' * len(head)}\n" in readme
    questions = re.findall(r"^(\d)\. ", readme.split("\nQuestions\n")[1].split("\nIn the server\n")[0], re.MULTILINE)
    answers = re.findall(r"^(\d)\. ", (LABS / "answers" / f"{lab}.rst").read_text(encoding="utf-8"), re.MULTILINE)
    assert questions == answers == ["1", "2", "3"]
    files = readme.split("\nIn the server\n")[1]
    assert re.findall(r"``(chat_threads/[\w/]+\.py)``", files)
    for path in re.findall(r"``((?:chat_threads|tests|scripts)/[\w/]+\.py)``", files):
        assert (ROOT / path).exists(), path


def test_a_server_around_an_outbox_counts_its_calls(tmp_path):
    """measure.py measures serve.py with the student's Outbox and without it."""
    copy = copy_out("08_batching", tmp_path)
    for options in ([], ["--task", str(LABS / "08_batching" / "solution.py")]):
        command = [sys.executable, "serve.py", "--port", "0", *options]
        with subprocess.Popen(command, cwd=copy, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin
            assert server.stdout
            try:
                port = int(server.stdout.readline().split()[-1])
                with socket.create_connection(("127.0.0.1", port), timeout=20) as ann:
                    ann.sendall(b"ann #lab8\none\ntwo\n")
                    seen = b""
                    while b"ann: two\r\n" not in seen:
                        seen += ann.recv(4096)
                server.stdin.close()
                counted = re.fullmatch(r"(\d+) lines in (\d+) calls\n", server.stdout.read())
            finally:
                server.kill()
        assert seen == b"* What is your name?\r\n* You are in #lab8.\r\nann: one\r\nann: two\r\n"
        assert counted
        assert counted[1] == "4"
        assert 1 <= int(counted[2]) <= 4
        assert options or counted[2] == "4"


def test_the_measurements_are_drawn():
    spec = importlib.util.spec_from_file_location("measure", LABS / "08_batching" / "measure.py")
    measure = importlib.util.module_from_spec(spec)
    sys.modules["measure"] = measure
    spec.loader.exec_module(measure)
    found = [
        measure.Found("a line a call", 1, 900.0, 1.0),
        measure.Found("a line a call", 4, 950.0, 1.0),
        measure.Found("your Outbox", 1, 880.0, 1.0),
        measure.Found("your Outbox", 4, 3100.0, 3.9),
    ]
    drawn = ElementTree.fromstring(measure.draw(found, 20))
    space = "{http://www.w3.org/2000/svg}"
    heights = [float(circle.get("cy")) for circle in drawn.iter(f"{space}circle")]
    assert sorted(range(4), key=lambda at: -heights[at]) == [2, 0, 1, 3]
    texts = [text.text for text in drawn.iter(f"{space}text")]
    assert {"a line a call", "your Outbox", "3.9", "messages under way", "1,000", "2,000"} <= set(texts)
