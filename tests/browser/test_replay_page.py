"""The page that lab.py replay --html writes, in a real browser: with the keyboard, read aloud, and on paper."""

from __future__ import annotations

import pytest
from lab_page import page_of
from lab_story import story_of
from support.browsers import DESKTOP, PHONE, Tab

pytestmark = pytest.mark.slow

HOSTILE = "</script><img src=x onerror=document.title='broken'>"
RUN = {
    "check": "test_it",
    "text": "ann and bob count.\n\nHow the threads took turns, each row a line of code:",
    "fault": f"It is 1. {HOSTILE}",
    "threads": ["ann", "אבי", HOSTILE],
    "steps": [
        [0, "line", 3, f'text = "{HOSTILE}"'],
        [0, "line", 4, "self._count += one()"],
        [0, "stopped", 0, "stopped before it changes self._count"],
        [1, "line", 4, "self._count += 1"],
        [1, "value", 0, "self._count = 1"],
        [1, "note", 0, "ends"],
        [0, "goes on", 4, "self._count += 1"],
        [0, "value", 0, f"self._count = '{HOSTILE}'"],
        [2, "note", 0, "ends"],
    ],
    "values": {"self._count": "0"},
    "schedule": "free ann, bob",
    "free": True,
}


def test_the_page_is_stepped_through_with_the_keyboard_and_read_aloud(chromium, tmp_path):
    file = tmp_path / "run.html"
    file.write_text(page_of(story_of(RUN), "Lab 3, check 1", f"lab.py replay {HOSTILE}"), encoding="utf-8")
    context = chromium.new_context(**DESKTOP, offline=True)
    page = context.new_page()
    faults: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    said, states = page.locator("#said"), page.locator(".state.shown")
    current = page.locator("[aria-current=step] th")

    def at(number: int) -> bool:
        shown = (current.inner_text(), said.inner_text().split(".")[0])
        return shown == (str(number), f"Step {number} of 5") and states.count() == 1

    assert at(1)
    for key, number in (("n", 2), ("ArrowRight", 3), (" ", 4), ("p", 3), ("End", 5), ("Home", 1), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        assert at(number), (key, said.inner_text())
    page.keyboard.press("g")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    assert at(2)
    assert "ann, line 4: self._count += one(). " in said.inner_text()
    assert "ann is stopped before it changes self._count; אבי has the turn now" in said.inner_text()
    assert "Stopped: ann is stopped" in page.locator("#step-2").inner_text()
    page.keyboard.press("Shift+Tab")  # to the button before the number
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press(" ")
    assert at(3)
    assert "self._count = 1 changed" in states.inner_text()
    page.get_by_role("button", name="Last").click()
    assert at(5)
    assert "This was the last step. It is 1." in said.inner_text()
    assert said.get_attribute("aria-live") == "polite"
    assert page.locator("img").count() == 0
    assert page.title() == "Lab 3, check 1"
    page.emulate_media(media="print")
    assert page.locator("tbody tr").all_inner_texts()[4].startswith("5")
    assert not page.locator("#now").is_visible()
    assert page.get_by_text("Shared values at the beginning").is_visible()
    context.close()
    assert faults == []
    assert asked == [file.as_uri()]

    phone = chromium.new_context(**PHONE, color_scheme="dark")
    page = phone.new_page()
    page.goto(file.as_uri())
    page.keyboard.press("End")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator("#said").is_visible()
    complaints = [Tab(page, file.as_uri()).complaints()]
    page.emulate_media(color_scheme="light")
    complaints.append(Tab(page, file.as_uri()).complaints())
    phone.close()
    assert complaints == [[], []]
