"""Step 3, solved: names, each claimed in one step under a lock."""

from __future__ import annotations

import argparse
import json
import re
import socket
import threading

LIMIT = 65_536  # bytes of a line
NAME = re.compile(r"[^\W\d_][\w.-]{0,19}")


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


class Names:
    """Who has which name. Any thread may call any method."""

    def __init__(self):
        self._lock = threading.Lock()  # guards the table
        self._named = {}  # by the name in lower case

    def claim(self, conversation, name):
        with self._lock:
            if name.casefold() in self._named:
                raise Problem("name_taken", f"Somebody else is {name}.")
            self._named[name.casefold()] = conversation

    def release(self, conversation, name):
        with self._lock:
            if self._named.get(name.casefold()) is conversation:
                del self._named[name.casefold()]


def text(request, field):
    """A field that has to be a string."""
    value = request.get(field)
    if not isinstance(value, str) or any("\ud800" <= each <= "\udfff" for each in value):
        raise Problem("bad_request", f"{field} has to be a string of whole characters.")
    return value


class Conversation:
    """One client. Its thread runs ``run``, and nobody else calls anything here."""

    def __init__(self, sock, names):
        self._sock = sock
        self._names = names
        self._name = ""  # until hello
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
        finally:
            self._names.release(self, self._name)
            self._sock.close()

    def _take(self, line):
        ref = None
        try:
            request = parsed(line)
            ref = text(request, "ref") if "ref" in request else None
            self._answer(request, ref)
        except Problem as problem:
            self._send(ref, type="error", code=problem.code, text=str(problem))

    def _answer(self, request, ref):
        kind = text(request, "type")
        if bool(self._name) == (kind == "hello") and kind != "quit":
            raise Problem("bad_request", "hello comes first, and only once.")
        if kind == "hello":
            name = text(request, "name")
            if not NAME.fullmatch(name):
                raise Problem("bad_name", "A name is 1 to 20 letters, digits, -, _ or ., and begins with a letter.")
            self._names.claim(self, name)
            self._name = name
            self._send(ref, type="welcome", name=name)
        elif kind == "ping":
            self._send(ref, type="pong")
        elif kind == "quit":
            self._send(ref, type="bye", reason="quit")
            self._over = True
        else:
            raise Problem("unknown_type", f"There is no request of type {kind!r}.")

    def _send(self, ref, **event):
        if ref is not None:
            event["ref"] = ref
        self._sock.sendall(json.dumps(event).encode() + b"\n")


def main():
    parser = argparse.ArgumentParser(description="A chat server.")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    names = Names()
    with socket.create_server(("127.0.0.1", options.port)) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=Conversation(sock, names).run, daemon=True).start()


if __name__ == "__main__":
    main()
