"""One session from its opening to its end: caller, agents, and what is checked."""

from __future__ import annotations

import time
from collections import Counter, deque
from contextvars import ContextVar
from random import Random
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from soak.cast import (
    CLIP_SECONDS,
    NAMES,
    Member,
    Played,
    clip,
    configurations,
    sentence,
)
from soak.hearing import Loudspeaker
from soak.line import Line
from soak.rules import MOST_STALL, TIMING, Breach, Rules, excused
from soak.tracing import Ring, tasks, tree
from trialogue import (
    Backoff,
    ConnectionLost,
    ConnectRefused,
    HandoffError,
    OpenAIRealtime,
    ServerError,
    open_agent_session,
)
from trialogue.agents.events import (
    AgentTranscript,
    HandoffCompleted,
    HandoffFailed,
    ToolFinished,
    ToolStarted,
)
from trialogue.agents.session import AgentSession
from trialogue.audio import MemoryInput
from trialogue.conversation.equivalence import has_content
from trialogue.conversation.items import FunctionCall, FunctionCallOutput, Message
from trialogue.realtime.broadcast import Subscription
from trialogue.realtime.notices import (
    AudioDropped,
    ConnectionOpened,
    ItemChanged,
    ReplyStarted,
    UserTranscript,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialogue.conversation.context import ChatContext

__all__ = ["IN_TIME_BUT", "NOT_JUDGED", "Life"]

LIFE: ContextVar[int] = ContextVar("soak_life", default=0)
"""Whose a task is: what is started by one that is somebody's is so as well."""
EXPECTED: Final = (ConnectionLost, ConnectRefused, HandoffError, ServerError)
"""What a fault may lead to; anything else is none of the provider's doing."""
CHUNK_MS: Final = 50
USUAL: Final = 1.2
"""Seconds from the last word to the first sound of an answer: half a second of silence
ends a turn, then there is a tool, a handoff, or both."""
PATIENCE: Final = 12.0
"""Seconds in which a conversation has come to rest, apart from what faults take."""
EARLIER: Final = 12.0
"""Seconds for which what was done to a session may still be felt."""
LONG_AGO: Final = 90.0
"""Seconds of faults that are told of with a breach."""
SLACK: Final = 0.25
TOLD_LATER: Final = 0.6
"""Seconds until all is told that explains what has just been seen."""
IN_TIME_BUT: Final = "answers in time but for lateness"
NOT_JUDGED: Final = "answers not judged for lateness"
UNTOLD: Final = (AgentTranscript, ItemChanged, ToolStarted, UserTranscript)
"""Events of which there are too many to be shown with what went wrong."""
SAID: Final = {
    "chat": 3,
    "long": 3,
    "look": 2,
    "both": 1,
    "fail": 1,
    "ask": 2,
    "transfer": 6,
}
ENDS: Final = {"end": 3, "now": 2, "leave": 2, "cancel": 3}


@attrs.define(eq=False)
class Life:
    """One session. `live` is all of it; the rest is for the agents.

    Attributes:
        number: which it is, from 1; the server knows it by that.
        totals: what is counted over all sessions.
    """

    number: int
    line: Line
    rules: Rules
    random: Random
    totals: Counter[str]
    stopping: trio.Event
    _session: AgentSession[Any] | None = None
    _speaker: Loudspeaker = attrs.field(init=False)
    _microphone: MemoryInput = attrs.field(factory=MemoryInput)
    _sound: bytearray = attrs.field(factory=bytearray)
    _made: dict[str, str] = attrs.field(factory=dict)
    _begun: dict[str, str | None] = attrs.field(factory=dict)
    _present: set[Played] = attrs.field(factory=set)
    _answered: Counter[str] = attrs.field(factory=Counter)
    _recent: deque[tuple[float, str]] = attrs.field(factory=lambda: deque(maxlen=30))
    _events: Subscription[Any] | None = None
    _engaged: int = 0
    _opened: bool = False
    _left: float = 0.0
    _wire: Ring = attrs.field(factory=Ring)
    _dropped: bool = False
    _uttered: tuple[int, float, float] = (0, 0.0, 0.0)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        self._speaker = Loudspeaker(self._check, self._made.get, self._answers_for)

    @property
    def session(self) -> AgentSession[Any]:
        assert self._session is not None
        return self._session

    def _check(self, rule: str, good: object, problem: str = "") -> None:
        self.rules.check(rule, good, problem, self._trace)

    def _trace(self) -> Breach:
        """Return what there is to say of a breach, while it is fresh."""
        now, clock = trio.current_time(), time.monotonic()
        session, agent, generation = self._session, None, None
        if session is not None:
            agent = None if session.agent is None else session.agent.name
            serving = session.realtime.connection
            generation = None if serving is None else serving.generation
        lateness = self.line.lateness.within(clock - EARLIER, clock)
        return Breach(
            session=self.number,
            agent=agent,
            generation=generation,
            at=now,
            late=lateness / EARLIER,
            told=[
                f"{one.at - clock:.2f} {one.what} {one.how}"
                for one in self.line.since(clock - LONG_AGO, self.number)
            ],
            seen=[f"{at - now:.2f} {what}" for at, what in self._recent],
            frames=self._wire.lines(),
            tasks=tree(self._is_mine),
        )

    def _is_mine(self, task: trio.lowlevel.Task) -> bool:
        return task.context.get(LIFE) == self.number

    def _net(self, since: float) -> float:
        """Return the seconds since then in which this machine was not late itself."""
        return self.line.lateness.net(since, time.monotonic())

    # --- the agents' side -------------------------------------------------------------

    def engage(self, role: str) -> Member:
        """Return a new agent, of whom there is no other."""
        self._engaged += 1
        member = Member(role, f"{role}-{self.number}-{self._engaged}", self)
        self.know(member)
        return member

    def know(self, agent: Played) -> None:
        """Learn how somebody's sound is marked."""
        self._made.update(dict.fromkeys(configurations(agent), agent.name))

    def came(self, agent: Played) -> None:
        """Somebody's scope has begun; nobody else is there but who waits for it."""
        others = [a.name for a in self._present if a is not agent and not a.waits]
        self._check("one agent", not others, f"{agent.name} came beside {others}")
        self._present.add(agent)

    def left(self, agent: Played) -> None:
        """Somebody's scope is over."""
        self._present.discard(agent)

    # --- from the opening to the end --------------------------------------------------

    async def live(self, seconds: float) -> None:
        """Open a session, talk for so many seconds, and see it closed."""
        LIFE.set(self.number)
        self.line.damaged[self.number] = self._damaged
        began, ends = time.monotonic(), trio.current_time() + seconds
        with self._scope:
            try:
                await self._open(ends)
            except BaseExceptionGroup as group:
                await self._raised(began, group)
            except Exception as error:
                await self._raised(began, error)
        if self._opened:
            await self._check_end(time.monotonic())
        self.line.forget(self.number)

    async def _open(self, ends: float) -> None:
        async with open_agent_session(
            OpenAIRealtime(
                f"gpt-realtime-life-{self.number}",
                api_key="sk-soak",
                base_url=self.line.url,
            ),
            audio=(self._microphone, self._speaker),
            backoff=Backoff(first_attempts=10, attempts=1000, ceiling=1.0),
            timing=TIMING,
            wire_log=self._wire,
            standby=self.random.random() < 0.2,
            seed=self.random.getrandbits(32),
        ) as self._session:
            self._opened = True
            self.totals["opened"] += 1
            try:
                async with (
                    self._session.subscribe(buffer=10_000) as self._events,
                    trio.open_nursery() as nursery,
                ):
                    await self._hold(nursery, ends)
            finally:
                self._take_events()
                self._left = self._left or time.monotonic()

    async def _hold(self, nursery: trio.Nursery, ends: float) -> None:
        self._speaker.watch(self.session)
        nursery.start_soon(self._speak)
        over = trio.Event()
        nursery.start_soon(self._run, over)
        await self._talk(ends)
        (how,) = self.random.choices(list(ENDS), list(ENDS.values()))
        self.totals[f"ended by {how}"] += 1
        if how == "cancel":
            self._say("transfer")
            await trio.sleep(self.random.uniform(0, 1.5))
            self._left = time.monotonic()
            self._scope.cancel(reason="the soak ends this session")
        elif how != "leave":
            self.session.end(now=how == "now")
            await self._wait_until(over.is_set, PATIENCE, time.monotonic())
            self._check("rest", over.is_set(), f"end(), by {how}, did not end it")
        self._left = time.monotonic()
        nursery.cancel_scope.cancel(reason="the caller has hung up")

    async def _run(self, over: trio.Event) -> None:
        await self.session.run(self.engage("Kelly"))
        over.set()

    async def _raised(self, began: float, error: BaseException) -> None:
        """Hold what was raised against what was done to this session."""
        if isinstance(error, BaseExceptionGroup):
            _, rest = error.split(trio.Cancelled)
            leaves = [] if rest is None else list(_leaves(rest))
        else:
            leaves = [error]
        with trio.CancelScope(shield=True):
            await trio.sleep(TOLD_LATER)
        for leaf in leaves:
            since = max(began, time.monotonic() - 60)
            told = list(self.line.since(since, self.number))
            name = type(leaf).__name__
            self.totals[f"raised {name}"] += 1
            good = isinstance(leaf, EXPECTED) and told
            self._check("errors", good, f"raised {name}: {leaf}")

    async def _check_end(self, now: float) -> None:
        this = trio.lowlevel.current_task()
        left = [t.name for t in tasks(self._is_mine) if t is not this]
        self._check("tasks", not left, f"left behind: {left}")
        most = TIMING.close + SLACK
        took = now - self._left
        if took > most:
            await trio.sleep(TOLD_LATER)
            took = self.line.lateness.net(self._left, now)
        self._check("closing", took <= most, f"closing took {took:.2f} s")
        self.totals["slowest close, ms"] = max(
            self.totals["slowest close, ms"], round(1000 * (now - self._left))
        )

    # --- what goes on beside --------------------------------------------------------

    def _answers_for(self, response_id: str) -> str | None:
        """Return for whom a response was begun, as was said before it could sound."""
        self._take_events()
        return self._begun.get(response_id)

    def _take_events(self) -> None:
        """Note what was told; at once, for a task of its own may come late to it."""
        while self._events is not None and self._events.unread:
            self._noted(self._events.receive_nowait())

    def _noted(self, event: Any) -> None:
        if not isinstance(event, UNTOLD):
            self._recent.append((trio.current_time(), f"{event}"[:150]))
        match event:
            case ReplyStarted(response_id, agent):
                self._begun[response_id] = agent
                self.totals["replies"] += 1
            case ToolFinished(call_id=call_id):
                self._answered[call_id] += 1
                times = self._answered[call_id]
                self._check("calls", times == 1, f"{call_id} finished {times} times")
            case HandoffCompleted(timings):
                self.totals["handoffs"] += 1
                self.totals["fresh"] += not timings.reused
            case HandoffFailed():
                self.totals["failed handoffs"] += 1
            case ConnectionOpened(reason=reason):
                self.totals[f"connection: {reason}"] += 1
            case AudioDropped():
                self.totals["audio dropped"] += 1
                self._dropped = True

    async def _speak(self) -> None:
        """Carry the caller's voice, else silence, for as long as it lasts."""
        began, size, frame = trio.current_time(), CHUNK_MS * 48, 0
        while True:
            frame += 1
            await trio.sleep_until(began + frame * CHUNK_MS / 1000)
            self._take_events()
            pcm = bytes(self._sound[:size])
            del self._sound[:size]
            self._microphone.push(pcm.ljust(size, b"\0"))
            if pcm and not self._sound:
                # The last word: the silence that is answered begins here. Whoever waits
                # for the answer may be late to notice, and the answer be there by then.
                now, clock = trio.current_time(), time.monotonic()
                self._uttered = self._speaker.began, now, clock

    # --- turns ------------------------------------------------------------------------

    async def _talk(self, ends: float) -> None:
        await self._rest(time.monotonic())
        steady = True
        while trio.current_time() < ends and not self.stopping.is_set():
            steady = await self._turn(steady)
            await trio.sleep(self.random.uniform(0.0, 0.6))

    def _say(self, kind: str) -> tuple[int, str]:
        """Begin a sentence; return its number, and the name in it."""
        self.totals["sentences"] += 1
        agent = self.session.agent
        role = agent.role if isinstance(agent, Member) else ""
        name = self.random.choice([one for one in NAMES if one != role])
        number = sentence(self.totals["sentences"], kind, name)
        self._sound += clip(number)
        return number, name

    def _damaged(self, what: str) -> None:
        """A sentence has come to the server with a sample missing, or one doubled."""
        self._take_events()
        self._check("user audio", self._dropped, what)

    async def _turn(self, steady: bool) -> bool:
        """Say something and wait for the answer; whether it was quiet in the end.

        Args:
            steady: whether it is quiet now: else what is said interrupts.
        """
        (kind,) = self.random.choices(list(SAID), list(SAID.values()))
        began = time.monotonic()
        number, name = self._say(kind)
        await trio.sleep(CLIP_SECONDS)
        while self._sound:  # noqa: ASYNC110 - the line takes a piece at a time
            await trio.sleep(CHUNK_MS / 1000)
        await self._wait_for_answer(began, kind)
        if kind == "long" and self.random.random() < 0.7:
            await trio.sleep(self.random.uniform(0.05, 1.5))
            return False
        if self.random.random() < 0.2:
            return False
        if not await self._rest(began):
            return False
        if steady and not self._told_since(began - EARLIER):
            if self._net(began) >= (time.monotonic() - began) / 2:
                self._check_answer(number, kind, name)
            else:  # whoever is so late misses the deadlines of others, and his own
                self.totals[NOT_JUDGED] += 1
        await self._compare()
        return True

    def _told_since(self, when: float) -> bool:
        """Whether something was done to this session since then."""
        return any(one.life for one in self.line.since(when, self.number))

    async def _wait_for_answer(self, began: float, kind: str) -> None:
        before, spoken, clock = self._uttered

        def heard() -> bool:
            _ = self._speaker.played
            return self._speaker.began > before

        most = USUAL + MOST_STALL
        if await self._wait_until(heard, most, clock, since=began):
            waited = self._speaker.began_at - spoken
            self.totals["answers"] += 1
            if not self._told_since(began - EARLIER):
                slowest = max(self.totals["slowest answer, ms"], round(1000 * waited))
                self.totals["slowest answer, ms"] = slowest
        else:
            waited = trio.current_time() - spoken
        if waited > most:
            await trio.sleep(TOLD_LATER)
        allowed = most + self._excused(began)
        net = self.line.lateness.net(clock, clock + waited)
        self.totals[IN_TIME_BUT] += net <= allowed < waited
        problem = f"{waited:.2f} s for an answer ({kind}), {net:.2f} s of them not late"
        self._check("stall", net <= allowed, f"{problem}; allowed {allowed:.2f} s")

    async def _wait_until(
        self,
        happened: Callable[[], bool],
        most: float,
        start: float,
        *,
        since: float | None = None,
    ) -> bool:
        """Wait until something has happened, no longer than there is an excuse for.

        Args:
            happened: whether it has.
            most: seconds that it takes without a fault.
            start: from when they are counted (`time.monotonic`).
            since: faults from a little before that on excuse it; from the start.
        """
        since = start if since is None else since
        while not happened():
            late = self._net(start) - most
            # What explains it may be told a little later than it is felt.
            if late > TOLD_LATER and late - TOLD_LATER > self._excused(since):
                return False
            await trio.sleep(CHUNK_MS / 1000)
        return True

    def _excused(self, began: float) -> float:
        """Return the seconds that faults take which may be felt in what began then."""
        return excused(self.line.since(began - EARLIER, self.number))

    async def _rest(self, began: float) -> bool:
        """Wait until nobody owes anybody anything, and nothing is heard."""
        calm_for = 0

        def calm() -> bool:
            nonlocal calm_for
            calm_for = calm_for + 1 if self._is_calm() else 0
            return calm_for > 6

        start = time.monotonic()
        rests = await self._wait_until(calm, PATIENCE, start, since=began)
        state = f"{self.session!r} {self.session.realtime.open_work}"
        took = time.monotonic() - start
        self._check("rest", rests, f"no rest in {took:.1f} s: {state}")
        if not rests:
            return False
        here = [a.name for a in self._present if not a.waits]
        agent = self.session.agent
        alone = agent is not None and set(here) <= {agent.name}
        self._check("one agent", alone, f"{here} are there, and {agent} is current")
        return True

    def _is_calm(self) -> bool:
        realtime, scope = self.session.realtime, self.session.scope
        owed = realtime.replying.owed or realtime.user_has_the_floor
        busy = any(realtime.open_work.values()) or scope is None or not scope.quiet
        quiet = self.session.playout.idle and not self._sound
        return bool(realtime.settled and quiet and not owed and not busy)

    # --- what is compared -------------------------------------------------------------

    def _check_answer(self, number: int, kind: str, name: str) -> None:
        if kind == "transfer":
            agent = self.session.agent
            role = agent.role if isinstance(agent, Member) else None
            good = role == name
            self._check("unanswered", good, f"{role} is here, and {name} was asked for")
            return
        items = self.session.chat_ctx.items
        said = [i.text for i in items[-8:] if isinstance(i, Message)]
        good = any(text.startswith(f"Answer {number}.") for text in said)
        self._check("unanswered", good, f"{kind} {number} was answered with {said}")

    async def _compare(self) -> None:
        """Hold the record against what the server has, when neither changes."""
        problem = ""
        for _ in range(12):
            context, serving = self.session.chat_ctx, self.session.realtime.connection
            if serving is not None:
                about = {"session": serving.session_id}
                held = (await self.line.ask("conversation", **about))["items"]
                same = serving is self.session.realtime.connection and self._is_calm()
                if same and context == self.session.chat_ctx:
                    problem = _difference(context, held)
                    if not problem:
                        break
            # What is late, or not noticed yet, will be.
            await trio.sleep(1.0)
        self._check("record", not problem, problem)
        if not problem:
            self._check_calls()

    def _check_calls(self) -> None:
        context = self.session.chat_ctx
        calls = Counter(i.call_id for i in context if isinstance(i, FunctionCall))
        outputs = (i for i in context if isinstance(i, FunctionCallOutput))
        answered = Counter(i.call_id for i in outputs)
        once = all(times == 1 for times in calls.values())
        self._check("calls", once and calls == answered, f"{calls} and {answered}")


def _difference(context: ChatContext, held: list[list[str]]) -> str:
    """Say in what the record is not what the server holds, or ""."""
    theirs = [item_id for item_id, _, _ in held]
    known = set(theirs)
    ours = [item.id for item in context if item.id in known]
    only = [i.id for i in context if i.id not in known and has_content(i)]
    calls = Counter(call for _, kind, call in held if kind == "function_call")
    outputs = Counter(call for _, kind, call in held if kind == "function_call_output")
    if ours != theirs:
        return f"the record has {ours}, the server {theirs}"
    if only:
        return f"only the record has {only}"
    if calls != outputs:
        return f"the server has calls {calls} and outputs {outputs}"
    return ""


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
