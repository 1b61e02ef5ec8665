"""The PostgreSQL of ``scripts/torture.py``, and the wire to it, for tests."""

from __future__ import annotations

from engine import Postgres, Wire, programs

__all__ = ["Postgres", "Wire", "programs"]
