"""What the checks of a chat share: saying something, and hearing it."""

from __future__ import annotations

from typing import Any

from stairs.talk import ASIDE, Client, Event, Failed, Stage

TALK = ASIDE - {"message"}
"""Events that are passed over where messages count."""


ANY = ASIDE | {"ack", "left", "welcome", "token"}
"""Events that answer requests, beside pong and error."""


def said(client: Client, room: str, text: str, kind: str = "say", ref: str = "") -> Event:
    """Say something, and read until it is acknowledged and has come. Returns the ack."""
    ref = ref or client.ref()
    client.send({"type": kind, "room": room, "text": text, "ref": ref})
    ack: Event | None = None
    message: Event | None = None
    while not ack or not message:
        waits_for = " and ".join(["the message"] * (not message) + ["an ack"] * (not ack))
        event = client.expect(("message", "ack"), f"{client.name} gets {waits_for} for its text", aside=TALK)
        if event["type"] == "ack":
            ack = event
        elif event.get("from") == client.name and event.get("text") == text:
            message = event
    if ack.get("ref") != ref or ack.get("room") != room:
        raise Failed(f"Expected: an ack with the ref {ref!r} and the room {room!r}.")
    checked(message, room, client.name, text, kind)
    return ack


def heard(client: Client, room: str, who: str, text: str, kind: str = "say") -> Event:
    """Expect a message."""
    message = client.expect("message", f"{client.name} gets what {who} says in {room}", aside=TALK)
    checked(message, room, who, text, kind)
    return message


def checked(message: Event, room: str, who: str, text: str, kind: str) -> None:
    wanted: dict[str, Any] = {"room": room, "from": who, "kind": kind, "text": text}
    for field, value in wanted.items():
        if message.get(field) != value:
            raise Failed(f"Expected: a message with {field} {value!r:.100}. It has {message.get(field)!r:.100}.")


def text_of(client: Client, number: int, name: str = "") -> str:
    """A long text, which says whose it is, and which."""
    name = name or client.name
    return f"{name} {number} " + f"{name[-1]}🧵🧵🧵🧵" * 380


ODD: tuple[Any, ...] = (5, None, True, [], {}, 1.5, -1, 10**30, "", "\ud800")
"""Values that a field may have, and mostly should not have."""


def goes_on(client: Client, kind: str, **fields: Any) -> None:
    """Send a request with an odd value in each of its fields, one after the other, and in its ref. Whatever the answer
    is, after it the connection goes on."""
    for field in (*fields, "ref"):
        for odd in ODD:
            _goes_on(client, {"type": kind, "ref": f"{field} {client.ref()}", **fields, field: odd}, field)


def hello_goes_on(stage: Stage, **fields: Any) -> None:
    """The same with hello, each on a connection of its own: a server may give up after some that are wrong."""
    for field in (*fields, "ref"):
        for odd in ODD:
            client = stage.client("ann")
            _goes_on(client, {"type": "hello", "ref": f"{field} {client.ref()}", **fields, field: odd}, field)
            client.close()


def _goes_on(client: Client, request: Event, field: str) -> None:
    ref = client.ref()
    client.send(request, {"type": "ping", "ref": ref})
    expected = f"whatever {field} is, it is answered, and the connection goes on"
    while client.expect(("pong", "error", "message"), expected, ANY, quietly=True).get("ref") != ref:
        pass


def number_of(event: Event) -> int:
    """The number that a message or an ack has."""
    number = event.get("number")
    if not isinstance(number, int):
        raise Failed(f"Expected: a number. This has none: {str(event)[:200]}")
    return number


def in_a_row(client: Client, numbers: list[int], first: int, what: str = "") -> None:
    """Fail if the numbers are not first, first + 1, ..."""
    for wanted, number in enumerate(numbers, first):
        if number != wanted:
            raise Failed(
                f"Expected: {what or f'{client.name} gets the messages by their numbers, without a gap or a repeat'}.\n"
                f"After {wanted - 1} came {number}."
            )
