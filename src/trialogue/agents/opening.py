"""Opening a conversation for agents."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from trialogue.agents.block import owned
from trialogue.agents.recording import recorded
from trialogue.agents.session import AgentSession
from trialogue.agents.tool_settings import ToolSettings
from trialogue.audio.memory import NullOutput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from trialogue.agents.approving import ApprovalHandler
    from trialogue.agents.draining import Drain
    from trialogue.agents.guardrails import Guardrail
    from trialogue.agents.userdata import UserDataT
    from trialogue.audio.base import AudioInput, AudioOutput
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.settings import SessionSettings

__all__ = ["open_agent_session"]


@overload
def open_agent_session(
    model: RealtimeModel,
    *,
    audio: tuple[AudioInput | None, AudioOutput | None] = (None, None),
    userdata: None = None,
    on_handoff_error: Literal["restore", "raise"] = "restore",
    barge_in: Literal["provider", "client"] = "provider",
    away_after: float | None = 15.0,
    guardrails: Sequence[Guardrail] = (),
    approve: ApprovalHandler | None = None,
    approval_timeout: float = 60.0,
    tool_timeout: float | None = 60.0,
    max_tool_steps: int | None = 3,
    drain: Drain | None = None,
    **settings: Unpack[SessionSettings],
) -> AbstractAsyncContextManager[AgentSession[None]]: ...
@overload
def open_agent_session(
    model: RealtimeModel,
    *,
    audio: tuple[AudioInput | None, AudioOutput | None] = (None, None),
    userdata: UserDataT,
    on_handoff_error: Literal["restore", "raise"] = "restore",
    barge_in: Literal["provider", "client"] = "provider",
    away_after: float | None = 15.0,
    guardrails: Sequence[Guardrail] = (),
    approve: ApprovalHandler | None = None,
    approval_timeout: float = 60.0,
    tool_timeout: float | None = 60.0,
    max_tool_steps: int | None = 3,
    drain: Drain | None = None,
    **settings: Unpack[SessionSettings],
) -> AbstractAsyncContextManager[AgentSession[UserDataT]]: ...
@asynccontextmanager
async def open_agent_session(
    model: RealtimeModel,
    *,
    audio: tuple[AudioInput | None, AudioOutput | None] = (None, None),
    userdata: Any = None,
    on_handoff_error: Literal["restore", "raise"] = "restore",
    barge_in: Literal["provider", "client"] = "provider",
    away_after: float | None = 15.0,
    guardrails: Sequence[Guardrail] = (),
    approve: ApprovalHandler | None = None,
    approval_timeout: float = 60.0,
    tool_timeout: float | None = 60.0,
    max_tool_steps: int | None = 3,
    drain: Drain | None = None,
    **settings: Unpack[SessionSettings],
) -> AsyncIterator[AgentSession[Any]]:
    """Open a conversation for agents; then `await session.run(agent)`.

    The block begins when the provider's first event was read. The session owns the
    audio input and output and closes them, also where it cannot be opened. Leaving the
    block takes at most the close deadline (`Timing.close`), whatever the server does.
    Further keywords are those of `SessionSettings`.

    Args:
        audio: the microphone and the loudspeaker; None for either is silence.
        userdata: the program's own, handed to hooks and tools. The session is one of
            its type: `AgentSession[MyData]`.
        on_handoff_error: "restore" lets the previous agent go on when a handoff fails,
            "raise" makes `run` raise.
        barge_in: who stops the speech when the user speaks: the "provider", as the turn
            detection says, or the "client" where `interrupt_response` is off, which can
            spare a reply (`allow_interruptions=False`).
        away_after: seconds of silence on both sides after which the user counts as
            away (`UserStateChanged`); None for never.
        guardrails: what is checked whoever is current; see `output_guardrail`.
        approve: decides on each call of a tool with `needs_approval`: an async function
            of the context and the `ApprovalRequested`. True approves; False, or a
            `ToolError` whose text the model is told, does not. Without one, or beside
            it, `session.approve` and `session.deny` do.
        approval_timeout: seconds after which a call is refused for want of a word.
        tool_timeout: seconds that a call may take whose tool names no `timeout` and is
            not detached; the time in which it delegates is not counted. None for any.
        max_tool_steps: how many responses in a row may call tools, across handoffs;
            the calls of the next are not run, and the model is told. None for any.
        drain: may end the session, and refuse it; see `Drain`.

    Raises:
        ConfigurationError: a keyword can mean nothing; nothing was dialled.
        DrainStarted: the drain takes no new sessions; nothing was dialled.
        ConnectRefused: wrong key, unknown model, refused upgrade; not retried.
        ConnectionLost: the provider could not be reached, or was lost for good.
        ServerError: the provider ended the session (quota, account).
        SpendLimitReached: the conversation has cost what it may cost.
        ConversionError: the conversation to begin with is beyond the limits.
    """
    source, output = audio[0], audio[1] or NullOutput()
    async with owned(source, output):
        session = AgentSession(
            model,
            output,
            userdata=userdata,
            on_handoff_error=on_handoff_error,
            barge_in=barge_in,
            away_after=away_after,
            guardrails=guardrails,
            tools=ToolSettings(
                approve=approve,
                approval_timeout=approval_timeout,
                tool_timeout=tool_timeout,
                max_tool_steps=max_tool_steps,
            ),
            **settings,
        )
        holding = nullcontext() if drain is None else drain.holding(session)
        with holding as held, recorded(session):
            async with session.block.around(source):
                if held is not None:
                    held.opened = True
                yield session
