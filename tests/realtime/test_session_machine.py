"""A session at a faulty provider, driven step by step, and looked at between the steps.

The sync machine (`test_sync_machine.py`) tells conversations that were drawn as a whole
and judges them at their end. Here each step is drawn when the one before it has been
taken, and some things have to hold at once, whatever is under way. The session lives in
a thread of its own, in virtual time that stands still between two steps.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import outcome
import trio
import trio.testing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stepping import stepping
from syncing import Act, Edit, Pass, Plan, Run
from trialogue.conversation import FunctionCall, FunctionCallOutput
from trialogue.testing.scheduling import seeded
from wire import ANSWERS, REQUESTS, Fault

if TYPE_CHECKING:
    from syncing import Step

SECONDS = 60.0
"""Of real time, in which anything here is long over."""
EDITS = ["insert", "remove", "replace", "move", "truncate"]


class Stepped(Run):
    """A conversation whose steps come one by one from another thread."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.clock = trio.testing.MockClock(autojump_threshold=0)
        self.ready = threading.Event()
        self.over: trio.Event
        self.token: trio.lowlevel.TrioToken
        self.tasks: trio.Nursery
        self.version = 0
        self.error: BaseException | None = None

    async def take_all(self, tasks: trio.Nursery) -> None:
        """Wait for the steps."""
        self.tasks, self.over = tasks, trio.Event()
        self.token = trio.lowlevel.current_trio_token()
        self.clock.autojump_threshold = math.inf
        self.ready.set()
        await self.over.wait()
        self.clock.autojump_threshold = 0

    async def step(self, step: Step, seconds: float) -> None:
        """Take a step, let a little time pass, and look."""
        self.clock.autojump_threshold = 0
        await self.take(step, self.tasks)
        await trio.sleep(seconds)
        self.clock.autojump_threshold = math.inf
        self.look()

    def look(self) -> None:
        """Hold what is there against what holds at any moment."""
        realtime = self.session.realtime
        context = realtime.chat_ctx
        self.check(len(set(context.ids)) == len(context.ids), "an item stands twice")
        self.check(context.version >= self.version, "the version went back")
        self.version = context.version
        calls = Counter(i.call_id for i in context if isinstance(i, FunctionCall))
        answers = (i for i in context if isinstance(i, FunctionCallOutput))
        answered = Counter(i.call_id for i in answers)
        self.check(not calls or max(calls.values()) == 1, f"calls twice: {calls}")
        self.check(
            not answered or max(answered.values()) == 1, f"answered twice: {answered}"
        )
        self.check(set(answered) <= set(calls), f"{answered} without a call")
        work = realtime.open_work
        self.check(work["active"] + work["posted"] <= 1, f"two replies: {work}")
        self.check(self.session.agent is not None, "nobody is current")

    def _run(self) -> None:
        trio.run(self.main, clock=self.clock)

    def tell(self) -> None:
        """Be the thread."""
        try:
            with seeded(self.plan.seed):
                ended = outcome.capture(self._run)
            if isinstance(ended, outcome.Error):
                self.error = ended.error
        finally:
            self.ready.set()


class SessionMachine(RuleBasedStateMachine):
    """Whatever is done to a session, and goes wrong, some things hold at any moment."""

    run: Stepped | None = None

    @initialize(seed=st.integers(0, 2**16))
    def opens(self, seed: int) -> None:
        self.run = Stepped(Plan((), seed))
        self.thread = threading.Thread(target=self.run.tell, daemon=True)
        self.thread.start()
        assert self.run.ready.wait(SECONDS)

    def _step(self, step: Step, seconds: float = 0.05) -> None:
        run = self.run
        assert run is not None
        assert run.error is None
        trio.from_thread.run(run.step, step, seconds, trio_token=run.token)
        assert run.problems == []

    @rule(seconds=st.sampled_from([0.0, 0.05, 1.0]))
    def speaks(self, seconds: float) -> None:
        self._step(Act("speak"), seconds)

    @rule(what=st.sampled_from(["write", "ask", "reword", "interrupt", "save"]))
    def acts(self, what: Any) -> None:
        self._step(Act(what))

    @rule(how=st.sampled_from(EDITS), at=st.integers(0, 7), stale=st.booleans())
    def edits(self, how: Any, at: int, stale: bool) -> None:
        self._step(Edit(how, at=at, to=at // 2, stale=stale))

    @precondition(lambda self: self.run is not None and self.run.provider.may_cut)
    @rule(what=st.sampled_from(["cut", "renew"]))
    def loses_its_connection(self, what: Any) -> None:
        self._step(Act(what))

    @rule(
        what=st.sampled_from(["swallow", "late", "twice"]),
        kind=st.sampled_from(ANSWERS),
    )
    def will_miss_an_answer(self, what: Any, kind: str) -> None:
        self._step(Fault(what, kind), 0.0)

    @rule(what=st.sampled_from(["reject", "cut"]), kind=st.sampled_from(REQUESTS))
    def will_be_refused(self, what: Any, kind: str) -> None:
        self._step(Fault(what, kind), 0.0)

    @rule(seconds=st.sampled_from([0.2, 2.0, 20.0]))
    def lets_time_pass(self, seconds: float) -> None:
        self._step(Pass(seconds))

    def teardown(self) -> None:
        """In the end it is quiet, and one with the server."""
        run = self.run
        if run is None:
            return
        if run.error is None:
            trio.from_thread.run_sync(run.over.set, trio_token=run.token)
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        if run.error is not None:
            raise run.error
        assert run.problems == []


TestSession = SessionMachine.TestCase
TestSession.settings = stepping(12, steps=20)
