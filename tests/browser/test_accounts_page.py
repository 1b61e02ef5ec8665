"""Accounts in a browser: a password is typed into a field of its own, and kept nowhere."""

from __future__ import annotations

import pytest

from chat_threads import passwords

pytestmark = pytest.mark.slow

SECRET = "correct horse"


def test_a_name_is_registered_in_a_sheet_and_its_password_is_asked_for_on_entering(server, chromium, tab, monkeypatch):
    monkeypatch.setattr(passwords, "COST", (16, 8, 1))
    ann = tab(chromium, server).enter("ann")
    ann.say("/register")
    field = ann.page.locator("#sheet input[type=password]")
    field.fill(SECRET)
    field.press("Enter")
    ann.expect("ann is yours now")
    kept = "() => JSON.stringify([{...sessionStorage}, {...localStorage}, document.body.innerText])"
    assert SECRET not in ann.page.evaluate(kept)
    ann.say("/quit")
    again = tab(chromium, server).open()
    again.page.fill("#name", "ann")
    again.page.click("#enter button")
    again.page.wait_for_selector("#secret:visible")
    again.page.fill("#secret", "wrong password")
    again.page.click("#enter button")
    again.until("() => document.getElementById('why').textContent.includes('not the password of ann')")
    again.page.fill("#secret", SECRET)
    again.page.click("#enter button")
    again.page.wait_for_selector("#text:visible")
    again.say("I am back")
    again.firm()
    assert SECRET not in again.page.evaluate(kept)
    assert again.page.input_value("#secret") == ""
