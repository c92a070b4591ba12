"""What a session allows the tools of all its agents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from trialogue.agents.approving import ApprovalHandler

__all__ = ["ToolSettings"]


@attrs.frozen(kw_only=True)
class ToolSettings:
    """What a session allows the tools of all its agents; see `open_agent_session`.

    Raises:
        ConfigurationError: one of them can mean nothing.
    """

    max_tool_steps: int | None = 3
    tool_timeout: float | None = 60.0
    approve: ApprovalHandler | None = None
    approval_timeout: float = 60.0

    def __attrs_post_init__(self) -> None:
        steps: Any = self.max_tool_steps
        handler: Any = self.approve
        whole = isinstance(steps, int) and not isinstance(steps, bool)
        if steps is not None and not (whole and steps > 0):
            msg = (
                f"max_tool_steps={steps!r}: give a number above 0, or None for no limit"
            )
            raise ConfigurationError(msg)
        if self.tool_timeout is not None and not self.tool_timeout > 0:
            msg = f"tool_timeout={self.tool_timeout!r}: give seconds, or None for never"
            raise ConfigurationError(msg)
        wait = self.approval_timeout
        if not (wait > 0 and math.isfinite(wait)):
            msg = (
                f"approval_timeout={wait!r}: give seconds after which a call is refused"
            )
            raise ConfigurationError(msg)
        if handler is not None and not callable(handler):
            msg = (
                f"approve={handler!r}: give an async function of the context and the "
                "request that returns True or False"
            )
            raise ConfigurationError(msg)

    @property
    def limit(self) -> float:
        """Seconds that a call may take whose tool does not say."""
        return math.inf if self.tool_timeout is None else self.tool_timeout
