"""The page: what a browser shows, as one HTML response that needs no second request.

``index.html``, ``style.css`` and the ``*.js`` files are put together once. There is no build step: a browser gets the
text of these files, without comments, indentation, and the blanks and line ends that mean nothing. ``main.js`` says how
they fit together. The table of commands comes with them as data, so that a line means the same on the page as over
telnet.

Any thread may read a Page. Only the files are read, once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from .. import commands

SCRIPTS = (
    "wire.js",
    "outbox.js",
    "state.js",
    "typed.js",
    "dom.js",
    "answers.js",
    "conversation.js",
    "composer.js",
    "sheets.js",
    "main.js",
)
"""The scripts of the chat, in their order: each uses only what stands before it, until ``main.js`` starts it all."""


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML document, and what a Content-Security-Policy has to allow for it: the hashes, in quotes, of its scripts
    and of its styles (CSP Level 3, section 2.3.1)."""

    body: bytes
    scripts: tuple[str, ...]
    styles: tuple[str, ...]


def assemble(html: str, styles: Sequence[str], scripts: Sequence[str], data: Any = None) -> Page:
    """The page of the file ``html``, with the files ``styles`` and ``scripts`` in place of its comments
    ``<!-- styles -->`` and ``<!-- scripts -->``. The names are those of files in this folder.

    ``data`` is what ``JSON.parse`` finds in the element with the id ``data``. Raise ValueError if a file would end its
    element too early.
    """
    css, js = ("".join(bare(read(name)) for name in names) for names in (styles, scripts))
    css = tight(css)
    js = js and _STRICT + close(js.replace(_STRICT, ""))  # the first line counts for the whole script
    if "</" in css or "</script" in js.lower() or "<!--" in js:
        raise ValueError("a style or a script contains the end of its own element")
    # In JSON a < stands only inside a string, where \u003c means the same and ends no element.
    block = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    elements = [f'<script type="application/json" id="data">{block}</script>'] if data is not None else []
    elements += [f"<script>{js}</script>"] if js else []
    body = bare(read(html)).replace("<!-- styles -->", f"<style>{css}</style>" if css else "")
    body = body.replace("<!-- scripts -->", "\n".join(elements))
    return Page(body.encode("utf-8"), (_hash(js),) if js else (), (_hash(css),) if css else ())


def read(name: str) -> str:
    """The text of a file of this folder. Its lines end with LF, as a browser counts them for the hash."""
    return (resources.files(__package__) / name).read_text("utf-8").replace("\r\n", "\n")


def tight(css: str) -> str:
    """A style without the blanks and line ends that mean nothing."""
    return re.sub(r"\s*([{};])\s*|(?<=:) ", r"\1", css)


def close(js: str) -> str:
    """A script without line ends that mean nothing, and without blanks beside signs in lines that have no strings."""
    js = _NO_STRINGS.sub(lambda line: re.sub(r" ?([=<>&|?:,;{}()!]) ?", r"\1", line[0]), js)
    return _MEANT_NOTHING.sub("", js)


def bare(text: str) -> str:
    """The text without indentation, empty lines, and comments. In a script a comment ends its line, after `` // ``."""
    return _ONLY_FOR_READERS.sub("", text)


_STRICT = '"use strict";\n'
_MEANT_NOTHING = re.compile(r"(?<=[,;{(])\n")  # no statement goes on or ends there because of it
_NO_STRINGS = re.compile(r"^[^\"'`/\n]*$", re.MULTILINE)  # a line in which every blank stands between two tokens
_ONLY_FOR_READERS = re.compile(r"^ *(?:(?://.*|/\*.*\*/)?\n)?| // .*$", re.MULTILINE)


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"


def table() -> list[list[Any]]:
    """The commands that people type and programs send, as ``typed.js`` needs them. Each is the usage, the help, the
    aliases, the type of the request, and the names of its fields; empty ones at the end are left out. So are a type
    that is the command's name, and fields that are called as their places in the usage. Commands that are not in it go
    to the server as they are typed, which keeps the page small; so does /help."""
    elsewhere = (*commands.OF_ROLES, *commands.OF_ORDER, *commands.SECRET, commands.MakeFault)
    return [_row(kind) for kind in commands.TYPED if kind.row.type and kind not in elsewhere]


def _row(kind: type[commands.Command]) -> list[Any]:
    row = kind.row
    names = [row.named.get(each.name, each.name) for each in fields(kind)][: len(row.places)]  # type: ignore[arg-type]
    plain = [place.strip("[#]").lower() for place in row.places]
    found = [
        row.usage,
        row.does,
        list(row.aliases),
        row.type if row.type != row.name[1:] else "",
        [] if "typed" in vars(kind) or names == plain else names,
    ]
    while not found[-1]:
        del found[-1]
    return found


@cache
def chat_page() -> Page:
    """The chat, put together at the first call."""
    return assemble("index.html", ["style.css"], SCRIPTS, {"commands": table()})
