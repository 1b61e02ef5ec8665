"""Phones, keyboards, input methods and screen readers."""

from __future__ import annotations

import pytest
from support.browsers import DESKTOP, PHONE
from support.waiting import wait_for

pytestmark = pytest.mark.slow


def test_nothing_is_wider_than_the_window_from_320_to_1600_pixels(server, tab, chromium):
    carl = tab(chromium, server, **PHONE)
    wide, sizes = [], (320, 360, 412, 600, 768, 1024, 1280, 1600)

    def look(where: str) -> None:
        for width in sizes:
            carl.page.set_viewport_size({"width": width, "height": 640})
            if carl.width() > 0:
                wide.append(f"{where} at {width}: {carl.width()}")

    carl.open()
    look("entry")
    carl.enter("carl", "#" + "w" * 31)
    server.client("tess").send("/join #" + "w" * 31, "w" * 500, "/topic " + "w" * 150, "    code  " + "1 " * 300)
    carl.expect("code")
    carl.say("/help", "/rooms", "/stats", "/who")
    carl.firm()
    look("chat")
    carl.page.set_viewport_size(PHONE["viewport"])
    for button in ("Rooms", "People", "Search"):
        carl.page.get_by_role("button", name=button).first.tap()
        carl.page.wait_for_timeout(0)
        look(button)
        carl.page.set_viewport_size(PHONE["viewport"])
        carl.page.keyboard.press("Escape")
    assert wide == []


def test_on_a_phone_a_tap_sends_and_the_keyboard_stays_and_does_not_pop_up_by_itself(server, tab, chromium):
    carl = tab(chromium, server, **PHONE).enter("carl")
    assert not carl.box.evaluate("(box) => box === document.activeElement")
    carl.box.tap()
    carl.box.type("by a tap")
    carl.page.get_by_role("button", name="Send").tap()
    carl.expect("by a tap")
    assert carl.box.evaluate("(box) => box === document.activeElement")
    for each in carl.page.locator("input, textarea").all():  # iOS zooms into smaller letters
        assert each.evaluate("(it) => parseFloat(getComputedStyle(it).fontSize)") >= 16
    carl.page.get_by_role("button", name="Rooms").tap()
    carl.page.get_by_role("navigation", name="Rooms").get_by_role("button", name="#lobby", exact=True).tap()
    assert not carl.box.evaluate("(box) => box === document.activeElement")


def test_enter_sends_and_shift_enter_breaks_the_line_and_neither_does_while_an_input_method_composes(
    server, tab, chromium
):
    carl = tab(chromium, server, **DESKTOP).enter("carl")
    tess = server.client("tess")
    cdp = carl.page.context.new_cdp_session(carl.page)
    carl.box.click()
    cdp.send("Input.imeSetComposition", {"text": "にほ", "selectionStart": 2, "selectionEnd": 2})
    cdp.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", "key": "Enter", "windowsVirtualKeyCode": 229})
    assert carl.box.input_value() == "にほ"
    cdp.send("Input.insertText", {"text": "日本"})
    assert carl.box.input_value() == "日本"
    carl.page.keyboard.press("Enter")
    tess.expect("] carl: 日本")
    assert carl.box.input_value() == ""
    carl.box.press("a")
    carl.box.press("Shift+Enter")
    carl.box.press("b")
    assert carl.box.input_value() == "a\nb"
    carl.box.press("Enter")
    tess.expect("] carl: a")
    assert tess.line() == "  | b"
    carl.say("\n\nfor x in y:\n\tgo(x)\n\n* tess left\n", "/msg tess one\n  two", "\n".join(["x"] * 50))
    tess.expect("] carl: for x in y:")
    assert [tess.line() for _ in range(3)] == ["  |     go(x)", "  | ", "  | * tess left"]
    tess.expect("] carl -> you: one")
    assert tess.line() == "  |   two"
    tess.expect("] carl: x")
    tess.expect("] carl: x")
    carl.firm()
    assert carl.said() == [
        "日本",
        "a\nb",
        "for x in y:\n    go(x)\n\n* tess left",
        *("\n".join("x" * n) for n in (40, 10)),
    ]


