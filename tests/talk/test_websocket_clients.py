"""Clients of WebSockets that others wrote, in one room with a person and a program."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support.clients import LONG
from support.servers import lacks, needs
from support.waiting import WAIT

NODE = """
const socket = new (require("ws"))(process.argv[1]);
const lines = () => require("readline").createInterface({input: process.stdin});
socket.on("open", () => lines().on("line", line => socket.send(line)));
socket.on("message", data => process.stdout.write(data));
socket.on("close", (code, reason) => {
    console.log(JSON.stringify({type: "closed", code, reason: `${reason}`}));
    process.exit();
});
"""


class Sync:
    """The client of the library ``websockets``."""

    def __init__(self, url: str) -> None:
        client = pytest.importorskip("websockets.sync.client")
        self._end = contextlib.ExitStack()
        self._socket = self._end.enter_context(client.connect(url, open_timeout=WAIT, close_timeout=WAIT))

    def send(self, line: str) -> None:
        self._socket.send(line)

    def lines(self) -> Iterator[str]:
        for each in self._socket:
            assert isinstance(each, str)
            yield from each.splitlines()
        ended = self._socket.protocol
        yield json.dumps({"type": "closed", "code": ended.close_code, "reason": ended.close_reason})

    def end(self) -> None:
        self._end.close()


class Node:
    """The client of the library ``ws``, from Debian's package node-ws."""

    def __init__(self, url: str) -> None:
        node = needs("node")
        path = os.pathsep.join([os.environ.get("NODE_PATH", ""), "/usr/share/nodejs"])
        env = {**os.environ, "NODE_PATH": path}
        if subprocess.run([node, "-e", "require('ws')"], env=env, stderr=subprocess.DEVNULL, timeout=WAIT).returncode:
            lacks("node-ws")
        self._popen = subprocess.Popen(
            [node, "-e", NODE, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def send(self, line: str) -> None:
        assert self._popen.stdin
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def lines(self) -> Iterator[str]:
        assert self._popen.stdout
        yield from self._popen.stdout

    def end(self) -> None:
        self._popen.kill()
        self._popen.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Sync, Node])
def test_a_client_that_others_wrote_talks_with_a_person_and_a_program(server, program, kind):
    ann, bob = server.client("ann"), program("bob", server=server)
    client = kind(f"ws://127.0.0.1:{server.port}/ws")
    lines = client.lines()

    def expect(**fields: object) -> dict[str, Any]:
        for line in lines:
            if fields.items() <= (found := json.loads(line)).items():
                return found
        raise AssertionError(f"the connection ended before {fields}")

    try:
        client.send(json.dumps({"type": "hello", "name": "cid"}))
        assert sorted(expect(type="joined")["people"]) == ["ann", "bob"]
        client.send(json.dumps({"type": "say", "text": "héllo 🙂", "ref": "1"}) + "\n" + json.dumps({"type": "ping"}))
        expect(type="ack", ref="1")
        expect(type="pong")
        ann.expect("cid: héllo 🙂")
        bob.expect("message", text="héllo 🙂")
        ann.send(*[LONG] * 100)
        for _ in range(100):
            expect(**{"type": "message", "from": "ann", "text": LONG})
        bob.send(type="say", text="and bob")
        expect(type="message", text="and bob")
        client.send(json.dumps({"type": "history", "count": 100}))
        assert len(expect(type="history")["messages"]) == 100  # about 200 KiB
        client.send(json.dumps({"type": "quit", "words": "bye"}))
        expect(type="bye", reason="quit")
        expect(type="closed", code=1000, reason="quit")
        ann.expect("* cid left")
    finally:
        client.end()
