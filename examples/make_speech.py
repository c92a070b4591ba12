"""Make the demo's recorded speech, `src/trialogue/demo/speech/*.wav`.

Needs nothing of its own, and the command `hibari` of the package hibari-tts (code and
voice under the Apache License 2.0; the voice is in the package, so it works offline):

    python3 -m venv voice-env && voice-env/bin/pip install hibari-tts==0.2.1
    python examples/make_speech.py --hibari voice-env/bin/hibari

One voice speaks all three parts. For the caller and for Sunny it is synthesised slower
or faster and then played faster or slower, which moves its pitch and its timbre and
leaves its pace. The noise is seeded: the same version makes the same files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import wave
from array import array
from pathlib import Path

from trialogue.audio import SAMPLE_RATE, Resampler
from trialogue.demo.speech import LINES

PITCH = {"caller": 0.8, "Kelly": 1.0, "Sunny": 1.14}
PACE = {"caller": 1.0, "Kelly": 1.05, "Sunny": 1.08}

FRAME = SAMPLE_RATE // 100
QUIET = 250.0
"""RMS of a 10 ms frame below which nothing is said; server VAD puts it at 328."""
LONGEST_PAUSE = 25
"""Frames. A pause that is longer is cut to this: VAD ends a turn after 500 ms."""
LOUDNESS = 3000.0
"""RMS over the frames that are not quiet: -21 dB of full scale."""
PEAK = 26_000


def main() -> None:
    here = Path(__file__).resolve().parent
    target = here.parent / "src" / "trialogue" / "demo" / "speech"
    parser = argparse.ArgumentParser(description="Make the demo's recorded speech.")
    parser.add_argument("--hibari", default="hibari", help="the command to run")
    parser.add_argument("--to", type=Path, default=target, help="the folder to fill")
    options = parser.parse_args()
    for name, line in LINES.items():
        samples = finish(speak(options.hibari, line.speaker, line.text))
        save(options.to / f"{name}.wav", samples)
        sys.stdout.write(f"{name:18} {len(samples) / SAMPLE_RATE:5.2f} s\n")


def speak(command: str, speaker: str, text: str) -> array[int]:
    """Synthesise `text`, and shift it to the speaker's pitch."""
    pitch = PITCH[speaker]
    speed = PACE[speaker] / pitch
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        words = [command, text, "-o", str(path), "--seed", "1", "--speed", str(speed)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        with wave.open(str(path)) as recording:
            assert recording.getparams()[:3] == (1, 2, SAMPLE_RATE)
            pcm = recording.readframes(recording.getnframes())
    if pitch != 1:
        # Said to have been recorded at another rate, it is played at another speed.
        resampler = Resampler(round(SAMPLE_RATE * pitch))
        pcm = resampler.feed(pcm) + resampler.flush()
    return native(pcm)


def finish(samples: array[int]) -> array[int]:
    """Trim, shorten pauses, level, and fill up to whole chunks of 20 ms."""
    frames = shorten_pauses(trim(level(cut_frames(samples))))
    if len(frames) % 2:
        frames.append(array("h", bytes(2 * FRAME)))
    joined = array("h")
    for frame in frames:
        joined.extend(frame)
    return fade(joined)


def cut_frames(samples: array[int]) -> list[array[int]]:
    whole = len(samples) - len(samples) % FRAME
    return [samples[at : at + FRAME] for at in range(0, whole, FRAME)]


def rms(frame: array[int]) -> float:
    return float((sum(x * x for x in frame) / len(frame)) ** 0.5)


def level(frames: list[array[int]]) -> list[array[int]]:
    """Scale all frames to one loudness, without letting the peak clip."""
    spoken = [rms(frame) ** 2 for frame in frames if rms(frame) >= QUIET]
    gain = LOUDNESS / (sum(spoken) / len(spoken)) ** 0.5
    gain = min(gain, PEAK / max(abs(x) for frame in frames for x in frame))
    return [array("h", (round(x * gain) for x in frame)) for frame in frames]


def trim(frames: list[array[int]]) -> list[array[int]]:
    """Keep 30 ms before the first and 80 ms after the last frame that is spoken."""
    spoken = [at for at, frame in enumerate(frames) if rms(frame) >= QUIET]
    return frames[max(0, spoken[0] - 3) : spoken[-1] + 9]


def shorten_pauses(frames: list[array[int]]) -> list[array[int]]:
    kept: list[array[int]] = []
    pause: list[array[int]] = []
    for frame in frames:
        pause.append(frame)
        if rms(frame) >= QUIET:
            surplus = max(0, len(pause) - 1 - LONGEST_PAUSE)
            middle = (len(pause) - surplus) // 2
            kept += pause[:middle] + pause[middle + surplus :]
            pause = []
    return kept + pause


def fade(samples: array[int]) -> array[int]:
    """Ramp the first and the last 10 ms, so that joining clips does not click."""
    for at in range(FRAME):
        samples[at] = samples[at] * at // FRAME
        samples[-1 - at] = samples[-1 - at] * at // FRAME
    return samples


def native(pcm: bytes) -> array[int]:
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def save(path: Path, samples: array[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))
        recording.writeframes(native(samples.tobytes()).tobytes())


if __name__ == "__main__":
    main()
