"""The chat in real browsers, beside telnet and programs; and what is not lost when the server or the network is."""

from __future__ import annotations

import re

import pictures
import pytest
from support.clients import said
from support.pages import README
from support.servers import free_port, stored
from support.waiting import wait_for

from chat_threads.receiver import GREETING_PAUSE

pytestmark = pytest.mark.slow


def test_two_browsers_a_telnet_and_a_program_see_the_same_lines_in_the_same_order(
    start_process, connect, tab, chromium, firefox
):
    server = start_process()
    carl, dora = tab(chromium, server).enter("carl"), tab(firefox, server).enter("dora")
    with server.client("tess") as tess:
        pia = connect(server, "pia")
        for number in range(5):
            carl.say(f"carl {number}")
            dora.say(f"dora {number}")
            tess.send(f"tess {number}")
            pia.say("#lobby", f"pia {number}")
        for each in (carl, dora):
            each.until("() => document.querySelectorAll('.row.message').length === 20")
            each.firm()
        tess.news()
        lines = [text for _, text in said(tess.seen)]
        assert len(lines) == 20
        assert lines == [message.text for message in pia.history("#lobby").messages]
        assert carl.said() == dora.said() == lines


def test_a_browser_with_tls_and_one_without_talk_to_each_other(start_process, certificate, tab, browser):
    server = start_process("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))
    carl, dora = tab(browser, server, secure=True).enter("carl"), tab(browser, server).enter("dora")
    carl.say("from https")
    dora.expect("from https")
    dora.say("from http")
    carl.expect("from http")


def test_what_is_written_while_the_server_is_down_arrives_once_and_in_order(start_process, tab, chromium, firefox):
    port = free_port()
    server = start_process(port=port)
    both = [tab(chromium, server).enter("carl"), tab(firefox, server).enter("dora")]
    for each in both:
        each.say("before")
        each.firm()
    for number in range(3):  # some of these are on their way when the server dies
        for each in both:
            each.say(f"at the end {number}")
    server.kill()
    for each in both:
        each.say(*(f"meanwhile {number}" for number in range(3)))
        each.expect("meanwhile 2")
    server = start_process(port=port, db=server.db)
    for each in both:
        each.firm()
    assert server.stop() == 0
    wanted = [
        "before",
        *(f"at the end {number}" for number in range(3)),
        *(f"meanwhile {number}" for number in range(3)),
    ]
    found = stored(server.db)
    for name in ("carl", "dora"):
        assert [text for _, sender, text in found if sender == name] == wanted


def test_what_is_written_offline_arrives_once_and_what_others_said_is_there(start_process, tab, cable, browser):
    server = start_process()
    network = cable(server)
    carl = tab(browser, network).enter("carl")
    carl.say("before")
    carl.firm()
    with server.client("tess") as tess:
        for _ in range(2):
            network.cut()
            carl.until("() => app.wire.state !== 'open'")
            assert "what you write waits" in carl.page.get_by_role("status").inner_text()
            carl.say("written offline", "and more")
            tess.send("said meanwhile")
            tess.expect("said meanwhile")
            network.mend()
            carl.firm()
        tess.news()
        lines = [text for _, text in said(tess.ask("/history 20"))]
    assert lines == ["before", *["said meanwhile", "written offline", "and more"] * 2]
    wait_for(lambda: carl.said() == lines)


def test_a_browser_that_is_switched_offline_comes_back_at_once(start_process, tab, chromium):
    server = start_process()
    carl = tab(chromium, server).enter("carl")
    carl.say("/away " + "b" * 70_000)  # no message to the server may have as much
    carl.page.context.set_offline(True)
    lines = [f"{number} {'é' * 1990}" for number in range(18)]  # nor as much as these together
    carl.say(*lines)
    carl.page.context.set_offline(False)
    carl.firm()
    assert carl.said() == lines
    assert server.stop() == 0
    assert [text for _, _, text in stored(server.db)] == lines


def test_two_tabs_with_the_same_storage_do_not_replace_each_other_for_ever(start_process, tab, browser):
    server = start_process()
    first = tab(browser, server).enter("carl")
    first.say("before")
    first.firm()
    first.until('() => Object.values(sessionStorage).some((each) => /"token":"[^"]/.test(each))')
    with first.page.expect_popup() as opened:
        first.page.evaluate("() => { window.other = open(location.href) }")
    second = first.beside(opened.value)
    first.page.get_by_role("dialog", name="Open somewhere else").wait_for()
    second.expect("before")
    for event in ("online", "pageshow"):
        first.page.evaluate("(event) => { dispatchEvent(new Event(event)) }", event)
    second.say("from the second")
    second.firm()
    assert first.page.evaluate("() => app.wire.state") == "stopped"
    assert second.page.evaluate("() => app.wire.state") == "open"
    first.page.get_by_role("button", name="Continue here").click()
    first.expect("from the second")
    second.page.get_by_role("dialog", name="Open somewhere else").wait_for()


def test_a_page_whose_place_is_taken_tries_again_until_it_is_free(start_process, tab, cable, chromium, tmp_path):
    port = free_port()
    server = start_process("--max-clients", "1", port=port)
    network = cable(server)
    carl = tab(chromium, network).enter("carl")
    network.cut()
    carl.until("() => !app.wire.ready")
    carl.say("written meanwhile")
    server.kill()
    server = start_process("--max-clients", "1", port=port, db=tmp_path / "new.db")  # it knows no token
    with server.client("tess"):
        network.mend()
        carl.page.evaluate("() => app.wire.hurry()")
        carl.page.get_by_role("status").get_by_text("full").wait_for()
    carl.firm()
    assert carl.said() == ["written meanwhile"]


def test_a_line_after_join_or_create_is_said_in_the_new_room_though_the_answer_is_late(
    start_process, connect, tab, cable, browser
):
    server = start_process()
    dora, slow = tab(browser, server).enter("dora"), cable(server)
    dora.say("/create #open", "/create #shut", "/room invite-only")
    dora.expect("dora closed #shut")
    carl = tab(browser, slow).enter("carl")
    slow.pause()
    carl.say("/create #own About locks", "in own", "/join #open", "in open", "/topic Open", "/join #shut", "in shut")
    slow.go_on()
    row = carl.expect("in shut")  # it went nowhere, and can be taken back
    row.get_by_role("button", name="Take it back").wait_for()
    carl.until("() => app.outbox.items.length === 1")
    carl.until("() => app.chat.room('#open').topic === 'Open' && app.chat.shown.name === '#open'")
    pia = connect(server, "pia")
    said = {room: [message.text for message in pia.history(room).messages] for room in ("#lobby", "#own", "#open")}
    assert said == {"#lobby": [], "#own": ["in own"], "#open": ["in open"]}
    assert dora.said() == []


def test_what_was_begun_after_join_goes_with_it_into_the_new_room(start_process, tab, cable, browser):
    server = start_process()
    tab(browser, server).enter("dora").say("/create #open")
    slow = cable(server)
    carl = tab(browser, slow).enter("carl")
    slow.pause()
    carl.say("/join #open")
    carl.box.fill("half a li")
    slow.go_on()
    carl.until("() => app.chat.shown.name === '#open'")
    assert carl.box.input_value() == "half a li"
    assert carl.page.evaluate("() => app.chat.room('#lobby').draft") == ""
    carl.box.fill("")
    slow.cut()
    carl.until("() => !app.wire.ready")
    carl.say("/leave #open", "/join #next", "in next", "/join #open", "in open")
    slow.mend()
    carl.expect("in open")
    carl.firm()
    assert carl.page.evaluate("() => ['#next', '#open'].map((room) => app.chat.room(room).rows.at(-1).text)") == [
        "in next",
        "in open",
    ]


def test_whoever_is_sent_out_is_told_by_whom_and_why_and_sees_every_answer(start_process, tab, browser):
    server = start_process()
    ann = tab(browser, server).enter("ann")
    ann.say("/create #lab", "/join #lobby")
    xena, yuri = tab(browser, server).enter("xena", "#lab"), tab(browser, server).enter("yuri")
    yuri.say("/join #lab", "hi")
    yuri.firm()
    yuri.box.fill("half a li")
    ann.say("/join #lab", "/mute xena 10m be kind", "/kick xena too loud", "/ban yuri 2h bye")
    xena.expect("ann sent xena out of #lab for a minute: too loud")
    xena.expect("You left #lab. You are in no room now.")
    xena.say("/join #lab", "hello?", "/bans", "/bans #lab")
    xena.expect("You were sent out of #lab (too loud).")
    assert len(xena.log.locator("li", has_text="That works only in a room. Choose one first.").all()) == 2
    xena.until("() => document.querySelectorAll('#log .error').length === 4")  # /bans #lab has the answer of /join
    yuri.expect("ann banned yuri from #lab for 2 hours: bye")
    assert yuri.box.input_value() == "half a li"  # and it is said in no other room
    yuri.box.fill("")
    yuri.page.get_by_role("navigation", name="Rooms").get_by_role("button", name="#lobby").click()
    ann.expect("ann muted xena in #lab for 10 minutes: be kind")
    ann.say("/bans", "/room", "/whois xena")
    ann.expect("yuri: banned for 2 hours more, by ann: bye")
    ann.expect("It was made by ann")
    ann.expect("xena is in no room that you can see.")
    yuri.say("/create #mine", "/leave")
    yuri.expect("You left #mine. This is #lobby.")


def test_no_word_no_setting_and_no_address_takes_the_page_out_of_the_chat(start_process, tab, cable, browser):
    network = cable(start_process())
    carl, words = tab(browser, network).enter("carl"), ["constructor is a word", "toString", "__proto__"]
    carl.say("/set replay 201", "/set constructor x", *words)
    carl.firm()
    assert carl.said() == words
    carl.say("/msg nobody hi", "/reply hi")
    carl.expect("Nobody here is called nobody")
    carl.expect("Nobody has sent you a private line")
    carl.until("() => !app.outbox.items.length")
    carl.page.evaluate("() => { location.hash = '%FF' }")
    carl.page.reload()
    carl.expect(words[-1])
    with tab(browser, network).enter("dora").page:
        carl.say("/ignore dora")
        for _ in range(3):
            carl.until("() => app.wire.ready && !app.outbox.items.length && app.chat.ignored.length === 1")
            network.cut()
            carl.until("() => !app.wire.ready")
            network.mend()
            carl.page.evaluate("() => app.wire.hurry()")


def test_the_conversation_in_the_readme_is_what_a_telnet_beside_a_browser_shows(start_process, tab, chromium):
    server = start_process("--rate", "0")
    seen = pictures.talk(server, tab(chromium, server, **pictures.DESKTOP))
    assert len(seen) == 7
    shown = re.findall(r"^    (?:\[\d\d:\d\d\] (?=\w+: )|(?=  \| ))(.*)$", README, re.MULTILINE)
    assert [re.sub(r"^\[.*?\] ", "", line) for line in seen] == shown[-7:]


def test_a_request_that_comes_late_is_answered_on_the_port_for_browsers(serve, tab, cable, browser):
    late = cable(serve(web_port=0).chat.web_address[1], late=3 * GREETING_PAUSE)
    page = tab(browser, late).page
    page.goto(f"http://127.0.0.1:{late.port}/")
    page.get_by_label("Your name").wait_for()
