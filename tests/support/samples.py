"""One test of many samples."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]


def for_each(names: str | tuple[str, ...], samples: Iterable[Any]) -> Callable[[Test], Test]:
    """Call a test with each of the samples and report all that fail. It is ``parametrize`` within one test.

    All samples share the fixtures of the test. A separate test for each sample would take milliseconds more.
    """
    given = (names,) if isinstance(names, str) else names
    rows = [dict(zip(given, (each,) if isinstance(names, str) else each, strict=True)) for each in samples]

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def all_of_them(**fixtures: object) -> None:
            failed = []
            for row in rows:
                try:
                    test(**row, **fixtures)
                except (Exception, pytest.fail.Exception) as error:
                    failed.append((row, error))
            if failed:
                told = "\n".join(f"{row}: {type(error).__name__}: {error}" for row, error in failed)
                raise AssertionError(f"{len(failed)} of {len(rows)} samples:\n{told}") from failed[0][1]

        signature = inspect.signature(test)
        rest = [each for name, each in signature.parameters.items() if name not in given]
        all_of_them.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return all_of_them

    return decorate
