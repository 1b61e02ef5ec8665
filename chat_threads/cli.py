"""The command line: the options, the lines printed on starting, the signals, the end."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import signal
import sys
import threading
import traceback

import click

from . import __version__, inside
from .accounts import Plain
from .addresses import Networks
from .announcement import announce
from .chat import DAY, Chat, Options
from .conversation import Limits
from .door import GIVING_WAY, RETURNING
from .ends import Ends
from .errors import StartError
from .history import BATCH
from .logs import LogThread
from .memory import give_back_what_is_freed
from .motd import read_motd
from .option_types import GroupedCommand, NameType, NetworksType, Number, OriginsType, WritersType, refuse_shared
from .server import MAX_REFUSED

log = logging.getLogger(__name__)

STACK = 512 * 1024  # bytes of address space for a thread's stack; the default of 8 MiB adds up
# Objects made until the garbage collector looks for cycles among them. A connection makes 75 and leaves no cycle, and a
# look at all objects of 3,000 clients stops every thread for a tenth of a second. The default is 700.
YOUNG = 10_000
SPARE_FILES = 64  # descriptors for files that are not connections
FORCE_AFTER = 15.0  # seconds after which a server that was told to stop ends by force
BROKEN_AFTER = 6.0  # the same for a broken server, where waiting for stuck threads helps nobody
NO_WORDS = b"chat_threads: A fault in the server: it is out of memory, or it cannot stop. Start it again.\n"
BROKEN = 70  # the exit code after an internal error: EX_SOFTWARE of sysexits.h

GROUPS = {
    "Where it listens": tuple(
        "--host --port --web-port --max-clients --per-address --proxy-protocol --web-origin".split()
    ),
    "Encryption": ("--tls-cert", "--tls-key", "--tls-only"),
    "Accounts": ("--plain-passwords", "--operator", "--operator-token"),
    "What is kept": ("--db", "--sync", "--retain", "--replay", "--motd"),
    "How it runs": tuple(
        "--cluster --writers --rate --burst --handshake-timeout --send-timeout --queue-limit --memory".split()
    ),
    "To look inside": ("--lab", "--trace", "--trace-limit", "--metrics-from"),
    "Log and help": ("--log-level", "--log-file", "--version", "--help"),
}


@click.command(
    cls=GroupedCommand, groups=GROUPS, context_settings={"auto_envvar_prefix": "CHAT_THREADS", "show_default": True}
)
@click.option(
    "--host",
    default="0.0.0.0",
    metavar="ADDRESS",
    help="Address to listen on; 127.0.0.1 for this machine only, :: for IPv6 and IPv4.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, metavar="N", help="TCP port; 0 chooses a free one."
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    show_default="off",
    help="Second TCP port, for browsers only: nobody is greeted there. 0 chooses a free one.",
)
@click.option(
    "--max-clients", type=click.IntRange(1, 100_000), default=1000, metavar="N", help="Connections at a time."
)
@click.option(
    "--per-address",
    type=click.IntRange(1),
    metavar="N",
    show_default="any number",
    help="Connections from one address at a time.",
)
@click.option(
    "--proxy-protocol",
    type=NetworksType(),
    default=Networks(),
    metavar="ADDRESS[,...]",
    show_default="off",
    help="Take the clients' addresses from the PROXY protocol of these proxies.",
)
@click.option(
    "--web-origin",
    type=OriginsType(),
    default=frozenset(),
    metavar="ORIGIN[,...]",
    show_default="none",
    help="Let pages of these origins open WebSockets, too, such as https://chat.example.org.",
)
@click.option(
    "--tls-cert",
    type=click.Path(),
    metavar="FILE",
    show_default="off",
    help="Certificate and its chain (PEM): clients may speak TLS. SIGHUP loads it again.",
)
@click.option(
    "--tls-key",
    type=click.Path(),
    metavar="FILE",
    show_default="in the same file",
    help="Key of the certificate (PEM), without a password.",
)
@click.option("--tls-only", is_flag=True, help="Refuse connections that are not encrypted.")
@click.option(
    "--plain-passwords",
    type=click.Choice(("warn", "refuse")),
    default="warn",
    help="Refuse passwords from other machines without TLS, or only warn.",
)
@click.option("--operator-token", is_flag=True, help="If there is no operator, print a token that makes the first one.")
@click.option("--operator", multiple=True, type=NameType(), help="Account that may do everything; may be repeated.")
@click.option("--db", default="chat_threads.db", metavar="FILE", help="SQLite file; ':memory:' keeps nothing.")
@click.option(
    "--sync",
    type=click.Choice(["normal", "full"]),
    default="normal",
    help="normal survives a killed server; full also survives a power cut.",
)
@click.option(
    "--retain",
    type=Number(0, 36_500, min_open=True),
    metavar="DAYS",
    show_default="for ever",
    help="Delete messages after this many days.",
)
@click.option(
    "--replay", type=click.IntRange(0, 200), default=20, metavar="N", help="Messages shown on entering a room."
)
@click.option("--motd", type=click.Path(), metavar="FILE", help="File whose text is shown to everybody who enters.")
@click.option(
    "--cluster",
    metavar="URL",
    show_default="off",
    help="PostgreSQL database that this server shares with others, such as postgresql:///chat: all are one chat.",
)
@click.option(
    "--writers",
    type=WritersType(),
    default=2,
    metavar="N|per-session",
    help="Number of writer threads for all sessions, or one thread for each session.",
)
@click.option(
    "--rate",
    type=Number(0, 1_000_000),
    default=20.0,
    metavar="N",
    help="Lines a second that a client may send in the long run; an expensive request counts as several; 0: no limit.",
)
@click.option("--burst", type=click.IntRange(1), default=50, metavar="N", help="Lines that a client may send at once.")
@click.option(
    "--handshake-timeout",
    type=Number(0, DAY, min_open=True),
    default=60.0,
    metavar="SECONDS",
    help="Disconnect a client that has not given a name in this many seconds.",
)
@click.option(
    "--send-timeout",
    type=Number(0, DAY, min_open=True),
    default=30.0,
    metavar="SECONDS",
    help="Disconnect a client that has not read its pending output for this many seconds.",
)
@click.option(
    "--queue-limit",
    type=click.IntRange(BATCH + 1),
    default=1000,
    metavar="N",
    help="Lines that may wait for one client.",
)
@click.option(
    "--memory",
    type=click.IntRange(16, 1_000_000),
    default=256,
    metavar="MB",
    help="Memory for the queues and caches of all clients together.",
)
@click.option(
    "--lab", is_flag=True, help="Let everybody use /threads and the like, count lock use, and allow faults with /lab."
)
@click.option(
    "--trace",
    type=click.Path(),
    metavar="FILE",
    help="Record what every thread does in this file, for ui.perfetto.dev.",
)
@click.option(
    "--trace-limit", type=click.IntRange(1), default=1_000_000, metavar="N", help="Stop tracing after this many events."
)
@click.option(
    "--metrics-from",
    type=NetworksType(),
    default=Networks(),
    metavar="ADDRESS[,...]",
    show_default="this machine",
    help="Show /metrics to these addresses, too.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="Lowest level that is logged. What people say is never logged.",
)
@click.option(
    "--log-file",
    type=click.Path(),
    metavar="FILE",
    show_default="stderr",
    help="File for the log; SIGHUP reopens it.",
)
@click.version_option(__version__, "--version", message="chat_threads %(version)s", allow_from_autoenv=False)
def main(
    host: str,
    port: int,
    web_port: int | None,
    max_clients: int,
    per_address: int | None,
    proxy_protocol: Networks,
    web_origin: frozenset[str],
    tls_cert: str | None,
    tls_key: str | None,
    tls_only: bool,
    plain_passwords: Plain,
    operator: tuple[str, ...],
    operator_token: bool,
    db: str,
    sync: str,
    retain: float | None,
    replay: int,
    motd: str | None,
    cluster: str | None,
    writers: int | str,
    rate: float,
    burst: int,
    handshake_timeout: float,
    send_timeout: float,
    queue_limit: int,
    memory: int,
    lab: bool,
    trace: str | None,
    trace_limit: int,
    metrics_from: Networks,
    log_level: str,
    log_file: str | None,
) -> None:
    """A chat server over TCP. People connect with a browser, telnet, nc or PuTTY.

    Every option may also be set in the environment: CHAT_THREADS_PORT=8080 is --port 8080.
    """
    limits = Limits(
        rate=rate,
        burst=burst,
        max_clients=max_clients,
        per_address=per_address or 0,
        handshake_timeout=handshake_timeout,
        queue_limit=queue_limit,
        send_timeout=send_timeout,
    )
    written = (("--db", db), ("--log-file", log_file), ("--trace", trace))
    try:
        refuse_shared(*written, ("--motd", motd), ("--tls-cert", tls_cert), ("--tls-key", tls_key), read=len(written))
        options = Options(
            host=host,
            port=port,
            web_port=web_port,
            proxies=proxy_protocol,
            origins=web_origin,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_only=tls_only,
            plain_passwords=plain_passwords,
            operators=operator,
            operator_token=operator_token,
            db=db,
            cluster=cluster,
            sync=sync,
            retain_days=retain,
            replay=replay,
            writers=None if writers == "per-session" else int(writers),
            motd=read_motd(motd) if motd else (),
            lab=lab,
            trace=trace,
            trace_limit=trace_limit,
            metrics_from=metrics_from,
            memory=memory,
            limits=limits,
        )
        code = run(options, log_level, log_file)
    except StartError as error:
        click.echo(f"chat_threads: {error.text}", err=True)
        code = 2
    sys.exit(code)


def run(options: Options, log_level: str, log_file: str | None) -> int:
    """Serve until a signal says to stop, then stop cleanly. In the main thread; raises StartError.

    Returns the exit code 0, even if a thread did not end in time; the log names that thread. If a
    thread has ended unexpectedly, an exception occurs while stopping, or stopping takes FORCE_AFTER seconds, the
    process ends here with BROKEN.
    """
    asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # its put is safe in a signal handler
    stops = _catch_signals(asked, reopens=log_file is not None or options.tls_cert is not None)
    give_back_what_is_freed()
    threading.stack_size(STACK)
    _raise_file_limit(options.limits.max_clients)
    try:
        logs = LogThread(log_level, log_file)
    except OSError as error:
        raise StartError(f"The file of --log-file, {log_file}, cannot be written: {error.strerror}.") from error
    with Ends(wake=lambda: asked.put(None)) as ends:
        logs.start()
        try:
            chat = Chat(options)
        except BaseException:
            logs.stop()
            raise
        try:
            gc.freeze()  # what is there now stays: the garbage collector need not look at it again and again
            gc.set_threshold(YOUNG)
            chat.start()
            announce(chat, options)
            inside.enter("main", "waits for a signal")
            _wait(asked, stops, logs, ends, chat)
        except Exception as error:
            ends.broke("main", error)
        return _stop(chat, logs, ends)


def _catch_signals(asked: queue.SimpleQueue[int | None], reopens: bool) -> set[int]:
    """Have signals put into the queue; return those that say to stop.

    A signal that is ignored when the program starts stays ignored: SIGHUP under nohup, SIGINT in the background of a
    shell's script. After the first stopping signal, a second SIGINT or SIGTERM ends the server at once. SIGHUP is
    ignored then, because a terminal that is closed may send it twice, and the interpreter takes its handlers back
    before it ends.
    """
    numbers = {
        name: getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
    }
    caught = {name: number for name, number in numbers.items() if signal.getsignal(number) is not signal.SIG_IGN}
    stops = {number for name, number in caught.items() if name != "SIGUSR1" and not (name == "SIGHUP" and reopens)}

    def on_signal(number: int, frame: object) -> None:
        if number in stops:
            for name in ("SIGINT", "SIGTERM"):
                if name in caught:
                    signal.signal(caught[name], signal.SIG_DFL)
            if "SIGHUP" in caught and caught["SIGHUP"] in stops:
                signal.signal(caught["SIGHUP"], signal.SIG_IGN)
        asked.put(number)

    for number in caught.values():
        signal.signal(number, on_signal)
    return stops


def _wait(asked: queue.SimpleQueue[int | None], stops: set[int], logs: LogThread, ends: Ends, chat: Chat) -> None:
    """Handle signals until one says to stop, or until a thread is broken."""
    while ends.broken is None:
        try:
            number = asked.get(timeout=1.0)  # bounded, because Ctrl-C does not interrupt a wait on Windows
        except queue.Empty:
            ends.look([(logs.thread, None), *chat.vital()])
            continue
        if number in stops:
            log.info("stopping: %s; a second signal ends the server at once", signal.Signals(number).name)
            return
        if number == getattr(signal, "SIGHUP", None):
            logs.reopen()
            _reload(chat)
        elif number is not None:
            logs.write(stacks())


def _reload(chat: Chat) -> None:
    """Load the certificate again, for new connections."""
    if chat.certificate:
        try:
            chat.certificate.reload()
            log.info("the certificate was loaded again")
        except StartError as error:
            log.error("the certificate stays as it was: %s", error.text)


def _stop(chat: Chat, logs: LogThread, ends: Ends) -> int:
    """Stop cleanly if possible; return the exit code.

    From here on anything that fails or takes too long ends the process. Without memory any line may raise, and the
    interpreter's own shutdown may wait for stuck threads.
    """
    try:
        _end_by_force(BROKEN_AFTER if ends.broken else FORCE_AFTER)
        _tell(ends)
        try:
            chat.stop()
        except Exception as error:
            ends.broke("main", error)
        _tell(ends)
        inside.leave()
        logs.stop()
        _tell(ends)
        if ends.broken:
            os._exit(BROKEN)
        _end_by_force(0)
    except BaseException:
        _give_up()
    return 0


def _give_up(*signal_: object) -> None:
    """End the process at once; also a signal handler."""
    try:
        os.write(2, NO_WORDS)
    finally:
        os._exit(BROKEN)


def _end_by_force(seconds: float) -> None:
    """End the process in this many seconds, unless called again; 0: never. Windows has no such alarm."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _give_up)
        # Without memory the handler may not be called: main gets a MemoryError instead, which ends it too.
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0 if seconds else 0.0)


