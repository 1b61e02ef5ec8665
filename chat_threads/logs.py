"""Logging in a thread of its own, so that no other thread waits for a slow disk or a full pipe."""

from __future__ import annotations

import contextlib
import io
import logging
import queue
import threading

from . import inside
from .queues import BatchQueue
from .streams import own_file

QUEUED = 2000  # lines that may wait to be written; more are dropped and counted
PAUSE = 0.02  # seconds between two writes: when many clients come at once, the thread does not wake for each line
FORMAT = "%(asctime)s %(levelname)s %(threadName)s: %(message)s"
STDERR = 2
# FORMAT has none of these, so logging need not find them out for each line: https://docs.python.org/3/howto/logging.html#optimization
logging.logProcesses = logging.logMultiprocessing = False
logging._srcfile = None  # where the line was logged from
_LIBRARY = logging.getLogger("websockets")
_LIBRARY.setLevel(logging.WARNING)  # below that, it logs what people say


class _QueueHandler(logging.Handler):
    """Puts lines into the queue, and drops them when it is full."""

    def __init__(self, lines: BatchQueue[str | None]) -> None:
        super().__init__()
        self._lines = lines
        self.dropped = 0  # guarded by the handler's own lock, which logging holds around emit
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))  # formatted now, because its arguments may change
        except Exception:  # the queue is full, or memory is short: logging must not end a thread
            self.dropped += 1


class LogThread:
    """Takes over the logging of the package, and of ``websockets``, from ``start`` to ``stop``.

    The ``log`` thread owns the file, and writes to it without a lock or a buffer. If nobody reads the other end of a
    pipe, only this thread is stuck, and the process can still end.
    """

    def __init__(self, level: str, file: str | None = None) -> None:
        """Log lines of at least that level to a file, or to stderr. OSError: the file cannot be written."""
        self._path = file
        self._file = io.FileIO(file, "ab", opener=own_file) if file else io.FileIO(STDERR, "wb", closefd=False)
        self._reopen = threading.Event()  # set by reopen(), cleared by the log thread
        self._ending = threading.Event()  # set by stop()
        self._lines: BatchQueue[str | None] = BatchQueue(QUEUED)
        self._handler = _QueueHandler(self._lines)
        self._logger = logging.getLogger(__package__)
        self._logger.setLevel(level.upper())
        self.thread = threading.Thread(target=self._take_over, name="log", daemon=True)

    def start(self) -> None:
        """Begin to log."""
        self._logger.addHandler(self._handler)
        _LIBRARY.addHandler(self._handler)
        self.thread.start()

    def write(self, text: str) -> None:
        """Write a text as it is, at any level. It is dropped if too much waits to be written."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(text)

    def reopen(self) -> None:
        """Open the file again by its name, after it was moved away, as logrotate does. stderr stays open."""
        if self._path is None:
            return
        self._reopen.set()
        with contextlib.suppress(queue.Full):  # a full queue: the thread will check soon
            self._lines.put_nowait("")

    def stop(self, timeout: float = 1.0) -> None:
        """Write the queued lines, for at most ``timeout`` seconds, and end."""
        self._logger.removeHandler(self._handler)
        _LIBRARY.removeHandler(self._handler)
        self._ending.set()
        with contextlib.suppress(queue.Full):
            if self._handler.dropped:
                self._lines.put(f"{self._handler.dropped} log lines were dropped", timeout=timeout / 4)
            self._lines.put(None, timeout=timeout / 4)
        self.thread.join(timeout / 2)

    def _take_over(self) -> None:
        inside.run("log", "writes what is logged", self._run)

    def _run(self) -> None:
        while True:
            lines = self._lines.take(QUEUED)
            if self._reopen.is_set():
                self._reopen.clear()
                self._open_again()
            if text := "\n".join(line for line in lines if line):
                self._put(text)
            if None in lines:
                break
            self._ending.wait(PAUSE)
        self._file.close()

    def _open_again(self) -> None:
        assert self._path is not None
        try:
            file = io.FileIO(self._path, "ab", opener=own_file)
        except OSError as error:
            self._put(
                f"The log file {self._path} cannot be opened again, so the old one stays in use: {error.strerror}"
            )
        else:
            self._file.close()
            self._file = file

    def _put(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a full disk or a closed pipe: the chat continues
            self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
