"""What a person types becomes requests, and events become lines to show. This module uses no terminal.

Commands and output look as they do over telnet: both come from the text dialect.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from .. import commands, events
from ..dialects import advice
from ..dialects.asking import Form, asked_for, without_password, without_secret
from ..dialects.base import Settings
from ..dialects.columns import shortened
from ..dialects.jsonlines import REQUESTS
from ..dialects.notices import MOVED, SCROLL_BACK, TOO_MUCH
from ..dialects.text import TextDialect
from ..dialects.typed import (
    HINTS,
    UNSLASHED,
    begins_command,
    hint,
    indented_command,
    is_for_the_room,
    is_shown,
    option_named,
    parse_line,
    too_long,
)
from ..errors import ChatError
from ..rules import clean, clean_lines, fold, in_messages, mentions
from .chat import Client
from .decoding import Offline, Online, Other
from .errors import ClientError, Disconnected, Refused
from .lines import fits
from .requests import Asked
from .surroundings import Surroundings

AGAIN = ("wrong_password", "bad_password", "try_later", "busy")  # refusals after which a password is asked for again
MISSING = "bad_request"  # the code of the error of a request without its password
WITH_PASSWORDS = frozenset(each.row.type for each in commands.ASKS)
ANSWER = 10.0  # seconds in which the server says whether it makes sense to type a password
PATIENCE = 135.0  # seconds in which a password is checked, whoever else waits
AWARE = 2.0  # seconds after which the user has seen a question
SEEN = 5.0  # seconds in which somebody who looks at the keyboard may miss that they had to leave their room
LONGEST = 60  # columns of a line in an error about it
REMOVED_ALREADY = "That message has been removed already."
_DAY = "%Y-%m-%d"


def request_of(command: commands.Command) -> dict[str, Any]:
    """A command as a request; raise ValueError if it has none."""
    if command.row.type not in REQUESTS:
        raise ValueError(f"{command} has no request")
    _, fields = REQUESTS[command.row.type]
    given = {field.name: getattr(command, field.argument) for field in fields}
    return {"type": command.row.type, **{name: value for name, value in given.items() if value is not None}}


def _is_command(line: str) -> bool:
    return begins_command(clean(line)) or indented_command(line) != ""


class Talk:
    """A person's conversation. The thread that reads the keyboard calls ``obey`` and ``enter``; another thread calls
    ``listen``, and that one sets ``over``. Any thread may read the public attributes."""

    def __init__(
        self,
        chat: Client,
        write: Callable[[str, bool], None],
        screen: bool = False,
        blocks: bool = True,
        terminal: bool = False,
    ) -> None:
        """``write(lines, error)`` shows lines and is called from any thread. ``screen``: the terminal shows colours and
        completes words. ``blocks``: it has the characters that QR codes are drawn with. ``terminal``: it has a window,
        though it is no screen."""
        self.chat = chat
        self.failed = False  # whether something was not done; set by any thread, and only to True
        self.over: ClientError | None = None  # why the client has given up; None if it has not, or was closed
        self.around = Surroundings()
        self._form: Form | None = None  # what the user is being asked, by the thread that reads the keyboard
        self._sent_out = ("", -SEEN)  # the room that the user had to leave, and when; set by the thread in ``listen``
        self._begun: str | None = None  # the room in which the line was begun, likewise
        self._held: tuple[str, str | None] | None = None  # a line that is asked about, and the room then; likewise
        self._held_at = 0.0  # when it was asked first; likewise
        self._typed = ""  # the line that is being carried out, without a secret in it; the keyboard's thread
        self._waiting: dict[Asked, tuple[str, float]] = {}  # on a screen: the lines without an answer, and since when
        self._later: dict[str, str] = {}  # lines that were typed without a connection, by ref; both threads'
        self._told_to_scroll = False  # since the last line; the keyboard's thread
        self.erased = False  # whether Ctrl-C has erased a line, and no other one was begun since; likewise
        self._write = write
        self._screen = screen
        self._fits = screen or terminal  # whether lines are to fit into a window
        self._day = time.strftime(_DAY)
        self._settings: dict[str, str] = {}  # what was set; the keyboard's thread, and ``listen`` after a return
        self._keeps = False  # whether the server keeps it, too; set by both threads, and only to True
        self._new_here = True  # it has entered no room yet
        self._removed = 0  # messages that the user has removed, and whose removal is not acknowledged yet
        self._said_last = ""  # the text of the last line, if it was an error
        self._last: dict[str, int] = {}  # by folded room, the newest message on entering, until one is shown
        self._unseen: set[str] = set()  # refs of requests whose answers are not shown
        self._helps: deque[str | None] = deque()  # what /help was asked about and not answered; both threads'
        self._tokens: deque[None] = deque()  # one for each /token that was not answered; both threads'
        self._name = chat.name
        self._dialect = TextDialect(Settings(replay=chat.replay), blocks)  # renders the lines
        self._dialect.admitted(chat.name)
        if screen:
            self._dialect.set_option("colour", "on")
            self._dialect.set_option("bell", "on")
        self._print(chat.welcome)
        if screen:
            self._print(events.Notice(self._dialect.today(time.time())))

    # --- what is typed --------------------------------------------------------------------------------------

    @property
    def hidden(self) -> bool:
        """Whether the next line is a password, which must not be shown or kept."""
        return self._form is not None and self._form.hidden

    @property
    def asks(self) -> bool:
        """Whether the next line answers a question."""
        return self._form is not None

    def obey(self, line: str) -> None:
        """Carry out a typed line, or take it as the answer to a question. Raise EOFError after /quit."""
        try:
            if self._form:
                self._typed = ""
                self._do(self._answer(self._form, line))
                return
            self._typed = clean(without_secret(line))
            self._do(parse_line(line))
            if (line in HINTS or line[:4] in UNSLASHED) and (told := hint(line)):
                self._print(events.Notice(told))
        except ChatError as error:
            self.failed = True
            self._print(events.problem(error))
        except ClientError as error:
            self.refuse(error.text)

    def enter(self, typed: str) -> str:
        """Carry out a line, with what was pasted into it (see ``pasted``); raise EOFError after /quit. Return the part
        that was refused and may be sent later: a text that is too long, or of several messages those that come too soon
        in a slow room.

        A block of several lines is one message, or as few as have room for it, and none of its lines is a command. If
        it begins with a command, or one was typed in front of it, all of it belongs to that command.
        """
        self._told_to_scroll = False
        if self._form is None and is_shown(typed) and self.chat.online:  # otherwise it is shown with its answer
            self._show_typed(typed)
        lines = typed.count("\n") + 1
        messages = [typed] if lines == 1 else in_messages(clean_lines(typed))
        if self._form:
            self.obey(typed)
        elif not fits(typed):
            self.refuse(TOO_MUCH)
        elif problem := too_long(typed):
            self._print(events.problem(problem))
            return typed
        elif lines == 1 or _is_command("".join(messages[:1])):
            self.obey("\n".join(messages))
        else:
            for at, message in enumerate(messages):
                if not self._say(message, waits=messages[1:] != []):
                    return "\n".join(messages[at:]) if at else typed
        return ""

    def _show_typed(self, line: str) -> None:
        self._write(self._dialect.typed(line).replace("\r\n", "\n").removesuffix("\n"), False)

    def begin(self) -> None:
        """The user begins to type a line, for the room that is the current one by then; or for one that they had to
        leave a moment before, and perhaps do not know it yet."""
        left, at = self._sent_out
        self._held, self.erased = None, False
        self._begun = left if time.monotonic() - at < SEEN else self.chat.heading

    def holds(self, typed: str) -> bool:
        """Whether the typed line must not be carried out, because the user was put into another room while typing, and
        may not know. Says so; a second Enter sends the line, unless it has changed within AWARE seconds: then that was
        typed ahead."""
        begun, now = self._begun, self.chat.heading
        moved = begun and now and fold(begun) != fold(now)
        line, room = self._held or ("", None)
        asked = room == now and (line == typed or time.monotonic() - self._held_at >= AWARE)
        if not moved or self._form or not is_for_the_room(typed) or asked:
            self._begun, self._held, self._sent_out = now, None, ("", -SEEN)
            return False
        self._held_at = self._held_at if room == now else time.monotonic()
        self._held = typed, now
        self._print(events.Notice(MOVED.format(now, begun)))
        return True

    def tell(self, text: str) -> None:
        """Show a notice."""
        self._print(events.Notice(text))

    def _answer(self, form: Form, line: str) -> commands.Command | None:
        """The line answers a question; return the command if it was the last one."""
        why = form.answer(line)
        command = form.command
        if form.ended:
            self.failed = True
            self._print(events.Notice(why))
        elif why:
            self.refuse(why)
        if form.ended or command:
            self._form = None
        else:
            self._print(events.Notice(form.question.text))
        return command

    def _ask_with_password(self, command: commands.Command) -> None:
        """Ask the server, and wait for the answer. If it refuses the password, the next line is a password again. If it
        has checked an old one, the next line is the new one."""
        asked = self._ask(**request_of(command))
        try:
            asked.result(PATIENCE)
            if isinstance(command, commands.Register):
                self._keep_all()
            if isinstance(command, commands.ChangePassword) and not command.new:
                self._begin_form(command)
        except Refused as error:
            if error.code in AGAIN:
                self._begin_form(without_password(command))
        except (ClientError, TimeoutError):
            pass  # it is shown as an event

    def _begin_form_if_it_helps(self, command: commands.Command) -> None:
        """Ask the server without the password. If a password would not help, because the user is not logged in for
        instance, the server says so, and that is shown. If the server only says that it is missing, ask the user."""
        try:
            self._ask(**request_of(command)).result(ANSWER)
        except Refused as error:
            if error.code == MISSING:
                self._begin_form(command)
            elif isinstance(command, commands.Login) and command.name:  # what is typed next may be a password
                self._begin_form(commands.Login())
        except Disconnected:
            pass  # it is said already
        except TimeoutError:
            self.refuse("The server does not answer now. Try again later.")

    def _begin_form(self, command: commands.Command) -> None:
        self._form = Form(command)
        self._print(events.Notice(self._form.question.text))

    def _say(self, text: str, waits: bool) -> bool:
        """Say a text; False if it came too soon, which is known only if this ``waits`` for the answer."""
        self._typed = text
        try:
            asked = self._ask(**request_of(commands.Say(text)))
            if waits and self.chat.online:
                asked.result(ANSWER)
        except Refused as error:  # it is shown as an event
            return error.code != "too_soon"
        except ClientError as error:
            self.refuse(error.text)
        except TimeoutError:
            pass
        return True

    def refuse(self, why: str) -> None:
        """Show why something was not done."""
        self.failed = True
        self._print(events.Problem("", why))

    def say_how_to_scroll(self) -> None:
        """Say how to look back, once for each line. The keys for it are the terminal's."""
        if not self._told_to_scroll:
            self._told_to_scroll = True
            self.tell(SCROLL_BACK)

    def _do(self, command: commands.Command | None) -> None:
        if isinstance(command, commands.Edit):
            itself = "" if self._screen else " without --plain, if prompt_toolkit is installed"
            self.refuse(f"/edit is for telnet. On a terminal, this program keeps your line whole by itself{itself}.")
        elif isinstance(command, commands.Help):
            if command.about not in (None, commands.EVERYTHING):
                self._print(events.HelpShown(command.about))
            else:
                self._helps.append(command.about)
                try:
                    self._ask(type="help")
                except ClientError:
                    self._helps.pop()
                    raise
        elif isinstance(command, commands.SetOption):
            self._set(command.name and option_named(command.name), command.value)
        elif isinstance(command, commands.Resume):
            self._ask(**request_of(replace(command, place=True)))
        elif isinstance(command, commands.ShowToken):
            self._keep_all()
            self._tokens.append(None)
            self._ask(**request_of(command))
        elif command and asked_for(command):
            self._begin_form_if_it_helps(command)
        elif isinstance(command, commands.ASKS):
            self._ask_with_password(command)
        elif isinstance(command, commands.Quit):
            if self._screen:
                self._print(events.Bye("quit"))
            self.chat.close(command.words)
            raise EOFError
        elif command:
            self._ask(**request_of(command))

    def _set(self, option: str | None, value: str | None) -> None:
        """Change what is shown, which is up to this program, except for the replay. The server keeps it for a later
        return."""
        told = self._dialect.set_option(option, value)
        if option == "replay":  # the server says that it is set
            self._ask(type="set", option=option, value=value)
            return
        self._print(events.Notice(told))
        if option and value:
            self._settings[option] = value
            if self._keeps:
                self._keep(option, value)

    def _keep_all(self) -> None:
        self._keeps = True
        for option, value in list(self._settings.items()):  # at once, because ``listen`` may add one
            self._keep(option, value)

    def _keep(self, option: str, value: str) -> None:
        self._unseen.add(self.chat.submit("set", option=option, value=value).ref)

    def _restore(self, kept: events.Restored) -> None:
        """Apply the settings that the person has kept, where they differ from the usual ones."""
        self._keeps = True
        usual = TextDialect().settings()
        for option, _, value in (each.partition(" ") for each in kept.settings):
            with contextlib.suppress(ChatError):  # an option of another version
                if option == "replay":
                    self._dialect.set_option(option, value)
                elif value != usual.get(option):
                    self._dialect.set_option(option, value)
                    self._settings[option] = value

    def _ask(self, **request: Any) -> Asked:
        asked = self.chat.submit(**request)
        if self._screen:
            waiting = {each: about for each, about in self._waiting.items() if not each.done()}
            self._waiting = waiting | {asked: (self._typed, time.monotonic())}
            if not self.chat.online:
                self._later[asked.ref] = self._typed
        asked.add_done_callback(partial(self._answered, self._typed))
        return asked

    def waiting(self, seconds: float) -> list[str]:
        """The lines that have waited so long for their answers. For the keyboard's thread."""
        late = time.monotonic() - seconds
        return [typed for asked, (typed, since) in self._waiting.items() if since <= late and not asked.done()]

    def _answered(self, typed: str, asked: Any) -> None:
        """Answers and refusals are shown as events. A request that gets no answer is reported here."""
        error = asked.exception()
        if isinstance(error, Disconnected):
            self._later.pop(asked.ref, None)
        if isinstance(error, Disconnected) and asked.ref not in self._unseen:
            self.failed = True
            what = "This may have arrived or not" if asked.sent else "This was not sent"
            line = ": " + shortened(" ".join(typed.split()), LONGEST) if typed else "."
            self._print(events.Problem("", f"{error.text} {what}{line}"))

    # --- what comes -----------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Show all events, until the conversation ends."""
        try:
            for event in self.chat.events():
                self._show(event)
        except ClientError as error:
            self.failed = True
            self.over = error
            self._problem(error.text)

    def _show(self, event: events.Event) -> None:
        ref = kind = ""
        if isinstance(event, events.Answer):
            ref, kind, event = event.ref, event.kind, event.event
        line = self._later.pop(ref, "")
        if line and not isinstance(event, (events.Ack, events.PrivateLine)):
            self._show_typed(line)
        if isinstance(event, (events.Departed, events.RoomDeleted)):
            self._sent_out = ("", -SEEN) if ref or self.around.room != event.room else (event.room, time.monotonic())
        first = self._new_here
        was_in = isinstance(event, events.Entered) and fold(event.room) in self.around.people
        if self.chat.name != self._name:
            self._name = self.chat.name
            self._dialect.renamed(self._name)
        self.around.note(event, self._name)
        self._removed += isinstance(event, events.Redacted) and event.by == self._name
        if isinstance(event, events.Entered):
            if self._screen:
                self._look_around(event.room, was_in, first)
            if was_in and not ref:  # the client reconnected, and nothing has changed for the user
                return
            event, self._new_here = replace(event, first_time=first), False
            self._last[fold(event.room)] = event.last
        if ref and ref in self._unseen:
            self._unseen.discard(ref)
        elif isinstance(event, events.Problem) and event.code == MISSING and kind in WITH_PASSWORDS:
            pass  # the password is asked for
        elif isinstance(event, Offline):
            self._problem(event.why)
            self._print(events.Notice("Trying to reconnect."))
        elif isinstance(event, Online):
            self._print(events.Notice("Connected again."))
            if self._screen:
                self._look_for("help")  # perhaps the server was started again, with other options
        elif isinstance(event, events.Message):
            self._show_message(event)
        elif isinstance(event, events.Restored):
            self._restore(event)
        elif isinstance(event, events.TokenShown):
            if not self._tokens:  # it came with a login, and others may look at the screen
                return
            self._tokens.popleft()
            self._print(events.Notice(f"Your token is {event.token} and nobody else should know it."))
            self._print(events.Notice("To come back to where you were, connect under any name, and type:"))
            self._print(events.Notice(f"/resume {event.token}"))
        elif isinstance(event, Other):
            if event.type == "help" and self._helps:
                self._print(events.HelpShown(self._helps.popleft(), without=self.around.useless))
        elif isinstance(event, events.Ack):
            if kind == "redact" and not self._removed:
                self._print(events.Notice(REMOVED_ALREADY))
            self._removed -= kind == "redact" and self._removed > 0
        elif not isinstance(event, events.Bye):
            self.failed |= isinstance(event, events.Problem)
            self._print(event, getattr(event, "room", None))

    def _problem(self, text: str) -> None:
        """Show an error, unless the last line shown is the same error."""
        if text != self._said_last:
            self._print(events.Problem("", text))

    def _show_message(self, message: events.Message) -> None:
        last = self._last.pop(fold(message.room), 0)
        if message.number <= last:
            said = advice.replayed(message.room, message.number, last - message.number + 1, last)
            self._print(events.Notice(said))
        day = time.strftime(_DAY, time.localtime(message.at / 1000))
        if day != self._day:
            self._day = day
            self._print(events.Notice(day))
        self._print(message, message.room, self._screen and self._mentioned(message))

    def _mentioned(self, message: events.Message) -> bool:
        return message.sender != self._name and mentions(self._name, message.text)

    def _print(self, event: events.Event, room: str | None = None, bold: bool = False) -> None:
        current = self.around.room
        here = room is None or current is None or fold(room) == fold(current)
        if self._fits:
            self._dialect.window(shutil.get_terminal_size().columns)
        views = self._dialect.views
        text = (views.own if here else views.elsewhere).encode((event,)).decode("utf-8", "replace")
        lines = text.replace("\r\n", "\n").removesuffix("\n")
        if bold:
            lines = "\x1b[1m" + lines.replace("\x1b[0m", "\x1b[0;1m") + "\x1b[0m"
        self._said_last = event.text if isinstance(event, events.Problem) else ""
        if lines:
            self._write(lines, isinstance(event, events.Problem))

    def _look_around(self, room: str, again: bool, first: bool) -> None:
        """Ask who is here, which rooms and commands there are, and who is in a room that was just entered."""
        if first:
            self._look_for("help")
        if not again:
            self._look_for("who")
            self._look_for("rooms")
        self._look_for("who", room=room)

    def _look_for(self, request: str, **fields: str) -> None:
        """Ask something whose answer is not shown."""
        with contextlib.suppress(ClientError):
            self._unseen.add(self.chat.submit(request, **fields).ref)
