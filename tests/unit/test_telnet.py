"""The telnet layer: parsing (RFC 854), answers to options, 8 bits, and lines, however the bytes are split."""

from __future__ import annotations

import random
import re
import tracemalloc

from support.samples import for_each

from chat_threads.dialects.telnet import LineEditor, Signal, Telnet, within
from chat_threads.events import WireBytes

IAC, DONT, DO, WONT, WILL, SB, SE = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb", b"\xfa", b"\xf0"
NOP, DM, BRK, IP, AO, AYT, EC, EL, GA, EOF = (
    b"\xf1", b"\xf2", b"\xf3", b"\xf4", b"\xf5", b"\xf6", b"\xf7", b"\xf8", b"\xf9", b"\xec",
)  # fmt: skip
SUSP, ABORT = b"\xed", b"\xee"
BINARY, TIMING_MARK, LINEMODE = b"\x00", b"\x06", b"\x22"
ECHO, SGA, TTYPE, NAWS = b"\x01", b"\x03", b"\x18", b"\x1f"
ASK = IAC + DO + BINARY + IAC + DO + NAWS  # sent once, when a client shows that it speaks telnet
EDIT_LINES = IAC + SB + LINEMODE + b"\x01\x03" + IAC + SE
LIMIT = 64  # bytes in a line, here
KIB = 1024


def known():
    """The layer for a client that has been asked for BINARY, and has not answered yet."""
    telnet = Telnet()
    assert telnet.receive(IAC + NOP) == [WireBytes(ASK)]
    return telnet


def converse(*chunks, limit=LIMIT):
    """The result of a client's bytes: lines, signals and answers in order, and whether something is unfinished."""
    telnet, editor = known(), LineEditor(limit)
    seen = []
    for chunk in chunks:
        for item in telnet.receive(chunk):
            if isinstance(item, bytes):
                seen += editor.feed(item)
            else:
                seen.append(item)
    return seen, telnet.pending, editor.pending


def lines(*chunks, limit=LIMIT):
    return converse(*chunks, limit=limit)[0]


def received(*chunks):
    """The result of the telnet layer alone: all of the text, and the signals and answers in order."""
    telnet = known()
    items = [item for chunk in chunks for item in telnet.receive(chunk)]
    text = b"".join(item for item in items if isinstance(item, bytes))
    return text, [item for item in items if not isinstance(item, bytes)]


def answers(*chunks):
    return [item.data for item in received(*chunks)[1]]


def one_by_one(data):
    return [data[at : at + 1] for at in range(len(data))]


