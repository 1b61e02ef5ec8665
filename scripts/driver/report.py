"""A result as a table for people, and as CSV, JSON and a plot."""

from __future__ import annotations

import csv
import dataclasses
import json
from typing import Any

from tabulate import tabulate

from . import machine
from .conductor import Result, Row
from .histogram import Histogram

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
COLOURS = ("#00429d", "#4771b2", "#7fa3c7", "#e08a4f", "#b3321f")
COLUMNS = ("seconds", "sent", "delivered", "deliveries_per_s", *(f"{name}_ms" for name in PERCENTILES))


def milliseconds(latencies: Histogram) -> dict[str, float | None]:
    return {
        name: None if (value := latencies.percentile(percent)) is None else value / 1000
        for name, percent in PERCENTILES.items()
    }


def table(result: Result) -> str:
    """The results, one a line. Values that are usually zero appear only if they are not."""
    plan, tally = result.plan, result.tally
    rows: list[tuple[str, str]] = [
        ("connected", f"{result.connected} in {result.connecting:.2f} s"),
        ("sent", str(result.sent)),
        ("delivered", str(tally.delivered)),
        ("lost", str(tally.lost)),
        ("duplicated", str(tally.duplicated)),
        ("out of order", str(tally.out_of_order)),
    ]
    unusual = (
        ("astray", tally.astray),
        ("not sent in time", result.count("unsent")),
        ("cut off", result.count("cut_off")),
        ("not let in again at first", result.count("refused")),
    )
    rows += [(name, str(count)) for name, count in unusual if count]
    if plan.churn:
        rows.append(("reconnected", str(result.count("reconnected"))))
    if plan.slow:
        rows.append(("slow ones cut off", f"{result.count('slow_cut_off')} of {plan.slow}"))
    rows.append(("deliveries/s", f"{result.deliveries_per_second:,.0f}"))
    for name, value in milliseconds(result.latencies).items():
        rows.append((name if name == "max" else f"latency {name}" if name == "p50" else name, _time(value)))
    if result.server_cpu is not None and result.server:
        rows.append(("server's CPU", f"{result.server_cpu:.0%} of a core"))
        rows.append(("server's memory", f"{result.server.memory / 1e6:.0f} MB, {result.server.threads} threads"))
    busiest = max(report.cpu for report in result.reports)
    rows.append(("driver's CPU", f"{busiest:.0%} of a core" + (", the busiest" if plan.processes > 1 else "")))
    return tabulate(rows, ("what", "found"), tablefmt="simple", disable_numparse=True, colalign=("left", "right"))


def remarks(result: Result) -> list[str]:
    """Notes on the table, in sentences."""
    found = [f"The driver was the bottleneck: {reason}." for reason in result.bottleneck]
    if result.shared is not None:
        found.append(f"All cores of this machine were busy, {result.shared:.2f} of them with the driver.")
    found += [f"The server said: {line}" for line in result.troubles]
    return found


def _time(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"


def _record(number: int, row: Row, interval: float) -> dict[str, float | int | None]:
    values = (
        round((number + 1) * interval, 3),
        row.sent,
        row.delivered,
        round(row.delivered / interval, 1),
        *milliseconds(row.latencies).values(),
    )
    return dict(zip(COLUMNS, values, strict=True))


def records(result: Result) -> list[dict[str, float | int | None]]:
    """A record for each interval; ``seconds`` is its end."""
    return [_record(number, row, result.plan.interval) for number, row in enumerate(result.rows)]


def write_csv(result: Result, path: str) -> None:
    """The run over time, a line for each interval."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records(result))


def summary(result: Result) -> dict[str, Any]:
    """Everything, for json."""
    plan = dataclasses.asdict(result.plan)
    for internal in ("family", "epoch"):
        del plan[internal]
    server = result.server
    return {
        "plan": plan,
        "machine": machine.describe(),
        "connected": result.connected,
        "connecting_s": round(result.connecting, 3),
        "sent": result.sent,
        **dataclasses.asdict(result.tally),
        **{name: result.count(name) for name in ("unsent", "cut_off", "slow_cut_off", "reconnected", "refused")},
        "deliveries_per_s": round(result.deliveries_per_second, 1),
        "latency_ms": milliseconds(result.latencies),
        "server": server and {"cpu": result.server_cpu, "memory_bytes": server.memory, "threads": server.threads},
        "driver": {"cpu": [round(report.cpu, 3) for report in result.reports], "bottleneck": result.bottleneck},
        "cores_busy": result.cores_busy,
        "troubles": result.troubles,
        "intervals": records(result),
    }


def write_json(result: Result, path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(summary(result), file, indent=1)
        file.write("\n")


def write_plot(result: Result, path: str) -> None:
    """Latency percentiles above, deliveries a second below, over the time of the run. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    found = records(result)
    seconds = [record["seconds"] for record in found]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 6), layout="constrained")
    for name, colour in zip(PERCENTILES, COLOURS, strict=True):
        above.plot(seconds, [_or_gap(record[f"{name}_ms"]) for record in found], label=name, color=colour, marker=".")
    above.set_yscale("log")
    above.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    above.yaxis.set_major_formatter("{x:g}")
    above.yaxis.set_minor_formatter(ticker.NullFormatter())
    above.set_ylabel("latency, ms")
    above.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(PERCENTILES), fontsize="small", frameon=False)
    width = -result.plan.interval  # to the left, because a record has the time of its interval's end
    below.bar(seconds, [record["deliveries_per_s"] for record in found], width, align="edge", color="#7fa3c7")
    below.set_ylim(bottom=0)
    below.set_ylabel("deliveries/s")
    below.set_xlabel("seconds")
    plan = result.plan
    pace = f"{plan.rate:g} messages/s" if plan.rate else f"{plan.window} under way"
    figure.suptitle(f"clients {plan.clients}, rooms {plan.rooms}, {pace}, {plan.dialect}")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.savefig(path)
    pyplot.close(figure)


def _or_gap(value: float | int | None) -> float:
    return float("nan") if value is None else max(value, 0.001)
