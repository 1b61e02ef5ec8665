"""The labs one_writer, name_race, deadlock and goodbye."""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

# Seconds: on a busy machine the most expensive answers take a while.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = pathlib.Path(__file__).parents[2]
LABS = ROOT / "docs" / "labs"
WRONG = ROOT / "tests" / "labs" / "wrong_answers"
MINE = ("02_one_writer", "03_name_race", "04_deadlock", "06_goodbye")
RIGHT = ROOT / "tests" / "labs" / "right_answers"
WRONG_ANSWERS = [f"{lab}/{path.stem}" for lab in MINE for path in sorted((WRONG / lab).glob("*.py"))]
RIGHT_ANSWERS = [f"{lab}/{path.stem}" for lab in MINE for path in sorted((RIGHT / lab).glob("*.py"))]

# The failures of each unsolved task: all of its faults, and nothing else.
AS_HANDED_OUT = {
    "02_one_writer": {
        "test_lines_arrive_whole": "The client got the line 'ann bob 1', which nobody said.",
        "test_say_does_not_wait_for_the_client": "No thread can continue: ann waits in send(), line ",
    },
    "03_name_race": {
        "test_only_one_session_gets_a_name": "Both were told yes, and only one can be sam.",
        "test_rename_takes_the_new_name_and_frees_the_old_one_in_one_step": "it had two names.",
        "test_a_session_that_changes_its_name_never_keeps_two_from_others": "ann's session had both names.",
        "test_a_session_that_does_not_get_the_new_name_keeps_the_old_one": "Both were told yes, and only one can be",
        "test_only_one_session_gets_a_name_by_claim_or_by_rename": "Both were told yes, and only one can be sam.",
        "test_a_name_released_twice_is_not_taken_from_its_next_session": "The table says: sam is nobody.",
        "test_a_name_released_during_a_rename_is_not_taken_from_its_next_session": "The table says: sam is nobody",
    },
    "04_deadlock": {
        "test_a_member_can_leave_while_its_queue_is_full": "bob waits for self._lock, which ann holds.",
        "test_nobody_waits_for_a_member_that_does_not_read": "No thread can continue: ann waits in put(), line ",
        "test_two_speakers_disconnect_all_that_are_slow": "No thread can continue: ann waits in put(), line ",
        "test_two_speakers_and_one_free_place": "No thread can continue: bob waits in put(), line ",
        "test_a_member_that_joins_while_another_is_disconnected_is_a_member": "ann waits in put(), line ",
    },
    "06_goodbye": {
        "test_every_accepted_text_is_stored_when_stop_returns": "the stored texts were ['1'].",
        "test_a_text_submitted_during_stop_is_stored_or_refused": "told that 1 is accepted. It is not stored.",
        "test_an_old_session_does_not_take_the_name_from_a_new_one": "But who('sam') is None: nobody.",
    },
}


@pytest.fixture
def stepper(monkeypatch):
    monkeypatch.syspath_prepend(LABS)
    import stepper

    return stepper


