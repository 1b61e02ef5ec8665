"""What a hand-in may use. The checks of a lab run in one process with the student's code, so this code must have no way
to them.

Python has many such ways: ``sys.modules``, frames, ``__globals__``, the classes that threading is made of, and whatever
reads or sets attributes by names in a text, which nobody can find in the source. A solution needs none of them.
``made_safe`` reads the source and allows what is known to be harmless: some names of some modules, no name with two
underscores at both ends except those of methods, no class of the standard library as a value. The functions of a
demonstration may contain anything: they are emptied, since the checks do not call them.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import io
import re
import sys
import tokenize
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

LONGEST = 200_000  # bytes of a task.py
ENCODINGS = ("utf-8", "utf-8-sig", "iso-8859-1", "ascii")
DUNDER = re.compile(r"__.*__\Z", re.DOTALL)

# The names of each module that a solution may use. "*" stands for all public ones.
MODULES: dict[str, str] = {
    "__future__": "*",
    "_thread": "allocate_lock LockType RLock get_ident start_new_thread",
    "abc": "ABC abstractmethod",
    "asyncio": "BoundedSemaphore CancelledError Condition Event Future Lock PriorityQueue Queue QueueEmpty QueueFull "
    "Semaphore StreamReader StreamWriter Task TaskGroup TimeoutError create_task current_task ensure_future gather "
    "get_running_loop run shield sleep timeout to_thread wait wait_for ALL_COMPLETED FIRST_COMPLETED FIRST_EXCEPTION",
    "bisect": "*",
    "codecs": "getincrementaldecoder getincrementalencoder decode encode BOM_UTF8",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "collections.abc": "*",
    "concurrent.futures": "ThreadPoolExecutor Future CancelledError TimeoutError as_completed wait ALL_COMPLETED "
    "FIRST_COMPLETED FIRST_EXCEPTION",
    "contextlib": "AbstractContextManager ExitStack closing contextmanager nullcontext suppress",
    "dataclasses": "dataclass field replace",
    "datetime": "date datetime timedelta timezone",
    "functools": "cache lru_cache partial reduce wraps",
    "heapq": "*",
    "io": "BytesIO StringIO",
    "itertools": "*",
    "logging": "critical debug error exception info warning DEBUG INFO WARNING ERROR",
    "math": "*",
    "operator": "itemgetter",
    "queue": "*",
    "random": "choice choices randint random randrange sample shuffle uniform Random",
    "re": "*",
    "sqlite3": "Connection Cursor DatabaseError Error IntegrityError OperationalError Row connect",
    "string": "ascii_letters ascii_lowercase ascii_uppercase digits punctuation whitespace",
    "sys": "maxsize stderr stdout",
    "threading": "Barrier BoundedSemaphore BrokenBarrierError Condition Event Lock RLock Semaphore Thread Timer "
    "current_thread get_ident local main_thread active_count",
    "time": "*",
    "traceback": "print_exc format_exc",
    "types": "SimpleNamespace TracebackType",
    "typing": "Any Callable ClassVar Dict Final Generic Iterable Iterator List Literal NamedTuple NoReturn Optional "
    "Protocol Self Sequence Set Tuple TypeAlias TypeVar Type Union TYPE_CHECKING cast final overload",
    "weakref": "WeakKeyDictionary WeakSet WeakValueDictionary ref",
}
SPECIAL = {"asyncio", "sqlite3"}  # those that only some labs need
NOT_CALLED = frozenset(
    "__import__ breakpoint compile copyright credits delattr dir eval exec exit globals help input license locals open "
    "quit vars".split()
)
ONLY_CALLED = {"getattr": (2, 3), "hasattr": (2, 2), "setattr": (3, 3), "type": (1, 1)}  # with so many arguments
GENERIC = frozenset("dict frozenset list set tuple type".split())
METHODS = frozenset(
    f"__{name}__"
    for name in "init post_init new enter exit aenter aexit iter next aiter anext len contains getitem setitem delitem "
    "call repr str hash lt le gt ge del missing reversed name qualname doc slots".split()
)
NAMES = frozenset(("__name__", "__file__", "__doc__", "__slots__"))
MADE_ANEW = ("__init__", "__new__")  # with a file's, any file can be opened
WRITES = ("write", "flush")
PRINTS = "traceback.print_exc"
READS_A_FIELD = re.compile(r"\{[^{}:!]*[.\[]")  # "{0.name}" and "{0[name]}", and not "{:.2f}"
BY_POSITION = "bool bytearray bytes dict float frozenset int list set str tuple".split()  # the whole value matches
_INSIDE = (types.FrameType, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.TracebackType)
ATTRIBUTES = frozenset(
    name for each in (*_INSIDE, types.CodeType) for name in dir(each) if re.match("[a-z]{1,2}_", name)
) | {
    *("mro", "default_factory", "load_extension", "enable_load_extension", "_noted", "_stderr", "_evaluate"),
    *("get_coro", "get_stack", "subprocess_exec", "subprocess_shell", "connect_read_pipe", "connect_write_pipe"),
    *("format", "format_map"),
}


class Broken(ValueError):
    """The source breaks the rules, and it is not only a demonstration that does."""


@dataclass
class Safe:
    """A source that may be run beside the checks."""

    text: str
    encoding: str
    emptied: list[str] = field(default_factory=list)  # the functions whose bodies were taken out


def made_safe(source: bytes, unsolved: bytes = b"") -> Safe:
    """The source, with all bodies of functions taken out that break the rules. Lines keep their numbers.

    ``unsolved``: the task as it was handed out. Only where it imports asyncio or sqlite3 may the hand-in use them.
    Raises ``Broken`` if anything else does, and ``SyntaxError`` as Python does.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    if encoding not in ENCODINGS:
        raise Broken(f"task.py is written in {encoding}. Save it as UTF-8.")
    with io.TextIOWrapper(io.BytesIO(source), encoding) as decoded:
        text = decoded.read()  # with LF at the end of each line
    tree = ast.parse(text, "task.py")
    special = SPECIAL - {each for node in ast.walk(ast.parse(unsolved)) for each in _imports(node)}
    found = _Reader(tree, special)
    lines = text.split("\n")
    emptied = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _only_alone(node):
            continue
        first, last = node.body[0], node.body[-1].end_lineno or 0
        wrong = [each for statement in node.body for each in found.wrong(statement)]
        if wrong and not lines[first.lineno - 1][: first.col_offset].strip():
            name = getattr(node, "name", "")
            why = f"{name}() was emptied for the checks: {wrong[0]}"
            instead = f"raise RuntimeError({why!r})" if name else "pass"
            lines[first.lineno - 1 : last] = [" " * first.col_offset + instead, *[""] * (last - first.lineno)]
            emptied += [name] if name else []
    text = "\n".join(lines)
    tree = ast.parse(text, "task.py")
    if wrong := list(dict.fromkeys(_Reader(tree, special).wrong(tree))):
        raise Broken("\n".join(wrong[:5]))
    return Safe(text, encoding, emptied)


