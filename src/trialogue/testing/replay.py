"""Serving a recording: a server whose connections play what was recorded."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, final, get_args

import trio

from trialogue.errors import ConfigurationError
from trialogue.realtime.redaction import without_secrets
from trialogue.realtime.unwrapping import single
from trialogue.testing.machine.eliding import with_sound
from trialogue.testing.machine.matching import Matching, made_by_clients
from trialogue.testing.machine.mismatch import ReplayMismatch
from trialogue.testing.machine.outputs import Hangup
from trialogue.testing.machine.replaying import (
    LOST,
    Frame,
    Mode,
    ReplayMachine,
    Script,
)
from trialogue.testing.server import RealtimeServer
from trialogue.testing.wire_file import (
    RecordedConnection,
    WireRecording,
    load_recording,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["ReplayServer", "replay"]

_NEVER_SENT: Final = frozenset({"drop", "unsent", "reject"})


@final
class ReplayServer(RealtimeServer):
    """A `RealtimeServer` that plays a recording; `replay` opens one.

    Attributes:
        recording: what it plays.
        mismatch: what the client did otherwise, in a strict replay; None so far.
    """

    def __init__(self, recording: WireRecording, *, mode: Mode, audio: bool) -> None:
        super().__init__()
        self.recording = recording
        self.mismatch: ReplayMismatch | None = None
        self._mode: Mode = mode
        self._audio = audio
        self._scripts = [_script(one) for one in recording.connections]
        self._matching = Matching(
            made_by_clients(
                (entry.direction, entry.event)
                for one in recording.connections
                for entry in one.entries
            )
        )
        self._machines: list[ReplayMachine] = []
        self._departed = trio.Event()

    def _machine(self, index: int, *_: Any, **__: Any) -> ReplayMachine:
        machine = ReplayMachine(
            self._scripts[index] if index < len(self._scripts) else None,
            self._matching,
            mode=self._mode,
            audio=self._audio,
            departed=self._depart,
            index=index,
        )
        self._machines.append(machine)
        return machine

    def _depart(self, mismatch: ReplayMismatch) -> None:
        if self.mismatch is None:
            self.mismatch = mismatch
            self._departed.set()

    def check(self) -> None:
        """Demand, in a strict replay, that the recording was played to its end.

        Leaving the block of `replay` does so too.

        Raises:
            ReplayMismatch: the client did something else, or not all that it did then.
        """
        for machine in self._machines:
            machine.complete()
        missing = len(self._scripts) - len(self._machines)
        if self.mismatch is None and missing > 0 and self._mode == "strict":
            index = len(self._machines)
            msg = (
                f"{len(self._scripts)} connections were recorded, and the client has "
                f"opened {index}"
            )
            self.mismatch = ReplayMismatch(
                msg, connection=index, frame=0, expected=None, got=None
            )
        if self.mismatch is not None:
            raise self.mismatch

    async def watch(self) -> None:
        """Raise as soon as the client does something else; `replay` runs it."""
        await self._departed.wait()
        assert self.mismatch is not None
        raise self.mismatch


def _script(recorded: RecordedConnection) -> Script:
    asked: list[Frame] = []
    told: list[tuple[int, Frame]] = []
    for entry in recorded.entries:
        notes = entry.note.split()
        if entry.direction == "in":
            # A recording has no secrets; a server's log may.
            asked.append(Frame(entry.time, without_secrets(entry.event)))
        elif entry.type and _NEVER_SENT.isdisjoint(notes):
            times = 1 + ("duplicate" in notes)
            told.append((len(asked), Frame(entry.time, with_sound(entry.event), times)))
    if recorded.ended is None:
        return Script(asked, told)
    ended = recorded.ended
    hangup = Hangup(LOST if ended.code is None else ended.code, ended.reason)
    return Script(asked, told, (len(asked), ended.time, hangup))


@asynccontextmanager
async def replay(
    recording: str | Path | WireRecording,
    *,
    mode: Mode = "strict",
    audio: bool = False,
    port: int | None = None,
) -> AsyncIterator[ReplayServer]:
    """Serve a recording inside this block, as the server that was recorded.

    A program that does what it did then is told what it was told then, frame for frame
    and with the same pauses, on Trio's clock: `server.model()` dials it in memory, and
    `server.url` with a port. Any key and any model will do. Ids that the client makes
    up may differ; they are put in place of those that were recorded.

    A strict replay demands each frame, on each connection, in its order; what the
    server sent is sent once the frames before it have come. The first difference is
    raised in the place of whatever the block does, and so is an end that comes too
    early. A lenient one waits for as many frames of each type as came before, whatever
    is in them, and minds nothing else; it confirms the instructions and tools that the
    client has now, also where it changes them more often, and leaves all else that was
    not recorded unanswered. Neither looks at sound, unless it is asked to: what speech
    has brought about comes when it came then.

    What was recorded without sound, and what a server logged, is served with silence. A
    server's log does not say how connections ended: they stay open.

    Args:
        recording: the file, or what `load_recording` returns.
        mode: "strict" or "lenient".
        audio: hold `input_audio_buffer.append` against the recording too: by its
            samples, or by its length where they were left out.
        port: serve TCP as well; 0 picks a free one.

    Raises:
        ConfigurationError: there is no such mode.
        OSError: the file cannot be read, or the port not be had.
        RecordingError: it is no recording.
        ReplayMismatch: the client did something else than was recorded.
    """
    if mode not in get_args(Mode):
        modes = " or ".join(map(repr, get_args(Mode)))
        raise ConfigurationError(f"a replay's mode is {modes}, not {mode!r}")
    if not isinstance(recording, WireRecording):
        recording = load_recording(recording)
    server = ReplayServer(recording, mode=mode, audio=audio)
    try:
        with single():
            async with trio.open_nursery() as nursery, server.serving():
                if port is not None:
                    await server.listen(port)
                nursery.start_soon(server.watch)
                yield server
                server.check()
                nursery.cancel_scope.cancel(reason="the replay's block was left")
    except Exception as error:
        if server.mismatch is None or error is server.mismatch:
            raise
        # What failed for it is no news.
        raise server.mismatch from error
