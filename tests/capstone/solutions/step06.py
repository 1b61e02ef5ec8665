"""Step 6, solved: bounded queues. One who does not read is cut off, and nobody waits for it."""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import re
import socket
import threading
import time

LIMIT = 65_536  # bytes of a line
WAITING = 1000  # lines that may wait for a client
PATIENCE = 10  # seconds that a client may take nothing at all
NAME = re.compile(r"[^\W\d_][\w.-]{0,19}")
ROOM = re.compile(r"#[\w-]{1,32}")


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


def text(request, field):
    """A field that has to be a string."""
    value = request.get(field)
    if not isinstance(value, str) or any("\ud800" <= each <= "\udfff" for each in value):
        raise Problem("bad_request", f"{field} has to be a string of whole characters.")
    return value


def encoded(event):
    return json.dumps(event).encode() + b"\n"


class Chat:
    """The names and the rooms. Any thread may call any method. Under the lock, nobody waits for a socket."""

    def __init__(self):
        self._lock = threading.Lock()  # guards the tables; messages are queued in the order in which it is taken
        self._named = {}  # sessions by their names in lower case
        self._rooms = {}  # members by the name of the room
        self._last = {}  # the number of each room's last message

    def claim(self, session, name):
        with self._lock:
            if name.casefold() in self._named:
                raise Problem("name_taken", f"Somebody else is {name}.")
            self._named[name.casefold()] = session

    def forget(self, session):
        """The session has ended: it is in no room, and its name is free."""
        with self._lock:
            if self._named.get(session.name.casefold()) is session:
                del self._named[session.name.casefold()]
            for members in self._rooms.values():
                if session in members:
                    members.remove(session)

    def enter(self, session, room, ref):
        with self._lock:
            members = self._rooms.setdefault(room, [])
            if session not in members:
                members.append(session)
            session.send(ref, type="joined", room=room, last=self._last.get(room, 0))

    def leave(self, session, room, ref):
        with self._lock:
            self._members(session, room).remove(session)
            session.send(ref, type="left", room=room)

    def say(self, session, room, kind, text, ref):
        message = {"type": "message", "room": room, "from": session.name, "kind": kind, "text": text}
        with self._lock:
            members = self._members(session, room)
            message["number"] = self._last[room] = self._last.get(room, 0) + 1
            line = encoded(message)
            for member in list(members):
                if not member.put(line):
                    members.remove(member)  # it is too slow, and must not see what comes after this
            session.send(ref, type="ack", room=room, number=message["number"])

    def _members(self, session, room):
        """The members of a room, if the session is one. The caller holds the lock."""
        members = self._rooms.get(room, [])
        if session not in members:
            raise Problem("not_in_room", f"You are not in {room}.")
        return members


class Session:
    """One client. Its reader runs ``run``, its writer ``_write``. Any thread may call ``put`` and ``send``, which never
    wait; only the reader calls ``reply``."""

    def __init__(self, sock, chat):
        self.name = ""  # until hello
        self._sock = sock
        self._chat = chat
        self._over = False
        self._lock = threading.Lock()  # guards the queue while it is emptied, and the attribute below
        self._queue = queue.Queue(WAITING)  # lines for the client; None: the end
        self._closed = False  # nothing more is put
        self._writer = threading.Thread(target=self._write, daemon=True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # two small lines in a row need not wait

    def put(self, line):
        """Queue a line. If there is no place, cut the client off, and return False. Never waits."""
        with self._lock:
            if self._closed:
                return False
            try:
                self._queue.put_nowait(line)
                return True
            except queue.Full:
                self._cut_off(encoded({"type": "error", "code": "too_slow", "text": "You did not read."}))
                return False

    def _cut_off(self, *last):
        """Put a last word in place of all that waits. The caller holds the lock."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        for line in (*last, None):
            self._queue.put_nowait(line)

    def end(self):
        """The reader has ended: the writer ends when it has sent what waits."""
        with self._lock:
            if not self._closed:
                self._closed = True
                try:
                    self._queue.put_nowait(None)
                except queue.Full:
                    self._cut_off()

    def send(self, ref, **event):
        if ref is not None:
            event["ref"] = ref
        return self.put(encoded(event))

    def reply(self, ref, **event):
        """Answer the client's own request. The client may wait for itself, and harms nobody else."""
        while self._queue.qsize() > WAITING // 2 and self._writer.is_alive():
            time.sleep(0.01)
        self.send(ref, **event)

    def _write(self):
        try:
            while (line := self._queue.get()) is not None:
                self._sock.sendall(line)
        except OSError:
            pass  # the client has broken off, or takes nothing
        finally:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # so that the reader ends

    def run(self):
        lines = Lines()
        self._writer.start()
        self.put(b"* Welcome. Programs skip this line.\n")
        try:
            while not self._over and (data := self._sock.recv(4096)):
                for line in lines.feed(data):
                    if not self._over:
                        self._take(line)
        except OSError:
            pass  # the client has broken off
        finally:
            self._chat.forget(self)
            self.end()
            self._writer.join()
            self._sock.close()

    def _take(self, line):
        ref = None
        try:
            request = parsed(line)
            ref = text(request, "ref") if "ref" in request else None
            self._answer(request, ref)
        except Problem as problem:
            self.reply(ref, type="error", code=problem.code, text=str(problem))

    def _answer(self, request, ref):
        kind = text(request, "type")
        if bool(self.name) == (kind == "hello") and kind != "quit":
            raise Problem("bad_request", "hello comes first, and only once.")
        answer = getattr(self, f"_on_{kind}", None)
        if not answer:
            raise Problem("unknown_type", f"There is no request of type {kind!r}.")
        answer(request, ref)

    def _on_hello(self, request, ref):
        name = text(request, "name")
        room = self._room(request) if "room" in request else None
        if not NAME.fullmatch(name):
            raise Problem("bad_name", "A name is 1 to 20 letters, digits, -, _ or ., and begins with a letter.")
        self._chat.claim(self, name)
        self.name = name
        self.send(ref, type="welcome", name=name)
        if room:
            self._chat.enter(self, room, ref)

    def _on_ping(self, request, ref):
        self.reply(ref, type="pong")

    def _on_quit(self, request, ref):
        self.reply(ref, type="bye", reason="quit")
        self._over = True

    def _on_join(self, request, ref):
        self._chat.enter(self, self._room(request), ref)

    def _on_leave(self, request, ref):
        self._chat.leave(self, self._room(request), ref)

    def _on_say(self, request, ref):
        said = text(request, "text")
        if not said.strip():
            raise Problem("nothing_to_say", "That text is empty.")
        self._chat.say(self, self._room(request), request["type"], said, ref)

    _on_action = _on_say

    def _room(self, request):
        room = text(request, "room")
        if not ROOM.fullmatch(room):
            raise Problem("bad_room", "A room is # and 1 to 32 letters, digits, - or _.")
        return room


def main():
    parser = argparse.ArgumentParser(description="A chat server.")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    chat = Chat()
    with socket.create_server(("127.0.0.1", options.port)) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=Session(sock, chat).run, daemon=True).start()


if __name__ == "__main__":
    main()