def split_at_random(rng, data):
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# The pieces that a client sends, and the result.
DIALOGUE = (
    (b"CR LF\r\nLF\nCR NUL\r\x00CR\r", [b"CR LF", b"LF", b"CR NUL", b"CR"]),
    (b"\r\n\n\r\x00\r", [b""] * 4),
    (b"\n", []),  # the second half of the CR LF that the piece before began
    (b"before" + IAC + WILL + b"\x18" + b" after\r\n", [WireBytes(IAC + DONT + b"\x18"), b"before after"]),
    (IAC + WILL + b"\x18", []),
    (IAC + WONT + b"\x18" + IAC + WILL + b"\x18", [WireBytes(IAC + DONT + b"\x18")]),
    (IAC + DO + b"\xff" + IAC + DONT + b"\xff", [WireBytes(IAC + WONT + b"\xff")]),
    ((IAC + DO + TIMING_MARK) * 2, [WireBytes(IAC + WONT + TIMING_MARK)] * 2),
    (b"out" + IAC + SB + b"\x18\x00in\r\n\xf0" + IAC + IAC + b"\xf0in" + IAC + SE + b"side\r\n", [b"outside"]),
    (IAC + SB + IAC + SE + IAC + SB + b"\x01" + IAC + AYT + IAC + SE + b"none\r\n", [b"none"]),
    (b"a" + IAC + IAC + b"b" + IAC + IAC + IAC + IAC + b"\r\n", [b"a\xffb\xff\xff"]),
    (b"caf\xc3\xa9s\x08\x7f\xc3\xa8\r\n", ["cafè".encode()]),
    ("日本語".encode() + b"\x08" + "🙂".encode() + b"\x7f\r\n", ["日本".encode()]),
    (b"\x08\x7fx\x7f\x7fy\r\n", [b"y"]),
    (b"xy" + IAC + EC + b"z\r\n" + "é".encode() + IAC + EC + b"e\r\n", [b"xz", b"e"]),
    (b"wrong" + IAC + EL + b"right\r\nwrong\x15right\r\n", [b"right", b"right"]),
    (b"there" + IAC + AYT + b"?\r\n", [Signal.ARE_YOU_THERE, b"there?"]),
    (b"nothing" + b"".join(IAC + each for each in (NOP, DM, BRK, AO, GA, SE)) + b" of it\r\n", [b"nothing of it"]),
    (b"apart\r" + IAC + NOP + b"\nagain\r" + IAC + AYT + b"\x00", [b"apart", b"again", Signal.ARE_YOU_THERE]),
    (b"o" * LIMIT + b"\r\n" + b"o" * (LIMIT + 1) + b"\r\n", [b"o" * LIMIT, None]),
    (b"o" * LIMIT + b"ver\x08\x08\x08\n" + b"o" * LIMIT + b"ver\x15under\n", [None, b"under"]),
    ("one\u2028line\u2029is\u0085\x0b\x0cone\n".encode(), ["one\u2028line\u2029is\u0085\x0b\x0cone".encode()]),
    (b"nul\x00s are kept\n\x00\n", [b"nul\x00s are kept", b"\x00"]),
    (b"unsent" + IAC + IP, [Signal.INTERRUPT]),
    (b" and sent\r\n" + IAC + EOF, [b"unsent and sent", Signal.END_OF_FILE]),
)  # fmt: skip
SENT = b"".join(piece for piece, _ in DIALOGUE)
SEEN = [item for _, items in DIALOGUE for item in items]


# --- at any split -------------------------------------------------------------------------------------


def test_the_dialogue_comes_to_what_its_pieces_say():
    assert converse(SENT) == (SEEN, False, False)


def test_each_piece_of_the_dialogue_comes_to_what_it_says():
    telnet, editor = known(), LineEditor(LIMIT)
    for piece, expected in DIALOGUE:
        seen = []
        for item in telnet.receive(piece):
            seen += editor.feed(item) if isinstance(item, bytes) else [item]
        assert (piece, seen) == (piece, expected)


def test_a_split_of_the_dialogue_at_any_byte_changes_nothing():
    for at in range(len(SENT) + 1):
        assert converse(SENT[:at], SENT[at:]) == (SEEN, False, False), at


def test_the_dialogue_byte_by_byte_comes_to_the_same():
    assert converse(*one_by_one(SENT)) == (SEEN, False, False)


def test_empty_chunks_between_change_nothing():
    assert converse(*(chunk for byte in one_by_one(SENT) for chunk in (byte, b""))) == (SEEN, False, False)


def test_cutting_the_dialogue_off_anywhere_never_makes_another_beginning():
    for at in range(len(SENT)):
        seen = lines(SENT[:at])
        assert seen == SEEN[: len(seen)], at


# Bytes that mean something, and a few that do not.
ALPHABET = [*(bytes([each]) for each in range(236, 256)), *[IAC] * 12]
ALPHABET += [b"\r", b"\n", b"\x00", b"\x08", b"\x7f", b"\x15", b"a", b"b", b"\x06", b"\x18", b"\xc3", b"\xa9", b"\x80"]


@for_each("seed", range(60))
def test_random_bytes_come_to_the_same_at_random_splits(seed):
    rng = random.Random(seed)
    for _ in range(10):
        data = b"".join(rng.choices(ALPHABET, k=rng.randrange(150)))
        whole = converse(data, limit=7)
        assert converse(*one_by_one(data), limit=7) == whole, data
        for _ in range(5):
            chunks = split_at_random(rng, data)
            assert converse(*chunks, limit=7) == whole, chunks


# RFC 854 in another form: what of the bytes is not text.
_COMMANDS = re.compile(rb"\xff(?:[\xfb-\xfe](?:.|\Z)|\xfa(?:[^\xff]|\xff[^\xf0])*(?:\xff\xf0|\xff?\Z)|.|\Z)", re.DOTALL)


