"""What a test is told of a model under script: its calls and its replies, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trialogue.realtime.replies import Outcome
from trialogue.testing.script import Turn

__all__ = ["ModelReply", "ToolCall"]


@attrs.frozen
class ToolCall:
    """A call of a tool, as the model made it and as it was answered.

    Attributes:
        agent: for whom it ran.
        tool: the name of the tool.
        arguments: as the model gave them, parsed; empty if they are no JSON object.
        ran: the tool was run; it was not if it is unknown, or the arguments are wrong.
        outcome: as in `ToolFinished`: "Returned", "Failed", "Crashed", …; None while it
            runs.
        output: what the model was told; None while it runs.
        seconds: how long the tool ran; None if it did not, or still does.
        error: what it raised, if that was no `ToolError`.
        raw: the arguments as the model wrote them.
        call_id: the provider's name for the call.
    """

    agent: str | None
    tool: str
    arguments: Mapping[str, Any]
    ran: bool
    outcome: str | None = None
    output: str | None = None
    seconds: float | None = None
    error: BaseException | None = None
    raw: str = attrs.field(default="", repr=False)
    call_id: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in self.arguments.items())
        if not self.arguments and self.raw.strip() not in ("", "{}"):
            given = self.raw
        end = "is running" if self.outcome is None else f"{self.outcome}: {self.output}"
        return f"{self.tool}({given}) -> {end}"


@attrs.frozen
class ModelReply:
    """One response of the model, and what it was made of.

    Attributes:
        agent: who answers for it.
        text: what was said or written, as far as it was made, heard or not.
        outcome: "completed", "interrupted", "incomplete" or "lost"; None while it is
            made. Speech that was made at once and is cut while it is played was
            "completed"; `cut` says so.
        heard_ms: how much of its sound was played; 0 of what is written.
        cut: it was stopped before its end was heard or read.
        prompt: all that the model was given for it: instructions, tools, items.
        response_id: the provider's name for it.
    """

    agent: str | None
    text: str
    outcome: Outcome | None
    heard_ms: int
    cut: bool
    prompt: Turn = attrs.field(repr=False)
    response_id: str = attrs.field(default="", repr=False)

    @property
    def instructions(self) -> str:
        """The instructions that it was made under, its own or the session's."""
        return self.prompt.instructions

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools that the model had."""
        return self.prompt.tools
