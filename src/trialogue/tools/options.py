"""How calls of a tool are run, as its author asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias, get_args

import attrs

from trialogue.errors import ConfigurationError

__all__ = [
    "NeedsApproval",
    "OnHandoff",
    "OnInterrupt",
    "Reply",
    "ToolOptions",
    "check_options",
]

OnInterrupt = Literal["keep", "cancel"]
OnHandoff = Literal["cancel", "finish", "detach"]
Reply = Literal["auto", "none", "required"]
NeedsApproval: TypeAlias = (
    bool | Callable[[Any, dict[str, Any]], bool | Awaitable[bool]]
)
"""Whether a call waits for approval; a function is given the context and arguments."""


@attrs.frozen
class ToolOptions:
    """How calls of a tool are run.

    Attributes:
        timeout: seconds that a call may take; None for what the session allows
            (`tool_timeout`), `math.inf` for no limit.
        on_interrupt: whether a call goes on ("keep") or is cancelled when the user
            interrupts the reply that it belongs to.
        on_handoff: what becomes of a call that still runs when its agent hands off:
            cancelled, awaited for a bounded time, or moved to the session's scope.
        reply: whether the model is asked to speak after the result: as usual ("auto"),
            never ("none"), or always ("required"), also after a `NoReply` and although
            the user has been answered meanwhile. One reply answers all calls of a
            response, if any of them asks for it.
        needs_approval: a call is not run before somebody has approved it. A function,
            async or not, is given the context and the arguments and says whether this
            call is one of those.
    """

    timeout: float | None = None
    on_interrupt: OnInterrupt = "keep"
    on_handoff: OnHandoff = "cancel"
    reply: Reply = "auto"
    needs_approval: NeedsApproval = False


def check_options(name: str, options: ToolOptions) -> None:
    """Raise ConfigurationError, naming the tool, for an option out of range."""
    seconds = options.timeout
    if seconds is not None and not seconds > 0:
        raise ConfigurationError(
            f"tool {name!r}: timeout={seconds!r} is not a number of seconds above 0; "
            "for the session's own limit leave it out, for none give math.inf"
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
    needs = options.needs_approval
    if not (isinstance(needs, bool) or callable(needs)):
        raise ConfigurationError(
            f"tool {name!r}: needs_approval={needs!r} is neither a bool nor a function "
            "of the context and the arguments"
        )
