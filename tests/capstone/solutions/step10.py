"""Step 10: the server of step 9 as it was. The client of this step is client.py."""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import re
import secrets
import signal
import socket
import sqlite3
import struct
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


def is_number(value):
    return isinstance(value, int) and 0 <= value < 2**53 and not isinstance(value, bool)


def encoded(event):
    return json.dumps(event).encode() + b"\n"


class Store:
    """Messages, tokens and refs, in a file. Called under the chat's lock only. Each method raises sqlite3.Error."""

    def __init__(self, path):
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # survives kill -9, not a pulled plug
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS messages"
            " (room TEXT, number INTEGER, sender TEXT, kind TEXT, text TEXT, PRIMARY KEY (room, number))"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, name TEXT)")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS refs"
            " (token TEXT, ref TEXT, room TEXT, number INTEGER, PRIMARY KEY (token, ref))"
        )

    def last(self, room):
        return self._db.execute("SELECT coalesce(max(number), 0) FROM messages WHERE room = ?", (room,)).fetchone()[0]

    def add(self, message, token, ref):
        """Commit a message and its ref, or leave no trace of either."""
        with self._db:
            row = [message[field] for field in ("room", "number", "from", "kind", "text")]
            self._db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", row)
            if ref is not None:
                self._db.execute("INSERT INTO refs VALUES (?, ?, ?, ?)", (token, ref, *row[:2]))

    def sent_before(self, token, ref):
        """The room and the number of the message with that ref, or None."""
        found = self._db.execute("SELECT room, number FROM refs WHERE token = ? AND ref = ?", (token, ref))
        return found.fetchone()

    def new_token(self, name):
        token = secrets.token_urlsafe(16)
        with self._db:
            self._db.execute("INSERT INTO tokens VALUES (?, ?)", (token, name))
        return token

    def name_of(self, token):
        """Whose token that is, or None."""
        found = self._db.execute("SELECT name FROM tokens WHERE token = ?", (token,)).fetchone()
        return found and found[0]

    def after(self, room, number):
        rows = self._db.execute(
            "SELECT number, sender, kind, text FROM messages WHERE room = ? AND number > ? ORDER BY number",
            (room, number),
        )
        for number, sender, kind, said in rows:
            yield {"type": "message", "room": room, "number": number, "from": sender, "kind": kind, "text": said}

    def close(self):
        self._db.close()