def _text_of(command):
    return {IAC + IAC: IAC, IAC + EC: b"\x7f", IAC + EL: b"\x15"}.get(command[0], b"")


@for_each("seed", range(30))
def test_the_text_of_random_bytes_is_what_is_no_command(seed):
    rng = random.Random(seed)
    alphabet = [each for each in ALPHABET if each != BINARY]  # it sends 8 bits, and that stays so
    for _ in range(20):
        data = b"".join(rng.choices(alphabet, k=rng.randrange(150)))
        assert received(IAC + WILL + BINARY + data)[0] == _COMMANDS.sub(_text_of, data), data


@for_each("seed", range(10))
def test_bytes_of_any_kind_never_make_a_line_that_is_too_long_or_has_an_end_in_it(seed):
    rng = random.Random(seed)
    seen = lines(*split_at_random(rng, rng.randbytes(20_000)), limit=100)
    found = [item for item in seen if isinstance(item, bytes)]
    assert found
    for line in found:
        assert len(line) <= 100
        assert not re.search(rb"[\r\n\x08\x7f\x15]", line)


# --- options ------------------------------------------------------------------------------------------

REFUSALS = [(WILL, WONT, DONT), (DO, DONT, WONT)]  # asked, taken back, and the answer to the first


def test_it_never_speaks_first():
    telnet = Telnet()
    assert telnet.receive(b"") == []
    every = bytes(range(255)) * 10  # but IAC
    assert telnet.receive(every) == [every]
    assert telnet.receive(b"\xff\xff\xffA") == [b"\xff"]  # neither is a command


@for_each(("ask", "back", "refusal"), REFUSALS)
def test_every_option_but_those_that_are_wanted_is_refused(ask, back, refusal):
    wanted = {BINARY, LINEMODE, NAWS} if ask == WILL else {BINARY}
    for option in set(one_by_one(bytes(range(256)))) - wanted:
        assert answers(IAC + ask + option) == [IAC + refusal + option]


@for_each(("ask", "back", "refusal"), REFUSALS)
def test_an_option_asked_for_again_is_not_refused_again(ask, back, refusal):
    assert answers(*[IAC + ask + b"\x01"] * 5) == [IAC + refusal + b"\x01"]


@for_each(("ask", "back", "refusal"), REFUSALS)
def test_a_withdrawn_option_is_not_answered_and_then_refused_again(ask, back, refusal):
    assert answers(IAC + back + b"\x01") == []
    change = IAC + ask + b"\x01" + IAC + back + b"\x01"
    assert answers(change * 3) == [IAC + refusal + b"\x01"] * 3


def test_the_two_sides_of_an_option_are_refused_apart():
    """WILL and DO of one option are two requests, and taking back one leaves the other (RFC 1143)."""
    both = IAC + WILL + b"\x03" + IAC + DO + b"\x03"
    assert answers(both + both) == [IAC + DONT + b"\x03", IAC + WONT + b"\x03"]
    assert answers(both + IAC + WONT + b"\x03" + both) == [
        IAC + DONT + b"\x03", IAC + WONT + b"\x03", IAC + DONT + b"\x03",
    ]  # fmt: skip


def test_options_are_refused_apart_from_one_another():
    ask = IAC + DO + b"\x01" + IAC + DO + b"\x03"
    assert answers(ask, ask) == [IAC + WONT + b"\x01", IAC + WONT + b"\x03"]


# --- 8 bits (RFC 856) -----------------------------------------------------------------------------------


@for_each("command", [NOP, DM, BRK, AO, GA, EC, EL, SUSP, ABORT, SB + LINEMODE + IAC + SE])
def test_the_first_command_is_answered_by_asking_for_binary_and_no_other_is(command):
    telnet = Telnet()
    assert WireBytes(ASK) in telnet.receive(IAC + command)
    for again in (command, NOP, BRK):
        assert WireBytes(ASK) not in telnet.receive(IAC + again)