@pytest.fixture
def failures(stepper, monkeypatch):
    """A function that returns the failed checks of a lab for a file, with their messages: all, or one by name."""

    def failures(lab: str, path: pathlib.Path, only: str = "") -> dict[str, str]:
        monkeypatch.setenv("LAB_TASK", str(path))
        spec = importlib.util.spec_from_file_location(f"test_{lab}", LABS / lab / "test_task.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        said = {}
        for name, check in list(vars(module).items()):
            if name == only or (name.startswith("test_") and not only):
                try:
                    check()
                except pytest.fail.Exception as failed:
                    said[name] = str(failed)
        assert module.task.__file__ == str(path)
        return said

    return failures


@pytest.mark.parametrize("lab", MINE)
def test_a_task_as_handed_out_fails_its_checks_for_the_right_reason(lab, failures):
    said = failures(lab, LABS / lab / "task.py")
    assert set(said) == set(AS_HANDED_OUT[lab])
    for check, words in AS_HANDED_OUT[lab].items():
        assert words in said[check].splitlines()[-1]


@pytest.mark.parametrize("lab", MINE)
def test_a_solution_passes_twice_in_a_row(lab, failures):
    assert [failures(lab, LABS / lab / "solution.py") for _ in range(2)] == [{}] * 2


@pytest.mark.parametrize("answer", WRONG_ANSWERS)
def test_a_wrong_answer_is_caught_by_the_check_that_it_names(answer, failures):
    path = WRONG / f"{answer}.py"
    check, words = re.search(r"^Caught by: (test_\w+): (.+)$", path.read_text(), re.M).groups()
    assert words in failures(path.parent.name, path, check)[check].splitlines()[-1]


@pytest.mark.parametrize("lab", MINE)
def test_there_are_ten_wrong_answers_to_a_lab_and_more(lab):
    assert len(list((WRONG / lab).glob("*.py"))) >= 10


@pytest.mark.parametrize("answer", RIGHT_ANSWERS)
def test_another_right_answer_passes(answer, failures):
    path = RIGHT / f"{answer}.py"
    assert failures(path.parent.name, path) == {}


@pytest.mark.parametrize("lab", MINE)
def test_a_lab_copied_out_tells_its_story_with_nothing_but_pytest(lab, tmp_path):
    shutil.copytree(LABS / lab, tmp_path / lab)
    shutil.copytree(LABS / "stepper", tmp_path / "stepper", ignore=shutil.ignore_patterns("__pycache__"))
    done = run("-m", "pytest", "-p", "no:cacheprovider", "test_task.py", cwd=tmp_path / lab)
    assert done.returncode == 1
    assert f"{len(AS_HANDED_OUT[lab])} failed" in done.stdout
    assert "Traceback" not in done.stdout
    for words in AS_HANDED_OUT[lab].values():
        assert words in done.stdout
    for row in ("\nstep  ", "\n   1  "):
        assert row in done.stdout
    shutil.copy(tmp_path / lab / "solution.py", tmp_path / lab / "task.py")
    done = run("-m", "pytest", "-p", "no:cacheprovider", "test_task.py", cwd=tmp_path / lab)
    assert (done.returncode, "failed" in done.stdout) == (0, False)


@pytest.mark.parametrize("lab", MINE)
def test_the_story_in_the_readme_is_what_the_check_tells(lab, failures):
    checks = (LABS / lab / "README.rst").read_text().split("\nCheck it\n--------\n")[1]
    story = re.search(r"::\n\n(.*?)\n\n(?=\S)", checks, re.S)[1]
    assert textwrap.dedent(story) in [said.rstrip() for said in failures(lab, LABS / lab / "task.py").values()]


def test_an_answer_that_only_the_interpreter_lock_makes_right_is_on_the_page(failures, stepper, monkeypatch):
    path = WRONG / "03_name_race" / "no_call_between_look_and_take.py"
    page = (LABS / "03_name_race" / "README.rst").read_text()
    claim = path.read_text().partition("    def claim")[2].partition("\n\n")[0]
    assert f"    def claim{claim}\n\nWith an interpreter lock no check finds a fault in it." in page
    said = failures("03_name_race", path)["test_only_one_session_gets_a_name"]
    assert f"nothing keeps them apart::\n\n{textwrap.indent(said.rstrip(), '    ')}\n\nQuestions\n" in page
    monkeypatch.setattr(stepper, "explore", functools.partial(stepper.explore, free=False))
    assert failures("03_name_race", path) == {}


@pytest.mark.parametrize("lab", MINE)
def test_a_readme_asks_three_questions_which_are_answered_elsewhere(lab):
    readme = (LABS / lab / "README.rst").read_text()
    asked = readme.split("Questions\n---------\n")[1].split("\nIn the server\n")[0]
    answered = (LABS / "answers" / f"{lab}.rst").read_text()
    assert numbered(asked) == numbered(answered) == ["1", "2", "3"]
    assert answered.startswith(f"Lab {int(lab[:2])}: answers\n")


@pytest.mark.parametrize("lab", MINE)
def test_hints_are_numbered_paragraphs(lab):
    hints = (LABS / lab / "hints.rst").read_text()
    assert numbered(hints) == [str(number) for number in range(1, hints.count("\n\n") + 2)]
    assert len(numbered(hints)) >= 3


@pytest.mark.parametrize("lab", MINE)
def test_every_name_of_the_server_in_a_readme_exists(lab):
    section = (LABS / lab / "README.rst").read_text().split("\nIn the server\n")[1]
    code = re.findall(r"``([^`]+)``", section)
    files = [ROOT / name for name in code if name.endswith(".py")]
    sources = "".join(path.read_text() for path in files)
    assert files
    for name in code:
        if not name.endswith(".py"):
            assert all(re.search(rf"\b(class|def|self\.) ?{part}\b", sources) for part in name.split(".")), name


def numbered(text: str) -> list[str]:
    return re.findall(r"^(\d)\. ", text, re.M)


@pytest.mark.parametrize(
    ("lab", "shown", "mended"),
    [
        (
            "02_one_writer",
            r"100 lines were said\. \d+ came, \d\d? of them as they were said\.\n  a line of",
            "100 came, 100 of",
        ),
        ("03_name_race", r"By the stepper: after \d+ orders, \d+ ms:\n\nHow the threads", "no fault"),
        ("04_deadlock", r"ann has not ended\..+\nbob has not ended\.", "ann has ended.\nbob has ended."),
        ("06_goodbye", r"texts accepted: 100, stored: \d\d?\n.+\n.+nobody", "stored: 100"),
    ],
)
def test_the_fault_is_shown_by_running_the_task_and_gone_from_the_solution(lab, shown, mended):
    assert re.search(shown, run("task.py", cwd=LABS / lab).stdout)
    assert mended in run("solution.py", cwd=LABS / lab).stdout


def run(*args: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in ("LAB_TASK", "PYTEST_ADDOPTS")}
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=50, check=False
    )
