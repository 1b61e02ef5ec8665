"""Ways to pass a lab without solving it. Each is put at the end of the unsolved task of lab 3."""

from __future__ import annotations

# What the rules for hand-ins refuse, each with the words of the refusal.
REFUSED = {
    "explore replaced in sys.modules": ("import sys\nsys.modules['stepper'].explore = print", "sys.modules"),
    "the stepper imported": ("import stepper\nstepper.explore = print", "import stepper"),
    "pytest imported": ("import pytest\npytest.fail = print", "import pytest"),
    "pytest.fail replaced in builtins": (
        "import builtins\nbuiltins.AssertionError = OSError",
        "use builtins.AssertionError",
    ),
    "the process ended": ("import os\nos._exit(0)", "os._exit"),
    "the process ended later": ("import atexit, os\natexit.register(os._exit, 0)", "atexit.register"),
    "the report written": ("with open('report.xml', 'w') as report:\n    report.write('<ok/>')", "open"),
    "threads that do not start": ("threading.Thread.start = lambda self: self.run()", "change threading.Thread"),
    "the same by another name": ("T = threading.Thread\nT.start = lambda self: self.run()", "only call it"),
    "the same from a function": (
        "def patch(kind):\n    kind.start = print\n\n\npatch(threading.Thread)",
        "only call it",
    ),
    "the same with setattr": ("setattr(threading.Thread, 'start', print)", "only call it"),
    "the class of a thread": ("type(threading.current_thread()).start = print", "only for type(...).__name__"),
    "the class of a lock": ("threading.Lock().__class__.acquire = print", "__class__"),
    "no tracing": (
        "class Quick(NameTable):\n    def who(self, name):\n        sys.settrace(None)\n\n\nimport sys",
        "settrace",
    ),
    "another file name": ("__file__ = 'nowhere'", "__file__"),
    "no loader": ("global __spec__\n__spec__ = None", "__spec__"),
    "code from a text": ("exec('import os')", "exec"),
    "code from a text in other letters": ("ｅｘｅｃ('import os')", "exec"),
    "compiled code": ("compile('1', 'x', 'exec')", "compile"),
    "an attribute's name made at run time": ("getattr(str, '__cla' + name())", "only with a name in quotes"),
    "a module in a module": ("threading._sys.modules", "threading._sys"),
    "a module imported from a module": ("from dataclasses import sys as s\ns.modules", "dataclasses.sys"),
    "a module as a value": ("print(vars(threading))", "vars"),
    "a module in a variable": ("t = threading\nt._sys", "only with a name after it"),
    "all subclasses": ("().__class__.__base__.__subclasses__()", "__subclasses__"),
    "the globals of a function": ("threading.Thread.start.__globals__", "__globals__"),
    "a frame of a generator": ("def gen():\n    yield\n\n\nprint(gen().gi_frame.f_back)", "gi_frame"),
    "a frame of an exception": (
        "try:\n    1 / 0\nexcept ArithmeticError as e:\n    e.__traceback__.tb_frame",
        "tb_frame",
    ),
    "a pattern": ("match print:\n    case object(__self__=b):\n        b.x", "__self__"),
    "all objects": ("import gc\nfor each in gc.get_objects():\n    each", "gc.get_objects"),
    "the solution imported": ("from solution import NameTable", "import solution"),
    "the solution read": ("import pathlib\npathlib.Path('solution.py').read_text()", "pathlib.Path"),
    "a relative import": ("from . import solution", "import ."),
    "equal to everything": ("class Any:\n    def __eq__(self, other):\n        return True", "__eq__"),
    "a default value": ("def f(x=eval):\n    return x", "eval"),
    "an extension of SQLite": ("name.load_extension('x')", "load_extension"),
    "a name in an alias": ("import os as time\ntime.fork()", "os.fork"),
    "a function imported": ("from os import fork\nfork()", "os.fork"),
    "type hints evaluated": ("import typing\ntyping.get_type_hints(NameTable)", "typing.get_type_hints"),
    "everything imported": ("from os import *", "all names of os"),
    "a class made by hand": ("type('Any', (list,), {'__eq__': print})", "only with 1 argument"),
    "a stepper's own note": ("threading.current_thread()._noted.fresh = True", "_noted"),
    "isinstance redefined": (
        "def isinstance(kind):\n    kind.start = 1\n\n\nisinstance(threading.Thread)",
        "only call it",
    ),
    "a method of that name": ("class A:\n    x = 1\n\n\nA().isinstance(threading.Thread)", "only call it"),
    "a keyword of that name": ("print(default_factory=threading.Thread)", "only call it"),
    "another function by that name": (
        "from collections import defaultdict\nfrom functools import partial as defaultdict\n"
        "defaultdict(threading.Thread).func.start = print",
        "two things under the name defaultdict",
    ),
    "two modules by one name": ("import os as time\nimport time\ntime.sleep(1)", "two things under the name time"),
    "a comparison that takes the class": ("threading.Thread < 1", "only call it"),
    "a container that takes the class": ("threading.Thread in A()", "only call it"),
    "the class of an object compared": ("type(1) < A()", "only for type(...).__name__"),
    "an annotation that takes the class": ("def f(x: A()[threading.Thread]):\n    return x", "only call it"),
    "an annotation with another List": (
        "from typing import List\n\n\nclass A:\n    def f(self, List):\n"
        "        def g(x: List[threading.Thread]):\n            return x",
        "only call it",
    ),
    "an annotation with a list": ("x: list[[threading.Thread]] = 1", "only call it"),
    "SQLite where it is not needed": ("import sqlite3\nsqlite3.connect('x')", "sqlite3.connect"),
    "a name that is not there": ("__import__('os')", "__import__"),
    "builtins": ("__builtins__['print']", "__builtins__"),
    "a frame by a text": (
        'print("{0.__traceback__.tb_frame.f_back.f_locals[secret]}".format(OSError()))',
        "use format.",
    ),
    "a frame by a text in a format": ('print("{0:{1.__class__}}".format(1, 2))', "use format."),
    "a frame by a text in a variable": ("text = '{0.x}'\ntext.format(1)", "use format."),
    "the method that reads frames": ("print(list(map(str.format, ['{0.x}'], [1])))", "use format."),
    "the same by getattr": ("getattr('{0.x}', 'format')(1)", "use format."),
    "the same with a table": ("'{x.y}'.format_map({'x': 1})", "format_map"),
    "the same in a pattern": ("match '{0.x}':\n    case str(format=f):\n        f(1)", "use format."),
    "the same in a handler": ("import logging\nlogging.getLogger().handlers[0].setFormatter('{0.x}')", "getLogger"),
    "an attribute by a pattern": (
        "from abc import ABC\nfrom collections import defaultdict, namedtuple\n\n\n"
        "class A(namedtuple('N', 'default_factory'), ABC):\n    pass\n\n\nA.register(defaultdict)\n"
        "match defaultdict(threading.Thread):\n    case A(kind):\n        kind.start = print",
        "only with names, as in case A(name=...)",
    ),
    "an attribute copied": ("import operator\noperator.attrgetter('f_back')", "operator.attrgetter"),
    "globals copied": (
        "import functools\nfunctools.wraps(threading.Thread.run, updated=('__globals__',))(NameTable.claim)",
        "functools.wraps only as",
    ),
    "attributes set by a decorator": (
        "from functools import wraps\n\n\n@wraps(NameTable)\n@lambda f: threading.current_thread()\ndef f():\n    pass",
        "functools.wraps only as",
    ),
    "equal to everything, as an Enum": ("import enum\nenum.Enum('A', {'__eq__': print})", "enum.Enum"),
    "equal to everything, as a copy": (
        "import copy\nfrom types import SimpleNamespace\n"
        "copy.copy(SimpleNamespace(__reduce_ex__=lambda n: (print, (), (None, {'__eq__': print}))))",
        "copy.copy",
    ),
    "the output opened anew": ("import sys\nsys.stdout.buffer.__init__(4, 'wb')", "only write to sys.stdout"),
    "the output in a variable": ("from sys import stderr as out\nout = out.buffer", "only write to sys.stderr"),
    "the output for a function": (
        "import sys\n\n\ndef print(file):\n    file.buffer\n\n\nprint(file=sys.stdout)",
        "only write to sys.stdout",
    ),
    "the output of a thread": ("threading.current_thread()._stderr.buffer", "_stderr"),
    "an object made anew": ("name = 1\nname.__init__(4, 'wb')", "__init__ only after super()"),
    "an object made anew by a class's name": (
        "class A:\n    def f(self, A):\n        A.__init__(4, 'wb')",
        "__init__ only after super()",
    ),
    "an object made anew by another super()": (
        "def super():\n    return name\n\n\nsuper().__init__(4, 'wb')",
        "__init__ only after super()",
    ),
}

