"""Log lines are written by a thread of their own, so that no other ever waits for a slow disk or a full pipe."""

from __future__ import annotations

import logging
import queue
import threading

QUEUED = 2000  # lines that wait to be written; more are dropped and counted
FORMAT = "%(asctime)s %(levelname)s %(threadName)s: %(message)s"


class _Hand(logging.Handler):
    """Puts records into the queue, and drops them when it is full."""

    def __init__(self, records: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__()
        self._records = records
        self.dropped = 0  # guarded by the handler's own lock, which logging holds around emit

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None  # now, for what it speaks of goes on changing
        try:
            self._records.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class LogThread:
    """Takes over the package's logging from ``start`` to ``stop``; the ``log`` thread owns the handler."""

    def __init__(self, level: str, file: str | None = None) -> None:
        self._handler: logging.Handler = (
            logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler()
        )
        self._handler.setFormatter(logging.Formatter(FORMAT))
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUED)
        self._hand = _Hand(self._records)
        self._logger = logging.getLogger(__package__)
        self._logger.setLevel(level.upper())
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        self._logger.addHandler(self._hand)
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Write what is queued, as far as that goes in ``timeout`` seconds, and end."""
        self._logger.removeHandler(self._hand)
        if self._hand.dropped:
            self._put(
                self._logger.makeRecord(
                    self._logger.name, logging.WARNING, "", 0, "%d log lines were dropped", (self._hand.dropped,), None
                )
            )
        self._put(None)
        self._thread.join(timeout)

    def _put(self, record: logging.LogRecord | None) -> None:
        try:
            self._records.put(record, timeout=0.2)
        except queue.Full:
            pass

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            self._handler.handle(record)
        self._handler.close()
