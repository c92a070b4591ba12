"""A hostile client drives the server's machine step by step; a referee watches.

`tests/fuzz` plays whole sequences that were drawn beforehand. Here each step is drawn
when the ones before it have been answered, and may refer to what they brought.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import hostile
from hostile_game import Game
from stepping import stepping
from trialogue._codec import FAST, STDLIB, Codec


class ServerMachine(RuleBasedStateMachine):
    """Whatever comes, it is answered by the rules, and all that begins ends."""

    game: Game

    @initialize(replies=hostile.replies, codec=st.sampled_from([FAST, STDLIB]))
    def opens(self, replies: Any, codec: Codec) -> None:
        self.game = Game(replies, codec, oddities=False)

    @rule(step=hostile.step)
    def takes_a_step(self, step: Any) -> None:
        self.game.play(step)

    @rule(seconds=st.sampled_from([0.05, 1.0, 20.0]))
    def waits(self, seconds: float) -> None:
        before = self.game.now
        self.game.wait(seconds)
        assert self.game.now == before + seconds

    @invariant()
    def owes_nothing_to_the_past(self) -> None:
        if hasattr(self, "game"):
            machine = self.game.machine
            assert machine.deadline() >= self.game.now or self.game.hangup is None
            self.game.referee.compare(machine)

    def teardown(self) -> None:
        if hasattr(self, "game"):
            self.game.finish()


# What a hostile client may say is long to tell.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
class TestServer(ServerMachine.TestCase):  # type: ignore[misc, valid-type]
    """Hypothesis drives it."""


TestServer.settings = stepping(20, steps=20)
