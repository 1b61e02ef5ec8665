"""Client: a program's calls, one for each thing that people can do. ``link`` has the threads behind them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from types import TracebackType
from typing import Any, TypeVar

from ..events import (
    Ack,
    Current,
    Departed,
    Entered,
    Event,
    HistoryPage,
    Notice,
    PeopleList,
    PersonRow,
    PersonShown,
    Pong,
    PrivateLine,
    RoomList,
    RoomRow,
    SearchPage,
    StatsShown,
    TopicShown,
    Welcome,
)
from .errors import Refused, TimedOut
from .link import Link, LinkOptions
from .requests import Asked
from .state import State

PORT = 8080

E = TypeVar("E", bound=Event)


class Client:
    """A connection to a server, under a name::

        >>> from chat_threads.client import Client
        >>> chat = Client("localhost", 8080, name="ann", room="#lab")
        >>> chat.name, chat.room
        ('ann', '#lab')
        >>> chat.say("#lab", "hi")
        1
        >>> for event in chat.events(timeout=0.5):
        ...     print(type(event).__name__, event.room)
        Entered #lab
        Message #lab
        >>> chat.close()

    Making a client connects it. That raises OSError if nobody listens there, Refused if the server does not accept
    the name, and Disconnected if the server is full. A client is a context manager that closes itself at the end.
    ``replay`` is the number of earlier messages that ``events`` yields when the client enters a room.

    With ``reconnect=True`` a client whose connection is lost comes back by itself. It tries after a random pause; the
    longest possible pause doubles with each failed try, up to ``longest_pause`` seconds, so that a thousand clients do
    not come back at once. It shows its token and, for each room, the number of the last message that the program got.
    It sends every unanswered request again, with the same ref and in the same order. So the program gets every message
    once, in order, and what it says is in the history once. While there is no connection, calls wait. A request that
    must not be done twice, such as ``private``, raises Disconnected if it was sent and not answered.

    If many clients share an address, the server may have no token for this one. Then the client comes back by its
    name, and waits for the name for as long as the server may keep it for the dead connection: 150 seconds. It misses
    nothing. But a message without an answer is not sent again, because the history might then have it twice: ``say``
    raises Disconnected, and the message may be stored or not. The client asks for a token until it has one.

    The client gives up if the server refuses it several times in a row, if another client enters with its token, or
    after it has tried for ``give_up`` seconds (None: it tries for ever) and a last try has failed.

    With ``tls=True`` the connection is encrypted, and the server must show a certificate for ``host`` that this machine
    trusts; otherwise Refused is raised. For other rules, give an ssl.SSLContext, such as
    ``ssl.create_default_context(cafile="cert.pem")`` for a certificate that signs itself.

    ``place=True`` is for a person's client: from the request ``token`` on, the server keeps the client's place, so that
    ``resume`` with ``place`` brings the person back to it (docs/protocol.rst, "Coming back").

    ``password`` is that of the account that has the name (see ``register``); without it, Refused is raised if there is
    one. Only the first connection needs it, and one whose token is void.

    ``told`` is called with what the server says before it first lets the client in: that others are ahead whose
    passwords it checks, or that the connection is not encrypted. The thread that makes the client calls it.

    Any thread may make any call. A call waits for its answer, at most ``timeout`` seconds (None: for ever), and raises
    a ClientError if there is none. ``listen=False`` drops all events, for a program that only speaks. With
    ``answers=True`` the events include the answers to requests, each as an ``Answer``.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = PORT,
        *,
        name: str,
        password: str = "",
        room: str | None = None,
        replay: int = 0,
        reconnect: bool = False,
        timeout: float | None = 30.0,
        listen: bool = True,
        answers: bool = False,
        longest_pause: float = 30.0,
        give_up: float | None = None,
        tls: bool | ssl.SSLContext = False,
        place: bool = False,
        told: Callable[[str], None] | None = None,
    ) -> None:
        self.timeout = timeout
        context = ssl.create_default_context() if tls is True else tls or None
        self._link = Link(
            host,
            port,
            State(name, room, replay, place, password=password),
            LinkOptions(reconnect, listen, answers, longest_pause, give_up, context, told),
        )
        self._link.open()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, words: str = "") -> None:
        """Leave, with a last word that others see. While there is a connection, the requests so far are first sent
        and answered, for at most 30 seconds; those without an answer then fail with Disconnected. A second call does
        nothing."""
        self._link.close(words)

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The client's name now."""
        return self._link.name

    @property
    def room(self) -> str | None:
        """The current room, where requests without a room go; None: the client is in no room."""
        return self._link.room

    @property
    def heading(self) -> str | None:
        """The room that will be the current one once the requests so far are answered; None: nobody knows, or none."""
        return self._link.heading

    @property
    def replay(self) -> int:
        """How many earlier messages ``events`` yields when the client enters a room."""
        return self._link.replay

    @property
    def online(self) -> bool:
        """Whether there is a connection now."""
        return self._link.online

    @property
    def unanswered(self) -> int:
        """How many requests wait for their answers."""
        return self._link.unanswered

    @property
    def welcome(self) -> Welcome:
        """The server's last welcome: its version, and its message of the day."""
        return self._link.welcome

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is unanswered; False when the time is up."""
        return self._link.settle(timeout)

    # --- what comes -----------------------------------------------------------------------------------------

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield what happens, in order. If several threads iterate, each event goes to one of them.

        The iteration ends when nothing has come for ``timeout`` seconds, or after the client was closed. It raises
        the ClientError that ended the connection otherwise. Either way all events come first. Answers to requests are
        not among the events, but the client's own messages are::

            >>> chat.say("#lab", "hello")
            2
            >>> [event.text for event in chat.events(timeout=0.5) if isinstance(event, Message)]
            ['hello']

        While 10,000 events wait here and no request is unanswered, nothing is read from the server. The server
        disconnects the client in the end; with ``reconnect=True`` the client gets the rest when it is back.
        """
        while event := self._link.next_event(timeout):
            yield event

    # --- what is asked --------------------------------------------------------------------------------------

    def submit(self, type: str, **fields: Any) -> Asked:
        """Send a request of docs/protocol.rst without waiting for its answer; fields that are None are left out.

        Waits while 256 requests have no answer. Without a room, a message goes to the current one::

            >>> asked = [chat.submit("say", text=f"message {number}") for number in range(100)]
            >>> asked[-1].result(timeout=10)
            Ack(room='#lab', number=102)
        """
        given = {key: value for key, value in fields.items() if value is not None}
        return self._link.submit(type, given, self.timeout)

    def request(self, type: str, **fields: Any) -> Event:
        """Send a request of docs/protocol.rst, wait for its answer, and return it::

        >>> chat.request("say", room="#lab", text="hi")
        Ack(room='#lab', number=103)
        >>> chat.request("history", room="#attic")
        Traceback (most recent call last):
            ...
        chat_threads.client.errors.Refused: There is no room #attic.
        """
        asked = self.submit(type, **fields)
        try:
            return asked.result(self.timeout)
        except FutureTimeout:
            if not self._link.forget(asked):  # the answer came at the last moment
                return asked.result()
            raise TimedOut(f"No answer to {type} within {self.timeout:g} seconds.") from None

    def _get(self, expected: type[E], type: str, **fields: Any) -> E:
        answer = self.request(type, **fields)
        if not isinstance(answer, expected):
            raise Refused("internal", f"The server answered {type} with {answer}.")
        return answer

    def say(self, room: str, text: str) -> int:
        """Say something in a room; return the message's number once it is committed to the history. The text may have
        up to 40 lines, with LF between them."""
        return self._get(Ack, "say", room=room, text=text).number or 0

    def action(self, room: str, text: str) -> int:
        """Send an action, as /me does: ~ ann waves. Returns its number, as ``say`` does."""
        return self._get(Ack, "action", room=room, text=text).number or 0

    def private(self, to: str, text: str) -> PrivateLine:
        """Say something to one person. It is stored nowhere."""
        return self._get(PrivateLine, "private", to=to, text=text)

    def join(self, room: str) -> Entered | Current:
        """Enter a room, which is made if needed, and make it the current one::

        >>> chat.join("#lab2")
        Entered(room='#lab2', topic='', others=(), count=0, last=0, first_time=False)
        """
        return self._get((Entered, Current), "join", room=room)  # type: ignore[arg-type]

    def leave(self, room: str | None = None) -> Departed:
        """Leave a room, or the current one."""
        return self._get(Departed, "leave", room=room)

    def create(self, room: str, topic: str | None = None) -> Entered:
        """Make a room and enter it; Refused if it exists."""
        return self._get(Entered, "create", room=room, topic=topic)

    def delete(self, room: str) -> None:
        """Delete a room that belongs to this client's token, with its history."""
        self._get(Ack, "delete", room=room)

    def rooms(self) -> tuple[RoomRow, ...]:
        """The rooms, those with the most people first; 100 at most::

        >>> [(row.room, row.messages) for row in chat.rooms()]
        [('#lab', 103), ('#lab2', 0), ('#lobby', 0)]
        """
        return self._get(RoomList, "rooms").rooms

    def who(self, room: str | None = None) -> tuple[PersonRow, ...]:
        """The people in a room, or everybody; 100 at most."""
        return self._get(PeopleList, "who", room=room).people

    def whois(self, name: str) -> PersonShown:
        """What the server knows about a person."""
        return self._get(PersonShown, "whois", name=name)

    def topic(self, room: str | None = None) -> str:
        """A room's topic."""
        return self._get(TopicShown, "topic", room=room).topic

    def set_topic(self, text: str, room: str | None = None) -> None:
        """Set a room's topic."""
        self._get(Ack, "topic", room=room, text=text)

    def invite(self, name: str, room: str | None = None) -> None:
        """Invite a person to a room that the client is in."""
        self._get(Notice, "invite", name=name, room=room)

    def register(self, password: str) -> None:
        """Make the name an account: from now on, only whoever knows the password can have it."""
        self._get(Notice, "register", password=password)

    def login(self, name: str, password: str) -> None:
        """Become the person of an account."""
        self._get(Notice, "login", name=name, password=password)

    def change_password(self, password: str, new: str) -> None:
        """Change the password of the account. Its other tokens are void then."""
        self._get(Notice, "password", password=password, new=new)

    def unregister(self, password: str) -> None:
        """Give up the account: anybody may have the name."""
        self._get(Notice, "unregister", password=password)

    def nick(self, name: str) -> None:
        """Take another name."""
        self._get(Notice, "nick", name=name)

    def away(self, reason: str = "") -> None:
        """Be shown as away, until ``back``."""
        self._get(Notice, "away", reason=reason)

    def back(self) -> None:
        """End ``away``."""
        self._get(Notice, "back")

    def ignore(self, name: str) -> None:
        """Hide what a person says under any name, except in pages of the history, until ``unignore``.

        The person is the one who has the name now. After a reconnect the client ignores the same person again."""
        self._get(Notice, "ignore", name=name)

    def unignore(self, name: str) -> None:
        """End ``ignore``."""
        self._get(Notice, "unignore", name=name)

    def history(
        self,
        room: str | None = None,
        count: int | None = None,
        before: int | None = None,
        after: int | None = None,
        seconds: int | None = None,
    ) -> HistoryPage:
        """A page of at most 200 messages: the newest, those just below number ``before`` or just above ``after``, or
        those of the last ``seconds``. The page's own ``before`` and ``after`` are for the next call::

            >>> page = chat.history("#lab", after=0)
            >>> page.messages[-1].number, page.last, page.after
            (20, 103, 20)
            >>> chat.history("#lab", after=0, count=200).after is None
            True
        """
        return self._get(HistoryPage, "history", room=room, count=count, before=before, after=after, seconds=seconds)

    def search(self, words: str, room: str | None = None, sender: str | None = None) -> SearchPage:
        """The newest 50 messages that contain all the words."""
        return self._get(SearchPage, "search", words=words, room=room, **{"from": sender})

    def redact(self, number: int, room: str | None = None) -> None:
        """Remove a message, by its number: one that this client has said in the last 24 hours, or any message of a room
        that it owns or is an operator of. In pages of the history its ``kind`` is "removed" then, and its text is "".
        Members who are connected get an event ``Redacted``."""
        self._get(Ack, "redact", room=room, number=number)

    def stats(self) -> StatsShown:
        """The server's counts and times."""
        return self._get(StatsShown, "stats")

    def ping(self) -> Pong:
        """Measure the time through the server's queue and back."""
        return self._get(Pong, "ping")
