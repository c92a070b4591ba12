"""Whatever happens to a playout, and whenever: what it says was heard is what was."""

from __future__ import annotations

from array import array

import attrs
import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from trialogue.audio import Heard, MemoryOutput, Playout


@attrs.frozen
class Push:
    """More of an item, whose samples are numbers that occur only once."""

    item: int
    samples: int


@attrs.frozen
class End:
    item: int


@attrs.frozen
class Discard:
    item: int


@attrs.frozen
class Interrupt:
    pass


@attrs.frozen
class Restart:
    """Cancel `run` and start it again."""


@attrs.frozen
class Pass:
    """Time passes; none at all is one checkpoint, in the middle of whatever is done."""

    microseconds: int


items = st.integers(0, 4)
steps = st.lists(
    st.one_of(
        st.builds(Push, items, st.integers(0, 3_000)),
        st.builds(Push, items, st.integers(0, 3_000)),
        st.builds(Pass, st.integers(0, 150_000)),
        st.builds(Pass, st.just(0)),
        st.builds(End, items),
        st.builds(Discard, items),
        st.just(Interrupt()),
        st.just(Restart()),
    ),
    max_size=30,
)


class Story:
    """Carries out steps on a playout, and keeps what must be true of it."""

    def __init__(self, buffer_seconds: float) -> None:
        self.output = MemoryOutput(buffer_seconds=buffer_seconds)
        self.started: list[str] = []
        self.finished: list[str] = []
        self.playout = Playout(
            self.output,
            on_started=self.started.append,
            on_finished=self.finished.append,
        )
        self.pushed: dict[str, list[int]] = {}
        self.cut: dict[str, int] = {}  # item → samples heard when it was cut
        self.ended: set[str] = set()
        self.samples = 0

    def heard(self, item_id: str) -> list[int]:
        """The samples of an item that the sink has played, in its order."""
        pushed = set(self.pushed.get(item_id, ()))
        return [sample for sample in array("H", self.output.pcm) if sample in pushed]

    async def tell(self, script: list[object]) -> None:
        async with trio.open_nursery() as nursery:
            self.start(nursery)
            for step in script:
                await self.do(step, nursery)
                self.check_positions()
            self.check_order()
            await self.playout.wait_idle()
            for item_id in self.pushed:
                self.end(item_id)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        self.check_end()

    def start(self, nursery: trio.Nursery) -> None:
        self.scope = scope = trio.CancelScope()
        nursery.start_soon(self.run, scope)

    async def run(self, scope: trio.CancelScope) -> None:
        with scope:
            await self.playout.run()

    async def do(self, step: object, nursery: trio.Nursery) -> None:
        match step:
            case Push(item, samples):
                self.push(f"item {item}", samples)
            case End(item):
                self.end(f"item {item}")
            case Discard(item):
                self.discard(f"item {item}")
            case Interrupt():
                self.interrupt()
            case Restart():
                self.scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                self.start(nursery)
            case Pass(0):
                await trio.lowlevel.checkpoint()
            case Pass(microseconds):
                await trio.sleep(microseconds / 1e6)

    def push(self, item_id: str, samples: int) -> None:
        numbers = list(range(self.samples, self.samples + samples))
        taken = self.playout.push("reply", item_id, array("H", numbers).tobytes())
        assert taken == (item_id not in self.cut)
        self.pushed.setdefault(item_id, [])
        if taken:
            self.samples += samples
            self.pushed[item_id] += numbers
            self.ended -= {item_id} if samples else set()

    def end(self, item_id: str) -> None:
        self.playout.end_item(item_id)
        if item_id in self.pushed:
            self.ended.add(item_id)

    def discard(self, item_id: str) -> None:
        said = self.playout.discard(item_id)
        heard = len(self.heard(item_id))
        assert said.ms == heard * 1000 // 24_000
        if item_id in self.pushed and not said.complete:
            self.cut.setdefault(item_id, heard)

    def interrupt(self) -> None:
        report = self.playout.interrupt()
        assert self.output.played == self.output.written
        assert self.playout.idle
        for one in report:
            heard = len(self.heard(one.item_id))
            received = len(self.pushed[one.item_id])
            assert one.heard_ms == heard * 1000 // 24_000
            assert one.received_ms == received * 1000 // 24_000
            assert one.heard_ms <= one.received_ms
            done = heard == received and one.item_id in self.ended
            assert one.state == ("done" if done else "playing" if heard else "unheard")
            if not done:
                self.cut[one.item_id] = heard

    def check_positions(self) -> None:
        for item_id, pushed in self.pushed.items():
            heard = len(self.heard(item_id))
            over = heard == len(pushed) and item_id in self.ended
            complete = over and item_id not in self.cut
            expected = Heard(heard * 1000 // 24_000, complete)
            assert self.playout.position(item_id) == expected

    def check_order(self) -> None:
        played = array("H", self.output.pcm)
        assert list(played) == sorted(set(played)), "doubled or out of order"

    def check_end(self) -> None:
        self.check_order()
        for item_id, pushed in self.pushed.items():
            heard = self.cut.get(item_id, len(pushed))
            assert self.heard(item_id) == pushed[:heard]
            if item_id not in self.cut:
                assert item_id in self.finished
            if heard and item_id not in self.cut:
                assert item_id in self.started
        assert self.playout.pending_seconds == 0
        assert len(set(self.started)) == len(self.started)


@pytest.mark.behaviour("U3", "A3")
@settings(max_examples=200, deadline=None)
@given(steps, st.sampled_from([0.0, 0.02, 0.1, 1.0]))
@example([Push(4, 10), Interrupt(), Discard(4), Push(4, 10)], 0.0)
def test_what_was_heard_is_what_the_sink_played(
    script: list[object], buffer_seconds: float
) -> None:
    """Nothing doubled, out of order or past the audio; each item a prefix of itself."""
    trio.run(
        lambda: Story(buffer_seconds).tell(script),
        clock=MockClock(autojump_threshold=0),
    )
