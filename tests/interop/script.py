"""What the local server's model does: `python -m trialogue serve --script FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Loaded by its path, and beside no package of its own.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from interop.cast import (
    AFTER,
    ANSWER,
    ASK_ORDER,
    BEFORE,
    CLIPS,
    DESK,
    GREETING,
    HAND_OVER,
    HERE_I_AM,
    LOOK_UP,
    ONCE,
    ORDERS,
    REFUNDS,
    STORY,
    TRANSFER,
    WANT_MONEY,
)
from trialogue.testing import Call, Rule, Rules, Say

if TYPE_CHECKING:
    from trialogue.testing import Brain, Utterances

__all__ = ["make_brain"]

_RULES = Rules.of(
    Rule(Say(ONCE, ms=30_000), agent=DESK, user=STORY),
    Rule(Call(LOOK_UP, {"order": 7}), agent=DESK, user=ASK_ORDER),
    Rule(Say(ANSWER, ms=400), agent=DESK, output=ORDERS[7]),
    Rule(Call(TRANSFER), agent=DESK, user=WANT_MONEY),
    Rule(Say(GREETING, ms=400), agent=REFUNDS),
    Rule(Call(HAND_OVER), agent=BEFORE),
    Rule(Say(HERE_I_AM, ms=200), agent=AFTER),
    default=lambda turn: "I do not know what you mean.",
)


def make_brain(utterances: Utterances) -> Brain:
    """Return the rules; the server knows the caller's sentences by their sound."""
    for sentence in CLIPS:
        utterances.say(sentence)
    return _RULES
