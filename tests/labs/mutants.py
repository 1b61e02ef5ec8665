"""Mutants of the labs' solutions: each has one small fault, and the checks have to find it, or a table says why not.

``python tests/labs/mutants.py`` tries all of them, which takes about ten minutes. It prints those that pass and are not
in the table ``mutants.txt``, and those that are in the table and do not pass. Give it numbers of labs to try only
these.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import inspect
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

HERE = pathlib.Path(__file__).parent
LABS = HERE.parents[1] / "docs" / "labs"
TABLE = HERE / "mutants.txt"
UNCHANGED = {"Member": "04", "Session": "06", "Store": "07"}  # classes that are no part of the task, and their labs
LIMIT = 100.0  # seconds for the checks of one mutant; a few are enough, unless the machine is very busy


def mutants(lab: str) -> Iterator[tuple[str, str]]:
    """The mutants of a solution, each as a name that says what was changed, and the text."""
    source = (LABS / lab / "solution.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not _shows_the_fault(node)]
    seen = {ast.unparse(tree)}
    for path, name in _methods(tree, lab):
        for what, mutant in _changes(tree, path, source):
            text = ast.unparse(mutant)
            if text not in seen:
                seen.add(text)
                yield f"{name}: {what}", text


def _shows_the_fault(node: ast.stmt) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.If))


def _methods(tree: ast.Module, lab: str) -> Iterator[tuple[tuple[int, int], str]]:
    for at, node in enumerate(tree.body):
        if isinstance(node, ast.ClassDef) and UNCHANGED.get(node.name) != lab[:2]:
            for inner, method in enumerate(node.body):
                if isinstance(method, ast.FunctionDef):
                    yield (at, inner), f"{node.name}.{method.name}"


def _changes(tree: ast.Module, path: tuple[int, int], source: str) -> Iterator[tuple[str, ast.Module]]:
    """Each change of one method: statements are dropped, swapped and moved, conditions negated, locks changed."""

    def method(of: ast.Module) -> ast.FunctionDef:
        return of.body[path[0]].body[path[1]]  # type: ignore[attr-defined]

    blocks = list(_blocks(method(tree)))
    begins = method(tree).name == "__init__"
    for number, block in enumerate(blocks):
        for at, node in enumerate(block):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            said = " ".join((ast.get_source_segment(source, node) or "").split())[:70].strip()
            for what, change in _statement(node, at, block):
                if begins and what.startswith("after"):
                    continue  # in whatever order the attributes get their values, it is the same
                mutant = copy.deepcopy(tree)
                change(list(_blocks(method(mutant)))[number])
                yield f"{what} {said}", ast.fix_missing_locations(mutant)


def _statement(node, at, block):
    def drop(body):
        body[at : at + 1] = [] if len(body) > 1 else [ast.Pass()]

    def swap(body):
        body[at : at + 2] = reversed(body[at : at + 2])

    def negate(body):
        test = body[at].test
        body[at].test = test.operand if isinstance(test, ast.UnaryOp) else ast.UnaryOp(ast.Not(), test)

    def without_the_lock(body):
        body[at : at + 1] = body[at].body

    def lock_twice(body):
        body[at].body = [ast.With(copy.deepcopy(body[at].items), body[at].body)]

    def first_before(body):
        body[at : at + 1] = [body[at].body[0], ast.With(body[at].items, body[at].body[1:])]

    def last_after(body):
        body[at : at + 1] = [ast.With(body[at].items, body[at].body[:-1]), body[at].body[-1]]

    yield "without", drop
    if at + 1 < len(block):
        yield "after the next:", swap
    if isinstance(node, (ast.If, ast.While)):
        yield "the contrary in", negate
    if isinstance(node, ast.With):
        yield "unlocked:", without_the_lock
        yield "locked twice:", lock_twice
        if len(node.body) > 1:
            yield "its first before:", first_before
            yield "its last after:", last_after


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for each in ast.walk(node):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(each, name, None)
            if isinstance(block, list) and block:
                yield block


def table() -> dict[tuple[str, str], str]:
    """The mutants that pass, and why: they do what the solution does, as far as the task says."""
    rows = {}
    for part in TABLE.read_text(encoding="utf-8").split("\n\n"):
        lab, *lines = part.splitlines() or [""]
        why = ""
        for line in lines:
            if line.startswith("  "):
                rows[lab, line.strip()] = why
            else:
                why = line
    return rows


def passes(lab: str, text: str) -> bool:
    """Whether a mutant passes all checks, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        task = pathlib.Path(folder) / "task.py"
        task.write_text(text, encoding="utf-8")
        command = [sys.executable, __file__, "--check", lab]
        environment = os.environ | {"LAB_TASK": str(task), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def check(lab: str) -> None:
    """Run a lab's checks on the file in LAB_TASK, up to the first that fails."""
    sys.path.insert(0, str(LABS))
    spec = importlib.util.spec_from_file_location("test_task", LABS / lab / "test_task.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, test in list(vars(module).items()):
        if name.startswith("test_"):
            marks = getattr(test, "pytestmark", [])
            for values in next((mark.args[1] for mark in marks if mark.name == "parametrize"), [None]):
                with tempfile.TemporaryDirectory() as folder:
                    needed = inspect.signature(test).parameters
                    test(*[pathlib.Path(folder) / "history.db" if each == "path" else values for each in needed])


def main(numbers: list[str]) -> int:
    known = table()
    tried: set[tuple[str, str]] = set()
    count = wrong = 0
    for lab in sorted(path.parent.name for path in LABS.glob("0[1-8]*/solution.py")):
        if numbers and lab[:2].lstrip("0") not in numbers:
            continue
        for name, text in mutants(lab):
            count += 1
            tried.add((lab, name))
            if passes(lab, text) != ((lab, name) in known):
                wrong += 1
                print(f"{'does not pass' if (lab, name) in known else 'passes'}: {lab}\n  {name}", flush=True)
        for row in sorted(row for row in known if row[0] == lab and row not in tried):
            wrong += 1
            print(f"no such mutant: {row[0]}\n  {row[1]}")
    print(f"{count} mutants, {wrong} not as the table says.")
    return int(wrong > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        check(sys.argv[2])
        os._exit(0)  # threads may be left
    sys.exit(main(sys.argv[1:]))
