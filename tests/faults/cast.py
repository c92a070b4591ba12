"""Who talks about what in the fault matrix: one conversation, the same for all.

The programs of other projects import it, in environments of their own.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from trialogue.testing.speech import voice
from trialogue.testing.watermark import config_hash, embed

__all__ = [
    "CLIP_MS",
    "COMPLAINTS",
    "DESK",
    "FRAME_BYTES",
    "FRAME_MS",
    "MICROPHONE",
    "PROMPTS",
    "REFUNDS",
    "SENTENCES",
    "SLOW_SECONDS",
    "THREAD_SECONDS",
    "clip",
    "known_by",
    "who",
]

DESK: Final = "You are the front desk of a shop."
REFUNDS: Final = "You are the one who gives money back."
COMPLAINTS: Final = "You are the one who hears complaints."
PROMPTS: Final = {"desk": DESK, "refunds": REFUNDS, "complaints": COMPLAINTS}
"""The instructions of each agent, by its name."""

SENTENCES: Final = {
    "hello": "Good morning.",
    "money": "I want my money back.",
    "question": "When will it be here?",
    "wait": "Wait, one more thing.",
}
"""What the caller can say. At "money" the desk's model hands over to refunds."""

CLIP_MS: Final = 400
"""How long each sentence is."""

SLOW_SECONDS: Final = 2.0
"""How long the slow tool takes before it hands over."""

THREAD_SECONDS: Final = 4.0
"""How long the tool works on, in its thread, that heeds no cancellation."""

MICROPHONE: Final = config_hash("the caller's microphone", ())
"""Marks the caller's sound, silence included: each 10 ms says its number."""

FRAME_MS: Final = 20
"""What the microphone gives at once: two marks."""

FRAME_BYTES: Final = 48 * FRAME_MS


@cache
def clip(name: str) -> bytes:
    """Return the sound of a sentence, without marks."""
    return voice(SENTENCES[name], CLIP_MS)


def known_by(name: str) -> bytes:
    """Return the sound of a sentence as the server is to know it: with some marks.

    It is found by the beginnings of its marks, which are all alike.
    """
    return embed(clip(name), MICROPHONE)


def who(instructions: str) -> str | None:
    """Return the agent whom instructions make of the model."""
    found = (name for name, prompt in PROMPTS.items() if prompt in instructions)
    return next(found, None)
