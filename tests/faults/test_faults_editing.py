"""What one client can do to the server with the line editor: floods of keys, of sizes, and of changes of mind."""

from __future__ import annotations

import os
import pathlib
import select
import time

import pytest
from support.clients import Client
from support.servers import Process
from support.wellness import memory, needs_proc, staying_well

pytestmark = [pytest.mark.slow, needs_proc]

SECONDS = 3.0
SIZE = b"\xff\xfa\x1f\x00%c\x00%c\xff\xf0"
AGREES = b"\xff\xfd\x01\xff\xfd\x03"
REFUSES = b"\xff\xfe\x01\xff\xfe\x03"
FLOODS = {
    "keys": b"x\x1b[D\x1b[C\x1b[A\x1b[B\x17" * 200,
    "wide letters": "漢字".encode() * 600 + b"\x15",
    "Enter": b"\r" * 4000,
    "Tab": b"a\t\t\x15#\t\x15" * 400,
    "pastes": b"\x1b[200~" + b"line\n" * 500 + b"\x1b[201~\x15",
    "half sequences": b"\x1b[" + b"1;" * 2000,
    "sizes": b"".join(SIZE % (40 + n % 50, 10 + n % 7) for n in range(400)),
    "on and off": (b"/edit off\r" + REFUSES + b"/edit on\r" + AGREES) * 100,
    "redraws": b"\x0c" * 4000,
}


def used(process: Process) -> float:
    """Processor time of the server so far, in seconds."""
    fields = pathlib.Path(f"/proc/{process.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flood(client: Client, data: bytes) -> None:
    """Send it again and again for SECONDS seconds, and read what comes."""
    sock, left, end = client.sock, data, time.monotonic() + SECONDS
    sock.setblocking(False)
    while time.monotonic() < end:
        reading, writing, _ = select.select([sock], [sock], [], 0.1)
        if reading and not sock.recv(1 << 16):
            raise AssertionError("it was disconnected")
        if writing:
            left = left[sock.send(left) :] or data
        if not reading:
            select.select([sock], [], [], 0.01)


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_from_one_line_editor_costs_no_more_than_the_rate_allows(start_process, kind):
    process = start_process("--rate", "20")
    with staying_well(process), process.client("ann") as ann:
        for said, heard in (
            (b"/edit on\r\n", b"\xff\xfd\x18"),  # DO TERMINAL-TYPE
            (b"\xff\xfb\x1f" + SIZE % (80, 24) + b"\xff\xfc\x18", b"\xff\xfb\x03"),  # WILL SUPPRESS-GO-AHEAD
            (AGREES, b"\x1b[6n"),  # where is the cursor?
            (b"\x1b[12;1R", b"stays whole"),
        ):
            ann.send_bytes(said)
            while heard not in ann.buffer:
                ann.buffer += ann.sock.recv(1 << 16)
        size, before = memory(process), used(process)
        flood(ann, FLOODS[kind])
        taken = used(process) - before
        assert taken < 0.1 * SECONDS, f"{100 * taken / SECONDS:.1f} % of a processor"
        assert memory(process) < size + 10
