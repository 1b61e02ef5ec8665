"""Fixtures: a PostgreSQL, and servers that share a database of it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator

import pytest
from support.postgres import Postgres, Wire, programs
from support.servers import Running


@pytest.fixture(scope="session")
def engine() -> Iterator[Postgres]:
    """A PostgreSQL for all tests."""
    found = programs()
    if found is None:
        message = "PostgreSQL is not installed (Debian's package postgresql)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    started = Postgres(found)
    yield started
    started.remove()


@pytest.fixture
def own_engine() -> Iterator[Postgres]:
    """A PostgreSQL that the test may kill."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    started = Postgres(found)
    yield started
    started.remove()


@pytest.fixture
def url(engine: Postgres) -> str:
    """An empty database."""
    return engine.url(engine.new_database())


@pytest.fixture
def wire(engine: Postgres) -> Iterator[Wire]:
    """A way to the engine that can fail."""
    made = Wire(engine.port)
    yield made
    made.close()


@pytest.fixture
def join(serve: Callable[..., Running], tmp_path: pathlib.Path, url: str) -> Callable[..., Running]:
    """Start a server of the cluster in this process: join("a"), with the history a.db."""

    def start(name: str, **settings: object) -> Running:
        return serve(**{"db": str(tmp_path / f"{name}.db"), "cluster": url, **settings})

    return start
