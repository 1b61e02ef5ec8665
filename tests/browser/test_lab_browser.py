"""The pages of --lab in real browsers: what the back row sees of a stuck thread, and of a message's trip."""

from __future__ import annotations

import re
import subprocess

import pytest
from support.browsers import DESKTOP, PHONE
from support.servers import needs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("waits_under_a_lock_on_purpose")]

CALM = "No lock keeps anybody waiting."


def end_faults(server) -> None:
    """End them as if their time were up."""
    for end in list(server.chat.faults._ends.values()):
        end.put(None)


def test_a_paused_publisher_is_drawn_with_its_holder_and_those_who_wait(serve, chromium, tab):
    server = serve(lab=True)
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("hello")
    opened = tab(chromium, server, **DESKTOP)
    page = opened.page
    under_way: set[object] = set()
    most: list[int] = []
    data = re.compile(r"\.json$")  # not the page itself, which may still be on its way
    page.on("request", lambda it: data.search(it.url) and (under_way.add(it), most.append(len(under_way))))
    page.on("requestfinished", lambda request: under_way.discard(request))
    page.on("requestfailed", lambda request: under_way.discard(request))
    opened.open("threads")
    page.get_by_text(CALM).wait_for()

    ann.send("/lab pause publisher 60")
    bob.expect("* ann holds the Publisher's lock for 60 s.")
    bob.send("hi")
    page.get_by_text("Publisher is held by lab-publisher, and 1 thread waits.").wait_for()
    bobs = f"reader-{server.chat.sessions.named('bob').number}"
    lock, reader = page.locator("[data-lock=Publisher]"), page.locator(f"[data-thread={bobs}]")
    assert "held by lab-publisher" in lock.inner_text()
    assert f"{bobs} waits" in lock.inner_text()
    assert reader.inner_text().startswith(f"{bobs} for bob\nwaits for Publisher")
    assert "holds the Publisher for 60 s" in page.locator("[data-thread=lab-publisher]").inner_text()
    assert [page.locator(f"#arrows .{kind}").count() for kind in ("waits", "holds")] == [1, 1]
    letters = page.evaluate("() => parseFloat(getComputedStyle(document.querySelector('.stuck .doing')).fontSize)")
    assert letters >= 20
    assert opened.width() <= 0

    end_faults(server)
    page.get_by_text(CALM).wait_for()
    ann.send("/lab pause history 60")
    bob.expect("* ann stops the history for 60 s.")
    bob.send("hi", "/leave")
    page.get_by_text("history is paused by /lab, and 1 thread waits for it.").wait_for()
    assert reader.inner_text().startswith(f"{bobs} for bob\nwaits for history")
    assert [page.locator(f"#arrows .{kind}").count() for kind in ("waits", "holds")] == [1, 1]
    end_faults(server)
    page.get_by_text(CALM).wait_for()
    assert max(most) == 1, "one request at a time"


def test_a_trip_is_a_timeline_of_the_newest_message_and_buttons_go_to_others(serve, firefox, tab):
    server = serve(lab=True)
    ann, bob = server.clients_named("ann", "bob")
    opened = tab(firefox, server, **{key: value for key, value in PHONE.items() if key != "is_mobile"})
    page = opened.page
    ann.send("one")
    bob.expect("ann: one")
    opened.open("trace")
    page.get_by_role("heading", name="Message 1 of #lobby, by ann").wait_for()
    bob.send("two")
    page.get_by_role("heading", name="Message 2 of #lobby, by bob").wait_for()
    assert page.locator("#stages .row").count() == 4
    page.get_by_text("Written to all within").wait_for()
    rows = page.locator("#members .row").all_inner_texts()
    assert sorted(row.split()[1] for row in rows) == ["ann", "bob"]
    assert all("queued" in row and "written" in row for row in rows)
    assert opened.width() <= 0

    page.get_by_role("button", name="Previous").click()
    page.get_by_role("heading", name="Message 1 of #lobby, by ann").wait_for()
    assert page.url == f"{opened.url}trace?room=lobby&number=1"
    opened.open("trace?room=%3Cimg%20src%3Dx%3E&number=2")
    page.get_by_text("A room's name is '#'").wait_for()
    assert page.locator("img").count() == 0


def test_the_page_of_the_code_can_be_scanned_from_the_screen(server, chromium, tab, tmp_path):
    for name, options in {"desktop": DESKTOP, "phone": PHONE, "dark": {**DESKTOP, "color_scheme": "dark"}}.items():
        opened = tab(chromium, server, **options)
        opened.open("qr")
        opened.page.screenshot(path=tmp_path / f"{name}.png")
        scan = [needs("zbarimg"), "-q", "--raw", tmp_path / f"{name}.png"]
        assert subprocess.run(scan, capture_output=True, text=True, check=True).stdout == f"{opened.url}\n"
        assert opened.width() <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_pages_beside_the_chat(serve, chromium, tab, scheme):
    server = serve(lab=True)
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("hello")
    opened = tab(chromium, server, **PHONE, color_scheme=scheme)
    found = {}
    for path, shown in {"qr": "svg", "trace": "#members .row"}.items():
        opened.open(path).page.locator(shown).first.wait_for()
        found[path] = opened.complaints()
    ann.send("/lab pause publisher 60")
    bob.expect("* ann holds the Publisher's lock for 60 s.")
    bob.send("hi")
    opened.open("threads").page.locator("li.stuck[data-thread]").wait_for()
    found["threads"] = opened.complaints()
    assert {where: each for where, each in found.items() if each} == {}
    end_faults(server)
