"""Hostile lines of JSON, valid and nearly valid."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from chat_threads.dialects.jsonlines import REQUESTS

ODD = [
    "\x00",
    "\x1b[2J",
    "\x7f",
    "\u0085",
    "\u2028",
    "\u202e",
    "\ufeff",
    "🙂",
    "\u0300" * 50,
    "\ufdfa",
    "é",
    "\uffff",
    "٣",
    "#",
]


def hostile(rng: random.Random, huge: bool = True) -> Iterator[bytes]:
    """Lines without their ends: truncated, deep, huge, odd Unicode, wrong types. None contains a valid quit."""
    types = [kind for kind in REQUESTS if kind != "quit"]

    def value(depth: int = 0) -> Any:
        choice = rng.randrange(12 if depth < 3 else 9)
        if choice < 4:
            return "".join(rng.choices([*ODD, "a", "b", " "], k=rng.randrange(6)))
        if choice == 4:
            return rng.choice([0, -1, 1, 2**31, 2**53, 2**64, -(10**30), 1.5, 1e308])
        if choice == 5:
            return rng.choice([None, True, False, float("nan"), float("inf")])
        if choice < 9:
            return rng.choice(["#lobby", "#lab", "ann", "bob", "on", "replay", "joins", "-", "#", "hi", "\ud800"])
        if choice == 9:
            return [value(depth + 1) for _ in range(rng.randrange(4))]
        return {rng.choice(["type", "text", "a", "ref"]): value(depth + 1) for _ in range(rng.randrange(4))}

    def request() -> bytes:
        kind = rng.choice(types)
        fields = [field.name for field in REQUESTS[kind][1]]
        found = {"type": kind, **{field: value() for field in fields if rng.random() < 0.8}}
        if rng.random() < 0.3:
            found[rng.choice(["ref", "type", "x", "text"])] = value()
        if found["type"] == "quit":
            found["type"] = "ping"
        return json.dumps(found, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")

    while True:
        what = rng.randrange(100)
        if what < 50:
            yield request()
        elif what < 65:
            line = request()
            yield line[: rng.randrange(1, len(line))]
        elif what < 75:
            line = bytearray(request())
            for _ in range(rng.randrange(1, 4)):
                line[rng.randrange(len(line))] = rng.choice([*range(10), *range(11, 256)])
            yield bytes(line)
        elif what < 85:
            yield rng.randbytes(rng.randrange(1, 60)).replace(b"\n", b"")
        elif what < 92:
            deep = rng.choice([b"[", b'{"a":', b'[{"a":', b'"[', b"{"]) * rng.randrange(1, 300)
            yield rng.choice([b"", b'{"type":"ping","x":']) + deep
        elif what < 97:
            yield b'{"type":"history","count":%s}' % (rng.choice([b"9", b"-9", b"1e9", b"0."]) * rng.randrange(1, 50))
        elif what < 98 and huge:
            yield rng.choice([b"[", b'{"a":', b"x", b"9", b'"\\u0', b"\xff"]) * rng.randrange(10_000, 90_000)
        else:
            yield rng.choice([b"null", b"[]", b'"say"', b"0", b'{"type":"say","type":"say"}', b'{"type":"ping"}\x00'])
