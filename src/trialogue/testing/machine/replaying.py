"""One connection of a server that plays a recording, as a state machine without I/O.

What was sent to the client is sent again as soon as the client has done what it had
done by then, and as much later as it was later then.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from trialogue._codec import loads
from trialogue.dialects.openai.wire import UnknownServerEvent
from trialogue.realtime.redaction import without_secrets
from trialogue.testing.machine.connection import Machine
from trialogue.testing.machine.echoing import Echo
from trialogue.testing.machine.eliding import without_sound
from trialogue.testing.machine.mismatch import ReplayMismatch, mismatch
from trialogue.testing.machine.outputs import Hangup, Output

if TYPE_CHECKING:
    from trialogue.testing.machine.matching import Difference, Matching

__all__ = ["Frame", "Mode", "ReplayMachine", "Script"]

Mode: TypeAlias = Literal["strict", "lenient"]

LOST: Final = 1006
"""The close code that stands for a connection that ended without a close frame."""
_AUDIO: Final = "input_audio_buffer.append"
_UPDATE: Final = "session.update"
_SAME_MOMENT: Final = 1e-6


@attrs.frozen
class Frame:
    """A frame of the recording.

    Attributes:
        time: since the recording began.
        event: the JSON object.
        times: how often it was sent, or came.
    """

    time: float
    event: Mapping[str, Any]
    times: int = 1

    @property
    def type(self) -> str:
        """The type of the event."""
        return str(self.event.get("type", ""))


@attrs.frozen
class Script:
    """A connection of the recording.

    Attributes:
        asked: what the client sent, in order.
        told: what it was sent, each with how many of `asked` came before it.
        ended: when the server ended it, with what, and behind how many of `asked`;
            None if it did not.
    """

    asked: Sequence[Frame]
    told: Sequence[tuple[int, Frame]]
    ended: tuple[int, float, Hangup] | None = None

    @property
    def began(self) -> float:
        """When its first frame passed."""
        times = [frame.time for frame in self.asked[:1]]
        times += [frame.time for _, frame in self.told[:1]]
        return min(times, default=0.0)


@attrs.frozen
class _Due:
    """Something to be sent: behind so many frames of the client's, at that time."""

    behind: int
    time: float
    what: Frame | Hangup


