"""Who talks about what: one conversation, the same with every client.

Standard library only: the programs of other projects import it.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AFTER",
    "ANSWER",
    "ASK_ORDER",
    "BEFORE",
    "CLIPS",
    "DESK",
    "GREETING",
    "HAND_OVER",
    "HERE_I_AM",
    "LISTENS",
    "LOOK_UP",
    "ONCE",
    "ORDERS",
    "QUESTION",
    "REFUNDS",
    "STORY",
    "TRANSFER",
    "TURNS",
    "WANT_MONEY",
]

DESK: Final = "You are the front desk of a shop."
"""The first agent's instructions."""

REFUNDS: Final = "You are the one who gives money back."
"""The second agent's."""

ASK_ORDER: Final = "Where is order seven?"
"""What the caller says first: the model calls `LOOK_UP`."""

LOOK_UP: Final = "look_up"
ORDERS: Final = {7: "shipped on Monday"}
"""What the tool knows."""

ANSWER: Final = "Your order was shipped on Monday."
"""What the model says, given the tool's output."""

WANT_MONEY: Final = "I want my money back."
"""What the caller says then: the model calls `TRANSFER`."""

TRANSFER: Final = "transfer_to_refunds"
"""The tool that hands over, named as the OpenAI Agents SDK names it."""

GREETING: Final = "Good morning, this is refunds."
"""The second agent's words. Whoever hears them has been handed over."""

STORY: Final = "Tell me a story."
"""What the caller says before all that, in speech; and interrupts the answer."""

ONCE: Final = "Once upon a time there was a shop that had everything."
"""How the story begins. It goes on for half a minute."""

LISTENS: Final = 0.8
"""Seconds of the story that the caller has patience for."""

CLIPS: Final = {STORY: "story.pcm", ASK_ORDER: "order.pcm", WANT_MONEY: "money.pcm"}
"""The caller's sentences as sound, 16 bit, 24 kHz, mono: files that `run.py` writes."""

# --- handing over, to see how long it takes ------------------------------------------

TURNS: Final = 10
"""Turns of the user, each with its answer, that the conversation holds already."""

BEFORE: Final = "You are the agent before the handoff."
AFTER: Final = "You are the agent after the handoff."
QUESTION: Final = "Who are you?"
HERE_I_AM: Final = "I am the one after the handoff."
HAND_OVER: Final = "hand_over"
"""The tool that the first of these two is asked to call, in so many words."""
