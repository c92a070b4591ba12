"""One conversation told by a plan: steps of a user, a program and a faulty provider.

`tell` runs a plan in virtual time against the server's state machine and returns what
broke the rules that hold whatever happens: once it is quiet, the record equals what the
server holds, nothing is owed, and nothing took effect twice.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from contextlib import suppress
from typing import Any, Final, Literal, TypeAlias

import attrs
import trio
import trio.lowlevel
import trio.testing

from mirror import Mirror
from trialogue import Agent, RunContext, function_tool
from trialogue.agents.opening import open_agent_session
from trialogue.agents.session import AgentSession
from trialogue.audio import NullOutput
from trialogue.conversation import (
    AudioTranscribed,
    ChatContext,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    TextContent,
)
from trialogue.conversation.items import AudioPending, AudioUnintelligible
from trialogue.dialects.openai.wire import items as wire_items
from trialogue.errors import ResponseFailed, ServerError, TrialogueError
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.notices import ItemChanged
from trialogue.realtime.requests import RequestState, UpdateReport
from trialogue.testing import Call, Pace, Say, Settings, Turn, quiet
from trialogue.testing.scheduling import seeded
from wire import Fault, Provider, Wire, WiredModel

__all__ = ["Act", "Edit", "Pass", "Plan", "Run", "Step", "tell"]

PATIENCE: Final = 90.0
"""Virtual seconds in which everything that was begun is over: 15 s for an answer that
does not come, as much for its repetition, then a fresh connection."""
MOST_LOSSES: Final = 100
"""In a row: a plan may cut as often as it likes, and it is not about giving up."""
VOICE_MS: Final = 300
PROMPT: Final = "Say something"


@attrs.frozen
class Act:
    """Something that takes no further choice.

    "speak": a turn of the user; "write": a message is added without waiting; "ask" for
    a reply; "reword" the instructions; "interrupt"; "cut" the connection; "renew" it;
    "save" the snapshot that stale edits are made from.
    """

    what: Literal[
        "speak", "write", "ask", "reword", "interrupt", "cut", "renew", "save"
    ]


@attrs.frozen
class Edit:
    """An edit of a snapshot, sent while everything else goes on."""

    how: Literal["insert", "remove", "replace", "move", "clear", "reverse", "truncate"]
    at: int = 0
    to: int = 0
    stale: bool = False
    patience: float = 5.0


@attrs.frozen
class Pass:
    """Time passes."""

    seconds: float


Step: TypeAlias = Act | Edit | Pass | Fault


@attrs.frozen
class Plan:
    """One conversation. Seed 0 is a calm wire: everything in order, 10 ms each way."""

    steps: tuple[Step, ...]
    seed: int = 0


def _voice(number: int) -> bytes:
    """A square wave whose height tells the turn."""
    high = 3000 + number
    return array("h", [high, -high] * (VOICE_MS * 12)).tobytes()


class _Hearing:
    """Knows each turn by the height of its wave, and how much of it there is."""

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        counts = Counter(s for s in array("h", pcm) if s >= 3000)
        whole = 0.9 * VOICE_MS * 12
        return " ".join(
            f"turn {high - 3000}." if count >= whole else f"part of {high - 3000}."
            for high, count in sorted(counts.items())
        )


class _Host(Agent):
    instructions = "Be brief: 0."

    @function_tool
    async def look(self, ctx: RunContext) -> str:
        """Look."""
        await trio.sleep(0.2)
        return "A tree."


@attrs.define(eq=False)
class _Asked:
    """What the model was asked, as its brain saw it."""

    connection: int
    ordinal: int
    user_text: str
    prompted: bool
    follows_up: bool


@attrs.define(eq=False)
class Sent:
    """An item that one edit put in, and what its report said."""

    item_id: str
    connection: int
    state: RequestState | None = None


@attrs.define(eq=False)
class Run:
    """A plan under way, and what was seen of it."""

    plan: Plan
    provider: Provider = attrs.field(init=False)
    session: AgentSession = attrs.field(init=False)
    asked: list[_Asked] = attrs.field(factory=list)
    sent: list[Sent] = attrs.field(factory=list)
    touched: set[str] = attrs.field(factory=set)
    turns: int = 0
    rewords: int = 0
    problems: list[str] = attrs.field(factory=list)
    saved: ChatContext = attrs.field(factory=ChatContext)
    record: tuple[Item, ...] = ()
    number: int = 0

    def __attrs_post_init__(self) -> None:
        pace = Pace(delta_ms=(100,), transcript_ms=(1500, 1200, 600), burst=4)
        settings = Settings(pace=pace, oddities=False, wall=lambda: 0.0)
        self.provider = Provider(self._brain, _Hearing(), settings, seed=self.plan.seed)

    def _brain(self, turn: Turn) -> Any:
        prompted = PROMPT in (turn.override or "")
        follows = _answers_a_call(turn)
        asked = _Asked(turn.connection, turn.ordinal, turn.user_text, prompted, follows)
        self.asked.append(asked)
        words = f"Reply {turn.connection}.{turn.ordinal} in a few words."
        if turn.ordinal % 3 == 2 and not follows:
            return [Say(words, ms=400), Call("look"), Call("look")]
        return Say(words, ms=700)

    # --- the conversation ----------------------------------------------------

    async def main(self) -> None:
        model = WiredModel(self.provider)
        with trio.move_on_after(3600) as limit:
            async with open_agent_session(
                model,
                audio=(None, NullOutput()),
                backoff=Backoff(attempts=MOST_LOSSES),
                seed=1,
            ) as self.session:
                await self._hold()
        self.check(not limit.cancelled_caught, "it hung")

    async def _hold(self) -> None:
        mirror = Mirror(self.session.chat_ctx)
        async with (
            self.session.subscribe(ItemChanged, buffer=100_000) as changes,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.session.run, _Host())
            await trio.sleep(0.1)
            self.saved = self.session.chat_ctx
            async with trio.open_nursery() as tasks:
                await self.take_all(tasks)
                self.provider.faults.clear()
                with trio.move_on_after(2 * PATIENCE) as patience:
                    await trio.sleep(PATIENCE)
                    while tasks.child_tasks:  # noqa: ASYNC110 - no event tells
                        await trio.sleep(1)
                self.check(not patience.cancelled_caught, "a caller waits for ever")
                tasks.cancel_scope.cancel()
            self._judge()
            while changes.unread:
                mirror.apply(changes.receive_nowait())
            self.problems += mirror.differences(self.session.chat_ctx)
            self.session.end(now=True)

    async def take_all(self, tasks: trio.Nursery) -> None:
        """Take the steps of the plan."""
        for step in self.plan.steps:
            await self.take(step, tasks)

    async def take(self, step: Step, tasks: trio.Nursery) -> None:
        """Take one step."""
        match step:
            case Pass(seconds):
                await trio.sleep(seconds)
            case Fault():
                self.provider.faults.append(step)
            case Edit():
                tasks.start_soon(self._edit, step)
                await trio.lowlevel.checkpoint()
            case Act(what):
                await self._act(what, tasks)

    async def _act(self, what: str, tasks: trio.Nursery) -> None:
        realtime = self.session.realtime
        match what:
            case "speak":
                self.turns += 1
                realtime.push_audio(_voice(self.turns))
                await trio.sleep(VOICE_MS / 1000)
                realtime.push_audio(quiet(700))
                await trio.sleep(0.7)
            case "write":
                realtime.add_items([self._message("user")])
            case "ask":
                tasks.start_soon(self._ask)
            case "reword":
                tasks.start_soon(self._reword)
            case "interrupt":
                realtime.interrupt()
            case "cut" if self.provider.may_cut:
                self.provider.last.cut()
            case "renew" if self.provider.may_cut and realtime.settled:
                realtime.replace_connection()
            case "save":
                self.saved = realtime.chat_ctx
        await trio.lowlevel.checkpoint()

    async def _ask(self) -> None:
        with suppress(ServerError, ResponseFailed):
            await self.session.generate_reply(instructions=f"{PROMPT}.")

    async def _reword(self) -> None:
        self.rewords += 1
        await self.session.update_instructions(f"Be brief: {self.rewords}.")

    def _message(self, role: Any) -> Message:
        self.number += 1
        text = TextContent(f"note {self.number}")
        return Message(f"n{self.number}", role, (text,))

    # --- edits ---------------------------------------------------------------

    async def _edit(self, step: Edit) -> None:
        realtime = self.session.realtime
        context = self.saved if step.stale else realtime.chat_ctx
        if step.how == "truncate":
            await self._truncate(context, step)
            return
        edited = self._edited(context, step)
        new = [
            Sent(i.id, len(self.provider.wires)) for i in edited if i.id not in context
        ]
        self.sent += new
        report = await realtime.update_chat_ctx(edited, ack_timeout=step.patience)
        self._note(new, report)

    def _note(self, new: list[Sent], report: UpdateReport) -> None:
        for one in new:
            mine = [r for r in report.requests if r.item_id == one.item_id]
            if not mine:  # no connection served in time
                one.state = RequestState.NOT_SENT
                continue
            one.state = mine[-1].state
            if one.item_id in self.touched:
                continue
            held = any(one.item_id in wire.ever for wire in self.provider.wires)
            if mine[-1].ok:
                self.check(held, f"{one.item_id} is reported as taken and is not")
            elif one.state in {RequestState.REJECTED, RequestState.NOT_SENT}:
                told = f"{one.item_id} is reported as {one.state.value} and was taken"
                self.check(not held, told)

    async def _truncate(self, context: ChatContext, step: Edit) -> None:
        spoken = [
            i
            for i in context
            if isinstance(i, Message)
            and i.role == "assistant"
            and any(isinstance(p, AudioTranscribed) for p in i.content)
        ]
        if spoken:
            item = spoken[step.at % len(spoken)]
            await self.session.realtime.truncate(item.id, 100 * (1 + step.to % 3))

    def _edited(self, context: ChatContext, step: Edit) -> ChatContext:
        ids = context.ids
        chosen = ids[step.at % len(ids)] if ids else None
        match step.how:
            case "insert":
                role = ("user", "system", "assistant")[step.to % 3]
                return context.insert(self._message(role), chosen)
            case "clear":
                self.touched |= set(ids)
                return context.copy(keep=lambda item: False).insert(
                    self._message("user")
                )
            case "reverse":
                self.touched |= set(ids)
                return _ordered(context, list(reversed(context.items)))
        if chosen is None:
            return context
        # What is moved past what, of two neighbours, is not the editor's to say.
        self.touched |= set(ids) if step.how == "move" else {chosen}
        item = context.get(chosen)
        if step.how == "remove":
            return context.remove(chosen)
        if step.how == "replace":
            if isinstance(item, Message):
                self.number += 1
                text = TextContent(f"note {self.number}")
                return context.replace(attrs.evolve(item, content=(text,)))
            return context
        rest = context.remove(chosen)
        others = rest.ids
        assert item is not None
        return rest.insert(item, others[step.to % len(others)] if others else None)

    # --- the rules -----------------------------------------------------------

    def check(self, good: object, problem: str) -> None:
        if not good:
            self.problems.append(problem)

    def _judge(self) -> None:
        realtime = self.session.realtime
        work = {kind: n for kind, n in realtime.open_work.items() if n}
        self.check(not work, f"under way when all is quiet: {work}")
        self.check(realtime.settled, "no connection has the wanted configuration")
        wire = self.provider.last
        self.record = realtime.record.items
        local = [i.id for i in realtime.record.pending_local()]
        self.check(not local, f"still on their way: {local}")
        self._judge_equality(wire)
        self._judge_configuration(wire)
        self._judge_items(wire)
        self._judge_turns()
        self._judge_native()

    def _judge_equality(self, wire: Wire) -> None:
        held = {h.id: h for h in wire.machine.conversation}
        self.check(len(held) == len(wire.machine.conversation), "an id stands twice")
        ours = [i for i in self.record if i.id in held or _has_words(i)]
        mine, theirs = [i.id for i in ours], list(held)
        self.check(mine == theirs, f"record {mine} and server {theirs}")
        for item in ours:
            if item.id in held and not _same(item, held[item.id]):
                self.check(False, f"{item} is not {held[item.id]}")

    def _judge_configuration(self, wire: Wire) -> None:
        wanted = self.session.realtime.wanted
        assert wanted is not None
        held = wire.machine.session.instructions
        self.check(
            held == wanted.instructions, f"{wanted.instructions!r}, not {held!r}"
        )

    def _judge_items(self, wire: Wire) -> None:
        texts = Counter(h.text for h in wire.machine.conversation if h.text)
        twice = [t for t, n in texts.items() if n > 1 and t.startswith("note")]
        self.check(not twice, f"took effect twice: {twice}")
        calls = [i.call_id for i in self.record if isinstance(i, FunctionCall)]
        outputs = Counter(
            i.call_id for i in self.record if isinstance(i, FunctionCallOutput)
        )
        for call in calls:
            self.check(outputs[call] == 1, f"{call} has {outputs[call]} outputs")
        stray = set(outputs) - set(calls)
        self.check(not stray, f"outputs without a call: {stray}")
        ids = {i.id for i in self.record}
        refused = {RequestState.REJECTED, RequestState.NOT_SENT}
        for one in self.sent:
            known = one.state not in {None, RequestState.UNANSWERED}
            if known and one.state and one.item_id not in self.touched:
                due = one.state not in refused
                here = one.item_id in ids
                said = one.state.value
                self.check(here == due, f"{one.item_id}: {said}, in the record: {here}")

    def _judge_turns(self) -> None:
        said = " ".join(i.text for i in self.record if isinstance(i, Message))
        for turn in range(1, self.turns + 1):
            times = len(re.findall(rf"turn {turn}\.", said))
            self.check(times <= 1, f"turn {turn} stands {times} times in the record")
        self._judge_answers()

    def _judge_answers(self) -> None:
        ids = {i.id for i in self.record}
        answers: Counter[str] = Counter()
        for one in self.asked:
            if one.prompted or one.follows_up or "turn" not in one.user_text:
                continue
            made = self.provider.wires[one.connection].machine.responses[one.ordinal]
            if made.status == "completed" and ids & set(made.item_ids):
                answers[one.user_text] += 1
        twice = {text: n for text, n in answers.items() if n > 1}
        self.check(not twice, f"answered more than once: {twice}")

    def _judge_native(self) -> None:
        """Speech that lives on a server is never deleted and created again as text."""
        for wire in self.provider.wires:
            native: set[str] = set()
            deleted: set[str] = set()
            for entry in wire.log:
                event, kind = entry.event, entry.event["type"]
                if kind == "input_audio_buffer.committed":
                    native.add(event["item_id"])
                if kind == "response.output_item.added":
                    native.add(event["item"]["id"])
                if kind == "conversation.item.delete":
                    deleted.add(event["item_id"])
                if kind == "conversation.item.create":
                    again = event["item"]["id"]
                    bad = again in native & deleted and again not in self.touched
                    self.check(not bad, f"{again} was spoken and is now text")


def _answers_a_call(turn: Turn) -> bool:
    """Whether a call was answered since the user's last words, whatever came behind."""
    for item in reversed(turn.items):
        if isinstance(item, wire_items.FunctionCallOutput):
            return True
        if isinstance(item, wire_items.Message) and item.role == "user":
            return False
    return False


