"""The sentences that people read. Only tests/unit/test_advice.py spells them out; all other tests name the errors."""

from __future__ import annotations

from chat_threads import events
from chat_threads.dialects import advice
from chat_threads.errors import ChatError


def error_line(error: ChatError) -> str:
    """The line in which a person at telnet reads the error."""
    return f"! {advice.error(events.problem(error))}"
