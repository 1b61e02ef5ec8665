"""The README and docs/, and their tables."""

from __future__ import annotations

import itertools
import pathlib
import re
import textwrap

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.rst").read_text(encoding="utf-8")
USERS, OPERATORS, PROGRAMMERS, PROTOCOL, PERFORMANCE, RELIABILITY, SOURCE, TEACHERS, CLUSTER = (
    (ROOT / "docs" / f"{page}.rst").read_text(encoding="utf-8")
    for page in "users operators programmers protocol performance reliability source teachers cluster".split()
)


def block_after(mark: str, text: str) -> str:
    """The first block of quoted lines after a comment, without what it is indented by."""
    lines = text.split(f".. {mark}\n", 1)[1].split("::\n", 1)[1].strip("\n").splitlines()
    quoted = itertools.takewhile(lambda line: line.startswith("    ") or not line, lines)
    return textwrap.dedent("\n".join(quoted)).strip()


def table_after(mark: str, text: str) -> list[list[str]]:
    """The rows of the first simple table after a comment, without its head."""
    lines = text.split(f".. {mark}\n", 1)[1].lstrip("\n").splitlines()
    starts = [match.start() for match in re.finditer("=+", lines[0])]
    rows = []
    for line in lines[3:]:
        if line.startswith("==="):
            return rows
        rows.append(
            [line[start:end].strip().replace("``", "") for start, end in zip(starts, [*starts[1:], None], strict=True)]
        )
    raise AssertionError(f"no table after {mark}")
