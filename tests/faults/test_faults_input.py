"""Input that no person types: too long, too much, not text, harmful to a terminal, of another protocol.

A witness is in the same room throughout. At the end, the tests search its output and the log for characters that must
never reach a terminal.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import random
import re
import select
import socket
import ssl
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytest
from support.clients import ASKED, Client, Program
from support.hostile import hostile
from support.servers import Process
from support.waiting import WAIT, in_threads
from support.wellness import Canary, memory, needs_proc, staying_well

from chat_threads.dialects.recognise import recognise, without_blanks
from chat_threads.disconnects import NotChat
from chat_threads.rules import TAB

pytestmark = [pytest.mark.slow, needs_proc]

IAC, SE, SB, WILL, WONT, DO, DONT, IP, AYT, EC, EL, NOP, DM = (
    255,
    240,
    250,
    251,
    252,
    253,
    254,
    244,
    246,
    247,
    248,
    241,
    242,
)
TIMING_MARK = 6
MB = 1_000_000

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
SEQUENCES = [
    "\x1b[2J",  # clears the screen
    "\x1b[6n",  # makes the terminal type
    "\x1b]0;owned\x07",  # OSC: the window's title
    "\x1b]52;c;b3duZWQ=\x07",  # OSC: the clipboard
    "\x1bP$q\x1b\\",  # DCS
    "\x9b2J",  # the same with C1 characters
    "\x9d0;owned\x9c",
    "\x90$q\x9c",
]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
ZERO_WIDTH = list("\u180e\u200b\u2060\ufeff")
LINE_ENDS = list("\u0085\u2028\u2029\x0b\x0c\x1c\x1d\x1e")  # str.splitlines splits at them
BLANKS = "\n\x0b\x0c\r\x85\u2028\u2029"  # shown as a space
HARMFUL = [*CONTROLS, *SEQUENCES, *BIDI, *ZERO_WIDTH, *LINE_ENDS]


def harmful(char: str) -> bool:
    return (
        unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or char in BIDI
        or char in ZERO_WIDTH
    )


def harmless(text: str) -> str:
    """The text without its escape sequences and harmful characters; the end of a line becomes a blank, a tab more."""
    for sequence in SEQUENCES:
        text = text.replace(sequence, "")
    text = "".join(" " if char in BLANKS else char for char in text).expandtabs(TAB)
    return "".join(char for char in text if not harmful(char))


def harms(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if any(map(harmful, line))]


@dataclass
class Scene:
    """A server under attack. The witness, a person on a terminal, is in #lobby; nobody else is, to begin with."""

    process: Process
    witness: Client
    canary: Canary

    @property
    def port(self) -> int:
        return self.process.port

    def said(self, by: str, texts: list[str]) -> None:
        """The witness is shown these texts of somebody next, and no others."""
        for text in texts:
            line = self.witness.expect(f" {by}: ")
            assert line.partition(f" {by}: ")[2] == text

    def still_talks(self, attacker: Client, name: str) -> None:
        """The attacker can still talk, and the witness sees it."""
        attacker.send("still here")
        attacker.expect(f"{name}: still here")
        self.said(name, ["still here"])


@pytest.fixture
def attacked(start_process, tmp_path) -> Callable[..., contextlib.AbstractContextManager[Scene]]:
    """with attacked(options…) as scene: the server has to stay well, and nothing harmful is to be seen."""

    @contextlib.contextmanager
    def attacked(*options: str) -> Iterator[Scene]:
        log = tmp_path / "log"
        process = start_process("--rate", "0", "--log-level", "debug", "--log-file", str(log), *options)
        with staying_well(process) as canary:
            with Client(process.port, "witness") as witness:
                yield Scene(process, witness, canary)
                for question in ("/who", "/who #lobby", "/rooms", "/history 200", "/topic"):
                    witness.ask(question)
                assert harms(witness.seen) == []
        logged = log.read_bytes().decode()
        assert harms(logged.split("\n")) == []
        assert re.search(r"session 3 \(witness\).* is admitted", logged)
        assert "Traceback" not in logged

    return attacked


# --- too long, too much ---------------------------------------------------------------------------------


