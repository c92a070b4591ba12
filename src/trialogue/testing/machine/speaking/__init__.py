"""How a server words the protocol: the machine between two translations.

The state machine knows one protocol, OpenAI's. A dialect reads a client's frame as an
event of that protocol, and says the machine's events in its own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trialogue.testing.machine.speaking.beta import Beta
from trialogue.testing.machine.speaking.openai import OpenAI
from trialogue.testing.machine.speaking.xai import XAI

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trialogue.testing.machine.host import Host
    from trialogue.testing.machine.outputs import Output, Refusal
    from trialogue.testing.script import Turn

__all__ = ["Speaking", "speaking"]

B = TypeVar("B", bound="Callable[[Turn], Any]")


class Speaking(Protocol):
    """One connection's dialect."""

    def read(
        self, text: str, supported: Collection[str], data: dict[str, Any] | None = None
    ) -> Any:
        """Return a client's frame as an event of the machine.

        Args:
            text: the frame.
            supported: the types of events that there are.
            data: the object that it holds, if it was read already.

        Raises:
            WireError: it is none of the dialect, in the dialect's own words.
        """
        ...

    def reworded(self, refusal: Refusal) -> Refusal:
        """Return a refusal of the machine in the dialect's words."""
        ...

    def brain(self, brain: B) -> B:
        """Return what the model says, where a client can say it for it."""
        ...

    def told(self, outputs: list[Output]) -> list[Output]:
        """Return what the machine sends as the dialect says it."""
        ...


def speaking(host: Host) -> Speaking:
    """Return the dialect that the settings of a connection ask for."""
    match host.settings.dialect:
        case "beta":
            return Beta(host)
        case "xai":
            return XAI(host)
    return OpenAI()
