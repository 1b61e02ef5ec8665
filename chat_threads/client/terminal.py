"""chat-threads-client: its command line, and plain lines in and out. On a terminal it uses ``screen`` if it can."""

from __future__ import annotations

import getpass
import ipaddress
import os
import re
import shlex
import ssl
import sys
import threading
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote

import click

from .. import __version__, streams
from ..dialects.base import MAX_REPLAY, REPLAY
from ..errors import BadName
from ..option_types import plainly
from ..qr import has_blocks
from ..rules import check_name, fold
from .chat import PORT, Client
from .errors import ClientError, Refused
from .lines import LINE, Lines, is_ours, never_stopped
from .talk import Talk

ANSWERED_WITHIN = 30.0  # seconds, after the last line and between one answer and the next
NAMES = 10  # names that it tries, if the user has given none
GIVE_UP = 60.0  # seconds for which it tries to reconnect, if nobody types
PROGRAM = "chat-threads-client"


# --- lines in and out -----------------------------------------------------------------------------------------


def write_plain(lines: str, error: bool) -> None:
    """Print lines, errors to stderr. Prints nothing if nobody reads any more."""
    click.echo(lines, err=error)


def run_plain(talk: Talk, lines: Lines) -> None:
    """Carry out line after line while a thread prints, until the input has ended and is answered, or the connection has
    ended. The thread then ends the wait for input, without a signal, because a script may ignore signals."""

    def show() -> None:
        try:
            talk.listen()
        finally:
            lines.stop()

    shower = threading.Thread(target=show, name="client-show", daemon=True)
    try:
        shower.start()
        for number, line in enumerate(lines, 1):
            if line is None:
                talk.refuse(f"Line {number} is longer than {LINE} bytes, so it was not sent.")
                continue
            try:
                typed = line.decode(lines.encoding)
            except UnicodeDecodeError:
                why = f"Line {number} is not {lines.encoding.upper()}, so it was not sent."
                talk.refuse(f"{why} Convert it, or set LC_ALL to a locale with its encoding.")
                continue
            talk.obey(typed)
            lines.hide(talk.hidden)
        if talk.asks:
            talk.refuse("The input ended before the question was answered, so nothing was done.")
        if not _answered(talk.chat):
            talk.refuse(f"The server has not answered for {ANSWERED_WITHIN:g} seconds.")
    except OSError as error:
        talk.refuse(f"The input cannot be read: {error.strerror or error}.")
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        talk.chat.close()
        shower.join()
        lines.hide(False)
        lines.close()


def _answered(chat: Client) -> bool:
    """Wait for all answers; False: none has come for ANSWERED_WITHIN seconds."""
    while waiting := chat.unanswered:
        if not chat.settle(ANSWERED_WITHIN) and chat.unanswered >= waiting:
            return False
    return True


# --- the command line -----------------------------------------------------------------------------------------


_PORTS = {"http": 80, "https": 443}  # that an address for browsers leaves out


class Place(NamedTuple):
    """Where to enter: a server and maybe a room."""

    host: str
    port: int
    tls: bool = False
    room: str | None = None


class Address(click.ParamType):  # type: ignore[type-arg]
    """A server, as people type it, or as it prints its address for browsers, maybe with a room."""

    name = "HOST[:PORT]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        scheme, host, room = "", value, None
        if url := re.fullmatch("(https?|telnet)://([^/#]+)(?:/[^#]*)?(#.+)?", value):
            scheme, host, room = url.groups()
        elif bare := re.fullmatch("([^/#]+)/?(#.+)", value):  # a browser hides http://
            host, room = bare.groups()
        if host.isdigit():
            self.fail(f"{host} is a port. The host comes first, as in: localhost {host}", param, ctx)
        usual = _PORTS.get(scheme, PORT)
        match = re.fullmatch(r"(?:\[([^]]+)]|([^][:]+))(?::([0-9]{1,5}))?", host)
        if not match:
            try:
                return Place(str(ipaddress.IPv6Address(host)), usual)
            except ValueError:
                self.fail(f"{value!r} is neither HOST nor HOST:PORT.", param, ctx)
        port = int(match[3] or usual)
        if not 1 <= port <= 65535:
            self.fail(f"{port} is not between 1 and 65535.", param, ctx)
        return Place(match[1] or match[2], port, scheme == "https", unquote(room) if room else None)


def _login() -> str | None:
    """The user's name on this machine, or one like it that a server accepts; None: there is none."""
    try:
        return check_name(getpass.getuser())
    except BadName as error:
        return error.near
    except (KeyError, OSError, ImportError):
        return None


