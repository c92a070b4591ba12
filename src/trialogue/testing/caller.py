"""The user of a conversation under test: speaks into a microphone, in real time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from trialogue.testing.speech import Utterances, quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.agents.session import AgentSession
    from trialogue.audio import MemoryInput

__all__ = ["Caller", "Ears"]

_FRAME_BYTES = 960
_FRAME_SECONDS = 0.02
_VOICE_FOUND = 10.0
"""Seconds of silence in which turn detection has to find the end of what was said."""


class Ears(Utterances):
    """Knows what the user says by its samples, or else by its order.

    Over a telephone's encoding no sample arrives as it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.expected: list[str] = []

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        """See `Transcriber.transcribe`."""
        expected, self.expected = " ".join(self.expected), []
        return super().transcribe(pcm, start_ms, end_ms) or expected


class Caller:
    """Says things; a clip of sound is made up for each, which the server knows."""

    def __init__(
        self, session: AgentSession[Any], microphone: MemoryInput, ears: Ears
    ) -> None:
        self._session = session
        self._microphone = microphone
        self._ears = ears

    async def say(self, words: str, ms: int, taken: Callable[[], bool]) -> bool:
        """Speak, and be silent until it is taken for a turn; False if it never is.

        Where the program finds the turns, it is one that is started and committed.
        """
        pcm = self._ears.say(words, ms)
        self._ears.expected.append(words)
        if self._session.realtime.turns_are_manual():
            await self._as_a_turn(pcm)
            return True
        await self._sound(pcm)
        deadline = trio.current_time() + _VOICE_FOUND
        while not taken():
            if trio.current_time() > deadline:
                return False
            await self._sound(quiet(20))
        return True

    def unheard(self, words: str) -> str:
        """Say that turn detection has not found something, and why that may be."""
        why = "see its options"
        if self._session.muted:
            why = "the session's microphone is muted"
        return (
            f"turn detection has not taken {words!r} for a turn within "
            f"{_VOICE_FOUND:g} s of silence; {why}"
        )

    async def _as_a_turn(self, pcm: bytes) -> None:
        await self._session.start_user_turn()
        await self._sound(pcm)
        # The turn ends with what has got from the microphone to the session.
        await trio.testing.wait_all_tasks_blocked()
        report = await self._session.commit_user_turn()
        report.raise_for_failures()

    async def _sound(self, pcm: bytes) -> None:
        """Send it at the pace of speech."""
        began = trio.current_time()
        for number, at in enumerate(range(0, len(pcm), _FRAME_BYTES), 1):
            await self._microphone.send(pcm[at : at + _FRAME_BYTES])
            await trio.sleep_until(began + number * _FRAME_SECONDS)
