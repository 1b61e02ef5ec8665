"""Accounts in a browser: a password is typed into a field of its own, and kept nowhere."""

from __future__ import annotations

import threading

import pytest
from support.waiting import WAIT, wait_for

from chat_threads import accounts, passwords
from chat_threads.passwords import Password

pytestmark = pytest.mark.slow

SECRET = "correct horse"
KEPT = "() => JSON.stringify([{...sessionStorage}, {...localStorage}, document.body.innerText])"


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setattr(passwords, "COST", (16, 8, 1))


def fill(tab, **fields: str) -> None:
    """Fill in the fields of the open sheet, by their names, and send them."""
    for name, text in fields.items():
        tab.page.fill(f"#sheet input[name={name}]", text)
    tab.page.press("#sheet form input", "Enter")


def come(tab, name: str, password: str = "") -> None:
    """Enter the name and, if the page asks for it, the password."""
    tab.open()
    tab.page.fill("#name", name)
    tab.page.click("#enter button")
    tab.page.wait_for_selector("#secret:visible")
    tab.page.fill("#secret", password)
    tab.page.click("#enter button")


def test_a_name_is_registered_in_a_sheet_and_its_password_is_asked_for_on_entering(server, chromium, tab, cable):
    network = cable(server)
    ann = tab(chromium, network).enter("ann")
    ann.say("/register")
    fill(ann, password=SECRET, again="something else")
    ann.page.get_by_text("The two are not the same.").wait_for()
    network.cut()
    ann.until("() => !app.wire.ready")
    fill(ann, again=SECRET)
    ann.page.get_by_text("There is no connection now.").wait_for()
    network.mend()
    ann.until("() => app.wire.ready")
    fill(ann, again=SECRET)
    ann.expect("ann is yours now")
    ann.say("/register")
    ann.expect("ann has a password already, and you are logged in.")  # and no sheet opens
    assert "not encrypted" not in ann.page.inner_text("#log")  # it is, or the server is on this machine
    assert SECRET not in ann.page.evaluate(KEPT)
    ann.say("/quit")
    again = tab(chromium, server)
    come(again, "ann", "wrong password")
    again.until("() => document.getElementById('why').textContent.includes('not the password of ann')")
    again.page.fill("#secret", SECRET)
    again.page.click("#enter button")
    again.page.wait_for_selector("#text:visible")
    again.say("I am back")
    again.firm()
    assert SECRET not in again.page.evaluate(KEPT)
    assert again.page.input_value("#secret") == ""
    bob = tab(chromium, server).enter("bob")
    bob.say("/login")
    fill(bob, name="ann", password=SECRET)
    bob.expect("You are ann now.")
    bob.until("() => document.getElementById('my-name').textContent === 'ann'")
    assert bob.page.evaluate("() => app.chat.token") not in bob.page.inner_text("#log")
    bob.say("I am still myself")
    bob.firm()


def test_on_a_connection_that_others_can_read_the_page_says_so_before_a_password(server, chromium, tab, program):
    ann = program("ann", server)
    ann.send(type="register", password=SECRET)
    ann.expect("notice", name="ann")
    eve = tab(chromium, server)
    eve.page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    come(eve, "ann")
    eve.until("() => document.getElementById('why').textContent.includes('Not encrypted: others on the network can')")
    eve.page.fill("#name", "eve")
    eve.page.click("#enter button")
    eve.page.wait_for_selector("#text:visible")
    eve.say("/register")
    eve.page.get_by_text("Not encrypted: others on the network can").locator("visible=true").wait_for()


def test_whoever_waits_for_a_turn_at_passwords_is_told_and_comes_in(server, chromium, tab, program, monkeypatch):
    ann = program("ann", server)
    ann.send(type="register", password=SECRET)
    ann.expect("notice", name="ann")
    gate, matches, line = threading.Event(), Password.matches, server.chat.accounts.gate

    def slowly(self: Password, text: str) -> bool:
        assert gate.wait(WAIT)
        return matches(self, text)

    monkeypatch.setattr(Password, "matches", slowly)
    monkeypatch.setattr(accounts, "FAILURES", 100)
    for _ in range(6):
        other = program(None, server)
        other.send(type="hello", name="ann", password="wrong password")
    wait_for(lambda: len(line) == 4, "they wait")
    back = tab(chromium, server)
    come(back, "ann", SECRET)
    back.until("() => document.getElementById('why').textContent.includes('Please wait: 4 others')")
    gate.set()
    back.page.wait_for_selector("#text:visible")
