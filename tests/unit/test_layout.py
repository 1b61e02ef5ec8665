"""The shape of the package: imports, the modules that may use sockets, threads and SQL, and docstrings."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

from support.samples import for_each

import chat_threads

PACKAGE = pathlib.Path(chat_threads.__file__).parent

# Each module imports only modules from the lines above its own. The package itself holds only the version.
LAYERS = """
    __init__        memory          values
    event
    insights        room_events
    errors          usage           inside          streams     ends        addresses   letters    lookalikes  spares
    account_errors
    events          disconnects     rules           queues          tokens      lab         filelock    wal     latch
    tls             refusals
    metrics         reach       qr              limits      starting    passwords
    server_order    pace
    implied         meant           room_commands   room_roles      governance      sign_in
    changes
    commands        ordered         parcel          audit
    paging          redaction
    mailbox         chatroom
    schema          folding         readers     batch       kept    storage_errors
    once        accounts    accounting
    search          names           identity    numbering   quota       handshakes
    retention       files           reading
    wire            storage         trace           dialects.__init__
    upkeep      securewire
    dialects.base   dialects.clock  days     history         outbox      dialects.options
    register        presence        dialects.governed
    directory
    publisher
    dialects.telnet dialects.asking     dialects.codec   dialects.columns    dialects.advice     dialects.keys
    dialects.mistyped
    dialects.typed      dialects.rows   dialects.drawing    dialects.amounts
    dialects.buffer     dialects.completing
    dialects.tables     dialects.speech
    dialects.help   dialects.sentences
    dialects.insights
    dialects.render dialects.editing
    dialects.screen
    dialects.views
    dialects.preferences    dialects.notices
    dialects.text   dialects.jsonlines  session     dialects.http   page.__init__
    page.lab
    dialects.web
    service.table
    service.governing
    service.order
    service.talk    service.rooms   service.pages   service.insight     service.metrics     service.passwords
    service.returning
    service.people
    service.accounts
    service.screen
    service.__init__    writers     dialects.recognise  door
    proxy           host
    receiver        logs            watched
    conversation
    server
    cluster.__init__    cluster.values      cluster.errors      cluster.link
    cluster.ledger      cluster.engine      cluster.entries
    cluster.carried
    cluster.sweeping
    cluster.copy        cluster.members     cluster.post
    cluster.numbering   cluster.publisher   cluster.listener
    cluster.history
    cluster.watched
    cluster.server
    chat            option_types        motd
    announcement
    cli
    __main__
    client.errors   client.lines
    client.connection   client.decoding
    client.requests
    client.state
    client.link
    client.chat
    client.__init__     client.surroundings
    client.completions  client.talk
    client.screen
    client.terminal
    client.__main__
"""
LEVEL = {module: level for level, line in enumerate(LAYERS.split("\n")) for module in line.split()}

# Modules of the standard library and of other packages that only some modules may import.
RESERVED = {
    "socket": {"conversation", "wire", "securewire", "server", "chat", "reach", "client.connection"},
    "ssl": {"tls", "securewire", "client.connection", "client.link", "client.chat", "client.terminal"},
    "socketserver": {"conversation", "server"},
    "select": {"wire", "client.lines", "cluster.link"},
    "sqlite3": {
        *(
            "audit",
            "schema",
            "search",
            "accounting",
            "identity",
            "files",
            "cluster.copy",
            "cluster.ledger",
            "cluster.sweeping",
            "once",
            "reading",
            "retention",
            "storage",
            "wal",
        )
    },
    "psycopg": {f"cluster.{module}" for module in ("engine", "link", "listener", "post", "server")},
    "signal": {"cli", "client.lines"},
    "click": {"announcement", "cli", "option_types", "client.terminal"},
    "segno": {"qr"},
    "prompt_toolkit": {"client.screen"},
    "tabulate": {"dialects.tables"},
    "wcwidth": {"dialects.columns"},
}
# A client knows the protocol, and nothing of how a server runs. A client for people also knows their dialect.
CLIENTS_MAY = {"commands", "dialects.codec", "errors", "events", "rules", "tls"}
PEOPLES_MAY = CLIENTS_MAY | {
    *("dialects.typed", "dialects.text", "dialects.base", "dialects.jsonlines", "dialects.advice", "dialects.columns"),
    *("dialects.asking", "dialects.completing", "dialects.notices"),
    *("letters", "option_types", "qr", "streams"),
}
# A dialect does no I/O: it imports only these of our modules, and none of those of the standard library.
DIALECTS_MAY = {
    *("account_errors", "commands", "disconnects", "errors", "events", "letters", "parcel", "qr", "refusals"),
    *("rules", "usage"),
    *("page.__init__", "page.lab"),
}
DIALECTS_MUST_NOT = {"socket", "threading", "queue", "sqlite3", "logging", "os", "select", "asyncio", "subprocess"}


def name_of(path: pathlib.Path) -> str:
    """The module's name below the package: "errors", "dialects.text"."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


