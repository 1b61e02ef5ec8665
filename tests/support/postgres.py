"""The PostgreSQL of ``scripts/torture.py``, and the wire to it, for tests."""

from __future__ import annotations

from engine import Postgres, Wire, is_over, programs

__all__ = ["Postgres", "Wire", "is_over", "programs"]
