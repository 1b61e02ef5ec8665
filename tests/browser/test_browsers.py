"""The chat in real browsers, beside telnet and programs."""

from __future__ import annotations

import pytest
from support.clients import said
from support.waiting import wait_for

pytestmark = pytest.mark.slow


def test_two_browsers_a_telnet_and_a_program_see_the_same_lines_in_the_same_order(
    start_process, connect, tab, chromium, firefox
) -> None:
    server = start_process()
    carl, dora = tab(chromium, server).enter("carl"), tab(firefox, server).enter("dora")
    with server.client("tess") as tess:
        pia = connect(server, "pia")
        for number in range(5):
            carl.say(f"carl {number}")
            dora.say(f"dora {number}")
            tess.send(f"tess {number}")
            pia.say(f"pia {number}")
        tess.send("the end")
        tess.expect("the end")
        for each in (carl, dora):
            each.expect("the end")
            each.firm()
        wait_for(lambda: len(carl.said()) == len(dora.said()) == 21)
        lines = [text for _, text in said(tess.ask("/history 21"))]
        assert len(lines) == 21
        assert carl.said() == dora.said() == lines
