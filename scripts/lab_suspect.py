"""What a grader should look at: signs that an answer was written for the very checks, and not for the task."""

from __future__ import annotations

import ast
import pathlib
import re

WORD = re.compile(r"[A-Za-z][\w' ]{1,14}\Z")
ASKS = {"current_thread", "get_ident", "main_thread", "active_count"}  # functions that tell where a thread is


def words_of(folder: pathlib.Path) -> list[str]:
    """The names and texts that the checks of a lab use, and neither the unsolved task nor the solution.

    Not those in capitals: "STOP" is what many take for a mark of their own.
    """
    checks = _constants(ast.parse((folder / "test_task.py").read_bytes()))
    for name in ("task.py", "solution.py"):
        tree = ast.parse((folder / name).read_bytes())
        checks -= {word for node in tree.body if isinstance(node, ast.ClassDef) for word in _constants(node)}
    return sorted(word for word in checks if WORD.match(word) and not word.isupper())


def _constants(tree: ast.AST) -> set[str]:
    values = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in values if isinstance(value, str)}


def signs(text: str, unsolved: bytes, words: list[str]) -> list[str]:
    """For each line of a hand-in that uses one of ``words``, or asks in which thread it runs: a text that says so.

    The functions that the unsolved task has, too, are its demonstration, which is left out.
    """
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    demonstration = {node.name for node in ast.parse(unsolved).body if isinstance(node, functions)}
    found = []
    for top in ast.parse(text).body:
        if isinstance(top, ast.If) or (isinstance(top, functions) and top.name in demonstration):
            continue
        for node in ast.walk(top):
            if isinstance(node, ast.Constant) and node.value in words:
                found.append(f"line {node.lineno} knows {node.value!r}, as the checks do")
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in ASKS and isinstance(node, ast.expr):
                found.append(f"line {node.lineno} asks in which thread it runs")
    return found
