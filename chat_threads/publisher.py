"""The Publisher: the rooms, who is in them, and who is shown what.

One lock guards all of it. While it is held, only memory is touched. Work that may wait, such as waking writers or
cutting a session off, is noted down and done after the lock is released. The only locks taken under it are those of
queues: the mailboxes', to put parcels into them, and the history queue's in ``enqueue``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import chatroom, errors, events, inside, ordered, presence
from .chatroom import ChatRoom, Place, Recent, Subscriber
from .directory import Directory
from .disconnects import TooSlow
from .mailbox import OVERFLOWED, Mailbox
from .memory import Output
from .outbox import Outbox
from .parcel import Parcel, View, Views
from .redaction import Lately
from .refusals import LobbyStays
from .register import LOBBY, Register
from .rules import fold

MAX_OVERTAKEN = 10  # rounds in which new messages overtake what was read; then a session enters without the older ones
CROWD = 100  # members; in a larger room, joining, leaving and new names are not shown


class Publisher(Directory):
    """The rooms and their subscribers. Any thread may call any method, except that only the history thread calls
    ``dispatch_messages``.

    ``schedule(sessions)`` tells the writers that these sessions' queues are no longer idle.
    ``newest(room_id, number, count)`` reads the last messages up to a number from the history, and ``newer`` those
    after it; both may raise. None of these is called under the lock.
    ``enqueue(item)`` is called under it. It puts an item into the history's queue without waiting, or raises NotStored.

    No message older than ``retain`` seconds is shown from memory. ``recent_bytes`` limits
    the messages kept in memory, and ``output`` counts the bytes that wait to be sent.
    """

    def __init__(
        self,
        schedule: Callable[[list[Subscriber]], None],
        newest: Callable[[int, int, int], Sequence[events.Message]],
        newer: Callable[[int, int, int], Sequence[events.Message]],
        enqueue: Callable[[ordered.Ordered], None],
        retain: float | None = None,
        count: inside.Count = inside.uncounted,
        recent_bytes: int = chatroom.RECENT_BYTES,
        output: Output | None = None,
    ) -> None:
        self._schedule = schedule
        self._newest = newest
        self._newer = newer
        self._enqueue = enqueue
        self._retain = retain
        self._lock = count(threading.Lock())  # guards everything below, and the ChatRooms and Places
        self._register = Register()
        self._rooms = self._register.by_id
        self._places: dict[Subscriber, Place] = {}
        self._recent = Recent(recent_bytes)
        self.removals = Lately()
        self._output = output or Output()
        self._quiet = False

    # --- rooms ----------------------------------------------------------------------------------------------

    def restore(self, rooms: Iterable[ChatRoom], next_id: int) -> None:
        """Take over the rooms in the history. Called once, before any session exists."""
        with self._lock:
            for room in rooms:
                self._register.restore(room)
            self._register.next_id = next_id

    def create_chat_room(
        self, name: str, creator: str, topic: str = "", origin: Subscriber | None = None, ref: str = ""
    ) -> ChatRoom:
        """Make a room that belongs to ``origin``. Raise RoomExists, also if a room looks like it; TooManyRooms; or
        NotStored if the history's queue is full.

        The room is put into the history's queue before anybody can find it, and so before anything that is said in it.
        If it cannot be stored, ``origin`` gets an error, as the answer to its request ``ref``.
        """
        room = ChatRoom(0, name, fold(name), creator, topic, owner=origin.identity if origin else 0)
        with self._lock:
            room.id = self._register.next_id
            self._submit_room(room, origin, origin, ref)
            self._register.next_id += 1
            self._register.add(room)
            return room

    def _submit_room(self, room: ChatRoom, maker: Subscriber | None, origin: Subscriber | None, ref: str) -> None:
        """Check that ``maker`` may make this room, count it, and put it into the history's queue. If it is refused
        there, ``origin`` gets the error. Raises as ``create_chat_room``."""
        assert self._lock.locked()
        self._register.claim(room, maker)
        made = room.id, room.name, room.key, room.topic, room.creator, int(time.time() * 1000)
        try:
            self._enqueue(ordered.RoomMade(*made, origin, ref, room.owner))
        except errors.NotStored:
            self._register.unclaim(room)
            raise

    def delete_chat_room(self, session: Subscriber, room: ChatRoom, ref: str = "") -> ordered.RoomEnded:
        """Return what to submit to the history so that the room ends: for its owner, or one of the server's operators.
        Raise NotAllowed.

        The members see the deletion, and are moved, when it is committed.
        """
        if room.name == LOBBY:
            raise LobbyStays(LOBBY)
        room.check_owner(session)
        return ordered.RoomEnded(room.id, session.name, session, ref, room.name, session.identity)

    # --- who is where ---------------------------------------------------------------------------------------

    def subscribe(
        self,
        session: Subscriber,
        room: ChatRoom,
        replay: int,
        first_time: bool = False,
        ref: str = "",
        since: int | None = None,
    ) -> ordered.Joined | None:
        """Make the session a member of the room, and the room its current one. Called by its reader thread.

        First this waits until the client has read most of what waits for it. Then, in one step under the lock, the
        newest ``replay`` messages are queued, at most one page, and the session becomes a member, which gets each later
        message. With ``since``, it gets all messages after that number. Those beyond one page, or no longer in
        memory, are read and queued first, a page at a time; the next one when the client has read most of the last. A
        number that the room has not reached is ignored.

        ``ref`` goes back with the answer. Returns what to submit so that the others see the join; None if they would
        not see it (see CROWD), or if the session was a member already, or is over. Raises TooManyRooms, UnknownRoom
        (deleted meanwhile), and what ``newest`` and ``newer`` raise.
        """
        try:
            return self._subscribe(session, room, replay, first_time, ref, since)
        finally:
            if not room.members:  # it may have been made for this session
                with self._lock:
                    self._register.left[room.id] = room

    def _subscribe(
        self, session: Subscriber, room: ChatRoom, replay: int, first_time: bool, ref: str, since: int | None
    ) -> ordered.Joined | None:
        stored: Sequence[events.Message] | None = None  # the newest messages, read when the last number was as_of
        as_of = overtaken = removals = 0
        if since is not None and since > self.last(room):
            since = None
        while session.next_page():
            outbox = Outbox(self._output)
            with self._lock:
                if stored:
                    stored = self.removals.without(stored, removals)
                if self._rooms.get(room.id) is not room:
                    raise errors.UnknownRoom(room.name)
                place = self._places.setdefault(session, Place())
                if room.id in place.rooms:
                    place.go_to(session, room)
                    outbox.show(session, *events.answers(ref, events.Current(room.name)))
                    joined = None
                    break
                if room.governance and (refusal := room.refusal(session)):
                    raise refusal
                place.check()
                loaded = room.loaded or (stored is not None and self._recent.fill(room, stored, as_of))
                missed = replay if since is None else room.last - since
                shown = room.fitting(missed)
                if stored is not None and not loaded:
                    overtaken += 1
                if since is None:  # the messages in memory have no hole, and end with the newest
                    ready = loaded or overtaken == MAX_OVERTAKEN
                else:
                    ready = loaded and shown == missed
                if ready:
                    entered = list(events.answers(ref, room.entered(first_time)))
                    joined = self._enter(session, place, room, shown, entered, outbox)
                    self._recent.trim()
                    break
                as_of, removals = room.last, self.removals.count
            # Read outside the lock. The next round notices if newer messages have overtaken what was read.
            if not loaded:
                stored = self._newest(room.id, as_of, chatroom.RECENT)
            elif since is not None:
                stored = None
                page = tuple(each for each in self._newer(room.id, since, chatroom.RECENT) if each.number <= as_of)
                since = page[-1].number if page else as_of - shown
                if page:
                    self.show_page(session, events.Replay(room.name, page, as_of), removals)
        else:
            return None
        self._act(outbox)
        session.was_shown(outbox.size)
        return joined

    def show_page(self, session: Subscriber, page: events.Page, removals: int, ref: str = "") -> None:
        """Show the session a page of messages as the answer to its request ``ref``. They were read after ``removals``
        had this count. Texts that were removed meanwhile are left out. Called by its reader. Raises Unreadable."""
        outbox = Outbox(self._output)
        with self._lock:
            page = replace(page, messages=self.removals.without(page.messages, removals))
            outbox.show(session, *events.answers(ref, page))
        self._act(outbox)
        session.was_shown(outbox.size)

    def _enter(
        self, session: Subscriber, place: Place, room: ChatRoom, replay: int, shown: list[events.Event], outbox: Outbox
    ) -> ordered.Joined | None:
        assert self._lock.locked()
        if newest := room.newest(replay, room.oldest(self._retain)):
            shown.append(events.Replay(room.name, newest, room.last))
        place.rooms[room.id] = room
        change = room.add(session, session.views.elsewhere)
        place.go_to(session, room)
        outbox.show(session, *shown)
        return ordered.Joined(room.id, session, session.name, change) if self._tells_of_joins(room) else None

    def _tells_of_joins(self, room: ChatRoom) -> bool:
        """Whether the history has to know who joins."""
        return not self._crowded(room)

    def _crowded(self, room: ChatRoom) -> bool:
        """Whether joins and leaves in the room are not shown."""
        return len(room.members) > CROWD or self._quiet

    def unsubscribe(self, session: Subscriber, room: ChatRoom | None = None) -> None:
        """Take the session out of a room; without a room, take it out of all and forget it. Nobody sees it.

        Left and LeftAll do the same and show it to others. ``people.depart`` calls this after LeftAll, in case that was
        not submitted or not handled in time.
        """
        with self._lock:
            if (place := self._places.get(session)) is None:
                return
            for each in [room] if room else list(place.rooms.values()):
                if each.id in place.rooms:
                    self._remove(session, place, each)
            if room is None:
                del self._places[session]

    def _remove(self, session: Subscriber, place: Place, room: ChatRoom) -> None:
        assert self._lock.locked()
        del place.rooms[room.id]
        room.remove(session, session.views.of(place.current is room))
        if not room.members:
            self._register.left[room.id] = room
            self._recent.forget(room)
        if place.current is room:
            place.current = None
            place.go_to(session, next(reversed(place.rooms.values()), None))

    def current(self, session: Subscriber) -> ChatRoom:
        """The room that the session's messages go to. Raise NotInRoom."""
        with self._lock:
            place = self._places.get(session)
            if place is None or place.current is None:
                raise errors.NotInRoom()
            return place.current

    def set_views(self, session: Subscriber, views: Views, *first: events.Event) -> None:
        """Show the session these events, and from then on its rooms by these views."""
        outbox = Outbox(self._output)
        with self._lock:
            if first:
                outbox.show(session, *first)
            if place := self._places.get(session):
                for room in place.rooms.values():
                    here = room is place.current
                    room.regroup(session, session.views.of(here), views.of(here))
            session.views = views
        self._act(outbox)

    def be_quiet(self) -> None:
        """Show no joins and leaves from now on, because everybody is about to leave."""
        with self._lock:
            self._quiet = True

    # --- the history thread ---------------------------------------------------------------------------------

    def dispatch_messages(self, batch: Sequence[ordered.Published]) -> list[int]:
        """Show a committed batch, in order, to the sessions that it concerns. Each gets one parcel for each room,
        however many messages the batch has, unless members leave or change names in it. Returns the ids of the rooms
        that were dropped as unused.
        """
        outbox = Outbox(self._output)
        try:
            with self._lock:
                acks: dict[Subscriber, list[events.Event]] = {}
                for item in batch:
                    if type(item) is events.Message:
                        room = self._rooms.get(item.room_id)
                        if room is not None:
                            room.last = item.number
                            self._recent.add(room, item)
                            outbox.waiting[room.id].append(item)
                    elif isinstance(item, ordered.Acked):
                        answer = events.Answer(events.Ack(item.room, item.number), item.ref)
                        acks.setdefault(item.origin, []).append(answer)
                    elif isinstance(item, ordered.Joined):
                        self._joined(item, outbox)
                    else:
                        self._change(item, outbox)
                for room_id in list(outbox.waiting):
                    self._deliver(room_id, outbox)
                if self._recent.held > self._recent.most:
                    self._recent.trim()
                for session, shown in acks.items():
                    outbox.show(session, *shown)
                return self._drop_unused() if self._register.left or self._register.nearly_full else []
        finally:  # a queue that was filled and not scheduled would never be emptied again
            self._act(outbox)

    def _joined(self, item: ordered.Joined, outbox: Outbox) -> None:
        outbox.add(item.room_id, item)

    def _change(self, item: ordered.Rearranged, outbox: Outbox) -> None:
        """Change rooms or members. Before members change, deliver what waits. A new topic is added to what waits."""
        assert self._lock.locked()
        if isinstance(item, ordered.TopicSet):
            if room := self._rooms.get(item.room_id):
                room.topic = item.topic
                outbox.add(room.id, events.TopicChanged(room.name, item.by, item.topic))
        elif isinstance(item, ordered.Redacted):
            self.removals.add(item.room_id, item.number)
            if room := self._rooms.get(item.room_id):
                self._recent.redact(room, item.number)
                outbox.add(room.id, events.Redacted(room.name, item.number, item.by))
        elif isinstance(item, ordered.Noted):
            outbox.tell(item.told)
        elif isinstance(item, ordered.RoomEnded):
            self._end_room(item, outbox)
        elif isinstance(item, ordered.RoomGoverned):
            self._govern(item, outbox)
        else:
            place = self._places.get(item.session)
            if place is None:
                return
            if isinstance(item, ordered.NameChanged):
                self._rename(item, place, outbox)
            elif isinstance(item, ordered.Left):
                room = place.rooms.get(item.room_id)
                if room:
                    self._depart(item.session, place, room, item.ref, outbox)
                elif item.ref:  # a RoomEnded came first, and every request with a ref is answered
                    outbox.show(item.session, *events.answers(item.ref, events.problem(errors.RoomGone())))
            else:
                for room in list(place.rooms.values()):
                    self._leave(item.session, place, room, item.words, outbox)
                del self._places[item.session]

    def _govern(self, item: ordered.RoomGoverned, outbox: Outbox) -> None:
        """Take over how a room is governed. Those who have to leave see the notice, and nothing after it."""
        assert self._lock.locked()
        room = self._rooms.get(item.room_id)
        if room is None:
            return
        room.governance = item.governance
        if item.shown:
            outbox.add(room.id, item.shown)
            if item.origin is not None and item.origin not in room.members:
                outbox.show(item.origin, item.shown)
        if item.told:
            self._deliver(room.id, outbox)  # they see the notice first
            outbox.tell(item.told)
        for session in item.leaving(room.members):
            self._note_that_it_must_leave(session, room)
            self._depart(session, self._places[session], room, "", outbox)

    def _note_that_it_must_leave(self, session: Subscriber, room: ChatRoom) -> None:
        assert self._lock.locked()
        if self._places[session].current is room:
            session.sent_out = room.name, time.monotonic()

    def _depart(self, session: Subscriber, place: Place, room: ChatRoom, ref: str, outbox: Outbox) -> None:
        assert self._lock.locked()
        self._leave(session, place, room, "", outbox)
        event = events.Departed(room.name, place.current.name if place.current else None)
        outbox.show(session, *events.answers(ref, event))

    def _rename(self, item: ordered.NameChanged, place: Place, outbox: Outbox) -> None:
        assert self._lock.locked()
        for room in place.rooms.values():
            self._deliver(room.id, outbox)
        told = {item.session}
        for room in place.rooms.values():
            if len(room.members) > CROWD:
                continue
            for view, sessions in room.groups.items():
                parcel = Parcel(view, (events.Renamed(item.old, item.new),), self._output)
                for session in sessions:
                    if session not in told:
                        told.add(session)
                        outbox.put(session, parcel)

    def _leave(self, session: Subscriber, place: Place, room: ChatRoom, words: str, outbox: Outbox) -> None:
        assert self._lock.locked()
        pending = outbox.waiting.get(room.id)
        if pending and not isinstance(pending[-1], events.Presence):
            self._deliver(room.id, outbox)  # the session still sees what came before
        self._remove(session, place, room)
        if not self._crowded(room):
            words = room.last_words(session, words)
            who = session.identity if words else 0
            outbox.add(room.id, events.Presence(room.name, "left", (session.name,), words, who))

    def _end_room(self, item: ordered.RoomEnded, outbox: Outbox) -> None:
        assert self._lock.locked()
        room = self._rooms.get(item.room_id)
        if room is None:
            return
        self._deliver(room.id, outbox)
        if item.origin is not None and item.origin not in room.members:
            outbox.show(item.origin, events.Notice(f"{room.name} and its history are deleted."))
        lobby = self._register.by_key[LOBBY]
        self._deliver(lobby.id, outbox)  # before others enter it
        for session in list(room.members):
            place = self._places[session]
            self._note_that_it_must_leave(session, room)
            entered: Sequence[events.Event] = ()
            if len(place.rooms) == 1 and lobby.refusal(session) is None:
                entered = self._move(session, place, lobby, outbox)
            self._remove(session, place, room)
            told = events.RoomDeleted(room.name, item.by, place.current.name if place.current else None)
            outbox.show(session, told, *entered)
        self._drop(room)

    def _move(self, session: Subscriber, place: Place, lobby: ChatRoom, outbox: Outbox) -> Sequence[events.Event]:
        """Let a session into the lobby, because its room ends. Return what it is shown."""
        entered = lobby.entered()
        change = lobby.add(session, session.views.elsewhere)
        place.rooms[lobby.id] = lobby
        self._tell_of(ordered.Joined(lobby.id, session, session.name, change), outbox)
        return (entered,)

    def _tell_of(self, joined: ordered.Joined, outbox: Outbox) -> None:
        outbox.add(joined.room_id, joined)

    def _drop(self, room: ChatRoom) -> None:
        """Nobody can find or enter the room from now on."""
        assert self._lock.locked()
        self._recent.forget(room)  # it may never have had a member
        self._register.drop(room)

    def _drop_unused(self) -> list[int]:
        """Drop the rooms that nobody needs. Return their ids."""
        assert self._lock.locked()
        unused = self._register.drop_unused(self._places)
        for room in unused:
            self._recent.forget(room)
        return [room.id for room in unused]

    def _deliver(self, room_id: int, outbox: Outbox) -> None:
        """Put what waits for the room into its members' queues. The hot path, so it does not assert the lock."""
        items: Sequence[Any] | None = outbox.waiting.pop(room_id, None)
        room = self._rooms.get(room_id)
        if room is None or not items:
            return
        late: Mapping[Subscriber, Sequence[events.Event]] = {}
        if room_id in outbox.mixed:
            items, late = presence.arranged(room, items, self._crowded(room))
            for session, shown in late.items():
                if not shown:
                    continue
                view = session.views.of(self._places[session].current is room)
                parcel, members = self._address(view, shown, (session,))
                for member in members:
                    outbox.put(member, parcel)
        if items:
            for view, sessions in room.groups.items():
                parcel, members = self._address(
                    view, items, [each for each in sessions if each not in late] if late else sessions
                )
                with Mailbox.mutex:  # once for all members, but otherwise the same as outbox.put
                    outbox.ready += [session for session in members if session.mailbox.add(parcel)]

    def _address(
        self, view: View, shown: Sequence[events.Event], members: Iterable[Subscriber]
    ) -> tuple[Parcel, Iterable[Subscriber]]:
        """One parcel for all members who share the view, and these members. WatchedPublisher overrides this."""
        return Parcel(view, shown, self._output), members

    # --- after the lock -------------------------------------------------------------------------------------

    def _act(self, outbox: Outbox) -> None:
        ready = outbox.ready
        try:
            for session in [each for each in ready if each.mailbox.life is OVERFLOWED]:
                session.cut_off(TooSlow())
            self._output.check()
        finally:
            if ready:  # last: a writer that is woken needs the interpreter's lock, which this thread has
                self._schedule(ready)