def _ordered(context: ChatContext, items: list[Item]) -> ChatContext:
    empty = context.copy(keep=lambda item: False)
    for item in items:
        empty = empty.insert(item)
    return empty


def _has_words(item: Item) -> bool:
    """Whether a fresh server is given the item: what has no word is left out (S1)."""
    if not isinstance(item, Message) or item.role == "user":
        return True
    return bool(item.text.strip())


def _same(item: Item, held: Any) -> bool:
    wire = held.item
    match item:
        case FunctionCall():
            return (item.name, item.call_id) == (wire.name, wire.call_id)
        case FunctionCallOutput():
            return (item.output, item.call_id) == (wire.output, wire.call_id)
        case Message(role="user", content=(AudioPending() | AudioUnintelligible(),)):
            return bool(held.pcm) or held.text == "[unintelligible]"
        case Message():
            return item.role == wire.role and _same_words(item, held)
    return True


def _same_words(item: Message, held: Any) -> bool:
    if held.cut_ms is not None:
        return bool(item.heard_ms == held.cut_ms)
    return bool(item.text == held.text)


def tell(plan: Plan) -> Run:
    """Run a plan in virtual time; see `Run.problems`."""
    run = Run(plan)
    with seeded(plan.seed):
        clock = trio.testing.MockClock(autojump_threshold=0)
        try:
            trio.run(run.main, clock=clock)
        except* TrialogueError as group:
            run.problems.append(f"raised {group.exceptions}")
    return run
