"""The history thread of a server in a cluster: it appends what its people want to the log, and does what the log says.

Both happen in one thread, so there is one order. What is appended takes effect when it is read back, at its place among
the rows of the other servers.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .. import inside, ordered
from ..batch import Batch
from ..disconnects import Replaced
from ..errors import ChatError, StartError
from ..history import AHEAD, BATCH, History
from ..latch import Latch
from ..metrics import LogNumbers
from ..numbering import Numbering
from ..refusals import TooSoon
from ..session import Session
from ..storage_errors import StorageError
from ..tokens import Who, token_id
from .carried import STAYS, flags_of, for_one_row, latest
from .copy import Copy
from .engine import Engine, EngineError, Row, Unreachable, Unsure
from .entries import dump, load
from .errors import (
    CopyFailed,
    GivenUpMeanwhile,
    LogHasBegun,
    LogIsShorter,
    OutOfTouch,
    RowsAreGone,
    Unreached,
    Unsettled,
)
from .ledger import Key
from .members import ClusterSessions, Post, RemotePerson
from .numbering import Away, Claimed, Decoded, Departed, GivenUp, LoggedIn, RowNumbering, State
from .sweeping import LogUpkeep
from .values import NameClaimed, ServerBeat, ServerEnded, ServerGone, ServerStarted, Summoned, Wake

log = logging.getLogger(__name__)

AT_ONCE = 100  # rows that are read, and stored in one transaction if they are not long
WAIT = 30.0  # seconds for which what was said waits for the engine
AGAIN = 0.25  # seconds between two tries to reach it
POLL = 1.0  # seconds after which the log is read, even if nobody says that there is something new
BEAT = 5.0  # seconds after which a server that has nothing to say says that it is alive
LEASE = 15.0  # seconds without a row of a server after which another one says that it has gone
SEEN_OFF = 5.0  # seconds that another server has for cutting somebody off


class ClusterHistory(History):
    """See ``History``. ``claim`` and ``wake`` are for any thread, too."""

    _upkeeps = LogUpkeep
    _upkeep: LogUpkeep
    storage: Copy
    log_numbers: LogNumbers

    def __init__(self, *args: Any, engine: Engine, sessions: ClusterSessions, post: Post, **more: Any) -> None:
        super().__init__(*args, **more)
        self._post = post
        self._engine = engine
        self._sessions = sessions
        # What readers wait for. Whoever takes one out, the reader or the history thread, ends that.
        self._claims: dict[NameClaimed, tuple[Latch, list[Any], str, Who]] = {}
        self._stopping = self.storage.stopping
        # Owned by the history thread; before it runs, by main:
        self.server = secrets.randbits(62)
        self.state = State(*self._begin(self.storage))
        self._carried: list[ordered.Ordered] = [ServerStarted(self._before)]  # not in the log yet
        # A row that may be in the log: its number among this server's rows, what is in it, and how many values that is.
        self._under_way: tuple[int, bytes, int] | None = None
        self._told = False  # whether those who wait for that row have been told that nobody knows
        self._seq = 0
        self.log_numbers = LogNumbers(self.state.position)
        self._began = False  # it has read the log up to its end once; before that, it appends nothing
        self._beats_at = 0.0  # when it next says that it is alive; this and the next two by time.monotonic()
        self._down_since: float | None = None  # set as a whole; any thread reads it
        # For the server with the lowest number: up to where the log may be trimmed, and the living servers. Set as a
        # whole; any thread reads it.
        self.keeps: tuple[int, tuple[int, ...]] | None = None
        self._woken = False  # a Wake is in the queue; set by any thread, and reset by the history thread
        self._heard: dict[int, float] = {}  # when each other server last appended, as far as this one has seen
        self._remote: dict[Key, RemotePerson] = {}
        self._met: set[Key] = set()  # those who were looked up in ``_remote`` since the last commit

    def _begin(self, copy: Copy) -> tuple[Any, int, int, int]:
        try:
            engine, first, last = self._engine.prepare()
            own = copy.take_own(engine, last)
            if own != engine:
                if not self._engine.begin_with(own):
                    copy.give_back()
                    raise LogHasBegun(copy.path)
                engine, first, last = own, 2, 1
        except EngineError as error:
            raise StartError(f"The database of --cluster cannot be used: {error}.") from error
        except StorageError as error:
            raise CopyFailed(str(error)) from error
        ledger, position, last_room, self._before = copy.begin(engine, self.server)
        if position > last:
            raise LogIsShorter(position, last)
        if position + 1 < first:
            raise RowsAreGone(position, first)
        return ledger, self.server, position, last_room

    # --- any thread --------------------------------------------------------------------------------------

    def claim(self, session: Session, name: str, token: str, who: Who) -> Any:
        """Have the log decide whether the session gets this name. Return whose place it takes, or raise NameTaken or
        NotStored. Waits for that."""
        known = token_id(token or session.token)
        item = NameClaimed(session, name, who.identity, known, who.account, who.operator)
        decided, outcome = Latch(), list[Any]()
        self._claims[item] = decided, outcome, token, who
        try:
            self.submit(item)
            decided.wait(WAIT + POLL)
        finally:
            late = self._claims.pop(item, None)
        if late or not decided.wait(WAIT):
            raise Unreached()
        if isinstance(outcome[0], ChatError):
            raise outcome[0]
        return outcome[0]

    def summon(self, person: RemotePerson) -> None:
        """Have the server of somebody cut them off. Waits for that, and for what it notes then, but not for long."""
        self.submit(Summoned(person))
        person.gone.wait(SEEN_OFF)

    def settle(self, timeout: float, unless: Latch | None = None) -> bool:
        """As in History, for all that the log has by now. Returns False, too, if the log cannot be read."""
        return super().settle(timeout, unless) and self._down_since is None

    def _is_settled(self) -> bool:
        """Nobody knows without a look into the log."""
        return False

    def wake(self) -> None:
        """There may be something new in the log. Raises NotStored if the queue is full; then the thread is awake."""
        if not self._woken:
            self._woken = True
            self.enqueue(Wake())

    @property
    def trouble(self) -> str:
        return "" if self._down_since is None else "The cluster's database does not answer."

    def hurry(self) -> None:
        """The server stops: do not wait for an engine that does not answer."""
        self._stopping.set()

    def stop(self, timeout: float) -> bool:
        self.hurry()
        ended = super().stop(timeout)
        if ended:
            self._engine.close()
        return ended

    # --- the history thread -------------------------------------------------------------------------------

    def _turn(self) -> bool:
        more = self._carried or self._engine.last > self.state.position
        most = 0.0 if more and self._down_since is None else POLL
        self._pause = most if self._pause is None else min(self._pause, most)
        return super()._turn()

    def carry(self, item: ordered.Ordered) -> None:
        """Put something into the log that what is published leads to."""
        self._carried.append(item)

    def _handle(self, items: Sequence[ordered.Ordered | None], numbered: Numbering | None = None) -> Batch | None:
        """Append what is new, and do what the log says: all that it has by now, and not what it gets meanwhile without
        an end."""
        self._woken = False
        self._carried += [each for each in items if each is not None and type(each) not in (ordered.Marker, Wake)]
        if None in items:
            self._carried.append(ServerEnded())
        if self._upkeep.decision:
            self._carried.append(self._upkeep.decision)
            self._upkeep.decision = None
        if self._began:
            self._speak()
        upto = None
        while True:
            rows = self._read()
            if upto is None:
                upto = self._engine.last
            self._take(rows)
            if self._began and self.state.position >= upto:
                return None
            if len(rows) < AT_ONCE:
                if self._began or self._down_since is not None:
                    return None
                self._began = True
                log.info("the servers' common log is read up to row %d", self.state.position)
            elif not self._began and self._stopping.is_set():
                return None
            if self._began:
                self._speak()

    def _speak(self) -> None:
        """Append what is carried. If this server has said nothing for a while, also append that it is alive."""
        if self._down_since is None and time.monotonic() >= self._beats_at:
            self._beats_at = time.monotonic() + BEAT
            self._carried += self._forgotten() or ([] if self._carried else [ServerBeat()])
        self._look_for_the_dead()
        self._append()

    def _append(self) -> None:
        """Append what is carried. While the engine cannot be reached, try again, at most WAIT seconds in all."""
        unsure = self._under_way is not None
        checked = False
        while self._under_way or self._carried:
            if self._under_way is None:
                if not checked:
                    checked = True
                    self._refuse_too_soon()
                    continue
                items = for_one_row(self._carried)
                self._seq += 1
                payload = dump(items, flags_of(items, self._rooms.governed), self._key_of, self.state.position)
                self._under_way = self._seq, payload, len(items)
            seq, payload, _ = self._under_way
            began = time.monotonic()
            try:
                inside.does("appends")
                position = self._engine.append(self.server, seq, int(self._now() * 1000), payload)
                if position <= self.state.position:
                    raise LogIsShorter(self.state.position, position)
            except EngineError as error:
                self.log_numbers.retries += 1
                unsure = unsure or isinstance(error, Unsure)
                if not self._may_wait(error):
                    self._give_up_waiting(unsure)
                    return
            else:
                self.log_numbers.appends += 1
                self.log_numbers.seconds += time.monotonic() - began
                self.log_numbers.appended_at = self._now()
                self._arrived()
                unsure = False
                self._reached()

    def _arrived(self) -> None:
        """The row that was under way is in the log."""
        assert self._under_way
        del self._carried[: self._under_way[2]]
        self._under_way, self._told = None, False

    def _may_wait(self, error: EngineError) -> bool:
        """The engine did not answer: wait a moment, and return whether to try again."""
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            log.error("the cluster's database does not answer, so nothing can be said: %s", error)
        if self._stopping.is_set() or now - self._down_since >= WAIT:
            return False
        inside.does("waits for the engine")
        self._stopping.wait(AGAIN)
        return True

    def _reached(self) -> None:
        if self._down_since is not None:
            log.info("the cluster's database answers again, after %.1f s", time.monotonic() - self._down_since)
            self._down_since = None
            self._heard.clear()  # nobody could be heard meanwhile

    def _give_up_waiting(self, unsure: bool) -> None:
        """Refuse what waits, except for what must be known later. If a row may be in the log, say so, and keep it: when
        the engine answers again, it is appended unless it is there, and takes effect."""
        count = self._under_way[2] if self._under_way and unsure else 0
        for at, item in enumerate(self._carried):
            if not isinstance(item, STAYS) and (at >= count or not self._told):
                self._refuse_one(item, Unsettled() if at < count else Unreached())
        self._told = count > 0
        self._carried[count:] = latest(each for each in self._carried[count:] if isinstance(each, STAYS))
        if not unsure and self._under_way:
            self._under_way = None
            self._seq -= 1

    def _refuse_one(self, item: ordered.Ordered, error: ChatError) -> None:
        if isinstance(item, NameClaimed):
            self._decided(item, error)
        else:
            self._refuse(item, error)

    def _refuse_too_soon(self) -> None:
        """Refuse what is said too soon in slow rooms. Numbering cannot do it: after a restart, a server does not know
        when somebody spoke last, so the same row might mean something else there."""
        governed = self._rooms.governed
        if not governed:
            return
        kept: list[ordered.Ordered] = []
        speaks: set[tuple[int, int]] = set()
        at = int(self._now() * 1000)
        for item in self._carried:
            if isinstance(item, ordered.Said) and (rules := governed.get(item.room_id)):
                speaker, slow = (item.room_id, item.who), rules.slow
                if slow and not rules.rank(item.origin):
                    wait = slow if speaker in speaks else self._rooms.spoken.wait(item.room_id, slow, item.who, at)
                    if wait:
                        self._refuse(item, TooSoon(item.room, slow, wait, item.text, what=item.called))
                        continue
                    speaks.add(speaker)
            kept.append(item)
        self._carried = kept

    def _read(self) -> Sequence[Row]:
        inside.does("reads the log")
        try:
            rows = self._engine.read(self.state.position, AT_ONCE)
        except Unreachable as error:
            if self._down_since is None:
                self._down_since = time.monotonic()
                log.error("the cluster's database does not answer, so nothing can be said: %s", error)
            return ()
        self._reached()
        return rows

    def _take(self, rows: Sequence[Row]) -> None:
        """Do what rows of the log say: number them one by one, store them together, and then show them."""
        while rows:
            rows = self._take_some(rows)

    def _take_some(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Take rows, up to the one which says that this server counts as gone. Return the rest."""
        began = time.monotonic()
        taken: list[RowNumbering] = []
        for row in rows:
            taken.append(self._number(row))
            if GivenUp(self.server) in taken[-1].outcomes:
                break
        self._slot.doing = "commits", time.monotonic()
        self.storage.settle()
        now = time.monotonic()
        messages = sum(len(each.batch.messages) for each in taken)
        self.stored += messages
        self.commits.took(began, now, messages)
        for numbered in taken:
            if self._ahead and self._flush(self._ahead <= AHEAD and len(numbered.published) <= BATCH - AHEAD):
                self._ahead = 0
            self._stored(numbered, now)
            self._show(numbered, numbered.published, numbered.refused, now)
        self._see_off()
        self.log_numbers.position = self.state.position
        self.log_numbers.behind = self._engine.last - self.state.position
        return rows[len(taken) :]

    def _number(self, row: Row) -> RowNumbering:
        """Number a row. It is stored now or later."""
        if row.position != self.state.position + 1:
            raise RowsAreGone(self.state.position, row.position)
        self._heard[row.server] = time.monotonic()
        if self._under_way and (row.server, row.seq) == (self.server, self._under_way[0]):
            self._arrived()
        items, flags, read = load(row.payload, self._session_of)
        decoded = Decoded(row.position, row.server, row.at, items, flags, read)
        numbered = RowNumbering(self._rooms, self._once, self.state, decoded, self._session_of)
        self.storage.add(numbered.batch)
        self._go_on_from(numbered)
        for room in numbered.batch.rooms_unused:
            self._rooms.last.pop(room, None)
        if numbered.batch.forgets:
            self._once.clear()
        return numbered

    def _stored(self, numbered: RowNumbering, now: float) -> None:
        """Take note of a row that is stored."""
        batch = numbered.batch
        self._upkeep.note(now, batch)
        for swept, _, _ in batch.swept:
            self._upkeep.last = swept.now, swept.older_than
        if batch.accounts:
            self._tell_of_accounts(batch)
        for outcome in numbered.outcomes:
            if isinstance(outcome, Claimed):
                self._decide(outcome)
            elif isinstance(outcome, GivenUp):
                self._given_up(outcome.server)
            elif isinstance(outcome, LoggedIn):
                if outcome.at[0] != self.server:
                    self._sessions.takes(self.person(outcome.at), outcome.name, outcome.who, outcome.token)
            elif isinstance(outcome, Away):
                if person := self._remote.get(outcome.at):
                    person.profile = replace(person.profile, away=outcome.words)
            elif isinstance(outcome, Departed):
                if person := self._remote.get(outcome.at):
                    self._sessions.loses(person)
                    person.gone.set()
            elif outcome.at[0] == self.server and (session := self._sessions.get(outcome.at[1])):
                session.cut_off(Replaced())

    def _see_off(self) -> None:
        """Forget the people on other servers who are no longer connected."""
        ledger = self.state.ledger
        keeps = self.server == min(ledger.servers, default=0)
        self.keeps = (ledger.all_read(), tuple(ledger.servers)) if keeps else None
        for at in self._met - ledger.people.keys():
            del self._remote[at]
        self._met.clear()

    def _decide(self, outcome: Claimed) -> None:
        """Give the name, or refuse it, and cut off those of this server whose place is taken."""
        claim, (server, number) = outcome.claim, outcome.at
        who = Who(claim.identity, claim.account, claim.operator)
        for at in outcome.replaced:
            if at[0] != self.server and (person := self._remote.get(at)):
                self._sessions.loses(person)
            elif server != self.server and (session := self._sessions.get(at[1])):
                session.cut_off(Replaced())
        if outcome.error:
            self._decided(claim, outcome.error)
        elif server != self.server:
            self._sessions.takes(self.person(outcome.at), claim.name, who, claim.token)
        elif waiting := self._claims.pop(claim, None):
            decided, found, token, who = waiting
            others = [self._remote[at] for at in outcome.replaced if at in self._remote]
            replaced = self._sessions.gives(claim.session, claim.name, token, who)
            found.append(replaced or (others[0] if others else None))
            decided.set()
        elif session := self._sessions.get(number):  # it was told meanwhile that the log cannot be reached
            if (session.name, token_id(session.token)) != (claim.name, claim.token):  # it has not claimed it again
                session.cut_off(OutOfTouch())
        else:
            self.carry(ordered.LeftAll(self.person(outcome.at)))

    def _decided(self, claim: NameClaimed, error: ChatError) -> None:
        if waiting := self._claims.pop(claim, None):
            waiting[1].append(error)
            waiting[0].set()

    def _given_up(self, server: int) -> None:
        self._heard.pop(server, None)
        if server == self.server and not self._stopping.is_set():
            log.error("the other servers did not hear of this one for %d seconds: its people have to come back", LEASE)
            for session in self._sessions.all():
                session.cut_off(OutOfTouch())
            self.server = self.state.server = secrets.randbits(62)
            self._seq, self._under_way, self._told = 0, None, False
            for item in self._carried:
                if not isinstance(item, STAYS):
                    self._refuse_one(item, GivenUpMeanwhile())
            kept = [each for each in self._carried if isinstance(each, (ordered.PlaceKept, ordered.TokenUsed))]
            self._carried = [ServerStarted(0), *kept]

    def _look_for_the_dead(self) -> None:
        """Say which servers have not been heard of for LEASE seconds. Their people leave, if that is still so when it
        is in the log."""
        if self._down_since is None:
            now = time.monotonic()
            for server, last in self.state.ledger.servers.items():
                if server != self.server and now - self._heard.setdefault(server, now) > LEASE:
                    self._heard[server] = now
                    self._carried.append(ServerGone(server, last))

    def _forgotten(self) -> list[ordered.Ordered]:
        """The leaving of sessions of which the log does not know that they have ended."""
        found: list[ordered.Ordered] = []
        for at in self.state.ledger.of(self.server):
            if not self._sessions.knows(at[1]):
                found.append(ordered.LeftAll(self.person(at)))
        return found

    # --- sessions ------------------------------------------------------------------------------------------

    def _key_of(self, session: Any) -> Key:
        return getattr(session, "server", self.server), session.number

    def _session_of(self, at: Sequence[int]) -> Any:
        """What stands for a session here: the Session itself, or a RemotePerson."""
        server, number = at
        if server == self.server and (session := self._sessions.get(number)):
            return session
        person = self.person((server, number))
        person.heard = time.monotonic()
        return person

    def person(self, at: Key) -> RemotePerson:
        self._met.add(at)
        if at not in self._remote:
            self._remote[at] = RemotePerson(*at, self._post)
        return self._remote[at]

    def populate(self) -> None:
        """Give the people of other servers their names. For main, before the thread runs."""
        for at, each in self.state.ledger.people.items():
            if each.name:
                person = self.person(at)
                self._sessions.takes(person, each.name, each.who(), each.token)
                person.profile = replace(person.profile, away=each.away)
