"""A conversation that lasts for hours, and what is true of it all along.

One caller, three agents, one server that ends every session after an hour, and a line
that drops. It all happens in virtual time; a seed fixes who says what, and what goes
wrong when. Nothing is kept but counts: the checks are made as things happen.
"""

from __future__ import annotations

import gc
import random
import resource
import struct
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from stage import model_of
from trialogue import (
    Agent,
    Backoff,
    ConnectionLost,
    Handoff,
    History,
    RunContext,
    ServerError,
    SessionOptions,
    function_tool,
    open_agent_session,
)
from trialogue.agents.events import HandoffCompleted, HandoffFailed
from trialogue.agents.session import AgentSession
from trialogue.audio import MemoryInput
from trialogue.conversation.equivalence import has_content
from trialogue.conversation.items import FunctionCall, FunctionCallOutput, Message
from trialogue.realtime.notices import (
    AudioDropped,
    ConnectionEnded,
    ConnectionOpened,
    HistoryTrimmed,
)
from trialogue.testing import (
    Call,
    Keeping,
    Network,
    Pace,
    RealtimeServer,
    Say,
    Settings,
    Utterances,
    close,
    cut,
    quiet,
    refuse_connect,
    silence,
    swallow,
    voice,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trialogue.testing import Connection, Fault, LogEntry, Turn
    from trialogue.testing.faults import ConnectFault

__all__ = ["Soak"]

HOUR: Final = 3600.0
BLOCK: Final = 2 * HOUR
"""Each block has an eventful time, and then a calm one that is longer than a session
may last."""
EVENTFUL: Final = 0.4 * BLOCK
EPOCH: Final = 1_700_000_000.0
"""What the clock on the wall says when the virtual one begins."""
FRAME_MS: Final = 100
PATIENCE: Final = 120.0
"""Virtual seconds in which a turn is answered, whatever goes wrong."""
MOST_ITEMS: Final = 120
NOTICED: Final = 35.0
"""Seconds after which a server that answers no pings is known to be gone."""

SILENT: Final = quiet(FRAME_MS)
EDGE: Final = b"\x11\x11"
NOISES: Final = tuple(voice(f"soak {n}", 600) for n in range(8))

ANSWERS: Final = (
    "session.updated",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.deleted",
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.done",
    "input_audio_buffer.committed",
    "conversation.item.input_audio_transcription.completed",
)
"""Where things go wrong."""
OWN: Final = ("trialogue.realtime.", "trialogue.agents.", "trialogue.audio.")
TOLD: Final = ("trialogue.realtime.notices", "trialogue.agents.events")


# --- what the caller says -----------------------------------------------------------


def clip(number: int) -> bytes:
    """Return the sound of one sentence; no two are alike, and each says its number."""
    tag = struct.pack("<HH", 0x1000 | number & 0xFFF, 0x1000 | number >> 12)
    return EDGE + tag + NOISES[number % len(NOISES)] + EDGE


@attrs.define(eq=False)
class Ear(Utterances):
    """Hears, in a turn's audio, which sentences are in it, and whether they are whole.

    Attributes:
        words: what each sentence means, by its number.
        damaged: turns in which a sample was missing, doubled or out of order.
    """

    words: dict[int, str] = attrs.field(factory=dict)
    damaged: list[str] = attrs.field(factory=list)

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        """Return the words of one committed turn."""
        said: list[str] = []
        while sound := pcm.lstrip(b"\0"):
            number = self._number(sound)
            whole = None if number is None else clip(number)
            if number is None or whole is None or not sound.startswith(whole):
                self.damaged.append(f"{start_ms}-{end_ms} ms, sentence {number}")
                return "Something unintelligible."
            said.append(self.words.get(number, f"sentence {number}"))
            pcm = sound[len(whole) :]
        return " ".join(said)

    @staticmethod
    def _number(sound: bytes) -> int | None:
        if not sound.startswith(EDGE) or len(sound) < 6:
            return None
        low, high = struct.unpack_from("<HH", sound, 2)
        return int(low & 0xFFF) | int(high & 0xFFF) << 12


# --- who answers --------------------------------------------------------------------


class Member(Agent):
    """Introduces itself, looks things up, and hands over to whoever is asked for."""

    async def on_enter(self, ctx: RunContext) -> None:
        if ctx.session.userdata.handoffs:
            with suppress(ServerError):
                await ctx.session.generate_reply(instructions="Introduce yourself.")

    @function_tool
    async def look_up(self, ctx: RunContext, what: str) -> str:
        """Look something up."""
        await trio.sleep(0.2)
        return f"All about {what}."

    @function_tool
    async def transfer(self, ctx: RunContext, name: str) -> Handoff:
        """Transfer to another member."""
        return Handoff(member(name))


VOICES: Final = {"Kelly": "marin", "Sunny": "marin", "Max": "cedar"}
"""A voice that was heard is fixed: to Max, and back, it takes a fresh connection."""


def member(name: str) -> Member:
    return Member(
        f"You are {name}.", name=name, options=SessionOptions(voice=VOICES[name])
    )


def brain(turn: Turn) -> Any:
    """Answer each sentence by its number, with what it asks for."""
    name = turn.instructions.split()[2].rstrip(".")
    if turn.override is not None and "Introduce" in turn.override:
        return Say(f"{name} here.", ms=300)
    words = turn.user_text.split()
    number = words[1] if len(words) > 1 else "?"
    if turn.output is None and "look" in words:
        return Call("look_up", {"what": number})
    if turn.output is None and "transfer" in words:
        return [Say(f"Moment {number}.", ms=200), Call("transfer", {"name": words[-1]})]
    return Say(f"Answer {number}.", ms=400)


# --- the run ------------------------------------------------------------------------


@attrs.define(eq=False)
class Soak:
    """One run, what was counted in it, and what was found wrong.

    Attributes:
        hours: how long it lasts, in virtual time.
        problems: what should not have been.
        live: objects of the library's own that were alive, by class, at each look.
        blocks: small pieces of memory that were in use, at each look.
        peak_mb: the most memory that the process has had, at each look.
        refusals: of attempts to connect, planned so far.
    """

    hours: float
    seed: int = 0
    server: RealtimeServer = attrs.field(init=False)
    ear: Ear = attrs.field(factory=Ear)
    random: random.Random = attrs.field(init=False)
    counts: Counter[str] = attrs.field(factory=Counter)
    errors: Counter[str] = attrs.field(factory=Counter)
    problems: list[str] = attrs.field(factory=list)
    live: list[Counter[str]] = attrs.field(factory=list)
    blocks: list[int] = attrs.field(factory=list)
    peak_mb: list[float] = attrs.field(factory=list)
    dropped: float = 0.0
    handoffs: int = 0
    refusals: int = 0
    number: int = 0
    _session: AgentSession | None = None
    _microphone: MemoryInput = attrs.field(init=False)
    _sound: bytearray = attrs.field(factory=bytearray)
    _upset: bool = False
    _deaf_until: float = 0.0
    _before: frozenset[str] = frozenset()

    def __attrs_post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.server = RealtimeServer(
            brain,
            network=Network(one_way=0.03),
            settings=Settings(
                pace=Pace(delta_ms=(100,), rate_limits_ms=None),
                max_duration=HOUR,
                wall=self.wall,
            ),
            utterances=self.ear,
            seed=self.seed,
            on_entry=self._seen,
            keeping=Keeping.tails(),
        )

    @staticmethod
    def wall() -> float:
        return EPOCH + trio.current_time()

    @property
    def session(self) -> AgentSession:
        assert self._session is not None
        return self._session

    def summary(self) -> str:
        """Say in one line what happened."""
        count = self.counts
        return (
            f"soak: {self.hours:g} h, seed {self.seed}: {count['spoken']} spoken and"
            f" {count['written']} written turns, {self.handoffs} handoffs"
            f" ({count['fresh']} fresh, {count['failed']} failed),"
            f" {count['reconnect']} reconnects, {count['rotation']} rotations,"
            f" {count['faults']} faults, {self.dropped:.1f} s of audio dropped,"
            f" {count['trims']} trims; peak {max(self.peak_mb, default=0):.0f} MB"
        )

    async def run(self) -> None:
        """Hold the conversation."""
        self._microphone = MemoryInput()
        model = model_of(self.server)
        async with (
            self.server.serving(),
            open_agent_session(
                model,
                audio=(self._microphone, None),
                userdata=self,
                backoff=Backoff(attempts=1000),
                history=History(items=MOST_ITEMS),
                seed=self.seed,
                wall=self.wall,
            ) as self._session,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._listen)
            nursery.start_soon(self._line)
            nursery.start_soon(self._session.run, member("Kelly"))
            await self._calm("at the beginning")
            await self._talk()
            self.session.end()
            nursery.cancel_scope.cancel()
        self._expect(not self.server.protocol_errors, str(self.server.protocol_errors))

    async def _talk(self) -> None:
        end = self.hours * HOUR
        looks = [0.25 * end, end]
        while trio.current_time() < end:
            await self._step(trio.current_time() % BLOCK < EVENTFUL)
            if trio.current_time() >= looks[0]:
                del looks[0]
                self._look_at_memory()

    def _look_at_memory(self) -> None:
        gc.collect()
        kinds = Counter(type(thing) for thing in gc.get_objects())
        mine = {
            kind.__qualname__: count
            for kind, count in kinds.items()
            if kind.__module__.startswith(OWN) and kind.__module__ not in TOLD
        }
        self.live.append(Counter(mine))
        self.blocks.append(sys.getallocatedblocks())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.peak_mb.append(peak / (1024 if sys.platform != "darwin" else 2**20))

    # --- the line -----------------------------------------------------------------

    async def _line(self) -> None:
        """Carry the caller's voice, else silence, for as long as it lasts."""
        began = trio.current_time()
        frame = 0
        while True:
            frame += 1
            await trio.sleep_until(began + frame * FRAME_MS / 1000)
            pcm = bytes(self._sound[: len(SILENT)])
            del self._sound[: len(SILENT)]
            self._microphone.push(pcm.ljust(len(SILENT), b"\0"))

    # --- what happens -------------------------------------------------------------

    async def _step(self, eventful: bool) -> None:
        """One turn, perhaps with something going wrong, and the silence behind it."""
        # Nobody but a server that has fallen silent can know that the caller spoke.
        await trio.sleep_until(max(trio.current_time(), self._deaf_until))
        self.number += 1
        kind = self.random.choices(["chat", "look", "transfer", "write"], [3, 2, 4, 1])
        meaning = self._meaning(kind[0], eventful)
        ring = self.session.realtime.listening.ring
        dropped = ring.dropped
        self._before = frozenset(item.id for _, item in self._turns())
        self._upset = eventful and self.random.random() < 0.3
        if self._upset:
            self._go_wrong()
        if kind[0] == "write":
            await self._write(meaning)
        else:
            self._say(meaning)
        answered = await self._answered()
        await self._calm(f"after {meaning!r}")
        # Only an outage that is longer than the ring loses what the caller says.
        lost = ring.dropped > dropped
        self._expect(answered or lost, f"{meaning!r} was not answered")
        self._check_answer(meaning, excused=lost)
        self._check_server(meaning)
        await trio.sleep(self.random.uniform(2, 20))

    def _meaning(self, kind: str, eventful: bool) -> str:
        if kind != "transfer":
            return f"sentence {self.number} {kind}"
        here = self.session.scope.name if self.session.scope is not None else "Kelly"
        names = [name for name in VOICES if name != here]
        if not eventful:  # a fresh connection would keep sessions from growing old
            names = [n for n in names if VOICES[n] == VOICES[here]] or names
        return f"sentence {self.number} transfer {self.random.choice(names)}"

    def _say(self, meaning: str) -> None:
        self.counts["spoken"] += 1
        self.ear.words[self.number] = meaning
        self.ear.words.pop(self.number - 50, None)
        self._sound += clip(self.number)

    async def _write(self, meaning: str) -> None:
        self.counts["written"] += 1
        realtime = self.session.realtime
        for _ in range(10):  # a connection may be lost while it is told
            edited = realtime.chat_ctx
            if self._mine() is None:
                edited = edited.add_message("user", meaning)
            report = await realtime.update_chat_ctx(edited)
            if report.ok and self._mine() is not None:
                break
        with suppress(ServerError, ConnectionLost):
            await self.session.generate_reply()

    def _go_wrong(self) -> None:
        """Plan something at a seeded place of the turn that comes."""
        self.counts["faults"] += 1
        where = self.random.choice(ANSWERS)
        nth = self.random.randint(1, 2)
        what = self.random.choice(["cut", "close", "silence", "swallow", "gone"])
        faults: list[Fault | ConnectFault] = []
        if what == "swallow":
            faults = [swallow(where)]
        elif what == "silence":
            faults = [silence(after=where, nth=nth, pongs=False)]
        elif what == "close":
            faults = [close(1011, after=where, nth=nth)]
        else:
            size = self.random.choice([0, 1, 20])
            faults = [cut(before=where, after_bytes=size, nth=nth)]
        if what == "gone":
            times = self.random.choice([1, 2, 4, 12])
            # A cut may be planned where nothing comes: refusals would add up to an
            # outage that is longer than anybody's patience.
            if self.refusals <= self.server.dials - self.server.accepted:
                self.refusals += times
                faults.append(refuse_connect(times))
        self.server.inject(*faults)

    # --- what is waited for -------------------------------------------------------

    def _mine(self) -> int | None:
        """Return the place of the caller's turn in the record; its words may be lost.

        The sound of a turn that was not transcribed in time is given to the next server
        as it is, and that tells nobody what was said.
        """
        new = [at for at, item in self._turns() if item.id not in self._before]
        self._expect(len(new) < 2, f"sentence {self.number} stands {len(new)} times")
        return new[-1] if new else None

    def _turns(self) -> list[tuple[int, Message]]:
        items = enumerate(self.session.chat_ctx.items)
        return [
            (at, item)
            for at, item in items
            if isinstance(item, Message) and item.role == "user"
        ]

    async def _answered(self) -> bool:
        with trio.move_on_after(PATIENCE) as patience:
            # Whatever tells of it, a reconnect or a fresh replay may undo it.
            while (at := self._mine()) is None or not self._answers(at):  # noqa: ASYNC110
                await trio.sleep(0.25)
        return not patience.cancelled_caught

    def _answers(self, at: int) -> list[Message]:
        """Return what was said behind the caller's turn."""
        behind = self.session.chat_ctx.items[at + 1 :]
        return [
            item
            for item in behind
            if isinstance(item, Message) and item.role == "assistant" and item.text
        ]

    async def _calm(self, when: str) -> None:
        """Wait until nobody owes anybody anything, and nothing is heard."""
        with trio.move_on_after(PATIENCE) as patience:
            calm_for = 0
            while calm_for < 3:
                await trio.sleep(0.25)
                calm_for = calm_for + 1 if self._is_calm() else 0
            await self.session.wait_for_playout()
        realtime = self.session.realtime
        state = f"{realtime!r} {realtime.open_work} owed={realtime.replying.owed}"
        self._expect(not patience.cancelled_caught, f"no rest {when}: {state}")

    def _is_calm(self) -> bool:
        realtime, scope = self.session.realtime, self.session.scope
        owed = realtime.replying.owed or realtime.user_has_the_floor
        busy = any(realtime.open_work.values()) or scope is None or not scope.quiet
        return realtime.settled and not owed and not busy and not self._sound

    # --- what is checked ----------------------------------------------------------

    def _expect(self, good: object, problem: str) -> None:
        if not good:
            now = trio.current_time() if trio.lowlevel.in_trio_run() else -1
            self.problems.append(f"[{now:.1f} s] {problem}")

    def _check_answer(self, meaning: str, *, excused: bool) -> None:
        at = self._mine()
        if at is None or (excused and not self._answers(at)):
            self._expect(excused, f"{meaning!r} is not in the record")
            return
        said = [message.text for message in self._answers(at)]
        wanted = self._wanted(meaning)
        # What was heard of a lost reply stands, and is not said again; after a failed
        # handoff the one who was left answers.
        upset = 1 <= len(said) <= len(wanted)
        right = upset if self._upset else said == wanted
        self._expect(right, f"{meaning!r} was answered with {said}, not {wanted}")

    @staticmethod
    def _wanted(meaning: str) -> list[str]:
        words = meaning.split()
        if "transfer" in words:
            return [f"Moment {words[1]}.", f"{words[-1]} here."]
        return [f"Answer {words[1]}."]

    def _check_server(self, meaning: str) -> None:
        """The record and the server's conversation are one, and pairs are whole."""
        server = self.server.live[-1] if self.server.live else None
        if server is None:
            self.problems.append(f"after {meaning!r} nobody serves")
            return
        theirs = [held.id for held in server.conversation]
        context = self.session.chat_ctx
        ours = [item.id for item in context if item.id in set(theirs)]
        self._expect(ours == theirs, f"after {meaning!r}: {ours} is not {theirs}")
        only = [i for i in context if i.id not in set(theirs) and has_content(i)]
        self._expect(not only, f"after {meaning!r} only the record has {only}")
        self._expect(len(context) <= MOST_ITEMS, f"{len(context)} items")
        calls = Counter(i.call_id for i in context if isinstance(i, FunctionCall))
        outputs = (i for i in context if isinstance(i, FunctionCallOutput))
        answered = Counter(i.call_id for i in outputs)
        self._expect(calls == answered, f"after {meaning!r}: {calls} and {answered}")

    def _seen(self, connection: Connection, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            self._upset = self._upset or bool(entry.note)
            if "silence" in entry.note:
                self._deaf_until = entry.time + NOTICED
            if entry.type == "error":
                error = entry.event.get("error", {})
                self.errors[str(error.get("code") or error.get("message"))] += 1

    async def _listen(self) -> None:
        async with self.session.subscribe(buffer=10_000) as events:
            async for event in events:
                self._heard(event)

    def _heard(self, event: object) -> None:
        match event:
            case ConnectionOpened(reason=reason):
                self.counts[reason] += 1
            case ConnectionEnded():
                self.counts["ended"] += 1
            case HandoffCompleted(timings):
                self.handoffs += 1
                self.counts["fresh"] += not timings.reused
            case HandoffFailed():
                self.counts["failed"] += 1
            case AudioDropped(seconds=seconds):
                self.dropped += seconds
            case HistoryTrimmed():
                self.counts["trims"] += 1
            case _:
                pass


def growth(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    """Return of which classes there are more now, and by how many."""
    kinds: Iterable[str] = after
    return {kind: more for kind in kinds if (more := after[kind] - before[kind]) > 0}
