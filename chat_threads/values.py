"""Values that cross threads, for the path of a message, where ``@dataclass(frozen=True, slots=True)`` takes too long.

A frozen dataclass sets each of its fields by a call that evades its own guard. So making one with eight fields takes
ten times as long as making one that is not frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

__all__ = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool):
        """A dataclass that is frozen for mypy only, which sees that nothing sets a field. It still has a hash."""
        return dataclass(slots=slots, unsafe_hash=frozen)
