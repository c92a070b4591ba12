"""Which model to talk to, and how to reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    import trio

    from trialogue.dialects.dialect import Capabilities, Dialect
    from trialogue.dialects.options import SessionOptions
    from trialogue.realtime.link import Link

__all__ = ["RealtimeModel"]


class RealtimeModel(Protocol):
    """A model of some provider, as a value: two equal models can share a session."""

    @property
    def name(self) -> str:
        """The provider's name for it."""
        ...

    @property
    def options(self) -> SessionOptions:
        """The session options every conversation with it begins with."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def dialect(self) -> Dialect:
        """Return a fresh translator for one connection."""
        ...

    def open_link(
        self,
        *,
        connect_timeout: float,
        close_timeout: float,
        drain: Callable[[], Awaitable[None]] | None = None,
        max_message_size: int = 16 * 2**20,
    ) -> AbstractAsyncContextManager[tuple[Link, trio.Nursery]]:
        """Open a connection up to the point where frames can be exchanged.

        `drain` is awaited first when the block is left, inside `close_timeout`. A
        message of more than `max_message_size` characters ends the link.

        Raises:
            ConnectRefused: trying again would not help.
            ConnectionLost: it may.
        """
        ...
