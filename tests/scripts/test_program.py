"""The program as its operator sees it: options, the messages at the start, reasons not to start, signals, restarts."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import ipaddress
import logging
import os
import pathlib
import queue
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from click.testing import CliRunner
from driver.websocket import BINARY, FIN
from support.clients import Client
from support.samples import for_each
from support.servers import STREAMS, free_port, our_threads, started_with
from support.waiting import WAIT, wait_for
from support.web import WebSocket, framed
from support.words import error_line

from chat_threads import __version__, announcement, cli, logs, qr, reach
from chat_threads.addresses import networks
from chat_threads.chat import Chat, Options
from chat_threads.conversation import Limits
from chat_threads.disconnects import ShuttingDown
from chat_threads.door import GIVING_WAY, RETURNING
from chat_threads.errors import StartError
from chat_threads.motd import read_motd
from chat_threads.server import MAX_REFUSED
from chat_threads.storage import Storage

pytestmark = pytest.mark.slow

posix = pytest.mark.skipif(os.name != "posix", reason="these are POSIX signals")


@pytest.fixture
def in_this_process(capfd) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run the program here, as main does: call it with arguments for (exit code, output, errors)."""
    handled = [
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGALRM") if hasattr(signal, name)
    ]
    before = {number: signal.getsignal(number) for number in handled}

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main([str(each) for each in arguments], prog_name="chat-threads")
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out, err

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)
    threading.stack_size(0)
    logging.getLogger("chat_threads").setLevel(logging.NOTSET)
    assert our_threads() == []


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


# --- options --------------------------------------------------------------------------------------------

OPTIONS = {  # option: a value other than the default, and what comes of it
    "--host": ("127.0.0.1", "host", "127.0.0.1"),
    "--port": ("8081", "port", 8081),
    "--max-clients": ("7", "limits.max_clients", 7),
    "--per-address": ("3", "limits.per_address", 3),
    "--proxy-protocol": ("10.0.0.1, 2001:db8::/32", "proxies", networks("10.0.0.1,2001:db8::/32")),
    "--web-port": ("8081", "web_port", 8081),
    "--web-origin": (
        "https://chat.example, http://other.example:8080",
        "origins",
        frozenset({"https://chat.example", "http://other.example:8080"}),
    ),
    "--tls-cert": ("cert.pem", "tls_cert", "cert.pem"),
    "--tls-key": ("key.pem", "tls_key", "key.pem"),
    "--tls-only": ("", "tls_only", True),
    "--plain-passwords": ("refuse", "plain_passwords", "refuse"),
    "--operator": ("ann", "operators", ("ann",)),
    "--operator-token": ("", "operator_token", True),
    "--db": ("other.db", "db", "other.db"),
    "--sync": ("full", "sync", "full"),
    "--retain": ("1.5", "retain_days", 1.5),
    "--replay": ("5", "replay", 5),
    "--motd": ("motd.txt", "motd", ("be kind",)),
    "--cluster": ("postgresql:///chat", "cluster", "postgresql:///chat"),
    "--writers": ("per-session", "writers", None),
    "--rate": ("0", "limits.rate", 0.0),
    "--burst": ("9", "limits.burst", 9),
    "--handshake-timeout": ("2.5", "limits.handshake_timeout", 2.5),
    "--send-timeout": ("3", "limits.send_timeout", 3.0),
    "--queue-limit": ("777", "limits.queue_limit", 777),
    "--memory": ("64", "memory", 64),
    "--lab": ("", "lab", True),
    "--trace": ("trace.json", "trace", "trace.json"),
    "--trace-limit": ("500", "trace_limit", 500),
    "--metrics-from": ("10.0.0.0/8", "metrics_from", networks("10.0.0.0/8")),
    "--log-level": ("debug", "log_level", "debug"),
    "--log-file": ("chat.log", "log_file", "chat.log"),
}


