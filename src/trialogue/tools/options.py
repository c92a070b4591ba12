"""How calls of a tool are run, as its author asks."""

from __future__ import annotations

import math
from typing import Literal, get_args

import attrs

from trialogue.errors import ConfigurationError

__all__ = ["OnHandoff", "OnInterrupt", "Reply", "ToolOptions", "check_options"]

OnInterrupt = Literal["keep", "cancel"]
OnHandoff = Literal["cancel", "finish", "detach"]
Reply = Literal["auto", "none", "required"]


@attrs.frozen
class ToolOptions:
    """How calls of a tool are run.

    Attributes:
        timeout: seconds that a call may take, or None for no limit of its own.
        on_interrupt: whether a call goes on ("keep") or is cancelled when the user
            interrupts the reply that it belongs to.
        on_handoff: what becomes of a call that still runs when its agent hands off:
            cancelled, awaited for a bounded time, or moved to the session's scope.
        reply: whether the model is asked to speak after the result: as usual
            ("auto"), never, or always.
    """

    timeout: float | None = None
    on_interrupt: OnInterrupt = "keep"
    on_handoff: OnHandoff = "cancel"
    reply: Reply = "auto"


def check_options(name: str, options: ToolOptions) -> None:
    """Raise ConfigurationError, naming the tool, for an option out of range."""
    seconds = options.timeout
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise ConfigurationError(
            f"tool {name!r}: timeout={seconds!r} is not a number of seconds above 0; "
            "for no limit leave it out"
        )
    for option, kind in (
        ("on_interrupt", OnInterrupt),
        ("on_handoff", OnHandoff),
        ("reply", Reply),
    ):
        value, known = getattr(options, option), get_args(kind)
        if value not in known:
            choices = ", ".join(map(repr, known))
            raise ConfigurationError(
                f"tool {name!r}: {option}={value!r} is not one of {choices}"
            )
