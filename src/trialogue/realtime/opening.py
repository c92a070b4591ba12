"""Opening a session: its supervisor around a block, and an end whatever happens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Unpack

import trio

from trialogue.dialects.commands import UpdateSession
from trialogue.realtime.configuration import Configuration
from trialogue.realtime.session import RealtimeSession
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialogue.dialects.options import SessionOptions
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.settings import SessionSettings
    from trialogue.tools.spec import ToolSpec

__all__ = ["open_session", "running_session"]


@asynccontextmanager
async def running_session(session: RealtimeSession) -> AsyncIterator[RealtimeSession]:
    """Run a session's supervisor around a block, and see the session out after it.

    Raises:
        TrialogueError: the session failed for good; what its block raised is its
            context.
    """
    try:
        with single():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.supervisor.run)
                try:
                    with session.body:
                        await session.changed.until(
                            lambda: session.connection is not None or session.failure
                        )
                        await trio.lowlevel.checkpoint_if_cancelled()
                        session.meter.begin()
                        nursery.start_soon(session.spending.watch)
                        yield session
                finally:
                    session.close()
                    nursery.cancel_scope.cancel(reason="the session block was left")
    except Exception as error:
        if session.failure is not None and error is not session.failure:
            raise session.failure from error
        raise
    if session.failure is not None:
        raise session.failure


@asynccontextmanager
async def open_session(
    model: RealtimeModel,
    *,
    instructions: str = "",
    tools: Sequence[ToolSpec] = (),
    options: SessionOptions | None = None,
    listener: Listener | None = None,
    **settings: Unpack[SessionSettings],
) -> AsyncIterator[RealtimeSession]:
    """Hold a conversation with a realtime model, without agents.

    The block begins when the provider's first event was read. Leaving it takes at most
    the close deadline (`Timing.close`), also when the server never answers. Further
    keywords are those of `SessionSettings`.

    Args:
        instructions: what the model is told to be.
        tools: the functions it may call; see `RealtimeSession.open_reply` for how a
            program without agents runs them.
        options: on top of the model's own.
        listener: is told, synchronously, what the session hears and does.

    Raises:
        ConversionError: an option is out of the provider's range or has no form in its
            protocol, or instructions, tools or conversation are beyond the limits;
            nothing was dialled.
        ConfigurationError: there is no key, or what gives it returned none.
        ConnectRefused: wrong key, unknown model, refused upgrade; not retried.
        ConnectionLost: the provider could not be reached, or was lost for good.
        ServerError: the provider ended the session (quota, account).
        SpendLimitReached: the conversation has cost what it may cost.
    """
    session = RealtimeSession(model, listener=listener, **settings)
    base = model.options if options is None else model.options.merged(options)
    first = UpdateSession(instructions, tuple(tools), base)
    session.limits.check(first)
    model.dialect().encode(first, event_id="prepare")  # fails here, not once connected
    session.supervisor.wanted = Configuration(model, instructions, tuple(tools), base)
    async with running_session(session):
        yield session