def test_a_signal_or_a_request_that_comes_first_is_answered_too():
    assert Telnet().receive(IAC + AYT) == [WireBytes(ASK), Signal.ARE_YOU_THERE]
    assert Telnet().receive(IAC + IP) == [WireBytes(ASK), Signal.INTERRUPT]
    assert Telnet().receive(IAC + WILL + b"\x18") == [WireBytes(ASK), WireBytes(IAC + DONT + b"\x18")]
    assert Telnet().receive(IAC + DO + BINARY) == [WireBytes(ASK), WireBytes(IAC + WILL + BINARY)]


def test_binary_asked_for_by_either_end_is_agreed_to_once():
    asked_at_once = Telnet()
    assert asked_at_once.receive((IAC + WILL + BINARY) * 3) == [WireBytes(ASK)]  # it crosses, and is the answer
    assert answers((IAC + WILL + BINARY) * 3) == []  # the answer to what was asked
    assert answers((IAC + DO + BINARY) * 3) == [IAC + WILL + BINARY]


def test_a_client_that_refuses_binary_is_not_asked_again_and_may_ask_later():
    assert answers((IAC + WONT + BINARY) * 3) == []
    assert answers(IAC + WONT + BINARY + IAC + WILL + BINARY) == [IAC + DO + BINARY]


def test_a_client_may_withdraw_binary_and_ask_for_it_again():
    assert answers(IAC + WILL + BINARY + (IAC + WONT + BINARY) * 2) == [IAC + DONT + BINARY]
    assert answers((IAC + DO + BINARY + IAC + DONT + BINARY) * 2) == [IAC + WILL + BINARY, IAC + WONT + BINARY] * 2
    change = IAC + WONT + BINARY + IAC + WILL + BINARY
    assert answers(IAC + WILL + BINARY + change * 2) == [IAC + DONT + BINARY, IAC + DO + BINARY] * 2


def test_line_mode_is_agreed_to_when_a_client_offers_it():
    """The client edits its lines, and signals are commands: MODE is EDIT and TRAPSIG (RFC 1184)."""
    assert answers((IAC + WILL + LINEMODE) * 2) == [IAC + DO + LINEMODE + EDIT_LINES]
    what_it_has = IAC + SB + LINEMODE + b"\x03\x01\x00\x00\x03\x62\x03" + IAC + SE
    assert answers(IAC + WILL + LINEMODE + what_it_has) == [IAC + DO + LINEMODE + EDIT_LINES]


WANTED = ((WILL, BINARY), (DO, BINARY), (WILL, LINEMODE), (WILL, NAWS))
KEYS = ((DO, ECHO), (DO, SGA))


class _Peer:
    """The other end, as RFC 1143 has it: it agrees to everything, and answers what is neither an answer nor news."""

    def __init__(self):
        self.on, self.waits = set(), set()  # options as this end asks for them: (WILL or DO, option)

    def change(self, verb, option):
        """Ask for an option that is off, or take back one that is on, unless an answer is still to come."""
        way = (verb, option)
        if way in self.waits:
            return b""
        self.waits.add(way)
        if way not in self.on:
            return IAC + verb + option
        self.on.remove(way)
        return IAC + (WONT if verb == WILL else DONT) + option

    def receive(self, data):
        answers = b""
        for verb, option in re.findall(rb"\xff([\xfb-\xfe])(.)", data, re.DOTALL):
            agrees = verb in (WILL, DO)
            way = (WILL if verb in (DO, DONT) else DO), option
            if way in self.waits:
                self.waits.remove(way)
                if agrees:
                    self.on.add(way)
            elif agrees != (way in self.on):
                self.on ^= {way}
                answers += IAC + (way[0] if agrees else {WILL: WONT, DO: DONT}[way[0]]) + option
        return answers


