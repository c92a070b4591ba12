"""One conversation, told many times, with something going wrong at a seeded moment.

A seed fixes everything: the variant of the conversation, what goes wrong and where, and
Trio's schedule. `tell` runs it in virtual time and returns what broke the rules that
hold for every run, whatever went wrong.
"""

from __future__ import annotations

import gc
import math
import sys
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs
import trio
import trio.testing

from mirror import Mirror
from stage import model_of, speak, until
from trialogue import Agent, Handoff, RunContext, function_tool
from trialogue.agents.events import (
    HandoffFailed,
    HandoffStarted,
    ToolFinished,
    ToolStarted,
)
from trialogue.agents.opening import open_agent_session
from trialogue.agents.session import AgentSession
from trialogue.audio import MemoryInput, MemoryOutput
from trialogue.conversation.context import ChatContext
from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.errors import ConnectionLost, HandoffError, ServerError
from trialogue.realtime.connection import Timing
from trialogue.realtime.notices import ReplyEnded, ReplyStarted
from trialogue.testing import (
    Call,
    Fault,
    Network,
    Pace,
    RealtimeServer,
    Say,
    Settings,
    Turn,
    Utterances,
)
from trialogue.testing.faults import Silence, Stall
from trialogue.testing.scheduling import CancelAtStep, seeded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["Plan", "Run", "Variant", "tell"]

KELLY = "You are Kelly, a friendly greeter."
SUNNY = "You are Sunny, a weather specialist."
SPOKEN_OF = {"Greeter": KELLY, "Weather": SUNNY}
TOOLS_OF = {KELLY: ("transfer_to_weather",), SUNNY: ("transfer_to_greeter",)}
EXPECTED = (ConnectionLost, HandoffError, ServerError, trio.Cancelled)
"""What a run may raise: the provider failed, and says so."""

MOST_STEPS = 60_000
MOST_SECONDS = 600.0
CLOSING = Timing().close
HEARTBEAT = 31.0
"""Seconds after which a server that does not even answer pings is given up."""
PATIENCE = 45.0
"""Virtual seconds in which any single fault is over: 15 s unanswered, then a redial."""


class _Entering(Agent):
    """Counts how often it is entered."""

    words = ""

    def __init__(self, entered: Counter[int], variant: Variant) -> None:
        super().__init__(self.words)
        self.entered, self.variant = entered, variant
        self.number = len(entered)
        entered[self.number] = 0

    async def on_enter(self, ctx: RunContext) -> None:
        self.entered[self.number] += 1
        if self.number:
            with suppress(ServerError):
                await ctx.session.generate_reply(instructions="Introduce yourself.")

    async def handing_over(self, agent: Agent) -> Handoff:
        await trio.sleep(self.variant.slow)
        policy: Any = self.variant.policy
        return Handoff(agent, context=policy)


class Greeter(_Entering):
    words = KELLY

    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Handoff:
        """Transfer to the weather specialist."""
        return await self.handing_over(Weather(self.entered, self.variant))


class Weather(_Entering):
    words = SUNNY

    @function_tool
    async def transfer_to_greeter(self, ctx: RunContext) -> Handoff:
        """Transfer back to the greeter."""
        return await self.handing_over(Greeter(self.entered, self.variant))


@attrs.frozen
class Variant:
    """How the conversation is held."""

    fresh: bool = False
    policy: str = "keep"
    one_way: float = 0.0
    spoken: bool = False
    slow: float = 0.0
    """Seconds that a transfer takes; the user speaks on meanwhile."""
    standby: bool = False
    max_age: float = math.inf
    """Seconds for which a connection may serve; then it is rotated."""


@attrs.frozen
class Plan:
    """One run: the seed, the variant, and what goes wrong."""

    seed: int
    variant: Variant
    step: int | None = None
    fault: Fault | None = None


class _TimedCancel(CancelAtStep):
    """Also notes when."""

    fired_at = math.inf

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        fired = self.fired
        super().before_task_step(task)
        if self.fired and not fired:
            self.fired_at = trio.current_time()


