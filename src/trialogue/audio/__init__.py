"""Sound: sources, sinks, and the queue of speech between replies and a sink.

All audio is PCM16, signed, little endian, mono, 24 kHz; positions are in samples.
"""

from trialogue.audio.base import SAMPLE_RATE as SAMPLE_RATE
from trialogue.audio.base import SAMPLE_WIDTH as SAMPLE_WIDTH
from trialogue.audio.base import AudioInput as AudioInput
from trialogue.audio.base import AudioOutput as AudioOutput
from trialogue.audio.memory import MemoryInput as MemoryInput
from trialogue.audio.memory import MemoryOutput as MemoryOutput
from trialogue.audio.memory import NullOutput as NullOutput
from trialogue.audio.memory import PlayedAudio as PlayedAudio
from trialogue.audio.paced import PcmInput as PcmInput
from trialogue.audio.playlist import Heard as Heard
from trialogue.audio.playlist import Interrupted as Interrupted
from trialogue.audio.playout import AudioRefused as AudioRefused
from trialogue.audio.playout import Playout as Playout
from trialogue.audio.rechunk import Rechunker as Rechunker
from trialogue.audio.resample import Resampler as Resampler
from trialogue.audio.wav import WavInput as WavInput
from trialogue.audio.wav import WavOutput as WavOutput
