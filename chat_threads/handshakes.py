"""How many TLS handshakes one address may make. Each costs the server a signature, and the client hardly anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .addresses import site
from .tls import Violation
from .tokens import Handout

AT_ONCE = 1000  # handshakes of one address: a lecture hall may be one address, and come back several times
A_SECOND = 50.0  # handshakes a second in the long run: 1 percent of a core, or 2 with an RSA key
SITE_AT_ONCE, SITE_A_SECOND = 4 * AT_ONCE, 4 * A_SECOND  # the same for all IPv6 networks of a site


class Handshakes:
    """Counts the TLS handshakes of each address. Any thread may call it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._networks = Handout(clock, AT_ONCE, A_SECOND)
        self._sites = Handout(clock, SITE_AT_ONCE, SITE_A_SECOND)

    def begins(self, address: str) -> None:
        """A client at this address wants to begin one. Raise Violation if its address has made too many."""
        with self._lock:
            seconds = self._networks.wait(address) or self._sites.wait(site(address))
        if seconds:
            raise Violation("its address makes too many TLS handshakes")
