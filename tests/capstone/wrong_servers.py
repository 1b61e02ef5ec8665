"""Typical wrong servers for each step: the solution of the step with a part replaced.

``fails`` is the check that has to fail, and ``says`` is in its story.
"""

from __future__ import annotations

from typing import NamedTuple


class Wrong(NamedTuple):
    step: int
    why: str
    right: str  # occurs once in the solution of the step
    wrong: str
    fails: str
    says: str


WRONG = [
    Wrong(
        1,
        "whatever recv() returns is a request",
        "for line in lines.feed(data):",
        "for line in [data]:",
        "a line in many pieces is one line",
        '"code": "bad_json"',
    ),
    Wrong(
        1,
        "the rest after the last LF is forgotten",
        "        self._rest += rest\n",
        "        self._rest = rest if not ended else b''\n",
        "many lines in one piece are answered one by one",
        "ann gets \"pong\" with ref 'the last'",
    ),
    Wrong(
        1,
        "each piece is decoded, before it is a line",
        '*ended, rest = data.split(b"\\n")',
        "*ended, rest = data.decode(errors='replace').encode().split(b\"\\n\")",
        "a line in many pieces is one line",
        "Its ref is ",
    ),
    Wrong(
        1,
        "one line is read from each piece",
        "for line in lines.feed(data):",
        "for line in list(lines.feed(data))[:1]:",
        "many lines in one piece are answered one by one",
        "It got nothing more for",
    ),
    Wrong(
        1,
        "a bad line ends the connection",
        "        except Problem as problem:\n",
        "        except Problem as problem:\n            self._over = True\n",
        "a line that is no request is an error and the connection stays",
        "The program has closed",
    ),
    Wrong(
        1,
        "a bad line ends the program",
        '        raise Problem("bad_json", f"That line is not JSON: {error}.") from None',
        "        raise",
        "a line that is no request is an error and the connection stays",
        "JSONDecodeError",
    ),
    Wrong(
        1,
        "a line has no limit",
        "if len(self._rest) > LIMIT:",
        "if False:",
        "a line that is too long is one error and fills no memory",
        "The program's memory has grown from",
    ),
    Wrong(
        1,
        "a line that is too long is told at each piece",
        '            self._rest, self._too_long = b"", True\n',
        '            self._rest, self._too_long = b"", True\n            yield None\n',
        "a line that is too long is one error and fills no memory",
        "one error, and after it the connection goes on",
    ),
    Wrong(
        1,
        "a client that breaks off ends the program",
        "        except OSError:\n            pass  # the client has broken off\n",
        "        finally:\n            pass\n",
        "a client that breaks off does not end the program",
        "Error: [Errno ",
    ),
    Wrong(
        2,
        "one client after the other",
        "threading.Thread(target=Conversation(sock).run, daemon=True).start()",
        "Conversation(sock).run()",
        "a client that says nothing keeps nobody waiting",
        "It got nothing more for",
    ),
    Wrong(
        2,
        "the first line is read before the thread begins",
        "            threading.Thread(target=Conversation(sock).run, daemon=True).start()\n",
        "            sock.recv(1, socket.MSG_PEEK)\n"
        "            threading.Thread(target=Conversation(sock).run, daemon=True).start()\n",
        "a client that says nothing keeps nobody waiting",
        "It got nothing more for",
    ),
    Wrong(
        2,
        "all clients share one buffer",
        "        lines = Lines()\n",
        "        lines = SHARED\n",
        "each client has its own half of a line",
        "instead",
    ),
    Wrong(
        2,
        "the socket is never closed",
        "        finally:\n            self._sock.close()\n",
        "        finally:\n            KEPT.append(self._sock)\n",
        "threads and sockets are gone when their clients are",
        "the program closes ann's connection",
    ),
    Wrong(
        2,
        "a thread stays when its client is gone",
        "        finally:\n            self._sock.close()\n",
        "        finally:\n            self._sock.close()\n            threading.Event().wait()\n",
        "threads and sockets are gone when their clients are",
        "50 clients came and went, and now it has",
    ),
    Wrong(
        2,
        "twenty threads serve all",
        "threading.Thread(target=Conversation(sock).run, daemon=True).start()",
        "POOL.submit(Conversation(sock).run)",
        "fifty clients are served at the same time",
        "It got nothing more for",
    ),
    Wrong(
        3,
        "capitals make another name",
        "name.casefold() in self._named",
        "name in self._named",
        "a name that somebody has is refused in capitals too",
        "ann is here, so ANN is taken",
    ),
    Wrong(
        3,
        "the name is taken after the welcome",
        "            self._names.claim(self, name)\n            self._name = name\n"
        '            self._send(ref, type="welcome", name=name)\n',
        "            if name.casefold() in self._names._named:\n"
        '                raise Problem("name_taken", "It is taken.")\n'
        '            self._send(ref, type="welcome", name=name)\n'
        "            self._names.claim(self, name)\n            self._name = name\n",
        "of eight who want a name at the same moment one gets it",
        "one of the 8 is welcome",
    ),
    Wrong(
        3,
        "a name is freed only by quit",
        "            self._names.release(self, self._name)\n",
        "            if self._over:\n                self._names.release(self, self._name)\n",
        "a name is free again when its client is gone",
        "because her connection broke",
    ),
    Wrong(
        3,
        "a name that was refused is kept all the same",
        "            self._names.claim(self, name)\n            self._name = name\n",
        "            self._name = name\n            self._names.claim(self, name)\n",
        "a name that somebody has is refused in capitals too",
        'Expected: other gets "welcome"',
    ),
    Wrong(
        3,
        "the name is entered before it is looked up",
        "            if name.casefold() in self._named:\n"
        '                raise Problem("name_taken", f"Somebody else is {name}.")\n'
        "            self._named[name.casefold()] = conversation\n",
        "            before, self._named[name.casefold()] = self._named.get(name.casefold()), conversation\n"
        '            if before:\n                raise Problem("name_taken", "It is taken.")\n',
        "a hello that was refused takes no name",
        "because she has quit",
    ),
    Wrong(
        3,
        "hello may come twice",
        'if bool(self._name) == (kind == "hello") and kind != "quit":',
        'if not self._name and kind not in ("hello", "quit"):',
        "hello comes first and only once",
        "a second hello is refused",
    ),
    Wrong(
        3,
        "a name may be anything",
        "if not NAME.fullmatch(name):",
        "if not NAME.match(name):",
        "a name has a form",
        "is no name",
    ),
]
