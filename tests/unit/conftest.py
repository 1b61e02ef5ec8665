"""Fixtures: histories."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chat_threads.storage import Storage


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "chat.db"


@pytest.fixture
def opened(path: pathlib.Path) -> Iterator[Callable[..., Storage]]:
    """Open histories that are closed at the end of the test: opened(), opened(path, busy_timeout=…)."""
    storages: list[Storage] = []

    def open_one(which: pathlib.Path | str = path, **more: Any) -> Storage:
        storages.append(Storage(str(which), **more))
        return storages[-1]

    yield open_one
    for storage in storages:
        with contextlib.suppress(sqlite3.ProgrammingError):  # the test has closed it
            storage.close()
