"""One run: the threads take turns, and at each point somebody chooses which thread goes on.

Each thread under test is a real thread that sleeps until it has the turn. So only one of them runs at any time, and
only that one uses the attributes of ``Run``.
"""

from __future__ import annotations

import threading
from _thread import allocate_lock, start_new_thread  # the real ones, whatever threading has at the moment
from functools import partial
from operator import attrgetter

STEPS = 3000  # lines in one run; a longer run counts as an endless loop
SPINS = 50  # vain tries to take a lock without waiting, from which on a thread spins
PATIENCE = 10.0  # seconds for one run; a longer run waits for something that the stepper does not know
TIDY_UP = 1.0  # seconds that a thread has to end when it is no longer needed
NEVER = float("inf")

running: Run  # the current run


class Stop(BaseException):
    """Ends a thread that is no longer needed."""


class Thread:
    """The stepper's notes on one thread."""

    def __init__(self, number, thread):
        self.number = number
        self.thread = thread
        self.daemon = thread.daemon  # as it began
        unnamed = thread.name.startswith("Thread-")
        self.name = getattr(thread._target, "__name__", type(thread).__name__) if unnamed else thread.name
        self.turn = allocate_lock()  # released for a moment when this thread gets the turn
        self.turn.acquire()
        self.place = None  # the Place of the line in which it is
        self.begun = None  # the index of the call that it made last for a line
        self.fresh = True  # it has touched nothing shared since somebody chose it
        self.away = False  # others had the turn, and it has done nothing in its line since then
        self.done = False
        self.error = None  # the exception that ended it
        self.until = None  # a function that says whether its wait is over; None: it does not wait
        self.why = ""  # the same in words
        self.deadline = NEVER  # the time at which its wait ends in any case
        self.asleep = False
        self.spins_for = None  # the lock that it has tried to take without waiting, in vain
        self.spins = 0  # how often
        self.wakes = 0  # how often a timeout or a sleep of it has ended

    def ready(self, now):
        """Whether it can continue."""
        return not self.done and (self.until is None or self.until() or self.deadline <= now)

    def took(self, lock):
        """It has taken a lock."""
        self.fresh = False
        if self.spins_for is lock:
            self.spins = 0


class Carrier:
    """A real thread. It runs one thread under test after another, because starting a real thread takes long."""

    def __init__(self, idle):
        self._idle = idle  # the list to which it adds itself when it has nothing to do
        self._wake = allocate_lock()
        self._wake.acquire()
        start_new_thread(self._run, ())

    def carry(self, work):
        """Do this work; end if it is None."""
        self._work = work
        self._wake.release()

    def _run(self):
        while self._wake.acquire() and self._work:
            self._work()
            self._idle.append(self)


