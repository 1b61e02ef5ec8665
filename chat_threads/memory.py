"""The most that the server holds in memory for all its clients together; docs/reliability.rst has all bounds."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass

MB = 1 << 20
_M_ARENA_MAX = -8  # of malloc.h


@dataclass(frozen=True, slots=True)
class Shares:
    """How --memory is shared out, in bytes."""

    output: int  # what waits to be sent
    recent: int  # the newest messages of the rooms
    refs: int  # what became of the requests under tokens

    @classmethod
    def of(cls, megabytes: int) -> Shares:
        """Half of it for output, a quarter for each of the others."""
        return cls(megabytes * MB // 2, megabytes * MB // 4, megabytes * MB // 4)


def use_one_heap() -> None:
    """Have glibc's malloc keep one heap for all threads; elsewhere nothing. Before any thread is started.

    Otherwise it makes eight for each processor, and what was freed in one heap is of no use to the threads of the
    others. Threads that hold the interpreter's lock do not allocate at the same time, so one is enough.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(ImportError, OSError, AttributeError):  # no ctypes; another libc
            import ctypes

            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
