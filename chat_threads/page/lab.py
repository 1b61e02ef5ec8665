"""The pages beside the chat: /threads and /trace, for servers with --lab, and /qr. Pure; any thread may call this."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache

from . import Page, assemble


@cache
def threads_page() -> Page:
    """What every thread, queue and lock does now, drawn again and again."""
    return assemble("threads.html", ["lab.css"], ["dom.js", "asking.js", "threads.js"])


@cache
def trace_page() -> Page:
    """The trip of a message as a timeline."""
    return assemble("trace.html", ["lab.css"], ["dom.js", "asking.js", "trace.js"])


_EMPTY_QR_PAGE = assemble("qr.html", ["qr.css"], [])  # put together now: qr_page is called under a parcel's lock


def qr_page(url: str, rows: Sequence[str]) -> Page:
    """The address in large letters, with its QR code. ``rows`` are as in ``qr.rows_of``."""
    page = _EMPTY_QR_PAGE
    size = len(rows)
    dark = [(x, y) for y, row in enumerate(rows) for x, square in enumerate(row) if square == "1"]
    squares = "".join(f"M{x} {y}h1v1h-1z" for x, y in dark)
    code = (
        f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="QR code of the address" shape-rendering="crispEdges">'
        f'<path d="{squares}"/></svg>'
    )
    body = page.body.decode("utf-8").replace("<!-- url -->", html.escape(url)).replace("<!-- code -->", code)
    return Page(body.encode("utf-8"), page.scripts, page.styles)
