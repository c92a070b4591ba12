"""Replies and responses: who asked, what came, how it ended.

A `Reply` is somebody's wish; a `Response` is what the server makes. The response slot
brings them together, one at a time in the default conversation, whoever began it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs
import trio

from trialogue.conversation.items import FunctionCall, Item, Message
from trialogue.dialects.commands import CreateResponse
from trialogue.dialects.events import ResponseDone, Usage
from trialogue.errors import TrialogueError
from trialogue.realtime.configuration import Configuration
from trialogue.realtime.requests import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CutItem",
    "Outcome",
    "Reply",
    "ReplyOutcome",
    "Response",
    "ResponseSlot",
    "Tap",
    "Turn",
]

Outcome: TypeAlias = Literal[
    "completed", "interrupted", "incomplete", "lost", "skipped", "superseded"
]


@attrs.frozen
class ReplyOutcome:
    """How a reply ended, for whoever asked for it.

    Attributes:
        outcome: "completed"; "interrupted" by the user, a handoff or `interrupt()`;
            "incomplete" (token limit, content filter); "lost" with its connection after
            a part was heard; "skipped" (`if_busy="skip"`); "superseded" by another
            response that served the same purpose.
        text: what was said or written, as far as it was generated.
        heard_ms: how much of an interrupted reply the user heard; None if all.
        items: the output items in order.
    """

    outcome: Outcome
    text: str = ""
    heard_ms: int | None = None
    items: tuple[Item, ...] = ()
    usage: Usage | None = None
    response_id: str | None = None

    @property
    def calls(self) -> tuple[FunctionCall, ...]:
        """The calls that the model completed, in order (R11)."""
        return tuple(
            item
            for item in self.items
            if isinstance(item, FunctionCall) and item.status == "completed"
        )


@attrs.frozen
class CutItem:
    """A spoken item that was stopped: what was heard of what had arrived."""

    item_id: str
    heard_ms: int
    received_ms: int
    complete: bool = False


@attrs.define(eq=False)
class Turn:
    """A response with calls, from its first call to the outputs: it keeps the slot."""

    response: Response
    open: bool = True


class Tap(Protocol):
    """Whoever takes a reply while it is made, beside the listener; nothing waits."""

    reached: bool
    """Something of it has reached the program: it cannot be made anew."""

    def item(self, item: Item, *, ended: bool) -> None:
        """An output item was announced, or is final."""

    def audio(self, item_id: str, pcm: bytes) -> None:
        """More sound of a message, PCM16 24 kHz mono."""

    def audio_ended(self, item_id: str) -> None:
        """All sound of a message has come."""

    def text(self, item_id: str, text: str, *, spoken: bool) -> None:
        """More words of a message."""

    def call(self, call: FunctionCall) -> None:
        """A call is complete."""

    def knows(self, item_id: str) -> bool:
        """Whether this message began before everything else was dropped."""
        ...

    def restart(self) -> None:
        """It is made anew: forget what came."""

    def end(self) -> None:
        """Nothing more comes."""

    def silence(self) -> list[CutItem]:
        """Stop what is being said; return what was not heard to its end."""
        ...

    def leave(self) -> list[CutItem]:
        """Take nothing any more; return what was not heard to its end."""
        ...

    @property
    def heard_ms(self) -> int:
        """How much of it was heard."""
        ...

    @property
    def unheard(self) -> bool:
        """Whether nothing of it was heard or read."""
        ...


@attrs.define(eq=False)
class Reply:
    """A wish for a reply, queued until the slot is free.

    Attributes:
        purpose: "program" (somebody waits), "tools" (answers tool outputs), "owed"
            (answers a user turn that was left unanswered).
        within: the turn this reply belongs to; it does not wait for that turn.
        carried: it left with its own instructions and tools.
        held_for_user: it once waited because the user was speaking; the turn's own
            response then serves it.
        answers_user: it answers a turn of the user's; if it is taken back, somebody
            else has to.
        required: it is made although the user has been answered meanwhile.
        repeated: the provider could not make it, and was asked for it again.
        looked_for: the generation of the connection on which it was looked for last.
        unwanted: nobody waits any more; cancel what may still appear.
        tap: takes it while it is made, if anybody does.
        interruptible: the user may stop it, by voice or otherwise (U4).
    """

    key: str
    config: Configuration | None
    command: CreateResponse
    add_instructions: str | None = None
    purpose: Literal["program", "tools", "owed"] = "program"
    if_busy: Literal["wait", "skip", "raise"] = "wait"
    within: Turn | None = None
    tap: Tap | None = None
    interruptible: bool = True
    request: Request | None = None
    batch: Any = attrs.field(default=None, repr=False)
    response: Response | None = None
    carried: bool = False
    held_for_user: bool = False
    answers_user: bool = False
    required: bool = False
    repeated: bool = False
    looked_for: int = 0
    unwanted: bool = False
    attempts: int = 0
    outcome: ReplyOutcome | None = None
    error: TrialogueError | None = None
    settled: trio.Event = attrs.field(factory=trio.Event, repr=False)

    @property
    def out_of_band(self) -> bool:
        return self.command.out_of_band

    def finish(self, outcome: ReplyOutcome) -> None:
        """Fix how it ended. Only the first end counts."""
        if not self.settled.is_set():
            self.outcome = outcome
            self._settle()

    def fail(self, error: TrialogueError) -> None:
        """Fix that it failed. Only the first end counts."""
        if not self.settled.is_set():
            self.error = error
            self._settle()

    def _settle(self) -> None:
        self.settled.set()
        if self.tap is not None:
            self.tap.end()

    def start_over(self) -> None:
        """What was made of it is void; it is asked for again."""
        self.request = self.batch = self.response = None
        if self.carried and self.config is not None:
            self.config.carried = False
        self.carried = False
        if self.tap is not None:
            self.tap.restart()


@attrs.define(eq=False)
class Response:
    """What the server makes, bound for good to the configuration it was made under.

    Attributes:
        config: the configuration in force when it was created, or carried by it.
        announced: its creation was, which some events of it may overtake.
        told: the subscribers were told of its beginning, and are owed its end.
        discard: it must never be heard, and its calls never run.
        cut: it was heard up to here and no further; what still comes is dropped.
        stopped: its agent handed over: what was made of it plays on, no more is made.
        emitted: some of its audio was handed on.
        given: the items of which audio, or written text, was handed on.
    """

    id: str
    generation: int
    config: Configuration | None
    reply: Reply | None = None
    out_of_band: bool = False
    announced: bool = False
    told: bool = False
    discard: bool = False
    cut: bool = False
    stopped: bool = False
    emitted: bool = False
    answers_user: bool = False
    turn: str | None = None
    heard_ms: int | None = None
    items: list[str] = attrs.field(factory=list)
    given: set[str] = attrs.field(factory=set)
    cut_items: list[CutItem] = attrs.field(factory=list)
    calls: dict[str, FunctionCall] = attrs.field(factory=dict)
    done: ResponseDone | None = None
    lost: bool = False
    created_at: float = attrs.field(factory=trio.current_time)
    first_audio_at: float | None = None
    ended: trio.Event = attrs.field(factory=trio.Event, repr=False)

    @property
    def owner(self) -> Any:
        """Who answers for it: the owner of its configuration."""
        return None if self.config is None else self.config.owner

    @property
    def tap(self) -> Tap | None:
        """Whoever takes it while it is made, beside the listener."""
        return None if self.reply is None else self.reply.tap

    @property
    def interruptible(self) -> bool:
        """Whether the user may stop it."""
        return self.reply is None or self.reply.interruptible

    @property
    def running(self) -> bool:
        return self.done is None and not self.lost

    def result(self, items: Iterable[Item]) -> ReplyOutcome:
        """Return how it ended, once it has; `items` are as the record holds them."""
        kept = tuple(items)
        return ReplyOutcome(
            outcome=self._outcome(),
            text=" ".join(i.text for i in kept if isinstance(i, Message) and i.text),
            heard_ms=self.heard_ms,
            items=kept,
            usage=None if self.done is None else self.done.usage,
            response_id=self.id,
        )

    def _outcome(self) -> Outcome:
        if self.cut or self.discard:
            return "interrupted"
        if self.done is None:
            return "lost"
        ends: dict[str, Outcome] = {
            "completed": "completed",
            "incomplete": "incomplete",
            "cancelled": "interrupted",
        }
        return ends.get(self.done.status, "incomplete")


class ResponseSlot:
    """At most one response in the default conversation, whoever began it.

    Holds the queue of wishes, the one that was posted and not yet created, the one
    response that runs, and the turn whose tools are still at work. All of it is plain
    state: the session moves it on in its reader's steps.
    """

    def __init__(self) -> None:
        self.queue: list[Reply] = []
        self.posted: Reply | None = None
        self.active: Response | None = None
        self.turn: Turn | None = None
        self.blocked = False
        self.created = 0

    def __repr__(self) -> str:
        return (
            f"<ResponseSlot queued={len(self.queue)} posted={self.posted is not None} "
            f"active={self.active is not None} turn={self.turn is not None}>"
        )

    @property
    def idle(self) -> bool:
        """Nothing is asked for, posted, running, or worked on."""
        return not self.queue and self.free_for(None)

    def free_for(self, within: Turn | None) -> bool:
        """Whether a reply that belongs to `within` may be posted now."""
        busy = self.posted is not None or self.active is not None or self.blocked
        return not busy and (self.turn is None or self.turn is within)

    def next(self) -> Reply | None:
        """The first wish that may go as far as the slot is concerned."""
        return next((r for r in self.queue if self.free_for(r.within)), None)

    def drop(self, reply: Reply) -> None:
        """Forget a wish that was not posted."""
        if reply in self.queue:
            self.queue.remove(reply)

    def requeue(self, reply: Reply) -> None:
        """A posted wish is asked for again, ahead of the others."""
        if self.posted is reply:
            self.posted = None
        reply.start_over()
        if reply not in self.queue:
            self.queue.insert(0, reply)

    def began(self, response: Response) -> None:
        """A response of the default conversation was created."""
        self.created += 1
        self.blocked = False
        self.active = response
        if response.reply is not None and self.posted is response.reply:
            self.posted = None
        # A new response is the newer turn: an older one no longer keeps the slot.
        self.turn = None

    def finished(self, response: Response) -> None:
        """It ended: the slot is free, or kept by its turn."""
        self.blocked = False
        if self.active is response:
            self.active = None

    def open_turn(self, response: Response) -> Turn:
        """A call of this response is at work; the slot stays with it."""
        if self.turn is None or self.turn.response is not response:
            turn = Turn(response)
            if self.active is response or self.active is None:
                self.turn = turn
            return turn
        return self.turn

    def close_turn(self, turn: Turn) -> None:
        """The outputs of the turn are posted."""
        turn.open = False
        if self.turn is turn:
            self.turn = None