@for_each("seed", range(40))
def test_two_ends_that_answer_each_other_come_to_an_end_and_agree(seed):
    rng = random.Random(seed)
    telnet, peer = Telnet(), _Peer()
    to_server, to_client = [is_a(b"XTERM")], []
    for step in range(90):
        if step < 20:
            to_server.append(peer.change(*rng.choice(WANTED)))
        if step < 20 and rng.random() < 0.5:  # this end changes its mind as often
            to_client.append(rng.choice((telnet.ask_key_by_key, telnet.ask_whole_lines))())
        if to_client and rng.random() < 0.5:
            to_server.append(peer.receive(to_client.pop(0)))
        elif to_server:
            to_client += [item.data for item in telnet.receive(to_server.pop(0)) if isinstance(item, WireBytes)]
    assert not any(to_server)
    assert not to_client
    assert not peer.waits
    for way in WANTED:  # what is on here is not answered when it is asked for
        assert (telnet.receive(IAC + way[0] + way[1]) == []) == (way in peer.on), way
    assert telnet.key_by_key is peer.on.issuperset(KEYS)


# --- single keys and the window's size ------------------------------------------------------------------

AGREES = IAC + DO + ECHO + IAC + DO + SGA


def is_a(terminal):
    return IAC + SB + TTYPE + b"\x00" + terminal + IAC + SE


def test_a_client_is_asked_for_its_terminal_and_then_for_single_keys():
    for answer in (IAC + WONT + TTYPE, IAC + WILL + TTYPE + is_a(b"XTERM-256COLOR")):
        telnet = Telnet()
        assert telnet.ask_key_by_key() == ASK + IAC + DO + TTYPE
        assert (telnet.ask_key_by_key(), telnet.key_by_key) == (b"", None)
        items = telnet.receive(answer)
        assert items[-1] == WireBytes(IAC + WILL + ECHO + IAC + WILL + SGA)
        assert (WireBytes(IAC + SB + TTYPE + b"\x01" + IAC + SE) in items) == (WILL in answer)
        assert telnet.receive(AGREES) == [Signal.CHANGED]
        assert telnet.key_by_key is True


@for_each("terminal", [b"TINTIN++", b"TinTin++ 2.02", b"TinyFugue", b"dumb", b"Mudlet 4"])
def test_programs_that_draw_lines_themselves_are_not_asked_for_single_keys(terminal):
    telnet = Telnet()
    telnet.ask_key_by_key()
    items = telnet.receive(IAC + WILL + TTYPE + is_a(terminal))
    assert items[-1] is Signal.CHANGED
    assert not any(IAC + WILL in item.data for item in items if isinstance(item, WireBytes))
    assert telnet.key_by_key is False


def test_single_keys_are_asked_for_and_withdrawn_once():
    telnet = known()
    telnet.receive(is_a(b"XTERM"))
    assert telnet.key_by_key is False
    assert telnet.ask_key_by_key() == IAC + WILL + ECHO + IAC + WILL + SGA
    assert (telnet.ask_key_by_key(), telnet.key_by_key) == (b"", None)
    assert telnet.receive(AGREES)[-1] is Signal.CHANGED
    assert telnet.key_by_key is True
    assert telnet.ask_whole_lines() == IAC + WONT + ECHO + IAC + WONT + SGA
    assert (telnet.ask_whole_lines(), telnet.ask_key_by_key(), telnet.key_by_key) == (b"", b"", None)
    refusal = IAC + DONT + ECHO + IAC + DONT + SGA
    both = [WireBytes(IAC + WILL + ECHO), WireBytes(IAC + WILL + SGA)]  # asked for again, after the answer
    assert telnet.receive(refusal) == both
    assert telnet.receive(refusal) == [Signal.CHANGED]
    assert telnet.key_by_key is False


def test_a_request_that_was_made_again_is_answered_by_the_question():
    """As Debian's telnet does with LINEMODE: it asks for SUPPRESS-GO-AHEAD again, and counts."""
    telnet = known()
    telnet.receive(IAC + DO + SGA + IAC + DO + SGA + is_a(b"XTERM"))
    telnet.ask_key_by_key()
    assert telnet.key_by_key is None
    assert telnet.receive(IAC + DO + ECHO) == [Signal.CHANGED]
    assert telnet.key_by_key is True
    both = known()
    both.receive(AGREES + AGREES)
    both.ask_key_by_key()
    assert both.receive(is_a(b"XTERM"))[-1] is Signal.CHANGED
    assert both.key_by_key is True


