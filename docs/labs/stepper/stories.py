"""The story of a run: what each thread did, which shared values changed, and where a thread was stopped."""

from __future__ import annotations

import collections
import linecache
import queue
import re
import textwrap
import threading
import types

WIDTH = 120  # characters in a line of the story
ROWS = 60  # lines of a story; the middle of a longer story is left out
VALUE = 60  # characters of a shared value
DEPTH = 4  # lists in a list that are shown
FORMS = {
    "line": "{0.line:>4} {0.text}",
    "goes on": "{0.line:>4} … {0.text}",
    "note": "     ({0.text})",
    "value": "     {0.text}",
    "stopped": "     ── {0.text}",
}
HIDDEN = (types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType, type, threading.Thread)
HIDDEN += (threading.Condition, threading._PyRLock, threading.Semaphore, threading.Barrier)
KEPT = (list, dict, set, collections.deque, queue.Queue, int, str, bytes, type(None))


class Recorder:
    """Knows the shared values that the threads have used, and says which of them have changed."""

    def __init__(self, only):
        self.only = only
        self.alike = {}  # objects by their text
        self.known = {}  # by object and attribute: the object, the name in the story, and the value in words
        self.first = {}  # by the name in the story: the value in words, before the threads used it

    def begin(self, run):
        """The threads are about to begin: the modules' own variables are shared from the beginning."""
        for module in self.only:
            for name, value in vars(module).items():
                if isinstance(value, KEPT) and not name.startswith("__") and not name.isupper():
                    self._add(module, name, name)

    def watch(self, place, owner):
        """An attribute of this object is about to be used there."""
        if place.name and owner is not None and (id(owner), place.name) not in self.known:
            self._add(owner, place.name, place.text)

    def _add(self, owner, attribute, label):
        same = sum(each[1].partition(" #")[0] == label for each in self.known.values())
        label += f" #{same + 1}" if same else ""
        value = self._value(owner, attribute)
        self.known[id(owner), attribute] = [owner, label, value]
        if value is not None and (attribute in getattr(owner, "__dict__", ()) or hasattr(type(owner), attribute)):
            self.first[label] = value

    def _value(self, owner, attribute):
        found = getattr(owner, "__dict__", {}).get(attribute, None)
        if found is None and attribute not in getattr(owner, "__dict__", {}):
            found = getattr(type(owner), attribute, None)
        return (
            None
            if isinstance(found, HIDDEN) or type(found).__name__ in ("Lock", "property")
            else shown(found, self.alike)
        )

    def changes(self):
        """What has changed since the last call, as ``self._count = 1``."""
        for (_, attribute), entry in list(self.known.items()):
            owner, label, before = entry
            entry[2] = self._value(owner, attribute)
            if entry[2] != before and entry[2] is not None:
                yield f"{label} = {entry[2]}"


def shown(value, alike):
    """A value in a few words, the same on every Python and in every run. Objects that look alike are numbered."""
    if isinstance(value, threading.Event):
        return "set" if value._flag else "not set"
    text = _shown(value, alike)
    return text if len(text) <= VALUE else text[: VALUE - 1] + "…"


def _shown(value, alike, depth=DEPTH):
    if not depth:
        return "…"
    if isinstance(value, queue.Queue):
        value = list(value.queue)
    if type(value) is dict:
        return (
            "{"
            + ", ".join(
                f"{_shown(key, alike, depth - 1)}: {_shown(each, alike, depth - 1)}" for key, each in value.items()
            )
            + "}"
        )
    if type(value) in (list, collections.deque):
        return "[" + ", ".join(_shown(each, alike, depth - 1) for each in value) + "]"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(repr, value))) + "}"
    try:
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    except Exception:  # of a class under test
        text = type(value).__name__
    text = re.sub(r"<(?:bound method|function) ([\w.<>]+)[^>]*>+", r"\1", text)
    if type(value).__module__ in ("builtins", "types"):
        return text
    same = alike.setdefault(text, [])
    number = next((at for at, each in enumerate(same) if each is value), len(same))
    if number == len(same):
        same.append(value)
    return f"{text} #{number + 1}" if number else text


def source(place):
    """The line of code in which a place is, without its comment."""
    return linecache.getline(place.file, place.line).partition("  #")[0].strip()


def story(result) -> str:
    """Show the run that went wrong: a column for each thread, and a row for each step with its line number and text."""
    cells = [(step.thread, step.line, FORMS[step.kind].format(step)) for step in result.steps]
    width = max(len(text) for text in (*result.threads, *(cell for _, _, cell in cells), ""))
    width = min(width, WIDTH // max(1, len(result.threads)))
    rows = ["step  " + "  ".join(f"{name:<{width}}" for name in result.threads).rstrip()]
    number = 0
    for thread, line, cell in cells:
        number += line > 0
        if line:
            fitting = [cell if len(cell) <= width else cell[: width - 1] + "…"]
        else:  # a note is not in the file, so it is shown in full
            fitting = textwrap.wrap(cell, width, subsequent_indent=" " * 8)
        for part in fitting:
            rows.append(f"{number if line else '':>4}  " + " " * ((width + 2) * thread) + part)
    if len(rows) > ROWS:
        rows[ROWS // 2 : -ROWS // 2] = ["   …"]
    where = ", on a Python without the interpreter lock" if result.free else ""
    head = f"How the threads took turns{where}, each row a line of code:"
    return "\n".join([head, "", *rows, "", f"Schedule: {result.schedule}", "", result.fault, ""])