def _imports(node: ast.AST) -> list[str]:
    """The names of the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _only_alone(node: ast.stmt) -> TypeGuard[ast.If]:
    """Whether it is ``if __name__ == "__main__":``, which the checks never run."""
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) == "__name__ == '__main__'"


def _binds(node: ast.AST, field_name: str) -> bool:
    """Whether a text in this field of a node is a name that gets a meaning there, other than by an import."""
    if isinstance(node, ast.Name):
        return not isinstance(node.ctx, ast.Load)
    return not isinstance(node, ast.alias | ast.Attribute | ast.keyword | ast.Constant | ast.ImportFrom)


class _Reader:
    """Knows what each name of a source stands for, and finds what breaks the rules."""

    def __init__(self, tree: ast.Module, forbidden: set[str]) -> None:
        self._forbidden = forbidden  # modules
        self._above: dict[ast.AST, tuple[ast.AST, str]] = {}  # what contains a node, and in which of its fields
        self._modules: dict[str, str] = {}  # what the names stand for that imports bind
        self._imported: dict[str, tuple[str, str]] = {}
        self._bound: set[str] = set()  # names that the file itself gives a meaning
        self._twice: set[str] = set()  # names that imports give two meanings
        for node in ast.walk(tree):
            for name, value in ast.iter_fields(node):
                for each in value if isinstance(value, list) else [value]:
                    if isinstance(each, ast.AST) and not isinstance(each, ast.expr_context | ast.operator):
                        self._above[each] = (node, name)
                    elif isinstance(each, str) and _binds(node, name):
                        self._bound.add(each)
            if isinstance(node, ast.Import):
                for alias in node.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    self._bind(bound, alias.name if alias.asname else bound)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    self._bind(
                        alias.asname or alias.name, whole if whole in MODULES else (node.module or "", alias.name)
                    )

    def _bind(self, name: str, meaning: str | tuple[str, str]) -> None:
        known = self._modules.get(name) or self._imported.get(name)
        if known not in (None, meaning):
            self._twice.add(name)
        if isinstance(meaning, str):
            self._modules[name] = meaning
        else:
            self._imported[name] = meaning

    def wrong(self, top: ast.AST) -> Iterator[str]:
        """What breaks the rules in this node and all below it, in words."""
        for node in ast.walk(top):
            for why in self._why(node):
                yield f"line {getattr(node, 'lineno', 1)}: {why}"

    def _why(self, node: ast.AST) -> Iterator[str]:
        yield from self._names(node)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] not in sys.stdlib_module_names:
                    yield f"it may not import {alias.name}, which is not in the standard library."
        elif isinstance(node, ast.ImportFrom):
            if node.level or (node.module or "").partition(".")[0] not in sys.stdlib_module_names:
                yield f"it may not import {'.' * node.level}{node.module or ''}, which is not in the standard library."
            elif any(alias.name == "*" for alias in node.names):
                yield f"it may not import all names of {node.module}; name those that you need."
        elif isinstance(node, ast.Name):
            yield from self._name(node)
        elif isinstance(node, ast.Attribute):
            yield from self._attribute(node)
        elif isinstance(node, ast.MatchClass) and node.patterns and not self._is(node.cls, *BY_POSITION):
            kind = ast.unparse(node.cls)
            yield f"it may use a pattern for {kind} only with names, as in case {kind}(name=...)."

    def _names(self, node: ast.AST) -> Iterator[str]:
        """No name may begin and end with two underscores, however it is bound; methods have a few."""
        above = self._above.get(node, (None, ""))[0]
        for name, value in ast.iter_fields(node):
            if isinstance(node, ast.Constant) or (isinstance(node, ast.ImportFrom) and name == "module"):
                continue
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, str):
                    continue
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and isinstance(above, ast.ClassDef):
                    allowed = METHODS - {"__name__", "__qualname__", "__doc__", "__slots__"}
                elif isinstance(node, ast.Attribute):
                    allowed = METHODS | ({"__class__"} if getattr(above, "attr", "") == "__name__" else set())
                elif isinstance(node, ast.Name):
                    allowed = NAMES if isinstance(node.ctx, ast.Load) else frozenset(("__slots__",))
                else:
                    allowed = frozenset()
                taken = name in ("attr", "kwd_attrs") and each in ATTRIBUTES and not _only_fills_in(node)
                if taken or (DUNDER.match(each) and each not in allowed):
                    yield f"it may not use {each}.{' Use an f-string.' * (each == 'format')}"

    def _name(self, node: ast.Name) -> Iterator[str]:
        above, place = self._above.get(node, (None, ""))
        if node.id in self._twice:
            yield f"it may not import two things under the name {node.id}."
        elif node.id in self._modules:
            if not (isinstance(above, ast.Attribute) and isinstance(above.ctx, ast.Load)):
                yield f"it may use the module {node.id} only with a name after it, as in {node.id}.name."
        elif node.id in self._imported:
            yield from self._reference(node, *self._imported[node.id])
        elif node.id in NOT_CALLED and hasattr(builtins, node.id):
            yield f"it may not use {node.id}."
        elif node.id in ONLY_CALLED:
            least, most = ONLY_CALLED[node.id]
            if not (isinstance(above, ast.Call) and place == "func"):
                yield f"it may only call {node.id}()."
            elif (
                above.keywords
                or not least <= len(above.args) <= most
                or any(isinstance(a, ast.Starred) for a in above.args)
            ):
                yield (
                    f"it may call {node.id}() only with {least} to {most} arguments."
                    if most > least
                    else (f"it may call {node.id}() only with {least} argument{'s' * (least > 1)}.")
                )
            elif node.id == "type":
                outer = self._above.get(above, (None, ""))[0]
                named = isinstance(outer, ast.Attribute) and outer.attr in ("__name__", "__qualname__")
                if not named and not _only_same(outer):
                    yield "it may use type() only for type(...).__name__, or to compare it."
            else:
                name = above.args[1]
                if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
                    yield f"it may call {node.id}() only with a name in quotes."
                elif DUNDER.match(name.value) or name.value in ATTRIBUTES:
                    yield f"it may not use {name.value}."

    def _attribute(self, node: ast.Attribute) -> Iterator[str]:
        module = self._module(node.value)
        if node.attr in MADE_ANEW and not self._base(node.value):
            yield f"it may use {node.attr} only after super(), or after a class of Python."
        if module is None:
            if not isinstance(node.ctx, ast.Load) and self._library(node.value):
                yield f"it may not change {ast.unparse(node.value)}."
        elif self._module(node) is None:
            yield from self._reference(node, module, node.attr)

    def _module(self, node: ast.expr) -> str | None:
        """The module that an expression stands for."""
        if isinstance(node, ast.Name):
            return self._modules.get(node.id)
        if isinstance(node, ast.Attribute):
            above = self._module(node.value)
            if above is not None and any(each == f"{above}.{node.attr}" for each in MODULES):
                return f"{above}.{node.attr}"
        return None

    def _base(self, node: ast.expr) -> bool:
        """Whether it is super(), or a class of Python by its own name."""
        if isinstance(node, ast.Call):
            return self._is(node.func, "super") and not node.args
        known = [each for each in vars(builtins) if isinstance(getattr(builtins, each), type)]
        if isinstance(node, ast.Attribute):
            module, name = self._module(node.value) or "", node.attr
        else:
            module, name = self._imported.get(getattr(node, "id", ""), ("", ""))
        return self._is(node, *known) or (module in MODULES and isinstance(_value(module, name), type))

    def _library(self, node: ast.expr) -> bool:
        """Whether it is something of a module, or a part of that."""
        while isinstance(node, ast.Attribute):
            if self._module(node.value) is not None:
                return True
            node = node.value
        return isinstance(node, ast.Name) and (node.id in self._imported or node.id in self._modules)

    def _reference(self, node: ast.expr, module: str, name: str) -> Iterator[str]:
        """Something of a module is used."""
        whole = f"{module}.{name}"
        if (
            module in self._forbidden
            or module not in MODULES
            or not (name in MODULES[module].split() or (MODULES[module] == "*" and public(module, name)))
        ):
            yield f"it may not use {whole}."
        elif not isinstance(getattr(node, "ctx", None), ast.Load):
            yield f"it may not change {whole}."
        elif module == "sys" and name in ("stdout", "stderr") and not self._written(node):
            yield f"it may only write to {whole}: print(text, file={whole})."
        elif whole == "functools.wraps" and not self._wraps(node):
            yield f"it may use {whole} only as the last decorator of a function, with the other function in ()."
        elif changeable(module, name) and not self._harmless(node):
            yield f"it may not keep {whole} itself or pass it on, only call it. Is () missing after it?"

    def _written(self, node: ast.AST) -> bool:
        """Whether a file is only written to."""
        above, _ = self._above[node]
        if isinstance(above, ast.keyword):
            call = self._above[above][0]
            return above.arg == "file" and isinstance(call, ast.Call) and self._is(call.func, "print", PRINTS)
        return isinstance(above, ast.Attribute) and above.attr in WRITES

    def _wraps(self, node: ast.AST) -> bool:
        """Whether it is @wraps(function) directly above a function of the file, which it then changes."""
        call, place = self._above[node]
        function = self._above.get(call, (None, ""))[0]
        return (
            isinstance(call, ast.Call)
            and place == "func"
            and len(call.args) == 1
            and not call.keywords
            and not isinstance(call.args[0], ast.Starred)
            and isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            and function.decorator_list[-1:] == [call]
        )

    def _harmless(self, node: ast.AST) -> bool:
        """Whether a class is called, inherited from, compared or only mentioned, so that nobody can change it."""
        above, place = self._above[node]
        if isinstance(above, ast.Call):
            return place == "func" or self._is(above.func, "isinstance", "issubclass", "collections.defaultdict")
        if isinstance(above, ast.keyword):
            call = self._above[above][0]
            return (
                above.arg == "default_factory"
                and isinstance(call, ast.Call)
                and self._is(call.func, "dataclasses.field")
            )
        if isinstance(above, ast.Attribute):
            return isinstance(above.ctx, ast.Load)
        if isinstance(above, ast.ClassDef):
            return place == "bases"
        if isinstance(above, ast.withitem):
            return place == "context_expr"  # () is missing, and Python says so
        if (isinstance(above, ast.Subscript) and place == "value") or _only_same(above):
            return True
        while place not in ("annotation", "returns"):  # only in what types are written with
            typed = isinstance(above, ast.Subscript) and (
                self._is(above.value, *GENERIC)
                or (self._library(above.value) and not self._names_of(above.value) & self._bound)
            )
            if not (typed or isinstance(above, ast.Tuple | ast.BinOp)):
                return False
            above, place = self._above[above]
        return True

    def _names_of(self, node: ast.AST) -> set[str]:
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}

    def _is(self, node: ast.expr, *names: str) -> bool:
        """Whether an expression is one of these: something built in, or of a module."""
        if isinstance(node, ast.Name) and node.id not in self._bound | self._twice:
            return ".".join(self._imported.get(node.id, (node.id,))) in names
        return isinstance(node, ast.Attribute) and f"{self._module(node.value)}.{node.attr}" in names


def _only_fills_in(node: ast.AST) -> bool:
    """Whether it is the format() of a text that is there to be read, and names no attribute."""
    if not (isinstance(node, ast.Attribute) and node.attr == "format" and isinstance(node.value, ast.Constant)):
        return False
    return isinstance(node.value.value, str) and not READS_A_FIELD.search(node.value.value)


def _only_same(node: ast.AST | None) -> bool:
    """Whether it only asks if two things are the same, or equal: no class can say what that means."""
    same = ast.Is | ast.IsNot | ast.Eq | ast.NotEq
    return isinstance(node, ast.Compare) and all(isinstance(each, same) for each in node.ops)


def public(module: str, name: str) -> bool:
    """Whether it is a public name of the module, and no other module that this one imports."""
    found = importlib.import_module(module)
    listed = getattr(found, "__all__", None) or [each for each in dir(found) if not each.startswith("_")]
    return name in listed and not isinstance(getattr(found, name, found), types.ModuleType)


def _value(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name, None)


def changeable(module: str, name: str) -> bool:
    """Whether it is a class whose methods can be replaced. The stepper's locks are, too."""
    value = _value(module, name)
    if name in ("Lock", "RLock", "allocate_lock", "SimpleQueue", "local"):
        return True
    return isinstance(value, type) and bool(value.__flags__ & 1 << 9) and not issubclass(value, BaseException)
