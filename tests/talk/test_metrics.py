"""The numbers for a monitoring system, and whether the server is well: /metrics and /healthz."""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import re
import subprocess
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.clients import Client, Program
from support.samples import for_each
from support.servers import needs
from support.waiting import WAIT, held, in_threads, wait_for

import chat_threads
from chat_threads import commands, events, inside
from chat_threads.addresses import networks
from chat_threads.dialects.text import TextDialect
from chat_threads.disconnects import CODES, TooSlow
from chat_threads.errors import ReadOnly
from chat_threads.metrics import MetricsNotShown
from chat_threads.ordered import Left
from chat_threads.service import metrics
from chat_threads.session import Session
from chat_threads.storage_errors import StorageError

pytestmark = pytest.mark.usefixtures("waits_under_a_lock_on_purpose")


class Asker(Session):
    """A connection that asks and keeps the answers."""

    def __init__(self, address: str = "127.0.0.1", local: bool = True) -> None:
        super().__init__(0, None, TextDialect(), lambda sessions: None, 10)  # type: ignore[arg-type]
        self.address, self.local = address, local
        self.answers: list[events.Event] = []

    def answer(self, *shown: events.Event) -> None:
        self.answers += shown


def asked(server, command: commands.Command, **who) -> events.Event:
    """The answer to a command, from a connection like that."""
    asker = Asker(**who)
    server.chat.service.handle(asker, command)
    [answer] = asker.answers
    return answer


def scrape(server, **who) -> str:
    return asked(server, commands.ShowMetrics(), **who).text


