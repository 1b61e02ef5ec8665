#!/usr/bin/env python3
"""Draw a message's way through the server's threads: timeline.py trace.json -o timeline.svg

The trace is the file of chat-threads --trace trace.json. The server may still run, or may have been stopped or killed.
Each row is a thread, and each box is one of its activities. A line leads from the read of the message to its commit,
and from its fan-out to each send. --messages draws the next messages, too, and shows how one waits for another. A file
name that ends in .png needs matplotlib: pip install '.[plot]' in the folder of README.rst.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

import click

from chat_threads import streams

WIDTH, LEFT, ROW, TOP = 1280, 130, 72, 84  # pixels: the picture, the threads' names, a row, and above the first
COLOURS = {
    "read": "#4c78a8",
    "commit": "#e45756",
    "wait for writers": "#d8d8d8",
    "wait for lock": "#f2c14e",
    "fan-out": "#b279a2",
    "send": "#54a24b",
}
OTHER = "#9d9d9d"
LINES = ("#333333", "#c0392b", "#1f618d", "#7d3c98", "#b9770e")  # of the messages, in turn
TICKS = 8  # about this many on the axis
LEGIBLE = 10  # pixels for a letter
MOST = 20  # messages


@dataclass
class Slice:
    thread: str
    name: str
    began: float  # microseconds
    ended: float
    about: dict[str, Any]
    drawn: bool = False  # it is a part of the trip of a message in the picture


@dataclass
class Trip:
    """A message's way: the slices in which it was read, committed, handed out and sent."""

    read: Slice
    commit: Slice | None = None
    fan_out: Slice | None = None
    sends: list[Slice] = field(default_factory=list)

    def parts(self) -> list[Slice]:
        return [each for each in (self.read, self.commit, self.fan_out) if each] + self.sends


@dataclass
class Arrow:
    """A line from the end of one slice to the beginning of another one; ``message`` counts from 0."""

    start: Slice
    end: Slice
    message: int


@dataclass
class Picture:
    """The picture: a span of time, the threads in it, and the lines between their activities."""

    title: str
    began: float
    ended: float
    threads: list[str] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)


