"""No client can break the local server, whatever it sends and in whichever order.

A sequence of steps is played on the server's state machine, in no time; a `Referee`
watches what comes back. In the usual run these are some hundred sequences, always the
same; `nox -s fuzz` plays ten thousand others.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

import hostile
from fuzzing import fuzzed
from hostile_game import Game
from trialogue._codec import FAST, STDLIB, Codec
from trialogue.dialects.openai.wire import codec as wire_codec
from trialogue.testing.machine import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from hostile import Step


@contextmanager
def reading_with(codec: Codec) -> Iterator[None]:
    """Read frames as with, or as without, the extra `fast`."""
    with patch.object(wire_codec, "loads", codec.loads):
        yield


chosen = st.fixed_dictionaries(
    {
        "pace": st.builds(
            Pace,
            think_ms=st.sampled_from([0, 50, 900]),
            burst=st.sampled_from([1, 10]),
            rate_limits_ms=st.sampled_from([None, 0, 40]),
            transcript_ms=st.sampled_from([(0,), (150,), (5000, 10)]),
            cancel_ms=st.sampled_from([0, 0, 80]),
        ),
        "oddities": st.booleans(),
        "reasoning": st.booleans(),
        "unknown_calls": st.sampled_from(["reject", "accept"]),
        "when_busy": st.sampled_from(["skip", "queue"]),
        "max_duration": st.sampled_from([3600.0, 3600.0, 60.0]),
    }
)


def test_no_sequence_of_frames_breaks_the_machine(pytestconfig: pytest.Config) -> None:
    """Whatever is sent, it answers by the rules, and all that it begins it ends."""

    @fuzzed(pytestconfig, usually=200)
    @given(hostile.steps, hostile.replies, st.sampled_from([FAST, STDLIB]), chosen)
    def play(
        steps: list[Step], replies: Any, codec: Codec, chosen: dict[str, Any]
    ) -> None:
        with reading_with(codec):
            game = Game(replies, codec, **chosen)
            for step in steps:
                game.play(step)
            game.finish()

    play()
