"""WAV files as a microphone and as a loudspeaker."""

from __future__ import annotations

import os
import wave
from typing import BinaryIO, TypeAlias

from trialogue.audio.base import SAMPLE_RATE, SAMPLE_WIDTH, samples_to_ms
from trialogue.audio.clocked import ClockedOutput
from trialogue.audio.paced import PacedInput
from trialogue.audio.resample import Resampler
from trialogue.errors import ConfigurationError

__all__ = ["WavInput", "WavOutput"]

Path: TypeAlias = str | os.PathLike[str]


class WavInput(PacedInput):
    """An `AudioInput` that plays a WAV file as if somebody were speaking it.

    Args:
        path: PCM16, mono, 24 kHz.
        chunk_ms: milliseconds per chunk; the last one may be shorter.
        realtime: False returns chunks as fast as they are asked for.
        resample: accept another sample rate and convert it.

    The file is opened at once and closed by `aclose`. After its end `receive` raises
    `trio.EndOfChannel`.

    Raises:
        ConfigurationError: the file cannot be read, is no PCM WAV file, or has another
            rate, width or number of channels. The message says how to convert it.
    """

    def __init__(
        self,
        path: Path,
        *,
        chunk_ms: int = 20,
        realtime: bool = True,
        resample: bool = False,
    ) -> None:
        super().__init__(chunk_ms=chunk_ms, realtime=realtime)
        self._path = os.fspath(path)
        self._wave = _open_to_read(self._path)
        try:
            _check_format(self._path, self._wave.getparams(), resample=resample)
        except ConfigurationError:
            self._wave.close()
            raise
        rate = self._wave.getframerate()
        self._resampler = Resampler(rate) if rate != SAMPLE_RATE else None
        self._ahead = bytearray()

    def __repr__(self) -> str:
        at = samples_to_ms(self.position)
        return f"<WavInput {self._path!r} at {at} of {round(self.duration * 1000)} ms>"

    @property
    def duration(self) -> float:
        """Seconds of audio in the file."""
        return self._wave.getnframes() / self._wave.getframerate()

    def read(self, samples: int) -> bytes:
        wanted = samples * SAMPLE_WIDTH
        while len(self._ahead) < wanted:
            frames = self._wave.readframes(samples)
            self._ahead += self._convert(frames)
            if not frames:
                break
        whole = self._ahead[: wanted - wanted % SAMPLE_WIDTH]
        # A file that was cut off may end in the middle of a sample.
        pcm = bytes(whole[: len(whole) - len(whole) % SAMPLE_WIDTH])
        del self._ahead[: len(whole)]
        return pcm

    def release(self) -> None:
        self._wave.close()

    def _convert(self, frames: bytes) -> bytes:
        if self._resampler is None:
            return frames
        if frames:
            return self._resampler.feed(frames)
        rest, self._resampler = self._resampler.flush(), None
        return rest


class WavOutput(ClockedOutput):
    """An `AudioOutput` that plays on Trio's clock, into a WAV file.

    The file holds what was played, when it was played: silence stands in the gaps, so
    that a position in the file is a time since the output was made (since the first
    write, if it was made outside `trio.run`). What `clear` dropped is not in it.

    The file is valid at every moment: if the program dies, it holds everything up to
    the last second.

    Args:
        path: the file, replaced if it exists.
        buffer_seconds: how much may be unplayed before `write` waits.

    Raises:
        ConfigurationError: the file cannot be written.
    """

    def __init__(self, path: Path, *, buffer_seconds: float = 0.2) -> None:
        super().__init__(buffer_seconds=buffer_seconds)
        self._path = os.fspath(path)
        self._file, self._wave = _open_to_write(self._path)
        self._unsaved = bytearray()
        self._position = 0  # ticks in the file and in _unsaved

    def __repr__(self) -> str:
        return f"<WavOutput {self._path!r} {samples_to_ms(self._position)} ms>"

    def record(self, tick: int, pcm: bytes) -> None:
        self._fill(tick)
        self._unsaved += pcm
        self._position += len(pcm) // SAMPLE_WIDTH
        self._save_full_second()

    def finish(self) -> None:
        self._save()
        self._wave.close()
        self._file.close()

    def _fill(self, tick: int) -> None:
        """Silence up to `tick`, at most a second of it at a time."""
        while self._position < tick:
            gap = min(tick - self._position, SAMPLE_RATE)
            self._unsaved += bytes(gap * SAMPLE_WIDTH)
            self._position += gap
            self._save_full_second()

    def _save_full_second(self) -> None:
        if len(self._unsaved) >= SAMPLE_RATE * SAMPLE_WIDTH:
            self._save()

    def _save(self) -> None:
        # writeframes corrects the sizes in the header after each call.
        self._wave.writeframes(bytes(self._unsaved))
        self._file.flush()
        self._unsaved.clear()


def _open_to_read(path: str) -> wave.Wave_read:
    try:
        return wave.open(path, "rb")
    except (wave.Error, EOFError) as exc:
        raise ConfigurationError(
            f"{path} is not a WAV file with PCM audio ({exc!r}). {_remedy(path)}"
        ) from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot read the recording {path}: {exc}") from exc


def _open_to_write(path: str) -> tuple[BinaryIO, wave.Wave_write]:
    """Open the file and write a header, so that it is valid from the start."""
    try:
        # NB: wave.open would open the path itself, but if that fails its half-made
        # object complains when it is collected (CPython 3.11).
        file = open(path, "wb")  # noqa: SIM115 - WavOutput.finish closes it
    except OSError as exc:
        raise ConfigurationError(f"cannot write the recording {path}: {exc}") from exc
    writer = wave.open(file, "wb")  # noqa: SIM115
    writer.setnchannels(1)
    writer.setsampwidth(SAMPLE_WIDTH)
    writer.setframerate(SAMPLE_RATE)
    writer.writeframes(b"")
    file.flush()
    return file, writer


def _check_format(path: str, found: wave._wave_params, *, resample: bool) -> None:
    fits = found.sampwidth == SAMPLE_WIDTH and found.nchannels == 1
    if fits and (resample or found.framerate == SAMPLE_RATE):
        return
    hint = " Or pass resample=True." if fits else ""
    raise ConfigurationError(
        f"{path} has {found.nchannels} channel(s), {8 * found.sampwidth} bits,"
        f" {found.framerate} Hz; expected 1 channel, 16 bits, {SAMPLE_RATE} Hz."
        f" {_remedy(path)}{hint}"
    )


def _remedy(path: str) -> str:
    return (
        f"Convert it: ffmpeg -i {path} -ac 1 -ar {SAMPLE_RATE} -c:a pcm_s16le"
        " converted.wav"
    )
