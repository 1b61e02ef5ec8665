"""What the system says about the server and the cores: from /proc on Linux, nothing elsewhere."""

from __future__ import annotations

import os
import platform
import re
import socket
from dataclasses import dataclass
from typing import Any

_LISTENING = "0A"  # in /proc/net/tcp
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Usage:
    cpu: float  # seconds
    memory: int  # bytes resident
    threads: int


def is_here(family: int, address: tuple[Any, ...]) -> bool:
    """Whether an address belongs to this machine."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # connect() sends nothing
        try:
            probe.connect(address)
        except OSError:
            return False
        return probe.getsockname()[0] == address[0] or address[0] in ("0.0.0.0", "::")


def listener(port: int) -> int | None:
    """The process that listens on a port. None: there is none, or it belongs to another user."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in _lines(table)[1:]:
            fields = row.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for pid in sorted(int(name) for name in _names("/proc") if name.isdigit()) if inodes else ():
        for descriptor in _names(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in inodes:
                    return pid
            except OSError:
                continue
    return None


def usage(pid: int) -> Usage | None:
    """The resources that a process has used so far; None without such a process or without /proc."""
    stat = "\n".join(_lines(f"/proc/{pid}/stat"))
    status = dict(line.split(":\t", 1) for line in _lines(f"/proc/{pid}/status") if ":\t" in line)
    if not stat or "VmRSS" not in status:
        return None
    fields = stat.rpartition(")")[2].split()
    return Usage(
        cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
        memory=int(status["VmRSS"].split()[0]) * 1024,
        threads=int(fields[17]),
    )


def cores_busy() -> tuple[float, float] | None:
    """The seconds that all cores together have been busy and idle since the start."""
    for line in _lines("/proc/stat"):
        if line.startswith("cpu "):
            user, nice, system, idle, waiting, *others = (int(field) / _TICKS for field in line.split()[1:9])
            return user + nice + system + sum(others), idle + waiting
    return None


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> str:
    """A description of the machine."""
    found = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    model = re.sub(r"\s+", " ", found[0]) if found else platform.processor() or platform.machine()
    return f"{cores()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