def read(text: str) -> dict[str, float]:
    """The samples of a scrape, by name and labels: ``chat_threads_sessions{dialect="text"}`` without the prefix."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            key = name.removeprefix("chat_threads_") + "".join(f" {label}" for label in labels.values())
            assert key not in found
            found[key] = value
    return found


def numbers(server) -> dict[str, float]:
    return read(scrape(server))


def health(server, **who) -> tuple[bool, str]:
    answer = asked(server, commands.ShowHealth(), **who)
    return answer.healthy, answer.text


def test_the_numbers_are_those_of_what_has_happened(server):
    ann, bob = server.clients_named("ann", "bob #lab")
    robot = Program(server.port)
    server.clients.append(robot)
    robot.send(type="hello", name="robot")
    robot.expect("joined")
    before = numbers(server)
    assert before["sessions text"] == 2
    assert before["sessions json"] == 1
    assert before["sessions web"] == 0
    assert before["rooms"] == 2
    assert before["connections_total"] == 3
    assert before["threads reader"] == 3
    assert before["healthy"] == 1
    ann.ask("hello")
    robot.expect("message", text="hello")
    after = numbers(server)
    assert after["messages_total"] == before["messages_total"] + 1
    assert after["commit_seconds_count"] > before["commit_seconds_count"]
    bob.send("/quit")
    bob.rest()
    wait_for(lambda: numbers(server)["disconnects_total left"] == 1)
    assert numbers(server)["sessions text"] == 1


def test_lines_and_bytes_are_those_that_the_clients_got_also_after_they_have_left(server):
    ann = server.client("ann")
    ann.ask("hello")
    ann.send("/quit")
    got = [*ann.seen, *ann.rest()]
    wait_for(lambda: numbers(server)["disconnects_total left"] == 1)
    found = numbers(server)
    assert found["deliveries_total"] == len(got)
    assert found["sent_bytes_total"] == ann.received


def test_prometheus_finds_no_fault_in_the_text(server):
    server.client("ann").ask("hello")
    text = scrape(server)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.documentation for family in families.values())
    assert {family.type for family in families.values()} == {"counter", "gauge", "histogram"}
    done = subprocess.run([needs("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_number_that_the_operators_page_names_is_there(server):
    page = (pathlib.Path(chat_threads.__file__).parents[1] / "docs" / "operators.rst").read_text(encoding="utf-8")
    names = set(re.findall(r"\b(?:chat_threads|process)_\w+_\w+|chat_threads_(?:rooms|sessions|healthy)", page))
    text = scrape(server)
    assert len(names) > 10
    assert [name for name in sorted(names) if f"\n{name}" not in text] == []


def test_every_reason_for_the_end_of_a_connection_is_there_from_the_start(serve):
    server = serve(max_clients=1)
    found = numbers(server)
    assert {key.split()[1] for key in found if key.startswith("disconnects")} == {"left", *CODES}
    server.client("ann")
    assert get(server, "/healthz")[0] == get(server, "/metrics")[0] == 200  # on one of the extra places
    assert "The server is full" in server.client().rest()[0]
    wait_for(lambda: numbers(server)["disconnects_total server_full"] == 1)
    assert numbers(server)["connections_total"] == 4


def test_the_numbers_do_not_tell_who_is_here_or_where(server):
    server.client("xyzzy #plugh").ask("frotz")
    text = scrape(server)
    assert not any(word in text for word in ("xyzzy", "plugh", "frotz", "127.0.0.1"))


# --- who may see them -----------------------------------------------------------------------------------


@for_each(
    ("address", "local", "forwarded", "allowed"),
    [
        ("127.0.0.1", True, False, True),
        ("127.0.0.1", True, True, False),  # a proxy on this machine passed it on
        ("192.0.2.7", False, False, False),
        ("10.1.2.3", False, False, True),  # in --metrics-from
        ("10.1.2.3", False, True, True),  # the operator has named the proxy itself
        ("", False, False, False),  # a proxy did not say from where
    ],
)
def test_the_numbers_are_for_this_machine_and_for_the_addresses_that_the_operator_names(
    serve, address, local, forwarded, allowed
):
    server = serve(db=":memory:", metrics_from=networks("10.0.0.0/8,::1"))
    command = commands.ShowMetrics(forwarded)
    if allowed:
        assert asked(server, command, address=address, local=local).text.startswith("# HELP chat_threads_")
    else:
        with pytest.raises(MetricsNotShown):
            asked(server, command, address=address, local=local)


# --- while something is wrong ---------------------------------------------------------------------------


def test_the_numbers_and_the_health_are_told_while_the_publishers_lock_is_held(server, monkeypatch):
    server.client("ann").ask("hello")
    monkeypatch.setattr(metrics, "STUCK", 0.1)
    with held(server.chat.publisher._lock):
        server.chat.history.submit(Left(0, None))
        assert numbers(server)["messages_total"] == 1
        wait_for(lambda: not health(server)[0])
        assert re.fullmatch(
            r"The history has been at one step for \d+ seconds: it publishes\.", health(server, local=False)[1]
        )
        server.chat.history.submit(Left(0, None))
        assert numbers(server)["history_queue_items"] >= 1
        assert numbers(server)["healthy"] == 0
    wait_for(lambda: health(server) == (True, "ok"))


def test_a_failed_commit_makes_the_server_ill_until_one_succeeds_or_a_minute_has_passed(server, monkeypatch):
    ann = server.client("ann")
    with monkeypatch.context() as patch:
        patch.setattr(server.chat.storage, "commit", _full)
        ann.send("lost")
        ann.expect("! Not stored")
    assert health(server) == (False, "The last message could not be stored: disk full.")
    assert numbers(server)["commit_failures_total"] == 1
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "FAILURE", 0.0)
        assert health(server) == (True, "ok")
    ann.ask("kept")
    assert health(server) == (True, "ok")
    assert numbers(server)["messages_total"] == 1


def _full(batch: object) -> None:
    raise StorageError("disk full")


def test_a_server_that_can_store_nothing_any_more_is_ill(server, monkeypatch):
    monkeypatch.setattr(server.chat.history, "read_only", ReadOnly())
    assert health(server) == (False, ReadOnly().text)
    monkeypatch.undo()
    monkeypatch.setattr(inside, "slot_of", lambda thread: None)
    assert health(server) == (False, "The history thread does not run.")


# --- the counters ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("writers", [2, None])
def test_a_client_that_does_not_read_has_a_writer_behind_until_it_is_cut_off(serve, program, writers):
    server = serve(writers=writers, queue_limit=2000)
    ann, _ = program("ann", server=server), server.client("bob", receive_buffer=4096)

    def found(name):
        ann.ask(*[{"type": "say", "text": "x" * 2000}] * 50)
        return numbers(server)[name]

    wait_for(lambda: found("writers_behind") == 1)
    assert numbers(server)["disconnects_total too_slow"] == 0
    server.chat.sessions.named("bob").cut_off(TooSlow())
    wait_for(lambda: numbers(server)["disconnects_total too_slow"] == 1)
    assert numbers(server)["writers_behind"] == 0


def test_no_counter_falls_and_none_counts_twice_while_sessions_come_and_go(server, nimble, greets_at_once):
    fell: list[str] = []
    over = threading.Event()

    def watch() -> None:
        before: dict[str, float] = {}
        while not over.is_set():
            now = numbers(server)
            fell.extend(
                key for key, value in before.items() if re.search("_(total|count|sum|bucket)", key) and now[key] < value
            )
            before = now

    got = []

    def come_and_go(number: int) -> None:
        for _ in range(5):
            client = Client(server.port, f"ann{number}")
            client.send("hello", "/quit")
            got.append(([*client.seen, *client.rest()], client.received))
            client.close()

    watcher = threading.Thread(target=watch, name="watcher")
    watcher.start()
    try:
        in_threads(come_and_go, range(8))
    finally:
        over.set()
        watcher.join()
    assert fell == []
    wait_for(lambda: numbers(server)["disconnects_total left"] == 40)
    found = numbers(server)
    assert found["connections_total"] == 40
    assert found["messages_total"] == 40
    assert found["deliveries_total"] == sum(len(lines) for lines, _ in got)
    assert found["sent_bytes_total"] == sum(received for _, received in got)


# --- by HTTP --------------------------------------------------------------------------------------------


def get(server, path: str, proxy: bytes = b"", **fields: str) -> tuple[int, str, str]:
    """The status, the media type and the text of an answer; ``proxy``: what comes before the request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT)
    with contextlib.closing(connection):
        connection.connect()
        connection.sock.sendall(proxy)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def test_prometheus_gets_the_numbers_by_http_and_its_connection_is_one_of_them(server):
    server.client("ann").ask("hello")
    status, kind, text = get(server, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = read(text)
    assert found["sessions web"] == found["sessions text"] == 1
    assert found["messages_total"] == 1


@for_each(
    "fields",
    [
        {"Forwarded": "for=192.0.2.7"},
        {"X_Forwarded_For": "192.0.2.7"},
        {"X_Real_IP": "192.0.2.7"},
        {"Via": "1.1 proxy"},
        {"Host": "chat.example:8080"},  # a page may have its own name changed to mean this machine
    ],
)
def test_a_request_that_a_proxy_passed_on_is_not_local(serve, fields):
    server = serve(db=":memory:")
    assert get(server, "/metrics", **fields) == (403, "text/plain; charset=utf-8", MetricsNotShown().text + "\n")
    assert get(server, "/healthz", **fields)[0] == 200


def test_by_the_proxy_protocol_the_clients_address_counts(serve):
    server = serve(proxies=networks("127.0.0.1"), metrics_from=networks("198.51.100.0/24"))
    for address, status in (("198.51.100.9", 200), ("192.0.2.7", 403)):
        header = f"PROXY TCP4 {address} 203.0.113.1 40000 8080\r\n".encode()
        assert get(server, "/metrics", header)[0] == status


def test_healthz_is_503_with_the_reason_while_the_publishers_lock_is_held(server, monkeypatch):
    assert get(server, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    monkeypatch.setattr(metrics, "STUCK", 0.0)
    with held(server.chat.publisher._lock):
        server.chat.history.submit(Left(0, None))
        wait_for(lambda: get(server, "/healthz")[0] == 503)
        assert get(server, "/healthz")[2].startswith("The history has been at one step for ")
        assert get(server, "/metrics")[0] == 200
