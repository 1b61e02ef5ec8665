"""Step 1, solved: lines of whatever recv() returns, and one client after the other."""

from __future__ import annotations

import argparse
import json
import socket

LIMIT = 65_536  # bytes of a line


class Lines:
    """Turns what ``recv()`` returns into lines. A line that is too long becomes None."""

    def __init__(self):
        self._rest = b""
        self._too_long = False

    def feed(self, data):
        *ended, rest = data.split(b"\n")
        for part in ended:
            line = self._rest + part
            yield None if self._too_long or len(line) > LIMIT else line
            self._rest, self._too_long = b"", False
        self._rest += rest
        if len(self._rest) > LIMIT:
            self._rest, self._too_long = b"", True


class Problem(Exception):
    """What the client is told. The connection goes on."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def parsed(line):
    if line is None:
        raise Problem("too_long", f"A line has at most {LIMIT} bytes.")
    try:
        request = json.loads(line.decode())
    except UnicodeDecodeError:
        raise Problem("not_utf8", "That line is not UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise Problem("bad_json", f"That line is not JSON: {error}.") from None
    if not isinstance(request, dict):
        raise Problem("bad_json", "A line has to be one object.")
    return request


class Conversation:
    """One client."""

    def __init__(self, sock):
        self._sock = sock
        self._over = False

    def run(self):
        lines = Lines()
        try:
            self._sock.sendall(b"* Welcome. Programs skip this line.\n")
            while not self._over and (data := self._sock.recv(4096)):
                for line in lines.feed(data):
                    if not self._over:
                        self._take(line)
        except OSError:
            pass  # the client has broken off

    def _take(self, line):
        ref = None
        try:
            request = parsed(line)
            ref = request.get("ref")
            self._answer(request, ref)
        except Problem as problem:
            self._send(ref, type="error", code=problem.code, text=str(problem))

    def _answer(self, request, ref):
        kind = request.get("type")
        if kind == "hello":
            self._send(ref, type="welcome", name=request.get("name"))
        elif kind == "ping":
            self._send(ref, type="pong")
        elif kind == "quit":
            self._send(ref, type="bye", reason="quit")
            self._over = True
        elif isinstance(kind, str):
            raise Problem("unknown_type", f"There is no request of type {kind!r}.")
        else:
            raise Problem("bad_request", "A request needs a type.")

    def _send(self, ref, **event):
        if ref is not None:
            event["ref"] = ref
        self._sock.sendall(json.dumps(event).encode() + b"\n")


def main():
    parser = argparse.ArgumentParser(description="A chat server.")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", options.port)) as listener:
        while True:
            sock, _ = listener.accept()
            with sock:
                Conversation(sock).run()


if __name__ == "__main__":
    main()
