"""WAV files: the pace of the input, the contents of the output, and bad files."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import pytest
import trio

from trialogue.audio import AudioInput, PcmInput, WavInput, WavOutput
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

SECOND = 24_000


def counted(samples: int, first: int = 0) -> bytes:
    """Samples that all differ: 16 bit counting numbers."""
    return b"".join(
        (n % 65536).to_bytes(2, "little") for n in range(first, first + samples)
    )


def make_wav(
    path: Path, pcm: bytes, *, rate: int = SECOND, width: int = 2, channels: int = 1
) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", "not compressed"))
        file.writeframes(pcm)
    return path


def read_wav(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (1, 2, SECOND)
        pcm: bytes = file.readframes(file.getnframes())
        return pcm


async def receive_all(source: AudioInput) -> list[tuple[float, bytes]]:
    """Every chunk, with the time at which it came."""
    chunks: list[tuple[float, bytes]] = []
    while True:
        try:
            pcm = await source.receive()
        except trio.EndOfChannel:
            return chunks
        chunks.append((trio.current_time(), pcm))


async def test_chunks_come_when_a_microphone_would_have_them(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    pcm = counted(SECOND + 100)
    source = WavInput(make_wav(tmp_path / "in.wav", pcm))
    assert isinstance(source, AudioInput)
    start = trio.current_time()
    chunks = await receive_all(source)
    assert b"".join(chunk for _, chunk in chunks) == pcm
    assert [len(chunk) for _, chunk in chunks] == [960] * 50 + [200]
    heard = 0
    for time, chunk in chunks:
        heard += len(chunk) // 2
        assert time == pytest.approx(start + heard / SECOND, abs=1e-9)
    with pytest.raises(trio.EndOfChannel):
        await source.receive()
    assert (source.position, source.started_at) == (SECOND + 100, start)
    assert source.duration == pytest.approx(1 + 100 / SECOND)
    assert "in.wav' at 1004 of 1004 ms" in repr(source)
    await source.aclose()


async def test_a_late_reader_catches_up_without_drift(
    autojump_clock: MockClock,
) -> None:
    source = PcmInput(counted(SECOND), chunk_ms=100)
    start = trio.current_time()
    await source.receive()
    await trio.sleep(0.45)
    times = [round(time - start, 6) for time, _ in await receive_all(source)]
    assert times == [0.55, 0.55, 0.55, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0]


async def test_a_cancelled_receive_loses_nothing(autojump_clock: MockClock) -> None:
    pcm = counted(SECOND)
    source = PcmInput(pcm)
    got = b""
    for _ in range(60):
        with trio.move_on_after(0.013):
            got += await source.receive()
    assert 0 < len(got) < len(pcm)
    got += b"".join(chunk for _, chunk in await receive_all(source))
    assert got == pcm


async def test_without_real_time_chunks_come_at_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = make_wav(tmp_path / "in.wav", counted(SECOND))
    source = WavInput(path, realtime=False)
    start = trio.current_time()
    chunks = await receive_all(source)
    assert b"".join(chunk for _, chunk in chunks) == counted(SECOND)
    assert trio.current_time() == start
    await source.aclose()


async def test_closing_an_input_ends_the_receive_that_waits(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    source = WavInput(make_wav(tmp_path / "in.wav", counted(SECOND)), chunk_ms=500)
    assert "open" in repr(PcmInput(b""))

    async def close() -> None:
        await trio.sleep(0.1)
        await source.aclose()
        await source.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        with pytest.raises(trio.ClosedResourceError):
            await source.receive()
    with pytest.raises(trio.ClosedResourceError):
        await source.receive()


@pytest.mark.parametrize(
    ("rate", "width", "channels", "found"),
    [
        (16_000, 2, 1, "1 channel(s), 16 bits, 16000 Hz"),
        (24_000, 1, 1, "1 channel(s), 8 bits, 24000 Hz"),
        (24_000, 2, 2, "2 channel(s), 16 bits, 24000 Hz"),
    ],
)
def test_a_wrong_format_names_the_file_what_it_is_and_the_remedy(
    tmp_path: Path, rate: int, width: int, channels: int, found: str
) -> None:
    path = tmp_path / "wrong.wav"
    make_wav(path, bytes(96), rate=rate, width=width, channels=channels)
    with pytest.raises(ConfigurationError) as caught:
        WavInput(path)
    message = str(caught.value)
    assert str(path) in message
    assert found in message
    assert "expected 1 channel, 16 bits, 24000 Hz" in message
    assert f"ffmpeg -i {path} -ac 1 -ar 24000" in message
    assert ("resample=True" in message) == (rate != 24_000)


@pytest.mark.parametrize("content", [b"", b"ID3 this is no WAV file at all"])
def test_a_file_that_is_no_wav_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"song\.mp3 is not a WAV.*ffmpeg"):
        WavInput(path)


def test_a_file_that_is_not_there_or_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*nobody\.wav"):
        WavInput(tmp_path / "nobody.wav")
    with pytest.raises(ConfigurationError, match=r"cannot write .*out\.wav"):
        WavOutput(tmp_path / "no" / "folder" / "out.wav")


async def test_a_wav_file_that_was_cut_off_yields_its_whole_samples(
    tmp_path: Path,
) -> None:
    path = make_wav(tmp_path / "in.wav", counted(1000))
    path.write_bytes(path.read_bytes()[:-501])
    source = WavInput(path, realtime=False)
    chunks = await receive_all(source)
    assert b"".join(chunk for _, chunk in chunks) == counted(1000)[:-502]
    await source.aclose()


@pytest.mark.behaviour("A1")
async def test_another_rate_is_resampled_on_request(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = make_wav(tmp_path / "in.wav", b"\x10\x27" * 16_000, rate=16_000)
    source = WavInput(path, resample=True)
    start = trio.current_time()
    pcm = b"".join(chunk for _, chunk in await receive_all(source))
    assert trio.current_time() - start == pytest.approx(1.0)
    assert len(pcm) == 2 * SECOND
    assert pcm[2000:-2000] == b"\x10\x27" * (SECOND - 2000)
    await source.aclose()


async def test_the_file_holds_what_was_played_when_it_was_played(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    output = WavOutput(tmp_path / "out.wav", buffer_seconds=10)
    await trio.sleep(0.5)
    await output.write(counted(SECOND))
    await trio.sleep(0.25)
    output.clear()
    await trio.sleep(3)
    await output.write(counted(SECOND, 30_000))
    await trio.sleep(0.5)
    await output.aclose()
    expected = (
        bytes(SECOND)  # half a second, before the first sample
        + counted(SECOND // 4)  # the rest was cleared
        + bytes(3 * SECOND * 2)
        + counted(SECOND // 2, 30_000)  # the rest was unplayed when it was closed
    )
    assert read_wav(tmp_path / "out.wav") == expected
    assert "out.wav' 4250 ms" in repr(output)


async def test_the_file_is_valid_at_every_moment(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A program that dies leaves a file with everything up to the last second."""
    path = tmp_path / "out.wav"
    output = WavOutput(path, buffer_seconds=0.2)
    assert read_wav(path) == b""
    for n in range(1, 51):
        await output.write(counted(2400, 2400 * n))
        on_disk = read_wav(path)
        assert on_disk == counted(120_000, 2400)[: len(on_disk)]
        assert len(on_disk) // 2 > output.played - SECOND
    await output.aclose()
