"""What both processes know: what callers say, who answers, and what the model says.

A sentence is a sound that carries a number, and the number says what is wanted: the
server needs to be told nothing. No two agents have the same instructions, so that the
watermark of a sound says for whom it was made.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from trialogue import (
    Agent,
    Handoff,
    RunContext,
    ServerError,
    SessionOptions,
    ToolError,
    function_tool,
)
from trialogue.testing import Call, Say, Utterances, config_hash, voice

if TYPE_CHECKING:
    from trialogue.testing import Turn

__all__ = [
    "CLIP_SECONDS",
    "DAMAGED",
    "NAMES",
    "Counsel",
    "Ear",
    "Member",
    "Played",
    "Theatre",
    "brain",
    "clip",
    "configurations",
    "sentence",
]

KINDS: Final = ("chat", "long", "look", "both", "fail", "ask", "transfer")
NAMES: Final = ("Kelly", "Sunny", "Max")
VOICES: Final = {"Kelly": "marin", "Sunny": "marin", "Max": "cedar"}
"""A voice that was heard is fixed: to Max, and back, it takes a fresh connection."""
GREETING: Final = "Introduce yourself."
CLIP_MS: Final = 500
CLIP_SECONDS: Final = CLIP_MS / 1000 + 0.001
DAMAGED: Final = "Damaged"
"""What the transcript of a turn begins with in which a sentence is not whole."""
EDGE: Final = b"\x11\x11"
NOISES: Final = tuple(voice(f"soak {n}", CLIP_MS) for n in range(8))
TOOLS: Final = ("ask", "fail", "look_up", "transfer")


# --- what callers say -----------------------------------------------------------------


def sentence(number: int, kind: str, name: str = "Kelly") -> int:
    """Return a number that says which sentence it is, and what is wanted."""
    meaning = KINDS.index(kind) * len(NAMES) + NAMES.index(name)
    return (number << 5 | meaning) & 0xFFFFFF


def meant(number: int) -> tuple[str, str]:
    """Return the kind of a sentence, and the name that it mentions."""
    kind, name = divmod(number & 31, len(NAMES))
    return KINDS[kind % len(KINDS)], NAMES[name]


def clip(number: int) -> bytes:
    """Return the sound of one sentence; no two are alike."""
    tag = struct.pack("<HH", 0x1000 | number & 0xFFF, 0x1000 | number >> 12)
    return EDGE + tag + NOISES[number % len(NOISES)] + EDGE


@attrs.define(eq=False)
class Ear(Utterances):
    """Hears which sentences are in a turn's audio, and whether they are whole."""

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        """Return the words of one committed turn."""
        said: list[str] = []
        heard = pcm
        while sound := pcm.lstrip(b"\0"):
            number = self._number(sound)
            if number is None or not sound.startswith(clip(number)):
                # A sample is missing, doubled, or out of order.
                audible = len(sound.rstrip(b"\0"))
                return (
                    f"{DAMAGED}: sentence {number or 0}, {audible} bytes from "
                    f"{sound[:8].hex()} and not {len(clip(0))}, behind "
                    f"{len(heard) - len(sound)}; {start_ms} to {end_ms} ms."
                )
            said.append(f"sentence {number}")
            pcm = sound[len(clip(number)) :]
        return " ".join(said)

    @staticmethod
    def _number(sound: bytes) -> int | None:
        if not sound.startswith(EDGE) or len(sound) < 6:
            return None
        low, high = struct.unpack_from("<HH", sound, 2)
        return int(low & 0xFFF) | int(high & 0xFFF) << 12


# --- who answers ----------------------------------------------------------------------


class Theatre(Protocol):
    """Where agents come and go; a `Life` is one."""

    def engage(self, role: str) -> Member:
        """Return a new agent."""
        ...

    def know(self, agent: Played) -> None:
        """Learn how somebody's sound is marked."""
        ...

    def came(self, agent: Played) -> None:
        """Somebody's scope has begun."""
        ...

    def left(self, agent: Played) -> None:
        """Somebody's scope is over."""
        ...


