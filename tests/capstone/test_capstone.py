"""The capstone: its checks pass for the solutions and for the project's own server, and fail for wrong servers."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from support.programs import load
from support.waiting import wait_for
from wrong_servers import WRONG, Wrong

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "capstone.py"
PAGES = ROOT / "docs" / "capstone"
SOLUTIONS = pathlib.Path(__file__).parent / "solutions"
STEPS = [int(path.name[:2]) for path in sorted(PAGES.glob("[0-9][0-9]_*.rst"))]
OURS = (
    f"{sys.executable} -m chat_threads --host 127.0.0.1 --port {{port}} --db {{db}}"
    " --rate 0 --replay 0 --send-timeout 300"  # no limits of time, which a busy machine may reach
)
PATIENCE = 30.0  # seconds; a busy machine may need some

# What a wrong server needs above its classes.
BESIDES = """
import concurrent.futures
import time
POOL = concurrent.futures.ThreadPoolExecutor(20)
KEPT = []
SHARED = None
COUNT = {}
"""

capstone = load("capstone")
slow = [pytest.mark.slow, pytest.mark.timeout(120)]


def solution(step: int) -> pathlib.Path:
    return SOLUTIONS / f"step{step:02}.py"


def assert_passes(step: int, command: str, torture: bool = True) -> None:
    """Fail with the stories of the checks that fail."""
    client = f"python {SOLUTIONS / 'client.py'}"
    checks = capstone.checks(step)[: None if torture or step < 10 else 1]
    stories = [capstone.run(each, step, command, PATIENCE, client, minutes=0.2) for each in checks]
    if found := [story for story in stories if story]:
        pytest.fail("\n\n\n".join(found), pytrace=False)


@pytest.mark.parametrize("step", STEPS, ids=str)
class TestAStep:
    pytestmark = slow

    def test_its_solution_passes(self, step):
        assert_passes(step, f"python {solution(step)}")

    def test_the_projects_own_server_passes(self, step):
        assert_passes(step, OURS, torture=False)

    def test_the_solution_of_the_last_step_passes(self, step):
        if step < 10:
            assert_passes(step, f"python {solution(10)} --port {{port}} --db {{db}}")


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.step}-{wrong.why.replace(' ', '-')}")
def test_a_wrong_server_fails_for_its_own_reason(wrong: Wrong, tmp_path):
    files = [solution(wrong.step), SOLUTIONS / "client.py"][: 2 if wrong.step == 10 else 1]
    commands = []
    found = 0
    for file in files:
        text = file.read_text(encoding="utf-8")
        found += text.count(wrong.right)
        text = text.replace(wrong.right, wrong.wrong).replace("\n\n\ndef main", f"\n{BESIDES}\n\ndef main")
        program = tmp_path / file.name
        program.write_text(text.replace("SHARED = None", "SHARED = Lines()") if wrong.step < 4 else text)
        commands.append(f"python {program}")
    assert found == 1
    check = next(each for each in capstone.checks(wrong.step) if capstone.sentence(each) == wrong.fails)
    story = capstone.run(
        check, wrong.step, commands[0], 15.0 if "memory" in wrong.says else 3.0, commands[-1], minutes=0.2
    )
    assert story
    assert wrong.says in story


EVENT = "json.dumps(event)"
ODD = [
    (1, "endless brackets", EVENT, """('{"type":' + '[' * 100_000)""", 0),
    (3, "a list for the code", EVENT, "json.dumps({k: [v] if k == 'code' else v for k, v in event.items()})", 4),
    (3, "no code", EVENT, "json.dumps({k: v for k, v in event.items() if k != 'code'})", 3),
    (4, "a text of one word", EVENT, "json.dumps(event | {'text': 'one'} if len(str(event)) > 1000 else event)", 5),
    (4, "a number for a text", EVENT, "json.dumps(event | {'text': 5} if len(str(event)) > 1000 else event)", 5),
    (
        5,
        "each text twice",
        'number=message["number"])',
        'number=message["number"])\n            message["number"] = self._last[room] = self._last[room] + 1\n'
        "            for member in members:\n                member.put(encoded(message))",
        1,
    ),
    (6, "no message for who said it", "if not member.put", "if member is not session and not member.put", 0),
    (
        9,
        "lists for the rooms of old messages",
        EVENT,
        "json.dumps({k: [v] if k == 'room' and list(event)[2:3] == ['number'] else v for k, v in event.items()})",
        2,
    ),
    (9, "a list for a text", EVENT, "json.dumps({k: [v] if k == 'text' else v for k, v in event.items()})", 5),
]
"""What a server sends in place of an event: the step, what it is, how it is made, and the check that gets it."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "right", "wrong", "check"),
    [(step, *rest) for step, _, *rest in ODD],
    ids=[f"{step}-{what.replace(' ', '-')}" for step, what, *_ in ODD],
)
def test_odd_events_make_a_story(step, right, wrong, check, tmp_path):
    text = solution(step).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / "server.py").write_text(text.replace(right, wrong))
    story = capstone.run(capstone.checks(step)[check], step, f"python {tmp_path}/server.py", 3.0)
    assert story
    assert "What the clients sent and got:" in story