def test_ten_megabytes_without_a_newline_are_not_kept_and_get_one_error(attacked):
    """As a name, as a text, as a program's hello and as its request."""
    with attacked() as scene:
        before = memory(scene.process)
        for first in (b"", b"attacker\n", b"{", b'{"type":"hello","name":"attacker"}\n{'):
            with Client(scene.port) as attacker:
                attacker.line()
                attacker.send_bytes(first)
                most = 0
                for _ in range(10):
                    attacker.send_bytes(b"x" * MB)
                    most = max(most, memory(scene.process))
                assert most < before + 5
                attacker.send_bytes(b'"}\n')
                attacker.sock.shutdown(socket.SHUT_WR)
                data = attacker.buffer
                while more := attacker.sock.recv(65536):
                    data += more
                assert data.count(b"too_long" if b"{" in first else b"! A line has at most 8192 bytes.") == 1


def test_ten_thousand_lines_in_one_packet_come_in_order_and_no_faster_than_the_rate(attacked):
    rate, burst, count = 4000, 100, 10_000
    with attacked("--rate", str(rate), "--burst", str(burst)) as scene, Client(scene.port, "attacker") as attacker:
        packet = b"".join(b"%d\n" % number for number in range(count))
        assert len(packet) < 65_536
        began = time.monotonic()
        assert attacker.sock.send(packet) == len(packet)
        reading = threading.Thread(target=attacker.expect, args=(f"attacker: {count - 1}",))
        reading.start()
        scene.said("attacker", [str(number) for number in range(count)])
        took = time.monotonic() - began
        reading.join(WAIT)
        assert took > (count - burst) / rate - 0.05


# --- not text ------------------------------------------------------------------------------------------

NOT_UTF8 = {
    "a byte that never is": b"\xff",
    "Latin-1": b"gr\xfc\xdfe",
    "a lone continuation": b"\x80",
    "a cut character": b"\xe2\x82",
    "an overlong slash": b"\xc0\xaf",
    "an overlong slash in three": b"\xe0\x80\xaf",
    "an overlong NUL": b"\xc0\x80",
    "an overlong ESC": b"\xc1\x9b",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
}
LINES = [
    b"%s",
    b"/me %s",
    b"/msg witness %s",
    b"/topic %s",
    b"/join #a%s",
    b"/create #a%s",
    b"/nick a%s",
    b"/away %s",
    b"/%s",
]


def test_invalid_utf8_overlong_forms_and_surrogates_get_errors_and_nobody_sees_them(attacked):
    with attacked() as scene, Client(scene.port, "attacker") as attacker:
        for line, bad in itertools.product(LINES, NOT_UTF8.values()):
            attacker.send_bytes(line % bad.replace(b"\xff", b"\xff\xff") + b"\r\n")
        told = [line.removeprefix("\r\0") for line in attacker.ask("")]
        assert {line[:2] for line in told} == {"! "}
        refused = [line for line in told if line.startswith("! That line is not UTF-8, so it was not sent.")]
        assert len(refused) == len(LINES) * len(NOT_UTF8)
        for bad in NOT_UTF8.values():
            with Client(scene.port) as nameless:
                nameless.send_bytes(b"a" + bad.replace(b"\xff", b"\xff\xff") + b"\r\n")
                nameless.expect("! That line is not UTF-8")
        with contextlib.closing(Program(scene.port)) as program:
            program.send(type="hello", name="program")
            program.expect("joined")
            for bad in NOT_UTF8.values():
                program.sock.sendall(b'{"type":"say","text":"a%s"}\n' % bad)
                assert program.expect("error")["code"] == "not_utf8"
            for half in (r"\ud800", r"\udfff", r"\ude00\ud83d"):
                program.sock.sendall(b'{"type":"say","text":"a%s"}\n' % half.encode())
                assert program.expect("error")["code"] == "bad_json"
        assert [line for line in scene.witness.upto("program left") if "joined" not in line] == []
        scene.still_talks(attacker, "attacker")


# --- what could harm a terminal --------------------------------------------------------------------------


