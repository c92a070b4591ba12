"""What the demo's people say: recorded clips, and the caller's side put together.

The clips are PCM16 mono 24 kHz WAV files in `speech/`, made by
`examples/make_speech.py`. Silence costs bytes, so the caller's half minute is put
together from three clips when it is needed.
"""

from __future__ import annotations

import wave
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

from trialogue.audio.base import SAMPLE_RATE, SAMPLE_WIDTH, samples_to_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "CALLER_SCRIPT",
    "LINES",
    "Line",
    "Spoken",
    "caller_pcm",
    "caller_timeline",
    "clip",
]


@attrs.frozen
class Line:
    """One recorded line: who speaks ("caller", "Kelly" or "Sunny") and the words."""

    speaker: str
    text: str


LINES: Final[Mapping[str, Line]] = MappingProxyType(
    {
        "caller_weather": Line(
            "caller", "Hi, can you tell me about the weather please?"
        ),
        "caller_city": Line("caller", "What is the weather in Lima?"),
        "caller_back": Line("caller", "Thanks. Please take me back to the greeter."),
        "kelly_greeting": Line("Kelly", "Hello, this is Kelly. How can I help you?"),
        "kelly_transfer": Line("Kelly", "Sure, let me get Sunny for you."),
        "kelly_goodbye": Line("Kelly", "It's Kelly again. Have a lovely day, goodbye!"),
        "sunny_greeting": Line("Sunny", "Hi, I'm Sunny, the weather specialist."),
        "sunny_which_city": Line("Sunny", "Which city would you like to know about?"),
        "sunny_answer": Line("Sunny", "It is sunny in Lima today."),
        "sunny_transfer": Line("Sunny", "You're welcome. I'm handing you back."),
    }
)
"""Every clip by its name, which is also the name of its file without ".wav"."""

CALLER_SCRIPT: Final = (
    (4.0, "caller_weather"),
    (7.5, "caller_city"),
    (4.5, "caller_back"),
    (2.0, None),
)
"""Seconds of silence, and then the clip: room for what the agents say in between."""


@attrs.frozen
class Spoken:
    """Where a clip stands in the caller's audio, in samples from its start."""

    name: str
    start: int
    end: int

    @property
    def start_ms(self) -> int:
        """The first sample, in milliseconds."""
        return samples_to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """The first sample after it, in milliseconds."""
        return samples_to_ms(self.end)


@cache
def clip(name: str) -> bytes:
    """The audio of one clip of `LINES`.

    Raises:
        KeyError: there is no such clip.
    """
    if name not in LINES:
        raise KeyError(f"no clip {name!r}; there are {', '.join(LINES)}")
    path = files("trialogue.demo") / "speech" / f"{name}.wav"
    with path.open("rb") as file, wave.open(file) as recording:
        pcm: bytes = recording.readframes(recording.getnframes())
    return pcm


def caller_pcm(muted: Collection[str] = ()) -> bytes:
    """The caller's side of the conversation, half a minute of PCM16 at 24 kHz.

    Args:
        muted: names of clips to leave out. Silence of the same length takes their
            place, so that everything else is said when it would have been:
            `caller_pcm(muted=["caller_city"])` never names a city.

    Raises:
        KeyError: a muted clip is none of the caller's.
    """
    unknown = set(muted) - {name for _, name in CALLER_SCRIPT if name}
    if unknown:
        raise KeyError(f"the caller says nothing called {', '.join(sorted(unknown))}")
    parts = []
    for seconds, name in CALLER_SCRIPT:
        parts.append(bytes(round(seconds * SAMPLE_RATE) * SAMPLE_WIDTH))
        if name is not None:
            parts.append(bytes(len(clip(name))) if name in muted else clip(name))
    return b"".join(parts)


def caller_timeline() -> tuple[Spoken, ...]:
    """Where each of the caller's clips stands in `caller_pcm`, in order."""
    spoken = []
    position = 0
    for seconds, name in CALLER_SCRIPT:
        position += round(seconds * SAMPLE_RATE)
        if name is not None:
            end = position + len(clip(name)) // SAMPLE_WIDTH
            spoken.append(Spoken(name, position, end))
            position = end
    return tuple(spoken)