def test_a_check_that_does_not_understand_an_answer_says_what_was_expected():
    def check(stage):
        stage.guest("ann").ask("ping", "pong")["number"]

    story = capstone.run(check, 1, f"python {solution(1)}", PATIENCE)
    assert "Expected: events with the fields of docs/capstone/protocol.rst." in story
    assert story.endswith("This came of its last answer: KeyError: 'number'.")


@pytest.mark.slow
def test_torture_ends_what_a_launcher_has_started(tmp_path):
    command = f"sh -c '{sys.executable} {solution(10)} --port {{port}} --db {{db}}; true'"
    server = load("torture_stranger").Stranger(command, tmp_path / "chat.db")
    try:
        for ends in (server.kill, server.stop, server.end):
            assert server.start()
            ends()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port)).close()
    finally:
        server.end()


def test_each_step_has_a_page_with_all_its_parts():
    assert list(range(1, len(STEPS) + 1)) == STEPS
    for step, path in capstone.pages().items():
        page = path.read_text(encoding="utf-8")
        assert page.startswith(f"Step {step}: ")
        heads = re.findall(r"(?m)^(.+)\n-+$", page)
        assert heads == ["What you learn", "What you need", "Predict", "The task", "Check it", "In the server"], path
        assert re.search(r"(?m)^Time: about \d+ minutes\.$", page), path
        assert "Write down" in page.split("\nPredict\n")[1].split("\nThe task\n")[0], path
        assert f"capstone.py check {step} " in page, path
        for name in re.findall(r"``((?:chat_threads|tests|scripts|docs)/[\w/]+\.\w+)``", page):
            assert (ROOT / name).exists(), (path, name)
    assert {wrong.step for wrong in WRONG} == set(STEPS)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, encoding="utf-8", timeout=50, check=False
    )


@pytest.mark.slow
def test_the_command_tells_which_checks_fail_and_the_story_of_the_first(tmp_path):
    shutil.copy(PAGES / "start.py", tmp_path)
    done = run("check", 1, "--run", f"python {tmp_path}/start.py")
    assert done.returncode == 1
    assert "  ok     a greeting comes first and hello is answered with welcome\n" in done.stdout
    assert done.stdout.count("What the clients sent and got:") == 1
    assert "6 of 7 checks fail. With --all, the story of each is told.\n" in done.stdout
    page = (PAGES / "01_a_line.rst").read_text(encoding="utf-8")
    told = done.stdout.split("FAILS")[1].split("\n\n  FAILS")[0]
    for row in filter(None, told.split("\n")):
        assert row.strip() in page


def test_the_command_lists_the_steps_and_the_checks_of_one():
    assert run("list").stdout.startswith("1: a line\n2: many at once\n3: names\n")
    assert run("list", 3).stdout.startswith("3: names\n  hello comes first and only once\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["list", "99"], "capstone: there is no step 99; there are 1 to "),
        (["list", "3-2"], "capstone: there is no step 3-2; there are 1 to "),
        (["check", "one", "--run", "true"], "capstone: one is not a step, such as 3, or 1-3 for several."),
        (["check", "1", "--run", "python 'x"], "capstone: python 'x is not a command: No closing quotation."),
    ],
)
def test_an_impossible_request_is_refused_in_one_line(arguments, why):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(why)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no-such-command", "could not be started: No such file or directory: no-such-command. Is --run a command"),
        ("python ~/no-such-file.py", f"started: No such file or directory: {pathlib.Path.home()}/no-such-file.py. Is"),
        ("python -c 'raise SystemExit(3)'", "The program has ended, with exit code 3."),
        (f"{PAGES / 'start.py'}", "start.py. Write 'python FILE', or make the file executable (chmod +x)."),
    ],
)
def test_a_program_that_does_not_start_is_told_so(command, why):
    done = run("check", 1, "--run", command)
    assert done.returncode == 1
    assert why in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("step", "started"), [(1, 1), (10, 3)], ids=["1", "10"])
def test_ending_the_check_ends_the_programs_that_it_started(step, started, tmp_path):
    program = tmp_path / "server.py"
    pids = tmp_path / "pids"
    program.write_text(
        f"import os, time\nwith open({str(pids)!r}, 'a') as pids:\n    print(os.getpid(), file=pids)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, SCRIPT, "check", str(step), "--run", f"python {program}"]) as process:
        wait_for(lambda: pids.exists() and pids.read_text().count("\n") == started)
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    for pid in pids.read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