def test_nul_esc_c1_osc_bidi_and_zero_width_are_taken_out_of_texts_topics_away_and_quit_words(attacked):
    """Said, done, sent privately; as a topic, a reason to be away, last words; by a program, which can send it all."""
    with attacked() as scene, contextlib.closing(Program(scene.port)) as attacker:
        attacker.send(type="hello", name="attacker")
        attacker.expect("joined")
        texts = [f"a{payload}é" for payload in HARMFUL]  # a letter that no sequence could go on with
        shown = [harmless(text) for text in texts]
        lines = [text for text in texts if not {"\n", "\r"} & {*text}]  # tests/talk/test_blocks.py has the others
        attacker.send(*({"type": "say", "text": text} for text in lines))
        scene.said("attacker", [harmless(text) for text in lines])
        attacker.send(*({"type": "action", "text": text} for text in lines))
        for text in map(harmless, lines):
            assert scene.witness.expect("~ attacker ").endswith(f"] ~ attacker {text}")
        attacker.send(*({"type": "private", "to": "witness", "text": text} for text in lines))
        for text in map(harmless, lines):
            assert scene.witness.expect("attacker -> you: ").endswith(f"-> you: {text}")
        attacker.send(*({"type": "topic", "text": text} for text in texts))
        for text in shown:
            assert scene.witness.expect("attacker set the topic") == f"* attacker set the topic of #lobby: {text}"
        for text, safe in zip(texts, shown, strict=True):
            attacker.ask(type="away", reason=text)
            assert f"* Away: {safe}" in scene.witness.ask("/whois attacker")
        for number, text in enumerate(texts):
            with contextlib.closing(Program(scene.port)) as leaving:
                leaving.send({"type": "hello", "name": f"guest{number}", "replay": 0}, {"type": "quit", "words": text})
                assert leaving.rest()[-1]["type"] == "bye"
            assert scene.witness.expect(f"guest{number} left") == f"* guest{number} left ({shown[number]})"


def test_nul_esc_c1_osc_bidi_and_zero_width_are_refused_in_names_and_rooms(attacked):
    """The errors are harmless, too."""
    with attacked() as scene, contextlib.closing(Program(scene.port)) as attacker:
        attacker.send(type="hello", name="attacker")
        attacker.expect("joined")
        for payload in HARMFUL:
            name, room = f"a{payload}b", f"#a{payload}b"
            for request, code in (
                ({"type": "nick", "name": name}, "bad_name"),
                ({"type": "ignore", "name": name}, "unknown_person"),
                ({"type": "invite", "name": name}, "unknown_person"),
                ({"type": "whois", "name": name}, "unknown_person"),
                ({"type": "private", "to": name, "text": "hi"}, "unknown_person"),
                ({"type": "join", "room": room}, "bad_room"),
                ({"type": "create", "room": room}, "bad_room"),
                ({"type": "who", "room": room}, "bad_room"),
                ({"type": "say", "room": room, "text": "hi"}, "bad_room"),
                ({"type": "set", "option": name, "value": name}, "bad_request"),
            ):
                (error,) = attacker.ask(**request)
                assert error["code"] == code, request
                assert harms([error["text"]]) == []
            with contextlib.closing(Program(scene.port)) as nameless:
                nameless.send({"type": "hello", "name": name}, {"type": "hello", "name": "fine", "room": room})
                assert [nameless.read()["code"], nameless.read()["code"]] == ["bad_name", "bad_room"]
        scene.witness.ask("")
        rooms = [line.split()[1] for line in scene.witness.ask("/rooms") if line.startswith("* #")]
        assert sorted(rooms) == ["#canary", "#lobby"]
        assert {line.split()[1] for line in scene.witness.seen if line.endswith(" joined")} == {"attacker"}


def test_nul_esc_c1_osc_bidi_and_zero_width_typed_on_a_terminal_reach_nobody_elses(attacked):
    """In a person's line some of it edits the line or ends it; whatever comes of that, the others see no harm."""
    with attacked() as scene, Client(scene.port, "attacker") as attacker:
        for payload in HARMFUL:
            for line in LINES[:-2]:
                attacker.send_bytes(line % f"a{payload}b".encode() + b"\r\n")
            attacker.send("/nick attacker", "/join #lobby", f"/away a{payload}b", f"/frob{payload}")
            attacker.ask("")
            scene.witness.ask("/whois attacker")
        assert len([line for line in scene.witness.seen if " attacker -> you: a" in line]) >= len(HARMFUL) - 4
        assert len([line for line in scene.witness.seen if "] attacker: a" in line]) >= len(HARMFUL) - 4
        assert harms(attacker.seen) == []
        attacker.send(f"/quit a{SEQUENCES[0]}b")
        scene.witness.expect("attacker left (a")


