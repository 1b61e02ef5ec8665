"""The processes that a process has started, as Linux tells."""

from __future__ import annotations

import pathlib


def descendants(pid: int) -> dict[int, str]:
    """The processes below a process that still run, with their commands."""
    children: dict[int, list[int]] = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        if state != "Z":
            children.setdefault(int(parent), []).append(int(path.name))
    found: dict[int, str] = {}
    waiting = children.get(pid, [])
    while waiting:
        each = waiting.pop()
        waiting += children.get(each, [])
        try:
            found[each] = pathlib.Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found