class Chat:
    """The names and the rooms. Any thread may call any method. Under the lock, nobody waits for a socket."""

    def __init__(self, store):
        self._store = store
        self._lock = threading.Lock()  # guards the tables; messages are queued in the order in which it is taken
        self._named = {}  # sessions by their names in lower case
        self._rooms = {}  # members by the name of the room

    def claim(self, session, name, token):
        """Give the session its name and its token. With a token it takes the place of its old connection."""
        with self._lock:
            if token is not None:
                name = self._store.name_of(token)
                if name is None:
                    raise Problem("unknown_token", "That token is not known.")
            other = self._named.get(name.casefold())
            if other and other.token != token:
                raise Problem("name_taken", f"Somebody else is {name}.")
            session.token = token or self._store.new_token(name)
            session.name = name
            self._named[name.casefold()] = session
            if other:
                self._remove_from_rooms(other)
        if other:
            other.replace()

    def forget(self, session):
        """The session has ended: it is in no room, and its name is free."""
        with self._lock:
            if self._named.get(session.name.casefold()) is session:
                del self._named[session.name.casefold()]
            self._remove_from_rooms(session)

    def _remove_from_rooms(self, session):
        for members in self._rooms.values():
            if session in members:
                members.remove(session)

    def enter(self, session, room, ref, since=None):
        """Without ``since``, the session sees what comes; with it, first everything after that number."""
        with self._lock:
            last = self._store.last(room)
            missed = [] if since is None else [encoded(message) for message in self._store.after(room, since)]
            members = self._rooms.setdefault(room, [])
            if session not in members:
                members.append(session)
            session.send(ref, type="joined", room=room, last=last)
            session.put(b"".join(missed))  # all in one place of the queue

    def leave(self, session, room, ref):
        with self._lock:
            self._members(session, room).remove(session)
            session.send(ref, type="left", room=room)

    def say(self, session, room, kind, text, ref):
        message = {"type": "message", "room": room, "from": session.name, "kind": kind, "text": text}
        with self._lock:
            members = self._members(session, room)
            if ref is not None and (before := self._store.sent_before(session.token, ref)):
                session.send(ref, type="ack", room=before[0], number=before[1])
                return
            message["number"] = self._store.last(room) + 1
            self._store.add(message, session.token, ref)
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
        self.name = ""  # until hello; set under the chat's lock, as the token is
        self.token = ""
        self._sock = sock
        self._chat = chat
        self._over = False
        self._lock = threading.Lock()  # guards the queue while it is emptied, and the attribute below
        self._queue = queue.Queue(WAITING)  # lines for the client; None: the end
        self._closed = False  # nothing more is put
        self.stopping = False  # set once, by the main thread
        self._writer = threading.Thread(target=self._write, daemon=True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))
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

    def end(self, *last):
        """Nothing more is put. The writer ends when it has sent what waits, and these lines."""
        with self._lock:
            if not self._closed:
                try:
                    for line in (*last, None):
                        self._queue.put_nowait(line)
                    self._closed = True
                except queue.Full:
                    self._cut_off(*last)

    def hear_no_more(self):
        """End the reader. What it has read is still done."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def replace(self):
        """Another connection has come with this one's token."""
        with self._lock:
            if not self._closed:
                self._cut_off(encoded({"type": "error", "code": "replaced", "text": "You came back elsewhere."}))
        self.hear_no_more()

    def break_off(self):
        """The server has waited long enough."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

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
            self.end(*((SHUTTING_DOWN,) if self.stopping else ()))
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
        except sqlite3.Error as error:
            self.reply(ref, type="error", code="not_stored", text=f"Not stored: {error}.")

    def _answer(self, request, ref):
        kind = text(request, "type")
        if bool(self.name) == (kind == "hello") and kind != "quit":
            raise Problem("bad_request", "hello comes first, and only once.")
        answer = getattr(self, f"_on_{kind}", None)
        if not answer:
            raise Problem("unknown_type", f"There is no request of type {kind!r}.")
        answer(request, ref)

    def _on_hello(self, request, ref):
        token = text(request, "token") if "token" in request else None
        name = text(request, "name") if token is None else ""
        rooms = request.get("since", {})
        if not isinstance(rooms, dict) or not all(ROOM.fullmatch(room) and is_number(rooms[room]) for room in rooms):
            raise Problem("bad_request", "since has to be an object, with a number for each room.")
        if "room" in request:
            rooms = {self._room(request): None, **rooms}
        if token is None and not NAME.fullmatch(name):
            raise Problem("bad_name", "A name is 1 to 20 letters, digits, -, _ or ., and begins with a letter.")
        self._chat.claim(self, name, token)
        self.send(ref, type="welcome", name=self.name, token=self.token)
        for room, since in rooms.items():
            self._chat.enter(self, room, ref, since)

    def _on_ping(self, request, ref):
        self.reply(ref, type="pong")

    def _on_quit(self, request, ref):
        self.reply(ref, type="bye", reason="quit")
        self._over = True

    def _on_join(self, request, ref):
        since = request.get("since")
        if since is not None and not is_number(since):
            raise Problem("bad_request", "since has to be a number.")
        self._chat.enter(self, self._room(request), ref, since)

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


SHUTTING_DOWN = encoded({"type": "error", "code": "shutting_down", "text": "The server stops."})
GRACE = 5.0  # seconds for all clients to read what waits


class Server:
    """Accepts connections, each with a reader of its own, until it is stopped."""

    def __init__(self, port, chat):
        self._chat = chat
        self._listener = socket.create_server(("127.0.0.1", port), backlog=100)
        self._lock = threading.Lock()  # guards the table
        self._readers = {}  # the thread of each session
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            session = Session(sock, self._chat)
            reader = threading.Thread(target=self._read, args=(session,), daemon=True)
            with self._lock:
                self._readers[session] = reader
            reader.start()

    def _read(self, session):
        try:
            session.run()
        finally:
            with self._lock:
                del self._readers[session]

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            readers = dict(self._readers)
        for session in readers:
            session.stopping = True
            session.hear_no_more()
        deadline = time.monotonic() + GRACE
        for session, reader in readers.items():
            reader.join(max(0.0, deadline - time.monotonic()))
            if reader.is_alive():
                session.break_off()
                reader.join()


def main():
    parser = argparse.ArgumentParser(description="A chat server.")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--db", default="chat.db")
    options = parser.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # they wait for sigwait, in every thread that begins after this
    store = Store(options.db)
    server = Server(options.port, Chat(store))
    signal.sigwait(signals)
    server.stop()
    store.close()


if __name__ == "__main__":
    main()
