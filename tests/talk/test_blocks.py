"""Texts of several lines: each further line is marked wherever people see it, and none looks like anybody else's."""

from __future__ import annotations

from support.waiting import WAIT

from chat_threads.client import HistoryPage, Message

BLOCK = "if x:\r\n\tgo()\n\n* bob left\rbob: hi\u2028! No.\x85* Bye."
LINES = ["if x:", "    go()", "", "* bob left", "bob: hi ! No. * Bye."]


def marked(lines):
    return [f"  | {line}" for line in LINES[1:]] == lines


def test_a_text_of_several_lines_is_one_message_and_its_further_lines_are_marked_in_every_list(server, program):
    ann, bob = program("ann", server), server.client("bob")
    ann.expect("presence")
    (said,) = [each for each in ann.ask(type="say", text=f"\n \n{BLOCK}\n\n", ref="1") if each["type"] == "message"]
    assert said["text"] == "\n".join(LINES)
    ann.ask(type="private", to="bob", text=BLOCK)
    assert bob.expect(" ann: ").endswith(" ann: if x:")
    assert marked([bob.line() for _ in LINES[1:]])
    assert bob.expect(" -> you: ").endswith(" ann -> you: if x:")
    assert marked([bob.line() for _ in LINES[1:]])
    for command in ("/history", "/search go from:ann", "/search bye", "/leave", "/join #lobby"):
        lines = bob.ask(command)
        if command != "/leave":
            at = next(at for at, line in enumerate(lines) if line.endswith(" ann: if x:"))
            assert marked(lines[at + 1 : at + len(LINES)]), command
            assert [line for line in lines if line.startswith(("bob:", "! "))] == []
    ann.send(type="history")
    assert [each["text"] for each in ann.expect("history")["messages"]] == [said["text"]]


def test_the_library_says_and_hears_several_lines_and_only_a_text_has_them(server, connect):
    ann, bob = connect(server, "ann"), connect(server, "bob")
    assert ann.say("#lobby", BLOCK) == 1
    ann.set_topic("one\n* two")
    event = next(event for event in bob.events(timeout=WAIT) if isinstance(event, Message))
    assert event.text == "\n".join(LINES)
    page = bob.history("#lobby")
    assert isinstance(page, HistoryPage)
    assert [each.text for each in page.messages] == [event.text]
    assert bob.topic() == "one * two"