def test_a_client_that_edits_its_lines_is_told_that_the_server_does_and_back():
    telnet = known()
    telnet.receive(is_a(b"XTERM") + IAC + WILL + LINEMODE)
    keys = IAC + SB + LINEMODE + b"\x01\x00" + IAC + SE
    assert telnet.ask_key_by_key().endswith(keys)
    telnet.receive(AGREES)
    assert telnet.ask_whole_lines().endswith(EDIT_LINES)
    late = known()
    late.receive(is_a(b"XTERM"))
    late.ask_key_by_key()
    assert late.receive(IAC + WILL + LINEMODE) == [WireBytes(IAC + DO + LINEMODE + keys)]


SIZES = (
    (b"\x00\x50\x00\x18", (80, 24)),
    (b"\x00\x28\x00\x14", (40, 20)),
    (b"\x00\xff\xff\x00\x64", (255, 100)),  # a 255 is doubled
    (b"\xff\xff\xff\xff\xff\xff\xff\xff", (500, 200)),
    (b"\x00\x00\x00\x32", (80, 50)),  # 0: not known
    (b"\x00\x01\x00\x01", (10, 4)),
    (b"\x00\x00\x00\x00", None),
    *((wrong, None) for wrong in (b"", b"\x00\x28\x00", b"\x00\x28\x00\x14\x00", b"\x28" * 50)),
)


@for_each(("told", "size"), SIZES)
def test_the_size_of_the_window_is_understood_and_bounded_at_any_split(told, size):
    sent = IAC + WILL + NAWS + IAC + SB + NAWS + told + IAC + SE + b"on"
    for at in range(len(sent) + 1):
        telnet = known()
        items = telnet.receive(sent[:at]) + telnet.receive(sent[at:])
        assert within(telnet.size) == (size or (80, 24))
        assert items.count(Signal.RESIZED) == (size is not None)
        assert telnet.knows_columns == (size is not None and told[:2] != b"\x00\x00")
        assert b"".join(item for item in items if isinstance(item, bytes)) == b"on"


def test_a_size_is_ignored_until_it_is_agreed_that_the_client_tells_it():
    telnet = Telnet()
    assert telnet.receive(IAC + SB + NAWS + b"\x00\x28\x00\x14" + IAC + SE) == [WireBytes(ASK)]
    assert telnet.size == (80, 24)


REPLACED = [(IP, 0x83), (AO, 0x8F), (SUSP, 0x9A), (BRK, 0x9C)]


def characters():
    return [chr(code) for code in range(0x80, 0x11000) if not 0xD800 <= code <= 0xDFFF]


@for_each(("command", "byte"), REPLACED)
def test_a_command_in_a_character_is_the_byte_that_it_replaced_wherever_it_stands(command, byte):
    sent = IAC + command + IAC + DO + TIMING_MARK  # Debian's telnet sends both for such a byte
    plain = bytes((byte,))
    texts = [char.encode() for char in characters() if plain in char.encode()[1:]]
    assert {text.index(plain, 1) for text in texts} >= {1, 2}
    for text in texts:
        at = text.index(plain, 1)
        typed = b"a" + text[:at] + sent + text[at + 1 :] + b"z"
        for chunks in ([typed], one_by_one(typed)):
            telnet = Telnet()
            items = [item for chunk in chunks for item in telnet.receive(chunk)]
            assert b"".join(item for item in items if isinstance(item, bytes)) == b"a" + text + b"z"
            replies = b"".join(item.data for item in items if isinstance(item, WireBytes))
            assert replies.startswith(ASK + IAC + WONT + TIMING_MARK)


def telnets_way(text):
    """The bytes that Debian's telnet sends for a text when it sends 7 bits."""
    command = {byte: IAC + command + IAC + DO + TIMING_MARK for command, byte in REPLACED}
    return b"".join(command.get(byte, bytes((byte,))) for byte in text.encode())


@for_each("text", ["привет, у меня", "Dănuț", "моя", "Über", "한국", "日本語です", "КУМЫС", "Ｍ😃😚🜚", "ГЃЏК", "“so"])
def test_words_that_a_telnet_of_7_bits_breaks_come_out_whole(text):
    assert lines(*one_by_one(telnets_way(text) + b"\r\n"))[-1] == text.encode()
    assert text.encode() in lines(telnets_way(text) + b"\r\n")


