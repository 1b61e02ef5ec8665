"""The PostgreSQL of the tests ends with the process that has started it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from support.postgres import Postgres, is_over
from support.waiting import wait_for

TESTS = pathlib.Path(__file__).parents[1]
STARTS = """
import sys
from support.postgres import Postgres, programs

engine = Postgres(programs())
print(engine.process.pid, engine.folder, flush=True)
sys.stdin.read()
"""


def test_no_engine_is_left_behind_by_tests_that_are_killed(engine: Postgres) -> None:
    path = os.pathsep.join(map(str, (TESTS, TESTS.parent / "scripts")))
    tests = subprocess.Popen(
        [sys.executable, "-c", STARTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    with tests:
        assert tests.stdout
        pid, folder = tests.stdout.readline().split()
        assert not is_over(int(pid))
        tests.kill()
    wait_for(lambda: is_over(int(pid)), "the engine to end")
    wait_for(lambda: not pathlib.Path(folder).exists(), "its files to go")


def test_an_engine_that_is_removed_leaves_no_files(own_engine: Postgres) -> None:
    own_engine.remove()
    assert not own_engine.folder.exists()
