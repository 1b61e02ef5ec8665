"""Make the pictures of the page in docs/: python tests/browser/pictures.py [FOLDER]

It starts a server, lets people on telnet and in browsers talk, and takes a picture of a phone, of a desktop, and of a
dark phone. With pngquant in PATH the files become small.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from support.browsers import Tab, started
from support.servers import Process

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PHONE = {
    "viewport": {"width": 360, "height": 640},
    "device_scale_factor": 1.5,
    "is_mobile": True,
    "has_touch": True,
    "locale": "en-GB",
}
DESKTOP = {"viewport": {"width": 1000, "height": 560}, "locale": "en-GB"}


def talk(server: Process, carl: Tab) -> list[str]:
    """A conversation in #lab2, and a line elsewhere, while carl is in #lab2. Return what tess sees of it on telnet."""
    carl.enter("carl", "#lab2")
    carl.say("/join #lobby")
    rooms = carl.page.get_by_role("navigation", name="Rooms")
    rooms.get_by_role("button", name="#lobby").wait_for()
    rooms.get_by_role("button", name="#lab2").click()
    with server.client("tess") as tess, server.client("joe") as joe, server.client("ada") as ada:
        for each in (tess, joe):
            each.send("/join #lab2", "/leave #lobby")
            each.expect("You left #lobby")
        tess.ask("/topic Lab 2: deadlocks")
        tess.news()
        at = len(tess.seen)
        tess.ask("Mine hangs with 3 threads, never with 2. Is that a deadlock?")
        joe.ask("Type /threads: what do they wait for?")
        tess.ask("One waits for Publisher and holds History. The other one the other way round.")
        carl.say("Then take them in the same order everywhere:\n    with first, second:\n        move(message)")
        carl.firm()
        tess.ask("That was it. Thank you, carl!")
        ada.ask("Lecture at 10:15 in room 4. carl, can you bring the adapter?")
        carl.expect("Thank you")
        rooms.get_by_role("button", name="#lobby, 1 unread, 1 mention").wait_for()
        tess.news()
        return [line for line in tess.seen[at:] if "Pong" not in line]


def main(folder: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as temporary, started("chromium") as browser:
        server = Process(pathlib.Path(temporary) / "chat.db", "--rate", "0")
        tabs = {
            name: Tab(browser.new_context(**options).new_page(), f"http://127.0.0.1:{server.port}/")
            for name, options in {
                "desktop": DESKTOP,
                "phone": PHONE,
                "dark": {**PHONE, "color_scheme": "dark"},
            }.items()
        }
        print("\n".join(talk(server, tabs["desktop"])))
        for name in ("phone", "dark"):
            tabs[name].enter("mia" if name == "phone" else "noor", "#lab2")
            tabs[name].expect("Thank you")
            tabs[name].page.wait_for_timeout(600)
        for name, tab in tabs.items():
            tab.page.mouse.move(0, 0)
            path = folder / f"browser-{name}.png"
            tab.page.screenshot(path=path)
            if shutil.which("pngquant"):
                subprocess.run(["pngquant", "--force", "--skip-if-larger", "--output", path, "64", path], check=False)
            print(path, os.path.getsize(path))
        server.kill()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