class Run:
    """Only the thread with the turn uses it, and before and after the threads, the caller of ``run``."""

    def __init__(self, free, choose, idle, recorder=None):
        self.free = free  # there is no interpreter lock: see points.py
        self.choose = choose  # a function that chooses one of several threads; see _next
        self.idle = idle  # carriers
        self.recorder = recorder  # notes the shared values; only the run that is told needs it
        self.choices = []  # what each possible choice would have cost, in preemptions
        self.picked = []  # the name of the thread that was chosen, and its index: 0 would have gone on anyway
        self.threads = []
        self.named = []  # the threads that make() returned, without those that were started later
        self.rows = []  # of the story: thread, kind (see search.Step), place or None, text
        self.lines = 0
        self.current = None  # the thread that has the turn; None: the caller has it
        self.turn = allocate_lock()  # the caller's
        self.turn.acquire()
        self.now = 0.0  # seconds
        self.idled = 0.0  # seconds of these in which no thread could continue
        self.until = None  # a function that says whether the caller's wait is over: make() or check() may wait, too
        self.why = ""  # in words, where the thread is that is about to keep the turn or to pass it on
        self.over = None  # why the run is over; from then on, a thread that gets the turn ends

    def run(self, make, check):
        """Let the threads run to their end; return what is wrong, or None."""
        global running
        running = self
        try:
            state, threads = make()
            for name, work in threads.items():
                thread = threading.Thread(target=work, name=name)
                thread.start()
                self.named.append(thread._noted)
            self.rows, self.lines = [], 0  # what make() did is not told
            if self.recorder:
                self.recorder.begin(self)
            self._let_them_run()
            if fault := self._fault():
                return fault
            told, self.rows = self.rows, []
            try:
                return check(state) or self.over
            finally:
                self.rows = told
        except Stop:
            return self.over or "A thread was ended that had not come to its end."
        finally:
            self.over = self.over or "It is over."
            for thread in self.threads:
                if not thread.done:
                    self._give(thread)
                    self.turn.acquire(timeout=TIDY_UP)

    def _let_them_run(self):
        """Give the turn away until nobody wants it, or the caller's wait is over."""
        self._give(self._next())
        if not self.turn.acquire(timeout=PATIENCE):
            self.over = f"{self.current.name} waits for something that is no lock or queue, or never ends a line."
        self.current = None

    def _fault(self):
        for thread in self.threads:
            if thread.error:
                said = f": {thread.error}" if str(thread.error) else "."
                return f"{thread.name} died of {type(thread.error).__name__}{said}"
        waiting = [each for each in self.threads if not each.done and not each.daemon]
        if self.over or not waiting:
            return self.over
        why = "; ".join(f"{each.name} {each.why}" for each in waiting)
        if all(each.done for each in self.named):
            return f"{' and '.join(each.name for each in self.named)} ended, but the program did not: {why}."
        return f"No thread can continue: {why}."

    def _live(self, thread):
        thread.turn.acquire()
        if not self.over:
            try:
                thread.thread.run()
                self.note("ends")
            except BaseException as error:
                if not (self.over and isinstance(error, Stop)):
                    thread.error = error
                    self.note(f"dies of {type(error).__name__}")
        thread.done, self.why = True, ""
        self._give(None if self.over else self._next())

    # --- what the threads do ----------------------------------------------------------------------------------

    def line(self, place):
        """The thread begins a line."""
        thread = self.current
        if self.over:
            raise Stop
        self.record()
        thread.place, thread.away = place, False
        self.rows.append((thread, "line", place, ""))
        self.lines += 1
        if self.lines > STEPS:
            self.over = f"There was no end after {STEPS} lines of code: {self._endless()}"
            self._give(None)
            thread.turn.acquire()
            raise Stop

    def _endless(self):
        spinning = [each for each in self.threads if each.spins > SPINS and each.spins_for.taken]
        if self.current.wakes > SPINS:
            return f"{self.current.name} wakes up again and again, and has nothing to do."
        if not spinning:
            return f"is {self.current.name} in an endless loop?"
        return "; ".join(f"{each.name} spins for {each.spins_for.whose(each)}" for each in spinning) + "."

    def access(self, place, value=None):
        """The thread is about to use something that other threads may use, too."""
        if self.over:
            raise Stop
        if self.free:
            self.point(f"stopped before it {place.does}")
        thread = self.current
        if thread.away and thread.place:
            self.rows.append((thread, "goes on", thread.place, ""))
        thread.fresh = thread.away = False
        if self.recorder:
            self.recorder.watch(place, value)

    def point(self, why):
        """Here the thread may lose the turn. If it has used nothing since the last such point, that one is enough."""
        if self.over:
            raise Stop
        if not self.current.fresh:
            self.switch(why)

    def note(self, text, kind="note"):
        """Add a note below the thread's current line."""
        if self.current and not self.over:
            self.record()
            self.rows.append((self.current, kind, None, text))

    def record(self):
        """Add a note for each shared value that the thread has changed."""
        if self.recorder and self.current:
            thread, self.current = self.current, None  # a __repr__ may be under test, too
            changes = self.recorder.changes()
            self.current = thread
            self.rows += [(thread, "value", None, change) for change in changes]

    # --- turns ------------------------------------------------------------------------------------------------

    def start(self, thread):
        """A thread begins, and waits for its turn. Returns the notes on it."""
        noted = Thread(len(self.threads), thread)
        if any(each.name == noted.name for each in self.threads):
            noted.name = f"{noted.name} {noted.number}"
        self.threads.append(noted)
        carrier = self.idle.pop() if self.idle else Carrier(self.idle)
        carrier.carry(partial(self._live, noted))
        return noted

    def switch(self, why=""):
        """The thread that has the turn keeps it or passes it on: a choice."""
        thread = self.current
        self.why = why
        chosen = self._next()
        thread.fresh = True
        if chosen is not thread:
            if why and thread.ready(self.now):
                self.note(why, "stopped")
            self._give(chosen)
            thread.turn.acquire()
            thread.away = True
        if self.over:
            raise Stop

    def _next(self):
        """The thread that gets the next turn; None if no thread can continue.

        A wait with a timeout may end early, because all other threads may be slow. That costs a preemption.
        """
        if self.until and self.until():
            return None
        here = self.current.number + self.current.asleep if self.current else 0
        around = self.threads[here:] + self.threads[:here]
        ready = [thread for thread in around if thread.ready(self.now)]
        if not ready:  # only now does time pass
            soonest = min((each.deadline for each in around if not each.done), default=NEVER)
            if soonest == NEVER:
                return None
            self.idled += soonest - self.now
            self.now = soonest
            ready = [thread for thread in around if thread.ready(self.now)]
        ready.sort(key=attrgetter("asleep"))
        if self.until:
            return ready[0]
        early = [each for each in around if not each.done and each not in ready and each.deadline < NEVER]
        price = int(self.current is not None and self.current.ready(self.now))
        prices = [0] + [price] * (len(ready) - 1) + [1] * len(early)
        if len(prices) == 1:
            return ready[0]
        index = self.choose(self, ready, early)
        self.choices.append(prices)
        chosen = [*ready, *early][index]
        self.picked.append((chosen.name, index))
        self.now = max(self.now, chosen.deadline) if chosen in early else self.now
        return chosen

    def _give(self, thread):
        self.record()
        self.current = thread
        if thread:
            thread.fresh = True
        (thread or self).turn.release()

    def wait(self, until, why, timeout=None):
        """The thread with the turn waits until ``until()`` is true; False after the timeout."""
        thread = self.current
        if self.over:
            raise Stop
        if until():
            return True
        if timeout is not None and timeout <= 0:
            return False
        if thread is None:
            return self._wait_as_caller(until, why)
        thread.until, thread.why = until, why()
        thread.deadline = NEVER if timeout is None else self.now + timeout
        self.note(thread.why)
        self.switch()
        thread.until, thread.deadline = None, NEVER
        if not until():
            thread.wakes += 1
            self.note(f"its timeout of {timeout:g} s ends")
            return False
        if thread.why.startswith("waits in"):  # a lock with a name makes a note itself
            self.note("continues")
        return True

    def _wait_as_caller(self, until, why):
        self.until = until
        self._let_them_run()
        self.until = None
        if until():
            return True
        if not self.over and self.named:
            self.over = f"When all threads had ended, a lock was still held: the check {why()}."
        self.over = self.over or f"Before the threads began, the scene {why()}."
        raise Stop

    def spin(self, lock, is_its_own):
        """The thread has looked in vain whether a lock is free. If it looks again and again, the others go first."""
        thread = self.current
        thread.spins = thread.spins + 1 if thread.spins_for is lock else 1
        thread.spins_for = lock
        if thread.spins > 1 and not is_its_own:
            self._let_others_go_first()

    def sleep(self, seconds):
        """Other threads may have the turn; this one may get it back at any time."""
        thread, wake = self.current, self.now + seconds
        if thread:
            thread.wakes += 1
            self._let_others_go_first()
        if wake > self.now:
            if not any(each.ready(self.now) for each in self.threads if each is not thread):
                self.idled += wake - self.now
            self.now = wake

    def _let_others_go_first(self):
        thread = self.current
        thread.asleep = True
        self.switch()
        thread.asleep = False


def note(text: str) -> None:
    """For the functions that ``make`` returns: add a note to the story, in the column of the calling thread."""
    running.note(text)


def point() -> None:
    """For the functions that ``make`` returns: here other threads may have the turn."""
    if running.current:
        running.switch("stopped between two calls")


def idled() -> float:
    """Seconds of the stepper's time in which no thread could continue: because all waited, or slept."""
    return running.idled
