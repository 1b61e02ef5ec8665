"""The page that a browser gets, and the parts of its scripts that need no browser. node runs them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from support.spoken import SPOKEN

from chat_threads import commands
from chat_threads.client.talk import request_of
from chat_threads.dialects.typed import parse_line
from chat_threads.errors import ChatError
from chat_threads.page import SCRIPTS, assemble, bare, chat_page, read, table
from chat_threads.rules import in_messages


def in_node(scripts, code):
    """What ``code`` returns, after the scripts; None if this machine has no node."""
    if not shutil.which("node"):
        assert not os.environ.get("CI"), "CI needs node"
        pytest.skip("node is not installed")
    source = "\n".join([*(bare(read(each)) for each in scripts), f"console.log(JSON.stringify((() => {{{code}}})()))"])
    done = subprocess.run(["node", "-"], input=source, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def hashes(body, element):
    found = re.findall(rf"<{element}>(.*?)</{element}>", body.decode(), re.DOTALL)
    return tuple(f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in found)


def test_the_hashes_are_those_of_the_scripts_and_styles_in_the_page():
    page = chat_page()
    assert page.scripts == hashes(page.body, "script")
    assert page.styles == hashes(page.body, "style")
    assert len(page.scripts) == len(page.styles) == 1


def test_the_page_has_under_60_kilobytes():
    assert len(chat_page().body) < 60_000


def test_the_page_asks_for_nothing_else_and_has_no_inline_handler_or_style():
    found = re.findall(r' (?:src|href|on[a-z]+|style)="([^"]*)"', read("index.html"))
    assert [each[:20] for each in found] == ["data:,"]


def test_data_cannot_end_its_element():
    body = assemble("index.html", [], [], {"text": "</script><!--"}).body.decode()
    assert body.count("</script>") == 1
    assert json.loads(re.findall(r'id="data">(.*?)</script>', body)[0]) == {"text": "</script><!--"}


ODD = """
  x = 1|/j #lab2|/join|/join #a b|/create|/delete|/delete #a no|/rooms x|/WHO #a|/topic #a of  it|/topic -|/invite
