"""A client, for programs and for people. For a program::

    from chat_threads.client import Client, Message

    with Client("localhost", 8080, name="ann", reconnect=True) as chat:
        chat.join("#lab")
        chat.say("#lab", "hi")
        for event in chat.events():
            if isinstance(event, Message):
                print(event.number, event.sender, event.text)

For a person it is ``python -m chat_threads.client localhost:8080``: ``talk``, ``screen`` and ``terminal``.

Threads
=======

====================  ===========================================================================================
thread                owns, and what it does
====================  ===========================================================================================
the program's         any number: ask, wait for answers, take events from the queue
client-NAME-reader    the connection: reads, sorts into answers and events, comes back; joined by ``close``
client-NAME-writer    one for each connection: the only one that writes to its socket; joined by the reader
client-show           the terminal client's: takes the events and prints them; joined by the main thread
====================  ===========================================================================================

There is one lock, ``Link._changed``, a condition: it guards what they share, the queue of events (bounded: a
full one makes the reader wait) and that of requests (256 at most: a full one makes the program wait). No socket
is touched and no callback made while it is held.
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