class ReplayMachine(Machine):
    """Plays one connection of a recording; `Machine` says how it is driven.

    Args:
        script: the connection of the recording; None if it has no such one.
        matching: of the ids, shared by all connections.
        mode: "strict" demands each frame in its order; "lenient" waits for as many
            frames of each type as there were, asks for nothing else, and confirms
            whatever configuration the client wants.
        audio: whether frames of sound are held against the recording too.
        departed: called, once, when the client does something else; nothing is sent any
            more then.
        index: the connection's number.
    """

    def __init__(
        self,
        script: Script | None,
        matching: Matching,
        *,
        mode: Mode,
        audio: bool,
        departed: Callable[[ReplayMismatch], None],
        index: int,
    ) -> None:
        super().__init__(index=index)
        self._script = script if script is not None else Script((), ())
        self._known = script is not None
        self._matching = matching
        self._strict = mode == "strict"
        self._departed = departed
        self._index = index
        self._asked, self._told = self._planned(self._script, audio=audio)
        self._audio = audio
        self._of_type: dict[str, list[Frame]] = {}
        self._needed = [Counter[str]()]
        for frame in () if self._strict else self._asked:
            self._of_type.setdefault(frame.type, []).append(frame)
            self._needed.append(self._needed[-1] + Counter([frame.type]))
        self._echo = Echo()
        self._beside: list[Output] = []
        self._next = 0
        self._came: list[str] = []
        self._types: Counter[str] = Counter()
        self._sent = 0
        self._shift = 0.0
        self._stopped = False

    def __repr__(self) -> str:
        sent = f"{self._sent} of {len(self._told)}"
        return f"<ReplayMachine {self._index} came={len(self._came)} sent={sent}>"

    @staticmethod
    def _planned(
        script: Script, *, audio: bool
    ) -> tuple[Sequence[Frame], Sequence[_Due]]:
        """What is waited for, and what is sent behind how much of that."""
        counts = [0]
        for frame in script.asked:
            counts.append(counts[-1] + (audio or frame.type != _AUDIO))
        asked = [frame for frame in script.asked if audio or frame.type != _AUDIO]
        told = [_Due(counts[n], frame.time, frame) for n, frame in script.told]
        if script.ended is not None:
            behind, time, how = script.ended
            told.append(_Due(counts[behind], time, how))
        return asked, told

    # --- as a server ---------------------------------------------------------

    def open(self, now: float, **_: Any) -> list[Output]:
        """Greet as it did then, whoever asks."""
        self._shift = now - self._script.began
        if not self._known:
            if self._strict:
                msg = (
                    "the client opens one connection more than were recorded, which is "
                    f"{self._index}; when a connection is lost, the recording says so"
                )
                self._depart(msg, None, None)
            return []
        return self.tick(now)

    def deadline(self) -> float:
        """Return when `tick` has something to do, or infinity."""
        due = self._due()
        return math.inf if due is None else due.time + self._shift

    def tick(self, now: float) -> list[Output]:
        """Return what is to be sent by then."""
        outputs: list[Output] = []
        while self.deadline() <= now:
            due = self._told[self._sent]
            self._sent += 1
            if isinstance(due.what, Hangup):
                outputs.append(due.what)
                self._stopped = True
            else:
                event = self._matching.served(due.what.event)
                if not self._strict:
                    event = dict(self._echo.told(event))
                sent = UnknownServerEvent(due.what.type, event)
                outputs += [sent] * due.what.times
        return outputs

    def receive(
        self, text: str, now: float, data: dict[str, Any] | None = None
    ) -> list[Output]:
        """See `Machine.receive`."""
        outputs = self.tick(now)
        if not self._stopped:
            self._accept_request(text, now)
        outputs += self._beside
        self._beside = []
        return outputs + self.tick(now)

    def receive_binary(self, now: float) -> list[Output]:
        """Take a frame that no recording has."""
        outputs = self.tick(now)
        if self._strict and not self._stopped:
            wanted = next((frame.event for frame in self._asked[self._next :]), None)
            got = {"type": "", "text": ""}
            self._depart("the client sends a binary frame", wanted, got)
        return outputs

    def _due(self) -> _Due | None:
        if self._stopped or self._sent >= len(self._told):
            return None
        due = self._told[self._sent]
        if self._strict:
            return due if due.behind <= self._next else None
        return due if self._needed[due.behind] <= self._types else None

    # --- what the client does ------------------------------------------------

    def _accept_request(self, text: str, now: float) -> None:
        try:
            event = loads(text)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            event = {"type": "", "text": text}
        kind = str(event.get("type", ""))
        if kind == _AUDIO and not self._audio:
            return
        event = without_secrets(event)
        if self._strict:
            self._take_strictly(event, now)
        else:
            self._take_leniently(kind, event, now)
        self._came.append(kind)

    def _take_strictly(self, event: dict[str, Any], now: float) -> None:
        if self._next >= len(self._asked):
            self._depart("the client goes on, and the recording does not", None, event)
            return
        recorded = self._asked[self._next]
        wanted = recorded.event
        if recorded.type != str(event.get("type", "")):
            self._depart("the client does something else", wanted, event)
            return
        difference = self._matching.difference(*_audible(wanted, event))
        if difference is not None:
            what = f"the client's {recorded.type} is not the one that was recorded"
            self._depart(what, wanted, event, difference)
            return
        self._next += 1
        self._arrived(recorded.time, now)

    def _take_leniently(self, kind: str, event: dict[str, Any], now: float) -> None:
        blocked = self._due() is None
        ordinal, same = self._types[kind], self._of_type.get(kind, [])
        if ordinal < len(same):
            self._matching.difference(same[ordinal].event, event)
        if kind == _UPDATE:
            self._echo.ask(event)
            if ordinal >= len(same):
                answer = dict(self._echo.confirm())
                self._beside.append(UnknownServerEvent(answer["type"], answer))
        self._types[kind] += 1
        due = self._due()
        if blocked and due is not None and due.behind > 0:
            self._arrived(self._asked[due.behind - 1].time, now)

    def _arrived(self, recorded: float, now: float) -> None:
        """What comes next is as late as the client is."""
        shift = now - recorded
        # A sum of times is not exact: whoever is in time stays so, to the last digit.
        if abs(shift - self._shift) > _SAME_MOMENT:
            self._shift = shift

    def complete(self) -> None:
        """The client is done: so has the recording to be, if it is played strictly."""
        if self._strict and not self._stopped and self._next < len(self._asked):
            wanted = self._asked[self._next].event
            self._depart("the recording goes on, and the client does not", wanted, None)

    def _depart(
        self,
        what: str,
        expected: Mapping[str, Any] | None,
        got: Mapping[str, Any] | None,
        difference: Difference | None = None,
    ) -> None:
        self._stopped = True
        self._departed(
            mismatch(
                what,
                connection=self._index,
                frame=self._next,
                expected=expected,
                got=got,
                difference=difference,
                before=self._came,
            )
        )


def _audible(
    recorded: Mapping[str, Any], event: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Where the sound was left out of the recording, its length is held alone."""
    left_out = without_sound(recorded) == recorded
    return recorded, without_sound(event) if left_out else event
