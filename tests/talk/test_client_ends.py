"""The terminal client ends when its connection is over: in a script's background, too, with its input still open."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pty
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.servers import Running, free_port, needs
from support.terminals import ENV, RUN
from support.waiting import WAIT, wait_for

from chat_threads.client import Disconnected
from chat_threads.disconnects import Replaced, ShuttingDown

pytestmark = pytest.mark.slow

REPLACED = Replaced().text


class Ending:
    """The client as a shell starts it; what it prints is read as it comes."""

    def __init__(
        self,
        shell: str,
        port: int,
        *options: str,
        stdin: Any = subprocess.DEVNULL,
        before: str = "",
        host: str = "127.0.0.1",
    ) -> None:
        program = ["-c", f"{before}; {RUN}"] if before else ["-m", "chat_threads.client"]
        command = shlex.join([sys.executable, *program, f"{host}:{port}", "--name", "ann", *options])
        self.popen = subprocess.Popen(
            ["sh", "-c", shell.format(command)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENV,
            start_new_session=True,  # of its own, so that all that it started can be ended
        )

    def expect(self, text: str) -> None:
        """Read to the first line that contains the text."""
        assert any(text in line for line in self.popen.stdout)

    def end(self) -> tuple[int, list[str]]:
        """Wait for the end, while the input stays open; return the exit code, and what was written to stderr."""
        code = self.popen.wait(2 * WAIT)
        return code, self.popen.stderr.read().splitlines()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(WAIT)
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Ending]]:
    """Start clients: start("exec {}", port, "--room", "#lab"); killed at the end."""
    started: list[Ending] = []

    def begin(*arguments: Any, **more: Any) -> Ending:
        started.append(Ending(*arguments, **more))
        return started[-1]

    yield begin
    for each in started:
        each.close()


@pytest.fixture
def fifo(tmp_path: pathlib.Path) -> Iterator[str]:
    """A named pipe with a writer that never writes."""
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    held = os.open(path, os.O_RDWR)
    yield shlex.quote(path)
    os.close(held)


NAMESPACE, NEAR, AWAY = "chat-client", "198.18.78.1", "198.18.78.2"  # addresses for tests (RFC 2544)


@pytest.fixture
def cable() -> Iterator[Callable[[], None]]:
    """A network of two: the server's end is NEAR, the client's is in the namespace. Called, it is cut."""
    ip = needs("ip")

    def run(*arguments: str) -> bool:
        return not subprocess.run([ip, *arguments], capture_output=True, check=False).returncode

    if not run("netns", "add", NAMESPACE):
        pytest.skip("no network namespace may be made here")
    try:
        assert run("link", "add", "chat-near", "type", "veth", "peer", "name", "away", "netns", NAMESPACE)
        assert run("addr", "add", f"{NEAR}/30", "dev", "chat-near")
        assert run("link", "set", "chat-near", "up")
        assert run("-n", NAMESPACE, "addr", "add", f"{AWAY}/30", "dev", "away")
        assert run("-n", NAMESPACE, "link", "set", "away", "up")
        yield lambda: run("link", "set", "chat-near", "down")
    finally:
        run("netns", "delete", NAMESPACE)
        run("link", "delete", "chat-near")


def here(server: Running, name: str = "ann") -> Any:
    """The session of that name, once it is in the lobby."""
    sessions = server.chat.sessions
    wait_for(lambda: name in [each.name for each in sessions.people()], f"{name} to come in")
    session = sessions.named(name)
    wait_for(lambda: server.chat.publisher.rooms_of(session))
    return session


WAYS = {
    "a pipe": "exec {}",
    "SIGINT ignored": "trap '' INT; exec {}",
    "all signals ignored": "trap '' INT HUP QUIT TERM PIPE USR1; exec {}",
    "a script's background": "{} <FIFO & wait $!",
    "nohup": "nohup {} <FIFO & wait $!",
    "nohup, output to files": "nohup {} <FIFO >OUT 2>&1 & wait $!; code=$?; cat OUT >&2; exit $code",
    "setsid": "setsid -w {} <FIFO",
    "a fifo": "exec {} <FIFO",
    "a child of a subshell": "( {} <FIFO ) & wait $!",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_client_that_is_replaced_ends_at_once_however_it_was_started(server, start, fifo, tmp_path, way):
    for program in ("setsid", "nohup"):
        if program in way:
            needs(program)
    shell = way.replace("FIFO", fifo).replace("OUT", shlex.quote(str(tmp_path / "out")))
    ann = start(shell, server.port, stdin=subprocess.PIPE)
    here(server).cut_off(Replaced())
    code, errors = ann.end()
    assert (code, errors[-1].partition(" ")[2]) == (1, REPLACED)  # after ! or the program's name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_script_whose_server_does_not_come_back_gives_up(start_process, start, fifo, number):
    process = start_process()
    ann = start(f"trap '' INT; {{}} <{fifo} & wait $!", process.port, "--give-up", "0.5")
    with process.client("bob") as bob:
        wait_for(lambda: any("ann" in line for line in bob.ask("/who")))
    process.stop(number)
    code, errors = ann.end()
    assert code == 1
    why = ShuttingDown().text if number == signal.SIGTERM else "The connection was lost."
    assert errors == [f"! {why}", "! The server could not be reached for 0.5 seconds."]


def test_a_script_whose_server_comes_back_in_time_goes_on(start_process, start):
    port = free_port()
    process = start_process(port=port)
    ann = start("exec {}", port, stdin=subprocess.PIPE)
    with process.client("bob") as bob:
        wait_for(lambda: any("ann" in line for line in bob.ask("/who")))
    process.kill()
    process = start_process(port=port)
    ann.popen.stdin.write("still here\n")
    ann.popen.stdin.close()
    assert ann.end() == (0, ["! The connection was lost."])
    with process.client("bob") as bob:
        assert bob.ask("/history")[-1].endswith("ann: still here")


def test_a_client_whose_server_vanishes_without_a_word_ends_too(serve, start, cable):
    """Neither FIN nor RST comes. The system is asked to look for the peer every second, and not every 20."""
    server = serve(host="0.0.0.0")
    sooner = "{'TCP_KEEPIDLE': 1, 'TCP_KEEPINTVL': 1, 'TCP_KEEPCNT': 2, 'TCP_USER_TIMEOUT': 2000}"
    before = (
        "from chat_threads.client import connection as c; "
        f"c._KEEPALIVE = tuple((l, o, {sooner}.get(o, v)) for l, o, v in c._KEEPALIVE)"
    )
    shell = f"trap '' INT; exec ip netns exec {NAMESPACE} {{}}"
    ann = start(shell, server.port, "--give-up", "0.5", stdin=subprocess.PIPE, before=before, host=NEAR)
    here(server)
    cable()
    code, errors = ann.end()
    assert code == 1
    assert errors == ["! The connection was lost.", "! The server could not be reached for 0.5 seconds."]


@pytest.mark.parametrize("stdin", ["</dev/null", "<&-"])
def test_a_script_without_input_ends_by_itself(server, start, stdin):
    assert start(f"trap '' INT; {{}} {stdin} & wait $!", server.port).end() == (0, [])


@pytest.mark.parametrize("typed", ["hi\n", "hi\n/quit\n", "/quit so long\n"])
def test_a_script_that_leaves_ends_with_0(server, start, typed):
    ann = start("trap '' INT; exec {}", server.port, stdin=subprocess.PIPE)
    ann.popen.stdin.write(typed)
    if "/quit" in typed:
        ann.popen.stdin.flush()
    else:
        ann.popen.stdin.close()
    assert ann.end() == (0, [])


def test_ctrl_c_ends_a_script_with_0_and_one_that_ignores_it_goes_on(server, start):
    """A script may have been started with SIGINT ignored: a shell does that for programs in the background."""
    ann = start("exec {}", server.port, stdin=subprocess.PIPE)
    ann.expect("You are in #lobby")
    ann.popen.send_signal(signal.SIGINT)
    assert ann.end() == (0, [])
    ann = start("trap '' INT; exec {}", server.port, stdin=subprocess.PIPE)
    here(server)
    ann.popen.send_signal(signal.SIGINT)
    ann.popen.stdin.write("still here\n")
    ann.popen.stdin.close()
    assert ann.end() == (0, [])
    assert server.client("bob").ask("/history")[-1].endswith("ann: still here")


# --- a terminal that is another job's -----------------------------------------------------------------------

# The leader of a session, as a shell is: it has the terminal, and starts a job in its background. A line of its own
# input brings that to the foreground. It says how the job ends.
LEADER = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
terminal = int(sys.argv[1])
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def apart():
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
job = subprocess.Popen(sys.argv[2:], stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=apart)
if sys.stdin.readline():
    os.tcsetpgrp(terminal, job.pid)
print(os.waitpid(job.pid, os.WUNTRACED)[1], flush=True)
"""


