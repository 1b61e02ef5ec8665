"""The people of torture.py who have accounts, and write to each other. For several servers.

Each is a thread. It comes to any of the servers by one of four ways: with its token, with its password, or as a
guest who then resumes or logs in. It registers its name, changes its password and gives the account up. It reports
others, and sends them private lines, which nothing keeps. ``check`` judges what each of them was told.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
import sqlite3
import threading
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torture_checker import LIVE_WITHIN, RESTARTS, Fault, Result, Times, hits
from torture_connection import PATIENCE, Connection, Gone, Odd
from torture_world import World, now

PAUSE = (0.1, 0.8)  # seconds between two things that somebody does
UNSURE = "Nobody knows whether "
CONFIRMED = (
    5.0 + 4.0
)  # seconds after which a line that was not confirmed has led to such a notice, also when it is busy
STAYS = (4.0, 20.0)  # seconds for which somebody stays
# Errors that a server may answer during a fault, or after too many requests. They say nothing about the account.
LATER = frozenset(
    (
        *("not_stored", "maybe_stored", "unreadable", "busy", "try_later", "no_more_accounts"),
        *("name_taken", "unknown_person"),
    )
)
# Errors of a server that does not know the account, or not its last password.
IGNORANT = frozenset("no_account wrong_password unknown_token not_logged_in password_needed".split())


@dataclass
class Line:
    """A private line that somebody sent. ``copied``: when its sender got the copy of it, or, with ``nobody``, the error
    that the other one is not there; infinite: never."""

    sender: str
    to: str
    text: str
    sent: float
    server: int
    copied: float = math.inf
    nobody: bool = False


class Told(NamedTuple):
    """Somebody was told that nobody knows whether a private line has come."""

    sender: str
    to: str
    at: float


class Heard(NamedTuple):
    """A private line that somebody was shown."""

    who: str
    sender: str
    text: str
    at: float


@dataclass
class Visit:
    """Somebody was there, under their own name, and read all the time."""

    who: str
    server: int
    began: float
    ended: float = math.inf


class Contradiction(NamedTuple):
    """An answer that is right only if the server did not know yet what was acknowledged at ``known``."""

    told: str
    server: int
    asked: float
    known: float


class Person(threading.Thread):
    """Comes and goes until the end. Its thread owns all attributes; others read them after it has ended."""

    def __init__(self, name: str, world: World, names: Sequence[str]) -> None:
        super().__init__(name=name, daemon=True)
        self.lines: dict[str, Line] = {}  # by ref
        self.heard: list[Heard] = []
        self.told: list[Told] = []
        self.visits: list[Visit] = []
        self.contradictions: list[Contradiction] = []
        self.has_account: bool | None = False  # None: nobody knows, because there was no answer
        self.changes = 0  # of the account: those that were acknowledged
        self._since = 0.0  # when the last one was
        self._world = world
        self._chance = world.chance(name)
        self._others = [other for other in names if other != name]
        self._maybe: list[str] = []  # passwords; if there is an account, one of them is right
        self._passwords = 0
        self._token = ""
        self._sure_token = ""  # of the account, as was acknowledged
        self._asked = 0.0  # when it asked last
        self._refs = 0
        self._server = 0
        self._connection: Connection
        self._answers: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        try:
            while not self._world.finishing.is_set():
                with contextlib.suppress(Gone):
                    self._visit()
                self._world.finishing.wait(self._chance.uniform(*PAUSE))
        except Odd as odd:
            self._world.odd.append(f"{self.name}: {odd}")
        except Exception:
            self._world.odd.append(f"{self.name} broke: {traceback.format_exc()}")

    def _visit(self) -> None:
        self._server = self._chance.randrange(len(self._world.ports)) + 1
        self._connection = Connection(self._world.ports[self._server - 1])
        try:
            if not self._enter():
                return
            visit = Visit(self.name, self._server, now())
            self.visits.append(visit)
            leaves = now() + self._chance.uniform(*STAYS)
            try:
                while now() < leaves and not self._world.finishing.is_set():
                    self._chance.choice((self._write, self._write, self._write, self._report, self._change))()
                    self._hear(self._chance.uniform(*PAUSE))
            finally:
                visit.ended = now()
            if self._chance.random() < 0.5:
                self._connection.quit()
        finally:
            self._connection.close()

    # --- coming in ---------------------------------------------------------------------------------------

    def _enter(self) -> bool:
        """Come in under its own name. Raises Gone."""
        by_password = self._maybe and (not self._token or (self.has_account and self._chance.random() < 0.4))
        secret = {"password": self._maybe[-1]} if by_password else {"token": self._token} if self._token else {}
        if secret and self._chance.random() < 0.5:
            return self._enter_as_guest(secret)
        hello = {"type": "hello", "name": self.name, "room": "#lobby", "replay": 0, **secret}
        return self._is_in(self._ask(hello), "welcome")

    def _enter_as_guest(self, secret: dict[str, Any]) -> bool:
        guest = {"type": "hello", "name": f"{self.name}.guest{self._refs}", "room": "#lobby", "replay": 0}
        if self._ask(guest)["type"] != "welcome":
            return False
        if "token" in secret:
            self._world.count("resumed as a guest, often elsewhere")
            return self._is_in(self._ask({"type": "resume", **secret}), "notice")
        self._world.count("logged in as a guest, often elsewhere")
        return self._is_in(self._ask({"type": "login", "name": self.name, **secret}), "notice")

    def _is_in(self, answer: dict[str, Any], kind: str) -> bool:
        if answer["type"] != kind:
            if answer["code"] == "unknown_token":
                self._token = ""
            if answer["code"] == "password_needed" and self.has_account is False:
                self._note(f"{self.name} gave the account up, and has to log in")
            if answer["code"] in ("wrong_password", "no_account"):
                self._maybe.insert(0, self._maybe.pop())  # it is another one, or this server does not know it yet
            return False
        if answer.get("name", self.name) != self.name:
            raise Odd(f"it came back as somebody else: {answer}")
        self._token = answer.get("token", self._token)
        return True

    # --- what it does ------------------------------------------------------------------------------------

    def _write(self) -> None:
        to = self._chance.choice(self._others)
        self._refs += 1
        ref = str(self._refs)
        text = f"{self.name} {ref} to {to} " + "ß" * self._chance.choice([1, 10, 1900])  # the longest in pieces
        self.lines[ref] = Line(self.name, to, text, now(), self._server)
        self._connection.send({"type": "private", "to": to, "text": text, "ref": ref})

    def _report(self) -> None:
        about = self._chance.choice(self._others)
        self._ask({"type": "report", "about": about, "room": "#lobby", "why": "rude"})

    def _change(self) -> None:
        """Register, or change something about the account."""
        if not self.has_account:  # also if nobody knows
            self._register()
        elif self._chance.random() < 0.3:
            self._choose_password()
        elif self._chance.random() < 0.3:
            self._unregister()

    def _new_password(self) -> str:
        self._passwords += 1
        return f"password {self._passwords} of {self.name}"

    def _register(self) -> None:
        known = self.has_account is False
        password = self._maybe[-1] if self._maybe else self._new_password()
        answer = self._change_account({"type": "register", "password": password}, [*self._maybe[:-1], password])
        if answer["type"] == "notice":
            self._acknowledged([password])
        elif answer["code"] == "logged_in":
            if known:
                self._note(f"{self.name} gave the account up, and is logged in")
            self.has_account = True

    def _choose_password(self) -> None:
        old, new = self._maybe[-1], self._new_password()
        request = {"type": "password", "password": old, "new": new}
        if self._change_account(request, [*self._maybe, new])["type"] == "notice":
            self._acknowledged([new])

    def _unregister(self) -> None:
        request = {"type": "unregister", "password": self._maybe[-1]}
        if self._change_account(request, self._maybe)["type"] == "notice":
            self._acknowledged([])

    def _acknowledged(self, passwords: list[str]) -> None:
        """An account with this password, or none."""
        self.has_account, self._maybe, self._since = bool(passwords), passwords, now()
        self._sure_token = self._token if passwords else ""
        self.changes += 1
        self._world.count("accounts changed")

    def _change_account(self, request: dict[str, Any], maybe: list[str]) -> dict[str, Any]:
        """Nobody knows what became of it if there is no answer, or one that does not say so. ``maybe``: the passwords
        of which one is right then."""
        before = self.has_account, self._maybe, self._since, self._sure_token
        self.has_account, self._maybe, self._since, self._sure_token = None, maybe, math.inf, ""
        answer = self._ask(request)
        if answer["type"] == "error" and answer["code"] not in ("maybe_stored", "busy"):
            self.has_account, self._maybe, self._since, self._sure_token = before
            if answer["code"] == "wrong_password" and len(self._maybe) > 1:
                self._maybe.insert(0, self._maybe.pop())
            elif answer["code"] in IGNORANT and self.has_account:
                self._note(f"{self.name} has an account, and {request['type']} was answered with {answer['code']}")
        return answer

    def _note(self, told: str) -> None:
        self.contradictions.append(Contradiction(told, self._server, self._asked, self._since))

    # --- what comes --------------------------------------------------------------------------------------

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises Gone if there is no answer."""
        self._refs += 1
        ref, self._asked = f"ask {self._refs}", now()
        self._connection.send({**request, "ref": ref})
        deadline = now() + PATIENCE * 2
        while ref not in self._answers:
            if now() > deadline:
                self._world.count("answers not waited for")
                raise Gone
            self._hear(0.1)
        answer = self._answers.pop(ref)
        if answer["type"] == "error":
            code = answer["code"]
            if code not in LATER | IGNORANT | {"logged_in", "banned", "replaced"}:
                raise Odd(f"{request['type']} was answered with {answer}")
            self._world.count(f"people: {code}")
            by_token = self._sure_token and request.get("token") == self._sure_token
            by_password = len(self._maybe) == 1 and "password" in request
            if code in IGNORANT and self.has_account and (by_token or by_password) and "name" in request:
                self._note(f"{self.name} has an account, and {request['type']} was answered with {code}")
        return answer

    def _hear(self, seconds: float) -> None:
        until = now() + seconds
        while True:
            event = self._connection.next(max(0.0, until - now()))
            if event is None:
                return
            ref = event.get("ref")
            if event["type"] == "notice" and ref is None and event["text"].startswith(UNSURE):
                self.told.append(Told(self.name, event["text"][len(UNSURE) :].split(" ")[0], now()))
                self._world.count("told that nobody knows whether a private line has come")
            elif event["type"] == "private" and ref is None:
                self.heard.append(Heard(self.name, event["from"], event["text"], now()))
            elif ref in self.lines:
                line = self.lines[ref]
                line.nobody = event.get("code") == "unknown_person"
                if event["type"] == "private" or line.nobody:
                    line.copied = now()
                elif event["code"] not in LATER:
                    raise Odd(f"a private line was answered with {event}")
            elif event["type"] == "token":
                self._token = event["token"]
            elif ref is not None and event["type"] not in ("joined", "message"):
                self._answers[ref] = event
            if now() >= until or str(ref).startswith("ask"):
                return


