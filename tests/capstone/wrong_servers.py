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
        '"code":"bad_json"',
    ),
    Wrong(
        1,
        "the rest after the last LF is forgotten",
        "        self._rest += rest\n",
        "        self._rest = rest if not ended else b''\n",
        "many lines in one piece are answered one by one",
        'ann gets "pong" with ref "the last"',
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
        1,
        "a line of just the limit is refused",
        "if self._too_long or len(line) > LIMIT else line",
        "if self._too_long or len(line) >= LIMIT else line",
        "a line that is too long is one error and fills no memory",
        "a line of 65,536 bytes is not too long",
    ),
    Wrong(
        1,
        "a line is bounded only until it has ended",
        "None if self._too_long or len(line) > LIMIT else line",
        "None if self._too_long else line",
        "a line that is too long is one error and fills no memory",
        "a line of 65,537 bytes is too long",
    ),
    Wrong(
        1,
        "the encoding is guessed",
        "json.loads(line.decode())",
        "json.loads(line)",
        "a line that is no request is an error and the connection stays",
        "that line is answered with an error",
    ),
    Wrong(
        1,
        "deep brackets end the program",
        "except (ValueError, RecursionError) as error:",
        "except ValueError as error:",
        "a line that is no request is an error and the connection stays",
        "RecursionError",
    ),
    Wrong(
        1,
        "a request without a type ends the program",
        'kind = request.get("type")',
        'kind = request["type"]',
        "a line that is no request is an error and the connection stays",
        "KeyError",
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
        "60 clients came and went, and now it has",
    ),
    Wrong(
        2,
        "twenty threads serve all",
        "threading.Thread(target=Conversation(sock).run, daemon=True).start()",
        "POOL.submit(Conversation(sock).run)",
        "sixty clients are served at the same time",
        "It got nothing more for",
    ),
    Wrong(
        3,
        "the end of a connection frees the name that it has asked for",
        "            self._names.release(self, self._name)\n",
        "            self._names._named.pop(self._name or 'ann', None)\n",
        "a hello that was refused takes no name",
        "ann is still here, though bob is gone",
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
        "            time.sleep(0.001)\n"
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
        'Expected: dan gets "welcome"',
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
    Wrong(
        4,
        "each thread writes to each socket, the line and then its end",
        "            for member in self._members(session, room):\n"
        "                member.put(encoded(message))\n"
        '            session.send(ref, type="ack", room=room)\n',
        "            members = list(self._members(session, room))\n"
        "        for member in members:\n"
        "            member._sock.sendall(encoded(message)[:-1])\n"
        '            member._sock.sendall(b"\\n")\n'
        '        session.send(ref, type="ack", room=room)\n',
        "lines stay whole when eight speak at once",
        "got a line that is not JSON",
    ),
    Wrong(
        4,
        "the sender does not see its own message",
        "for member in self._members(session, room):",
        "for member in set(self._members(session, room)) - {session}:",
        "what is said comes to everybody in the room and to nobody else",
        "ann gets the message for its text",
    ),
    Wrong(
        4,
        "everybody gets what is said in any room",
        "for member in self._members(session, room):",
        "for member in self._members(session, room) and self._named.values():",
        "what is said comes to everybody in the room and to nobody else",
        "cy is in another room, and gets nothing but a pong",
    ),
    Wrong(
        4,
        "who leaves stays a member",
        "self._members(session, room).remove(session)",
        "self._members(session, room)",
        "after leaving nothing comes",
        "bob has left, and gets nothing but a pong",
    ),
    Wrong(
        4,
        "one may speak without being in the room",
        '        if session not in members:\n            raise Problem("not_in_room"',
        '        if not members:\n            raise Problem("not_in_room"',
        "nobody speaks in a room without being in it",
        "bob is not in #a",
    ),
    Wrong(
        4,
        "a text is cut at its first line end",
        'self._chat.say(self, self._room(request), request["type"], said, ref)',
        "self._chat.say(self, self._room(request), request[\"type\"], said.split('\\n')[0], ref)",
        "what is said comes to everybody in the room and to nobody else",
        "ann gets the message for its text",
    ),
    Wrong(
        4,
        "a room that is no string ends the thread",
        '        room = text(request, "room")\n',
        '        room = request["room"]\n',
        "whatever is in a request the connection goes on",
        "whatever room is, it is answered",
    ),
    Wrong(
        5,
        "one count for all rooms",
        'message["number"] = self._last[room] = self._last.get(room, 0) + 1',
        'message["number"] = self._last[room] = max(self._last.values(), default=0) + 1',
        "each room counts its messages from one",
        "because it is the first message in #b",
    ),
    Wrong(
        5,
        "the number is given under the lock, and the message handed out after it",
        "            line = encoded(message)\n"
        "            for member in members:\n"
        "                member.put(line)\n"
        '            session.send(ref, type="ack", room=room, number=message["number"])\n',
        "            members = list(members)\n"
        "        line = encoded(message)\n"
        "        for member in members:\n"
        "            time.sleep(0)\n"
        "            member.put(line)\n"
        '        session.send(ref, type="ack", room=room, number=message["number"])\n',
        "all see one order when many speak at once",
        "by their numbers, without a gap or a repeat",
    ),
    Wrong(
        5,
        "the ack has no number",
        'session.send(ref, type="ack", room=room, number=message["number"])',
        'session.send(ref, type="ack", room=room)',
        "each room counts its messages from one",
        "This has none",
    ),
    Wrong(
        5,
        "a newcomer becomes a member before it is told the last number",
        '            session.send(ref, type="joined", room=room, last=self._last.get(room, 0))\n',
        '        time.sleep(0.05)\n        session.send(ref, type="joined", room=room, last=self._last.get(room, 0))\n',
        "a newcomer sees what comes after its last without a gap",
        "the first event of the room is its joined",
    ),
    Wrong(
        6,
        "the queue has no bound",
        "queue.Queue(WAITING)",
        "queue.Queue()",
        "one who does not read keeps nobody waiting and is cut off",
        "messages were kept for cy",
    ),
    Wrong(
        6,
        "who speaks waits for a place",
        "self._queue.put_nowait(line)\n                return True",
        "self._queue.put(line)\n                return True",
        "one who does not read keeps nobody waiting and is cut off",
        "while somebody does not read",
    ),
    Wrong(
        6,
        "the newest is left out",
        'self._cut_off(encoded({"type": "error", "code": "too_slow", "text": "You did not read."}))\n'
        "                return False",
        "return True",
        "one who does not read keeps nobody waiting and is cut off",
        "Its connection is still open",
    ),
    Wrong(
        6,
        "the oldest is left out",
        'self._cut_off(encoded({"type": "error", "code": "too_slow", "text": "You did not read."}))\n'
        "                return False",
        "self._queue.get_nowait()\n                self._queue.put_nowait(line)\n                return True",
        "one who does not read keeps nobody waiting and is cut off",
        "what cy gets before it is cut off has no gap",
    ),
    Wrong(
        6,
        "one is cut off without a word",
        'self._cut_off(encoded({"type": "error", "code": "too_slow", "text": "You did not read."}))',
        "self._cut_off()",
        "one who does not read keeps nobody waiting and is cut off",
        "so that cy knows that it has missed something",
    ),
    Wrong(
        6,
        "hardly anything may wait",
        "WAITING = 1000",
        "WAITING = 100",
        "one who pauses is not cut off",
        "because so many may wait",
    ),
    Wrong(
        6,
        "answers have no bound",
        "            time.sleep(0.01)\n        self.send(ref, **event)",
        "            self._queue.maxsize = 0\n            break\n        self.send(ref, **event)",
        "one who never reads its answers fills no memory",
        "The program's memory has grown from",
    ),
    Wrong(
        7,
        "it just ends",
        "    signal.sigwait(signals)\n    server.stop()\n",
        "    signal.sigwait(signals)\n",
        "on sigterm everybody is told and the program ends",
        'before the end, ann gets one error, with the code "shutting_down"',
    ),
    Wrong(
        7,
        "nobody asks for SIGTERM",
        "signals = {signal.SIGTERM, signal.SIGINT}",
        "signals = {signal.SIGINT}",
        "on sigterm everybody is told and the program ends",
        "It has ended with -15",
    ),
    Wrong(
        7,
        "what waits is thrown away",
        "                    for line in (*last, None):\n"
        "                        self._queue.put_nowait(line)\n"
        "                    self._closed = True\n",
        "                    self._cut_off(*last)\n",
        "what waits for somebody is sent before the end",
        "eve gets all",
    ),
    Wrong(
        7,
        "readers are not woken",
        "            self._sock.shutdown(socket.SHUT_RD)\n",
        "            pass\n",
        "on sigterm everybody is told and the program ends",
        'before the end, ann gets one error, with the code "shutting_down"',
    ),
    Wrong(
        7,
        "the acceptor is not woken",
        "        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor\n",
        "",
        "on sigterm everybody is told and the program ends",
        "It still runs",
    ),
    Wrong(
        7,
        "the port stays taken for a minute",
        'socket.create_server(("127.0.0.1", port), backlog=100)',
        'socket.socket()\n        self._listener.bind(("127.0.0.1", port))\n        self._listener.listen(100)',
        "it can be started again at once",
        "Address already in use",
    ),
    Wrong(
        8,
        "shown first, stored after that",
        "            self._store.add(message)\n"
        "            line = encoded(message)\n"
        "            for member in list(members):\n"
        "                if not member.put(line):\n"
        "                    members.remove(member)  # it is too slow, and "
        "must not see what comes after this\n",
        "            for member in members:\n"
        "                member.put(encoded(message))\n"
        "            self._store.add(message)\n",
        "nothing is shown that is not in the file",
        "nobody sees 'two' or its ack",
    ),
    Wrong(
        8,
        "a commit for every ten messages",
        "        with self._db:\n            row = ",
        '        if message["number"] % 10 == 0:\n            self._db.commit()\n        if True:\n            row = ',
        "what anybody saw is there after kill 9",
        "is lost",
    ),
    Wrong(
        8,
        "the numbers are counted in memory",
        "self._store.last(room) + 1",
        "COUNT[room] = COUNT.get(room, 0) + 1",
        "the numbers go on after a restart",
        "not_stored",
    ),
    Wrong(
        8,
        "since is one too low",
        "number > ? ORDER",
        "number >= ? ORDER",
        "since brings what was missed and then what comes",
        "all messages up to 7 come",
    ),
    Wrong(
        8,
        "what was missed comes, and then nothing",
        "            if session not in members:\n"
        "                members.append(session)\n"
        '            session.send(ref, type="joined"',
        "            if session not in members and since is None:\n"
        "                members.append(session)\n"
        '            session.send(ref, type="joined"',
        "since brings what was missed and then what comes",
        "bob gets what ann says in #a",
    ),
    Wrong(
        8,
        "since may be any number",
        "0 <= value < 2**53",
        "True",
        "whatever since is the connection goes on",
        "whatever since is, it is answered",
    ),
    Wrong(
        9,
        "refs are known until the end of the program",
        "CREATE TABLE IF NOT EXISTS refs",
        "CREATE TEMP TABLE IF NOT EXISTS refs",
        "a text that is sent again is stored once",
        "to a program that was killed",
    ),
    Wrong(
        9,
        "tokens are known until the end of the program",
        "CREATE TABLE IF NOT EXISTS tokens",
        "CREATE TEMP TABLE IF NOT EXISTS tokens",
        "a token is known after kill 9",
        "unknown_token",
    ),
    Wrong(
        9,
        "a ref belongs to everybody",
        'WHERE token = ? AND ref = ?", (token, ref)',
        'WHERE ref = ?", (ref,)',
        "a ref belongs to a token",
        "bob gets the message",
    ),
    Wrong(
        9,
        "what was sent again is refused",
        'session.send(ref, type="ack", room=before[0], number=before[1])\n                return',
        'raise Problem("sent_before", "You have said that.")',
        "a text that is sent again is stored once",
        "the ack of the first time, and no message",
    ),
    Wrong(
        9,
        "what was sent again is shown again",
        '                return\n            message["number"]',
        "                for member in members:\n"
        '                    member.put(encoded(message | {"number": before[1]}))\n'
        "                return\n"
        '            message["number"]',
        "a text that is sent again is stored once",
        "the ack of the first time, and no message",
    ),
    Wrong(
        9,
        "the old connection stays",
        "            other.replace()\n",
        "            pass\n",
        "a token takes the place of an old connection",
        "the program closes ann's connection",
    ),
    Wrong(
        9,
        "the old connection frees the name of the new one",
        "if self._named.get(session.name.casefold()) is session:",
        "if session.name.casefold() in self._named:",
        "a token takes the place of an old connection",
        "ann is here",
    ),
    Wrong(
        9,
        "hello enters the first room only",
        "for room, since in rooms.items():",
        "for room, since in list(rooms.items())[:1]:",
        "hello with since enters many rooms without a gap",
        "messages, and joined for three rooms",
    ),
    Wrong(
        10,
        "the client comes back without its number",
        "if self._seen is None:\n            hello",
        "if True:\n            time.sleep(0.7 if self._token and self._name == 'ann' else 0)\n            hello",
        "two clients see every line once though the server is killed",
        "does not print it",
    ),
    Wrong(
        10,
        "the client does not send again",
        "                for request in self._open.values():\n                    self._send(request)\n",
        "",
        "two clients see every line once though the server is killed",
        "does not print it",
    ),
    Wrong(
        10,
        "the client gives up",
        "            except OSError:\n                pass  # the server is gone; it may come back",
        "            except OSError:\n                return  # the server is gone",
        "two clients see every line once though the server is killed",
        "does not print it",
    ),
    Wrong(
        10,
        "the client comes back to the beginning",
        "{ROOM: self._seen}",
        "{ROOM: 0}",
        "two clients see every line once though the server is killed",
        "prints it 2 times",
    ),
    Wrong(
        10,
        "the server commits every tenth message",
        "        with self._db:\n            row = ",
        '        if message["number"] % 10 == 0:\n            self._db.commit()\n        if True:\n            row = ',
        "it survives torture",
        "C1: ",
    ),
]
