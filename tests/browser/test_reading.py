"""Reading in a browser: what stays in place, what is counted, and how much of the history a page holds."""

from __future__ import annotations

import pytest
from support.browsers import DESKTOP

pytestmark = pytest.mark.slow


def test_older_messages_come_without_a_jump_and_new_ones_do_not_move_what_is_read(serve, connect, tab, browser):
    server = serve()
    pia = connect(server, "pia")
    for number in range(1500):
        pia.say("#lobby", f"message {number + 1}")
    carl = tab(browser, server, **DESKTOP).enter("carl")
    carl.expect("message 1500")
    page, scroller = carl.page, carl.page.get_by_role("region", name="Conversation")
    numbers = "() => [...document.querySelectorAll('.row[data-number]')].map((row) => Number(row.dataset.number))"

    first = page.evaluate(numbers)[0]
    row = page.locator(f"[data-number='{first + 5}']")
    carl.until("() => !document.querySelector('#to-end:not([hidden])')")
    # The row that is read is at the same place before and after the older ones have come.
    scroller.evaluate("(it, row) => { it.scrollTop = row.offsetTop - 20; }", row.element_handle())
    before = carl.top_of(row)
    carl.until("(first) => Number(document.querySelector('.row[data-number]').dataset.number) < first", first)
    assert abs(carl.top_of(row) - before) <= 1
    # New messages do not move it either. A button counts them, and leads to the newest.
    for number in range(3):
        pia.say("#lobby", f"new {number}")
    page.get_by_role("button", name="3 new").wait_for()
    assert abs(carl.top_of(row) - before) <= 1
    page.get_by_role("button", name="3 new").click()
    carl.expect("new 2")
    carl.until("() => document.querySelector('#to-end').hidden")
    # Up to the beginning, the page holds about 1,000 rows.
    most = 0
    for _ in range(60):
        first = page.evaluate(numbers)[0]
        if first == 1:
            break
        scroller.evaluate("(it) => { it.scrollTop = 0; }")
        carl.until("(first) => Number(document.querySelector('.row[data-number]').dataset.number) < first", first)
        shown = page.evaluate(numbers)
        assert shown == list(range(shown[0], shown[0] + len(shown)))
        most = max(most, page.locator(".row").count())
    assert 900 < most < 1100
    assert page.evaluate(numbers)[0] == 1
    page.get_by_role("button", name="Newest").click()
    carl.expect("new 2")


def test_unread_messages_and_mentions_are_counted_and_read_where_they_begin(serve, tab, chromium):
    server = serve()
    carl = tab(chromium, server, **DESKTOP).enter("carl", "#lab2")
    carl.say("read already", "/join #lobby")
    rooms = carl.page.get_by_role("navigation", name="Rooms")
    rooms.get_by_role("button", name="#lobby", exact=True).wait_for()
    tess = server.client("tess")
    tess.ask("/join #lab2")
    tess.send("one", "carl: two", "carla is somebody else", "three", "/msg carl psst")
    rooms.get_by_role("button", name="#lab2, 4 unread, 1 mention").wait_for()
    rooms.get_by_role("button", name="tess, 1 unread").wait_for()
    carl.until("() => document.title.startsWith('(5) ')")
    rooms.get_by_role("button", name="#lab2, 4 unread, 1 mention").click()
    carl.expect("three")
    assert carl.log.locator(".row.mention").all_inner_texts()[0].endswith("carl: two")
    new = carl.log.get_by_text("New", exact=True)
    assert carl.top_of(carl.expect("read already")) < carl.top_of(new) < carl.top_of(carl.expect("one"))
    rooms.get_by_role("button", name="#lab2", exact=True).wait_for()
    rooms.get_by_role("button", name="tess, 1 unread").click()
    carl.expect("psst")
    carl.until("() => !document.title.startsWith('(')")


def test_a_hit_of_a_search_leads_into_the_history(serve, connect, tab, chromium):
    server = serve()
    pia = connect(server, "pia")
    for number in range(300):
        pia.say("#lobby", "the needle" if number == 20 else f"hay {number}")
    carl = tab(chromium, server, **DESKTOP).enter("carl")
    carl.expect("hay 299")
    carl.page.get_by_role("button", name="Search").click()
    carl.page.get_by_role("searchbox").fill("needle")
    carl.page.get_by_role("searchbox").press("Enter")
    carl.page.get_by_role("dialog").get_by_role("button", name="the needle").click()
    row = carl.expect("the needle")
    assert 0 < carl.top_of(row) < DESKTOP["viewport"]["height"]
    carl.expect("hay 40")
