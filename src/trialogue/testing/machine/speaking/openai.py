"""OpenAI's own manner: the machine's events as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from trialogue.dialects.openai.wire import (
    UnknownServerEvent,
    WireError,
    or_none,
    unstructure,
)
from trialogue.testing.machine.outputs import Hangup
from trialogue.testing.machine.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from trialogue.testing.machine.outputs import Output, Refusal
    from trialogue.testing.script import Turn

__all__ = ["OpenAI", "own", "retold"]

B = TypeVar("B", bound="Callable[[Turn], Any]")


def own(as_asked: Callable[[Any], Any], event: Any) -> Any:
    """Return what a dialect's event asks of the machine.

    Raises:
        WireError: nothing that is allowed; it names the event.
    """
    try:
        return as_asked(event)
    except WireError as wrong:
        wrong.event_id = or_none(event.event_id)
        raise


def retold(
    outputs: list[Output], say: Callable[[dict[str, Any]], Iterable[dict[str, Any]]]
) -> list[Output]:
    """Return what the machine sends in a dialect: for each event none, one or more."""
    said: list[Output] = []
    for output in outputs:
        if isinstance(output, Hangup):
            said.append(output)
        else:
            said += (
                UnknownServerEvent(event["type"], event)
                for event in say(dict(unstructure(output)))
            )
    return said


class OpenAI:
    """Says everything as the machine does."""

    def read(
        self, text: str, supported: Collection[str], data: dict[str, Any] | None = None
    ) -> Any:
        """See `Speaking`."""
        return parse(text, supported, data=data)

    def reworded(self, refusal: Refusal) -> Refusal:
        """See `Speaking`."""
        return refusal

    def brain(self, brain: B) -> B:
        """See `Speaking`."""
        return brain

    def told(self, outputs: list[Output]) -> list[Output]:
        """See `Speaking`."""
        return outputs