class Job:
    """The client in the background of a terminal."""

    def __init__(self, port: int, *options: str) -> None:
        self.keys, terminal = pty.openpty()
        client = ["-m", "chat_threads.client", f"127.0.0.1:{port}", "--name", "ann", *options]
        self.leader = subprocess.Popen(
            [sys.executable, "-c", LEADER, str(terminal), sys.executable, *client],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**ENV, "TERM": "xterm"},
            start_new_session=True,
            pass_fds=[terminal],
        )
        os.close(terminal)
        self.screen = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.keys, 65536):
                self.screen += data

    def fetch(self) -> None:
        """Bring the job to the foreground."""
        self.leader.stdin.write("fg\n")
        self.leader.stdin.flush()

    def end(self) -> int:
        """The exit status from the system. A stopped job has not ended."""
        self.leader.stdin.close()
        return int(self.leader.stdout.readline())

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.leader.pid, signal.SIGKILL)
        self.leader.wait(WAIT)
        self.leader.stdin.close()
        self.leader.stdout.close()
        self._reader.join(WAIT)
        os.close(self.keys)


@pytest.fixture
def job(server: Running) -> Iterator[Callable[..., Job]]:
    """Start the client in the background of a terminal; ended at the end."""
    started: list[Job] = []

    def begin(*options: str) -> Job:
        started.append(Job(server.port, *options))
        return started[-1]

    yield begin
    for session in server.chat.sessions.people():
        if session.name == "ann":
            session.cut_off(Replaced())
    for each in started:
        each.close()