def test_nul_esc_c1_osc_bidi_and_zero_width_are_taken_out_of_the_message_of_the_day(attacked, tmp_path):
    kinds = {"controls": CONTROLS, "sequences": SEQUENCES, "bidi": BIDI, "zero-width": ZERO_WIDTH, "lines": LINE_ENDS}
    lines = [f"{kind}: a{'é'.join(payloads)}é" for kind, payloads in kinds.items()]
    lines = [line.replace("\r", "").replace("\n", "") for line in lines]
    (tmp_path / "motd").write_text("\n".join(lines), newline="")
    with attacked("--motd", str(tmp_path / "motd")) as scene:
        assert scene.witness.seen[2:7] == [f"* {harmless(line)}" for line in lines]


def test_u2028_and_u0085_end_no_line(attacked):
    text = "".join(f"{mark}/quit{mark}/nick x{mark}" for mark in LINE_ENDS)
    with attacked() as scene, Client(scene.port, "attacker") as attacker:
        attacker.send(f"one{text}", f"/me does{text}")
        scene.said("attacker", [harmless(f"one{text}")])
        scene.witness.expect(harmless(f"~ attacker does{text}"))
        with contextlib.closing(Program(scene.port)) as program:
            program.send(type="hello", name="program")
            program.expect("joined")
            program.send(type="say", text=f"one{text}")
            program.sock.sendall('{"type":"say","text":"two\u0085\u2028"}\n'.encode())
            scene.said("program", [harmless(f"one{text}"), "two"])
        scene.still_talks(attacker, "attacker")


# --- telnet ----------------------------------------------------------------------------------------------