SOURCES = {name_of(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str, source: str) -> Iterator[str]:
    """The imports of a module: ours with a dot in front (".errors", ".dialects.text"), others by their first name."""
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, _, rest = alias.name.partition(".")
                yield f".{rest or '__init__'}" if first == "chat_threads" else first
        elif isinstance(node, ast.ImportFrom):
            path = node.module.split(".") if node.module else []
            if node.level:
                path = package[: len(package) + 1 - node.level] + path
            elif path[0] == "chat_threads":
                path = path[1:]
            else:
                yield path[0]
                continue
            for alias in node.names:  # "from .errors import Told", "from . import errors", "from . import __version__"
                paths = ([*path, alias.name], path, [*path, "__init__"])
                found = [name for name in map(".".join, paths) if name in LEVEL]
                yield f".{found[0] if found else '__init__'}"


def wrong_imports(module: str, source: str) -> list[str]:
    """The forbidden imports of a module, in words."""
    dialect = module.startswith("dialects.")
    peoples = ("client.talk", "client.completions", "client.terminal", "client.screen")
    clients_may = PEOPLES_MAY if module in peoples else CLIENTS_MAY
    wrong = []
    for imported in imports(module, source):
        ours = imported.removeprefix(".") if imported.startswith(".") else None
        if ours == "__init__":
            continue
        if ours and LEVEL[ours] >= LEVEL[module]:
            wrong.append(f"{module} imports {ours}, which does not stand above it")
        elif ours and dialect and ours not in DIALECTS_MAY and not ours.startswith("dialects."):
            wrong.append(f"{module} imports {ours}, and a dialect knows nothing of it")
        elif ours and module.startswith("client.") and not ours.startswith("client.") and ours not in clients_may:
            wrong.append(f"{module} imports {ours}, and a client knows nothing of it")
        elif ours and ours.startswith("client.") and not module.startswith("client."):
            wrong.append(f"{module} imports {ours}, and the server needs no client")
        elif not ours and dialect and imported in DIALECTS_MUST_NOT:
            wrong.append(f"{module} imports {imported}, and a dialect is pure")
        elif not ours and module not in RESERVED.get(imported, {module}):
            wrong.append(f"{module} imports {imported}, which is for {', '.join(sorted(RESERVED[imported]))}")
    return wrong


def is_row(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Whether something needs no docstring: a small dataclass, an error of a kind that is explained, or what a command
    does, which the command explains."""
    if isinstance(node, ast.FunctionDef):
        return any(ast.unparse(each).startswith("does(") for each in node.decorator_list)
    if any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        return not any(isinstance(each, ast.FunctionDef) and not each.decorator_list for each in node.body)
    return any(ast.unparse(base) in ("Told", "CutOff", "Protocol") for base in node.bases)


def unexplained(module: str, source: str) -> list[str]:
    """The module, its public classes and functions that have no docstring."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else [module]
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            if not ast.get_docstring(node) and not is_row(node):
                missing.append(f"{module}.{node.name}")
    return missing


def calls(source: str, names: set[str]) -> Iterator[tuple[ast.Call, str]]:
    """The calls of functions written so, each with the name of the function that it stands in."""

    def look(node: ast.AST, inside: str) -> Iterator[tuple[ast.Call, str]]:
        if isinstance(node, ast.FunctionDef):
            inside = node.name
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node, inside
        for child in ast.iter_child_nodes(node):
            yield from look(child, inside)

    return look(ast.parse(source), "")


def nameless_threads(source: str) -> list[int]:
    """The lines in which a thread is made without a name."""
    made = calls(source, {"threading.Thread", "Thread", "threading.Timer", "Timer"})
    return [call.lineno for call, _ in made if not any(keyword.arg == "name" for keyword in call.keywords)]


def sleepers(source: str) -> list[str]:
    """The functions that sleep."""
    return [inside for _, inside in calls(source, {"time.sleep", "sleep"})]


def test_every_module_has_its_layer():
    assert set(SOURCES) == set(LEVEL)


@for_each(
    ("module", "ours"),
    [("errors", set()), ("event", set()), ("events", {".errors", ".event", ".insights", ".room_events", ".values"})],
)
def test_errors_and_events_import_next_to_nothing_of_ours(module, ours):
    assert {imported for imported in imports(module, SOURCES[module]) if imported.startswith(".")} == ours


@for_each("module", SOURCES)
def test_imports_go_one_way(module):
    assert wrong_imports(module, SOURCES[module]) == []


@for_each(
    ("module", "source"),
    [
        ("errors", "from .events import Event"),
        ("rules", "from . import events"),
        ("events", "from chat_threads.rules import fold"),
        ("queues", "def late():\n    from .history import History"),
        ("history", "import chat_threads.publisher"),
        ("publisher", "from .session import Session"),
        ("session", "if True:\n    from .server import ChatServer"),
        ("session", "import socket"),
        ("service.__init__", "from ..writers import Crew"),
        ("service.table", "from . import talk"),
        ("writers", "from socket import socket"),
        ("server", "from .chat import Chat"),
        ("server", "import sqlite3"),
        ("history", "from sqlite3 import Error"),
        ("dialects.text", "import threading"),
        ("dialects.telnet", "import socket"),
        ("dialects.typed", "from ..service import Service"),
        ("dialects.typed", "from .text import TextDialect"),
        ("dialects.text", "from ..queues import BatchQueue"),
        ("dialects.text", "from ..storage import Storage"),
        ("dialects.base", "from .. import session"),
        ("client.link", "from ..queues import BatchQueue"),
        ("client.chat", "from ..dialects.jsonlines import REQUESTS"),
        ("client.link", "import socket"),
        ("client.chat", "from .screen import Screen"),
        ("client.terminal", "from ..server import ChatServer"),
        ("client.terminal", "from prompt_toolkit import PromptSession"),
        ("__main__", "from .client.terminal import main"),
        ("__main__", "from .client.chat import Client"),
    ],
)
def test_an_import_the_wrong_way_is_found(module, source):
    assert len(wrong_imports(module, source)) == 1


@for_each(
    ("module", "source"),
    [
        ("server", "from . import __version__\nimport socket\nfrom .dialects.text import TextDialect"),
        ("dialects.text", "from ..rules import fold\nfrom .telnet import Telnet\nimport re"),
        ("storage", "import sqlite3"),
        ("client.terminal", "from .talk import Talk\nfrom ..dialects.base import REPLAY\nimport click"),
    ],
)
def test_an_import_the_right_way_is_allowed(module, source):
    assert wrong_imports(module, source) == []


@for_each("module", SOURCES)
def test_modules_public_classes_and_functions_are_explained(module):
    assert unexplained(module, SOURCES[module]) == []


def test_a_missing_explanation_is_found():
    source = "class A: ...\nclass _B: ...\ndef f(): ...\ndef _g(): ...\n@dataclass\nclass Row:\n    x: int\n"
    source += "@does(commands.Say)\ndef say(): ...\n"
    assert unexplained("m", source) == ["m", "m.A", "m.f"]


@for_each("module", SOURCES)
def test_no_module_is_too_long_to_be_read_in_one_go(module):
    assert SOURCES[module].count("\n") <= 500


@for_each("module", SOURCES)
def test_every_thread_has_a_name(module):
    assert nameless_threads(SOURCES[module]) == []


def test_a_thread_without_a_name_is_found():
    assert nameless_threads("import threading\nthreading.Thread(target=f, name='x')\nthreading.Thread(target=f)") == [3]


def test_nothing_sleeps_but_the_acceptor_when_it_cannot_accept():
    assert {module: found for module, source in SOURCES.items() if (found := sleepers(source))} == {
        "server": ["get_request"]
    }


def test_a_sleep_is_found():
    assert sleepers("def f():\n    time.sleep(1)\ndef g():\n    return [sleep(1) for x in y]") == ["f", "g"]