/msg bob|/msg bob hi  you|/r hi|/nick|/away|/history before|/history 2x|/history #a #b|/search in: x|/search before:17
/search From:@bob IN:#a Before:#a/3 x|/search from:@|/search in:@a
/set|/set joins|/trace x|/trace|/lab pause bob 5|/lab slow bob x|/lab slow bob|/ping x|/bye for now|/nosuch|/|//|   |
/history 0|/history #a 0|/delete #a YES| /help| x /help
login bob hunter2|Login: x2!|login bob correcthorse|login bob now|password is 123|register tomorrow
msg bob hi| msg bob hi|msg me soon|Msg @łuk, hi|msg bob|msg them all|msg 5 people
x|  //x|// a b|/* c */|/*|／help|/help text|/help //text
"""
LINES = [line for _, _, line in SPOKEN if line is not None] + re.split("[|\n]", ODD)


def as_in_python(line):
    word = line.split()[0].lower() if line.startswith("/") and line[1:2] not in ("/", "*") else ""
    kind = commands.BY_NAME.get(word)
    if word and (kind in (None, commands.Help) or kind.row.usage not in [row[0] for row in table()]):
        return {"type": "typed", "line": line}
    try:
        command = parse_line(line)
    except ChatError:
        return "error"
    return command and {key: value for key, value in request_of(command).items() if value != ""}


def test_a_typed_line_is_the_same_request_as_in_the_terminal_client():
    code = f"""const typed = new Typed({json.dumps(table())});
        return {json.dumps(LINES)}.map((line) => typed.line(line));"""
    found = in_node(["outbox.js", "state.js", "typed.js"], code)
    shown = {line: each and each.get("request", "error") for line, each in zip(LINES, found, strict=True)}
    assert shown == {line: as_in_python(line) for line in LINES}


BOXES = (
    "one",
    "\r\n  \r\nif x:\r\n\tgo()\r\n\r\nelse:  \r\n\tstop()\r\n \r\n",
    "/topic all\nof it",
    "/mgs bob one\ntwo",
    "//one\n/quit",
    "  one\n/quit",
    "x\n" * 100,
    "\n".join(f"{number:>3} {'x' * (number * 7 % 90)}{chr(10) * (number % 3)}" for number in range(200)),
    "a\n" + "x" * 1999 + "\n\n" + "y" * 2001 + "\n\nb",
)


def test_several_lines_in_the_box_are_the_messages_of_the_terminal_client():
    code = f"""const typed = new Typed({json.dumps(table())});
        return {json.dumps(BOXES)}.map((box) => typed.all(box, {{ text: 2000, lines: 40 }}));"""
    for box, found in zip(BOXES, in_node(["outbox.js", "state.js", "typed.js"], code), strict=True):
        if re.match("/(?!/)", box):
            assert found == [{"request": as_in_python(box)}]
            continue
        text = "\n".join(each.rstrip() for each in box.replace("\r", "").replace("\t", "    ").split("\n"))
        assert [each["request"]["text"].rstrip() for each in found] == in_messages(text)
        assert {each["request"]["type"] for each in found} == {"say"}


def test_the_pauses_between_tries_grow_from_a_second_to_thirty_and_are_random():
    code = "return [0, 1, 2, 3, 4, 5, 99].map((failed) => [pauseAfter(failed, 0), pauseAfter(failed, 1)])"
    found = in_node(["wire.js"], code)
    assert found == [
        [1000, 2000],
        [2000, 4000],
        [4000, 8000],
        [8000, 16000],
        [15000, 30000],
        [15000, 30000],
        [15000, 30000],
    ]


def test_whoever_is_told_to_wait_for_a_turn_is_not_connected_anew_meanwhile():
    code = """const looks = [];
        globalThis.setTimeout = (look, after) => looks.push(after);
        const wire = new Wire("", { came() {} });
        wire.take('{"type":"notice","text":"Please wait"}');
        wire.take('{"type":"welcome"}');
        return looks;"""
    assert in_node(["wire.js"], code) == [45000, 25000]


def test_after_a_lost_connection_the_outbox_sends_again_what_cannot_be_done_twice():
    code = """
        const make = (kept) => new Outbox({ load: () => kept, save: (text) => { make.kept = text; } }, "p");
        const fates = (sentUnder, backUnder, forgotten) => {
            const box = make("");
            for (const type of ["say", "private", "who", "leave"]) box.add({ type }, 0);
            box.take(sentUnder);
            box.add({ type: "say" }, 0);
            const unsure = box.back(backUnder, forgotten);
            const states = box.items.map((each) => `${each.request.type} ${each.state}`);
            return [states, unsure, box.take("t").map((each) => each.ref)];
        };
        const box = make("");
        for (let at = 0; at < 300; at += 1) box.add({ type: "say" }, 0);
        const many = [box.take("t").length, box.take("t").length];
        box.drop(box.find("p-1"));
        const again = make(make.kept);
        return {
            same: fates("t", "t", false),
            other: fates("t", "new", false),
            none: fates("", "new", false),
            forgotten: fates("t", "new", true),
            many: [...many, box.take("t")[0].ref],
            reloaded: [again.items.length, again.back("t", false), again.take("t")[0].ref],
        };"""
    again = ["say waiting", "private unsure", "who waiting", "say waiting"]
    unsure = ["say unsure", *again[1:]]
    assert in_node(["outbox.js"], code) == {
        "same": [again, 1, ["p-1", "p-3", "p-5"]],
        "other": [unsure, 1, ["p-3", "p-5"]],
        "none": [unsure, 1, ["p-3", "p-5"]],
        "forgotten": [again, 1, ["p-1", "p-3", "p-5"]],
        "many": [256, 0, "p-257"],
        "reloaded": [299, 0, "p-2"],
    }


def test_what_strangers_send_does_not_grow_the_page_without_end():
    code = """
        const chat = new Chat("ann");
        const at = "2026-11-29T10:00:00.000Z";
        chat.take({ type: "joined", room: "#a", topic: "", people: [], count: 0, last: 0 }, []);
        chat.take({ type: "private", at, from: "ann", to: "bob", text: "hi" }, []);
        for (let n = 1; n < 3000; n += 1) {
            chat.take({ type: "private", at, from: `eve${n}`, to: "ann", text: "hi" }, []);
            chat.take({ type: "presence", kind: n % 1000 ? "joined" : "left", room: "#a", names: [`n${n}`] }, []);
            chat.take({ type: "invited", room: "#b", by: "eve" }, []);
            chat.take({ type: "message", room: "#a", number: n, at, from: "eve", kind: "say", text: "x" }, []);
        }
        const rows = chat.room("#a").rows;
        return [chat.rooms.size, rows.length, rows[rows.length - 1].number, chat.rooms.has("@bob")];"""
    assert in_node(["state.js"], code) == [51, 1000, 2999, True]


def test_a_removed_message_has_no_text_whether_it_was_there_or_comes_later():
    code = """const chat = new Chat("ann");
        const said = (number, kind, text) => chat.take({ type: "message", room: "#a", number,
          at: "2026-11-24T14:23:25.985Z", from: "ann", kind, text }, []);
        said(1, "removed", "");
        said(2, "action", "ann is ann");
        chat.take({ type: "redacted", room: "#a", number: 2, by: "bob" }, []);
        chat.take({ type: "redacted", room: "#a", number: 9, by: "bob" }, []);
        chat.take({ type: "redacted", room: "#b", number: 9, by: "bob" }, []);
        return chat.room("#a").rows.map((row) => [row.kind, row.text, row.look || "", !!row.action]);"""
    gone = ["message", "removed", "removed", False]
    told = [["note", f"bob removed message {number}.", "", False] for number in (2, 9)]
    assert in_node(["state.js"], code) == [gone, gone, *told]


def test_a_message_that_was_removed_while_the_connection_was_lost_has_no_text_when_it_is_back():
    code = """const chat = new Chat("ann");
        const said = (number, kind, text) => chat.take({ type: "message", room: "#a", number,
          at: "2026-11-24T14:23:25.985Z", from: "bob", kind, text }, []);
        for (let number = 1; number < 100; number++) said(number, "say", "x");
        const { since } = chat.hello("");
        for (let number = since["#a"] + 1; number < 100; number++) said(number, "removed", "");
        said(100, "say", "y");
        const room = chat.room("#a");
        return [since, room.rows.map((row) => row.number).length, room.unread,
          room.rows.filter((row) => row.look).map((row) => row.number), room.rows[99].text];"""
    assert in_node(["state.js"], code) == [{"#a": 59}, 100, 100, [*range(60, 100)], "y"]


def test_what_an_operator_does_is_told_in_its_room():
    code = """const chat = new Chat("ann");
        TAKES.joined(chat, { room: "#a", topic: "", people: [], count: 0, last: 0 });
        for (const event of [
          { type: "moderated", room: "#a", by: "bob", text: "bob banned cy from #a" },
          { type: "moderated", room: "#b", by: "bob", text: "bob made cy an operator of #b" },
          { type: "room", room: "#a", by: "bob", text: "bob made #a quiet" },
          { type: "room", room: "#a", settings: [], creator: "bob", text: "Everybody may enter #a." },
        ]) chat.take(event, []);
        return chat.room("#a").rows.map((row) => row.text);"""
    told = ["bob banned cy from #a", "bob made cy an operator of #b", "bob made #a quiet"]
    assert in_node(["state.js"], code) == told


def test_whoever_has_to_leave_reads_why_and_is_in_another_room_only_if_nothing_was_begun():
    code = """return [[], ["#b"]].flatMap((others) => ["", "half a li"].flatMap((draft) => ["", "1"].map((ref) => {
          const chat = new Chat("ann");
          for (const room of [...others, "#a"]) {
            TAKES.joined(chat, { room, topic: "", people: [], count: 0, last: 0 });
          }
          chat.shown = chat.room("#a");
          chat.shown.draft = draft;
          chat.take({ type: "moderated", room: "#a", by: "bob", text: "bob sent ann out of #a" }, []);
          chat.take({ type: "left", room: "#a", current: others[0] || null, ref }, []);
          return [chat.shown && chat.shown.name, chat.place.draft, ...chat.place.rows.map((row) => row.text)];
        })));"""
    sent, left = "bob sent ann out of #a", "You left #a."
    nowhere = f"{left} You are in no room now."
    there = ["#b", "", sent, f"{left} This is #b."], ["#b", "", f"{left} This is #b."]
    none = [None, "", sent, nowhere], [None, "", nowhere]
    kept = [None, "half a li", sent, nowhere], [None, "half a li", nowhere]
    assert in_node(["state.js"], code) == [*none, *kept, *there, *kept]


def test_an_older_line_with_the_same_text_does_not_hide_one_that_waits():
    code = """const chat = new Chat("ann");
        const said = (number) => chat.take({ type: "message", room: "#lobby", number, at: "2026-11-24T14:23:25.985Z",
          from: "ann", kind: "say", text: "+1" }, outbox.items);
        const outbox = new Outbox({ load: () => "", save() {} }, "x");
        TAKES.joined(chat, { room: "#lobby", topic: "", people: [], count: 0, last: 9 });
        chat.shown.last = 9; // as after a reload, which asks for what it has seen
        outbox.add({ type: "say", room: "#lobby", text: "+1" }, 0);
        outbox.take("token");
        said(9);
        const before = Boolean(outbox.items[0].came);
        said(10);
        const after = outbox.items[0].came;
        outbox.back("another token", false);
        return [before, after, outbox.items];"""
    assert in_node(["state.js", "outbox.js"], code) == [False, True, []]


@pytest.mark.slow
def test_an_installed_package_has_the_files_of_the_page(tmp_path):
    pytest.importorskip("setuptools")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path)], check=True, capture_output=True
    )
    found = {path.name for path in tmp_path.glob("lib/chat_threads/page/*")}
    assert found >= {"index.html", "style.css", *SCRIPTS}
