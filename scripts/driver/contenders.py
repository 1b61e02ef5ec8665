"""The servers that bench.py compares: how to start each, and how to speak to it.

The set-up is as fair as it can be: IRC servers have no limit on how fast somebody may send, their queues are large, and
all but ngircd send a client its own messages back (scripts/peers/ has their files). All servers listen at 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import machine, secure
from .conductor import resolve
from .worker import Failed

PEERS = pathlib.Path(__file__).resolve().parents[1] / "peers"
STARTING = 15.0  # seconds that a server may take to answer
STOPPING = 10.0
QUIET = 0.03  # seconds of CPU in QUIET_FOR; below that, a server has nothing to do
QUIET_FOR = 0.2
SETTLING = 15.0  # seconds that a server may take until it has nothing to do


@dataclass(frozen=True, slots=True)
class Contender:
    name: str  # for --only
    title: str
    command: tuple[str, ...]  # $port and $folder are filled in
    dialect: str
    file: str = ""  # of scripts/peers/; filled in, and put into $folder
    before: tuple[str, ...] = ()  # a command to run first
    nodelay: bool = False  # whether it must be made to send at once
    at_once: int = 64  # clients that join at the same time


@dataclass(frozen=True, slots=True)
class Running:
    port: int
    pid: int


def ours(dialects: Sequence[str]) -> list[Contender]:
    options = "--host 127.0.0.1 --port $port --db $folder/history.db --rate 0 --max-clients 20000"
    command = (sys.executable, "-m", "chat_threads", *options.split())
    titles = {"json": "chat_threads, JSON", "web": "chat_threads, web", "edit": "chat_threads, edit"}
    found = [Contender(each, titles.get(each, "chat_threads"), command, each) for each in dialects]
    return [_with_tls(each) if each.name == "tls" else each for each in found]


def _with_tls(contender: Contender) -> Contender:
    files = ("$folder/cert.pem", "$folder/key.pem")
    # With the last option, it waits longer for clients that begin late, as they do on a busy machine.
    command = (*contender.command, "--tls-cert", files[0], "--tls-key", files[1], "--tls-only")
    before = secure.make_certificate(*files)
    return dataclasses.replace(contender, title="chat_threads, TLS", command=command, before=before)


def peers(ergo: str | None) -> tuple[list[Contender], list[str]]:
    """The other servers that are here, and a sentence about each that is not, or is not as it should be."""
    found, remarks = [], []
    text, tls = ours(["text", "tls"])
    found.append(Contender("sync-full", "sync full", (*text.command, "--sync", "full"), "text"))
    found.append(Contender("per-session", "per-session", (*text.command, "--writers", "per-session"), "text"))
    if secure.WHY_NOT:
        remarks.append(secure.WHY_NOT)
    else:
        found.append(tls)
    if shutil.which("redis-server"):
        options = "--bind 127.0.0.1 --port $port --dir $folder --maxclients 20000"
        limits = ("--save", "", "--client-output-buffer-limit", "pubsub 0 0 0")
        common = ("redis-server", *options.split(), *limits)
        # Without the last option, it would write its log anew in the middle of a run.
        stored = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
        found.append(Contender("redis-stored", "Redis, stored", (*common, *stored), "stored redis"))
        found.append(Contender("redis", "Redis", common, "redis"))
    else:
        remarks.append("Redis is not here: Debian's package is redis-server.")
    if ergo:
        run = (os.path.abspath(ergo), "run", "--quiet", "--conf", "$folder/ergo.yaml")
        before = (run[0], "initdb", *run[2:])
        found.append(Contender("ergo", "ergo, stored", run, "irc", "ergo.yaml", before))
    else:
        remarks.append("ergo is not here: --ergo names its binary.")
    if program := _program("inspircd"):
        command = (program, "--nofork", "--config=$folder/inspircd.conf", *(["--runasroot"] if _is_root() else []))
        # It admits clients once a second, so more of them have to wait at the same time.
        irc = Contender("inspircd", "inspircd", command, "irc", "inspircd.conf", nodelay=True, at_once=500)
        found.append(irc)
    else:
        remarks.append("inspircd is not here: that is also the name of Debian's package.")
    if program := _program("ngircd"):
        command = (program, "--nodaemon", "--config", "$folder/ngircd.conf")
        irc = Contender("ngircd", "ngircd", command, "irc without echo", "ngircd.conf", nodelay=True, at_once=8)
        found.append(irc)  # a few at once, because no more than ten wait to be accepted
    else:
        remarks.append("ngircd is not here: that is also the name of Debian's package.")
    for title in ("floor", "pipeline", "asyncio", "textbook"):
        script = PEERS / ("asyncio_chat.py" if title == "asyncio" else f"{title}.py")
        found.append(Contender(title, title, (sys.executable, str(script), "--port", "$port"), "text"))
    delayed = [each.title for each in found if each.nodelay]
    if delayed and not can_preload():
        remarks.append(
            f"{' and '.join(delayed)} may wait 40 ms before they send: setting TCP_NODELAY for them needs gcc."
        )
    return found, remarks


def can_preload() -> bool:
    return sys.platform.startswith("linux") and shutil.which("gcc") is not None


def _program(name: str) -> str | None:
    """Debian has servers where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextlib.contextmanager
def running(contender: Contender, folder: str) -> Iterator[Running]:
    """Run a server during the ``with`` block, with its files in a new folder in ``folder``. Raises Failed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = pathlib.Path(folder, f"{contender.name}-{port}")
    home.mkdir()
    home.chmod(0o755)  # ngircd gives up being root

    def filled(text: str) -> str:
        return string.Template(text).substitute(port=port, folder=home)

    if contender.dialect == "tls" and secure.WHY_NOT:
        raise Failed(secure.WHY_NOT.rstrip("."))
    if contender.file:
        (home / contender.file).write_text(filled((PEERS / contender.file).read_text("utf-8")), "utf-8")
    environment = dict(os.environ)
    if contender.nodelay and can_preload():
        environment["LD_PRELOAD"] = _compiled(folder)
    with open(home / "output", "wb") as output:
        if contender.before:
            subprocess.run([filled(each) for each in contender.before], stdout=output, stderr=output, check=False)
        process = subprocess.Popen(
            [filled(each) for each in contender.command], stdout=output, stderr=output, cwd=home, env=environment
        )
    try:
        _wait_for(contender, process, port, home / "output")
        yield Running(port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(contender: Contender, process: subprocess.Popen[bytes], port: int, output: pathlib.Path) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + STARTING
    while True:
        try:
            resolve("127.0.0.1", port)
            return
        except Failed as failed:
            if process.poll() is not None or time.monotonic() > deadline:
                said = output.read_text("utf-8", "replace").strip().splitlines()
                raise Failed(f"{contender.title} did not start: {said[-1] if said else failed}") from None
            time.sleep(0.05)


def _compiled(folder: str) -> str:
    """The library that sets TCP_NODELAY."""
    library = pathlib.Path(folder, "nodelay.so")
    if not library.exists():
        command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(PEERS / "nodelay.c"), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"gcc does not compile nodelay.c: {done.stderr.strip()[:200]}")
    return str(library)


def settle(pid: int) -> None:
    """Wait until the server has nothing to do; it may have many leaving clients to report."""
    deadline = time.monotonic() + SETTLING
    used = machine.usage(pid)
    while used and time.monotonic() < deadline:
        time.sleep(QUIET_FOR)
        now = machine.usage(pid)
        if now is None or now.cpu - used.cpu < QUIET:
            return
        used = now
