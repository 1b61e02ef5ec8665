"""Running a lab's checks on a file, in a process of their own."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from lab_folders import LABS, NOT_COPIED

PATIENCE = 120.0  # seconds for all checks of a lab


def run_checks(folder: pathlib.Path, task: pathlib.Path, report: pathlib.Path) -> str | None:
    """Run a lab's original checks on a task.py. Return the reason if there is no report.

    They are the ones that were handed out, whatever has become of the copy.
    """
    if importlib.util.find_spec("pytest") is None:
        return f"the checks need pytest. Install it with: {sys.executable} -m pip install pytest"
    with tempfile.TemporaryDirectory() as clean:
        place = pathlib.Path(clean)
        shutil.copytree(folder, place / folder.name, ignore=shutil.ignore_patterns(*NOT_COPIED))
        shutil.copytree(LABS / "stepper", place / "stepper", ignore=shutil.ignore_patterns(*NOT_COPIED))
        (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
        command += ["-o", "junit_family=xunit2", f"--junitxml={report}", str(place / folder.name / "test_task.py")]
        environment = os.environ | {"LAB_TASK": str(task), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        environment.pop("PYTEST_ADDOPTS", None)
        with (place / "output").open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                command,
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                return f"the checks did not end within {PATIENCE:g} seconds: {task.name} waits for ever, or has no end."
            finally:
                end(process)
            output.seek(0)
            said = output.read()
    if process.returncode not in (0, 1, 2) or not report.exists():
        return (
            f"the checks could not be run: {said.strip().splitlines()[-1] if said.strip() else 'pytest said nothing'}"
        )
    return None


def end(process: subprocess.Popen[bytes]) -> None:
    """End the checks and all processes that they started."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    elif process.poll() is None:
        process.kill()
    process.wait()
