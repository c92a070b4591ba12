"""What the local server's model does: `python -m trialogue serve --script script.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Loaded by its path, and beside no package of its own.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from interop.cast import (
    ANSWER,
    ASK_ORDER,
    DESK,
    GREETING,
    LOOK_UP,
    ORDERS,
    REFUNDS,
    TRANSFER,
    WANT_MONEY,
)

from trialogue.testing import Call, Rule, Rules, Say

if TYPE_CHECKING:
    from trialogue.testing import Brain, Utterances

__all__ = ["make_brain"]

_RULES = Rules.of(
    Rule(Call(LOOK_UP, {"order": 7}), agent=DESK, user=ASK_ORDER),
    Rule(Say(ANSWER, ms=400), agent=DESK, output=ORDERS[7]),
    Rule(Call(TRANSFER), agent=DESK, user=WANT_MONEY),
    Rule(Say(GREETING, ms=400), agent=REFUNDS),
    default=lambda turn: "I do not know what you mean.",
)


def make_brain(utterances: Utterances) -> Brain:
    """Return the rules, and let the server know the caller's sentences by their sound."""
    for sentence in (ASK_ORDER, WANT_MONEY):
        utterances.say(sentence)
    return _RULES
