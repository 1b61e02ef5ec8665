"""How one person wants to see events: what /set changes, who is ignored, and the window. See base.Dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..parcel import Views
from ..usage import NUMBER
from . import clock
from .base import MAX_REPLAY
from .speech import Style
from .typed import not_set, option_named
from .views import views

_USUAL = Style()
_USUAL_VIEWS = views(_USUAL)
_SERVERS = "server"  # the zone in which the server runs
_SWITCH = {"on": True, "off": False}


class Preferences:
    """The part of a TextDialect that chooses the views."""

    def __init__(self, replay: int, blocks: bool) -> None:
        self.replay = replay
        self._style = _USUAL if blocks else Style(blocks=False)
        self.views: Views = _USUAL_VIEWS if blocks else views(self._style)
        self._name = ""
        self._bell = False

    def _set_style(self, **changes: Any) -> None:
        style = replace(self._style, **changes)
        if style != self._style:
            self._style, self.views = style, views(style)

    def renamed(self, name: str) -> None:
        self._name = name
        if self._bell:
            self._set_style(bell=name)

    def ignoring(self, people: frozenset[int]) -> None:
        self._set_style(ignored=people)

    def window(self, columns: int) -> None:
        """The window is so wide. For a client that draws the lines itself; over telnet, the option NAWS says it."""
        self._set_style(columns=max(10, min(columns, 500)), fits=True)

    def today(self, at: float) -> str:
        return clock.today(self._style.zone, int(at) // 60) if self._style.timestamps != "off" else ""

    def settings(self) -> dict[str, str]:
        return {
            "timestamps": self._style.timestamps,
            "numbers": _on_off(self._style.numbers),
            "colour": _on_off(self._style.colour),
            "bell": _on_off(self._bell),
            "joins": _on_off(self._style.joins),
            "replay": str(self.replay),
            "zone": self._style.zone or _SERVERS,
        }

    def set_option(self, name: str | None, value: str | None) -> str:
        if name is None:
            told = Preferences.settings(self) | {"zone": self._style.zone or clock.here()}
            return f"Set: {', '.join(f'{key} {value}' for key, value in told.items())}."
        option, typed = option_named(name), value or ""
        value = typed.lower()
        if option == "timestamps" and value in ("on", "off", "seconds"):
            self._set_style(timestamps=value)
        elif option == "bell" and value in _SWITCH:
            self._bell = _SWITCH[value]
            self._set_style(bell=self._name if self._bell else "")
        elif option in ("numbers", "colour", "joins") and value in _SWITCH:
            self._set_style(**{option: _SWITCH[value]})
        elif option == "replay" and NUMBER.fullmatch(value) and int(value) <= MAX_REPLAY:
            self.replay = int(value)
        elif option == "zone":
            zone = "" if value == _SERVERS else clock.known(typed)
            if zone is None:
                raise not_set(option, typed)
            self._set_style(zone=zone)
            value = zone or value
        else:
            raise not_set(name, typed)
        return f"Set: {option} {value}."


def _on_off(value: bool) -> str:
    return "on" if value else "off"
