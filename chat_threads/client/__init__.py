"""A client for programs and for people. A program uses ``Client``::

    from chat_threads.client import Client, Message

    with Client("localhost", 8080, name="ann", reconnect=True) as chat:
        chat.join("#lab")
        chat.say("#lab", "hi")
        for event in chat.events():
            if isinstance(event, Message):
                print(event.number, event.sender, event.text)

A person starts ``python -m chat_threads.client localhost:8080``, which is ``terminal``, ``screen`` and ``talk``.

Threads
=======

====================  ===========================================================================================
thread                owns, and what it does
====================  ===========================================================================================
the program's         any number of them: ask, wait for answers, take events from the queue
client-NAME-reader    the connection: reads it, sorts answers from events, reconnects; joined by ``close``
client-NAME-writer    one for each connection: the only one that writes to it after the handshake; joined
client-show           the terminal client's: takes the events and prints them; joined by the main thread
====================  ===========================================================================================

There is one lock, the condition ``Link._changed``. It guards what the threads share: the state, the queue of events and
the queue of requests. Both queues are bounded: when 10,000 events wait, the reader waits, unless a request has no
answer yet; when 256 requests have no answer, the program waits. No socket is touched and no callback is made while the
lock is held.
"""

from ..events import (
    Ack,
    Answer,
    Bye,
    Current,
    Departed,
    Entered,
    Event,
    HistoryPage,
    Invited,
    Message,
    Notice,
    PersonRow,
    PersonShown,
    Pong,
    Presence,
    PrivateLine,
    Problem,
    Redacted,
    Renamed,
    RoomDeleted,
    RoomRow,
    SearchPage,
    StatsShown,
    TopicChanged,
)
from .chat import Client
from .decoding import Offline, Online, Other
from .errors import ClientError, Disconnected, Refused, TimedOut, Unread
from .requests import Asked

__all__ = [
    "Ack",
    "Answer",
    "Asked",
    "Bye",
    "Client",
    "ClientError",
    "Current",
    "Departed",
    "Disconnected",
    "Entered",
    "Event",
    "HistoryPage",
    "Invited",
    "Message",
    "Notice",
    "Offline",
    "Online",
    "Other",
    "PersonRow",
    "PersonShown",
    "Pong",
    "Presence",
    "PrivateLine",
    "Problem",
    "Redacted",
    "Refused",
    "Renamed",
    "RoomDeleted",
    "RoomRow",
    "SearchPage",
    "StatsShown",
    "TimedOut",
    "TopicChanged",
    "Unread",
]
