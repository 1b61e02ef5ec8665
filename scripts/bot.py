#!/usr/bin/env python3
"""A small bot: bot.py localhost:8080 --room '#lab'

A bot that answers !uptime and !roll 2d6, and greets everybody who joins. It reconnects after the server restarts, and
then answers the messages that it missed. Ctrl-C ends it.
"""

from __future__ import annotations

import contextlib
import random
import re
import sys

import click

from chat_threads import streams
from chat_threads.client import Client, ClientError, Message, Presence
from chat_threads.client.terminal import Address, Place

DICE = re.compile(r"!roll ([1-9]|[1-9]\d)d([1-9]\d{0,2})")


def answer(chat: Client, text: str) -> str | None:
    """The answer to a text, or None."""
    if text == "!uptime":
        return f"The server has been up for {chat.stats().uptime / 3600:.1f} hours."
    if dice := DICE.fullmatch(text):
        rolled = [random.randint(1, int(dice[2])) for _ in range(int(dice[1]))]
        return f"{' + '.join(map(str, rolled))} = {sum(rolled)}"
    return "!roll takes dice like 2d6." if text.startswith("!roll") else None


@click.command(help=__doc__.split("\n\n")[1])
@click.argument("address", type=Address(), metavar="[HOST[:PORT]]", default="localhost:8080")
@click.option("--name", default="bot", show_default=True, help="The bot's name.")
@click.option("--room", default="#lobby", show_default=True, help="Answer in this room.")
def main(address: Place, name: str, room: str) -> None:
    host, port, tls, where = address
    try:
        with Client(host, port, name=name, room=where or room, reconnect=True, tls=tls) as chat:
            for event in chat.events():
                with contextlib.suppress(ClientError):  # maybe not said; events() goes on, or raises if all is over
                    if isinstance(event, Presence) and event.kind == "joined":
                        chat.say(event.room, f"Welcome, {', '.join(event.names)}! I roll dice: !roll 2d6")
                    elif isinstance(event, Message) and event.sender != chat.name:
                        if said := answer(chat, event.text):
                            chat.say(event.room, said)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"bot: no server answers at {host}, port {port}: {error.strerror or error}.")
    except ClientError as error:
        sys.exit(f"bot: {error}")


if __name__ == "__main__":
    streams.prepare()
    main()
