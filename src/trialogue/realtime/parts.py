"""What the modules of a session see of one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trialogue.conversation.changes import Change
    from trialogue.conversation.record import Record
    from trialogue.errors import TrialogueError
    from trialogue.realtime.bounding import Bounding
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.listening import Listening
    from trialogue.realtime.logbook import Logbook
    from trialogue.realtime.metrics import Meter
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.replying import Replying
    from trialogue.realtime.supervisor import Supervisor

__all__ = ["SessionParts"]


class SessionParts(Protocol):
    """The session as its intake sees it."""

    record: Record
    listening: Listening
    listener: Listener
    replying: Replying
    meter: Meter
    logbook: Logbook
    bounding: Bounding
    supervisor: Supervisor

    @property
    def connection(self) -> Connection | None: ...

    @property
    def wanted(self) -> Configuration | None: ...

    def publish(self, event: object) -> None: ...

    def tell(self, change: Change) -> None: ...

    def fail(self, error: TrialogueError) -> None: ...

    def new_connection(self, generation: int, model: RealtimeModel) -> Connection: ...

    def turns_are_automatic(self) -> bool: ...

    def speech_interrupts(self) -> bool: ...
