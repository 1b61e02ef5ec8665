"""Fixtures: real browsers, and tabs in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.browsers import Cable, Tab, started


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with started("chromium") as browser:
        yield browser


@pytest.fixture(scope="session")
def firefox() -> Iterator[Any]:
    with started("firefox") as browser:
        yield browser


@pytest.fixture(params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Any:
    """Each browser in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def tab() -> Iterator[Callable[..., Tab]]:
    """Open tabs: tab(chromium, server, **options of the context). The test fails if a page complains of anything."""
    contexts: list[Any] = []
    tabs: list[Tab] = []

    def make(browser: Any, to: Any, secure: bool = False, **options: Any) -> Tab:
        """``secure``: by https, from a server whose certificate the browser need not trust."""
        port = to if isinstance(to, int) else to.port
        context = browser.new_context(ignore_https_errors=secure, **options)
        contexts.append(context)
        tabs.append(Tab(context.new_page(), f"http{'s' if secure else ''}://127.0.0.1:{port}/"))
        return tabs[-1]

    yield make
    for context in contexts:
        context.close()
    assert [fault for each in tabs for fault in each.faults] == []


@pytest.fixture
def cable() -> Iterator[Callable[..., Cable]]:
    """A network to a server or to a port: cable(server), cable(8081, late=0.3)."""
    laid: list[Cable] = []

    def lay(to: Any, late: float = 0.0) -> Cable:
        laid.append(Cable(to if isinstance(to, int) else to.port, late))
        return laid[-1]

    yield lay
    for each in laid:
        each.close()
