"""Who may do what in a room: each cell of the table in ``support.rights``, in every dialect, and in the docs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from support import rights
from support.clients import Client, Editor, Program, Start
from support.servers import Running
from support.web import WebSocket

from chat_threads import commands

WORDS, TOPIC = "stripesMARK", "okapiMARK"  # said in the room, and what it is about

Ways = tuple[tuple[dict[str, Any], str], ...]  # requests, each with the line that does the same

# What each action of the table stands for. ROOM, MESSAGE and MARK are filled in.
ACTIONS: dict[str, Ways] = {
    "read": (
        ({"type": "history"}, "/history ROOM"),
        ({"type": "history", "before": 2}, "/history ROOM before 2"),
        ({"type": "history", "after": 0}, "/history ROOM after 0"),
        ({"type": "history", "seconds": 60}, "/history ROOM 1m"),
        ({"type": "search", "words": "zebra"}, "/search zebra in:ROOM"),
        ({"type": "search", "from": "ownerMARK", "before": "ROOM/2"}, "/search from:ownerMARK before:ROOM/2 in:ROOM"),
        ({"type": "topic"}, "/topic ROOM"),
        ({"type": "who"}, "/who ROOM"),
        ({"type": "room"}, "/room ROOM"),
    ),
    "say": (({"type": "say", "text": "hi"}, "hi"), ({"type": "action", "text": "waves"}, "/me waves")),
    "topic": (({"type": "topic", "text": TOPIC}, f"/topic ROOM {TOPIC}"),),
    "redact": (({"type": "redact", "number": "MESSAGE"}, "/redact MESSAGE ROOM"),),
    "invite": (({"type": "invite", "name": "victimMARK"}, "/invite victimMARK ROOM"),),
    "report": (({"type": "report", "about": "victimMARK"}, "/report ROOM victimMARK"),),
    "govern": (
        ({"type": "room", "setting": "RULE"}, "/room ROOM RULE"),
        ({"type": "mute", "name": "victimMARK"}, "/mute ROOM victimMARK"),
        ({"type": "unmute", "name": "victimMARK"}, "/unmute ROOM victimMARK"),
        ({"type": "ban", "name": "victimMARK", "seconds": 60}, "/ban ROOM victimMARK 1m"),
        ({"type": "unban", "name": "victimMARK"}, "/unban ROOM victimMARK"),
        ({"type": "uninvite", "name": "KICKED"}, "/uninvite ROOM KICKED"),
        ({"type": "kick", "name": "KICKED"}, "/kick ROOM KICKED"),
        ({"type": "bans"}, "/bans ROOM"),
        ({"type": "audit"}, "/audit ROOM"),
    ),
    "appoint": (
        ({"type": "op", "name": "victimMARK"}, "/op ROOM victimMARK"),
        ({"type": "deop", "name": "victimMARK"}, "/deop ROOM victimMARK"),
    ),
    "delete": (
        ({"type": "delete", "ask": True}, "/delete ROOM"),
        ({"type": "room", "setting": "keep 30"}, "/room ROOM keep 30"),
    ),
}
RENAME: Ways = (({"type": "nick", "name": "ROLEMARKnew"}, "/nick ROLEMARKnew"),)
ENTER: Ways = (({"type": "join", "since": 0}, "/join ROOM"), ({"type": "join"}, "/join ROOM"))
LISTS: Ways = (
    ({"type": "rooms"}, "/rooms"),
    ({"type": "who"}, "/who"),
    ({"type": "whois", "name": "ownerMARK"}, "/whois ownerMARK"),
    ({"type": "search", "words": "zebra"}, "/search zebra"),
    ({"type": "search", "from": "ownerMARK"}, "/search from:ownerMARK"),
)
# What is not in the table, and why.
BESIDES = {
    "leave create": "everybody may leave, and a room that is made is one's own",
    "hello resume": "they enter rooms as join does, see test_whoever_comes_back_enters_no_more_rooms_than_by_join",
    "private reply announce": "they are said in no room; the last is for the server's operators (test_order.py)",
    "register login password unregister operator token": "about oneself (test_accounts.py)",
    "away back ignore unignore set edit qr": "about oneself",
    "trace": "see test_no_answer_reveals_an_invite_only_room",
    "threads locks lab stats": "about the server",
    "typed": "what WebSockets say here, as the page does",
    "ping help quit": "nothing is read or said",
}
DIALECTS = ("json", "web", "text", "edit")
INSIDE = ("member", "muted", "operator", "owner")  # whose current room it is
KICKED = {"operator": "one", "owner": "two", "server": "three"}  # whom they send out; everybody else tries the owner
MESSAGES = {"operator": 2, "owner": 3}  # that they remove; everybody else tries the first


class Actor:
    """A person with a client of any dialect. ``heard`` is all that it was shown."""

    def __init__(self, server: Running, name: str, dialect: str) -> None:
        self.name, self.server = name, server
        self.heard = ""
        self._refs = itertools.count()
        self._client: Any
        if dialect in ("text", "edit"):
            self._client = (Client if dialect == "text" else Editor)(server.port, name)
        else:
            self._client = (Program if dialect == "json" else WebSocket)(server.port)
        server.clients.append(self._client)
        if isinstance(self._client, Program):
            self._client.send(type="hello", name=name)
            self._client.expect("joined")

    @property
    def session(self) -> Any:
        return self.server.chat.sessions.named(self.name)

    def do(self, request: dict[str, Any], line: str) -> tuple[str, str]:
        """What becomes of it, "yes", or the code of an error, or "refused" where there are no codes; and what came."""
        if isinstance(self._client, Program):
            ref, came = f"r{next(self._refs)}", [{}]
            if isinstance(self._client, WebSocket):
                request = {"type": "typed", "line": line, **{key: request[key] for key in request if key == "room"}}
            self._client.send({**request, "ref": ref})
            while came[-1].get("ref") != ref:
                came.append(self._client.read())
            code, shown = came[-1].get("code", "yes"), json.dumps(came)
        else:
            lines = self._client.ask(line)
            code, shown = "refused" if any(each.startswith("! ") for each in lines) else "yes", "\n".join(lines)
        self.heard += shown
        return code, shown

    def type(self, *lines: str) -> None:
        for line in lines:
            assert self.do({"type": "typed", "line": line}, line)[0] == "yes", line


def furnished(server: Running, room: str, rule: str, mark: str, dialect: str) -> dict[str, Actor]:
    """The people of a room with this rule, their names with ``mark`` at the end."""
    people = {role: Actor(server, role + mark, dialect) for role in (*rights.PEOPLE, "victim", *KICKED.values())}
    people["account"].session.account = people["server"].session.operator = True
    words, topic = (each.replace("MARK", mark) for each in (WORDS, TOPIC))
    people["owner"].type(f"/create {room} {topic} here", *[f"zebra {words}"] * 3)
    for role in ("member", "muted", "banned", "operator", *KICKED.values()):
        people[role].type(f"/join {room}")
    people["owner"].type(f"/op operator{mark}", f"/mute muted{mark}", f"/ban banned{mark}", f"/room {rule}")
    people["owner"].type(f"/invite invited{mark}")
    for each in people.values():
        each.do({"type": "stats"}, "/stats")  # the answer comes after all that it was shown so far
        each.heard = ""
    return people


def filled(ways: Ways, rule: str, role: str, mark: str) -> Ways:
    """The ways for one person, of whom there is one with each ``mark``, in the room with this rule."""
    message = str(MESSAGES.get(role, 1))
    kicked = KICKED.get(role, "owner") + mark
    text = json.dumps(ways).replace("ROOM", f"#r{mark}").replace("MARK", mark).replace("RULE", rule)
    text = text.replace("KICKED", kicked).replace("ROLE", role)
    if rule != "invite-only":  # nobody is invited
        text = json.dumps([way for way in json.loads(text) if way[0]["type"] != "uninvite"])
    return json.loads(text.replace('"MESSAGE"', message).replace("MESSAGE", message))  # type: ignore[no-any-return]


def test_each_command_and_each_request_is_in_the_table_or_named_besides() -> None:
    table = [each for ways in (*ACTIONS.values(), RENAME, ENTER, LISTS) for each in ways]
    besides = [word for words in BESIDES for word in words.split()]
    requests = {each.row.type or each.row.name[1:] for each in commands.ALL}
    tried = {request["type"] for request, _ in table}
    assert sorted([*tried, *besides]) == sorted(requests)
    typed = {each.row.name for each in commands.ALL if each.row.type in tried} - {""}
    assert {line.split()[0] for _, line in table if line[0] == "/"} == typed


@pytest.mark.parametrize("dialect", DIALECTS)
def test_everybody_may_do_what_the_table_says_and_nothing_else(server: Running, dialect: str) -> None:
    table, wrong = rights.cells(), []
    with_codes = dialect in ("json", "web")
    for number, rule in enumerate(rights.RULES):
        room, mark = f"#r{number}", str(number)
        people = furnished(server, room, rule, mark, dialect)
        for action, role in itertools.product((*ACTIONS, "list", "rename", "enter"), rights.PEOPLE):
            me, expected = people[role], table[rule, action, role]
            if action == "say" and not with_codes and role not in INSIDE:
                continue  # a line is said in the current room, and this one is not theirs
            if action == "list":
                shown = [me.do(*way)[1] for way in filled(LISTS, rule, role, mark)]
                offered = server.chat.publisher.beginning("#", 100, me.session)
                found = ["yes" if room in each else "hidden" for each in (*shown, offered)]
            else:
                ways = filled({**ACTIONS, "enter": ENTER, "rename": RENAME}[action], rule, role, mark)
                found = [me.do({"room": room, **request}, line)[0] for request, line in ways]
            wanted = ["yes", "too_soon"] if expected == "once" else [expected] * len(found)
            if action != "list" and not with_codes:
                wanted = [each if each == "yes" else "refused" for each in wanted]
            if found != wanted:
                wrong.append((rule, action, role, wanted, found))
            heard = {each.replace("MARK", mark) in me.heard for each in (WORDS, TOPIC)}
            if action != "enter" and heard != {table[rule, "read", role] == "yes"}:
                wrong.append((rule, action, role, "heard", [str(heard)]))
    assert wrong == []


def test_whoever_comes_back_enters_no_more_rooms_than_by_join(server: Running, program: Start) -> None:
    """By a hello with a token and the rooms to catch up on, and then by resume, from another connection."""
    table, wrong = rights.cells(), []
    for number, rule in enumerate(rights.RULES):
        room, mark = f"#r{number}", str(number)
        people = furnished(server, room, rule, mark, "json")
        for role in ("stranger", "invited", "member", "muted", "banned", "operator", "owner"):
            token, expected = people[role].session.token, table[rule, "enter", role]
            if rule == "accounts-only" and role in ("member", "muted"):
                expected = "accounts_only"  # they are not in it any more
            first, second = program(None, server), program(None, server)
            first.send(type="hello", token=token, since={room: 0})
            for client in (first, second):
                if client is second:
                    second.send({"type": "hello", "name": f"guest{number}{role}"}, {"type": "resume", "token": token})
                seen = client.ask({"type": "stats"})
                codes = [each["code"] for each in seen if each["type"] == "error"]
                inside = any(each["type"] == "joined" and each["room"] == room for each in seen)
                if (inside, codes) != (expected == "yes", [] if inside or client is second else [expected]):
                    wrong.append((rule, role, client is second, expected, inside, codes))
                if expected != "yes" and WORDS.replace("MARK", mark) in str(seen):
                    wrong.append((rule, role, client is second, "heard"))
    assert wrong == []


def test_no_answer_reveals_an_invite_only_room(serve: Callable[..., Running], program: Start) -> None:
    """Mistyped names, names that look alike, hints, counts, and the trips of messages; except to /join and /create."""
    server = serve(lab=True)
    ann, eve = Client(server.port, "ann"), Client(server.port, "eve")
    server.clients += [ann, eve]
    asked = (
        "/history #coven",
        "/history #covem",
        "/invite ann #coven",
        "/topic coven is a word",
        "/search x before:#coven/1",
        "/delete #coven yes",
        "/redact 1 #coven",
        "/rooms",
        "/who",
    )
    eve.ask("/topic here")
    before = [[line for line in eve.ask(each) if "coven is a word" not in line] for each in asked]
    ann.ask("/create #coven secret plans")
    ann.ask("the plan")
    ann.ask("/room invite-only")
    after = [[line for line in eve.ask(each) if "coven is a word" not in line] for each in asked]
    assert after[:-2] == before[:-2]
    assert "coven" not in "".join(after[-2] + after[-1])
    (looks,) = eve.ask("/create #cоven")  # with a Cyrillic letter
    assert looks == "! Another room's name looks like #cоven."
    closed = "! The room #COVEN exists already, and you may not enter it."  # as she typed it
    assert eve.ask("/create #COVEN") == [closed]
    eve.ask("/leave")
    assert (
        eve.ask("/trace 1")
        == eve.ask("/trace 99")
        == ["! You are not in a room. /rooms lists the rooms, and /join enters one."]
    )
    spy = program("spy", server)
    for request in ({"room": "#coven"}, {"room": "#coven", "number": 1}):
        (error,) = (each for each in spy.ask({"type": "trace", **request}) if each["type"] == "error")
        assert error["code"] == "no_trip"
    assert [each["number"] for each in program("bob", server).ask(type="trace") if each["type"] == "trace"] == []
    late = program(server=server)
    late.send(type="hello", name="cy", since={"#coven": 0})
    late.expect("joined", room="#lobby")
    assert late.expect("error", room="#coven")["code"] == "invite_only"
    assert "the plan" not in str(late.seen)
    assert eve.ask("/join #coven") == [
        "! #coven is only for people who were invited. Ask one of its operators for an invitation."
        " If you had one, type /resume TOKEN or /login first."
    ]
    ann.ask("/delete #coven yes")  # and who was there, neither afterwards nor in another room of that name
    for again in (False, True):
        if again:
            eve.ask("/join #coven")
        assert "trace" not in [each["type"] for each in spy.ask(type="trace", room="#coven", number=1)]


def test_the_docs_have_the_same_table() -> None:
    before = rights.DOCS.read_text(encoding="utf-8")
    assert rights.page(before) == before, "python -m support.rights, in tests, writes it again"