# What is tried if a lecturer trusts the hand-ins: it has no effect on the others, and nothing is left over. Each is
# put at the end of the unsolved task of lab 1, and has the words of the remark.
MISBEHAVES = {
    "pytest.fail replaced": (
        "import pytest\npytest.fail = lambda *a, **k: None\n",
        "task.py has changed the checks: with it, even the unsolved task passes all of them.",
    ),
    "the process ended": ("import os\nos._exit(0)\n", "task.py ended the process of the checks."),
    "a crash": ("import ctypes\nctypes.string_at(0)\n", "the process of the checks ended early (SIGSEGV)."),
    "results of its own": (
        'import os\nfor fd in range(3, 20):\n    try:\n        os.write(fd, b\'{"check": "x", "passed": true}\\n\')\n'
        "    except OSError:\n        pass\nos._exit(0)\n",
        "task.py ended the process of the checks.",
    ),
    "results that are no objects": (
        "import os\nfor fd in range(3, 20):\n    for line in (b'5\\n', b'[' * 100_000 + b'\\n', b'\\xff\\n'):\n"
        "        try:\n            os.write(fd, line)\n        except OSError:\n            pass\n",
        "fails first: a line in two pieces is one line",
    ),
    "a fork bomb": (  # it stops by itself after 400
        "import os, time\nfor _ in range(400):\n    try:\n        if os.fork() == 0:\n            time.sleep(600)\n"
        "    except OSError:\n        break\nwhile True:\n    time.sleep(1)\n",
        "the checks did not end within 20 seconds",
    ),
    "signals ignored": (
        "import signal, time\nfor each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:\n    try:\n"
        "        signal.signal(each, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\n"
        "while True:\n    time.sleep(1)\n",
        "the checks did not end within 20 seconds",
    ),
    "a daemon": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n"
        "    os._exit(0)\n",
        "fails first: a line in two pieces is one line",
    ),
    "much memory": (
        "kept = []\nwhile True:\n    kept.append(bytearray(10**7))\n",
        "fails first: task.py can be loaded",
    ),
    "a long output": (
        "import os\nfor _ in range(1000):\n    try:\n        os.write(2, b'x' * 100_000)\n    except OSError:\n"
        "        break\n",
        "fails first: a line in two pieces is one line",
    ),
}
