"""What the program prints when the server has started: how to connect, what there is, and a QR code for phones."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

import click

from . import __version__, qr, reach
from .addresses import is_local
from .chat import Chat, Options
from .schema import MEMORY

log = logging.getLogger(__name__)

WIDTH = 80  # columns of a terminal
HAS_WEB = find_spec("websockets") is not None  # whether a browser can chat


def announce(chat: Chat, options: Options) -> None:
    """Print how to connect, and what there is; in a terminal with enough room, also the QR code of the address."""
    (host, port), web = chat.address, chat.web_address[1]
    everywhere, others = host in reach.EVERYWHERE, reach.from_others(host)
    secure = chat.certificate is not None
    program = "telnet-ssl -z ssl" if options.tls_only else "telnet"
    telnet = " or ".join(f"{program} {address} {port}" for address in others)
    urls = [reach.url(address, web, secure=secure) for address in others]
    if everywhere:
        lines = [f"On this machine: {program} {reach.HERE} {port}" + (f"   From others: {telnet}" if telnet else "")]
        lines += _in_a_browser(reach.url(reach.HERE, web, secure=secure), urls)
        lines += ["Everybody who can reach this machine can connect; --host 127.0.0.1 prevents it."]
    else:
        lines = [f"Listening: {telnet}", *_in_a_browser(urls[0], [])]
    if secure and not options.tls_only:
        lines.append(f"Encrypted: telnet-ssl -z ssl {reach.HERE if everywhere else others[0]} {port}")
    stored, rooms = chat.history.stored, len(chat.publisher.list_chat_rooms())
    kept = (
        "in memory only, lost when the server stops"
        if options.db == MEMORY
        else click.format_filename(os.path.abspath(options.db))
    )
    lines += [
        f"History: {kept}: {stored} message{'' if stored == 1 else 's'}, {rooms} room{'' if rooms == 1 else 's'}."
    ]
    if chat.operator_token:
        lines.append(f"The first operator: enter, type /register, and then /operator {chat.operator_token}")
    log.info(  # first, because in a terminal the lines below stay in view
        "chat_threads %s has started: process %d, %s port %d, history %s with %d messages",
        *(__version__, os.getpid(), host, port, kept, stored),
    )
    click.echo("\n".join(lines))
    if urls and HAS_WEB and not is_local(others[0], reach.LOOPBACK):
        _show_code(urls[0], len(lines))


def _in_a_browser(here: str, others: Sequence[str]) -> list[str]:
    """The lines that say what to open in a browser, or what to install for it."""
    if not HAS_WEB:
        return ["In a browser: first type .venv/bin/pip install '.[web]' and start again."]
    lines = [f"In a browser: {here}"]
    for number, url in enumerate(others):
        more = f" or {url}" if number else f"   From others: {url}"
        if len(lines[-1] + more) <= WIDTH:
            lines[-1] += more
        else:
            lines.append("  " + more.strip())
    return lines


def _show_code(url: str, above: int) -> None:
    """Print the QR code of the address, if stdout is a terminal that has room for it and the lines ``above``."""
    try:
        width, height = os.get_terminal_size(sys.stdout.fileno())
        rows = qr.rows_of(url)
    except (OSError, ValueError, qr.NoQrCode):  # no terminal, no segno
        return
    blocks = qr.has_blocks(sys.stdout.encoding)
    code = qr.drawn(rows, blocks)
    if qr.columns(rows, blocks) <= width and len(code) + above < height and os.environ.get("TERM") != "dumb":
        click.echo("\n".join(code))