def _tell(ends: Ends) -> None:
    """If something broke, say what, once."""
    if ends.broken is None or ends.told:
        return
    ends.told = True
    try:
        error = ends.broken[1]
        if isinstance(error, StartError):  # no fault of the server's: it says what to do
            click.echo(f"chat_threads: {error.text}", err=True)
            return
        why = ends.why()
        with contextlib.suppress(Exception):  # memory may be short
            log.critical("%s; the server stops", why, exc_info=error)
        click.echo(
            f"chat_threads: A fault in the server: {why}. The log has the details. Start the server again.", err=True
        )
    except Exception:
        os.write(2, NO_WORDS)


def stacks() -> str:
    """What every thread is doing, by its name.

    This code holds the GIL. faulthandler's signal handler does not: it walks the stacks of running threads, which
    crashed the process about once in 150 times with Python 3.11 and 3.13.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"Thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )


def _raise_file_limit(max_clients: int) -> None:
    """Raise the limit of open files, because each client is a descriptor; say so if the system allows too few."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_clients + GIVING_WAY + RETURNING + MAX_REFUSED + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        click.echo(
            f"Only {hard} open files are allowed here (ulimit -Hn), too few for --max-clients {max_clients}:"
            f" about {max(0, hard - wanted + max_clients)} can be connected.",
            err=True,
        )
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
