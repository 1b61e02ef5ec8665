#!/usr/bin/env python3
"""Draw a message's way through the server's threads: timeline.py trace.json -o timeline.svg

The trace is the file of chat-threads --trace trace.json. The server may still run, or may have been stopped or killed.
Each row is a thread, each box is one of its activities, and a line leads from the read of the message to each send. A
file name that ends in .png needs matplotlib: pip install '.[plot]' in the folder of README.rst.
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

WIDTH, LEFT, ROW, TOP = 960, 90, 44, 64  # pixels: the picture, the threads' names, a row, and above the first
COLOURS = {
    "read": "#4c78a8",
    "commit": "#e45756",
    "wait for writers": "#d8d8d8",
    "wait for lock": "#f2c14e",
    "fan-out": "#b279a2",
    "send": "#54a24b",
}
OTHER = "#9d9d9d"
TICKS = 8  # about this many on the axis
LEGIBLE = 6.5  # pixels for a letter


@dataclass
class Slice:
    thread: str
    name: str
    began: float  # microseconds
    ended: float
    about: dict[str, Any]


@dataclass
class Picture:
    """The picture: a span of time, the threads in it, and the lines from the read to the sends."""

    title: str
    began: float
    ended: float
    threads: list[str] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    arrows: list[tuple[str, float, str, float]] = field(default_factory=list)


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


def picture_of(events: list[dict[str, Any]], room: str | None, number: int | None) -> Picture:
    """The trip of one message: the requested one, or the first with the most receivers."""
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    order = {e["tid"]: e["args"]["sort_index"] for e in events if e["ph"] == "M" and e["name"] == "thread_sort_index"}
    rank = {names[row]: order.get(row, 0) for row in names}
    slices = [
        Slice(names[e["tid"]], e["name"], e["ts"], e["ts"] + e["dur"], e.get("args", {}))
        for e in events
        if e["ph"] == "X"
    ]
    starts = {e["id"]: e for e in events if e["ph"] == "s"}
    arrows: dict[tuple[str, float], list[tuple[str, float]]] = {}
    for event in events:
        if event["ph"] == "f" and event["id"] in starts:
            start = starts[event["id"]]
            arrows.setdefault((names[start["tid"]], start["ts"]), []).append((names[event["tid"]], event["ts"]))
    trips = [
        (each, to)
        for each in slices
        if each.name == "read"
        and (to := arrows.get((each.thread, each.began)))
        and room in (None, each.about["room"])
        and number in (None, each.about["number"])
    ]
    if not trips:
        raise ValueError("it has no such message that was sent to anybody")
    message, to = max(trips, key=lambda trip: len(trip[1]))
    sends = [each for each in slices if each.name == "send" and (each.thread, each.began) in to]
    ended = max(each.ended for each in sends)
    title = f"Message {message.about['number']} of {message.about['room']}: from one reader to {len(to)} sockets"
    picture = Picture(title, message.began, ended)
    reached = {message.thread, "history", *(thread for thread, _ in to)}
    picture.threads = sorted(reached & set(rank), key=lambda thread: (rank[thread], thread))
    picture.slices = [
        each for each in slices if each.thread in reached and each.ended >= picture.began and each.began <= ended
    ]
    picture.slices.sort(key=lambda each: each.began - each.ended)
    picture.arrows = [(message.thread, message.began, thread, at) for thread, at in sorted(to, key=lambda end: end[1])]
    return picture


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
    return f"{microseconds / 1000:g} ms" if microseconds >= 1000 else f"{microseconds:g} µs"


def svg_of(picture: Picture) -> str:
    """The picture as SVG, without a library."""
    length = max(picture.ended - picture.began, 1.0)
    height = TOP + ROW * len(picture.threads) + 60

    def across(at: float) -> float:
        inside = min(max(at, picture.began), picture.ended) - picture.began
        return round(LEFT + inside / length * (WIDTH - LEFT - 20), 1)

    def down(thread: str) -> int:
        return TOP + ROW * picture.threads.index(thread)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{escape(picture.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(picture.title)}</text>',
    ]
    bottom = TOP + ROW * len(picture.threads)
    for at in ticks(length):
        x = across(picture.began + at)
        parts.append(f'<path d="M{x} {TOP - 10}V{bottom}" stroke="#e8e8e8"/>')
        parts.append(f'<text x="{x}" y="{TOP - 14}" text-anchor="middle" fill="#666">{shown(at)}</text>')
    for thread in picture.threads:
        parts.append(f'<path d="M0 {down(thread) + ROW - 4}H{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="12" y="{down(thread) + 23}">{escape(thread)}</text>')
    for thread, at, to_thread, to_at in picture.arrows:
        x, y, to_x = across(at), down(thread) + 32, across(to_at)
        to_y = down(to_thread) + (4 if down(to_thread) > y else 32)
        middle = (y + to_y) / 2
        parts.append(
            f'<path d="M{x} {y}C{x} {middle:g} {to_x} {middle:g} {to_x} {to_y}" fill="none" stroke="#888" '
            'stroke-width=".7" opacity=".6"/>'
        )
    for each in picture.slices:
        x, y = across(each.began), down(each.thread)
        width = max(round(across(each.ended) - x, 1), 1.0)
        tip = f"{each.name}, {shown(round(each.ended - each.began, 1))}"
        if "to" in each.about:
            tip += f", to {each.about['to']}"
        parts.append(
            f'<rect x="{x}" y="{y + 4}" width="{width}" height="28" fill="{COLOURS.get(each.name, OTHER)}" '
            f'stroke="#fff" stroke-width=".5"><title>{escape(tip)}</title></rect>'
        )
        if width > LEGIBLE * len(each.name) + 6:
            parts.append(f'<text x="{x + width / 2:g}" y="{y + 22}" text-anchor="middle">{escape(each.name)}</text>')
    x = 12
    for name, colour in COLOURS.items():
        parts.append(f'<rect x="{x}" y="{bottom + 24}" width="14" height="14" fill="{colour}"/>')
        parts.append(f'<text x="{x + 19}" y="{bottom + 35}">{name}</text>')
        x += 40 + int(LEGIBLE * len(name))
    return "\n".join([*parts, "</svg>\n"])


def draw_png(picture: Picture, path: str) -> None:
    """The picture with matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    figure, axes = pyplot.subplots(figsize=(12, 1.5 + 0.6 * len(picture.threads)))
    rows = {thread: len(picture.threads) - index for index, thread in enumerate(picture.threads)}
    for each in picture.slices:
        began, ended = max(each.began, picture.began), min(each.ended, picture.ended)
        box = [((began - picture.began) / 1000, max((ended - began) / 1000, 0.001))]
        axes.broken_barh(box, (rows[each.thread] - 0.3, 0.6), facecolors=COLOURS.get(each.name, OTHER))
    for thread, at, to_thread, to_at in picture.arrows:
        times = [(at - picture.began) / 1000, (to_at - picture.began) / 1000]
        axes.plot(times, [rows[thread], rows[to_thread]], color="#888", linewidth=0.5, alpha=0.6)
    axes.set_yticks(list(rows.values()), list(rows))
    axes.set_xlabel("ms")
    axes.set_title(picture.title)
    axes.legend(handles=[Patch(color=colour, label=name) for name, colour in COLOURS.items()], loc="upper right")
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
def main(trace: str, output: str, room: str | None, number: int | None) -> None:
    if not output.endswith((".svg", ".png")):
        sys.exit(f"timeline: {output} ends neither in .svg nor in .png.")
    if output.endswith(".png") and importlib.util.find_spec("matplotlib") is None:
        sys.exit("timeline: a .png needs matplotlib: pip install '.[plot]' in the folder of README.rst.")
    try:
        picture = picture_of(read(trace), room, number)
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
