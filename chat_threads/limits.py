"""What the operator lets one client do. Frozen, so any thread may read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may do. Times in seconds."""

    rate: float = 20.0  # tokens a second in the long run; 0: no limit. The rows in commands say what a line costs
    burst: int = 50  # tokens at once
    max_clients: int = 1000
    per_address: int = 0  # connections from one address; 0: no limit
    handshake_timeout: float = 60.0
    line_timeout: float = 300.0  # from a line's first byte to its end
    queue_limit: int = 1000  # lines waiting to be sent
    send_timeout: float = 30.0
