"""lab.py replay: the run that went wrong, step by step, in a terminal and in a pipe."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest
from lab_screen import draw
from lab_story import story_of

from chat_threads.dialects.columns import columns

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "lab.py"
LABS = ROOT / "docs" / "labs"
SCHEDULE = "gil ann, bob"
RACE = "Both were told yes, and only one can be sam. The table says: sam is ann's session."


def lab(
    *arguments: object, at: pathlib.Path, typed: str = "", python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    command = [python, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, cwd=at, input=typed, capture_output=True, encoding="utf-8", timeout=55, check=False)


@pytest.fixture
def started(tmp_path):
    """Lab 3 in a folder of its own."""
    shutil.copytree(LABS / "03_name_race", tmp_path / "03_name_race")
    return tmp_path / "03_name_race"


def run(**more):
    steps = [
        [0, "line", 3, "with self._lock:"],
        [0, "note", 0, "takes self._lock"],
        [0, "line", 4, "self._x.get()"],
        [0, "stopped", 0, "stopped after it calls self._x.get()"],
        [1, "line", 3, "with self._lock:"],
        [1, "note", 0, "waits for self._lock, which ann holds"],
        [0, "goes on", 4, "self._x.get()"],
        [0, "value", 0, "self._x = 2"],
        [0, "line", 3, "with self._lock:"],
        [0, "note", 0, "releases self._lock"],
        [0, "note", 0, "ends"],
        [1, "note", 0, "takes self._lock"],
    ]
    return {"threads": ["ann", "лея 李"], "steps": steps, "fault": "It is 2.", "values": {"self._x": "1"}, **more}


def test_each_step_knows_the_values_the_locks_and_where_the_threads_are():
    story = story_of(run())
    assert [step.number for step in story.steps] == [1, 2, 3, 4, 5, 6]
    assert [step.code() for step in story.steps][3:] == ["4 … self._x.get()", "3 with self._lock:", ""]
    assert [step.values["self._x"] for step in story.steps] == ["1", "1", "1", "2", "2", "2"]
    assert [step.holds for step in story.steps][3:] == [[["self._lock"], []], [[], []], [[], ["self._lock"]]]
    assert story.steps[2].where == [
        "line 4, stopped after it calls self._x.get()",
        "line 3, waits for self._lock, which ann holds",
    ]
    assert story.steps[5].where == ["has ended", "line 3"]
    assert story.told(story.steps[1]) == ["── ann is stopped after it calls self._x.get(); лея 李 has the turn now"]


@pytest.mark.parametrize(("width", "height"), [(79, 24), (39, 24), (39, 10), (20, 8)])
def test_a_step_fits_any_screen_and_nothing_is_lost_on_a_usual_one(width, height):
    story = story_of(run())
    for at in range(len(story.steps)):
        lines = draw(story, at, "Lab 3, check 1: only one", width, height)
        assert len(lines) <= max(height, 3 + len([line for line in lines if line]))
        assert all(columns(line) <= width for line in lines)
        if height == 24:
            text = " ".join(" ".join(lines).split())
            assert f"Step {at + 1} of 6" in text
            assert f"self._x = {story.steps[at].values['self._x']}" in text
            assert (story.fault in text) == (at == 5)


def test_what_a_terminal_obeys_does_not_reach_it():
    story = story_of(run(threads=["a\x1b[2J", "b\nc"], fault="\x9b31m"))
    assert story.threads == ["a\ufffd[2J", "b c"]
    assert story.fault == "\ufffd31m"


@pytest.mark.slow
def test_in_a_pipe_the_run_is_told_line_by_line_and_its_command_tells_it_again(started):
    done = lab("replay", at=started)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0] == "Lab 3, check 1: only one session gets a name."
    assert told[4:8] == [
        "At the beginning: self._named = {}",
        "Step 1 of 6: ann, line 21: key = name.casefold()",
        "Step 2 of 6: ann, line 22: if self._named.get(key, session) is not session:",
        "    ── ann is stopped after it calls self._named.get(); bob has the turn now",
    ]
    assert told[-3:] == [RACE, "", f'lab.py replay 3 --check 1 --schedule "{SCHEDULE}"']
    again = lab(
        "replay", 3, "--check", "only one session gets a name", "--schedule", f"Schedule: {SCHEDULE}", at=started
    )
    assert again.stdout == done.stdout
    page = lab("replay", "--html", "run.html", at=started)
    assert (
        page.stdout
        == "Lab 3, check 1: only one session gets a name. Open run.html in a browser; it needs no network.\n"
    )
    assert "Step 6 of 6. ann, line 24" in (started / "run.html").read_text(encoding="utf-8")
    assert "lab.py replay 3 --check 1 goes through check 1 step by step" in lab("check", at=started).stdout


@pytest.mark.slow
def test_where_there_is_nothing_to_step_through_one_line_says_why(started):
    def said(*options, code=0):
        done = lab("replay", *options, at=started)
        assert done.returncode == code
        return (done.stderr if code else done.stdout).splitlines()

    assert said("--check", "nine", code=2)[0] == "lab: there is no check 'nine'. There are:"
    assert said("--check", 1, "--schedule", "gil zoe", code=2) == [
        "lab: The schedule does not fit this program: zoe cannot be next, only ann or bob. "
        "It belongs to another check, or task.py was changed since."
    ]
    assert said("--schedule", "ann", code=2)[0].startswith("lab: The schedule fits no check.")
    shutil.copy(started / "solution.py", started / "task.py")
    assert said()[0].startswith("All checks pass, so there is no run that went wrong.")
    assert said("--check", 2)[0].startswith("This check passes, so there is no run that went wrong.")
    assert "Nothing goes wrong in this run." in said("--check", 1, "--schedule", "gil bob")
    (started / "task.py").write_text("x = (\n", encoding="utf-8")
    assert said(code=2)[0] == "lab: task.py cannot be loaded."


@pytest.mark.slow
def test_keys_go_forward_and_back_on_a_terminal_of_any_size(started, tmux):
    shell = tmux(
        *("sh", "-c", 'cd "$1" && stty -g > before; "$0" "$2" replay 3; stty -g > after'),
        *(sys.executable, str(started), str(SCRIPT)),
        columns=80,
        rows=24,
    )
    shell.expect("Step 1 of 6", "> 1 ann  21 key", "> ann: line 21", "self._named = {}", "n next  p back")
    shell.keys("n", "Space")
    shell.expect("Step 3 of 6", "── ann is stopped after it calls", "> 3 bob", "> bob: line 21")
    shell.keys("Right", "Right", "Left")
    shell.expect("Step 4 of 6", "ann: line 22, stopped after")
    shell.resize(40, 20)
    shell.keys("g", "5")
    shell.expect("To which step, 1 to 6. 5")
    shell.keys("Enter")
    shell.expect("Step 5 of 6", r"\* self._named = {'sam': 'bob'}")
    shell.keys("?")
    shell.expect("one step back", "any key: back")
    shell.keys("q", "End")
    shell.expect("Step 6 of 6", "Both were told yes")
    shell.keys("q")
    shell.expect("Both were told yes", "lab.py replay 3 --check 1", "ended with 0")
    assert (started / "after").read_text() == (started / "before").read_text()


@pytest.mark.slow
def test_lines_choose_who_is_next_and_the_schedule_tells_that_run_again(started):
    done = lab("play", "--check", 1, at=started, typed="1\nbob\np\n7\n2\n\n")
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[:4] == [
        "Lab 3, check 1: only one session gets a name.",
        "1 ann: begins",
        "2 bob: begins",
        "Who is next? ",
    ]
    assert "self._named = {}" in told
    asked = "goes on in line 22, after it calls self._named.get(): if self._named.get(key, session) is not session:"
    assert told.count(f"1 ann: {asked}") == 2  # the second time after the step back
    assert told.count(f"2 ann: {asked}") == 2
    assert "Type a number from 1 to 2, p for one choice back, or q to end." in told
    assert told[-3:] == [RACE, "", f'lab.py replay 3 --check 1 --schedule "{SCHEDULE}"']
    again = lab("replay", "--check", 1, "--schedule", SCHEDULE, at=started).stdout.splitlines()
    story = [line for line in again if line.startswith("    ")]
    assert [line for line in told if line.startswith("    ") and "stopped" not in line] == [
        line for line in story if "stopped" not in line
    ]


@pytest.mark.slow
def test_a_schedule_is_the_beginning_of_the_choices(started):
    done = lab("play", "--check", 1, "--schedule", "gil ann", at=started, typed="p\n1\n2\n\n")
    told = done.stdout.splitlines()
    assert told[:4] == [
        "Lab 3, check 1: only one session gets a name.",
        "Step 1: ann, line 21: key = name.casefold()",
        "Step 2: ann, line 22: if self._named.get(key, session) is not session:",
        "self._named = {}",
    ], done.stderr
    assert told.count("1 ann: begins") == 1, "after the step back"
    assert told[-3:] == [RACE, "", f'lab.py replay 3 --check 1 --schedule "{SCHEDULE}"']
    free = lab("play", "--schedule", "free ann*2", at=started, typed="q\n")
    assert free.stdout.splitlines()[-1] == 'lab.py replay 3 --check 1 --schedule "free ann, ann"'
    wrong = lab("play", "--check", 1, "--schedule", "gil zoe", at=started)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("lab: The schedule does not fit this program: zoe cannot be next, only ann or bob.")


@pytest.mark.slow
def test_who_waits_for_a_lock_cannot_be_chosen_and_a_check_may_find_nothing(started):
    shutil.copy(started / "solution.py", started / "task.py")
    done = lab("play", "--check", 2, "--free", at=started, typed="1\n1\n2\n")
    assert "waits for self._lock, which ann holds" in done.stdout, done.stdout
    assert "The check finds nothing wrong in this order." in done.stdout
    assert '--schedule "free ' in done.stdout
    ended = lab("play", at=started, typed="2\nq\n")
    assert ended.stdout.splitlines()[-1] == 'lab.py replay 3 --check 1 --schedule "gil bob"'


@pytest.mark.slow
def test_keys_choose_who_is_next_on_a_terminal(started, tmux):
    shell = tmux(
        "sh", "-c", 'cd "$1"; "$0" "$2" play 3', sys.executable, str(started), str(SCRIPT), columns=80, rows=24
    )
    shell.expect("Lab 3, check 1", "Who is next.", "1 ann: begins", "2 bob: begins", "a number: this thread")
    shell.keys("1")
    shell.expect("> 2 ann  22 if", "self._named = {}", "1 ann: goes on in line 22", "2 bob: begins")
    shell.keys("2")
    shell.expect("── ann is stopped", "> 4 bob  22 if", "1 bob: goes on", "2 ann: goes on")
    shell.keys("p")
    shell.expect("> 2 ann", "2 bob: begins")
    shell.keys("?")
    shell.expect("take the last choice back", "any key")
    shell.keys("x", "2", "Enter")
    shell.expect("Step 6 of 6", "Both were told yes", "n next")
    shell.keys("p")
    shell.expect("Step 5 of 6")
    shell.keys("q")
    shell.expect("Both were told yes", "lab.py replay 3 --check 1 --schedule .gil ann, bob", "ended with 0")