def flood(*commands: int) -> bytes:
    """A megabyte of it."""
    return bytes(commands) * (MB // len(commands))


OPTIONS = [option for option in range(256) if option != TIMING_MARK]  # that one is answered every time
LONG_FLOODS = {
    "every option": b"".join(bytes((IAC, verb, option)) for verb in (WILL, DO) for option in OPTIONS) * (MB // 1530),
    "DO": flood(IAC, DO, 1),
    "NOP": flood(IAC, NOP),
    "on and off": flood(IAC, DO, 1, IAC, DONT, 1, IAC, WILL, 31, IAC, WONT, 31),
    "timing marks": flood(IAC, DO, TIMING_MARK),
    "AYT": flood(IAC, AYT),
    "erase": flood(IAC, EC, IAC, EL),
    "short subnegotiations": flood(IAC, SB, 24, IAC, SE),
    "escaped": flood(IAC, IAC),
    "a subnegotiation": bytes((IAC, SB, 24)) + flood(IAC, IAC) + bytes((IAC, SE)),
}
OFTEN = ("every option",)


@pytest.mark.parametrize(
    "kind", [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.stress) for kind in LONG_FLOODS]
)
def test_an_iac_flood_of_a_megabyte_is_no_text_and_harms_nobody(attacked, kind):
    """A client that reads the answers is not cut off. The long floods run without a limit on the rate."""
    with (
        attacked(*(["--rate", "1000", "--burst", "50"] if kind in OFTEN else [])) as scene,
        Client(scene.port, "attacker") as attacker,
    ):
        before = memory(scene.process)
        sending = threading.Thread(target=attacker.send_bytes, args=(LONG_FLOODS[kind],))
        sending.start()
        answers = bytearray()

        def read() -> None:
            more = attacker.sock.recv(65536)
            assert more, "it was cut off"
            answers.extend(more)

        while sending.is_alive():
            if select.select([attacker.sock], [], [], 0.05)[0]:
                read()
        sending.join(WAIT)
        attacker.send_bytes(b"\r\nstill here\r\n")
        while b"attacker: still here\r\n" not in answers[-200:]:
            read()
        if kind == "every option":
            assert 0 < len(answers) - 3 * 2 * len(OPTIONS) < 300, "each is refused once, and /edit is offered"
        if kind in ("timing marks", "AYT"):
            answer = b"* Yes, I am here.\r\n" if kind == "AYT" else bytes((IAC, WONT, TIMING_MARK))
            assert answers.count(answer) == MB // (2 if kind == "AYT" else 3)
        scene.said("attacker", ["still here"])
        assert memory(scene.process) < before + 10


@pytest.mark.stress
@pytest.mark.parametrize("named", [True, False], ids=["in a conversation", "before a name"])
def test_a_client_that_asks_endless_telnet_questions_waits(attacked, named):
    """Its answers come at the rate, and before it has a name the handshake's deadline holds all the same."""

    def ask(kind: str) -> None:
        with Client(scene.port) as attacker:
            attacker.line()
            if named:
                attacker.send(kind.replace(" ", "-"))
                attacker.expect("You are in #lobby")
                attacker.buffer = b""
            began = time.monotonic()
            attacker.sock.setblocking(False)
            data, got = LONG_FLOODS[kind], bytearray()
            while time.monotonic() - began < 1.0:
                reading, writing, _ = select.select([attacker.sock], [attacker.sock] if data else [], [], 0.05)
                if writing:
                    data = data[attacker.sock.send(data) :]
                if reading:
                    got += attacker.sock.recv(65536)
            answers = got.count(b"Yes, I am here") + got.count(IAC)
            assert 20 <= answers <= 20 + 40 * (time.monotonic() - began) + 2  # the first answer has two
            if not named:
                attacker.sock.settimeout(WAIT)
                with contextlib.suppress(ConnectionResetError):
                    while more := attacker.sock.recv(65536):
                        got += more
                assert b"! No name was given within 3 seconds. Goodbye.\r\n" in got
                assert time.monotonic() - began < 5.5

    # The three may be taken for a browser's connections and greeted a second late; the deadline comes after the count.
    with attacked("--rate", "40", "--burst", "20", "--handshake-timeout", "3") as scene:
        in_threads(ask, ["AYT", "timing marks", "on and off"])


def test_an_open_subnegotiation_is_not_kept_and_nothing_in_it_is_carried_out(attacked):
    with attacked() as scene, Client(scene.port, "attacker") as attacker:
        before = memory(scene.process)
        for _ in range(10):
            attacker.send_bytes(bytes((IAC, SB, 31)) + b"/quit\r\nsaid\r\n" * (MB // 15))
        attacker.send_bytes(bytes((IAC, SE)))
        scene.still_talks(attacker, "attacker")
        assert memory(scene.process) < before + 5


def test_ctrl_c_with_urgent_data_ends_the_conversation_and_not_a_byte_is_taken_for_text(attacked):
    """On Ctrl-C, telnet sends IAC IP, IAC DO TIMING-MARK, and IAC DM as urgent data; here in the middle of a line."""
    with attacked() as scene, Client(scene.port, "attacker") as attacker:
        attacker.send("said")
        attacker.expect("attacker: said")
        attacker.send_bytes(b"never said" + bytes((IAC, IP)))
        attacker.sock.send(bytes((IAC, DM)), socket.MSG_OOB)
        attacker.send_bytes(bytes((IAC, DO, TIMING_MARK)))
        attacker.sock.settimeout(WAIT)
        data = b""
        while more := attacker.sock.recv(65536):
            data += more
        assert data.replace(bytes((IAC, WONT, TIMING_MARK)), b"") == ASKED + b"* Goodbye.\r\n"
        assert scene.witness.upto("attacker left")[-1].endswith("attacker: said")


def test_urgent_data_in_the_middle_of_a_line_leaves_it_whole(attacked):
    with attacked() as scene, Client(scene.port, "attacker") as attacker:
        for byte in b"one line\n":
            attacker.sock.send(bytes((byte,)), socket.MSG_OOB)
        scene.said("attacker", ["one line"])
        attacker.expect("one line")


# --- other protocols ---------------------------------------------------------------------------------------


def test_an_http_client_is_answered_in_http_and_seen_by_nobody(attacked):
    with attacked() as scene:
        for method, path, status in (("GET", "/", 400), ("POST", "/chat?x=%1b[2J", 405), ("OPTIONS", "*", 405)):
            client = http.client.HTTPConnection("127.0.0.1", scene.port, timeout=WAIT)
            with contextlib.closing(client):
                client.request(method, path, body=b"name=x\x1b[2J" * 1000, headers={"X-Harm": "\x1b]0;owned\x07"})
                response = client.getresponse()
                assert response.status == status
                assert re.fullmatch(rb"[A-Z][A-Za-z ]+\.\n", response.read())
        assert scene.witness.news() == []


def test_a_tls_client_finds_at_once_that_nobody_speaks_it_here(attacked):
    """It is not sent a greeting, which it would take for a broken TLS; the connection just ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    received, to_be_sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(received, to_be_sent).do_handshake()
    with attacked() as scene:
        with socket.create_connection(("127.0.0.1", scene.port), WAIT) as sock:
            began = time.monotonic()
            sock.sendall(to_be_sent.read())
            assert sock.recv(65536) == b""
            assert time.monotonic() - began < 3.0
        assert scene.witness.news() == []


# --- JSON -------------------------------------------------------------------------------------------------

DEEP = [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 60_000, b'{"a":' * 13_000, b'[{"a":' * 10_000 + b"]" * 10]
DIGITS = b"9" * 5000
NUMBERS = [
    b'{"type":"history","count":%s}' % DIGITS,
    b'{"type":"history","count":-%s}' % DIGITS,
    b'{"type":"history","before":1%s}' % (b"0" * 5000),
    b'{"type":"ping","x":%s.5}' % DIGITS,
    b'{"type":"ping","x":1e%s}' % DIGITS,
    b'{"type":"history","count":1e%s}' % (b"0" * 5000),
]


@pytest.mark.parametrize("named", [True, False], ids=["in a conversation", "before a name"])
def test_json_nested_a_hundred_thousand_deep_and_numbers_of_five_thousand_digits_get_errors(attacked, named):
    with attacked() as scene:
        for number, line in enumerate([*DEEP, *NUMBERS]):
            hello = {"type": "hello", "name": f"attacker{number}", "room": "#json"}
            with contextlib.closing(Program(scene.port)) as attacker:
                if named:
                    attacker.send(hello)
                    attacker.expect("joined")
                attacker.sock.sendall((b"" if named else b'{"type":"help"}\n') + line + b"\n")
                if not named:
                    assert attacker.expect("error")["code"] == "bad_request"
                assert attacker.expect("error")["code"] in (
                    {"bad_json", "bad_request"} if line in NUMBERS else {"bad_json", "too_long"}
                )
                if not named:
                    attacker.send(hello)
                    attacker.expect("joined")
                assert "notice" in [each["type"] for each in attacker.ask(type="away")]
        assert scene.witness.news() == []


def refused_without_a_word(lines: list[bytes]) -> bool:
    """Whether these are the first bytes of a client that would not read an answer."""
    try:
        recognise(without_blanks(b"\n".join(lines) + b"\n"))
    except NotChat as error:
        return not error.answer
    return False


def test_ten_thousand_hostile_lines_are_answered_each_or_end_the_connection_in_order(attacked):
    """In conversations, and as the first words of others. Nothing breaks, and nothing grows."""
    lines = (line for line in hostile(random.Random(2)) if line.strip())
    counted = 0
    with attacked("--queue-limit", "100000") as scene:
        scene.witness.send("/join #quiet", "/leave #lobby")
        scene.witness.expect("You left #lobby")
        for round_ in range(19):
            with contextlib.closing(Program(scene.port)) as me:
                me.send(type="hello", name=f"hostile{round_}", replay=0)
                me.expect("joined")
                for _ in range(5):
                    batch = list(itertools.islice(lines, 100))
                    ping = b'\n{"type":"ping","ref":"after %d"}\n'
                    data = b"".join(line + ping % number for number, line in enumerate(batch))
                    sender = threading.Thread(target=me.sock.sendall, args=(data,))
                    sender.start()
                    for number, line in enumerate(batch):
                        assert me.upto("pong", ref=f"after {number}"), f"no answer to {line[:200]!r}"
                    sender.join(WAIT)
                    counted += len(batch)
                    me.seen.clear()
        for _ in range(330):
            first = list(itertools.islice(lines, 3))
            with socket.create_connection(("127.0.0.1", scene.port), WAIT) as sock, sock.makefile("rb") as file:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(b"".join(line + b"\n" for line in first))
                    sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    answers = re.sub(rb"\xff[\xfb-\xfe].", b"", file.read(), flags=re.DOTALL).decode().splitlines()
                    assert answers or refused_without_a_word(first), first
            counted += len(first)
        assert counted > 10_000
