"""Whether the user's voice stops what is said, and who sees to it.

Under turn detection with `interrupt_response` the provider cancels the reply as soon as
it hears a voice; nobody can keep a reply from that. Everywhere else the client decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.dialects.options import UNCHANGED, SemanticVAD, ServerVAD
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from trialogue.dialects.options import TurnDetection, Unchanged

__all__ = ["check_may_stay", "provider_interrupts"]


def provider_interrupts(detection: TurnDetection | Unchanged | None) -> bool:
    """Whether the provider stops a reply when it hears the user."""
    return detection is UNCHANGED or (
        isinstance(detection, ServerVAD | SemanticVAD) and detection.interrupt_response
    )


def check_may_stay(detection: TurnDetection | Unchanged | None) -> None:
    """Check that a reply can be kept from being interrupted (U4).

    Raises:
        ConfigurationError: the provider stops every reply; nothing was sent.
    """
    if provider_interrupts(detection):
        shown = "the default" if detection is UNCHANGED else type(detection).__name__
        msg = (
            "allow_interruptions=False cannot be kept: with the turn detection in "
            f"force ({shown}) the provider itself stops every reply when it hears the "
            "user. Leave that to the client, with SessionOptions(turn_detection="
            "ServerVAD(interrupt_response=False)) or turn_detection=None; with "
            'open_agent_session(barge_in="client") the voice still stops all other '
            "replies"
        )
        raise ConfigurationError(msg)
