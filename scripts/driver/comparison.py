"""What bench.py found, as a table for docs/performance.rst and as JSON."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tabulate import tabulate

from . import machine
from .contenders import Contender
from .crowd import BUSY, Outcome

Cell = tuple[int, int]  # members, and messages under way
Found = list["Outcome | None"]  # one for each round; None: it failed


@dataclass
class Comparison:
    """The outcomes of all runs. The first server is the one with which the others are compared."""

    servers: Sequence[Contender]
    cells: Sequence[Cell]
    seconds: float
    cpu: bool = False  # whether to show microseconds of CPU for a delivery instead of deliveries a second
    talks: defaultdict[tuple[Contender, Cell], Found] = field(default_factory=lambda: defaultdict(list))
    joins: defaultdict[Contender, Found] = field(default_factory=lambda: defaultdict(list))
    remarks: list[str] = field(default_factory=list)  # sentences about servers that are not there, or failed

    def figure(self, outcome: Outcome | None) -> float | None:
        if outcome is None:
            return None
        if not self.cpu:
            return outcome.delivered / self.seconds
        return None if outcome.server_cpu is None else 1e6 * outcome.server_cpu / max(1, outcome.in_all)

    def figures(self, server: Contender, cell: Cell) -> list[float | None]:
        return [self.figure(outcome) for outcome in self.talks[server, cell]]

    def ratios(self, server: Contender, cell: Cell) -> list[float]:
        """The first server's figure divided by this server's, in each round."""
        pairs = zip(self.figures(self.servers[0], cell), self.figures(server, cell), strict=True)
        return [ours / theirs for ours, theirs in pairs if ours and theirs]

    @property
    def wrong(self) -> list[str]:
        """Where a message did not arrive, or arrived twice, in words."""
        return [
            f"{server.title} ({members} members, {window} under way)"
            for (server, (members, window)), found in self.talks.items()
            if any(outcome and outcome.wrong for outcome in found)
        ]

    @property
    def limited(self) -> bool:
        """Whether the driver was the bottleneck anywhere."""
        return any("[d]" in table for table in self.tables())

    # --- for people -----------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """One for each size of the room, and one for the joins."""
        sizes = list(dict.fromkeys(members for members, _ in self.cells))
        found = [self._talk_table([cell for cell in self.cells if cell[0] == size]) for size in sizes]
        return [*found, self._join_table()] if any(self.joins.values()) else found

    def _talk_table(self, cells: Sequence[Cell]) -> str:
        rows = []
        for server in self.servers:
            texts = [self._cell(server, cell) for cell in cells]
            rows.append([server.title, *(figure for figure, _ in texts)])
            if any(ratio for _, ratio in texts):
                rows.append(["", *(ratio for _, ratio in texts)])
        return _table(["server", *(f"{members}x{window}" for members, window in cells)], rows)

    def _cell(self, server: Contender, cell: Cell) -> tuple[str, str]:
        """The lines of a cell: the figure, and the ratio with its spread."""
        known = [figure for figure in self.figures(server, cell) if figure is not None]
        if not known:
            return "-", ""
        figure = statistics.median(known)
        text = f"{figure:.2f}" if self.cpu else short(figure)
        if not self.cpu and _limited([outcome.cpu for outcome in self.talks[server, cell] if outcome]):
            text += " [d]"
        ratios = self.ratios(server, cell)
        if server is self.servers[0] or not ratios:
            return text, ""
        spread = f" ({_ratio(min(ratios))}-{_ratio(max(ratios))})" if len(ratios) > 1 else ""
        return text, f"{_ratio(statistics.median(ratios))}{spread}"

    def _join_table(self) -> str:
        return _table(
            ["server", "joins/s", "kB each"], [[server.title, *self._joins(server)] for server in self.servers]
        )

    def _joins(self, server: Contender) -> list[str]:
        found = [outcome for outcome in self.joins[server] if outcome]
        if not found:
            return ["-", "-"]
        rate = statistics.median(joins_per_second(outcome) for outcome in found)
        mark = " [d]" if _limited([outcome.joining_cpu for outcome in found]) else ""
        memory = [outcome.memory / 1000 for outcome in found if outcome.memory is not None]
        return [f"{short(rate)}{mark}", f"{statistics.median(memory):.0f}" if memory else "-"]

    # --- for programs ---------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        return {
            "machine": machine.describe(),
            "seconds": self.seconds,
            "servers": {server.title: self._record(server) for server in self.servers},
            "remarks": self.remarks,
        }

    def _record(self, server: Contender) -> dict[str, Any]:
        def each(found: Found, of: Callable[[Outcome], float | None]) -> list[float | None]:
            values = [of(outcome) if outcome else None for outcome in found]
            return [None if value is None else round(value, 3) for value in values]

        cells = {}
        for cell in self.cells:
            found, ratios = self.talks[server, cell], self.ratios(server, cell)
            cells[f"{cell[0]}x{cell[1]}"] = {
                "deliveries_per_s": each(found, lambda one: one.delivered / self.seconds),
                "cpu_us_per_delivery": each(
                    found, lambda one: None if one.server_cpu is None else 1e6 * one.server_cpu / max(1, one.in_all)
                ),
                "p50_ms": each(found, lambda one: 1000 * one.latency(50)),
                "p99_ms": each(found, lambda one: 1000 * one.latency(99)),
                "driver_cpu": each(found, lambda one: one.cpu),
                "wrong": each(found, lambda one: one.wrong),
                "ratio": [round(ratio, 3) for ratio in ratios],
            }
        joins = self.joins[server]
        return {
            "cells": cells,
            "joins_per_s": each(joins, joins_per_second),
            "bytes_per_client": each(joins, lambda one: one.memory),
        }


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(rows, headers, tablefmt="rst", disable_numparse=True, colalign=align)


def _limited(cpu: list[float]) -> bool:
    """Whether the driver was the bottleneck in most of some runs."""
    return statistics.median(cpu) >= BUSY


def joins_per_second(outcome: Outcome) -> float:
    return outcome.clients / outcome.joining


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.0f}"


def short(number: float) -> str:
    """A number with three digits that count: 87, 1,350, 24.1k, 3.82M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= 10 * size or (unit == "M" and number >= 999_500):
            value = number / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{unit}"
    return f"{number:,.0f}"


def write_json(record: object, path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
