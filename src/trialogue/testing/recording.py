"""Recording the wire of a session, to be replayed; never in the session's way.

The session hands over each frame as it is, and goes on. A task of its own takes what
has come, and a thread makes lines of it and writes them. Whatever goes wrong there ends
the recording, and nothing else.
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

import attrs
import trio
import trio.testing

from trialogue._codec import loads
from trialogue._redaction import without_keys
from trialogue.errors import ConfigurationError, ConnectionLost
from trialogue.realtime.redaction import without_named_secrets, without_secrets
from trialogue.realtime.signal import Signal
from trialogue.realtime.unwrapping import single
from trialogue.testing.connection import LogEntry
from trialogue.testing.machine.eliding import without_sound
from trialogue.testing.wire_file import RecordedEnd, check_event, ended_line, frame_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from trialogue.realtime.wirelog import WireTap

__all__ = ["Recording", "record"]

_log = logging.getLogger("trialogue.recording")
_CLOSE_SECONDS: Final = 2.0
_MOST_WAITING: Final = 64 * 2**20
"""Characters that may wait for the disk: minutes of sound, both ways."""


@attrs.frozen
class _Frame:
    connection: int
    time: float
    direction: Literal["in", "out"]
    text: str

    def line(self, *, audio: bool) -> str:
        try:
            event = loads(self.text)
            if isinstance(event, dict):
                check_event(event)
                return self._line_of(event, audio=audio)
        except ValueError:
            pass  # no JSON, or nothing that can be written, and read again
        # Nobody can send it again; it is there to be looked at.
        shown = without_keys(without_named_secrets(self.text))
        shown = shown.encode(errors="replace").decode()
        return self._line_of({"type": "", "text": shown}, audio=audio)

    def _line_of(self, event: dict[str, Any], *, audio: bool) -> str:
        event = without_secrets(event)
        shown = event if audio else without_sound(event)
        entry = LogEntry(self.time, self.direction, shown)
        return frame_line(self.connection, entry)


@attrs.frozen
class _End:
    connection: int
    ended: RecordedEnd
    text: str = ""

    def line(self, *, audio: bool) -> str:
        return ended_line(self.connection, self.ended)


_Line: TypeAlias = _Frame | _End


@final
class Recording:
    """What `record` gives: a recording under way, for `wire_log=` of one session.

    Attributes:
        path: the file.
        frames: how many frames were taken down so far.
        failure: what ended the recording before the session's end; None if nothing did.
    """

    def __init__(self, path: Path, *, audio: bool) -> None:
        self.path = path
        self.frames = 0
        self.failure: Exception | None = None
        self._audio = audio
        self._session: str | None = None
        self._began = 0.0
        self._numbers: dict[int, int] = {}
        self._waiting: list[_Line] = []
        self._size = 0
        self._over = False
        self._changed = Signal()
        self._writing = trio.CancelScope(shield=True)

    def __repr__(self) -> str:
        state = "failed" if self.failure else "over" if self._over else "live"
        return f"<Recording {state} {self.path} frames={self.frames}>"

    # --- for the session -----------------------------------------------------

    def tap(self, session_id: str) -> WireTap:
        """Return what takes the frames of a session; sessions call it.

        Raises:
            ConfigurationError: another session is being recorded already.
        """
        if self._session is not None:
            msg = (
                f"{self.path} records the session {self._session} already: a recording "
                "is of one session, so open another for the next"
            )
            raise ConfigurationError(msg)
        self._session = session_id
        self._began = trio.current_time()
        return self

    def note(self, generation: int, direction: Literal[">", "<"], text: str) -> None:
        """Take a frame; it never waits."""
        way: Literal["in", "out"] = "in" if direction == ">" else "out"
        number = self._numbers.setdefault(generation, len(self._numbers))
        self._take(_Frame(number, self._now(), way, text))

    def lost(self, generation: int, error: ConnectionLost) -> None:
        """Take the end of a connection."""
        if generation in self._numbers:
            ended = RecordedEnd(self._now(), error.code, error.reason or "")
            self._take(_End(self._numbers[generation], ended))

    def _now(self) -> float:
        return trio.current_time() - self._began

    def _take(self, line: _Line) -> None:
        if self._over:
            return
        self._size += len(line.text)
        if self._size > _MOST_WAITING:
            self._fail(BufferError(f"the disk is behind by {_MOST_WAITING} characters"))
            return
        self.frames += isinstance(line, _Frame)
        self._waiting.append(line)
        self._changed.pulse()

    # --- writing -------------------------------------------------------------

    async def write(self) -> None:
        """Write what comes, until the end; `record` runs it.

        Not cancelled from outside, for what a cancelled session has said last is what
        one wants to see; `finish` bounds it.
        """
        with self._writing:
            while not (self._over and not self._waiting):
                await self._changed.until(lambda: self._waiting or self._over)
                lines, self._waiting, self._size = self._waiting, [], 0
                await self._append(lines)
        if self._writing.cancelled_caught:
            self._fail(TimeoutError(f"not written within {_CLOSE_SECONDS:g} s"))

    async def _append(self, lines: list[_Line]) -> None:
        work = partial(_append, self.path, lines, audio=self._audio)
        try:
            if isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
                # Nobody waits in real time, and a thread would let this clock jump, and
                # upset the order of tasks that a seed has picked.
                await trio.lowlevel.checkpoint()
                work()
            else:
                await trio.to_thread.run_sync(work, abandon_on_cancel=True)
        except Exception as error:
            self._fail(error)

    def finish(self) -> None:
        """No more is taken; what waits is written, or given up soon."""
        self._over = True
        self._writing.deadline = trio.current_time() + _CLOSE_SECONDS
        self._changed.pulse()

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
            why = f"{type(error).__name__}: {error}"
            _log.error("the recording %s ends here, %s", self.path, why)
        self._waiting.clear()
        self.finish()


def _begin(path: Path) -> None:
    with open(path, "w", opener=partial(os.open, mode=0o600)):
        pass


def _append(path: Path, lines: Iterable[_Line], *, audio: bool) -> None:
    text = "".join(line.line(audio=audio) for line in lines)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


@asynccontextmanager
async def record(path: str | Path, *, audio: bool = True) -> AsyncIterator[Recording]:
    """Record a session's wire into a file, which `replay` can serve again.

    The recording is what `wire_log=` of a session takes; open the session inside the
    block::

        async with (
            record("talk.jsonl") as recording,
            open_agent_session(model, wire_log=recording) as session,
        ):
            ...

    Every frame of every connection becomes a line of JSON; `load_recording` tells of
    the form. What looks like a key, client secrets, and whatever is called a password
    or a token are left out, also of the JSON that tools return. What people say and
    tools are told is there, and whatever passes in pieces: a new file can be read by
    its owner alone.

    The session never waits for it. A disk that is full, fails or falls behind ends the
    recording with an error in the log ("trialogue.recording") and in
    `Recording.failure`; the session goes on. Leaving the block, however it is left,
    waits for what is not written yet, for at most two seconds.

    Args:
        path: the file; what was in it is lost.
        audio: keep the sound. Without it, its length is there, and silence is replayed.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    _begin(path)
    recording = Recording(path, audio=audio)
    with single():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recording.write)
            try:
                yield recording
            finally:
                recording.finish()
