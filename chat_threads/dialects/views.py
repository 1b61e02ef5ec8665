"""A person's views: one for each way in which people see events. Sessions with the same settings share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from .. import events
from ..parcel import Views
from . import screen
from .base import SharedViews
from .render import TextView
from .speech import Style


def views(style: Style) -> Views:
    """The views with these settings. The view for this client alone fits its window. The others have one of WIDTHS
    widths, so that a thousand windows do not make a thousand views."""
    shared = replace(style, columns=max(_LEAST, min(_MOST, style.columns // _STEP * _STEP)))
    return Views(_VIEWS.of(shared), _VIEWS.of(replace(shared, here=False)), own=_VIEWS.of(style))


_LEAST, _MOST, _STEP = 10, 200, 5  # columns of the widths that are shared
WIDTHS = (_MOST - _LEAST) // _STEP + 1


_MOVED = (events.Departed, events.RoomDeleted)  # somebody else may have put the person into another room
_NOT_LINES = (events.WireBytes, *_MOVED)


class ScreenView(TextView):
    """How events look on the screen of a person who edits lines (see ``screen``). The status line shows another room at
    once, because the terminal is asked for an answer."""

    __slots__ = ()

    def encode(self, shown: Sequence[events.Event]) -> bytes:
        if shown and isinstance(shown[-1], events.Bye):  # the last words stand below the screen, which ends
            return screen.LAST + super().encode(shown)
        if not any(isinstance(event, _NOT_LINES) for event in shown):
            return screen.above(super().encode(shown))
        parts: list[bytes] = []
        for raw, group in groupby(shown, lambda event: isinstance(event, events.WireBytes)):
            together = list(group)
            data = super().encode(together)
            parts.append(data if raw else screen.above(data))
            if any(isinstance(event, _MOVED) for event in together):
                parts.append(screen.STATUS)
        return b"".join(parts)


def _view(style: Style) -> TextView:
    return ScreenView(style) if style.screen else TextView(style)


_VIEWS = SharedViews(_view)
