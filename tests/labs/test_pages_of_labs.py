"""The page of each lab: what it says before the work begins, and how its questions are graded."""

from __future__ import annotations

import pathlib
import re

import pytest

LABS = pathlib.Path(__file__).parents[2] / "docs" / "labs"
NAMES = [path.name for path in sorted(LABS.glob("[0-9][0-9]_*"))]


@pytest.mark.parametrize("lab", NAMES)
def test_a_page_says_what_one_learns_and_needs_and_how_long_it_takes_and_asks_for_a_prediction_first(lab):
    page = (LABS / lab / "README.rst").read_text(encoding="utf-8")
    heads = re.findall(r"(?m)^(.+)\n-+$", page)
    assert [head for head in heads if head.startswith(("What you", "Predict", "See"))] == [
        "What you learn",
        "What you need",
        "Predict",
        "See it happen",
    ]
    assert re.search(r"(?m)^Time: \d+ minutes for the task, .*\d+ for the questions\.$", page)
    assert "Write down" in page.split("\nPredict\n")[1].split("\nSee it happen\n")[0]


@pytest.mark.parametrize("lab", NAMES)
def test_each_question_has_three_points(lab):
    answers = (LABS / "answers" / f"{lab}.rst").read_text(encoding="utf-8")
    for answer in re.split(r"(?m)^\d\. ", answers)[1:]:
        points = answer.split("One point each: ")[1]
        assert re.findall(r"\(([a-z])\)\s", points) == ["a", "b", "c"]