@for_each(
    "before", [b"", b"ascii", "whole ü".encode(), "a whole line ü\r\n".encode(), b"\x83", b"\xe0", b"\xf4\x80\x80\x80"]
)
def test_a_signal_that_is_not_in_a_character_stays_one(before):
    """E0 83 is no beginning of a character."""
    assert Signal.INTERRUPT in known().receive(before + IAC + IP)


def test_a_signal_stays_one_once_the_client_sends_8_bits():
    telnet = known()
    assert telnet.receive(IAC + WILL + BINARY + b"\xd1" + IAC + IP) == [b"\xd1", Signal.INTERRUPT]
    assert telnet.receive(IAC + WONT + BINARY + b"\xd1" + IAC + IP) == [
        WireBytes(IAC + DONT + BINARY),
        b"\xd1",
        b"\x83",
    ]


def test_every_timing_mark_is_answered():
    """A client that waits for it would wait for ever (RFC 860)."""
    assert answers(*[IAC + DO + TIMING_MARK] * 4) == [IAC + WONT + TIMING_MARK] * 4


def test_an_answer_comes_between_the_texts_around_it():
    assert known().receive(b"a" + IAC + DO + b"\x01" + b"b") == [b"a", WireBytes(IAC + WONT + b"\x01"), b"b"]


# --- commands -----------------------------------------------------------------------------------------


@for_each(("command", "signal"), [(IP, Signal.INTERRUPT), (EOF, Signal.END_OF_FILE), (AYT, Signal.ARE_YOU_THERE)])
def test_a_signal_comes_between_the_texts_around_it(command, signal):
    assert known().receive(b"a" + IAC + command + b"b") == [b"a", signal, b"b"]


def test_every_other_command_is_taken_out_of_the_text():
    meaning = {IP, EOF, AYT, EC, EL, SB, WILL, WONT, DO, DONT, IAC}
    for command in set(one_by_one(bytes(range(256)))) - meaning:
        assert known().receive(b"a" + IAC + command + b"b") == [b"ab"], command


def test_a_subnegotiation_says_nothing_whatever_is_in_it():
    inside = b"\x18\x00" + IAC + AYT + IAC + DO + b"\x01" + IAC + SB + IAC + IAC + b"\r\n"
    assert known().receive(b"a" + IAC + SB + inside + IAC + SE + b"b") == [b"ab"]


@for_each("begun", [IAC, IAC + WILL, IAC + DONT, IAC + SB, IAC + SB + b"\x18xterm", IAC + SB + IAC])
def test_a_command_that_has_begun_is_pending(begun):
    telnet = Telnet()
    telnet.receive(b"text")
    assert not telnet.pending
    telnet.receive(begun)
    assert telnet.pending


@for_each("whole", [IAC + NOP, IAC + IAC, IAC + WILL + b"\x01", IAC + SB + b"\x18" + IAC + SE])
def test_a_command_that_has_ended_is_not_pending(whole):
    telnet = Telnet()
    telnet.receive(whole)
    assert not telnet.pending


def test_an_open_subnegotiation_of_a_megabyte_is_not_kept():
    telnet, chunk = Telnet(), b"\x18" * (4 * KIB)
    telnet.receive(IAC + SB)
    assert _peak(lambda: telnet.receive(chunk), times=256) < 64 * KIB
    assert telnet.pending
    assert telnet.receive(IAC + SE + b"on") == [b"on"]


# --- lines --------------------------------------------------------------------------------------------


@for_each("end", [b"\r\n", b"\n", b"\r\x00", b"\r"])
def test_a_line_is_ended_once_by(end):
    assert lines(b"one" + end + b"two" + end + end) == [b"one", b"two", b""]


def test_a_bare_cr_ends_its_line_at_once():
    """Without waiting for what follows: PuTTY's raw mode sends nothing more."""
    assert lines(b"hello\r") == [b"hello"]


def test_only_the_first_byte_after_a_cr_can_belong_to_it():
    assert lines(b"a\r\n\nb\r\x00\x00c\n") == [b"a", b"", b"b", b"\x00c"]
    assert lines(b"a\rb\nc\n") == [b"a", b"b", b"c"]


