"""The conversation as a stereo file: caller left, agents right, aligned in time."""

from __future__ import annotations

import wave
from array import array
from typing import TYPE_CHECKING

from trialogue.audio import SAMPLE_RATE, SAMPLE_WIDTH
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from trialogue import Report
    from trialogue.audio import MemoryOutput

__all__ = ["stereo", "write_record", "write_stereo"]


def write_stereo(
    path: Path, pcm: bytes, began: float | None, agents: MemoryOutput
) -> None:
    """Write what both sides were heard saying, from the caller's first sample on.

    Args:
        path: the WAV file, replaced if it exists.
        pcm: the caller's side.
        began: Trio's time of its first sample; None if it never began.
        agents: the agents' side.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    origin = 0.0 if began is None else began
    right = bytearray()
    for run in agents.runs:
        at = max(0, round((run.time - origin) * SAMPLE_RATE)) * SAMPLE_WIDTH
        right.extend(bytes(max(0, at - len(right))))
        right[at : at + len(run.pcm)] = run.pcm
    try:
        with path.open("wb") as file, wave.open(file, "wb") as recording:
            recording.setnchannels(2)
            recording.setsampwidth(SAMPLE_WIDTH)
            recording.setframerate(SAMPLE_RATE)
            recording.writeframes(stereo(pcm, bytes(right)))
    except OSError as error:
        raise ConfigurationError(
            f"cannot write the recording {path}: {error}"
        ) from error


def write_record(path: Path, report: Report | None) -> None:
    """Write a report as a page, or as JSON if that is what the file is called.

    Args:
        path: the file, replaced if it exists.
        report: None makes an empty file, to find out whether it can be written.

    Raises:
        ConfigurationError: it cannot.
    """
    as_json = path.suffix == ".json"
    text = ""
    if report is not None:
        text = report.to_json() if as_json else report.to_html()
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise ConfigurationError(f"cannot write the record {path}: {error}") from error


def stereo(left: bytes, right: bytes) -> bytes:
    """Interleave two channels of 16 bit samples; the shorter one ends in silence."""
    samples = max(len(left), len(right)) // SAMPLE_WIDTH
    both = array("h", bytes(2 * samples * SAMPLE_WIDTH))
    for channel, pcm in enumerate((left, right)):
        values = array("h", pcm)
        both[channel : 2 * len(values) : 2] = values
    return both.tobytes()
