"""The terminal client on a terminal, with prompt_toolkit: the line being typed stays whole while others talk.

What others say is printed above that line, into the terminal's own scrollback.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples, fragment_list_to_text
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.dimension import Dimension, to_dimension
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.utils import explode_text_fragments
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle

from ..dialects.asking import HIDDEN, may_have_password
from ..dialects.columns import columns, shortened
from ..dialects.notices import LEAVES, TOO_MUCH
from ..letters import clusters, first_letter, last_letter
from ..rules import fold
from .chat import Client
from .completions import completions, in_words
from .lines import fits, pasted
from .talk import Talk

LOOK = 0.5  # seconds between two redraws of the bottom line
LATE = 1.0  # seconds without an answer after which a line is shown as one that waits
SHOWN = 3  # of these lines
SETTLED = 0.5  # seconds after a change in which the window may still have another size than it tells

_LEAST = 6  # columns for a room or a name in the bottom line

# Variables of the environment. Each is set by a terminal that wraps long rows when its window becomes narrower.
_WRAPS = "TMUX VTE_VERSION KITTY_WINDOW_ID WT_SESSION KONSOLE_VERSION ALACRITTY_WINDOW_ID WEZTERM_PANE ITERM_SESSION_ID"


class _History(InMemoryHistory):
    """The lines that Up shows. No password is among them."""

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self._talk = talk

    def append_string(self, string: str) -> None:
        if not self._talk.hidden and not may_have_password(string):
            super().append_string(string)


# The characters of an emoji that some terminals join to the one before, and others do not; and the letters of a flag.
_JOINED = re.compile("[\u200d\u20e3\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
_FLAG = {0x1F1E6 + at: chr(ord("A") + at) for at in range(26)}


def drawn(letter: str) -> str:
    """How a letter looks while it is typed: an emoji without what is joined to it, and a flag as its two letters.
    Otherwise the terminal draws it wider or narrower than prompt_toolkit expects, and what follows in a wrong place."""
    if letter.isascii() or letter[0].isalpha():
        return letter
    return letter[0] if _JOINED.search(letter, 1) else letter.translate(_FLAG)


class _Letters(Processor):
    """Draws the line's letters so that all terminals agree how wide they are, and no password."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        if self._talk.hidden:
            return Transformation([], lambda at: 0, lambda at: 0)
        fragments = transformation_input.fragments
        text = fragment_list_to_text(fragments)
        if text.isascii():
            return Transformation(fragments)
        styles = [style for style, *_ in explode_text_fragments(fragments)]
        shown: StyleAndTextTuples = []
        source, display = [0], [0]  # where each letter begins
        for letter in clusters(text):
            shown.append((styles[source[-1]], drawn(letter)))
            source.append(source[-1] + len(letter))
            display.append(display[-1] + len(shown[-1][1]))
        return Transformation(
            shown,
            source_to_display=lambda at: display[bisect_right(source, at) - 1] + max(0, at - source[-1]),
            display_to_source=lambda at: source[bisect_right(display, at) - 1] + max(0, at - display[-1]),
        )


class _Completer(Completer):
    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        if self._talk.hidden or not before:  # the line may have been erased since Tab was pressed
            return
        for each in completions(self._talk.around, before):
            yield Completion(_with_space(each), -len(before.rpartition(" ")[2]), display=each)


def _with_space(word: str) -> str:
    return word.rstrip(" ") + " "


