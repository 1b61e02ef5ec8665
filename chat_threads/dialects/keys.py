"""The keys of a terminal: bytes in; keys, typed text and pasted text out. Pure: no socket, no timer.

A terminal sends a key as a character, as a control character, or as an escape sequence (ECMA-48: CSI and SS3).
Terminals disagree about the sequences of some keys, so a key may have several here. The bytes come without telnet's
commands. However they are split between calls, the result is the same, except for Tab (see ``BURST``).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import Enum


class Key(Enum):
    """What a key does, by the name of the command in GNU readline, if it has one."""

    ENTER = "accept-line"
    LEFT = "backward-char"
    RIGHT = "forward-char"
    HOME = "beginning-of-line"
    END = "end-of-line"
    WORD_LEFT = "backward-word"
    WORD_RIGHT = "forward-word"
    UP = "previous-history"
    DOWN = "next-history"
    BACKSPACE = "backward-delete-char"
    DELETE = "delete-char"
    DELETE_OR_LEAVE = "delete-char, and end-of-file on an empty line"
    KILL_BEFORE = "unix-line-discard"
    KILL_AFTER = "kill-line"
    KILL_BLANK_WORD = "unix-word-rubout"
    KILL_WORD_BEFORE = "backward-kill-word"
    KILL_WORD_AFTER = "kill-word"
    YANK = "yank"
    COMPLETE = "menu-complete"
    COMPLETE_BACK = "menu-complete-backward"
    REDRAW = "clear-screen"
    SCROLL_BACK = "Page Up"
    INTERRUPT = "Ctrl-C"
    ANSWERED = "no key: the terminal says that it is there"


@dataclass(frozen=True, slots=True)
class Paste:
    """A part of a text that was pasted (bracketed paste). Its lines end with LF."""

    text: str
    first: bool = False  # whether the text begins with it


_CONTROLS = {
    "\x01": Key.HOME,
    "\x02": Key.LEFT,
    "\x03": Key.INTERRUPT,
    "\x04": Key.DELETE_OR_LEAVE,
    "\x05": Key.END,
    "\x06": Key.RIGHT,
    "\x08": Key.BACKSPACE,
    "\t": Key.COMPLETE,
    "\n": Key.ENTER,
    "\x0b": Key.KILL_AFTER,
    "\x0c": Key.REDRAW,
    "\r": Key.ENTER,
    "\x0e": Key.DOWN,
    "\x10": Key.UP,
    "\x12": Key.REDRAW,  # as it is in a terminal that sends whole lines
    "\x15": Key.KILL_BEFORE,
    "\x17": Key.KILL_BLANK_WORD,
    "\x19": Key.YANK,
    "\x7f": Key.BACKSPACE,
}

# After ESC: Alt and a letter.
_ALT = {
    "b": Key.WORD_LEFT,
    "f": Key.WORD_RIGHT,
    "d": Key.KILL_WORD_AFTER,
    "\x08": Key.KILL_WORD_BEFORE,
    "\x7f": Key.KILL_WORD_BEFORE,
}

# The last characters of CSI and SS3 sequences; before "~" the first number says which key it is.
_FINALS = {
    "A": Key.UP,
    "B": Key.DOWN,
    "C": Key.RIGHT,
    "D": Key.LEFT,
    "H": Key.HOME,
    "F": Key.END,
    "Z": Key.COMPLETE_BACK,
    "1~": Key.HOME,
    "7~": Key.HOME,
    "4~": Key.END,
    "8~": Key.END,
    "3~": Key.DELETE,
    "5~": Key.SCROLL_BACK,
    "n": Key.ANSWERED,
}
_SS3 = {"M": Key.ENTER, "c": Key.WORD_RIGHT, "d": Key.WORD_LEFT}  # the keypad's Enter; rxvt with Ctrl

# With Ctrl or Alt.
_MODIFIED = {Key.LEFT: Key.WORD_LEFT, Key.RIGHT: Key.WORD_RIGHT, Key.DELETE: Key.KILL_WORD_AFTER}
_SHIFT = 1  # xterm's modifiers, less one, are bits: Shift, Alt, Ctrl, Meta

# A terminal without bracketed paste sends what is pasted as if it were typed. Nobody types so many bytes between two
# reads, even if the network delays them. If a Tab with text after it is among them, it belongs to that text.
BURST = 8
_INDENT = re.compile("\t+[^\x00-\x1f\x7f]")

_PASTE_BEGINS, _PASTE_ENDS = "200~", "201~"

# A whole sequence: a position of the mouse as X10 reports it, a function key of Linux' console, CSI, SS3, Alt.
_SEQUENCE = re.compile(
    "\x1b(?:\\[M[^\x00-\x1f]{3}|\\[\\[[ -~]"
    "|\\[(?![M[])(?P<csi>[0-?]{0,30})[ -/]{0,4}(?P<end>[@-~])"
    "|O(?P<ss3>[0-9;]{0,8})(?P<last>[@-~])"
    "|(?P<alt>[bfd\x08\x7f\r\n]))"
)
# The beginning of one. It is bounded by the counts.
_BEGUN = re.compile("\x1b(?:\\[(?:M[^\x00-\x1f]{0,2}|\\[|[0-?]{0,30}[ -/]{0,4})|O[0-9;]{0,8})?")

_PLAIN = re.compile("[^\x00-\x1f\x7f]+")


class Keys:
    """The keys that a terminal's bytes stand for. Keeps an unfinished character or sequence: at most 40 characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""  # an unfinished sequence
        self._pasting = False
        self._pasted = False  # whether a part of the paste has come
        self._after_cr = False

    def feed(self, data: bytes) -> list[Key | str | Paste]:
        """The keys, and the text between them. Bytes that are not UTF-8 become U+FFFD.

        CR LF, CR NUL, CR and LF are Enter once; in a paste, and with Alt, they end a line of the text. Unknown
        sequences and control characters are dropped. ESC before another character is the Escape key, and the
        character is text.
        """
        text = self._begun + self._decoder.decode(data)
        self._begun = ""
        burst = len(data) >= BURST
        found: list[Key | str | Paste] = []
        at = 0
        while at < len(text):
            char = text[at]
            if self._after_cr:
                self._after_cr = False
                if char in "\n\x00":  # the second character of a line's end
                    at += 1
                    continue
            if char == "\x1b":
                sequence = _SEQUENCE.match(text, at)
                begun = _BEGUN.match(text, at)
                if sequence:
                    at = self._take(sequence, found)
                elif begun and begun.end() < len(text):
                    at = begun.end()
                else:
                    self._begun = text[at:]
                    break
            elif plain := _PLAIN.match(text, at):
                found.append(self._paste(plain[0]) if self._pasting else plain[0])
                at = plain.end()
            elif burst and not self._pasting and _INDENT.match(text, at):
                found.append(char)
                at += 1
            else:
                self._control(char, found)
                at += 1
        return found

    def _control(self, char: str, found: list[Key | str | Paste]) -> None:
        self._after_cr = char == "\r"
        if char == "\x03":  # no terminal pastes it: a paste whose end was lost ends here
            self._pasting = False
        if self._pasting:
            if char in "\r\n\t":
                found.append(self._paste(char.replace("\r", "\n")))
        elif char in _CONTROLS:
            found.append(_CONTROLS[char])

    def _paste(self, text: str) -> Paste:
        first, self._pasted = not self._pasted, True
        return Paste(text, first)

    def _take(self, sequence: re.Match[str], found: list[Key | str | Paste]) -> int:
        """Find out what a whole sequence means, and return where the text goes on."""
        key = None
        parameters = sequence["csi"] or sequence["ss3"] or ""
        if sequence["alt"]:
            if self._pasting:  # a letter of the text
                return sequence.start() + 1
            key = _ALT.get(sequence["alt"])
            if key is None:
                self._after_cr = sequence["alt"] == "\r"
                found.append("\n")
        elif sequence["end"] or sequence["last"]:
            number, _, modifiers = parameters.partition(";")
            end = sequence["end"] or sequence["last"]
            name = number + end if end == "~" else end
            if sequence["end"] and name in (_PASTE_BEGINS, _PASTE_ENDS):
                self._pasting, self._pasted = name == _PASTE_BEGINS, False
            else:
                key = _FINALS.get(name) or (_SS3.get(name) if sequence["last"] else None)
            if key in _MODIFIED and modifiers.isdecimal() and int(modifiers) - 1 > _SHIFT:
                key = _MODIFIED[key]
        if key and not self._pasting:
            found.append(key)
        return sequence.end()