def read(path: str) -> list[dict[str, Any]]:
    """Read the events of a trace. The bracket at its end may be missing, and its last line may be incomplete."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read().strip()
    for end in ("", "]", None):
        try:
            found = json.loads(text + end if end is not None else text.rpartition(",\n")[0] + "]")
        except ValueError:
            continue
        if isinstance(found, list) and all(isinstance(event, dict) and "ph" in event for event in found):
            return found
    raise ValueError("it is not a trace of chat-threads --trace")


def trips_of(events: list[dict[str, Any]], slices: list[Slice], names: dict[int, str]) -> list[Trip]:
    """The trips of all messages that were sent to anybody, by the time of their reads.

    In the file, a commit comes before the reads of its messages, and their fan-out after them.
    """
    trips: list[Trip] = []
    commit = None
    for each in slices:
        if each.name == "commit":
            commit = each
        elif each.name == "read":
            trips.append(Trip(each, commit))
        elif each.name == "fan-out":
            for trip in reversed(trips):
                if trip.fan_out or trip.commit is not commit:
                    break
                trip.fan_out = each
    by_read = {(trip.read.thread, trip.read.began): trip for trip in trips}
    sends = {(each.thread, each.began): each for each in slices if each.name == "send"}
    starts = {e["id"]: (names[e["tid"]], e["ts"]) for e in events if e["ph"] == "s"}
    for event in events:
        if event["ph"] == "f" and event["id"] in starts:
            told, send = by_read.get(starts[event["id"]]), sends.get((names[event["tid"]], event["ts"]))
            if told and send:
                told.sends.append(send)
    return sorted((trip for trip in trips if trip.sends), key=lambda trip: trip.read.began)


def picture_of(events: list[dict[str, Any]], room: str | None, number: int | None, messages: int) -> Picture:
    """The trip of one message, the requested one or the first with the most receivers, and of the next ones."""
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    order = {e["tid"]: e["args"]["sort_index"] for e in events if e["ph"] == "M" and e["name"] == "thread_sort_index"}
    rank = {names[row]: order.get(row, 0) for row in names}
    slices = [
        Slice(names[e["tid"]], e["name"], e["ts"], e["ts"] + e["dur"], e.get("args", {}))
        for e in events
        if e["ph"] == "X"
    ]
    trips = trips_of(events, slices, names)
    fitting = [
        trip
        for trip in trips
        if room in (None, trip.read.about["room"]) and number in (None, trip.read.about["number"])
    ]
    if not fitting:
        raise ValueError("it has no such message that was sent to anybody")
    first = trips.index(max(fitting, key=lambda trip: len(trip.sends)))
    chosen = trips[first : first + messages]
    parts = [each for trip in chosen for each in trip.parts()]
    picture = Picture(title_of(chosen), chosen[0].read.began, max(each.ended for each in parts))
    reached = {"history", *(each.thread for each in parts)}
    picture.threads = sorted(reached & set(rank), key=lambda thread: (rank[thread], thread))
    for each in parts:
        each.drawn = True
    picture.slices = [
        each
        for each in slices
        if each.thread in reached and each.ended >= picture.began and each.began <= picture.ended
    ]
    picture.slices.sort(key=lambda each: (each.drawn, each.began - each.ended))
    arrows: dict[tuple[int, int], Arrow] = {}  # messages that go on together share a line
    for index, trip in enumerate(chosen):
        stages = [each for each in (trip.read, trip.commit, trip.fan_out) if each]
        for start, ends in ((trip.read, stages[1:2]), (stages[-1], trip.sends)):
            for end in ends:
                arrows.setdefault((id(start), id(end)), Arrow(start, end, index))
    picture.arrows = list(arrows.values())
    return picture


def title_of(chosen: list[Trip]) -> str:
    first = chosen[0].read.about
    sockets = len({send.about["to"] for trip in chosen for send in trip.sends})
    readers = len({trip.read.thread for trip in chosen})
    said = f"Message {first['number']} of {first['room']}"
    if len(chosen) > 1:
        said += f" and the next {len(chosen) - 1}" if len(chosen) > 2 else " and the next one"
    return f"{said}: from {'one reader' if readers == 1 else f'{readers} readers'} to {sockets} sockets"


def ticks(length: float) -> Iterator[float]:
    """Round numbers of microseconds from 0 to the length."""
    step = 1.0
    while length / step > TICKS:
        step *= 2.5 if f"{step:g}"[0] == "2" else 2
    at = 0.0
    while at <= length:
        yield at
        at += step


def shown(microseconds: float) -> str:
    return f"{microseconds / 1000:.4g} ms" if microseconds >= 1000 else f"{microseconds:.4g} µs"


def legend(picture: Picture) -> list[tuple[str, str]]:
    """Each activity with its colour, and how long it took for these messages: in all, as far as the picture goes."""
    entries = []
    for name, colour in COLOURS.items():
        took = [
            min(each.ended, picture.ended) - max(each.began, picture.began)
            for each in picture.slices
            if each.name == name and (each.drawn or name.startswith("wait"))
        ]
        times = f"{len(took)} times, " if len(took) > 1 else ""
        entries.append((f"{name}: {times}{shown(round(sum(took), 1))}" if took else name, colour))
    return entries


def svg_of(picture: Picture) -> str:
    """The picture as SVG, without a library."""
    length = max(picture.ended - picture.began, 1.0)
    entries = legend(picture)
    bottom = TOP + ROW * len(picture.threads)
    height = bottom + 50 + 34 * ((len(entries) + 2) // 3)

    def across(at: float) -> float:
        inside = min(max(at, picture.began), picture.ended) - picture.began
        return round(LEFT + inside / length * (WIDTH - LEFT - 20), 1)

    def down(thread: str) -> int:
        return TOP + ROW * picture.threads.index(thread)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="18">',
        f"<title>{escape(picture.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="30" font-size="22" font-weight="bold">{escape(picture.title)}</text>',
    ]
    for at in ticks(length):
        x = across(picture.began + at)
        parts.append(f'<path d="M{x} {TOP - 10}V{bottom}" stroke="#e8e8e8"/>')
        parts.append(f'<text x="{x}" y="{TOP - 16}" text-anchor="middle" fill="#555">{shown(at)}</text>')
    for thread in picture.threads:
        parts.append(f'<path d="M0 {down(thread) + ROW - 4}H{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="12" y="{down(thread) + 38}">{escape(thread)}</text>')
    for each in picture.slices:
        x, y = across(each.began), down(each.thread)
        width = max(round(across(each.ended) - x, 1), 1.5)
        took = shown(round(each.ended - each.began, 1))
        name = f"{each.name} {each.about['number']}" if each.name == "read" and each.drawn else each.name
        tip = f"{name}, {took}" + (f", to {each.about['to']}" if "to" in each.about else "")
        faint = "" if each.drawn or each.name.startswith("wait") else ' opacity=".35"'
        parts.append(
            f'<rect x="{x}" y="{y + 10}" width="{width}" height="48" fill="{COLOURS.get(each.name, OTHER)}" '
            f'stroke="#fff" stroke-width=".5"{faint}><title>{escape(tip)}</title></rect>'
        )
        if each.drawn and width > LEGIBLE * len(name) + 6:
            centre = x + width / 2
            parts.append(f'<text x="{centre:g}" y="{y + 31}" text-anchor="middle">{escape(name)}</text>')
            parts.append(f'<text x="{centre:g}" y="{y + 51}" font-size="15" text-anchor="middle">{took}</text>')
    for arrow in picture.arrows:
        x, to_x = across(arrow.start.ended), across(arrow.end.began)
        y, to_y = down(arrow.start.thread) + 58, down(arrow.end.thread) + 10
        middle = (y + to_y) / 2
        parts.append(
            f'<path d="M{x} {y}C{x} {middle:g} {to_x} {middle:g} {to_x} {to_y}" fill="none" '
            f'stroke="{LINES[arrow.message % len(LINES)]}" stroke-width="1.2" opacity=".6"/>'
        )
    for index, (entry, colour) in enumerate(entries):
        column, row = 12 + 420 * (index % 3), bottom + 24 + 34 * (index // 3)
        parts.append(f'<rect x="{column}" y="{row}" width="20" height="20" fill="{colour}"/>')
        parts.append(f'<text x="{column + 28}" y="{row + 17}">{entry}</text>')
    return "\n".join([*parts, "</svg>\n"])


def draw_png(picture: Picture, path: str) -> None:
    """The picture with matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    pyplot.rcParams["font.size"] = 13
    figure, axes = pyplot.subplots(figsize=(12, 2 + 0.8 * len(picture.threads)))
    rows = {thread: len(picture.threads) - index for index, thread in enumerate(picture.threads)}
    for each in picture.slices:
        began, ended = max(each.began, picture.began), min(each.ended, picture.ended)
        box = [((began - picture.began) / 1000, max((ended - began) / 1000, 0.001))]
        axes.broken_barh(box, (rows[each.thread] - 0.3, 0.6), facecolors=COLOURS.get(each.name, OTHER))
    for arrow in picture.arrows:
        times = [(arrow.start.ended - picture.began) / 1000, (arrow.end.began - picture.began) / 1000]
        ends = [rows[arrow.start.thread] - 0.3, rows[arrow.end.thread] + 0.3]
        axes.plot(times, ends, color=LINES[arrow.message % len(LINES)], linewidth=0.8, alpha=0.6)
    axes.set_yticks(list(rows.values()), list(rows))
    axes.set_xlabel("ms")
    axes.set_title(picture.title)
    axes.legend(handles=[Patch(color=colour, label=entry) for entry, colour in legend(picture)], loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


@click.command(help=__doc__.split("\n\n")[0] + "\n\n" + __doc__.split("\n\n")[1])
@click.argument("trace", type=click.Path(exists=True, dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="Ends in .svg or .png.")
@click.option("--room", help="Take a message of this room.")
@click.option(
    "--number",
    type=int,
    metavar="N",
    help="Take the message with this number; otherwise the first one with the most receivers.",
)
@click.option(
    "--messages",
    type=click.IntRange(1, MOST),
    default=1,
    show_default=True,
    metavar="N",
    help="Draw this many messages: that one, and those that were read after it.",
)
def main(trace: str, output: str, room: str | None, number: int | None, messages: int) -> None:
    if not output.endswith((".svg", ".png")):
        sys.exit(f"timeline: {output} ends neither in .svg nor in .png.")
    if output.endswith(".png") and importlib.util.find_spec("matplotlib") is None:
        sys.exit("timeline: a .png needs matplotlib: pip install '.[plot]' in the folder of README.rst.")
    try:
        picture = picture_of(read(trace), room, number, messages)
    except (ValueError, KeyError) as error:
        sys.exit(f"timeline: {trace} was not drawn: {error}.")
    if output.endswith(".png"):
        draw_png(picture, output)
    else:
        try:
            with open(output, "w", encoding="utf-8") as file:
                file.write(svg_of(picture))
        except OSError as error:
            sys.exit(f"timeline: {output} could not be written: {error.strerror}.")
    click.echo(f"{output}: {picture.title}, {shown(round(picture.ended - picture.began, 1))}")


if __name__ == "__main__":
    streams.prepare()
    main()
