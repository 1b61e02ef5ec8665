"""What a conversation needs of the server that accepted its connection: ``server.ChatServer``, or less in a test."""

from __future__ import annotations

import threading
from typing import Protocol

from .addresses import Networks
from .dialects.base import Settings
from .door import Door
from .handshakes import Handshakes
from .limits import Limits
from .memory import Output
from .pace import Seldom
from .service import Service
from .session import SessionStore
from .spares import Spares
from .tls import Certificate
from .writers import Writers


class Host(Protocol):
    """All conversations share these parts. The attributes never change, and each part has its own lock if it needs
    one."""

    limits: Limits
    settings: Settings
    service: Service
    sessions: SessionStore
    writers: Writers
    output: Output
    door: Door
    spares: Spares
    handshakes: Handshakes
    proxies: Networks
    certificate: Certificate | None  # for clients that speak TLS; None: nobody can
    tls_only: bool
    headerless: Seldom
    arrivals: Seldom
    nameless: Seldom
    stopping: threading.Event
