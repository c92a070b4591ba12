"""The pump of the microphone, and the silent line that follows its end."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trialogue.errors import SessionClosed

if TYPE_CHECKING:
    from trialogue.agents.ending import Ending
    from trialogue.agents.user_turns import UserTurns
    from trialogue.audio.base import AudioInput
    from trialogue.realtime.session import RealtimeSession

__all__ = ["listen"]

SILENCE = bytes(4800)
"""100 ms; what a line carries while nobody speaks."""


async def listen(
    realtime: RealtimeSession, source: AudioInput, turns: UserTurns, ending: Ending
) -> None:
    """Carry the microphone to the session; after its end, a silent line.

    Without the silence a last sentence would never be found to have ended. Where the
    program ends the turns there is none: it would be part of the next one.
    """
    with suppress(SessionClosed):  # it has failed, and its block says why
        with suppress(trio.EndOfChannel):
            while True:
                realtime.push_audio(turns.from_microphone(await source.receive()))
        ended_at = ending.input_ended()
        for sent in itertools.count(1):
            realtime.push_audio(b"" if realtime.turns_are_manual() else SILENCE)
            realtime.changed.pulse()
            await trio.sleep_until(ended_at + sent * 0.1)
