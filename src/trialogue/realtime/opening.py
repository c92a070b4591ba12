"""Opening a session: its supervisor around a block, and an end whatever happens."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trialogue.dialects.commands import UpdateSession
from trialogue.realtime.configuration import Configuration
from trialogue.realtime.session import RealtimeSession
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from trialogue.conversation.context import ChatContext
    from trialogue.dialects.options import SessionOptions
    from trialogue.realtime.backoff import Backoff
    from trialogue.realtime.connection import Timing
    from trialogue.realtime.history import History
    from trialogue.realtime.limits import Limits
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.spending import SpendLimit
    from trialogue.realtime.wirelog import WireLog
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
    chat_ctx: ChatContext | None = None,
    listener: Listener | None = None,
    timing: Timing | None = None,
    backoff: Backoff | None = None,
    history: History | None = None,
    seed: int | None = None,
    standby: bool = False,
    wall: Callable[[], float] = time.time,
    limits: Limits | None = None,
    spend_limit: SpendLimit | None = None,
    wire_log: WireLog | None = None,
) -> AsyncIterator[RealtimeSession]:
    """Hold a conversation with a realtime model, without agents.

    The block begins when the provider's first event was read. Leaving it takes at most
    the close deadline (`Timing.close`), also when the server never answers. With a
    `seed` the same script sends the same frames. With `standby` a second connection is
    kept open, so that a fresh one costs no dialling. `wall` is the clock of the
    provider's `expires_at`, in seconds since 1970.

    `limits` bounds the sizes of what is sent, received and held, `history` how much of
    the conversation is kept and told again; `spend_limit` what it may cost; `wire_log`
    writes every frame to the log, redacted.

    Raises:
        ConversionError: an option is out of the provider's range or has no form in its
            protocol, or instructions, tools or conversation are beyond the limits;
            nothing was dialled.
        ConnectRefused: wrong key, unknown model, refused upgrade; not retried.
        ConnectionLost: the provider could not be reached, or was lost for good.
        ServerError: the provider ended the session (quota, account).
        SpendLimitReached: the conversation has cost what it may cost.
    """
    session = RealtimeSession(
        model,
        chat_ctx=chat_ctx,
        listener=listener,
        timing=timing,
        backoff=backoff,
        history=history,
        seed=seed,
        standby=standby,
        wall=wall,
        limits=limits,
        spend_limit=spend_limit,
        wire_log=wire_log,
    )
    base = model.options if options is None else model.options.merged(options)
    first = UpdateSession(instructions, tuple(tools), base)
    session.limits.check(first)
    model.dialect().encode(first, event_id="prepare")  # fails here, not once connected
    session.supervisor.wanted = Configuration(model, instructions, tuple(tools), base)
    async with running_session(session):
        yield session
