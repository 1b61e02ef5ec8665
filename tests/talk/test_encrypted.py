"""Clients that speak TLS, on the same port as those that do not."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable

import pytest
from support import certificates
from support.clients import Client, Program
from support.samples import for_each
from support.servers import Process, Running, needs
from support.terminals import run
from support.waiting import WAIT, in_threads, wait_for
from support.words import error_line

from chat_threads.client import Refused, terminal
from chat_threads.disconnects import ShuttingDown, TlsOnly
from chat_threads.session import SECURED

Serve = Callable[..., Running]


@pytest.fixture
def safe(serve: Serve, certificate: certificates.Files) -> Running:
    """A server that speaks with and without TLS."""
    return serve(**certificate.options)


def test_people_and_programs_with_tls_talk_to_those_without(safe: Running, certificate: certificates.Files) -> None:
    ann = safe.client("ann", tls=certificate.trusted)
    bob = safe.client("bob")
    with contextlib.closing(Program(safe.port, tls=certificate.trusted)) as program:
        program.send(type="hello", name="robot")
        program.expect("joined")
        ann.send("hello, all")
        bob.expect("ann: hello, all")
        program.expect("message", text="hello, all")
        program.send(type="say", text="beep")
        ann.expect("robot: beep")
        shared = {each.name: each.cohort == SECURED for each in safe.chat.sessions.people()}
        assert shared == {"ann": True, "bob": False, "robot": True}  # one writer for all who speak TLS
    ann.send("/quit")
    assert ann.rest()[-1] == "* Goodbye."


def test_a_browser_gets_the_page_by_https_and_by_http(safe: Running, certificate: certificates.Files) -> None:
    secure = http.client.HTTPSConnection("127.0.0.1", safe.port, timeout=WAIT, context=certificate.trusted)
    plain = http.client.HTTPConnection("127.0.0.1", safe.port, timeout=WAIT)
    for connection in (secure, plain):
        with contextlib.closing(connection):
            connection.request("GET", "/", headers={"Cookie": "x" * 600})  # longer than the first read
            answer = connection.getresponse()
            assert (answer.status, answer.read()[:15]) == (200, b"<!doctype html>")


def test_a_server_without_a_certificate_says_nothing_to_tls(server: Running, certificate: certificates.Files) -> None:
    with pytest.raises(OSError, match=r"EOF|reset|closed|wrong version"):
        server.client(tls=certificate.trusted)


def test_a_client_without_tls_is_told_so_by_a_server_that_takes_only_tls(
    serve: Serve, certificate: certificates.Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_threads.receiver.TLS_ONLY_PAUSE", 0.2)
    server = serve(**certificate.options, tls_only=True)
    refusal = error_line(TlsOnly())
    assert server.client().rest() == [refusal]  # one that waits for the greeting, as telnet does
    for first in ("ann", '{"type": "hello", "name": "ann"}'):
        client = server.client()
        client.send(first)
        assert client.rest() == [refusal]
    done = run(server.port, "--name", "ann")
    assert (done.returncode, done.stderr) == (1, f"chat-threads-client: {refusal.removeprefix('! ')}\n")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT)) as browser:
        browser.request("GET", "/")
        assert "https://" in browser.getresponse().read().decode()
    server.client("ann", tls=certificate.trusted)
    assert [session.name for session in server.chat.sessions.people()] == ["ann"]


def test_a_browser_without_tls_is_told_so_on_the_port_for_browsers_too(
    serve: Serve, certificate: certificates.Files
) -> None:
    server = serve(**certificate.options, tls_only=True, web_port=0)
    port = server.chat.server.web_port
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)) as browser:
        browser.request("GET", "/")
        assert "https://" in browser.getresponse().read().decode()
    with Client(port) as client:
        client.send("ann")
        assert client.rest() == [error_line(TlsOnly())]


@pytest.mark.parametrize(("own", "timeout"), [(0.2, WAIT), (WAIT, 0.2)], ids=["TLS's own limit", "for the name"])
def test_a_handshake_that_stalls_ends_soon(
    serve: Serve, certificate: certificates.Files, monkeypatch: pytest.MonkeyPatch, own: float, timeout: float
) -> None:
    monkeypatch.setattr("chat_threads.receiver.HANDSHAKE", own)
    server = serve(**certificate.options, handshake_timeout=timeout)
    for first in (b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01"):
        client = server.client()
        client.send_bytes(first)
        client.rest()
        wait_for(lambda: len(server.chat.sessions) == 0, "the end")


def test_an_address_that_makes_too_many_handshakes_is_refused_and_others_are_not(
    serve: Serve, certificate: certificates.Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_threads.handshakes.AT_ONCE", 2)
    monkeypatch.setattr("chat_threads.handshakes.A_SECOND", 0.001)
    server = serve(**certificate.options, rate=20.0)
    for name in ("ann", "bob"):
        server.client(name, tls=certificate.trusted)
    with pytest.raises(OSError, match=r"EOF|reset|closed"):
        server.client("cy", tls=certificate.trusted)
    with socket.create_connection(("127.0.0.1", server.port), WAIT, ("127.0.0.2", 0)) as other:
        certificate.trusted.wrap_socket(other, server_hostname="localhost").close()
    server.client("dan")


@for_each("first", [b"\x16" * 5000, b"\x16\x03\x01\x00\x05hello", b"\x16\x00", b"\x16\x03\x01\xff\xff" + b"x" * 70_000])
def test_what_only_looks_like_tls_ends_at_once(safe: Running, first: bytes) -> None:
    client = safe.client()
    with contextlib.suppress(ConnectionError):
        client.send_bytes(first)
        client.sock.shutdown(socket.SHUT_WR)
    with contextlib.suppress(UnicodeDecodeError):  # TLS's own words
        client.rest()
    wait_for(lambda: len(safe.chat.sessions) == 0, "the end")


def test_the_log_says_how_somebody_broke_the_rules_of_tls(
    safe: Running, certificate: certificates.Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with Client(safe.port, "mal", tls=certificate.trusted) as mal:
        socket.socket.sendall(mal.sock, b"\x17\x03\x03\0\x20" + bytes(32))  # a record of nobody's
        wait_for(lambda: len(safe.chat.sessions) == 0, "the end")
    wait_for(lambda: "(mal) ends: TLS: " in caplog.text, "the line in the log")


def test_a_client_that_was_greeted_cannot_begin_tls(safe: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat_threads.receiver.TLS_PAUSE", 0.0)
    client = safe.client()
    client.expect("* Welcome")
    client.send_bytes(b"\x16\x03\x01\x00\x05hello")
    client.rest()
    wait_for(lambda: len(safe.chat.sessions) == 0, "the end")


def test_a_client_that_begins_tls_late_is_not_greeted_if_the_machine_is_overloaded(
    safe: Running, certificate: certificates.Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_threads.receiver.TLS_PAUSE", 0.0)
    monkeypatch.setattr("chat_threads.receiver.TLS_ONLY_PAUSE", WAIT)
    monkeypatch.setattr("chat_threads.receiver.LATE", -1.0)
    with socket.create_connection(("127.0.0.1", safe.port), WAIT) as late:
        wait_for(lambda: len(safe.chat.sessions) == 1, "the session")
        with certificate.trusted.wrap_socket(late, server_hostname="localhost") as secured:
            assert secured.recv(100).startswith(b"* Welcome")


def test_a_client_that_reads_slowly_gets_all_of_it(serve: Serve, certificate: certificates.Files) -> None:
    server = serve(**certificate.options, queue_limit=5000)
    slow = server.client("slow", receive_buffer=4096, tls=certificate.trusted)
    ann = server.client("ann")
    for number in range(600):
        ann.send(f"{number} " + "x" * 1500)
    ann.expect("599 ")
    lines = slow.upto("599 ")
    assert [line.split()[2] for line in lines if " ann: " in line] == [str(number) for number in range(599)]


def test_a_client_that_does_not_read_is_cut_off_and_every_line_it_got_is_whole(
    serve: Serve, certificate: certificates.Files
) -> None:
    server = serve(**certificate.options, queue_limit=300)
    deaf = server.client("deaf", receive_buffer=4096, tls=certificate.trusted)
    ann = server.client("ann")
    session = server.chat.sessions.named("deaf")
    while not session.ended.is_set():
        ann.ask("\r\n".join(["x" * 1900] * 50))
        ann.seen.clear()
    said = [line for line in deaf.rest() if " ann: " in line]
    assert said
    assert {line.split(": ")[1] for line in said} == {"x" * 1900}
    assert deaf.seen[-1].startswith("! You read too slowly")


def test_clients_that_speak_tls_are_told_of_a_stop_too(safe: Running, certificate: certificates.Files) -> None:
    ann = safe.client("ann", tls=certificate.trusted)
    assert safe.chat.stop() == []
    assert ann.rest()[-1] == error_line(ShuttingDown())


def test_the_library_speaks_tls_with_a_server_that_it_trusts(
    safe: Running, certificate: certificates.Files, connect: Callable[..., object], tmp_path: pathlib.Path
) -> None:
    chat = connect(safe, "ann", tls=certificate.trusted)
    assert chat.say("#lobby", "x" * 2000) == 1
    other = certificates.make(tmp_path, "other")
    with pytest.raises(Refused, match="not trusted: self-signed certificate") as caught:
        connect(safe, "bob", tls=other.trusted)
    assert caught.value.code == "untrusted"
    with pytest.raises(Refused, match="not trusted"):
        connect(safe, "bob", tls=True)


def test_the_terminal_client_says_what_to_do_about_a_certificate_that_is_not_trusted(
    safe: Running, certificate: certificates.Files, serve: Callable[..., Running], tmp_path: pathlib.Path
) -> None:
    other = certificates.make(tmp_path, "other")
    elsewhere = serve(host="127.0.0.2", db=str(tmp_path / "elsewhere.db"), **certificate.options)
    for server, options, advice in (
        (safe, ("--tls",), "get its certificate and give its file with --tls-ca FILE."),
        (safe, ("--tls-ca", str(other.cert)), "The file given with --tls-ca has no certificate that confirms it."),
        (elsewhere, ("--tls-ca", str(certificate.cert)), "to a host name or an address that the certificate lists."),
    ):
        done = run(server.port, "--name", "ann", *options, host="127.0.0.2" if server is elsewhere else "127.0.0.1")
        assert (done.returncode, done.stdout) == (1, "")
        [line] = done.stderr.splitlines()
        assert line.endswith(advice)


def test_what_to_do_about_a_certificate_depends_on_what_is_wrong_with_it() -> None:
    for code, given, advice in (
        (10, True, "Check whether the clock"),
        (9, False, "Check whether the clock"),
        (62, True, "Connect to a host name"),
        (18, False, "If you know the server"),
        (20, True, "The file given with --tls-ca"),
        (26, True, ""),  # it is for another purpose
        (26, False, ""),
    ):
        why = ssl.SSLCertVerificationError()
        why.verify_code = code
        said = terminal._advice_about(why, given)
        assert said.startswith(advice)
        assert bool(said) == bool(advice)


def test_the_library_says_that_a_server_does_not_speak_tls(
    server: Running, certificate: certificates.Files, connect: Callable[..., object]
) -> None:
    with pytest.raises(Refused, match="on this port") as caught:
        connect(server, "ann", tls=certificate.trusted)
    assert caught.value.code == "tls"


def test_many_come_go_and_talk_at_once(safe: Running, certificate: certificates.Files, nimble: None) -> None:
    trusted = certificate.trusted

    def talk(number: int) -> None:
        for turn in range(3):
            with Client(safe.port, f"n{number}", tls=trusted) as client:
                for count in range(10):
                    client.send(f"{number} {turn} {count}")
                    client.expect(f"n{number}: {number} {turn} {count}")
                client.send("/quit")
                client.rest()

    in_threads(talk, range(8))
    assert safe.chat.history.stored == 8 * 3 * 10


# --- a server in a process of its own, and real programs ------------------------------------------------


@pytest.mark.slow
def test_sighup_loads_a_new_certificate_and_keeps_the_old_one_if_the_new_is_bad(
    certificate: certificates.Files, tmp_path: pathlib.Path
) -> None:
    used = certificates.make(tmp_path, "used")
    old = used.trusted
    server = Process(tmp_path / "chat.db", "--tls-cert", str(used.cert), "--tls-key", str(used.key))
    try:
        with Client(server.port, "ann", tls=old) as ann:
            used.cert.write_text("half of a certi")
            server.popen.send_signal(signal.SIGHUP)
            wait_for(lambda: "the certificate stays as it was" in server.errors, "the error")
            Client(server.port, "bob", tls=old).close()
            shutil.copy(certificate.cert, used.cert)
            shutil.copy(certificate.key, used.key)
            server.popen.send_signal(signal.SIGHUP)
            wait_for(lambda: "the certificate was loaded again" in server.errors, "the new one")
            with Client(server.port, "cleo", tls=certificate.trusted) as cleo:
                ann.send("still here")
                cleo.expect("ann: still here")
            with pytest.raises(ssl.SSLCertVerificationError):
                Client(server.port, tls=old)
        assert server.errors.count("the certificate stays as it was") == 1
    finally:
        assert server.stop() == 0


@pytest.mark.slow
def test_openssl_talks_and_too_many_new_keys_end_its_connection(safe: Running, certificate: certificates.Files) -> None:
    command = [needs("openssl"), "s_client", "-CAfile", certificate.cert, "-connect", f"localhost:{safe.port}"]
    with subprocess.Popen([*command, "-quiet"], stdin=-1, stdout=-1, stderr=-1) as talker:
        out, _ = talker.communicate(b"ann\nhello\n/quit\n", timeout=WAIT)
        assert b"ann: hello" in out
        assert out.endswith(b"* Goodbye.\r\n")
    watcher = safe.client("bob")
    quiet = subprocess.DEVNULL  # it says something for each key, and nobody would read that
    with subprocess.Popen(command, stdin=-1, stdout=quiet, stderr=quiet) as flooder:
        assert flooder.stdin
        flooder.stdin.write(b"flooder\n")
        flooder.stdin.flush()
        watcher.expect("flooder joined")
        with contextlib.suppress(BrokenPipeError):
            while flooder.poll() is None:
                flooder.stdin.write(b"K\n")  # a new key, and the server has to take one, too
                flooder.stdin.flush()
        watcher.expect("flooder left")
        with contextlib.suppress(BrokenPipeError):
            flooder.stdin.close()
        flooder.stdin = None
        flooder.wait(WAIT)
    watcher.ask("hello")


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_testssl_finds_nothing_worse_than_low(
    safe: Running, certificate: certificates.Files, tmp_path: pathlib.Path
) -> None:
    found = tmp_path / "found.json"
    command = [
        needs("testssl"),
        "--add-ca",
        certificate.cert,
        "--warnings",
        "off",
        "-p",
        "-s",
        "-U",
        "--jsonfile",
        found,
    ]
    subprocess.run([*command, f"127.0.0.1:{safe.port}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=280)
    rows = json.loads(found.read_text())
    assert {"TLS1_2", "TLS1_3", "heartbleed", "LUCKY13"} <= {row["id"] for row in rows}
    assert [row for row in rows if row["severity"] not in ("OK", "INFO", "LOW")] == []
