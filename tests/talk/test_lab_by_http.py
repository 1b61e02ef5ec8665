"""The pages of --lab and of the QR code over the port: what they are told while a thread is stuck."""

from __future__ import annotations

import contextlib
import http.client
import json

import pytest
from support.waiting import WAIT, wait_for

from chat_threads import qr

pytestmark = pytest.mark.usefixtures("waits_under_a_lock_on_purpose")


def get(server, path: str) -> tuple[int, str]:
    """The status and the text of an answer, on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_browser_sees_who_holds_the_publisher_and_who_waits_for_it(serve):
    server = serve(lab=True)
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("hello")
    ann.send("/lab pause publisher 60")
    bob.expect("* ann holds the Publisher's lock for 60 s.")
    bob.send("hi")

    def publisher():
        _, text = get(server, "/locks.json")
        return {row["lock"]: row for row in json.loads(text)["locks"]}["Publisher"]

    bobs = f"reader-{server.chat.sessions.named('bob').number}"
    wait_for(lambda: publisher().get("waiting") == [bobs])
    assert publisher()["holder"] == "lab-publisher"
    status, text = get(server, "/threads.json")
    threads = {row["thread"]: row for row in json.loads(text)["threads"]}
    assert (status, threads[bobs]["session"], threads["lab-publisher"]["role"]) == (200, "bob", "lab")
    status, text = get(server, "/trace.json?room=LOBBY")
    assert (status, json.loads(text)["number"], json.loads(text)["from"]) == (200, 1, "ann")
    assert get(server, "/trace.json?room=lobby&number=2") == (
        404, "There is no record of the trip of message 2 of #lobby.\n"
    )  # fmt: skip
    for path in ("/threads", "/trace"):
        assert get(server, path)[0] == 200
    server.chat.faults.stop(WAIT)


def test_the_page_of_the_code_is_there_without_lab_and_before_any_name(server):
    status, text = get(server, "/qr")
    url = f"http://127.0.0.1:{server.port}/"
    assert status == 200
    assert url in text
    assert text.count("h1v1h-1z") == "".join(qr.rows_of(url)).count("1")
