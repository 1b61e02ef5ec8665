"""Shared by the tests: clients and servers, waiting, the watch on the locks, and the checks of a server's health."""

import pathlib

import pytest

# An assertion that fails here shows its values, as in a test.
pytest.register_assert_rewrite(*(f"support.{path.stem}" for path in pathlib.Path(__file__).parent.glob("[a-z]*.py")))
