"""Servers of a cluster behind a real HAProxy, with the configuration of docs/cluster.rst."""

from __future__ import annotations

import pathlib
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from support.clients import Client, said
from support.pages import CLUSTER, block_after
from support.postgres import Postgres, Wire
from support.servers import Process, free_port, needs
from support.waiting import wait_for

pytestmark = pytest.mark.slow

NAMES = ("one", "two", "three")


@pytest.fixture
def servers(start_process: Callable[..., Process], engine: Postgres, url: str, wire: Wire, tmp_path) -> list[Process]:
    """Three. The second reaches the engine by the wire. HAProxy has an address of its own."""
    urls = [url, engine.url(url.rpartition("/")[2], wire.port), url]
    options = ("--rate", "0", "--proxy-protocol", "127.0.0.2", "--cluster")
    return [start_process(*options, each, db=tmp_path / f"{at}.db") for at, each in enumerate(urls)]


class HAProxy:
    """A running HAProxy in front of servers."""

    def __init__(self, servers: list[Process], folder: pathlib.Path) -> None:
        self.port = free_port()
        self.servers = servers
        self.clients: list[Client] = []
        self._read = 0  # how much of the log
        self._log = folder / "haproxy.log"
        config = block_after("haproxy", CLUSTER)
        changes = {"bind :8080": f"bind 127.0.0.1:{self.port}\n    source 127.0.0.2", "inter 2s": "inter 200ms"}
        changes["timeout connect 5s"] = "timeout connect 5s\n    timeout check 10s"  # the machine may be busy
        changes["balance leastconn"] = "balance roundrobin"  # so that it is known who comes where
        for name, server in zip(NAMES, servers, strict=True):
            changes[f"{name}.example.org:8080"] = f"127.0.0.1:{server.port}"
        for old, new in changes.items():
            assert old in config
            config = config.replace(old, new)
        (folder / "haproxy.cfg").write_text(f"global\n    maxconn 100\n{config}\n")
        with open(self._log, "wb") as log:
            command = [needs("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def says(self, *what: str) -> None:
        """Wait until it says something, and then something else, which it has not said when this was called last."""
        for each in what:
            wait_for(lambda each=each: each in self._log.read_text()[self._read :])
            self._read = self._log.read_text().index(each, self._read)

    def enter(self, name: str, number: int) -> tuple[Client, int]:
        """Somebody enters, from an address of their own. Return the number of the server that has it."""
        client = Client(self.port, name, source=f"127.0.0.{number}")
        self.clients.append(client)
        told = re.compile(rf"begins from 127\.0\.0\.{number} by 127\.0\.0\.2")
        wait_for(lambda: any(told.search(server.errors) for server in self.servers))
        return client, next(at for at, server in enumerate(self.servers) if told.search(server.errors))


@pytest.fixture
def haproxy(servers: list[Process], tmp_path: pathlib.Path) -> Iterator[HAProxy]:
    started = HAProxy(servers, tmp_path)
    yield started
    for client in started.clients:
        client.close()
    started.process.kill()
    started.process.wait()


def health(server: Process) -> str:
    """What a server says that is not well; "": it is."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=10).close()
        return ""
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


def test_people_are_spread_and_come_back_and_nobody_comes_to_a_server_that_cannot_let_them_in(servers, haproxy, wire):
    wait_for(lambda: _answers(haproxy.port))
    people: dict[int, Client] = {}
    for number in range(71, 90):  # on a busy machine HAProxy may leave a server out for a moment
        client, at = haproxy.enter(f"ann{number}", number)
        people.setdefault(at, client)
        if len(people) == 3:
            break
    people[0].send("hello", "/token")
    token = people[0].expect("/resume ").split()[-1]
    for at in (1, 2):
        people[at].expect("hello")
    servers[0].kill()
    haproxy.says("chat/one is DOWN")
    again, _ = haproxy.enter("bob", 91)
    again.send(f"/resume {token}", "back")
    for at in (1, 2):
        assert [text for _, text in said(people[at].upto(": back"))] == []
    wire.mode = "cut"
    wait_for(lambda: health(servers[1]).startswith("503 The cluster's database does not answer"))
    haproxy.says("chat/two is DOWN")
    assert haproxy.enter("cy", 92)[1] == 2
    wire.mode = "open"
    haproxy.says("chat/two is UP")


def _answers(port: int) -> bool:
    try:
        Client(port).close()
    except OSError:
        return False
    return True
