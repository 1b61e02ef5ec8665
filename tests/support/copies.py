"""What is in the files of servers that are one chat."""

from __future__ import annotations

import contextlib
import pathlib

from torture_copies import Rows, differences, rows

from .waiting import wait_for

__all__ = ["differences", "expect_same", "rows"]


def expect_same(tmp_path: pathlib.Path, *names: str) -> None:
    """Wait until all copies have the same rows."""
    found: list[Rows] = []

    def same() -> bool:
        found[:] = [rows(tmp_path / f"{name}.db") for name in names]
        return all(other == found[0] for other in found)

    with contextlib.suppress(AssertionError):
        wait_for(same)
    assert [differences(found[0], other) for other in found[1:]] == [[]] * (len(names) - 1)
