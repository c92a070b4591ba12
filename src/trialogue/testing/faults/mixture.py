"""Random faults from a seed: the same seed, the same faults on the same frames.

What happens to a frame depends on nothing but the seed, the connection's index, the
frame's type, and how many of that type came before it on this connection. So a run that
takes another course in one place keeps its faults in all others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any, Final, TypedDict, Unpack

import attrs

from trialogue.dialects.openai.wire import CLIENT_EVENTS
from trialogue.errors import ConfigurationError
from trialogue.testing.faults.actions import (
    Action,
    Close,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Expire,
    Garbage,
    HalfOpen,
    Hold,
    Reject,
    Silence,
    Stall,
)
from trialogue.testing.faults.broken_frames import BROKEN_FRAMES
from trialogue.testing.faults.checks import not_negative
from trialogue.testing.faults.fault import ConnectFault
from trialogue.testing.faults.wording import EXPIRED

__all__ = ["CONNECT_RATES", "FRAME_RATES", "Mixture", "Rates", "mixture"]

SPARED: Final = frozenset({"input_audio_buffer.append"})
_MOST_BYTES: Final = 40
_MOST_HELD: Final = 3


class Rates(TypedDict, total=False):
    """How often each thing goes wrong: of all frames, or attempts to connect."""

    drop: float
    late: float
    hold: float
    duplicate: float
    reject: float
    garbage: float
    close: float
    expire: float
    cut: float
    silence: float
    stall: float
    half_open: float
    refuse_connect: float
    refuse_upgrade: float
    silent_connect: float
    slow_accept: float


@attrs.frozen
class _Frame:
    """What is asked to go wrong: where, and with how much patience."""

    rng: Random
    incoming: bool
    seconds: float

    def before(self) -> bool:
        return self.rng.random() < 0.5

    def wait(self) -> float:
        return self.rng.uniform(0, self.seconds)

    def part(self, before: bool) -> int:
        """How much of an answer is sent: a part of it only where it is not whole."""
        return 0 if self.incoming or not before else self.rng.randint(0, _MOST_BYTES)


def _rejected(frame: _Frame) -> Action | None:
    code = frame.rng.choice(("server_error", "invalid_value", None))
    null_id = frame.rng.random() < 0.5
    if not frame.incoming:
        return None
    return Reject(code, f"The request was rejected ({code}).", null_id)


def _closed(frame: _Frame) -> Action:
    code, before = frame.rng.choice((1000, 1001, 1008, 1011, 1012)), frame.before()
    return Close(code, "by chance", before, frame.part(before))


def _cut(frame: _Frame) -> Action:
    before = frame.before()
    return Cut(before, frame.part(before))


def _stalled(frame: _Frame) -> Action:
    return Stall(frame.wait(), frame.rng.choice(("reads", "writes", "both")))


_MAKE: Final[Mapping[str, Callable[[_Frame], Action | None]]] = {
    "drop": lambda frame: Drop(),
    "late": lambda frame: Delay(frame.wait()),
    "hold": lambda frame: Hold(frame.rng.randint(1, _MOST_HELD)),
    "duplicate": lambda frame: Duplicate(),
    "reject": _rejected,
    "garbage": lambda frame: Garbage(
        frame.rng.choice(tuple(BROKEN_FRAMES)), frame.before()
    ),
    "close": _closed,
    "expire": lambda frame: Expire(EXPIRED, frame.before()),
    "cut": _cut,
    "silence": lambda frame: Silence(frame.before(), frame.before()),
    "stall": _stalled,
    "half_open": lambda frame: HalfOpen(frame.before()),
}
FRAME_RATES: Final = tuple(_MAKE)

_CONNECT: Final[Mapping[str, Callable[[Random, float], ConnectFault]]] = {
    "refuse_connect": lambda rng, seconds: ConnectFault("refuse"),
    "refuse_upgrade": lambda rng, seconds: ConnectFault(rng.choice((429, 500, 503))),
    "silent_connect": lambda rng, seconds: ConnectFault("silent"),
    "slow_accept": lambda rng, seconds: ConnectFault(
        "slow", seconds=rng.uniform(0, seconds)
    ),
}
CONNECT_RATES: Final = tuple(_CONNECT)


def _known_rates(
    mixture: object, field: attrs.Attribute[Any], rates: Mapping[str, float]
) -> None:
    for name, rate in rates.items():
        if name not in _MAKE and name not in _CONNECT:
            known = ", ".join((*_MAKE, *_CONNECT))
            raise ConfigurationError(f"there is no rate {name}; there are {known}")
        if not 0 <= rate <= 1:
            raise ConfigurationError(f"{name} is a rate from 0 to 1, not {rate!r}")
    for names in (FRAME_RATES, CONNECT_RATES):
        total = sum(rates.get(name, 0.0) for name in names)
        if total > 1 + 1e-9:
            msg = f"the rates {', '.join(names)} come to at most 1, not {total:g}"
            raise ConfigurationError(msg)


@attrs.frozen
class Mixture:
    """Faults at random, by rates; made by `mixture`.

    Attributes:
        seed: decides where they strike.
        rates: how often each happens, by name.
        seconds: the longest time that a frame is late, that a stall takes, or the slow
            answer to an upgrade.
        events: the types of frames that are hit; None are all but the spared ones.
        spare: the types of frames that are not hit.
        connections: how many are hit, of all that are accepted and of all that are
            dialled, from the first; None are all.
    """

    seed: int
    rates: Mapping[str, float] = attrs.field(validator=_known_rates)
    seconds: float = attrs.field(default=5.0, validator=not_negative)
    events: frozenset[str] | None = None
    spare: frozenset[str] = SPARED
    connections: int | None = attrs.field(default=None, validator=not_negative)

    def at_frame(self, kind: str, connection: int, nth: int) -> Action | None:
        """Return what happens to the nth frame of that type on a connection."""
        beyond = self.connections is not None and connection >= self.connections
        wanted = self.events is None or kind in self.events
        if beyond or not wanted or kind in self.spare:
            return None
        rng = Random(f"{self.seed}/{connection}/{kind}/{nth}")
        name = self._drawn(rng, FRAME_RATES)
        if name is None:
            return None
        return _MAKE[name](_Frame(rng, kind in CLIENT_EVENTS, self.seconds))

    def at_connect(self, dial: int) -> ConnectFault | None:
        """Return how the attempt to connect of that number, from 1, fails."""
        if self.connections is not None and dial > self.connections:
            return None
        rng = Random(f"{self.seed}/dial/{dial}")
        name = self._drawn(rng, CONNECT_RATES)
        return None if name is None else _CONNECT[name](rng, self.seconds)

    def _drawn(self, rng: Random, names: Collection[str]) -> str | None:
        left = rng.random()
        for name in names:
            left -= self.rates.get(name, 0.0)
            if left < 0:
                return name
        return None


def mixture(
    seed: int,
    *,
    seconds: float = 5.0,
    events: Collection[str] | None = None,
    spare: Collection[str] = SPARED,
    connections: int | None = None,
    **rates: Unpack[Rates],
) -> Mixture:
    """Faults at random: the same seed, the same faults on the same frames.

    A frame is known by its connection, its type, and how many of that type came before
    it there; an attempt to connect by its number. To each at most one thing happens. A
    rate of 0.02 is one frame in fifty.

    Args:
        seed: decides where they strike.
        seconds: the longest time that a frame is late, that a stall takes, or the slow
            answer to an upgrade.
        events: the types of frames that are hit; None are all but the spared ones.
        spare: the types of frames that are not hit: input audio, if not said otherwise.
        connections: how many are hit, of all that are accepted and of all that are
            dialled, from the first, so that a program gets through in the end; None are
            all.
        rates: of frames either way drop, late, hold, duplicate, garbage, close, expire,
            cut, silence, stall, half_open, and of requests reject; of attempts to
            connect refuse_connect, refuse_upgrade, silent_connect, slow_accept. Each is
            named like its fault; `drop` is both `lose` and `swallow`.

    Raises:
        ConfigurationError: a rate is unknown, or not from 0 to 1, or those of frames or
            of connecting come to more than 1.
    """
    return Mixture(
        seed,
        dict(rates),  # type: ignore[arg-type]
        seconds,
        None if events is None else frozenset(events),
        frozenset(spare),
        connections,
    )
