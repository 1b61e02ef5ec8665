"""JSON lines: every request is read, every event is shown, and every mistake gets an error."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
import tracemalloc
from datetime import datetime, timezone
from typing import Any

import pytest
from support.clients import line_of
from support.hostile import hostile
from support.samples import for_each
from support.spoken import SPOKEN

from chat_threads import commands, events
from chat_threads.dialects import codec, jsonlines
from chat_threads.dialects.base import Request
from chat_threads.dialects.jsonlines import DEPTH, LINE, REF_LENGTH, REQUESTS, JsonDialect
from chat_threads.dialects.typed import parse_line
from chat_threads.errors import (
    BadJson,
    BadRequest,
    ChatError,
    LineTooLong,
    NotUtf8,
    Told,
    TooManyTokens,
    UnknownRoom,
    UnknownType,
)

ROWS = [kind.row for kind in commands.TYPED]

# --- what is sent to us -------------------------------------------------------------------------------


def dialect_of(name: str | None = "ann") -> JsonDialect:
    """The dialect of a program that is called that, None: not yet anything."""
    dialect = JsonDialect()
    if name is not None:
        dialect.admitted(name)
    return dialect


def next_request(dialect: JsonDialect) -> Request:
    found = dialect.next_input()
    assert isinstance(found, Request)
    return found


def drain(dialect: JsonDialect) -> list[Any]:
    """All inputs that are there; a hello is admitted, and errors, which are no values, are their types."""
    found: list[Any] = []
    while (item := dialect.next_input()) is not None:
        assert isinstance(item, Request)
        if isinstance(item.command, commands.Hello):
            dialect.admitted(item.command.name)
        found.append(type(item.command) if isinstance(item.command, ChatError) else item.command)
    return found


def inputs(*chunks: bytes, name: str | None = "ann") -> list[Any]:
    dialect, found = dialect_of(name), []
    for chunk in chunks:
        dialect.feed(chunk)
        found += drain(dialect)
    return found


def told(line: bytes, name: str | None = "ann") -> ChatError:
    """The error for a line. The next line must be read as usual."""
    dialect = dialect_of(name)
    dialect.feed(line + b'\n{"type":"hello","name":"bob"}\n{"type":"ping","ref":"after"}\n')
    error = next_request(dialect).command
    assert isinstance(error, Told), error
    if name is None:
        assert next_request(dialect) == Request(commands.Hello("bob"))
        dialect.admitted("bob")
    else:
        assert isinstance(next_request(dialect).command, BadRequest)
    assert next_request(dialect) == Request(commands.Ping(), "after")
    return error


@for_each(("request_", "command", "typed"), SPOKEN)
def test_a_request_is_the_command_that_is_typed_for_the_same(request_, command, typed):
    assert inputs(line_of(request_)) == [command]
    assert typed is None or parse_line(typed) == command


def test_every_command_that_a_person_types_has_its_json_form():
    by_json = {type(command) for _, command, _ in SPOKEN}
    for row in ROWS:
        if row.name == "/edit" or commands.BY_NAME[row.name] in commands.ASKS:
            continue  # it is for telnet; or it has a password in it, for which a person is asked
        examples = [command for _, command, typed in SPOKEN if typed and typed.split()[0] == row.name]
        assert examples, f"{row.name} has no JSON form, or none of the examples has it"
        assert {type(each) for each in examples} <= by_json


def test_every_command_there_is_has_its_json_form():
    """All but what telnet is for, of which a program asks Are You There with a ping, and what is asked by HTTP."""
    every = {each for each in vars(commands).values() if isinstance(each, type) and issubclass(each, commands.Command)}
    assert every - {commands.Command} - {type(command) for _, command, _ in SPOKEN} == {
        commands.Hello,
        commands.AreYouThere,
        commands.Edit,
        commands.Typed,
        commands.ShowScreen,
        commands.Complete,
        commands.ShowMetrics,
        commands.ShowHealth,
    }


def test_every_request_of_the_table_is_in_the_examples_with_each_of_its_fields():
    used = {(request["type"], field) for request, _, _ in SPOKEN for field in request}
    for kind, (_, fields) in REQUESTS.items():
        if kind != "hello":
            assert {(kind, field.name) for field in fields} <= used, kind


@for_each(
    ("request_", "hello", "replay"),
    [
        ({"name": "ann"}, commands.Hello("ann"), 20),
        ({"name": "ann", "room": "#r0"}, commands.Hello("ann", "#r0"), 20),
        ({"name": "ann", "replay": 0}, commands.Hello("ann"), 0),
        ({"name": "ann", "room": None, "replay": 200}, commands.Hello("ann"), 200),
        ({"token": "t0ken"}, commands.Hello("", token="t0ken"), 20),
        ({"name": "ann", "token": "t0ken", "room": "#b"}, commands.Hello("ann", "#b", "t0ken"), 20),
        (
            {"token": "t0ken", "since": {"#a": 88, "#b": 0}},
            commands.Hello("", None, "t0ken", (("#a", 88), ("#b", 0))),
            20,
        ),
        ({"name": "ann", "since": {}}, commands.Hello("ann", since=()), 20),
        ({"name": "ann", "place": True}, commands.Hello("ann", place=True), 20),
    ],
)
def test_a_hello_is_a_name_or_a_token_and_maybe_rooms_and_how_much_to_replay(request_, hello, replay):
    dialect = dialect_of(None)
    dialect.feed(line_of({"type": "hello", **request_}))
    assert next_request(dialect).command == hello
    assert dialect.replay == replay


@for_each("replay", [-1, 201, 1.5, "20", True, [20], 2**53 - 1])
def test_a_replay_that_is_no_number_up_to_200_is_rejected(replay):
    error = told(line_of({"type": "hello", "name": "ann", "replay": replay}).rstrip(), None)
    assert isinstance(error, BadRequest)
    assert error.text == "replay must be a number from 0 to 200."


def test_a_hello_without_a_name_and_a_token_is_rejected():
    assert told(b'{"type":"hello"}', None).text == "hello needs a name or a token."


@for_each("since", [88, "#a", ["#a"], {"#a": "88"}, {"#a": -1}, {"#a": None}, {"#a": True}, {"#a": 1.5}])
def test_a_since_that_is_no_object_of_numbers_is_rejected(since):
    error = told(line_of({"type": "hello", "name": "ann", "since": since}).rstrip(), None)
    assert error.text == "since of hello must be an object with rooms as keys and numbers as values."


def test_a_since_with_more_rooms_than_one_may_be_in_is_rejected():
    rooms = {f"#r{number}": 0 for number in range(21)}
    error = told(line_of({"type": "hello", "name": "ann", "since": rooms}).rstrip(), None)
    assert error.text == "since of hello may have at most 20 rooms."


def test_only_a_hello_or_a_quit_comes_before_the_hello():
    for request, _, _ in SPOKEN:
        expected = [commands.Quit(request.get("words", ""))] if request["type"] == "quit" else [BadRequest]
        assert inputs(line_of(request), name=None) == expected


def test_a_second_hello_is_rejected():
    error = told(b'{"type":"hello","name":"ann"}')
    assert error.code == "bad_request"
    assert error.text == "hello must be the first request, and may come only once."


# --- refs ---------------------------------------------------------------------------------------------


@for_each("ref", ["1", "x" * REF_LENGTH, "é" * REF_LENGTH, "🙂" * REF_LENGTH, " ", '"\\\n\u0000'])
def test_a_ref_is_kept_for_the_answer_of_its_request_alone(ref):
    dialect = dialect_of()
    dialect.feed(line_of({"type": "ping", "ref": ref}) + b'{"type":"ping"}\n')
    assert dialect.next_input() == Request(commands.Ping(), ref)
    assert dialect.next_input() == Request(commands.Ping())


@for_each("ref", [1, 1.5, True, ["1"], {"a": "1"}, "x" * (REF_LENGTH + 1), "🙂" * (REF_LENGTH + 1)])
@for_each("kind", ["ping", "nothing"])
def test_a_ref_that_is_no_string_of_up_to_64_characters_is_rejected_and_not_returned(ref, kind):
    dialect = dialect_of()
    dialect.feed(line_of({"type": kind, "ref": ref}))
    request = next_request(dialect)
    assert isinstance(request.command, BadRequest)
    assert request.command.text == "ref must be a string of up to 64 characters."
    assert request.ref == ""


@for_each(
    "line",
    [
        {"type": "nothing"}, {}, {"type": 1}, {"type": "say"}, {"type": "say", "text": 1},
        {"type": "hello", "name": "x"}, {"type": "history", "count": -1},
    ],
)  # fmt: skip
def test_a_mistake_in_a_request_brings_its_ref_back_too(line):
    dialect = dialect_of()
    dialect.feed(line_of({**line, "ref": "mine"}))
    request = next_request(dialect)
    assert isinstance(request.command, ChatError)
    assert request.ref == "mine"


def test_a_line_that_is_not_understood_does_not_bring_back_the_ref_before_it():
    dialect = dialect_of()
    dialect.feed(b'{"type":"ping","ref":"1"}\n{"ref":"2"\n')
    assert next_request(dialect) == Request(commands.Ping(), "1")
    request = next_request(dialect)
    assert isinstance(request.command, BadJson)
    assert request.ref == ""


# --- mistakes -----------------------------------------------------------------------------------------


@for_each(
    "line",
    [
        b"{", b"}", b"hi", b'{"type":"ping"', b'{"type":"ping', b'{"type":"pi\\', b'{"type":"pi\\u12', b'{"type":',
        b'{"type"}', b"{'type':'ping'}", b"{type:ping}", b'{"type":"ping",}', b'{"type":"ping"}}', b"{} {}",
        b'{"type":"ping"}{"type":"ping"}', b'{"type":"ping"} x', b'{"type":"ping"}//', b'\xef\xbb\xbf{"type":"ping"}',
        b'{"type":"\\x70ing"}', b'{"type":"pi\tng"}', b'{"type":"pi\x00ng"}', b"\x00", b'{"count":01}', b'{"count":1.}',
        b'{"count":.5}', b'{"count":+1}', b'{"count":0x10}', b'{"count":1e}', b'{"a":tru}', b'{"a":True}',
        b'{"a":[1,]}', b"[" * DEPTH, b'{"a":' * DEPTH, b"\\[[[[[[[[[[[", b'"\\"[[[[[[[[[[["',
    ],
)  # fmt: skip
def test_a_line_that_is_not_json_gets_an_error(line):
    error = told(line)
    assert error.code == "bad_json"
    assert error.text.startswith("That line was not understood: ")


@for_each("line", [b"[]", b'"ping"', b"1", b"null", b"true", b'[{"type":"ping"}]', b"1.5", b'""'])
def test_a_line_that_is_no_object_gets_an_error(line):
    error = told(line)
    assert isinstance(error, BadJson)
    assert error.text == "That line was not understood: a line must be one object."


def test_every_truncated_request_gets_an_error():
    for request, _, _ in SPOKEN:
        line = line_of(request).rstrip()
        for end in range(1, len(line)):
            assert inputs(line[:end] + b"\n") == [BadJson], line[:end]


@for_each(
    "line",
    [
        b'{"type":"ping","type":"quit"}', b'{"type":"say","text":"a","text":"a"}',
        b'{"type":"ping","ref":"a","ref":"b"}', b'{"type":"ping","x":{"a":1,"a":1}}',
        b'{"type":"ping","x":[{"a":1,"b":2,"a":1}]}', b'{"type":"ping","":1,"":1}',
        b'{"type":"ping","t\\u0079pe":"quit"}',
    ],
)  # fmt: skip
def test_a_duplicate_key_is_rejected_wherever_it_is(line):
    error = told(line)
    assert isinstance(error, BadJson)
    assert "same key twice" in error.text


@for_each("number", ["NaN", "Infinity", "-Infinity"])
@for_each("line", ['{"type":"history","count":%s}', '{"type":"ping","x":[%s]}'])
def test_numbers_that_json_lacks_are_rejected(line, number):
    error = told((line % number).encode())
    assert isinstance(error, BadJson)
    assert f"{number} is not JSON" in error.text


@for_each(
    "number",
    [
        str(2**53), str(-(2**53)), str(2**63), str(2**64), "9" * 17, "-" + "9" * 16, "9" * 18, "9" * 5000,
        "-" + "9" * 5000, "1" + "0" * 60_000, "1e309", "-1e309", "1e999999999", "9" * 400 + ".5",
    ],
)  # fmt: skip
@for_each("line", ['{"type":"history","count":%s}', '{"type":"ping","x":[%s]}', '{"ref":%s}'])
def test_a_number_out_of_range_is_rejected_wherever_it_is(line, number):
    error = told((line % number).encode())
    assert isinstance(error, BadJson)
    assert "a number is" in error.text
    assert len(error.text) < 100


def test_the_largest_number_in_range_is_a_number():
    assert inputs(b'{"type":"history","count":9007199254740991}\n') == [commands.ReadHistory(count=2**53 - 1)]
    assert inputs(b'{"type":"ping","x":[-9007199254740991,1e308,-0,0.1,1E-400]}\n') == [commands.Ping()]


@for_each("number", ["-1", "1.5", "1.0", "1e2", "-0.5", '"5"', "true", "false", "[5]", '{"a":5}'])
@for_each("field", ["count", "before", "after", "seconds"])
def test_a_field_for_a_whole_number_from_0_on_rejects_everything_else(field, number):
    error = told(f'{{"type":"history","{field}":{number}}}'.encode())
    assert isinstance(error, BadRequest)
    assert error.text.startswith(f"{field} of history must ")


@for_each(
    "deep",
    [
        "[" * DEPTH + "]" * DEPTH, "[" * 1000, "[" * 60_000, '{"a":' * 10_000, '[{"a":' * 5 + "1" + "}]" * 5,
        "[1,[" * DEPTH + "]]" * DEPTH, '["[",' * DEPTH + "1" + "]" * DEPTH,
    ],
)  # fmt: skip
def test_a_line_that_is_nested_too_deeply_is_rejected(deep):
    error = told(f'{{"type":"ping","x":{deep}}}'.encode())
    assert isinstance(error, BadJson)
    assert error.text.endswith(f"it is nested more than {DEPTH} deep.")


def test_a_line_that_is_nested_a_hundred_thousand_deep_is_rejected():
    assert inputs(b"[" * 100_000 + b"\n", b'{"type":"ping"}\n') == [LineTooLong, commands.Ping()]
    with pytest.raises(BadJson, match="deep"):
        jsonlines.parse(b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(BadJson, match="deep"):
        jsonlines.parse(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


@for_each(
    "value",
    [
        "[" * (DEPTH - 1) + "]" * (DEPTH - 1),
        '{"a":' * (DEPTH - 1) + "1" + "}" * (DEPTH - 1),
        "[" + "[]," * 1000 + "[]]",
        '"' + "[" * 1000 + '"',
        '"\\"' + "[{" * 1000 + '\\\\"',
        '"\\\\","y":"' + "[" * 1000 + '"',
    ],
)
def test_a_line_nested_up_to_the_limit_or_with_brackets_side_by_side_or_in_strings_is_a_request(value):
    assert inputs(f'{{"type":"ping","x":{value}}}\n'.encode()) == [commands.Ping()]


def filled(fields):
    """Values for the fields that a request needs."""
    return {field.name: 1 if field.kind is int else "x" for field in fields if field.required}


@for_each(
    "half", ["\\ud800", "\\udfff", "\\uDBFF", "a\\udc00b", "\\udc00\\ud800", "\\ud83d\\ud83d\\ude00", "\\ud83d😀"]
)
def test_half_of_a_surrogate_pair_is_rejected_in_every_field_for_a_string(half):
    for kind, (_, fields) in REQUESTS.items():
        for broken in [field for field in fields if field.kind is str]:
            given = {**filled(fields), broken.name: "HALF"}
            line = json.dumps({"type": kind, **given}).replace("HALF", half)
            assert isinstance(told(line.encode(), None if kind == "hello" else "ann"), BadJson), line


def test_half_of_a_surrogate_pair_is_rejected_in_a_ref_and_in_a_type():
    assert isinstance(told(b'{"type":"ping","ref":"\\ud800"}'), BadRequest)
    error = told(b'{"type":"\\ud800"}')
    assert isinstance(error, UnknownType)
    error.text.encode()


def test_a_whole_surrogate_pair_is_the_character_that_it_is():
    assert inputs(b'{"type":"say","text":"\\ud83d\\ude00"}\n') == [commands.Say("😀")]


@for_each("value", [1, 1.5, True, False, ["x"], {"x": "y"}, [], {}])
def test_every_field_for_a_string_rejects_other_values(value):
    for kind, (_, fields) in REQUESTS.items():
        for wrong in [field for field in fields if field.kind is str]:
            given = {**filled(fields), wrong.name: value}
            error = told(line_of({"type": kind, **given}).rstrip(), None if kind == "hello" else "ann")
            assert isinstance(error, BadRequest)
            assert error.text == f"{wrong.name} of {kind} must be a string."


@for_each("value", [0, 1, 1.5, "true", "", ["x"], {"x": "y"}, [], {}])
def test_a_field_for_true_or_false_rejects_other_values(value):
    error = told(line_of({"type": "delete", "room": "#lab", "ask": value}).rstrip())
    assert isinstance(error, BadRequest)
    assert error.text == "ask of delete must be true or false."


def test_every_field_that_has_to_be_there_is_asked_for_and_null_is_no_value():
    for kind, (_, fields) in REQUESTS.items():
        for missing in [field for field in fields if field.required]:
            given = filled(field for field in fields if field is not missing)
            for request in ({"type": kind, **given}, {"type": kind, **given, missing.name: None}):
                error = told(line_of(request).rstrip(), None if kind == "hello" else "ann")
                assert isinstance(error, BadRequest)
                assert error.text == f"{kind} needs {missing.name}."


def test_a_field_that_need_not_be_there_may_be_null():
    for kind, (_, fields) in REQUESTS.items():
        if kind != "hello":
            without = filled(fields)
            given = {field.name: without.get(field.name) for field in fields}
            assert inputs(line_of({"type": kind, **given})) == inputs(line_of({"type": kind, **without}))


def test_unknown_fields_are_ignored():
    for request, command, _ in SPOKEN:
        unknown = {"colour": [1, {"a": None}], "Text": 1, "": "", "limits": {"#lobby": 88}}
        assert inputs(line_of({**unknown, **request})) == [command]
    assert inputs(b'{"type":"ping","x":"\\ud800"}\n') == [commands.Ping()]


@for_each("kind", ["nothing", "", "SAY", "say ", "message", "ack", "__init__", "\x1b[2J\r\n", "x" * 60_000])
def test_the_error_for_an_unknown_type_is_short_and_harmless(kind):
    error = told(line_of({"type": kind}).rstrip())
    assert isinstance(error, UnknownType)
    assert error.text.endswith('. The request "help" lists the types.')
    assert len(error.text) < 120
    assert error.text.isprintable()


@for_each("request_", [{}, {"text": "hi"}, {"type": None}, {"type": 1}, {"type": ["say"]}, {"type": {}}])
def test_a_request_without_a_type_that_is_a_string_is_rejected(request_):
    error = told(line_of(request_).rstrip())
    assert isinstance(error, UnknownType)
    assert error.text == 'A request needs a field "type" with a string. The request "help" lists the types.'


@for_each("name", [None, "ann"])
@for_each("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"caf\xe9"])
def test_a_line_that_is_not_utf_8_gets_an_error(name, bad):
    assert isinstance(told(b'{"type":"say","text":"' + bad + b'"}', name), NotUtf8)
    assert isinstance(told(bad, name), NotUtf8)


# --- lines --------------------------------------------------------------------------------------------


def say_of(length: int) -> bytes:
    """A request of ``length`` bytes, without its end."""
    return b'{"type":"say","text":"' + b"x" * (length - 24) + b'"}'


@for_each("end", [b"\n", b"\r\n"])
def test_a_line_of_64_kib_is_a_line_whatever_its_end(end):
    assert LINE == 65536
    assert len(say_of(LINE)) == LINE
    assert inputs(say_of(LINE) + end) == [commands.Say("x" * (LINE - 24))]


@for_each("name", [None, "ann"])
@for_each("end", [b"\n", b"\r\n"])
@for_each("length", [LINE + 1, LINE + 2, 3 * LINE])
def test_a_longer_line_gets_one_error_and_the_next_is_a_line(name, end, length):
    dialect = dialect_of(name)
    dialect.feed(say_of(length) + end + line_of({"type": "hello", "name": "bob", "ref": "1"}))
    request = next_request(dialect)
    assert isinstance(request.command, LineTooLong)
    assert request.command.text == "A line has at most 65536 bytes. Yours was longer, so it was not done."
    assert request.ref == ""
    assert drain(dialect) == ([BadRequest] if name else [commands.Hello("bob")])


def test_a_line_of_ten_megabytes_is_never_kept():
    dialect, chunk = dialect_of(), b"[" * 4096
    tracemalloc.start()
    try:
        for _ in range(2560):
            dialect.feed(chunk)
            assert dialect.next_input() is None
            assert dialect.pending
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * LINE
    dialect.feed(b'\n{"type":"ping"}\n')
    assert drain(dialect) == [LineTooLong, commands.Ping()]
    assert not dialect.pending


def test_a_line_ends_with_lf_or_with_cr_lf_and_blanks_around_the_object_do_not_matter():
    assert inputs(b'{"type":"ping"}\r\n{"type":"ping"}\n \t{ "type" : "ping" } \r\n') == [commands.Ping()] * 3


def test_a_carriage_return_alone_ends_no_line():
    assert inputs(b'{"type":"ping"}\r{"type":"ping"}\r\n') == [BadJson]
    assert inputs(b'{"type":\r"ping"}\n') == [commands.Ping()]


def test_blank_lines_are_nothing():
    assert inputs(b'\n\r\n  \r\n\t\n{"type":"ping"}\n\n\n', b"\r", b"\n") == [commands.Ping()]


def test_line_separators_of_unicode_end_no_line():
    text = "one\u2028two\u2029three\u0085four"
    assert inputs(line_of({"type": "say", "text": text})) == [commands.Say(text)]


@for_each(
    ("data", "pending"),
    [(b"", False), (b"{", True), (b'{"type":"ping"}\n', False), (b'{"type":"ping"}\n{', True), (b"x" * 70_000, True)],
)
def test_a_line_that_has_begun_is_pending(data, pending):
    dialect = dialect_of(None)
    dialect.feed(data)
    assert dialect.pending is pending


DIALOGUE = (
    b'{"type":"hello","name":"Zo\xc3\xab","room":"#\\u00fcbung","replay":3,"ref":"h"}\r\n\r\n'
    b'{"type":"say","text":"caf\xc3\xa9 \xf0\x9f\x99\x82 \\"[{","ref":"1"}\n{"type":"say","text":"\xff"}\n  \n'
    b'{"type":"say","text":"' + b"x" * 400 + b'"}\r\n{"type":"topic","text":null}\n[[[[[[[[[[]]]]]]]]]]\n'
    b'{"a":1,"a":1}\n{"type":"nothing","ref":"2"}\n{"type":"hello","name":"bob"}\n{"type":"history","count":1e400}\n{"type":"quit"}\n{'
)  # fmt: skip


def refs_and_inputs(*chunks: bytes) -> list[Any]:
    dialect, found = dialect_of(None), []
    for chunk in chunks:
        dialect.feed(chunk)
        while (request := dialect.next_input()) is not None:
            assert isinstance(request, Request)
            item = request.command
            if isinstance(item, commands.Hello):
                dialect.admitted(item.name)
            found.append((request.ref, (type(item), item.text) if isinstance(item, ChatError) else item))
    return [*found, dialect.pending, dialect.replay]


def test_a_split_of_a_conversation_at_any_byte_changes_nothing(monkeypatch):
    monkeypatch.setattr(jsonlines, "LINE", 300)  # so that there are few bytes
    whole = refs_and_inputs(DIALOGUE)
    assert [(ref, item[0] if isinstance(item, tuple) else item) for ref, item in whole[:-2]] == [
        ("h", commands.Hello("Zoë", "#übung")), ("1", commands.Say('café 🙂 "[{')), ("", NotUtf8), ("", LineTooLong),
                ("", commands.Topic()),
        ("", BadJson), ("", BadJson), ("2", UnknownType), ("", BadRequest), ("", BadJson), ("", commands.Quit()),
    ]  # fmt: skip
    assert whole[-2:] == [True, 3]
    for at in range(len(DIALOGUE) + 1):
        assert refs_and_inputs(DIALOGUE[:at], DIALOGUE[at:]) == whole, at
    assert refs_and_inputs(*(DIALOGUE[at : at + 1] for at in range(len(DIALOGUE)))) == whole


@for_each("seed", range(5))
def test_random_lines_are_inputs_that_are_the_same_at_random_splits(seed):
    rng = random.Random(seed)
    for _ in range(20):
        data = b"".join(line + b"\n" for line in itertools.islice(hostile(rng, huge=False), 10))
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(6))
        chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert refs_and_inputs(*chunks) == refs_and_inputs(data), chunks


# --- what we send -------------------------------------------------------------------------------------

AT = 1_704_204_185_007  # 2024-01-02 14:03:05.007 UTC
AT_TEXT = "2024-01-02T14:03:05.007Z"


def said(
    text: str = "hi", sender: str = "ann", room: str = "#lobby", number: int = 7, kind: Any = "say", who: int = 0
) -> events.Message:
    return events.Message(1, room, number, AT, sender, kind, text, who)


def shown(*events: events.Event, dialect: JsonDialect | None = None, here: bool = True) -> list[dict[str, Any]]:
    """The objects that a program gets for events."""
    data = (dialect or dialect_of()).views.of(here).encode(events)
    assert not data or data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


SAID = {
    "type": "message", "room": "#lobby", "number": 7, "at": AT_TEXT, "from": "ann", "kind": "say", "text": "hi"
}  # fmt: skip
LIMITS = {"line": 65536, "text": 2000, "lines": 40, "words": 200, "ref": 64, "refs": 256, "replay": 200}
PERSON = events.PersonRow("ann", ("#lobby", "#lab2"), 0.41234, "at lunch")
PERSON_SHOWN = {"name": "ann", "rooms": ["#lobby", "#lab2"], "idle": 0.412, "away": "at lunch"}
WHOIS = "ann is in #lobby, #lab2.\nConnected for 12s, last typed 0s ago.\nAway: at lunch"
TOKEN = (
    "Your token is t0ken and nobody else should know it.\n"
    "To come back to where you were, in a browser or in a terminal, type this:\n/resume t0ken"
)

SEEN: tuple[tuple[events.Event, list[dict[str, Any]]], ...] = (
    (said(), [SAID]),
    (said("waves", kind="action"), [{**SAID, "kind": "action", "text": "waves"}]),
    (said("if x:\n\n    go()"), [{**SAID, "text": "if x:\n\n    go()"}]),
    (
        events.Welcome("ann", ("Be nice.", ""), "1.0.0", "t0ken"),
        [
            {
                "type": "welcome", "name": "ann", "token": "t0ken", "version": "1.0.0", "motd": ["Be nice.", ""],
                "limits": LIMITS,
            }
        ],
    ),
    (
        events.Entered("#lobby", "locks", ("bob", "cy"), 12, 431),
        [{"type": "joined", "room": "#lobby", "topic": "locks", "people": ["bob", "cy"], "count": 12, "last": 431}],
    ),
    (events.Replay("#lobby", (said(number=6), said()), 7), [{**SAID, "number": 6}, SAID]),
    (events.Departed("#lab2", "#lobby"), [{"type": "left", "room": "#lab2", "current": "#lobby"}]),
    (events.Departed("#lab2", None), [{"type": "left", "room": "#lab2", "current": None}]),
    (events.Current("#lab2"), [{"type": "current", "room": "#lab2"}]),
    (
        events.Presence("#lobby", "joined", ("bob", "cy")),
        [{"type": "presence", "room": "#lobby", "kind": "joined", "names": ["bob", "cy"]}],
    ),
    (
        events.Presence("#lobby", "left", ("bob",), "see you"),
        [{"type": "presence", "room": "#lobby", "kind": "left", "names": ["bob"], "words": "see you"}],
    ),
    (events.Renamed("bob", "rob"), [{"type": "presence", "kind": "renamed", "old": "bob", "new": "rob"}]),
    (events.TopicChanged("#lobby", "bob", "locks"), [{"type": "topic", "room": "#lobby", "topic": "locks",
                "by": "bob"}]),
    (events.TopicShown("#lobby", ""), [{"type": "topic", "room": "#lobby", "topic": "",
                "text": "#lobby has no topic."}]),
    (
        events.AuditList("#lab", (events.AuditRow(AT, "#lab", "ann", "ban", "bob", "60 s: rude"),)),
        [
            {
                "type": "audit",
                "room": "#lab",
                "rows": [
                    {"at": AT_TEXT, "room": "#lab", "by": "ann", "action": "ban", "about": "bob", "why": "60 s: rude"}
                ],
            }
        ],
    ),
    (events.Redacted("#lobby", 7, "bob"), [{"type": "redacted", "room": "#lobby", "number": 7, "by": "bob"}]),
    (events.RoomDeleted("#lab2", "bob", "#lobby"), [{"type": "deleted", "room": "#lab2", "by": "bob",
                "current": "#lobby"}]),
    (
        events.Moderated("#lab2", "ann", "ban", "bob", "rude", 7200),
        [
            {
                "type": "moderated", "room": "#lab2", "by": "ann", "action": "ban", "name": "bob", "why": "rude",
                "seconds": 7200, "text": "ann banned bob from #lab2 for 2 hours: rude",
            }
        ],
    ),
    (
        events.Moderated("#lab2", "ann", "op", "bob"),
        [{"type": "moderated", "room": "#lab2", "by": "ann", "action": "op", "name": "bob",
                "text": "ann made bob an operator of #lab2"}],
    ),
    (
        events.RoomSet("#lab2", "ann", "quiet"),
        [{"type": "room", "room": "#lab2", "by": "ann", "setting": "quiet",
                "text": "ann made #lab2 quiet: only its operators may speak"}],
    ),
    (
        events.RoomSet("#lab2", "ann", "open", "slow 10"),
        [{"type": "room", "room": "#lab2", "by": "ann", "setting": "open", "still": "slow 10",
                "text": "ann opened #lab2 for talk: its members may speak again, once in 10 seconds"}],
    ),
    (
        events.RoomShown("#lab2", ("quiet",), "ann", ("bob",)),
        [{"type": "room", "room": "#lab2", "settings": ["quiet"], "creator": "ann", "operators": ["bob"],
                "text": "Everybody may enter #lab2. Only its operators may speak.\n"
                "It was made by ann; its operators: bob. /help room says more."}],
    ),
    (
        events.SanctionList("#lab2", (events.SanctionRow("bob", "mute", "ann", "", None),)),
        [
            {
                "type": "bans",
                "room": "#lab2",
                "people": [{"name": "bob", "action": "mute", "by": "ann", "why": "", "seconds": None}],
                "text": "bob: muted for good, by ann",
            }
        ],
    ),
    (
        events.PrivateLine(AT, "bob", "ann", "psst"),
        [{"type": "private", "at": AT_TEXT, "from": "bob", "to": "ann", "text": "psst"}],
    ),
    (events.Invited("bob", "#lab2"), [{"type": "invited", "room": "#lab2", "by": "bob"}]),
    (
        events.HistoryPage("#lobby", (said(),), 9, 7, None),
        [{"type": "history", "room": "#lobby", "messages": [SAID], "last": 9, "before": 7, "after": None,
                "text": "#lobby, message 7 of 9:"}],
    ),
    (
        events.HistoryPage("#lobby", (), 0, None, None),
        [{"type": "history", "room": "#lobby", "messages": [], "last": 0, "before": None, "after": None,
                "text": "Nothing was said in #lobby yet."}],
    ),
    (
        events.SearchPage("hi", (said(),), True),
        [{"type": "search", "words": "hi", "messages": [SAID], "more": True,
                "text": "More than 1 match; the newest 1 for: hi"}],
    ),
    (
        events.SearchPage("h*", (), False, limits="in:#lab"),
        [{"type": "search", "words": "h*", "messages": [], "more": False, "limits": "in:#lab",
                "text": "Nothing was found for: h* in:#lab\n"
                "A * is searched for as it is. Parts of words need none: /search h in:#lab"}],
    ),
    (
        events.RoomList((events.RoomRow("#lobby", 2, 9, "locks"),), 3),
        [{"type": "rooms", "rooms": [{"room": "#lobby", "people": 2, "messages": 9, "topic": "locks"}], "more": 3}],
    ),
    (events.PeopleList(None, (PERSON,), 4), [{"type": "who", "room": None, "people": [PERSON_SHOWN], "more": 4}]),
    (events.PeopleList("#lab", (), 0), [{"type": "who", "room": "#lab", "people": [], "more": 0,
                "text": "Nobody is in #lab."}]),
    (events.AuditList(None, ()), [{"type": "audit", "room": None, "rows": [],
                "text": "Nothing was reported, and operators have done nothing."}]),
    (
        events.PersonShown(PERSON, 12.00049, "anna"),
        [{"type": "whois", **PERSON_SHOWN, "connected": 12.0, "logged_in_as": "anna",
                "text": WHOIS}],
    ),
    (
        events.PersonShown(PERSON, 12.0, operator=True),
        [{
            "type": "whois", **PERSON_SHOWN, "connected": 12.0, "operator": True,
            "text": "ann is in #lobby, #lab2.\nConnected for 12s, last typed 0s ago."
            "\nAn operator of the server.\nAway: at lunch",
        }],
    ),
    (events.QrShown("http://h:1/#lab", ("010", "001")), [{"type": "qr", "url": "http://h:1/#lab",
                "rows": ["010", "001"]}]),
    (
        events.StatsShown("1.0.0", 10.5, 12, 3, 4000, 17, 12.3),
        [
            {
                "type": "stats", "version": "1.0.0", "uptime": 10.5, "sessions": 12, "rooms": 3, "stored": 4000,
                "threads": 17, "per_second": 12.3,
                "text": "version: 1.0.0\nuptime: 10s\nsessions: 12\nrooms: 3\nmessages stored: 4000\n"
                "messages/s: 12.3\nthreads: 17",
            }
        ],
    ),
    (
        events.ThreadList((events.ThreadRow("reader-1", "reader", "ann", "obeys Say", 0.5, "server.py:7 read", 0, 3,
                    12, 500),), 2),
        [{
            "type": "threads", "more": 2, "threads": [{
                "thread": "reader-1", "role": "reader", "session": "ann", "doing": "obeys Say", "seconds": 0.5,
                "where": "server.py:7 read", "queue": 0, "most": 3, "lines": 12, "bytes": 500,
            }],
        }],
    ),
    (
        events.LockList(True, (events.LockRow("Publisher", 12, 3, 0.5, 0.25, "history", 0.125),)),
        [{
            "type": "locks", "counted": True, "locks": [{
                "lock": "Publisher", "taken": 12, "contended": 3, "waited": 0.5, "longest": 0.25,
                "holder": "history", "held": 0.125,
            }],
        }],
    ),
    (events.LockList(False, ()), [{"type": "locks", "counted": False, "locks": [],
                "text": "The use of locks is counted only with --lab or --trace."}]),
    (
        events.TripShown(
            "#lobby", 12, "ann", events.Stages(0.1, 0.15, 0.71234, None), (events.MemberTrip("bob", 0.8, 0.91234),), 3
        ),
        [{
            "type": "trace", "room": "#lobby", "number": 12, "from": "ann", "queued": 0.1,
            "taken": 0.15, "committed": 0.712, "published": None,
            "members": [{"name": "bob", "queued": 0.8, "written": 0.912}], "more": 3,
            "text": "The trip of message 12 of #lobby, by ann, in ms since it was received:\n"
            "queued 0.100, taken 0.150, committed 0.712, published not yet",
        }],
    ),
    (events.TokenShown("t0ken"), [{"type": "token", "token": "t0ken", "text": TOKEN}]),
    (
        events.SanctionList("#lab2", ()),
        [{"type": "bans", "room": "#lab2", "people": [],
                "text": "Nobody is banned from #lab2 or muted in it."}],
    ),
    (events.Restored(("numbers on",)), [{"type": "restored", "settings": ["numbers on"]}]),
    (events.Pong(0.25, None), [{"type": "pong", "through": 0.25, "network": None,
                "text": "Pong: 250.00 ms through the server's queue."}]),
    (events.HelpShown(None), [{"type": "help", "requests": sorted(REQUESTS)}]),
    (
        events.HelpShown("/quit"),
        [{
            "type": "help", "usage": "/quit [words]", "does": "leave, with a last word", "aliases": ["/exit", "/bye"],
            "text": "/quit [words]: leave, with a last word.\nAlso: /exit, /bye",
        }],
    ),
    (events.Notice("Done."), [{"type": "notice", "text": "Done."}]),
    (events.Problem("bad_json", "No."), [{"type": "error", "code": "bad_json", "text": "No."}]),
    (
        events.problem(UnknownRoom("#lap", "#lab")),
        [
            {
                "type": "error",
                "code": "unknown_room",
                "text": "There is no room #lap. Did you mean #lab?",
                "room": "#lap",
                "near": "#lab",
            }
        ],
    ),
    (
        events.problem(TooManyTokens(2.7)),
        [{"type": "error", "code": "too_many_tokens", "text": TooManyTokens(3).text, "seconds": 3}],
    ),
    (events.Bye("too_slow"), [{"type": "bye", "reason": "too_slow"}]),
    (events.Ack("#lobby", 7), [{"type": "ack", "room": "#lobby", "number": 7}]),
    (events.Ack(), [{"type": "ack"}]),
)  # fmt: skip


@for_each(("event", "objects"), SEEN)
def test_an_event_is_the_objects_that_the_table_says(event, objects):
    for here in (True, False):
        assert shown(event, here=here) == objects
    assert shown(event, event) == objects * 2


@for_each(("event", "objects"), [row for row in SEEN if not isinstance(row[0], (events.Message, events.Replay))])
def test_an_answer_is_the_event_with_the_ref(event, objects):
    assert shown(events.Answer(event, 'my "ref"')) == [{**each, "ref": 'my "ref"'} for each in objects]


def test_every_event_there_is_has_its_json_form():
    every = {each for each in vars(events).values() if isinstance(each, type) and issubclass(each, events.Event)} - {
        events.Event,
        events.MetricsShown,
        events.HealthShown,
    }
    by_hand = {events.Greeting, events.Replay, events.Answer, events.WireBytes, events.HelpShown}  # in jsonlines
    assert {kind for kind in codec.FORMS if issubclass(kind, events.Event)} == every - by_hand
    assert every - {type(event) for event, _ in SEEN} == {events.Greeting, events.Answer, events.WireBytes}


def test_the_greeting_is_one_line_of_text_that_says_that_it_is_to_be_skipped():
    data = dialect_of(None).views.here.encode([events.Greeting("1.0.0")])
    assert data == b"* Welcome to chat_threads 1.0.0. Programs skip this line.\n"


def test_bytes_of_the_wire_go_out_as_they_are():
    assert dialect_of().views.here.encode([events.WireBytes(b"\xff\x00")]) == b"\xff\x00"


def test_lines_are_compact_utf_8():
    assert (
        dialect_of().views.here.encode([said("é 🙂")])
        == (
            f'{{"type":"message","room":"#lobby","number":7,"at":"{AT_TEXT}","from":"ann",'
            '"kind":"say","text":"é 🙂"}\n'
        ).encode()
    )


ODD_TEXTS = [
    "", '"', "\\", '\\"', "\n", "\r\n", "\t", "\x00", "\x1b[2J", "\x7f", "\u0085", "\u2028", "é", "🙂", "</script>",
    "{}", "".join(map(chr, range(0x300))),
]  # fmt: skip


@for_each("odd", ODD_TEXTS)
def test_the_line_of_a_message_equals_the_object_form(odd):
    for kind in ("say", "action"):
        event = said(odd, odd, odd, 2**53 - 1, kind)
        form = codec.encode(event)
        line = jsonlines._message_line(event)
        assert line == json.dumps(form, ensure_ascii=False, separators=(",", ":"))
        assert json.loads(line) == form
        assert shown(event) == [form]
        assert shown(events.HistoryPage("#lobby", (event,), 1, None, None))[0]["messages"] == [form]


@for_each("odd", [*ODD_TEXTS, "\ud800"])
def test_a_line_has_no_raw_newline_or_control_character_whatever_is_in_it(odd):
    row = events.PersonRow(odd, (odd,), 1.0, odd)
    every = [
        said(odd, odd, odd), events.Welcome(odd, (odd,), odd), events.Entered(odd, odd, (odd,), 1, 1),
        events.Departed(odd, odd),
        events.Current(odd), events.Presence(odd, "left", (odd,), odd), events.Renamed(odd, odd),
        events.TopicChanged(odd, odd, odd),
        events.TopicShown(odd, odd), events.Redacted(odd, 1, odd), events.RoomDeleted(odd, odd, odd),
        events.PrivateLine(AT, odd, odd, odd),
        events.TopicShown(odd, odd), events.RoomDeleted(odd, odd, odd), events.PrivateLine(AT, odd, odd, odd),
        events.Moderated(odd, odd, "ban", odd, odd), events.RoomSet(odd, odd, odd),
        events.RoomShown(odd, (odd,), odd, (odd,)),
        events.AuditList(odd, (events.AuditRow(AT, odd, odd, odd, odd, odd),)),
        events.SanctionList(odd, (events.SanctionRow(odd, "ban", odd, odd, 1),)),
        events.Invited(odd, odd),
        events.HistoryPage(odd, (said(odd),), 1, 1, 1), events.SearchPage(odd, (said(odd),), False),
        events.RoomList((events.RoomRow(odd, 1, 1, odd),), 0), events.PeopleList(odd, (row,), 0),
        events.PersonShown(row, 1.0),
        events.QrShown(odd, (odd,)),
        events.StatsShown(odd, 1.0, 1, 1, 1, 1, 1.0), events.Pong(0.1, 0.1), events.TokenShown(odd),
        events.Restored((odd,)),
        events.ThreadList((events.ThreadRow(odd, odd, odd, odd, 0.1, odd, 1, 1, 1, 1),), 0),
        events.LockList(True, (events.LockRow(odd, 1, 1, 0.1, 0.1, odd, 0.1),)),
        events.TripShown(odd, 1, odd, events.Stages(0.1, None, None, None), (events.MemberTrip(odd, 0.1, 0.1),), 0),
        events.HelpShown("all"), events.Notice(odd),
        events.Problem(odd, odd), events.Bye(odd), events.Ack(odd, 1),
    ]  # fmt: skip
    assert {type(event) for event in every} >= {kind for kind in codec.FORMS if issubclass(kind, events.Event)}
    for event in (*every, *(events.Answer(each, odd or "x") for each in every[1:])):
        data = dialect_of().views.here.encode([event])
        assert data.count(b"\n") == 1
        line = data.decode().removesuffix("\n")
        assert not re.search("[\x00-\x1f]", line)
        assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize("at", [0, 1, 999, 1000, AT, 951_782_399_999, 4_102_444_800_000])
def test_times_are_utc_with_milliseconds_wherever_the_server_is(at, monkeypatch):
    monkeypatch.setenv("TZ", "NPT-5:45")
    codec._second.cache_clear()
    try:
        getattr(time, "tzset", lambda: None)()
        text = codec.timestamp(at)
    finally:
        monkeypatch.undo()
        getattr(time, "tzset", lambda: None)()
        codec._second.cache_clear()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    seen = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert round(seen.timestamp() * 1000) == at


def test_with_joins_off_joins_leaves_and_new_names_are_not_shown():
    dialect = dialect_of()
    assert dialect.set_option("joins", "off") == "Set: joins off."
    hidden = [
        events.Presence("#a", "joined", ("bob",)),
        events.Presence("#a", "left", ("bob",), "bye"),
        events.Renamed("bob", "rob"),
    ]
    assert shown(*hidden, said(), dialect=dialect) == [SAID]
    assert dialect.set_option(None, None) == "Set: joins off, replay 20."
    dialect.set_option("joins", "on")
    assert len(shown(*hidden, dialect=dialect)) == 3


def test_what_ignored_people_say_is_shown_only_in_pages():
    dialect = dialect_of()
    dialect.ignoring(frozenset({7}))
    replay = events.Replay("#lobby", (said(), said(who=7)), 7)
    assert shown(said(who=7), said(who=8), replay, dialect=dialect) == [SAID, SAID]
    [page] = shown(events.HistoryPage("#lobby", (said(who=7),), 7, None, None), dialect=dialect)
    assert len(page["messages"]) == 1
    left = [events.Presence("#a", "left", ("bob",), words, 7) for words in ("", "noise")]
    assert shown(left[1], dialect=dialect) == shown(left[0])
    dialect.set_option("joins", "off")
    assert shown(said(who=7), dialect=dialect) == []


def test_programs_with_the_same_settings_share_a_view():
    one, other = dialect_of("ann"), dialect_of("bob")
    assert one.views == other.views
    one.set_option("joins", "off")
    assert one.views != other.views
    one.set_option("joins", "on")
    one.renamed("anna")
    assert one.views == other.views


@for_each(
    ("option", "value"),
    [
        ("joins", "maybe"), ("joins", None), ("joins", ""), ("replay", "201"), ("replay", "-1"), ("replay", ""),
        ("replay", None), ("replay", "x"), ("replay", "٣"), ("replay", "1.5"), ("replay", "0000999"),
        ("replay", "0" * 5000), ("replay", "9" * 5000), ("replay", "20\n"), ("colour", "on"), ("", ""),
        ("joins\n", "on"),
    ],
)  # fmt: skip
def test_an_unknown_option_gets_an_error_and_changes_nothing(option, value):
    dialect = dialect_of()
    with pytest.raises(BadRequest, match=r"^set takes joins on or off, and replay 0 to 200\.$"):
        dialect.set_option(option, value)
    assert dialect.set_option(None, None) == "Set: joins on, replay 20."


def test_replay_may_be_set_from_0_to_200():
    dialect = dialect_of()
    for value in ("0", "200", "7"):
        assert dialect.set_option("replay", value) == f"Set: replay {value}."
        assert dialect.replay == int(value)


# --- hostile lines --------------------------------------------------------------------------------------


def test_each_of_ten_thousand_hostile_lines_is_one_input():
    rng = random.Random(1)
    lines = [line for line in itertools.islice(hostile(rng), 10_000) if line.strip()]
    dialect = dialect_of()
    for line in lines:
        dialect.feed(line + b"\n")
        found = next_request(dialect).command
        assert isinstance(found, (commands.Command, Told)), line[:200]
        if isinstance(found, Told):
            assert "\n" not in found.text, line[:200]
        assert dialect.next_input() is None, line[:200]
        assert not dialect.pending