class _Plain(click.Command):
    """A command whose errors have plain words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter:  # click's own words are plain
            raise
        except click.BadParameter as error:
            raise click.BadParameter(plainly(error.message), error.ctx, error.param, error.param_hint) from None


@click.command(cls=_Plain)
@click.argument("address", type=Address(), metavar="HOST[:PORT]")
@click.argument("port", type=click.IntRange(1, 65535), metavar="[PORT]", required=False)
@click.option("--name", metavar="NAME", help="Your name; by default your login name here, or one like it.")
@click.option("--room", metavar="#ROOM", help="Enter this room first; it is made if needed. The # may be left out.")
@click.option(
    "--replay",
    type=click.IntRange(0, MAX_REPLAY),
    default=REPLAY,
    metavar="N",
    show_default=True,
    help="Messages shown on entering a room.",
)
@click.option(
    "--give-up",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long to try to reconnect after a lost connection, in seconds."
    f"  [default: {GIVE_UP:g}; no limit if you type on a terminal]",
)
@click.option("--tls", is_flag=True, help="Encrypt the connection, as with https:// before HOST.")
@click.option(
    "--tls-ca", type=click.Path(), metavar="FILE", help="Trust the certificates in this file (PEM), too. Implies --tls."
)
@click.option("--plain", is_flag=True, help="Read and print plain lines, even on a terminal.")
@click.version_option(__version__, "--version", message=f"{PROGRAM} %(version)s")
def main(
    address: Place,
    port: int | None,
    name: str | None,
    room: str | None,
    replay: int,
    give_up: float | None,
    tls: bool,
    tls_ca: str | None,
    plain: bool,
) -> None:
    """Talk on a chat_threads server. /help lists the commands there.

    If the input is not a terminal, each line is sent as a message or a command: echo hi | chat-threads-client
    localhost. The exit code is 1 if the client could not connect or reconnect or, in a script, if something was not
    done; stderr says why. Otherwise it is 0.
    """
    streams.prepare()
    host, port = address.host, port or address.port
    tries, name = (1, name) if name else (NAMES, _login())
    if name is None:
        _fail("You have no name yet. Give one with --name NAME.")
    typed = sys.stdin.isatty() and sys.stdout.isatty() and is_ours(sys.stdin)
    give_up = GIVE_UP if give_up is None and not typed else give_up
    room = f"#{room.removeprefix('#')}" if room else address.room
    trusted = _trusting(tls_ca) if tls_ca else tls or address.tls
    chat = _connected(host, port, name, tries, typed, room=room, replay=replay, give_up=give_up, tls=trusted)
    try:
        if room and not typed and fold(chat.room or "") != fold(room):
            _enter(chat, room)
        if not typed or plain or os.environ.get("TERM") == "dumb" or not _run_on_screen(chat):
            never_stopped()
            talk = Talk(chat, write_plain, blocks=has_blocks(sys.stdout.encoding), terminal=sys.stdout.isatty())
            run_plain(talk, Lines(sys.stdin))
            if talk.over or (talk.failed and not typed):
                sys.exit(1)
    finally:
        chat.close()


def _trusting(ca: str) -> ssl.SSLContext:
    """Rules for a server whose certificate is in this file, or leads to one in it."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        why = "it has no certificate in the PEM format" if isinstance(error, ssl.SSLError) else error.strerror
        _fail(f"The file of --tls-ca, {ca}, cannot be used: {why}.")
    return context


def _advice_about(why: BaseException | None, given: bool) -> str:
    """What a user can do about a certificate that is not trusted. ``given``: whether --tls-ca was."""
    code = getattr(why, "verify_code", 0)
    if code in (62, 64):  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
        return "Connect to a host name or an address that the certificate lists."
    if code in (9, 10):  # _CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED
        return "Check whether the clock on this computer is right. If it is, the server needs a new certificate."
    if code not in (2, 18, 19, 20, 21):  # those about a chain of certificates that does not lead to one that is trusted
        return ""
    if given:
        return "The file given with --tls-ca has no certificate that confirms it."
    return "If you know the server, get its certificate and give its file with --tls-ca FILE."


def _connected(host: str, port: int, name: str, tries: int, asks: bool, **options: Any) -> Client:
    """A client that has entered under the name, or under one like it if that is taken and there are more ``tries``. If
    the name belongs to an account, it ``asks`` the user for the password, if somebody is there."""
    try:
        return Client(host, port, name=name, reconnect=True, answers=True, place=True, told=_tell, **options)
    except OSError as error:
        _fail(f"No server answers at {host}, port {port}: {error.strerror or error}.")
    except ClientError as error:
        asked = "password" in options
        if asks and isinstance(error, Refused) and error.code == ("wrong_password" if asked else "password_needed"):
            if asked:
                _tell(error.text)
            return _connected(host, port, name, tries, asks, **{**options, "password": _password(name)})
        if tries == 1 and isinstance(error, Refused) and error.code == "password_needed":
            log_in = "Type its password" if asks else "Log in on a terminal"
            other = f", or take another name, such as {error.near}" if error.near else ""
            _fail(f"The name {name} belongs to an account. {log_in}{other}.")
        if isinstance(error, Refused) and error.code == "untrusted":
            advice = _advice_about(error.__cause__, isinstance(options.get("tls"), ssl.SSLContext))
            _fail(f"{error.text} {advice}".rstrip())
        if tries == 1 or not isinstance(error, Refused) or error.code not in _TAKEN or not error.near:
            _fail(error.text)
        near = error.near
    return _connected(host, port, near, tries - 1, asks, **options)


_TAKEN = ("name_taken", "password_needed")


def _enter(chat: Client, room: str) -> None:
    """Enter a room that was refused at first. What a script says was not meant for another room."""
    try:
        chat.join(room)
    except ClientError as error:
        _fail(error.text)


def _password(name: str) -> str:
    """Ask the user for the password of the account, without showing it; "": they do not know it."""
    try:
        return getpass.getpass(f"The name {name} belongs to an account. Its password: ")
    except (EOFError, KeyboardInterrupt):
        _fail("No password was given.")


def _run_on_screen(chat: Client) -> bool:
    """Talk on the screen; False: prompt_toolkit is not installed."""
    try:
        from .screen import Screen
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prompt_toolkit":
            raise
        install = f"{shlex.quote(sys.executable)} -m pip install prompt_toolkit"
        write_plain(f"* Plain lines. To keep what you type apart, leave and type: {install}", False)
        return False
    if Screen(chat).run().over:
        sys.exit(1)
    return True


def _tell(text: str) -> None:
    click.echo(f"{PROGRAM}: {text}", err=True)


def _fail(text: str) -> NoReturn:
    _tell(text)
    sys.exit(1)
