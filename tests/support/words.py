"""What people read: tests/unit/test_advice.py has the sentences, and all other tests only the errors."""

from __future__ import annotations

from chat_threads import events
from chat_threads.dialects import advice
from chat_threads.errors import ChatError


def error_line(error: ChatError) -> str:
    """The line that a person at telnet reads of an error."""
    return f"! {advice.error(events.problem(error))}"