def test_unicode_line_separators_end_no_line():
    for char in "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e":
        text = f"a{char}b".encode()
        assert lines(text) == []
        assert lines(text + b"\n") == [text]


@for_each("char", ["a", "é", "€", "日", "🙂"])
@for_each("erase", [b"\x08", b"\x7f", IAC + EC])
def test_erasing_takes_back_a_whole_character(char, erase):
    assert lines(b"x" + char.encode() + erase + b"\n") == [b"x"]
    assert lines("ü".encode() + char.encode() * 2 + erase + b"\n") == ["ü".encode() + char.encode()]


def test_erasing_more_than_there_is_stops_at_the_beginning_of_the_line():
    assert lines("kept\né".encode() + b"\x7f" * 9 + b"new\n") == [b"kept", b"new"]


def test_erasing_after_a_broken_character_ends_too():
    assert lines(b"a\x80\xbf\x80\x7fb\n") == [b"b"]
    assert lines(b"\x80\x80\x7fb\n") == [b"b"]


@for_each("seed", range(20))
def test_erasing_at_random_leaves_what_a_list_of_characters_would(seed):
    rng = random.Random(seed)
    typed, left = b"", []
    for _ in range(200):
        if rng.random() < 0.45:
            typed += rng.choice([b"\x08", b"\x7f", IAC + EC])
            left = left[:-1]
        else:
            left.append(rng.choice("abé€日🙂ß"))
            typed += left[-1].encode()
    assert lines(*split_at_random(rng, typed + b"\r\n"), limit=8192) == ["".join(left).encode()]


@for_each("erase", [b"\x15", IAC + EL])
def test_erasing_the_line_leaves_the_lines_before(erase):
    assert lines(b"kept\nwrong" + erase + b"right\n") == [b"kept", b"right"]


def test_a_line_may_be_as_long_as_the_limit_and_no_longer():
    assert lines(b"x" * 8192 + b"\r\n", limit=8192) == [b"x" * 8192]
    assert lines(b"x" * 8193 + b"\r\n", limit=8192) == [None]


def test_the_limit_is_the_same_for_a_line_that_comes_in_parts():
    assert lines(*one_by_one(b"x" * LIMIT + b"\n")) == [b"x" * LIMIT]
    assert lines(*one_by_one(b"x" * LIMIT + b"x\n")) == [None]


def test_an_overlong_line_is_said_once_and_the_next_is_a_line():
    assert lines(b"x" * 1000, b"x" * 1000, b"\r", b"\nnext\r\n") == [None, b"next"]


def test_nothing_of_an_overlong_line_can_be_erased_back():
    assert lines(b"x" * (LIMIT + 1) + b"\x7f" * 1000 + b"/quit\n") == [None]


def test_an_overlong_line_can_be_erased_as_a_whole():
    assert lines(b"x" * 1000 + b"\x15short\n") == [b"short"]


def test_a_line_that_has_begun_is_pending_until_it_ends_or_is_erased():
    editor = LineEditor(LIMIT)
    for typed, pending in (
        (b"", False), (b"a", True), (b"\r", False), (b"\n", False), (b"b", True), (b"\x7f", False),
        (b"c", True), (b"\x15", False), (b"d" * 1000, True), (b"\n", False),
    ):  # fmt: skip
        editor.feed(typed)
        assert editor.pending is pending, typed


def test_a_line_of_ten_megabytes_is_not_kept():
    editor, chunk = LineEditor(8192), b"x" * (4 * KIB)
    assert _peak(lambda: editor.feed(chunk), times=2560) < 128 * KIB
    assert editor.feed(b"\r\nnext\r\n") == [None, b"next"]


def test_a_line_of_ten_megabytes_in_one_piece_is_not_copied():
    editor, line = LineEditor(8192), b"x" * (10 * KIB * KIB)
    assert _peak(lambda: editor.feed(line)) < 128 * KIB
    assert editor.feed(b"\n") == [None]


def _peak(action, times=1):
    """The most memory, in bytes, that was held at a time while doing it."""
    tracemalloc.start()
    try:
        for _ in range(times):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
