"""Where the labs are: the originals that are handed out, and the student's folders."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import stat
import sys
from typing import NoReturn

import click

LABS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "labs"
NOT_COPIED = ("solution.py", "hints.rst", "__pycache__")
GIVEN = ".hints"  # file in the student's folder: how many hints were shown


def fail(why: str) -> NoReturn:
    click.echo(f"lab: {why}", err=True)
    sys.exit(2)


def labs() -> dict[int, pathlib.Path]:
    """The labs' folders by their numbers."""
    found = [path for path in LABS.glob("[0-9][0-9]_*") if (path / "task.py").exists()]
    return {int(path.name[:2]): path for path in sorted(found)}


def lab(number: int) -> pathlib.Path:
    """The original folder of a lab."""
    if number not in labs():
        fail(f"there is no lab {number}; there are {', '.join(map(str, labs()))}.")
    return labs()[number]


def title(folder: pathlib.Path) -> str:
    return (folder / "README.rst").read_text(encoding="utf-8").partition("\n")[0]


def students(number: int | None, command: str) -> pathlib.Path:
    """The student's folder of a lab: the current folder, or one beside it or inside it."""
    here = pathlib.Path.cwd()
    if number is None:
        if here.name not in [folder.name for folder in labs().values()]:
            fail(f"{here} is not a lab's folder. Go to it, or say which: lab.py {command} 1")
        found = here
    else:
        name = lab(number).name
        found = here if here.name == name else next((p for p in (here / name, here.parent / name) if p.is_dir()), here)
        if found.name != name:
            fail(f"lab {number} is not here. Start it first: lab.py start {number} DIR")
    if LABS in found.resolve().parents:
        fail(
            f"{found} is where the labs are handed out from. Start it elsewhere: lab.py start {int(found.name[:2])} DIR"
        )
    return found


def hints_given(folder: pathlib.Path) -> int:
    """How many hints a student was shown."""
    try:
        return int(read_regular(folder / GIVEN, 20))
    except (OSError, ValueError):
        return 0


def read_regular(path: pathlib.Path, longest: int) -> bytes:
    """A file's bytes. Raises OSError, also for a link, a device or a file with more bytes than ``longest``."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        data = file.read(longest + 1)
    if len(data) > longest:
        raise OSError(errno.EFBIG, f"it has more than {longest:,} bytes")
    return data


def read_hints(path: pathlib.Path) -> list[str]:
    """The items of the numbered list in a file, with their numbers."""
    parts = re.split(r"(?m)^(?=\d+\. )", path.read_text(encoding="utf-8"))[1:]
    return [part.strip() for part in parts]
