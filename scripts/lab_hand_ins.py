"""Finding the hand-ins in a folder, however it came about: a folder for each person, or a file."""

from __future__ import annotations

import itertools
import os
import pathlib
from dataclasses import dataclass

from lab_folders import labs

DEPTH = 3  # folders between a hand-in and the lab's folder in it, at most
ENTRIES = 1000  # of a folder in a hand-in that are looked at


@dataclass
class HandIn:
    """What one person, or one group, has handed in for one lab."""

    name: str
    lab: int
    task: pathlib.Path | None  # None: there is no task.py
    problem: str | None = None


def find(folder: pathlib.Path, number: int | None) -> list[HandIn]:
    """The hand-ins in a folder, by their names; for each the lab ``number``, or all labs that somebody has handed in.

    The folder may also be a single hand-in itself. Raises ValueError if nobody can say which lab it is.
    """
    names = {path.name: each for each, path in labs().items()}
    entries = _entries(folder)
    if any(entry.name == "task.py" or (entry.name in names and entry.is_dir()) for entry in entries):
        found = {folder.resolve().name: _tasks(folder, names)}
        links: set[str] = set()
    else:
        entries = [e for e in entries if e.is_symlink() or e.is_dir() or e.name.endswith(".py")]
        stems = [pathlib.Path(entry.name).stem for entry in entries]
        called = {
            e: stem if e.is_file() and stems.count(stem) == 1 else e.name
            for e, stem in zip(entries, stems, strict=True)
        }
        links = {called[entry] for entry in entries if entry.is_symlink()}
        found = {
            name: {}
            if name in links
            else _tasks(pathlib.Path(entry.path), names)
            if entry.is_dir()
            else {0: pathlib.Path(entry.path)}
            for entry, name in called.items()
        }
    wanted = [number] if number else sorted({each for tasks in found.values() for each in tasks if each})
    if found and not wanted:
        raise ValueError("no folder in it has the name of a lab. Say which lab it is: lab.py grade FOLDER --lab 3")
    hand_ins = []
    for name, tasks in found.items():
        for lab in wanted:
            task = tasks.get(lab, tasks.get(0) if number else None)
            why = "it is a symbolic link" if name in links else None if task else "there is no task.py for this lab"
            hand_ins.append(HandIn(name, lab, task, why))
    return hand_ins


def others(folder: pathlib.Path) -> list[str]:
    """The names of the files in a folder that are no hand-ins: archives, lists."""
    return [entry.name for entry in _entries(folder) if entry.is_file() and not entry.name.endswith(".py")]


def _entries(folder: pathlib.Path, most: int | None = None) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = [entry for entry in itertools.islice(entries, most) if not entry.name.startswith((".", "__MACOSX"))]
    return sorted(found, key=lambda entry: entry.name)


def _tasks(folder: pathlib.Path, names: dict[str, int], depth: int = DEPTH) -> dict[int, pathlib.Path]:
    """The task.py of each lab in a hand-in; the one that is in no lab's folder has the number 0. Links are left out."""
    found = {}
    for entry in _entries(folder, ENTRIES):
        path = pathlib.Path(entry.path)
        if entry.name == "task.py":
            found[names.get(folder.name, 0)] = path
        elif depth and entry.is_dir(follow_symlinks=False):
            for lab, task in _tasks(path, names, depth - 1).items():
                found.setdefault(lab, task)
    return found