class _Brain:
    """The script. The samples of each reply carry the number of its response."""

    def __init__(self) -> None:
        self.responses: list[tuple[int, int]] = []

    def __call__(self, turn: Turn) -> Any:
        number = len(self.responses)
        self.responses.append((turn.connection, turn.ordinal))
        sound = (2 * number + 2).to_bytes(2, "little") * (24 * 150)
        words, asked = turn.user_text.lower(), turn.output is None
        if "Kelly" in turn.instructions:
            if "weather" in words and asked and "Introduce" not in turn.instructions:
                return [Say("One moment.", sound), Call("transfer_to_weather")]
            return Say("Kelly speaking.", sound)
        if "back" in words and asked and "Introduce" not in turn.instructions:
            return [Say("Back to Kelly.", sound), Call("transfer_to_greeter")]
        return Say("Sunny speaking.", sound)


@attrs.define(eq=False)
class Run:
    """One conversation under way, and what was seen of it."""

    plan: Plan
    server: RealtimeServer
    brain: _Brain
    utterances: Utterances
    output: MemoryOutput = attrs.field(factory=MemoryOutput)
    microphone: MemoryInput | None = None
    session: AgentSession | None = None
    events: list[tuple[float, Any]] = attrs.field(factory=list)
    entered: Counter[int] = attrs.field(factory=Counter)
    problems: list[str] = attrs.field(factory=list)
    raised: BaseException | None = None
    quiet: bool = False
    steps: int = 0
    seconds: float = 0.0
    entries: list[tuple[str, str]] = attrs.field(factory=list)
    held: list[Any] = attrs.field(factory=list)

    @classmethod
    def of(cls, planned: Plan) -> Run:
        brain, utterances = _Brain(), Utterances()
        variant = planned.variant
        server = RealtimeServer(
            brain,
            network=Network(one_way=variant.one_way),
            faults=() if planned.fault is None else (planned.fault,),
            settings=Settings(pace=Pace(delta_ms=(50,))),
            utterances=utterances,
            seed=planned.seed,
        )
        run = cls(planned, server, brain, utterances)
        run.microphone = MemoryInput() if variant.spoken else None
        return run

    # --- the story -----------------------------------------------------------------

    async def main(self) -> None:
        """Serve, hold the conversation, and see everything closed."""
        with (
            trio.CancelScope() as limits,
            trio.move_on_after(MOST_SECONDS) as time,
            CancelAtStep(MOST_STEPS, limits) as runaway,
        ):
            async with self.server.serving():
                await self._held()
                with trio.move_on_after(10):
                    await until(lambda: not self.server.live)
                self._judge_end()
        self._check(not runaway.fired, "it never came to rest (task steps)")
        self._check(not time.cancelled_caught, "it hung")

    def _judge_end(self) -> None:
        fault, live = self.plan.fault, self.server.live
        # A server that reads no more cannot see that it is left.
        deaf = fault is not None and isinstance(fault.action, Stall)
        self._check(deaf or not live, f"still served: {live}")

    async def _held(self) -> None:
        began = trio.current_time()
        with trio.CancelScope() as scope, _TimedCancel(self.plan.step, scope) as sweep:
            try:
                await self._session()
            except BaseExceptionGroup as group:
                self._raised(group)
                if group.split(trio.Cancelled)[0] is not None:
                    raise
            except Exception as error:
                self._raised(error)
        self.steps, self.seconds = sweep.steps, trio.current_time() - began
        closing = trio.current_time() - sweep.fired_at
        self._check(closing <= CLOSING + 0.001, f"closing took {closing} s")

    def _raised(self, error: BaseException) -> None:
        self.raised = error
        for leaf in _leaves(error):
            self._check(isinstance(leaf, EXPECTED), f"raised {leaf!r}")

    async def _session(self) -> None:
        flags = {"mutable_instructions": False} if self.plan.variant.fresh else {}
        model = model_of(self.server, capabilities=flags)
        audio = self.microphone, self.output
        async with (
            open_agent_session(
                model,
                audio=audio,
                seed=self.plan.seed,
                standby=self.plan.variant.standby,
                timing=Timing(max_age=self.plan.variant.max_age),
            ) as self.session,
            trio.open_nursery() as tasks,
        ):
            await tasks.start(self._note_events)
            first = Greeter(self.entered, self.plan.variant)
            tasks.start_soon(self.session.run, first)
            await self._talk()
            tasks.cancel_scope.cancel()

    async def _note_events(  # noqa: ASYNC114 - started in one place, with start()
        self, task_status: trio.TaskStatus[None]
    ) -> None:
        assert self.session is not None
        async with self.session.subscribe(buffer=100_000) as subscription:
            task_status.started()
            async for event in subscription:
                self.events.append((trio.current_time(), event))

    async def _talk(self) -> None:
        await self._calm("after the beginning")
        for words, wanted in (
            ("What is the weather?", Weather),
            ("Take me back.", Greeter),
        ):
            for _ in range(3):
                await self._say(words)
                await self._calm(f"after {words!r}")
                if self._agent_is(wanted):
                    break
                await trio.sleep(HEARTBEAT)
            arrived = self._agent_is(wanted) or self._deafened()
            self._check(arrived, f"never got to {wanted.__name__}")
        self._look()

    def _deafened(self) -> bool:
        """Whether the user speaks to a server that says nothing but "pong".

        Nobody but the server hears that the user spoke: nothing is owed, and nothing
        can be found missing.
        """
        action = None if self.plan.fault is None else self.plan.fault.action
        silent = isinstance(action, Silence) and action.pongs
        return silent and self.plan.variant.spoken

    def _agent_is(self, wanted: type[Agent]) -> bool:
        return self.session is not None and isinstance(self.session.agent, wanted)

    async def _say(self, words: str) -> None:
        assert self.session is not None
        if self.microphone is not None:
            await speak(self.microphone, self.utterances.say(words, 400), 700)
            if self.plan.variant.slow:
                more = self.utterances.say("Hurry up.", 200)
                await speak(self.microphone, more, 700)
            return
        realtime = self.session.realtime
        edited = realtime.chat_ctx.add_message("user", words)
        await realtime.update_chat_ctx(edited)
        with trio.move_on_after(PATIENCE), suppress(ServerError, HandoffError):
            await self.session.generate_reply()

    async def _calm(self, when: str) -> None:
        """Wait until nobody owes anybody anything, and nothing is heard."""
        assert self.session is not None
        realtime = self.session.realtime
        with trio.move_on_after(PATIENCE) as patience:
            calm_for = 0
            while calm_for < 4:
                await trio.sleep(0.05)
                calm_for = calm_for + 1 if self._is_calm() else 0
            await self.session.wait_for_playout()
        if patience.cancelled_caught:
            state = f"{realtime!r} {realtime.open_work} settled={realtime.settled}"
            floor = f"owed={realtime.replying.owed} floor={realtime.user_has_the_floor}"
            self._check(False, f"no rest {when}: {state} {floor} {self.session.scope}")

    def _is_calm(self) -> bool:
        assert self.session is not None
        realtime, scope = self.session.realtime, self.session.scope
        owed = realtime.replying.owed or realtime.user_has_the_floor
        busy = any(realtime.open_work.values()) or scope is None or not scope.quiet
        return realtime.settled and not owed and not busy

    def _look(self) -> None:
        """The conversation is quiet: keep what the server holds of it."""
        assert self.session is not None
        self.quiet = True
        live = [one for one in self.server.live if one.index == self._serving()]
        self._check(len(live) == 1, f"not one live connection: {self.server.live}")
        self.held = [held.item for one in live for held in one.conversation]
        told = (event for _, event in self.events)
        for difference in Mirror(ChatContext(), told).differences(
            self.session.chat_ctx
        ):
            self._check(False, f"subscribers: {difference}")
        self._look_at_events()

    def _look_at_events(self) -> None:
        """What was said to begin was said to end, once."""
        for begin, end, key in (
            (ReplyStarted, ReplyEnded, "response_id"),
            (ToolStarted, ToolFinished, "call_id"),
        ):
            began = Counter(getattr(e, key) for e in self._events_of(begin))
            ended = Counter(getattr(e, key) for e in self._events_of(end))
            again = [one for one in (began + ended) if max(began[one], ended[one]) > 1]
            open_ones = [one for one in began if not ended[one]]
            self._check(not again, f"{begin.__name__} or its end twice: {again}")
            self._check(not open_ones, f"{begin.__name__} without end: {open_ones}")

    def _events_of(self, kind: type[Any]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def _serving(self) -> int:
        assert self.session is not None
        connection = self.session.realtime.connection
        name = None if connection is None else connection.session_id
        ids = [one.machine.session.id for one in self.server.connections]
        return ids.index(name) if name in ids else -1

    # --- the rules -----------------------------------------------------------------

    def _check(self, good: object, problem: str) -> None:
        if not good:
            self.problems.append(problem)

    def judge(self) -> None:
        """Hold the run against the rules that hold for every run."""
        errors = self.server.protocol_errors
        self._check(not errors, f"protocol errors: {errors}")
        twice = {n: count for n, count in self.entered.items() if count > 1}
        self._check(not twice, f"on_enter ran twice: {twice}")
        self.entries = [
            (e.direction, e.type) for c in self.server.connections for e in c.entries
        ]
        if self.session is None:
            return
        work = self.session.realtime.open_work
        self._check(not any(work.values()), f"left behind: {work}")
        self._judge_calls()
        self._judge_sound()
        if self.quiet and not self._deafened():
            self._judge_server()

    def _judge_calls(self) -> None:
        assert self.session is not None
        items = self.session.chat_ctx.items
        outputs = Counter(i.call_id for i in items if isinstance(i, FunctionCallOutput))
        calls = [i.call_id for i in items if isinstance(i, FunctionCall)]
        run = {e.call_id for _, e in self.events if isinstance(e, ToolStarted)}
        for call in calls:
            least = int(call in run or self.quiet)
            right = least <= outputs[call] <= 1
            self._check(right, f"{call} has {outputs[call]} outputs in the record")
        self._check(len(calls) == len(set(calls)), f"a call stands twice: {calls}")

    def _judge_server(self) -> None:
        outputs = Counter(i.call_id for i in self.held if i.type.endswith("_output"))
        calls = [i.call_id for i in self.held if i.type == "function_call"]
        for call in calls:
            right = outputs[call] == 1
            self._check(right, f"{call} has {outputs[call]} outputs at the server")
        stray = set(outputs) - set(calls)
        self._check(not stray, f"outputs without a call at the server: {stray}")

    def _judge_sound(self) -> None:
        """Nothing was heard that was made under another agent's configuration."""
        pcm = self.output.pcm
        started = {
            e.response_id: (at, e.agent)
            for at, e in self.events
            if isinstance(e, ReplyStarted)
        }
        seen: set[tuple[int, str]] = set()
        for mark, instructions, tools in self.server.heard(pcm):
            at = 2 * mark.position
            number = (int.from_bytes(pcm[at : at + 2], "little") & ~1) // 2 - 1
            key = (number, instructions)
            if key not in seen:
                seen.add(key)
                self._judge_response(number, instructions, tools, started)

    def _judge_response(
        self,
        number: int,
        instructions: str,
        tools: Sequence[str],
        started: dict[str, tuple[float, str | None]],
    ) -> None:
        index, ordinal = self.brain.responses[number]
        record = self.server.connections[index].responses[ordinal]
        base = next(p for p in TOOLS_OF if instructions.startswith(p))
        self._check(tuple(tools) == TOOLS_OF[base], f"heard under {tools}: {base}")
        if record.id not in started:
            self._check(self.plan.step, f"heard of {record.id}, which never began")
            return
        at, agent = started[record.id]
        self._check(SPOKEN_OF.get(str(agent)) == base, f"{agent} spoke under {base!r}")
        current = self._current_at(at)
        right = base in {SPOKEN_OF[name] for name in current}
        self._check(right, f"made under {base!r} while {current} was current")

    def _current_at(self, time: float) -> set[str]:
        """Return who was current then; both, if it changed in that very instant."""
        current = {"Greeter"}
        for at, event in self.events:
            if at > time:
                break
            if isinstance(event, HandoffStarted):
                current = {event.next} | (current if at == time else set())
            elif isinstance(event, HandoffFailed) and event.previous is not None:
                current = {event.previous} | (current if at == time else set())
        return current


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


# --- runs --------------------------------------------------------------------------


def tell(planned: Plan) -> Run:
    """Run a plan in virtual time, and judge it."""
    run = Run.of(planned)
    with _unraisable(run.problems):
        with seeded(planned.seed):
            clock = trio.testing.MockClock(autojump_threshold=0)
            trio.run(run.main, clock=clock)
        gc.collect()
    run.judge()
    return run


@contextmanager
def _unraisable(problems: list[str]) -> Iterator[None]:
    """What cannot be raised, such as a ResourceWarning in a finalizer, is a problem."""
    before = sys.unraisablehook

    def note(args: sys.UnraisableHookArgs) -> None:
        problems.append(f"unraisable: {args.exc_value!r} in {args.object!r}")

    sys.unraisablehook = note
    try:
        yield
    finally:
        sys.unraisablehook = before