def test_the_keyboard_alone_reaches_everything(server, tab, chromium):
    carl = tab(chromium, server, **DESKTOP).open()
    press = carl.page.keyboard.press
    carl.page.keyboard.type("carl")
    press("Enter")
    carl.box.wait_for()
    carl.page.keyboard.type("by keys alone")
    press("Enter")
    carl.expect("by keys alone")
    server.client("tess").send("https://good.example/")
    carl.expect("good.example")
    reached: list[str] = []
    while reached.count("TEXTAREA") < 2:
        press("Tab")
        reached.append(carl.page.evaluate("() => (document.activeElement.reached = document.activeElement).tagName"))
    assert {"BUTTON", "TEXTAREA", "A"} <= set(reached)
    missed = carl.page.evaluate(
        "() => [...document.querySelectorAll('button, input, textarea, a[href], [tabindex=\"0\"]')]"
        ".filter((it) => it.checkVisibility({ visibilityProperty: true }) && !it.reached).map((it) => it.outerHTML)"
    )
    assert missed == []
    # A sheet opens by a key, holds the focus, and gives it back.
    search = carl.page.get_by_role("button", name="Search")
    search.focus()
    press("Enter")
    sheet = carl.page.get_by_role("dialog")
    sheet.wait_for()
    for _ in range(10):
        press("Tab")
        assert sheet.evaluate("(it) => it.contains(document.activeElement)")
    press("Escape")
    sheet.wait_for(state="hidden")
    assert search.evaluate("(it) => it === document.activeElement")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(server, tab, chromium, scheme):
    carl = tab(chromium, server, **PHONE, color_scheme=scheme).open()
    found = {"entry": carl.complaints()}
    carl.enter("carl")
    tess = server.client("tess")
    tess.send("hello carl", "see https://good.example/", "/away at lunch", "/msg carl psst")
    carl.expect("good.example")
    carl.say("/rooms", "/help", "/nonsense", "my own line")
    carl.firm()
    found["chat"] = carl.complaints()
    for button in ("Rooms", "People", "Search"):
        carl.page.get_by_role("button", name=button).first.tap()
        carl.page.evaluate("() => Promise.all(document.getAnimations().map((each) => each.finished))")
        found[button] = carl.complaints()
        carl.page.keyboard.press("Escape")
    assert {where: each for where, each in found.items() if each} == {}


def test_everything_that_people_can_do_has_a_place_to_tap(server, tab, chromium):
    carl = tab(chromium, server, **PHONE).enter("carl")
    page, sheet = carl.page, carl.page.get_by_role("dialog")
    tess = server.client("tess")

    def tap(*labels: str) -> None:
        for label in labels:
            page.get_by_role("button", name=label).and_(page.locator(":visible")).last.tap()

    def fill(label: str, text: str, button: str) -> None:
        form = sheet.locator("form").filter(has=page.get_by_label(label))
        form.get_by_label(label).fill(text)
        form.get_by_role("button", name=button).tap()

    tap("Rooms", "Join or create")
    fill("Create a room", "lab2", "Create")
    page.get_by_role("button", name="#lab2").first.wait_for()
    tap("#lab2")
    fill("Topic", "Deadlocks", "Set")
    tap("#lab2")
    fill("Invite", "tess", "Invite")
    tess.expect("carl invites you to #lab2")
    tess.send("/join #lab2", "the needle")
    carl.expect("the needle")
    assert "Deadlocks" in page.get_by_role("banner").or_(page.locator("header")).filter(visible=True).last.inner_text()
    tap("people", "tess", "Write privately")
    carl.box.fill("psst")
    tap("Send")
    tess.expect("psst")
    tap("Rooms", "#lab2", "Search")
    fill("Words", "needle", "Search")
    sheet.get_by_text("the needle").wait_for()
    tap("Close", "Rooms", "carl")
    fill("away", "at lunch", "I am away")
    wait_for(lambda: "at lunch" in "".join(tess.ask("/whois carl")))
    tap("Rooms", "carl", "I am back")
    wait_for(lambda: "at lunch" not in "".join(tess.ask("/whois carl")))
    tap("Rooms", "carl")
    fill("Your name", "carla", "Change")
    tess.expect("carl is carla now")
    tap("#lab2", "Leave the room")
    tess.expect("carla left")
    tap("Rooms", "carla", "Leave the chat")
    page.get_by_role("button", name="Enter", exact=True).wait_for()