# --- the check -----------------------------------------------------------------------------------------------


def check(people: Iterable[Person], faults: Sequence[Fault], db: pathlib.Path) -> list[Result]:
    """C9 and C10, after the run. ``db``: the history of one of the servers."""
    people = list(people)
    with contextlib.closing(sqlite3.connect(db)) as connection:
        accounts = {name for (name,) in connection.execute("SELECT name FROM accounts")}
    lines = [line for each in people for line in each.lines.values()]
    heard = [each for person in people for each in person.heard]
    visits = [each for person in people for each in person.visits]
    told = [each for person in people for each in person.told]
    kept = {person.name: person.has_account for person in people}
    contradictions = [each for person in people for each in person.contradictions]
    of_lines = lines_of(lines, heard, told, visits, faults)
    judged, wrong = accounts_of(kept, accounts, contradictions, faults)
    judged += sum(person.changes for person in people)
    return [
        Result("C9", f"a private line came once, to whom it was for, within {LIVE_WITHIN:g} s", *of_lines),
        Result("C10", "accounts are as was acknowledged last, on all servers", judged, wrong),
    ]


def lines_of(
    lines: Sequence[Line],
    heard: Sequence[Heard],
    told: Sequence[Told],
    visits: Sequence[Visit],
    faults: Sequence[Fault],
) -> tuple[int, list[str]]:
    """What came is what was sent, once. What somebody got a copy of came, if the other one was there, and nothing
    happened to both servers. Nothing keeps a private line, so it may be lost during a fault. Then its sender is told,
    unless the connection of one of them broke."""
    judged, wrong = 0, []
    sent = {(line.to, line.sender, line.text): line for line in lines}
    came: dict[tuple[str, str, str], float] = {}
    for each in heard:
        key = each.who, each.sender, each.text
        if key not in sent:
            wrong.append(f"{each.who} was shown what {each.sender} did not send: {each.text[:40]}")
        elif key in came:
            wrong.append(f"{each.who} was shown twice: {each.text[:40]}")
        came.setdefault(key, each.at)
    servers = {each.server for each in visits} | {line.server for line in lines}
    times = {server: Times(fault for fault in faults if hits(fault, server)) for server in servers}
    for line in lines:
        if line.copied < math.inf and not line.nobody and (line.to, line.sender, line.text) not in came:
            end = line.copied + CONFIRMED
            stays = all(
                any(each.who == who and each.began <= line.sent and end <= each.ended for each in visits)
                for who in (line.sender, line.to)
            )
            if stays and times[line.server].touch(line.sent, end) is None:
                judged += 1
                if not any(
                    (each.sender, each.to) == (line.sender, line.to) and line.copied <= each.at <= end for each in told
                ):
                    wrong.append(f"{line.sender} was not told that {line.to} may not have been shown: {line.text[:40]}")
        until = line.copied + LIVE_WITHIN
        since = line.sent - LIVE_WITHIN
        there = [each for each in visits if each.who == line.to and each.began <= since and until <= each.ended]
        if not there or any(times[at].touch(since, until) is not None for at in (line.server, there[0].server)):
            continue
        judged += 1
        if line.nobody:
            wrong.append(f"{line.sender} was told that {line.to} is not there: {line.text[:40]}")
        elif (at := came.get((line.to, line.sender, line.text), math.inf)) > until:
            late = f"{at - line.copied:.1f} s later" if at < math.inf else "never"
            wrong.append(f"{line.to} was shown {late} what {line.sender} got a copy of: {line.text[:40]}")
    return judged + len(heard), wrong


def accounts_of(
    kept: dict[str, bool | None], accounts: set[str], contradictions: Sequence[Contradiction], faults: Sequence[Fault]
) -> tuple[int, list[str]]:
    """What was acknowledged is so at the end, and was known to each server a moment later."""
    wrong = [
        f"by the last acknowledgement {name} has {'an' if has else 'no'} account, and the history says otherwise"
        for name, has in kept.items()
        if has is not None and has != (name in accounts)
    ]
    for each in contradictions:
        hearing = Times(fault for fault in faults if hits(fault, each.server) and fault.kind not in RESTARTS)
        if each.known < each.asked - LIVE_WITHIN and hearing.touch(each.asked - LIVE_WITHIN, each.asked) is None:
            wrong.append(f"{each.told}, {each.asked - each.known:.1f} s after the acknowledgement")
    return len(kept) + len(contradictions), wrong
