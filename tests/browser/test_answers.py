"""The answers of the commands in a browser: in words or as tables, as in a terminal."""

from __future__ import annotations

import pytest
from support.browsers import DESKTOP
from support.spoken import SPOKEN

pytestmark = pytest.mark.slow

GOES = ("/quit", "/resume", "/leave", "/delete", "/join", "/create")  # they lead out of the room
TYPED = [line for *_, line in SPOKEN if line and "\n" not in line and not line.startswith(GOES)]
MORE = ["/history after 1", "/search nothing", "/help who", "/help text", "/trace 1", "/who #nosuch", "/topic -"]
TABLES = {
    "/rooms",
    "/who",
    "/who #lab2",
    "/audit",
    "/audit #lab2",
    "/help",
    "/help text",
    "/threads",
    "/locks",
    "/trace 1",
}


def test_no_answer_shows_the_names_of_its_fields(serve, tab, chromium):
    server = serve(rate=0, lab=True)
    carl = tab(chromium, server, **DESKTOP).enter("carl", "#lab2")  # it is carl's room
    server.client("bob #lab2")
    carl.say("hi")
    carl.firm()
    shown: dict[str, list[str]] = {}
    tables = set()
    for line in [*TYPED, *MORE]:
        carl.say(line)
        carl.until("() => !app.outbox.items.length")
        carl.page.evaluate("() => app.drawNow(app.chat.shown)")
        shown[line] = carl.page.locator("dt").all_inner_texts()
        tables |= {line} if carl.page.locator("table").count() else set()
        carl.page.evaluate("() => { app.sheets.close(); app.chat.place.rows = []; app.drawNow(app.chat.shown); }")
    assert {line: names for line, names in shown.items() if names} == {}
    assert tables == TABLES


def test_answers_that_are_no_tables_are_sentences(serve, tab, chromium):
    carl = tab(chromium, serve(rate=0, lab=True), **DESKTOP).enter("carl")
    for line, answer in [
        ("/history", "Nothing was said in #lobby yet."),
        ("/topic", "#lobby has no topic."),
        ("/topic locks", "carl set the topic: locks"),
        ("/topic", "The topic of #lobby is: locks"),
        ("/ping", "ms through the server's queue"),
        ("/stats", "messages stored: 0"),
        ("/help who", "/who [#room]: list who is here, or in a room."),
        ("hello", "hello"),
        ("/history", "#lobby, message 1 of 1:"),
        ("/history after 1", "That part of the history has no messages."),
        ("/trace 1", "The trip of message 1 of #lobby, by carl, in ms since it was received:"),
    ]:
        carl.say(line)
        carl.expect(answer)
    sheet = carl.page.get_by_role("dialog")
    for line, answer in [("/search no", "Nothing was found for: no"), ("/search hello", "1 message found for: hello")]:
        carl.say(line)
        sheet.get_by_text(answer).wait_for()
        carl.page.keyboard.press("Escape")


def test_a_table_has_every_column_that_a_row_has_and_a_page_leads_to_the_next_ones(serve, connect, tab, chromium):
    server = serve(rate=0)
    carl = tab(chromium, server, **DESKTOP).enter("carl")
    pia = connect(server, "pia")
    pia.register("a good password")
    for number in range(1, 4):
        pia.say("#lobby", f"line {number}")
    carl.expect("line 3")
    carl.say("/away", "/who")
    row = carl.expect("logged in")
    assert row.locator("th").all_inner_texts() == ["name", "rooms", "idle", "away", "logged in"]
    assert row.locator("tr", has_text="carl").locator("td").nth(3).inner_text() == "away"
    assert row.locator("tr", has_text="pia").locator("td").nth(4).inner_text() == "yes"
    carl.say("/history 1")
    carl.expect("#lobby, message 3 of 3:").get_by_role("button", name="Older").click()
    row = carl.expect("#lobby, messages 1 to 2 of 3:")
    row.get_by_role("button", name="Newer").click()
    carl.expect("#lobby, message 3 of 3:")
