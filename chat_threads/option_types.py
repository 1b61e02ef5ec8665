"""How the command line's options are read, and how --help shows them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import click

from . import streams
from .addresses import Networks, networks
from .errors import BadName, StartError
from .rules import check_name


class GroupedCommand(click.Command):
    """A command whose --help shows the options in groups. ``groups``: by title, the options' names."""

    def __init__(self, *args: Any, groups: Mapping[str, tuple[str, ...]], **extra: Any) -> None:
        super().__init__(*args, **extra)
        self._groups = groups

    def main(self, *args: Any, **extra: Any) -> Any:
        streams.prepare()
        return super().main(*args, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {param.opts[0]: param.get_help_record(ctx) for param in self.get_params(ctx)}
        for title, options in self._groups.items():
            with formatter.section(title):
                formatter.write_dl([record for option in options if (record := records[option])])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:  # in one line, like every other error at the start
            click.echo(f"chat_threads: {plainly(error.format_message())} --help shows the options.", err=True)
            ctx.exit(2)


def plainly(text: str) -> str:
    """click's sentence, without its words for types, and with a full stop."""
    for words, plain in _PLAIN.items():
        text = text.replace(words, plain)
    return text if text.endswith((".", "?", "?)")) else f"{text}."


_PLAIN = {"a valid integer range": "a whole number", "a valid float range": "a number"}


class Number(click.FloatRange):
    """A number in a range; click accepts "nan" in any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class WritersType(click.ParamType):  # type: ignore[type-arg]
    """How many writer threads, from 1 to 64, or "per-session"."""

    name = "N|per-session"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "per-session" or isinstance(value, int):
            return value
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'per-session'.", param, ctx)
        if not 1 <= number <= 64:
            self.fail(f"{number} is not between 1 and 64.", param, ctx)
        return number


class NameType(click.ParamType):  # type: ignore[type-arg]
    """A name that somebody may have."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return check_name(value)
        except BadName as error:
            self.fail(str(error), param, ctx)


class NetworksType(click.ParamType):  # type: ignore[type-arg]
    """Addresses and networks, with commas between them."""

    name = "ADDRESS[,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if isinstance(value, Networks) else networks(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class OriginsType(click.ParamType):  # type: ignore[type-arg]
    """Origins of web pages (RFC 6454), with commas between them."""

    name = "ORIGIN[,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, frozenset):
            return value
        found = frozenset(each.strip().lower() for each in value.split(",") if each.strip())
        for each in found:
            if not _ORIGIN.fullmatch(each):
                self.fail(f"{each!r} is not an origin, such as https://chat.example.org.", param, ctx)
        return found


_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def refuse_shared(*files: tuple[str, str | None], read: int) -> None:
    """Raise StartError if the program would write to a file that it uses for something else, too: a trace would replace
    the history. ``files`` are the options with their files; those from the index ``read`` on are only read."""
    for at, (option, path) in enumerate(files[:read]):
        for other, same in files[at + 1 :]:
            if path and same and os.path.realpath(path) == os.path.realpath(same) and _may_be_regular(path):
                raise StartError(f"{path} is the file of {option} and of {other}. Give each option a file of its own.")


def _may_be_regular(path: str) -> bool:
    return os.path.isfile(path) or not os.path.exists(path)
