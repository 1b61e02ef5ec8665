"""The points of graded hand-ins: for each check, as CSV, and as Gradescope reads them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from lab_folders import labs
from lab_hand_ins import HandIn
from lab_report import printable, sentence, story
from lab_running import Check, Outcome, checks_of

Points = dict[tuple[int, str], float]  # for a lab and the name of a check; a check that is missing has 1


@dataclass
class Graded:
    """A hand-in with its points."""

    hand_in: HandIn
    outcome: Outcome
    hints: int
    points: list[float]  # for each check of the lab
    of: list[float]
    checks: list[Check] = field(default_factory=list)  # one for each of ``points``
    unchanged: bool = False  # it is the task as it was handed out

    @property
    def remark(self) -> str:
        """What a grader should know besides the points, in one line."""
        if self.outcome.problem:
            return " ".join(self.outcome.problem.split())
        if self.unchanged:
            return "task.py is as it was handed out"
        failed = [check for check in self.outcome.checks if not check.passed]
        first = [f"fails first: {sentence(failed[0])}"] if failed else []
        return "; ".join([*first, *(f"look: {sign}" for sign in self.outcome.look)])


def read_points(text: str) -> Points:
    """Points for checks: CSV with the columns lab, check (its number or its name), points. Raises ValueError."""
    points: Points = {}
    for row in csv.DictReader(io.StringIO(text)):
        try:
            lab, check, worth = int(row["lab"]), row["check"].strip(), float(row["points"])
            names = checks_of(labs()[lab])
            name = names[int(check) - 1] if check.isdigit() and int(check) else check
            if name not in names or not 0 <= worth < float("inf"):
                raise ValueError
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            raise ValueError(f"{','.join(str(each) for each in row.values())} is not: lab,check,points") from None
        points[lab, name] = worth
    return points


def table(graded: list[Graded]) -> str:
    """The results as CSV, a row for each hand-in and lab, a column for each check."""
    most = max((len(each.checks) for each in graded), default=0)
    heads = [f"check {number}" for number in range(1, most + 1)]
    if len({each.hand_in.lab for each in graded}) == 1:
        heads = [sentence(check) for check in graded[0].checks]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["name", "lab", "points", "of", "hints", "seconds", "remark", *heads])
    for each in graded:
        row = [each.hand_in.name, each.hand_in.lab, f"{sum(each.points):g}", f"{sum(each.of):g}", each.hints]
        row += [f"{each.outcome.seconds:.1f}", each.remark, *(f"{given:g}" for given in each.points)]
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Text for a spreadsheet, which would take some texts for formulas."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def gradescope(graded: list[Graded]) -> dict[str, Any]:
    """The results of one hand-in, which may be of several labs, as Gradescope's results.json.

    Its format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
    """
    tests = []
    for each in graded:
        for number, check in enumerate(each.checks, 1):
            given, of = each.points[number - 1], each.of[number - 1]
            test = {"number": f"{each.hand_in.lab}.{number}", "name": sentence(check), "score": given, "max_score": of}
            test |= {"status": "passed" if check.passed else "failed", "output_format": "text"}
            tests.append(test | {"output": "" if check.passed else printable(story(check.text))})
    remarks = [f"Lab {each.hand_in.lab}: {each.outcome.problem}" for each in graded if each.outcome.problem]
    return {
        "execution_time": round(sum(each.outcome.seconds for each in graded)),
        "output": printable("\n".join(remarks)),
        "output_format": "text",
        "extra_data": {"hints": {str(each.hand_in.lab): each.hints for each in graded}},
        "tests": tests,
    }