@pytest.fixture
def chosen(monkeypatch, tmp_path) -> Callable[..., dict[str, object]]:
    """chosen(arguments, environment): the values that the program would run with, by their names in OPTIONS."""
    (tmp_path / "motd.txt").write_text("be kind\n")
    monkeypatch.chdir(tmp_path)

    def parse(arguments: list[str], env: dict[str, str]) -> dict[str, object]:
        calls: list[tuple[Options, str, str | None]] = []
        monkeypatch.setattr(cli, "run", lambda *call: calls.append(call))
        result = CliRunner(env=env).invoke(cli.main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        [(options, log_level, log_file)] = calls
        values: dict[str, object] = {"log_level": log_level, "log_file": log_file}
        values |= {
            field.name: getattr(options, field.name) for field in dataclasses.fields(options) if field.name != "limits"
        }
        values |= {f"limits.{f.name}": getattr(options.limits, f.name) for f in dataclasses.fields(Limits)}
        return values

    return parse


def test_without_options_the_defaults_are_those_of_the_classes(chosen):
    values = chosen([], {})
    limits = {f"limits.{field.name}": field.default for field in dataclasses.fields(Limits)}
    assert {name: values[name] for name in limits} == limits
    assert (values["host"], values["port"], values["db"], values["writers"]) == ("0.0.0.0", 8080, "chat_threads.db", 2)
    assert (values["sync"], values["retain_days"], values["motd"]) == ("normal", None, ())
    assert (values["log_level"], values["log_file"]) == ("info", None)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_may_be_given_on_the_command_line_or_in_the_environment(chosen, option):
    text, name, value = OPTIONS[option]
    variable = "CHAT_THREADS_" + option.strip("-").replace("-", "_").upper()
    default = chosen([], {})
    assert default[name] != value
    typed = [option, text] if text else [option]
    assert chosen(typed, {}) == chosen([], {variable: text or "1"}) == default | {name: value}


def test_writers_may_be_a_number_too(chosen):
    assert chosen(["--writers", "5"], {})["writers"] == 5


def test_the_command_line_wins_over_the_environment(chosen):
    assert chosen(["--port", "1"], {"CHAT_THREADS_PORT": "2"})["port"] == 1


def test_help_shows_every_option_in_a_group_with_its_default():
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    groups = re.split(r"\n(?=[A-Z][a-z ]+:\n)", result.output)[1:]
    assert [group.partition(":")[0] for group in groups] == list(cli.GROUPS)
    shown = re.findall(r"^  (--[a-z-]+)", "\n".join(groups), re.M)
    assert shown == [option for options in cli.GROUPS.values() for option in options]
    assert {option for param in cli.main.params for option in param.opts} | {"--help"} == set(shown)
    assert set(OPTIONS) == set(shown) - {"--version", "--help"}
    text = " ".join(result.output.split())
    for default in ("0.0.0.0", "8080", "1000", "chat_threads.db", "normal", "20", "50", "60", "30", "2", "info"):
        assert f"[default: {default}" in text
    assert max(len(line) for line in result.output.splitlines()) <= 80
    assert "CHAT_THREADS_PORT" in result.output


def test_the_version_is_the_newest_one_of_which_the_changes_are_listed():
    changes = (pathlib.Path(cli.__file__).parents[1] / "CHANGES.rst").read_text(encoding="utf-8")
    assert re.findall(r"^(\d+\.\d+\.\d+)$", changes, re.MULTILINE)[0] == __version__


def test_the_help_of_the_scripts_shows_n_for_a_number():
    for path in sorted((pathlib.Path(cli.__file__).parents[1] / "scripts").rglob("*.py")):
        for option in re.findall(r"@click\.option\((?:.|\n)*?\n(?=@|def)", path.read_text(encoding="utf-8")):
            assert "metavar=" in option or not re.search("Range|number\\(|type=int", option), (path.name, option)


def test_the_console_script_and_the_module_are_the_same_program():
    script = pathlib.Path(sys.executable).with_name("chat-threads" + (".exe" if os.name == "nt" else ""))
    for program in ([str(script)], [sys.executable, "-m", "chat_threads"]):
        result = subprocess.run([*program, "--version"], capture_output=True, text=True, timeout=WAIT, check=True)
        assert result.stdout == f"chat_threads {__version__}\n"
        result = subprocess.run([*program, "--help"], capture_output=True, text=True, timeout=WAIT, check=True)
        assert result.stdout.startswith("Usage: chat-threads [OPTIONS]\n")


# --- why it does not start ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--prot", "80"], "--prot"),
        (["--port"], "--port"),
        (["--port", "eighty"], "'eighty' is not a whole number. --help"),
        (["--operator", "admin"], "The name admin is reserved for the server. Try admin2. --help"),
        (["--retain", "long"], "'long' is not a number. --help"),
        (["--port", "65536"], "65536"),
        (["lobby"], "(lobby). --help"),
        (["--sync", "never"], "never"),
        (["--writers", "0"], "0"),
        (["--writers", "many"], "many"),
        (["--rate", "-1"], "-1"),
        (["--rate", "nan"], "nan"),
        (["--retain", "0"], "0"),
        (["--retain", "inf"], "inf"),
        (["--send-timeout", "1e300"], "1e+300"),
        (["--handshake-timeout", "inf"], "inf"),
        (["--queue-limit", "1"], "1"),
        (["--max-clients", "0"], "0"),
        (["--per-address", "0"], "0"),
        (["--proxy-protocol", "localhost"], "localhost"),
        (["--proxy-protocol", "10.0.0.1,"], "''"),
        (["--log-level", "loud"], "loud"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_option_is_reported_in_one_line_and_ends_with_2(arguments, why):
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert line.startswith("chat_threads: ")
    assert why in line
    assert line.endswith("--help shows the options.")


def test_a_bad_value_in_the_environment_is_reported_in_the_same_way():
    result = CliRunner(env={"CHAT_THREADS_PORT": "eighty"}).invoke(cli.main, [])
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert "eighty" in line


def test_a_history_in_a_directory_that_does_not_exist_is_reported_by_the_directory(tmp_path):
    result = CliRunner().invoke(cli.main, ["--port", "0", "--db", str(tmp_path / "none" / "chat.db")])
    assert result.exit_code == 2
    assert result.output.endswith(f"cannot be opened: there is no directory {tmp_path / 'none'}.\n")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"caf\xe9\n", "not UTF-8"),
        (b"x" * 201, "at most 50 lines of 200 characters"),
        (b"x\n" * 51, "at most 50 lines of 200 characters"),
    ],
    ids=["missing", "not UTF-8", "a long line", "many lines"],
)
def test_an_unreadable_motd_is_reported_in_one_line_and_ends_with_2(tmp_path, content, why):
    motd = tmp_path / "motd.txt"
    if content is not None:
        motd.write_bytes(content)
    result = CliRunner().invoke(cli.main, ["--motd", str(motd)])
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert line.startswith(f"chat_threads: The file of --motd, {motd}, ")
    assert why in line