def _keys(talk: Talk) -> KeyBindings:
    """The keys with a meaning of their own. A line end in a pasted block does not count as Enter, and Page Up shows no
    earlier line, but says how to look back. Keys move over letters as readers see them, as with /edit on."""
    keys = KeyBindings()

    @keys.add(Keys.Left)
    @keys.add(Keys.ControlB)
    def left(event: KeyPressEvent) -> None:
        line = event.current_buffer
        line.cursor_position -= last_letter(line.document.text_before_cursor)

    @keys.add(Keys.Right)
    @keys.add(Keys.ControlF)
    def right(event: KeyPressEvent) -> None:
        line = event.current_buffer
        line.cursor_position += first_letter(line.document.text_after_cursor)

    @keys.add(Keys.Backspace)
    def backspace(event: KeyPressEvent) -> None:
        line = event.current_buffer
        line.delete_before_cursor(last_letter(line.document.text_before_cursor))

    @keys.add(Keys.Delete)
    def delete(event: KeyPressEvent) -> None:
        line = event.current_buffer
        line.delete(first_letter(line.document.text_after_cursor))

    @keys.add(Keys.ControlU)
    def erase_before(event: KeyPressEvent) -> None:  # in all lines, as with /edit on: what is left would be said, too
        line = event.current_buffer
        erased = line.delete_before_cursor(line.cursor_position)
        if erased and not talk.hidden:
            event.app.clipboard.set_text(erased)

    @keys.add(Keys.BracketedPaste)
    def paste(event: KeyPressEvent) -> None:
        line = event.current_buffer
        before, after = line.document.text_before_cursor, line.document.text_after_cursor
        block = pasted(before, event.data)
        if fits(before + block + after):
            line.insert_text(block)
        else:
            talk.tell(TOO_MUCH)

    @keys.add(Keys.ControlC, filter=Condition(lambda: talk.erased or talk.asks or get_app().current_buffer.text != ""))
    def erase(event: KeyPressEvent) -> None:  # as with /edit on; without a text, Ctrl-C leaves, or ends a question
        line = event.current_buffer
        if talk.asks and not line.text:
            line.validate_and_handle()
            return
        talk.erased = line.text != ""
        line.reset()
        line.on_text_changed.fire()  # what is typed next is another line
        if not talk.erased:
            talk.tell(LEAVES)  # the second one came perhaps by habit

    @keys.add(Keys.Escape, Keys.Enter)
    def begin_line(event: KeyPressEvent) -> None:
        if not talk.hidden and fits(event.current_buffer.text + "\n"):
            event.current_buffer.insert_text("\n")

    @keys.add(Keys.Tab)
    def complete(event: KeyPressEvent) -> None:
        if talk.asks:
            return
        line = event.current_buffer
        before = line.document.text_before_cursor
        found = completions(talk.around, before) if line.complete_state is None else []
        if len(found) == 1:  # at once: the library completes in its own time, and another key would end that
            line.delete_before_cursor(len(before.rpartition(" ")[2]))
            line.insert_text(_with_space(found[0]))
        elif found:
            talk.tell(in_words(found))
            line.start_completion(insert_common_part=True)
        elif line.complete_state is not None:
            line.complete_next()

    @keys.add(Keys.ControlZ)
    @keys.add(Keys.ControlO)
    @keys.add(Keys.ControlQ)
    @keys.add(Keys.ControlS)
    def nothing(event: KeyPressEvent) -> None:
        pass  # as with /edit on

    @keys.add(Keys.ControlL)
    def draw_again(event: KeyPressEvent) -> None:
        renderer = event.app.renderer
        renderer.erase(leave_alternate_screen=False)  # and not the whole window, with what was said
        renderer.request_absolute_cursor_position()  # without it, there is no bottom line

    @keys.add(Keys.PageUp)
    def page_up(event: KeyPressEvent) -> None:
        talk.say_how_to_scroll()

    @keys.add(Keys.PageDown)
    def page_down(event: KeyPressEvent) -> None:
        pass

    return keys


