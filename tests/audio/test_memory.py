"""The input in memory."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trialogue.audio import AudioInput, MemoryInput
from trialogue.errors import ConfigurationError


async def test_chunks_come_out_as_they_went_in_and_then_it_ends() -> None:
    source = MemoryInput()
    assert isinstance(source, AudioInput)
    source.push(b"\1\0")
    await source.send(b"\2\0\3\0")
    source.end()
    assert [await source.receive(), await source.receive()] == [b"\1\0", b"\2\0\3\0"]
    for _ in range(2):
        with pytest.raises(trio.EndOfChannel):
            await source.receive()


async def test_it_is_bounded_and_drops_nothing() -> None:
    source = MemoryInput(max_chunks=1)
    source.push(b"\1\0")
    with pytest.raises(trio.WouldBlock):
        source.push(b"\2\0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.send, b"\3\0")
        await wait_all_tasks_blocked()
        assert await source.receive() == b"\1\0"
    assert await source.receive() == b"\3\0"


@pytest.mark.behaviour("A2")
async def test_half_a_sample_is_refused() -> None:
    source = MemoryInput()
    with pytest.raises(ConfigurationError, match="middle of a sample"):
        source.push(b"\1")
    with pytest.raises(ConfigurationError, match="middle of a sample"):
        await source.send(b"\1\2\3")


async def test_a_closed_input_refuses() -> None:
    source = MemoryInput()
    source.push(b"\1\0")
    await source.aclose()
    await source.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await source.receive()
    with pytest.raises(trio.ClosedResourceError):
        source.push(b"\1\0")
