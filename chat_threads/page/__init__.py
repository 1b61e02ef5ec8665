"""The page of the chat."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A page in one response, with the hashes that its Content-Security-Policy allows."""

    body: bytes
    scripts: tuple[str, ...]
    styles: tuple[str, ...]


def chat_page() -> Page:
    """The page of the chat."""
    return Page(b"<!doctype html><title>chat</title>", ("'none'",), ("'none'",))