def _leave_no_row(app: Any) -> None:
    """Before the line is drawn again in a narrower window, go up by the rows that the terminal has wrapped above the
    cursor. prompt_toolkit does not know of them, has no public way to be told, and would leave them on the screen.

    A terminal that does not wrap keeps what is above. So does one whose window was changed just before: it may have
    another size by now, and going up too far would erase what was said.
    """
    if not any(name in os.environ for name in _WRAPS.split()) or not hasattr(app, "_on_resize"):
        return
    resized, renderer, last = app._on_resize, app.renderer, 0.0

    def go_up() -> None:
        nonlocal last
        drawn, cursor, width = renderer.last_rendered_screen, renderer._cursor_pos, app.output.get_size().columns
        if drawn is None or width >= renderer._last_size.columns:
            return
        before, last = last, time.monotonic()
        if last - before > SETTLED:
            rows = (drawn.data_buffer[y] for y in range(cursor.y))
            ends = [max((x for x, char in row.items() if char.char != " "), default=0) for row in rows]
            app.output.cursor_up(sum(end // max(1, width) for end in [*ends, max(0, cursor.x - 1)]))

    def on_resize() -> None:
        go_up()
        resized()

    def before_render(sender: object) -> None:  # before the signal has come
        if renderer.last_rendered_screen is not None and renderer._last_size != app.output.get_size():
            go_up()
            renderer.erase(leave_alternate_screen=False)

    app._on_resize = on_resize
    app.before_render += before_render


def _most_rows(rows: int) -> int:
    """How many rows of a window the line may take."""
    return max(1, rows // 2)


def _leave_rows_above(session: PromptSession[str]) -> None:
    """Let the line take half of the rows at most, so that one sees what others say. Besides, some terminals take a
    program that erases the whole window for one that clears it, and keep what was there in their scrollback."""
    window = session.layout.current_window
    usual = window.height

    def height() -> Dimension:
        most = _most_rows(session.app.output.get_size().rows)
        least = to_dimension(usual).min
        return Dimension(min=min(least, most), max=most)

    window.height = height


@contextlib.contextmanager
def _without_echo() -> Iterator[None]:
    """Keep the terminal from showing what is typed while no line is being edited, between Enter and the next one."""
    try:
        import termios
    except ImportError:  # Windows shows nothing then
        yield
        return
    keyboard = sys.stdin.fileno()
    usual = termios.tcgetattr(keyboard)
    silent = [*usual]
    silent[3] &= ~(termios.ECHO | termios.ICANON)  # the local modes
    termios.tcsetattr(keyboard, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, usual)


class Screen:
    """The main thread has the keyboard; ``client-show`` prints."""

    def __init__(self, chat: Client) -> None:
        self._chat = chat
        self._blank = True  # whether no line has been begun

    def run(self) -> Talk:
        """Talk until the conversation ends; Ctrl-C and Ctrl-D end it, too."""
        with patch_stdout(raw=True), _without_echo():
            self._talk = Talk(self._chat, lambda lines, error: print(lines), screen=True)
            self._session: PromptSession[str] = PromptSession(
                completer=_Completer(self._talk),
                complete_while_typing=False,
                complete_style=CompleteStyle.READLINE_LIKE,  # a menu would leave blank rows behind
                history=_History(self._talk),
                bottom_toolbar=self._bottom,
                refresh_interval=LOOK,
                erase_when_done=True,
                key_bindings=_keys(self._talk),
                input_processors=[_Letters(self._talk)],
                wrap_lines=Condition(self._wraps),
            )
            _leave_no_row(self._session.app)
            _leave_rows_above(self._session)
            self._session.default_buffer.on_text_changed += self._note_beginning
            shower = threading.Thread(target=self._show, name="client-show", daemon=True)
            shower.start()
            try:
                held = ""
                while True:
                    self._blank = not held
                    typed = self._session.prompt(
                        self._prompt,
                        default=held,
                        pre_run=self._leave_if_over,
                    )
                    held = typed if self._talk.holds(typed) else ""
                    if not held:
                        held = self._talk.enter(typed)
            except (EOFError, KeyboardInterrupt):
                pass
            finally:
                self._chat.close()
                shower.join()
        return self._talk

    def _wraps(self) -> bool:
        """Whether long lines wrap. If there is no room for that, each line takes one row: prompt_toolkit shows a line
        above the cursor's as a whole or not at all, so most of a long text would be out of sight."""
        lines = self._session.default_buffer.text.split("\n")
        size = self._session.app.output.get_size()
        most, width = _most_rows(size.rows), max(1, size.columns - len(HIDDEN))
        return len(lines) == 1 or sum(1 + len(line) * (1 + (not line.isascii())) // width for line in lines) <= most

    def _note_beginning(self, line: Buffer) -> None:
        if self._blank and line.text:
            self._talk.begin()
        self._blank = not line.text

    def _show(self) -> None:
        self._talk.listen()
        with contextlib.suppress(AttributeError, RuntimeError):  # no line is being typed now
            self._session.app.loop.call_soon_threadsafe(self._leave_if_over)  # type: ignore[union-attr]

    def _leave_if_over(self) -> None:
        app = self._session.app
        if self._talk.over and app.is_running and not app.is_done:
            app.exit(exception=EOFError())

    def _prompt(self) -> str:
        """What stands before the line: above it the lines that have no answer yet, the latest last."""
        waiting = self._talk.waiting(LATE)
        more = len(waiting) - SHOWN
        rows = [f"… {more} more before these"] * (more > 0)
        rows += ["… " + " ".join(line.split()) for line in waiting[-SHOWN:]]
        rows = [shortened(row, self._columns - 1) for row in rows]
        return "\n".join([*rows, HIDDEN if self._talk.hidden else "> "])

    def _bottom(self) -> str:
        talk, around, chat = self._talk, self._talk.around, self._chat
        state = "connected" if chat.online else "not connected: trying to reconnect"
        waiting = f"{count} waiting" if (count := len(talk.waiting(LATE))) else ""
        lines = self._session.default_buffer.text.count("\n") + 1
        if lines > 1:  # maybe not all of them are in sight
            waiting = f"{waiting}   {lines} lines typed".lstrip()
        people = around.people.get(fold(around.room), 1) if around.room else 0
        how_many = f"{people} {'person' if people == 1 else 'people'}" if people else ""
        return bottom(chat.name, around.room or "in no room", how_many, state, waiting, self._columns)

    @property
    def _columns(self) -> int:
        return self._session.app.output.get_size().columns


def bottom(name: str, room: str, people: str, state: str, waiting: str, width: int) -> str:
    """The text of the bottom line. In a narrow window, the state comes first, and the room and the name are cut."""
    parts = [part for part in (name, room, people, state, waiting) if part]
    for gap in ("   ", "  "):
        if columns(line := " " + gap.join(parts)) <= width:
            return line
    first = " " + "  ".join(filter(None, (state.partition(":")[0], waiting)))
    left = width - columns(f"{first}    {people}  ")
    name = shortened(name, max(_LEAST, left // 3, left - columns(room)))
    room = shortened(room, max(_LEAST, left - columns(name)))
    return shortened("  ".join(filter(None, (first, room, name, people))), width)
