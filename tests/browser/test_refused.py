"""What cannot be sent is not lost, its reason is in view, and what was sent has a sign."""

from __future__ import annotations

import pytest
from support.browsers import DESKTOP

pytestmark = pytest.mark.slow
SEEN = """(row) => row.getBoundingClientRect().bottom <= document.querySelector('#composer').getBoundingClientRect().top
    && row.getBoundingClientRect().top > 0"""


def refused(tab, line, why):
    """Type a line. Its text comes back with the reason."""
    tab.page.evaluate("(line) => app.composer.put(line)", line)  # a driver may type each letter
    tab.box.press("Enter")
    row = tab.expect(why)
    tab.until("(line) => document.querySelector('#text').value === line", line)
    return row


def test_what_was_being_written_when_one_is_sent_out_stays_in_the_box_until_it_can_be_sent(start_process, tab, browser):
    server = start_process()
    ann = tab(browser, server).enter("ann", "#den")
    dora = tab(browser, server).enter("dora", "#den")
    dora.box.fill("half a line")
    ann.say("/kick dora noisy")
    dora.expect("You are in no room now.")
    for _ in range(2):
        refused(dora, "half a line", "That works only in a room.")
    dora.page.evaluate("() => { app.composer.put(`one\\n\\n/two`); app.composer.send(); }")
    assert dora.box.input_value() == "one\n\n/two"
    dora.say("/set joins off")
    dora.expect("joins is off now.")
    assert dora.box.input_value() == ""


def test_a_text_that_the_server_refuses_comes_back_into_the_box_of_its_room(start_process, tab, cable, browser):
    server = start_process()
    tab(browser, server).enter("ann", "#den").say("/room slow 600")
    slow = cable(server)
    dora = tab(browser, slow).enter("dora", "#den")
    dora.say("/msg ghost", "/join #den")  # a conversation with somebody who is not here any more
    dora.say("first")
    dora.firm()
    for line in ("second", "/me acts", "//third", "/msg ghost a text", "/reply a text"):
        refused(dora, line, "Nobody" if " a text" in line else "slow")
    slow.pause()
    dora.say("again", "/msg ghost waits")
    dora.box.fill("half a li")
    slow.go_on()
    for text, line in (("again", "again"), ("waits", "/msg ghost waits")):
        row = dora.log.locator("li.refused", has_text=text)
        row.get_by_role("button", name="Take it back").click()
        assert dora.box.input_value() == line
    assert dora.page.evaluate("() => app.outbox.items.length") == 0
    slow.pause()
    dora.say("/msg ghost from the den", "/join #new")
    slow.go_on()
    dora.until("() => app.chat.shown.name === '#new'")
    assert dora.box.input_value() == ""  # this is another room
    dora.page.get_by_role("navigation", name="Rooms").get_by_role("button", name="#den").click()
    dora.log.locator("li.refused").get_by_role("button", name="Take it back").click()
    assert dora.box.input_value() == "/msg ghost from the den"
    slow.pause()
    dora.say("more for the den", "/join #new")
    slow.go_on()
    dora.until("() => app.chat.room('#den').draft === 'more for the den'")
    assert dora.box.input_value() == ""


def test_what_waits_names_its_room_where_it_is_seen_in_another_one(start_process, tab, cable, browser):
    server = start_process()
    slow = cable(server)
    ann = tab(browser, server).enter("ann", "#den")
    ann.say("/room slow 600")
    dora = tab(browser, slow).enter("dora", "#den")
    dora.say("first")
    dora.firm()
    slow.pause()
    dora.say("second")
    dora.box.fill("begun")
    slow.go_on()
    dora.expect("second").get_by_role("button", name="Take it back").wait_for()
    ann.say("/kick dora")
    dora.expect("You are in no room now.")
    dora.box.fill("")
    dora.say("/msg ann")
    assert "For #den: " in dora.expect("second").inner_text()
    assert dora.page.get_by_text("This is the beginning of your conversation with ann.").is_visible()


def test_the_end_of_the_conversation_and_the_reason_stay_in_view_however_tall_the_box_is(serve, connect, tab, browser):
    server = serve()
    pia = connect(server, "pia")
    for number in range(60):
        pia.say("#lobby", f"line {number}")
    carl = tab(browser, server, **DESKTOP).enter("carl")
    carl.expect("line 59")
    for text in ("x" * 2100, "a b " * 600):
        row = refused(carl, text, "A message has at most 2000 characters.")
        assert row.evaluate(SEEN)
    carl.box.fill("")
    for _ in range(10):
        carl.box.press("Shift+Enter")
    pia.say("#lobby", "said meanwhile")
    assert carl.expect("said meanwhile").evaluate(SEEN)
    assert carl.page.locator("#to-end").is_hidden()
    carl.page.get_by_role("region", name="Conversation").evaluate("(it) => { it.scrollTop = 0; }")
    carl.page.get_by_role("button", name="Newest").wait_for()
    row = refused(carl, "y" * 2100, "A message has at most 2000 characters.")
    assert row.evaluate(SEEN)


def test_commands_of_a_terminal_and_of_the_page_itself_are_answered(start_process, tab, browser):
    server = start_process()
    carl = tab(browser, server).enter("carl")
    for line in ("/edit", "/edit on", "/EDIT off"):
        carl.say(line)
    carl.until("() => app.chat.shown.rows.filter((row) => row.text === '/edit works in a terminal only.').length === 3")
    carl.say("/goto", "/goto 3", "/goto #lobby x")
    carl.until("() => app.chat.shown.rows.filter((row) => /no command .goto/.test(row.text)).length === 3")
    assert carl.box.input_value() == ""


def test_a_private_line_is_seen_where_it_was_typed(start_process, tab, cable, browser):
    server = start_process()
    joe = tab(browser, server).enter("joe")
    slow = cable(server)
    dora = tab(browser, slow).enter("dora")
    slow.pause()
    dora.say("/msg joe a private line")
    assert "waiting to reach joe" in dora.expect("a private line").inner_text()
    slow.go_on()
    dora.firm()
    dora.expect("To joe: a private line").get_by_role("button", name="/msg joe").click()
    dora.until("() => app.chat.shown.peer === 'joe'")
    assert dora.said() == ["a private line"]
    dora.say("here")
    dora.until("() => document.querySelectorAll('.row.message').length === 2")
    assert dora.log.locator("li", has_text="To joe").count() == 0
    joe.until("() => app.chat.rooms.get('@dora').rows.length === 2")


def test_the_lobby_cannot_be_deleted_and_so_is_not_offered(start_process, tab, chromium):
    ann = tab(chromium, start_process()).enter("ann", "#den")
    ann.say("/join #lobby")
    for room, offered in (("#den", 1), ("#lobby", 0)):
        ann.page.get_by_role("navigation", name="Rooms").get_by_role("button", name=room).click()
        ann.page.locator("#about", has_text=room).click()
        ann.page.get_by_role("button", name="Leave the room").wait_for()
        assert ann.page.get_by_role("button", name="Delete the room").count() == offered
        ann.page.get_by_role("button", name="Close").click()
