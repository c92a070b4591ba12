"""Sound: sources, sinks, and the queue of speech between replies and a sink.

All audio is PCM16, signed, little endian, mono, 24 kHz; positions are in samples.
"""

from trialogue.audio.base import SAMPLE_RATE, SAMPLE_WIDTH, AudioInput, AudioOutput
from trialogue.audio.memory import MemoryInput, MemoryOutput, NullOutput, PlayedAudio
from trialogue.audio.paced import PcmInput
from trialogue.audio.playlist import Heard, Interrupted
from trialogue.audio.playout import AudioRefused, Playout
from trialogue.audio.rechunk import Rechunker
from trialogue.audio.resample import Resampler
from trialogue.audio.wav import WavInput, WavOutput

__all__ = [
    "SAMPLE_RATE",
    "SAMPLE_WIDTH",
    "AudioInput",
    "AudioOutput",
    "AudioRefused",
    "Heard",
    "Interrupted",
    "MemoryInput",
    "MemoryOutput",
    "NullOutput",
    "PcmInput",
    "PlayedAudio",
    "Playout",
    "Rechunker",
    "Resampler",
    "WavInput",
    "WavOutput",
]