class Played(Agent[Any]):
    """Tells the theatre that it is there, for as long as its scope lasts.

    Attributes:
        waits: delegations under way: then somebody else is there as well.
    """

    def __init__(self, role: str, place: str, theatre: Theatre) -> None:
        super().__init__(f"You are {role}, {place}.", name=place)
        self.theatre = theatre
        self.waits = 0

    def enter(self, ctx: RunContext) -> None:
        """Be there from now on."""
        self.theatre.came(self)
        ctx.nursery.start_soon(self._be_there)

    async def _be_there(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.theatre.left(self)


class Member(Played):
    """Introduces itself, looks things up, hands over, and asks a colleague."""

    def __init__(self, role: str, place: str, theatre: Theatre) -> None:
        super().__init__(role, place, theatre)
        self.role = role
        self.options = SessionOptions(voice=VOICES[role])

    async def on_enter(self, ctx: RunContext) -> None:
        self.enter(ctx)
        with suppress(ServerError):
            await ctx.session.generate_reply(instructions=GREETING)

    @function_tool
    async def look_up(self, ctx: RunContext, what: str) -> str:
        """Look something up."""
        await trio.sleep(0.1)
        return f"All about {what}."

    @function_tool
    async def fail(self, ctx: RunContext, what: str) -> str:
        """Look something up that is not there."""
        raise ToolError(f"Nothing about {what}.")

    @function_tool
    async def ask(self, ctx: RunContext, what: str) -> str:
        """Ask a colleague."""
        counsel = Counsel(what, self)
        self.theatre.know(counsel)
        self.waits += 1
        try:
            found = await ctx.session.delegate(counsel)
        finally:
            self.waits -= 1
        return f"A colleague says {found}."

    @function_tool
    async def transfer(self, ctx: RunContext, name: str) -> Handoff:
        """Transfer to another member."""
        return Handoff(self.theatre.engage(name))


class Counsel(Played):
    """Says something and is done."""

    def __init__(self, what: str, parent: Member) -> None:
        super().__init__("Counsel", f"{parent.name}-{what}", parent.theatre)
        self.options = parent.options
        self.what = what

    async def on_enter(self, ctx: RunContext) -> None:
        self.enter(ctx)
        with suppress(ServerError):
            await ctx.session.generate_reply(instructions=GREETING)
        ctx.complete(f"fine about {self.what}")


def configurations(agent: Agent) -> list[str]:
    """Return the hashes that an agent's sound may carry."""
    words = str(agent.instructions)
    tools = TOOLS if isinstance(agent, Member) else ()
    return [config_hash(text, tools) for text in (words, f"{words}\n\n{GREETING}")]


# --- what the model says --------------------------------------------------------------


def brain(turn: Turn) -> Any:
    """Answer each sentence by its number, with what it asks for."""
    words = turn.user_text.split()
    number = int(words[-1]) if words and words[-1].isdecimal() else 0
    if turn.override is not None and turn.override.endswith(GREETING):
        return Say(f"Here {turn.instructions.split()[2]}", ms=300)
    if turn.output is not None or not turn.tools:
        return Say(f"Answer {number}.", ms=400)
    kind, name = meant(number)
    what = str(number)
    match kind:
        case "look":
            return Call("look_up", {"what": what})
        case "both":
            looks = [Call("look_up", {"what": what}), Call("fail", {"what": what})]
            return [Say("Two things.", ms=200), *looks]
        case "fail":
            return Call("fail", {"what": what})
        case "ask":
            return Call("ask", {"what": what})
        case "transfer":
            return [Say("One moment.", ms=200), Call("transfer", {"name": name})]
        case "long":
            return Say(f"Answer {number}. It is a long story.", ms=3000)
    return Say(f"Answer {number}.", ms=500)
