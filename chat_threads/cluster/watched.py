"""The watched parts of a server in a cluster, for --lab and --trace. See the module ``watched`` of the package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..chatroom import Subscriber
from ..events import Event
from ..parcel import Parcel, View
from ..watched import WatchedHistory, WatchedPublisher, WatchedStorage
from .copy import Copy
from .history import ClusterHistory
from .members import NOWHERE
from .publisher import ClusterPublisher


class WatchedCopy(WatchedStorage, Copy):
    """Reports each commit to the recorder."""


class WatchedClusterHistory(WatchedHistory, ClusterHistory):
    """Reports what is submitted and taken."""


class WatchedClusterPublisher(WatchedPublisher, ClusterPublisher):
    """Reports to which members of this server a message is queued."""

    def _address(
        self, view: View, events: Sequence[Event], members: Iterable[Subscriber]
    ) -> tuple[Parcel, Iterable[Subscriber]]:
        return super()._address(view, events, () if view is NOWHERE else members)
