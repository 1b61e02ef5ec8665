"""The README and docs/ say what the program does: their tables are compared with the program's own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import click
from support.pages import (
    OPERATORS,
    PROGRAMMERS,
    PROTOCOL,
    README,
    RELIABILITY,
    ROOT,
    SOURCE,
    TEACHERS,
    USERS,
    table_after,
)
from support.programs import load

from chat_threads import commands
from chat_threads.cli import GROUPS, main
from chat_threads.dialects.jsonlines import REQUESTS
from chat_threads.dialects.typed import parse_line
from chat_threads.errors import ChatError

ROWS = [kind.row for kind in commands.TYPED]


def test_the_commands_table_is_the_programs():
    told = table_after("commands", USERS)
    assert told[:2] == [["text", "say it in the current room"], ["//text", "say a text that begins with /"]]
    assert told[2:] == [[row.usage, row.does] for row in ROWS]


def test_the_commands_for_an_evening_are_understood():
    lines = [row[0] for row in table_after("evening", TEACHERS) if row[0]]
    assert len(lines) == 10
    assert not [line for line in lines if isinstance(parse_line(line), commands.Say)]


def test_every_alias_is_named():
    for row in ROWS:
        for alias in row.aliases:
            assert f"``{alias}``" in USERS


def test_the_options_table_has_every_option_with_its_default():
    told = {row[0]: row[1] for row in table_after("options", OPERATORS)}
    options = [param for param in main.params if isinstance(param, click.Option) and param.name != "version"]
    assert list(told) == [option for group in GROUPS.values() for option in group if option in told]
    assert set(told) == {option.opts[0] for option in options}
    for option in options:
        if option.default is not None and isinstance(option.default, (str, int, float)):
            default = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
            assert told[option.opts[0]] == default


def test_help_groups_every_option():
    assert {option for group in GROUPS.values() for option in group} == {
        *(param.opts[0] for param in main.params),
        "--help",
    }


def test_the_two_commands_are_one_line_each_and_ci_runs_the_second():
    for which, end in (("start", "python -m chat_threads --port 8080"), ("tests", "python -m pytest")):
        command = subprocess.run(
            [sys.executable, ROOT / ".ci" / "readme-command", which], capture_output=True, text=True, check=True
        ).stdout
        assert command.endswith(end + "\n")
        assert command.count("\n") == 1
    assert '"$(.ci/readme-command tests)"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_file_and_name_in_the_table_of_ideas_exists():
    pointed = re.findall(r"^[^`]+``(chat_threads/[\w/]+\.py)``(.*)$", SOURCE, re.MULTILINE)
    assert len(pointed) > 10
    for path, rest in pointed:
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"``([\w.]+)``", rest):
            if name.endswith(".py"):
                assert (ROOT / "chat_threads" / name).exists()
            else:
                assert re.search(rf"(class|def) {name.rpartition('.')[2]}\b", source), (path, name)


def test_the_command_that_the_page_adds_fits_into_the_source():
    diff = textwrap.dedent(SOURCE.partition("the code of a command, ``/shrug``::")[2].partition("The row has")[0])
    files = diff.split("diff --git")[1:]
    assert len(files) == 2
    for file in files:
        head, _, hunk = file.strip().partition("\n@@")
        path = head.rpartition("+++ b/")[2]
        before = "\n".join(line[1:] for line in hunk.splitlines()[1:] if not line.startswith("+"))
        assert before in (ROOT / path).read_text(encoding="utf-8"), path


def test_the_protocol_lists_every_request_with_its_fields():
    told = {row[0]: row[1] for row in table_after("requests", PROTOCOL)}
    fields = {
        kind: ", ".join(field.name if field.required else f"[{field.name}]" for field in fields)
        for kind, (_, fields) in REQUESTS.items()
    }
    fields["hello"] += ", [replay], [since]"
    for kind, listed in fields.items():
        assert sorted(told.pop(kind).split(", ")) == sorted(listed.split(", ")), kind
    assert told == {}


def test_the_protocol_lists_every_error_code():
    def leaves(error: type[ChatError]) -> Iterator[type[ChatError]]:
        for each in error.__subclasses__():
            yield from leaves(each) if each.__subclasses__() else [each]

    codes = {error.code for error in leaves(ChatError)}
    people_only = {"unknown_command", "usage", "not_chat"}
    assert set(re.findall(r"^``(\w+)``  ", PROTOCOL.split("\nErrors\n")[1], re.MULTILINE)) == codes - people_only


def test_the_conversations_in_the_protocol_have_an_object_on_each_line():
    shown = [line[6:].strip() for line in PROTOCOL.splitlines() if re.match(r" {4}(->|  ) [{*]", line)]
    objects = [json.loads(line) for line in shown if not line.startswith("* Welcome")]
    assert sum("type" in each for each in objects) == len(objects) > 15


def test_the_program_in_the_docs_prints_what_they_say(server):
    server.client("ci #lab2").ask("the build is green")
    _, _, rest = PROGRAMMERS.partition("\n.. program\n\n::\n\n")
    source, _, rest = rest.partition("\nIt prints::\n\n")
    printed = rest.partition("\n\n")[0]
    program = textwrap.dedent(source).replace("8080", str(server.port))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == textwrap.dedent(printed) + "\n"


def test_the_docs_show_the_bots_loop_as_it_is():
    bot = (ROOT / "scripts" / "bot.py").read_text(encoding="utf-8")
    _, _, rest = PROGRAMMERS.partition("and greets everyone who joins::\n\n")
    shown = rest.partition("\n\n")[0]
    assert textwrap.indent(textwrap.dedent(shown), " " * 8) in bot


def test_the_readme_is_short_and_every_page_that_it_names_exists():
    assert len(README.splitlines()) <= 150
    for page in re.findall(r"``((?:docs/)?\w+\.rst)``", README):
        assert (ROOT / page).exists(), page
    for picture in re.findall(r"^.. image:: (\S+)$", README, re.MULTILINE):
        assert (ROOT / picture).exists(), picture


def test_every_test_that_the_page_on_reliability_names_is_there():
    names = set(re.findall(r"``(test_\w+)``", RELIABILITY))
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) > 20
    assert [name for name in sorted(names) if f"def {name}(" not in tests] == []


def test_every_file_of_the_tests_that_a_page_names_is_there():
    for page in (ROOT / "docs").rglob("*.rst"):
        for path in re.findall(r"``(tests/[\w/.]+)``", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), (page, path)


def test_the_page_on_reliability_has_every_check_and_every_fault():
    assert re.findall(r"^(C\d+)  ", RELIABILITY, re.MULTILINE) == [f"C{number}" for number in range(1, 11)]
    table = RELIABILITY.split("\nfault  ")[1].split("\n====", 2)[1].splitlines()[1:]
    assert [line[:38].strip() for line in table if line[:38].strip()] == list(load("torture_faults").FAULTS)
