"""Whether the machine on which torture.py runs is too busy for it."""

from __future__ import annotations

import threading

from torture_checker import LIVE_WITHIN, Fault
from torture_world import RECOVERY, World, now

TICK = 0.1  # seconds between two looks at the clock
TOO_LATE = 0.4  # seconds by which such a look may be late


class Metronome(threading.Thread):
    """Notices when this machine has too much other work for C7 to mean anything: a thread that only sleeps wakes up
    late. C7 leaves such times out, like the times of faults of all servers. The table at the end says how long they
    were."""

    def __init__(self, world: World) -> None:
        super().__init__(name="metronome", daemon=True)
        self._world = world
        self.late = 0.0  # seconds, in all

    def run(self) -> None:
        before = now()
        while not self._world.finishing.wait(TICK):
            at = now()
            if at - before > TICK + TOO_LATE:
                self.late += at - before - TICK
                self._world.faults.append(Fault("the machine was too busy", before - LIVE_WITHIN, at + RECOVERY))
            before = at
