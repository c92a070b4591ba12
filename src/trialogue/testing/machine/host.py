"""What the parts of a connection's state machine share: its outputs and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trialogue.dialects.openai.wire import UnknownServerEvent, unstructure
from trialogue.dialects.openai.wire.error import ErrorDetails
from trialogue.dialects.openai.wire.server_events import ErrorEvent
from trialogue.testing.machine.agenda import Agenda
from trialogue.testing.machine.conversation import Conversation
from trialogue.testing.machine.outputs import Hangup, Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.testing.machine.ids import Ids
    from trialogue.testing.machine.settings import Settings

__all__ = ["Host"]


class Host:
    """The outbox, clock, agenda, ids and conversation of one connection."""

    def __init__(
        self, settings: Settings, ids: Ids, next_mark: Callable[[], int]
    ) -> None:
        self.settings = settings
        self.ids = ids
        self.next_mark = next_mark
        self.agenda = Agenda()
        self.conversation = Conversation(ids.new("conv"))
        self.now = 0.0
        self._outputs: list[Output] = []

    def take(self) -> list[Output]:
        """Return what is to be sent, and forget it."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def emit(self, cls: Callable[..., Any], **fields: Any) -> None:
        """Send an event, with an id of its own."""
        self._outputs.append(cls(event_id=self.ids.new("event"), **fields))

    def emit_with(
        self, extra: dict[str, Any], cls: Callable[..., Any], **fields: Any
    ) -> None:
        """Send an event with more fields than its class knows."""
        event = cls(event_id=self.ids.new("event"), **fields)
        data = {**unstructure(event), **extra}
        self._outputs.append(UnknownServerEvent(type=event.type, data=data))

    def emit_raw(self, kind: str, **fields: Any) -> None:
        """Send an event of any type."""
        data = {"type": kind, "event_id": self.ids.new("event"), **fields}
        self._outputs.append(UnknownServerEvent(type=kind, data=data))

    def hang_up(self, code: int, reason: str) -> None:
        """Close the connection behind everything sent so far."""
        self._outputs.append(Hangup(code, reason))

    def error(
        self,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        event_id: str | None = None,
    ) -> None:
        """Send an `error` event."""
        kind = code if code == "server_error" else "invalid_request_error"
        details = ErrorDetails(
            type=kind, code=code, message=message, param=param, event_id=event_id
        )
        self.emit(ErrorEvent, error=details)

    def after(self, ms: float, act: Callable[[], None]) -> None:
        """Do something that many milliseconds from now."""
        self.agenda.at(self.now + ms / 1000, act)
