"""The checks of the labs find each mutant of a solution, or a table says why it is as good as the solution."""

from __future__ import annotations

import os

import mutants
import pytest

# Seconds: a mutant takes up to ten, and a busy machine longer.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LABS = sorted(path.parent.name for path in mutants.LABS.glob("0[1-8]*/solution.py"))
EVERY = 1 if os.environ.get("LAB_MUTANTS") == "all" else 12  # one of so many is tried; all take about ten minutes


@pytest.mark.parametrize("lab", LABS)
def test_mutants_fail_or_are_in_the_table_with_a_reason(lab):
    known = mutants.table()
    found = dict(mutants.mutants(lab))
    assert {name for at, name in known if at == lab} <= set(found)
    tried = list(found)[::EVERY]
    assert {name for name in tried if mutants.passes(lab, found[name])} == {
        name for name in tried if (lab, name) in known
    }


def test_each_mutant_that_passes_has_a_reason():
    assert all(why.endswith(".") for why in mutants.table().values())
