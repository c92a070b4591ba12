"""The faults of a server, and how far each has counted."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from trialogue.testing.faults.actions import Action, FailResponse
from trialogue.testing.faults.fault import ConnectFault, Fault
from trialogue.testing.faults.mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["AnyFault", "FaultPlan"]

AnyFault: TypeAlias = Fault | ConnectFault | Mixture


@attrs.define
class _Planned:
    """A fault, and how many it has counted."""

    fault: Fault
    count: int = 0
    passed: set[int] = attrs.field(factory=set)

    def counts(self) -> bool:
        """Count one more; whether it happens there."""
        self.count += 1
        return self.fault.strikes(self.count)


class FaultPlan:
    """The faults of a server, and how far each has counted."""

    def __init__(self, faults: Iterable[AnyFault] = ()) -> None:
        self._of_frames: list[_Planned] = []
        self._of_ages: list[_Planned] = []
        self._of_responses: list[_Planned] = []
        self._of_connecting: list[tuple[ConnectFault, list[int]]] = []
        self._mixtures: list[Mixture] = []
        self._frames: Counter[tuple[int, str]] = Counter()
        self._dials = 0
        self.add(*faults)

    def add(self, *faults: AnyFault) -> None:
        """Plan more; each counts from now on, a mixture from the beginning."""
        for fault in faults:
            match fault:
                case ConnectFault():
                    self._of_connecting.append((fault, [0]))
                case Mixture():
                    self._mixtures.append(fault)
                case Fault(action=FailResponse()):
                    self._of_responses.append(_Planned(fault))
                case Fault(at=None):
                    self._of_frames.append(_Planned(fault))
                case Fault():
                    self._of_ages.append(_Planned(fault))

    def at_frame(self, event: Mapping[str, Any], connection: int) -> list[Action]:
        """Return what happens to this frame."""
        if not (self._of_frames or self._mixtures):
            return []  # so it is of most servers, for each of their frames
        actions = [
            planned.fault.action
            for planned in tuple(self._of_frames)
            if planned.fault.matches(event, connection)
            and _happens(planned, self._of_frames)
        ]
        if self._mixtures:
            kind = str(event.get("type", ""))
            self._frames[connection, kind] += 1
            nth = self._frames[connection, kind]
            mixed = (one.at_frame(kind, connection, nth) for one in self._mixtures)
            actions += [action for action in mixed if action is not None]
        return actions

    def at_response(self, connection: int) -> FailResponse | None:
        """Return how the response that begins on this connection fails, or None."""
        failures = [
            planned.fault.action
            for planned in tuple(self._of_responses)
            if planned.fault.concerns(connection)
            and _happens(planned, self._of_responses)
        ]
        return next((one for one in failures if isinstance(one, FailResponse)), None)

    def next_age(self, connection: int) -> float:
        """Return the age at which something goes wrong on it next, or infinity."""
        return min(
            (one.fault.at or 0.0 for one in self._waiting(connection)), default=inf
        )

    def at_age(self, age: float, connection: int) -> list[Action]:
        """Return what happens to a connection of that age; each thing once."""
        actions = []
        for planned in self._waiting(connection):
            if (planned.fault.at or 0.0) <= age:
                planned.passed.add(connection)
                if _happens(planned, self._of_ages):
                    actions.append(planned.fault.action)
        return actions

    def _waiting(self, connection: int) -> list[_Planned]:
        return [
            planned
            for planned in self._of_ages
            if planned.fault.concerns(connection) and connection not in planned.passed
        ]

    def at_connect(self) -> ConnectFault | None:
        """Return how this attempt to connect fails, or None.

        Faults of connecting take their turns: the next begins to count when the one
        before it is used up.
        """
        self._dials += 1
        while self._of_connecting:
            fault, count = self._of_connecting[0]
            count[0] += 1
            if count[0] <= fault.skip:
                return None
            if count[0] <= fault.skip + fault.times:
                return fault
            self._of_connecting.pop(0)
        mixed = (one.at_connect(self._dials) for one in self._mixtures)
        return next((one for one in mixed if one is not None), None)


def _happens(planned: _Planned, among: list[_Planned]) -> bool:
    """Count; whether it happens now. What is spent is taken out."""
    happens = planned.counts()
    if planned.fault.is_spent(planned.count):
        among.remove(planned)
    return happens
