"""docs/walk.rst quotes the code by name: each name is there."""

from __future__ import annotations

import ast
import pathlib
import re
from typing import Any

from support.samples import for_each

from chat_threads import mailbox

ROOT = pathlib.Path(__file__).parents[2]
WALK = (ROOT / "docs" / "walk.rst").read_text(encoding="utf-8")
QUOTED = sorted(set(re.findall(r"``([^`]+)``", WALK)))


def _defined() -> set[str]:
    """Everything that the package's files give a name: ``name`` and, inside a class, ``Class.name`` too."""
    found: set[str] = set()
    for path in (ROOT / "chat_threads").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            for each in ast.walk(node) if isinstance(node, (ast.ClassDef, ast.Module)) else ():
                names: list[str] = []
                if isinstance(each, (ast.FunctionDef, ast.ClassDef)):
                    names = [each.name]
                elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    names = [each.id]
                elif isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
                    names = [each.attr]
                elif isinstance(each, ast.arg):
                    names = [each.arg]
                found.update(names, (owner + name for name in names))
    return found


DEFINED = _defined()
NOT_CODE = {*"/ not_stored writer-1 writer-2 writer-of-7 ThreadingTCPServer".split(), "this type", "hi all", "/trace N"}


@for_each("quoted", [each for each in QUOTED if each not in NOT_CODE])
def test_every_name_that_the_walk_quotes_is_in_the_source(quoted):
    if quoted.startswith("--"):
        options = (ROOT / "chat_threads" / "cli.py").read_text(encoding="utf-8")
        assert f'"{quoted}"' in options
    elif "/" in quoted:
        assert (ROOT / quoted).exists() or (ROOT / "chat_threads" / quoted).exists()
    elif quoted.endswith(".py"):
        assert (ROOT / "chat_threads" / quoted).exists()
    else:
        name = quoted.partition("(")[0]
        assert name in DEFINED or inherited(name), f"nothing is called {name}"


def inherited(name: str) -> bool:
    """Whether it belongs to a base class: the mutex is queue.Queue's."""
    return name in {"BatchQueue.mutex", "Mailbox.mutex"}


@for_each("name", ["WRITER", "LIFE"])
def test_the_figures_of_a_mailbox_show_its_states_and_transitions(name):
    """Each transition is one word in the figure, and each state one box."""
    table: Any = getattr(mailbox, name)
    figure = WALK.split(f"``{name}`` says::", 1)[1].split("\n\n")[1]
    assert sorted(re.findall("[A-Z]+", figure)) == sorted(state.name for state in table)
    assert sorted(re.findall("[a-z_]{2,}", figure)) == sorted(event for row in table.values() for event in row)


def test_the_walk_is_short_enough_for_an_evening():
    assert len(WALK.splitlines()) <= 320
