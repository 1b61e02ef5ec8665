"""In the process of the checks: passes on the run of one check, step by step, so that it can be shown.

``wanted`` says which: "check", a name, or "" for the first that fails; "schedule", a line, or ""; "play", whether
somebody chooses the threads after that line, and "free", whether that is without the interpreter lock.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from typing import Any

from lab_process import Recorder, Say

THINKING = 3600.0  # seconds that a run may take while somebody chooses


class Told(Recorder):
    """A plugin of pytest. It stands before ``stepper.explore``, which the checks call."""

    def __init__(self, say: Say, wanted: dict[str, Any], answers: int) -> None:
        stepper: Any = importlib.import_module("stepper")  # the copy beside the checks
        super().__init__(say)
        self._wanted = wanted
        self._answers = os.fdopen(answers, "rb") if wanted["play"] else None
        self._explore, self._result, self._search = stepper.explore, stepper.Result, stepper.search
        stepper.explore = self.explore
        self._session: Any = None
        self._check = ""  # the one that runs now
        self._runs: list[Any] = []  # of it
        self._played = False  # it has begun
        self._fitting: dict[str, Any] | None = None  # the first that went well, with the schedule that is wanted
        self._said = False
        self._chosen: list[str] = []  # so far, in this run of the play
        self._asked = False  # whether there was anything to choose
        self._back = False  # the last of them is taken back
        self._wrong = ""  # why the schedule does not fit this run of the play
        if wanted["play"]:
            stepper.turns.PATIENCE = THINKING

    def pytest_sessionstart(self, session: Any) -> None:
        self._session = session

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if name := self._wanted["check"]:
            items[:] = [each for each in items if each.name.partition("[")[0] == name]

    def pytest_runtest_setup(self, item: Any) -> None:
        self._runs.clear()
        self._played = False
        self._check = item.name.partition("[")[0]

    def explore(self, *args: Any, **more: Any) -> Any:
        """What the checks call instead of the stepper's."""
        line = self._wanted["schedule"]
        if self._answers and self._played:
            return self._result(None, 0, 0.0)  # a second run of the check that was played
        self._played = True
        try:
            if self._answers:
                result = self._play(*args, **more)
            else:
                result = self._explore(*args, **more, **({"schedule": line} if line else {}))
        except ValueError as error:
            if not line:
                raise
            self._say(misfit=str(error))
            return self._result(None, 0, 0.0)
        self._runs.append(result)
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        super().pytest_runtest_logreport(report)
        if report.when != "call" or not self._runs or self._said:
            return
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        told = {"check": name, "text": "" if report.passed else str(report.longrepr)}
        wrong = next((each for each in self._runs if each.fault), None)
        played = self._answers and (self._wanted["check"] or self._asked)
        if played or (wrong and not report.passed and not self._answers):
            self._pass_on(wrong or self._runs[0], told)
        elif self._wanted["schedule"] and not self._fitting and len(self._runs[0].threads) > 1:
            self._fitting = {"result": self._runs[0], "told": told}

    def pytest_sessionfinish(self) -> None:
        if self._fitting and not self._said:
            self._pass_on(**self._fitting)

    def _pass_on(self, result: Any, told: dict[str, Any]) -> None:
        self._said = True
        self._say(run=told | _plain(result))
        self._session.shouldstop = "it was told"

    def _play(self, *args: Any, **more: Any) -> Any:
        """Let the student choose; after a step back, begin anew and choose the same up to there. ValueError if the
        schedule does not fit."""
        more["free"] = self._wanted["free"]
        before: list[str] = []
        if self._wanted["schedule"]:
            more["free"], line = self._search.read(self._wanted["schedule"])
            before = list(line.names)
        while True:
            self._chosen, self._back = [], False
            rest = iter(list(before))
            result = self._explore(*args, **more, schedule=lambda moment, rest=rest: self._choose(moment, rest))
            if self._wrong:
                wrong, self._wrong = self._wrong, ""
                raise ValueError(wrong)
            if not self._back:
                return result
            before = self._chosen[:-1]

    def _choose(self, moment: Any, before: Any) -> str:
        if self._back or self._wrong:
            return str(moment.names[0])  # this run only has to end
        self._asked = True
        name = next(before, "")
        if name not in moment.names:
            if name and self._wanted["schedule"]:
                self._wrong = self._search.misfit(name, moment.names)
                return str(moment.names[0])
            name = self._ask(moment)
        if name == "-":
            self._back = True
            return str(moment.names[0])
        self._chosen.append(name)
        return name

    def _ask(self, moment: Any) -> str:
        """The name that the student chooses, or "-": one step back."""
        assert self._answers
        seen = dataclasses.asdict(moment)
        self._say(moment=seen | {"early": sorted(moment.early), "check": self._check, "chosen": self._chosen})
        answer = json.loads(self._answers.readline() or "null")
        if answer == "-" and self._chosen:
            return "-"
        return answer if answer in moment.names else str(moment.names[0])


def _plain(result: Any) -> dict[str, Any]:
    return {
        "fault": result.fault,
        "threads": result.threads,
        "steps": [[each.thread, each.kind, each.line, each.text] for each in result.steps],
        "free": result.free,
        "schedule": result.schedule,
        "values": result.values,
    }
