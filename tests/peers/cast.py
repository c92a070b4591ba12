"""What is said in the conversations, and how the server is told what to do.

Standard library only: the contestants' programs and the server import it.
"""

from __future__ import annotations

__all__ = [
    "AFTER",
    "BEFORE",
    "FRAME",
    "HAND_OVER",
    "HERE_I_AM",
    "MODES",
    "RATE",
    "STILL_ME",
    "TURNS",
]

RATE = 24_000
"""Samples a second, 16 bit, one channel, in both directions."""
FRAME = bytes(range(240)) * 4
"""20 ms of a microphone."""

TURNS = 10
"""Turns of the user, each with its answer, that a conversation holds already."""
BEFORE = "You are the agent before the handoff."
AFTER = "You are the agent after the handoff."
HAND_OVER = "Hand over now."
"""What the user says, so that the model calls the tool that hands over."""
HERE_I_AM = "I am the one after the handoff."
"""What the model says under the instructions `AFTER`."""
STILL_ME = "I am the one before the handoff."
"""What it says under any other."""

MODES = ("reuse copied", "reuse empty", "fresh copied", "fresh empty")