def _not_sqlite(path: pathlib.Path) -> None:
    path.write_text("A diary. " * 100)


def _other_sqlite(path: pathlib.Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE diary (entry)")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "is not a regular file"),
        (lambda path: path.touch(), "is empty"),
        (_not_sqlite, "is not an SQLite file"),
        (_other_sqlite, "is an SQLite file, but not a chat_threads history"),
    ],
    ids=["a directory", "an empty file", "a text", "another program's"],
)
def test_a_file_that_is_no_history_is_reported_in_one_line_and_ends_with_2(in_this_process, tmp_path, make, why):
    db = tmp_path / "chat.db"
    make(db)
    before = db.read_bytes() if db.is_file() else None
    code, out, err = in_this_process("--host", "127.0.0.1", "--port", 0, "--db", db)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("chat_threads: ")
    assert str(db) in line
    assert why in line
    assert before is None or db.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--db", "nowhere/chat.db"], "nowhere/chat.db"),
        (["--log-file", "nowhere/chat.log"], "The file of --log-file, nowhere/chat.log, cannot be written"),
        (["--log-file", "."], "The file of --log-file, ., cannot be written"),
        (["--trace", "."], "The file of --trace, ., cannot be written"),
        (["--motd", "."], "The file of --motd, ., cannot be read"),
        (["--tls-key", "key.pem"], "The option --tls-key needs a certificate. Give one with --tls-cert."),
        (["--tls-only"], "The option --tls-only needs a certificate. Give one with --tls-cert."),
        (["--tls-cert", "none.pem"], "TLS cannot begin with none.pem: No such file or directory."),
        (["--host", "no.such.host.invalid"], "The address no.such.host.invalid cannot be resolved"),
        (["--host", "203.0.113.1"], "This machine does not have the address 203.0.113.1."),  # RFC 5737: nobody's
        (["--port", "8080", "--web-port", "8080"], "--port and --web-port are both 8080."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_file_or_an_address_that_cannot_be_used_is_reported_in_one_line(
    in_this_process, tmp_path, monkeypatch, arguments, why
):
    monkeypatch.chdir(tmp_path)
    code, out, err = in_this_process("--host", "127.0.0.1", "--port", "0", *arguments)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert [*tmp_path.iterdir()] == []
    assert line.startswith(f"chat_threads: {why}" if "nowhere/chat.db" not in why else "chat_threads: ")
    assert why in line


WRITTEN = ("--db", "--log-file", "--trace")
USED = (*WRITTEN, "--motd", "--tls-cert", "--tls-key")


@pytest.mark.parametrize(
    ("option", "other"), [(option, other) for option in WRITTEN for other in USED if option != other]
)
def test_a_file_that_is_given_twice_is_not_written_to(in_this_process, tmp_path, option, other):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("precious")
    link.symlink_to(file)
    code, out, err = in_this_process("--host", "127.0.0.1", "--port", "0", option, file, other, link)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert {each.strip(".") for each in line.split() if each.startswith("--")} == {option, other}
    assert file.read_text() == "precious"
    assert {*tmp_path.iterdir()} == {file, link}


def test_a_port_in_use_is_reported_in_one_line_and_the_history_is_free_again(in_this_process, tmp_path, taken_port):
    db = tmp_path / "chat.db"
    for option in ("--port", "--web-port", "--port", "--port"):  # the last one would find the history locked
        ports = ("--port", 0, option, taken_port)
        code, out, err = in_this_process("--host", "127.0.0.1", *ports, "--db", db)
        assert (code, out) == (2, "")
        assert err == f"chat_threads: Port {taken_port} is in use by another program. Choose another with {option}.\n"
        if option == "--web-port":
            assert [*tmp_path.iterdir()] == []
            Storage(str(db)).close()


def test_the_error_for_a_port_that_is_not_allowed_names_one_that_is(in_this_process, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("chat_threads.chat.ChatServer", refuse)
    code, _, err = in_this_process("--host", "127.0.0.1", "--port", 80, "--db", tmp_path / "chat.db")
    assert code == 2
    assert err == "chat_threads: This user may not use port 80. Take one above 1023, such as --port 8080.\n"


@posix
def test_a_second_server_on_one_history_says_who_holds_it_and_ends_with_2(start_process, tmp_path):
    first = start_process()
    again = subprocess.run(
        [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", "0", "--db", str(tmp_path / "chat.db")],
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert (again.returncode, again.stdout) == (2, "")
    [line] = again.stderr.splitlines()
    assert re.match(
        rf"chat_threads: The history \S+chat\.db is in use by process {first.popen.pid}, since \d{{4}}-", line
    )
    with first.client("ann") as ann:  # her client works as before
        assert ann.ask("still here")
    assert first.stop() == 0


# --- what it says on starting ---------------------------------------------------------------------------


def _chat(host: str, stored: int = 0, rooms: int = 1) -> Any:
    return types.SimpleNamespace(
        address=(host, 8080),
        web_address=(host, 8080),
        history=types.SimpleNamespace(stored=stored),
        certificate=None,
        operator_token="",
        publisher=types.SimpleNamespace(list_chat_rooms=lambda: [None] * rooms),
    )


def _announced(capsys, host: str, stored: int, rooms: int, db: str = "chat.db") -> list[str]:
    announcement.announce(_chat(host, stored, rooms), Options(host=host, db=db))
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def own_addresses(monkeypatch) -> dict[bool, str]:
    """The addresses under which others reach this machine: IPv4 (False) and IPv6 (True). Empty: it has no network."""
    found: dict[bool, str] = {}
    monkeypatch.setattr(reach, "own_address", lambda other: found.get(":" in other))
    return found


def test_a_server_on_all_addresses_says_what_others_can_type_and_how_to_keep_them_out(
    capsys, own_addresses, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    own_addresses.update({False: "192.0.2.7", True: "2001:db8::7"})
    address, page, hint, history = _announced(capsys, "0.0.0.0", 431, 2)
    assert address == "On this machine: telnet localhost 8080   From others: telnet 192.0.2.7 8080"
    assert page == "In a browser: http://localhost:8080/   From others: http://192.0.2.7:8080/"
    assert hint.endswith("; --host 127.0.0.1 prevents it.")
    assert history == f"History: {tmp_path / 'chat.db'}: 431 messages, 2 rooms."


@pytest.mark.parametrize(
    ("has", "others", "pages"),
    [
        (
            {False: "192.0.2.7", True: "2001:db8::7"},
            "telnet 192.0.2.7 8080 or telnet 2001:db8::7 8080",
            ["   From others: http://192.0.2.7:8080/", "  or http://[2001:db8::7]:8080/"],  # in 80 columns
        ),
        ({False: "192.0.2.7"}, "telnet 192.0.2.7 8080", ["   From others: http://192.0.2.7:8080/"]),
        ({True: "2001:db8::7"}, "telnet 2001:db8::7 8080", ["   From others: http://[2001:db8::7]:8080/"]),
    ],
    ids=["both", "IPv4", "IPv6"],
)
def test_a_server_on_all_of_ipv6_says_what_to_type_for_both_families(capsys, own_addresses, has, others, pages):
    own_addresses.update(has)
    address, *page, hint, _ = _announced(capsys, "::", 0, 1)
    assert address == f"On this machine: telnet localhost 8080   From others: {others}"
    assert page == ["In a browser: http://localhost:8080/" + pages[0], *pages[1:]]
    assert hint.endswith("; --host 127.0.0.1 prevents it.")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_a_network_only_this_machines_address_is_said(capsys, own_addresses, host):
    address, page, _, history = _announced(capsys, host, 1, 1, ":memory:")
    assert address == "On this machine: telnet localhost 8080"
    assert page == "In a browser: http://localhost:8080/"
    assert history == "History: in memory only, lost when the server stops: 1 message, 1 room."


@pytest.mark.parametrize(
    ("host", "typed", "opened"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "[::1]"),
        ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_server_on_one_address_says_that_address(capsys, host, typed, opened):
    address, page, history = _announced(capsys, host, 0, 1)
    assert address == f"Listening: telnet {typed} 8080"
    assert page == f"In a browser: http://{opened}:8080/"
    assert history.startswith("History: ")


@pytest.mark.parametrize(("only", "host"), [(True, "0.0.0.0"), (False, "0.0.0.0"), (False, "127.0.0.1")])
def test_a_server_with_a_certificate_says_how_a_telnet_encrypts(capsys, own_addresses, only, host):
    chat = _chat(host)
    chat.certificate = object()
    announcement.announce(chat, Options(host=host, tls_cert="cert.pem", tls_only=only))
    address, *more = capsys.readouterr().out.splitlines()
    assert address.split(": ")[1].startswith("telnet-ssl -z ssl " if only else "telnet ")
    said = [f"Encrypted: telnet-ssl -z ssl {'localhost' if host == '0.0.0.0' else host} 8080"]
    assert [line for line in more if "telnet" in line] == ([] if only else said)


@pytest.mark.parametrize("other", ["192.0.2.1", "2001:db8::1"])
def test_the_address_on_the_network_is_one_of_this_machine_or_none(monkeypatch, other):
    found = reach.own_address(other)
    assert found is None or ipaddress.ip_address(found).version == ipaddress.ip_address(other).version

    class Unplugged(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(reach.socket, "socket", Unplugged)
    assert reach.own_address(other) is None


class _Terminal(io.StringIO):
    """A stdout on a terminal."""

    encoding = "utf-8"

    def fileno(self) -> int:
        return 1

    def isatty(self) -> bool:
        return True


@for_each(
    ("size", "encoding", "lines"),
    [
        ((80, 24), "utf-8", 17),
        ((80, 21), "utf-8", 0),  # too few rows for the lines above, the code, and the cursor
        ((32, 24), "utf-8", 0),
        ((80, 40), "cp850", 17),
        ((80, 40), "latin-1", 33),  # without half blocks, each row of the code takes a line
        ((64, 40), "latin-1", 0),
        (None, "utf-8", 0),  # not a terminal
    ],
)
def test_a_terminal_with_room_for_it_shows_the_qr_code_of_the_address(
    own_addresses, monkeypatch, size, encoding, lines
):
    def size_of(number: int) -> tuple[int, int]:
        if size is None:
            raise OSError(25, "Inappropriate ioctl for device")
        return size

    own_addresses[False] = "192.168.100.100"
    shown = _Terminal()
    shown.encoding = encoding
    with monkeypatch.context() as patch:
        patch.setattr(announcement.os, "get_terminal_size", size_of)
        patch.setattr(announcement.sys, "stdout", shown)
        patch.setenv("TERM", "xterm")
        announcement.announce(_chat("0.0.0.0"), Options(db=":memory:"))
    code = shown.getvalue().splitlines()[4:]
    assert code == (qr.drawn(qr.rows_of("http://192.168.100.100:8080/"), lines == 17) if lines else [])
    assert len(code) == lines


def test_without_websockets_it_says_what_to_install_for_the_browser(capsys, own_addresses, monkeypatch):
    own_addresses[False] = "192.0.2.7"
    monkeypatch.setattr(announcement, "HAS_WEB", False)
    _, page, *_ = _announced(capsys, "0.0.0.0", 1, 1)
    assert page == "In a browser: first type .venv/bin/pip install '.[web]' and start again."


# --- signals --------------------------------------------------------------------------------------------

STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]


@posix
@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_signal_ends_it_with_0_and_clients_get_the_reason(start_process, number):
    process = start_process()
    with process.client("ann") as ann, process.client() as nameless:
        nameless.expect("What is your name?")
        assert process.stop(number) == 0
        assert ann.rest()[-1] == error_line(ShuttingDown())
        assert nameless.rest() == [error_line(ShuttingDown())]
    assert f" MainThread: stopping: {number.name}; a second signal ends the server at once\n" in process.errors
    assert "Traceback" not in process.errors


@posix
def test_a_second_signal_ends_it_at_once(start_process):
    """A client that does not read makes the stop take a while: the server tries to send what it owes."""
    process = start_process("--rate", "0", "--queue-limit", "100000")
    with Client(process.port, "stuck", receive_buffer=4096), process.client("ann") as ann:
        while not any(line.startswith("* threads ") and int(line.split()[-1]) > 8 for line in ann.ask("/stats")):
            ann.send(*["x" * 1900] * 500)  # until the stuck one has a writer thread that waits for it
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping: SIGTERM" in process.errors)
        assert process.stop(signal.SIGINT) == -signal.SIGINT


@posix
def test_a_terminal_that_closes_may_send_sighup_twice_and_it_still_stops_in_order(start_process):
    process = start_process()
    with process.client("ann") as ann:
        for number in (signal.SIGHUP, signal.SIGHUP):
            process.popen.send_signal(number)
        assert ann.rest()[-1] == error_line(ShuttingDown())
        assert process.stop(signal.SIGHUP) == 0


@posix
def test_however_often_a_terminal_sends_sighup_the_server_stops_in_order(start_process):
    process = start_process()
    with process.client("ann") as ann:
        while process.popen.poll() is None:
            process.popen.send_signal(signal.SIGHUP)
        assert ann.rest()[-1] == error_line(ShuttingDown())
        assert process.stop(signal.SIGHUP) == 0


@posix
def test_sighup_opens_the_log_file_again_as_logrotate_wants_it(start_process, tmp_path):
    log, moved = tmp_path / "chat.log", tmp_path / "chat.log.1"
    process = start_process("--log-file", str(log))
    began = rf"chat_threads {re.escape(__version__)} has started: process {process.popen.pid}, .* port {process.port}, "
    wait_for(lambda: re.search(f"{began}history {re.escape(str(process.db))} with 0 messages", log.read_text()))
    with process.client("ann"):
        wait_for(lambda: re.search(r"\(ann\).* is admitted", log.read_text()), "the log is written")
        for _ in range(3):
            log.rename(moved)
            process.popen.send_signal(signal.SIGHUP)
            wait_for(log.exists, "there is a new log")
            assert log.read_text() == ""
        with process.client("bob"):
            wait_for(lambda: re.search(r"\(bob\).* is admitted", log.read_text()))
        assert "(bob)" not in moved.read_text()
        log.rename(moved)
        log.mkdir()
        process.popen.send_signal(signal.SIGHUP)
        wait_for(lambda: "cannot be opened again, so the old one stays in use: Is a directory" in moved.read_text())
        with process.client("cy"):
            wait_for(lambda: re.search(r"\(cy\).* is admitted", moved.read_text()))
    assert process.stop() == 0


@posix
@pytest.mark.parametrize("options", [(), ("--log-file", "chat.log")], ids=["", "with a log file"])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(start_process, tmp_path, options):
    """nohup ignores SIGHUP; a shell's script ignores SIGINT for what it starts in the background."""
    process = start_process(*options, shell=f"cd '{tmp_path}' && trap '' HUP INT USR1")
    ignored = int(re.search(r"SigIgn:\s*(\w+)", pathlib.Path(f"/proc/{process.popen.pid}/status").read_text())[1], 16)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        assert ignored >> (number - 1) & 1
        process.popen.send_signal(number)
    with process.client("ann") as ann:
        assert any("still here" in line for line in ann.ask("still here"))
    assert process.stop() == 0
    assert "Thread MainThread" not in process.errors


# --- stdin, stdout and stderr ---------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("streams", STREAMS)
def test_it_serves_and_stops_in_order_whatever_its_streams_are(tmp_path, streams):
    port, db = free_port(), tmp_path / "chat.db"
    options = ("--host", "127.0.0.1", "--port", str(port), "--db", str(db), "--trace", str(tmp_path / "trace.json"))
    with started_with(streams, "-m", "chat_threads", *options) as server:
        try:

            def answers() -> bool:
                assert server.poll() is None, server.communicate()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait_for(answers)
            for number in range(3):
                opened = os.readlink(f"/proc/{server.pid}/fd/{number}")
                assert opened.startswith(("/dev/", "pipe:")), f"what goes to {number} ends up in {opened}"
            with Client(port, "ann") as ann:
                ann.ask("hello")
                server.send_signal(signal.SIGTERM)
                assert ann.rest()[-1] == error_line(ShuttingDown())
            assert server.wait(WAIT) == 0
            assert "Traceback" not in server.stderr.read()
        finally:
            server.kill()
    with contextlib.closing(sqlite3.connect(db)) as connection:
        assert connection.execute("SELECT text FROM messages").fetchall() == [("hello",)]


@posix
@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(
    "options", [["--port", "many"], ["--db", "/dev/null/chat.db"]], ids=["an option", "the history"]
)
def test_a_failed_start_ends_with_2_even_if_nobody_can_read_why(streams, options):
    with started_with(streams, "-m", "chat_threads", "--port", "0", *options) as server:
        assert server.wait(WAIT) == 2


@posix
@pytest.mark.parametrize(
    ("encoding", "where"),
    [("ascii", "b\udcffd"), ("cp1252", "чат"), ("latin-1", "チャット"), ("utf-8", "b\udcffd"), ("utf-8", "чат")],
)
def test_a_path_that_cannot_be_printed_is_printed_with_escapes(tmp_path, encoding, where):
    env = {"PYTHONIOENCODING": encoding}
    db = tmp_path / where / "chat.db"
    program = ["-m", "chat_threads", "--host", "127.0.0.1", "--port", "0", "--db", str(db)]
    with started_with("", *program, env=env) as server:
        assert server.wait(WAIT) == 2  # there is no such folder
        error = server.stderr.read()
    assert error.startswith("chat_threads: ")
    assert len(error.splitlines()) == 1
    db.parent.mkdir()
    with started_with("", *program, env=env) as server:
        for line in ("Listening: ", "In a browser: ", "History: "):
            assert server.stdout.readline().startswith(line)
        server.send_signal(signal.SIGTERM)
        assert server.wait(WAIT) == 0


# --- SIGUSR1, and the rest ------------------------------------------------------------------------------


@posix
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no such signal")
def test_sigusr1_dumps_what_every_thread_is_doing_and_the_server_goes_on(start_process):
    process = start_process()
    with process.client("ann") as ann:
        ann.news()
        process.popen.send_signal(signal.SIGUSR1)
        places = {
            "main": "run",
            "acceptor": "serve_forever",
            "history": "take",
            "writer-1": "_work",
            "reader-1": "read",
        }
        for name, place in places.items():
            dumped = re.compile(rf"^Thread {name}:\n(  .*\n)*?.* in {place}\n".replace("main", "MainThread"), re.M)
            wait_for(lambda dumped=dumped: dumped.search(process.errors), dumped.pattern)
        assert any("still here" in line for line in ann.ask("still here"))
    assert process.stop() == 0


@posix
def test_it_stops_in_order_though_nobody_reads_what_it_prints(tmp_path):
    """As when Ctrl-C ends ``chat-threads | tee log``: both get the signal, and tee is the first to go."""
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", "0", "--db", str(tmp_path / "chat.db")],
        stdout=write_end,
        stderr=write_end,
    )
    try:
        os.close(write_end)
        with open(read_end) as output:
            port = int(output.readline().split()[-1])
            assert "History: " in output.readline() + output.readline()
            with Client(port, "ann") as ann:
                output.close()
                server.send_signal(signal.SIGINT)
                assert ann.rest()[-1] == error_line(ShuttingDown())
        assert server.wait(WAIT) == 0
    finally:
        server.kill()
        server.wait()


@posix
def test_it_serves_though_nobody_reads_what_it_prints_on_starting(tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    read_end, write_end = os.pipe()
    os.close(read_end)
    server = subprocess.Popen(
        [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", str(port), "--db", ":memory:"],
        stdout=write_end,
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(write_end)

        def answers() -> bool:
            assert server.poll() is None
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(answers)
        with Client(port, "ann") as ann:
            server.send_signal(signal.SIGTERM)
            assert ann.rest()[-1] == error_line(ShuttingDown())
        assert server.wait(WAIT) == 0
    finally:
        server.kill()
        server.wait()


@posix
def test_run_serves_until_a_signal_and_leaves_no_thread(in_this_process, tmp_path, monkeypatch):
    """In this process and its main thread; a client comes and goes meanwhile."""
    ready: queue.SimpleQueue[Chat] = queue.SimpleQueue()
    announce = cli.announce

    def announce_and_tell(chat: Chat, options: Options) -> None:
        announce(chat, options)
        ready.put(chat)

    monkeypatch.setattr(cli, "announce", announce_and_tell)
    ends: list[str] = []

    def visit() -> None:
        try:
            with Client(ready.get(timeout=WAIT).address[1], "ann") as ann:
                ann.ask("hello")
                os.kill(os.getpid(), signal.SIGTERM)
                ends.extend(ann.rest())
        except BaseException:
            os.kill(os.getpid(), signal.SIGTERM)
            raise

    visitor = threading.Thread(target=visit)
    visitor.start()
    monkeypatch.setattr(sys, "exit", lambda code: None)
    options = Options(host="127.0.0.1", port=0, db=str(tmp_path / "chat.db"))
    cli.run(options, "info", str(tmp_path / "chat.log"))
    visitor.join(WAIT)
    assert ends == [error_line(ShuttingDown())]
    assert re.search(r"\(ann\).* is admitted", (tmp_path / "chat.log").read_text())


# --- the log --------------------------------------------------------------------------------------------

LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:DEBUG|INFO|WARNING|ERROR)"
    r" (?:MainThread|acceptor|history|reader-\d+|writer-\d+|writer-of-\d+): \S.*"
)


def test_log_lines_carry_the_threads_name_and_never_what_people_say(start_process, tmp_path):
    log = tmp_path / "chat.log"
    motd = tmp_path / "motd.txt"
    motd.write_text("secret motd\n")
    process = start_process("--log-level", "debug", "--log-file", str(log), "--motd", str(motd))
    with process.client("ann") as ann, process.client("bob") as bob:
        for line in (
            "secret text",
            "//secret",
            "/me secret action",
            "/msg bob secret private",
            "/away secret reason",
            "/topic secret topic",
            "/create #lab secret topic",
            "/search secret",
            "/secret",
            "/join secret",
            "/msg secret hello",
            "/set secret on",
            "secret " * 300,
        ):
            ann.ask(line)
        ann.send_bytes(b"secret \xe9\r\n")
        ann.expect("not UTF-8")
        bob.send("/reply secret answer", "/quit secret farewell")
        bob.rest()
        with process.client() as late:
            late.send("not-a-name:secret")
            late.expect("! A name is")
    with process.client() as web:
        web.send_bytes(b"GET /secret HTTP/1.1\r\n\r\n")
        web.rest()
    with contextlib.closing(WebSocket(process.port)) as web:
        web.send({"type": "hello", "name": "cid"}, {"type": "say", "text": "secret text"})
        web.expect("message", text="secret text")
        web.sock.sendall(framed(b"secret bytes", FIN | BINARY))
        web.rest()
    assert process.stop() == 0
    assert process.errors == ""
    lines = log.read_text().splitlines()
    assert len(lines) > 6
    assert all(LOG_LINE.fullmatch(line) for line in lines), lines
    assert "secret" not in log.read_text()


def test_without_a_log_file_the_log_goes_to_stderr_and_the_level_is_heeded(start_process):
    for level, shown in (("info", True), ("warning", False)):
        process = start_process("--log-level", level)
        process.client("ann").close()
        assert process.stop() == 0
        assert bool(re.search(r"session 1 \(ann\).* is admitted", process.errors)) == shown


@posix
def test_a_log_that_nobody_reads_makes_nobody_wait_and_what_is_dropped_is_counted(monkeypatch):
    monkeypatch.setattr(logs, "QUEUED", 5)
    logger = logging.getLogger("chat_threads")
    monkeypatch.setattr(logger, "propagate", False)
    read_end, write_end = os.pipe()
    thread = logs.LogThread("info", f"/dev/fd/{write_end}")
    os.close(write_end)
    thread.start()
    for number in range(500):  # more than a pipe takes
        logger.info("line %d %s", number, "x" * 1000)
    with open(read_end) as log, ThreadPoolExecutor(1) as reader:
        lines = reader.submit(log.readlines)
        thread.stop(WAIT)
        logger.setLevel(logging.NOTSET)
        *written, last = lines.result(WAIT)
    assert last == f"{500 - len(written)} log lines were dropped\n"
    numbers = [int(line.split()[5]) for line in written]
    assert numbers == sorted(set(numbers))


# --- restarts -------------------------------------------------------------------------------------------


def test_a_restart_keeps_rooms_topics_history_numbers_and_who_made_a_room(start_process):
    process = start_process()
    with process.client("ann") as ann:
        ann.ask("one")
        ann.ask("two")
        ann.ask("/create #Lab2 About lab 2")
        ann.ask("in the lab")
        resume = ann.ask("/token")[-1][2:]
    assert process.stop() == 0
    process = start_process()
    assert "3 messages, 2 rooms." in process.output
    with process.client() as ann:
        ann.send(resume)
        lines = ann.ask("/set numbers on")
        assert "* You are in #Lab2, and nobody else is." in lines
        assert "* The topic of #Lab2 is: About lab 2" in lines
        for room, texts in (("#lab2", ["1 [] ann: in the lab"]), ("#lobby", ["1 [] ann: one", "2 [] ann: two"])):
            assert [re.sub(r"\[..:..\]", "[]", line) for line in ann.ask(f"/history {room}")][1:] == texts
        ann.send("/join #lobby", "three")
        assert re.fullmatch(r"3 \[..:..\] ann: three", ann.expect("three"))
        ann.ask("/join #lab2")
        ann.send("/delete #lab2 yes")
        ann.expect("ann deleted #Lab2 and its history")
    assert process.stop() == 0
    assert "3 messages, 1 room." in start_process().output


def test_retain_deletes_what_is_older_and_numbers_go_on(start_process, tmp_path):
    db = tmp_path / "chat.db"
    process = start_process()
    with process.client("ann") as ann:
        for text in ("old", "older", "new"):
            ann.ask(text)
    assert process.stop() == 0
    with contextlib.closing(sqlite3.connect(db)) as connection, connection:
        two_days_ago = int((time.time() - 2 * 86_400) * 1000)
        connection.execute("UPDATE messages SET at = ? WHERE number < 3", (two_days_ago,))
    process = start_process("--retain", "1")
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        wait_for(lambda: reader.execute("SELECT count(*) FROM messages").fetchone() == (1,), "the old ones go")
    with process.client("bob") as bob:
        bob.ask("/set numbers on")
        bob.send("newest")
        assert bob.expect("bob: newest").startswith("4 ")
        page = "\n".join(bob.ask("/history"))
        assert "ann: new" in page
        assert "old" not in page
        assert not [line for line in bob.ask("/search old") if "ann: old" in line]
    assert process.stop() == 0


@pytest.mark.parametrize(("sync", "level"), [("normal", 1), ("full", 2)])
def test_sync_sets_how_sqlite_writes_through(serve, sync, level):
    storage = serve(sync=sync).chat.storage
    assert storage._writer.execute("PRAGMA synchronous").fetchone() == (level,)
    assert storage._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_history_in_memory_makes_no_file_and_is_lost(start_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        process = start_process(db=pathlib.Path(":memory:"))
        assert "in memory only, lost when the server stops: 0 messages" in process.output
        with process.client("ann") as ann:
            ann.ask("hello")
            assert any("ann: hello" in line for line in ann.ask("/history"))
            assert any("ann: hello" in line for line in ann.ask("/search hello"))
        assert process.stop() == 0
    assert list(tmp_path.iterdir()) == []


# --- the motd, and few files ----------------------------------------------------------------------------


def test_the_motd_is_shown_to_everybody_without_what_harms_a_terminal(tmp_path, start_process):
    motd = tmp_path / "motd.txt"
    motd.write_bytes("\ufeffBe kind.\r\n\n\x1b[2Jcaf\u00e9\x07\u202e!\n\n\n".encode())
    assert read_motd(str(motd)) == ("Be kind.", "", "caf\u00e9!")
    process = start_process("--motd", str(motd))
    for name in ("ann", "bob"):
        with process.client(name) as client:
            at = client.seen.index(f"* Hello, {name}. What is said in a room is kept: /history shows it.")
            assert client.seen[at + 1 : at + 4] == ["* Be kind.", "*", "* caf\u00e9!"]
    assert process.stop() == 0


def test_an_empty_motd_is_none(tmp_path):
    (tmp_path / "motd.txt").write_text("\n\n")
    assert read_motd(str(tmp_path / "motd.txt")) == ()


def test_too_few_descriptors_for_max_clients_are_reported_and_all_are_used(monkeypatch, capsys):
    resource = pytest.importorskip("resource")
    limits = {"now": (50, 1000)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.update(now=new))
    cli._raise_file_limit(1000)
    assert limits["now"] == (1000, 1000)
    beyond = GIVING_WAY + RETURNING + MAX_REFUSED + cli.SPARE_FILES  # sockets of no client, and other files
    assert (
        f"Only 1000 open files are allowed here (ulimit -Hn), too few for --max-clients 1000: about {1000 - beyond}"
        in (capsys.readouterr().err)
    )
    limits["now"] = (50, 5000)
    cli._raise_file_limit(1000)
    assert limits["now"] == (1000 + beyond, 5000)
    limits["now"] = (50, resource.RLIM_INFINITY)
    cli._raise_file_limit(10_000)
    assert limits["now"] == (10_000 + beyond, resource.RLIM_INFINITY)
    limits["now"] = (20_000, 20_000)
    cli._raise_file_limit(1000)
    assert limits["now"] == (20_000, 20_000)
    assert capsys.readouterr().err == ""


@posix
def test_with_few_files_it_starts_says_so_and_takes_the_next_when_one_leaves(start_process):
    process = start_process(shell="ulimit -n 48")
    wait_for(lambda: "Only 48 open files are allowed here" in process.errors)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(process.client()) for _ in range(60)]  # the system accepts for the server
        wait_for(lambda: "cannot accept" in process.errors, "the server has no file left")
        clients[0].expect("What is your name?")
        for client in clients[:40]:
            client.close()
        clients[-1].expect("What is your name?")
        clients[-1].send("ann")
        clients[-1].expect("You are in #lobby")
    assert process.stop() == 0
    assert "Traceback" not in process.errors


def test_a_start_that_fails_late_releases_everything(serve, tmp_path, taken_port):
    with pytest.raises(StartError, match="is in use"):
        serve(port=taken_port)
    with pytest.raises(StartError, match="is in use"):
        serve(port=taken_port, writers=None)
    serve()  # the history is not locked any more
