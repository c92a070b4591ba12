"""What a scenario says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from trialogue.testing.faults import ConnectFault, Fault, Mixture
from trialogue.testing.machine import Settings
from trialogue.testing.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Scenario"]


def _tuple(faults: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(faults)


@attrs.frozen(kw_only=True)
class Scenario:
    """What a local server does, apart from what its model says.

    Attributes:
        faults: what goes wrong, one by one.
        mixtures: what goes wrong at random.
        network: how far away the server is.
        settings: what it accepts.
        seed: of its ids, and of the network's jitter.
    """

    faults: tuple[Fault | ConnectFault, ...] = attrs.field(default=(), converter=_tuple)
    mixtures: tuple[Mixture, ...] = attrs.field(default=(), converter=_tuple)
    network: Network = attrs.field(factory=Network)
    settings: Settings = attrs.field(factory=Settings)
    seed: int = 0

    def options(self) -> dict[str, Any]:
        """Return it as arguments of `RealtimeServer` and `open_realtime_server`."""
        return {
            "faults": (*self.faults, *self.mixtures),
            "network": self.network,
            "settings": self.settings,
            "seed": self.seed,
        }
