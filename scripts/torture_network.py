"""A network between servers and PostgreSQL that can fail while both of its ends are alive.

PostgreSQL gets a network namespace of its own (https://man7.org/linux/man-pages/man7/network_namespaces.7.html).
A link to it is a pair of virtual network cards. A link that is down loses every packet, and tells nobody. So a server
sees what it sees when a cable is pulled out: connections that seem to be there.

Linux, for root, with Debian's package iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess

NOBODY = "02:00:00:00:00:99"  # the address of a network card that is not there


class NotHere(Exception):
    """This machine cannot have such a network. The text is the reason."""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"ip {' '.join(words)}: {done.stderr.strip().splitlines()[0] if done.stderr else 'failed'}")


class Network:
    """The links have the numbers 0, 1, 2 ... Link 0 is for observers, and never fails."""

    def __init__(self, links: int) -> None:
        """Raises NotHere."""
        if not shutil.which("ip") or not shutil.which("setpriv") or os.geteuid() != 0:
            raise NotHere("it needs Linux, root, ip and setpriv")
        self._links = links
        self._name = f"torture-{os.getpid()}"
        self._base = (10 << 24) + (200 << 16) + os.getpid() % 8192 * 32 * 4  # networks of four addresses each
        _ip("netns", "add", self._name)
        try:
            _ip("-n", self._name, "link", "set", "lo", "up")
            for link in range(links):
                near, far = self._ends(link)
                _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self._name)
                _ip("address", "add", f"{self._address(link, 1)}/30", "dev", near)
                _ip("-n", self._name, "address", "add", f"{self.address(link)}/30", "dev", far)
                _ip("link", "set", near, "up")
                _ip("-n", self._name, "link", "set", far, "up")
        except NotHere:
            self.close()
            raise

    def _ends(self, link: int) -> tuple[str, str]:
        """The names of a link's cards; 15 characters at most."""
        number = os.getpid() % 100_000
        return f"tn{number}x{link}", f"tf{number}x{link}"

    def _address(self, link: int, host: int) -> str:
        number = self._base + 4 * link + host
        return ".".join(str(number >> bits & 255) for bits in (24, 16, 8, 0))

    def address(self, link: int) -> str:
        """PostgreSQL's address, by that link."""
        return self._address(link, 2)

    def inside(self, user: str) -> list[str]:
        """The words before a command that run it at the far end, as that user. The process stays the same one."""
        run = ["ip", "netns", "exec", self._name]
        return [*run, "setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]

    def cut(self, link: int) -> None:
        """From now on the link loses all packets. The far end's card is down: without the near one, the system would
        send the packets elsewhere."""
        _ip("-n", self._name, "link", "set", self._ends(link)[1], "down")

    def lose_answers(self, link: int) -> None:
        """From now on the link loses the packets that come from PostgreSQL: they go to a card that is not there."""
        to = ("neighbour", "replace", self._address(link, 1), "lladdr", NOBODY, "nud", "permanent")
        _ip("-n", self._name, *to, "dev", self._ends(link)[1])

    def mend(self, link: int) -> None:
        far = self._ends(link)[1]
        _ip("-n", self._name, "link", "set", far, "up")
        _ip("-n", self._name, "neighbour", "flush", "dev", far, "nud", "all")

    def close(self) -> None:
        """End the namespace, and with it its links."""
        ends = [("link", "del", self._ends(link)[0]) for link in range(self._links)]
        for words in (*ends, ("netns", "del", self._name)):
            subprocess.run(["ip", *words], capture_output=True, check=False)