@pytest.mark.parametrize("options", [[], ["--plain"]], ids=["", "--plain"])
def test_a_terminal_that_it_may_not_read_neither_stops_it_nor_keeps_it(server, job, options):
    """Reading would send it SIGTTIN, which stops a program: it would never see that its connection is over."""
    ann = job(*options)
    session = here(server)
    os.write(ann.keys, b"not for the client\n")
    bob = server.client("bob")
    bob.ask("are you there?")
    wait_for(lambda: b"bob: are you there?" in ann.screen)
    session.cut_off(Replaced())
    assert os.waitstatus_to_exitcode(ann.end()) == 1
    assert not any("ann:" in line for line in bob.ask("/history"))


def test_a_line_typed_in_the_foreground_is_sent(server, job):
    ann = job()
    here(server)
    ann.fetch()
    bob = server.client("bob")
    os.write(ann.keys, b"hi\n/quit\n")
    bob.expect("ann: hi")
    assert os.waitstatus_to_exitcode(ann.end()) == 0


# --- the library --------------------------------------------------------------------------------------------


def test_a_client_gives_up_after_the_time_that_it_was_given(start_process, connect):
    process = start_process()
    ann = connect(process.port, "ann", reconnect=True, give_up=0.3)
    asked = ann.submit("private", to="bob", text="psst")
    asked.exception(WAIT)
    process.kill()
    with pytest.raises(Disconnected, match=r"^The server could not be reached for 0\.3 seconds\.$"):
        list(ann.events())
    with pytest.raises(Disconnected, match="could not be reached"):
        ann.ping()
