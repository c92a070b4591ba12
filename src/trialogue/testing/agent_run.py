"""Testing an agent: the user's turns in, what happened out, and no network.

A test plays both the user and the model of a conversation, over the local server in
memory. `run_agent` makes an `AgentRun`; on a clock that jumps it takes no time.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Generic

from trialogue.agents.userdata import UserDataT
from trialogue.errors import ResponseFailed
from trialogue.realtime.notices import ItemChanged, ReplyStarted, UserStoppedSpeaking
from trialogue.testing.happenings import Happenings
from trialogue.testing.scripted import Answer, ScriptError
from trialogue.testing.settling import Settling, TurnUnfinished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    import trio

    from trialogue.agents.session import AgentSession
    from trialogue.audio import MemoryOutput
    from trialogue.conversation.items import Item
    from trialogue.testing.caller import Caller
    from trialogue.testing.chronicle import Chronicle
    from trialogue.testing.script import Turn

__all__ = ["AgentRun", "Exchange"]


class Exchange(Happenings):
    """One turn: what the user said or did, and all that came of it until it was quiet.

    `str(exchange)` is its course, a line each. Its members are those of `Happenings`.
    """


class AgentRun(Happenings, Generic[UserDataT]):
    """A conversation with an agent under test; made by `run_agent`.

    What it tells and demands (`Happenings`) is of the whole conversation; what `say`,
    `write` and the others return is of one turn.

    Attributes:
        session: the agent session, to do with as an application would.
        server: the local server, for faults (`inject`) and for what went over the wire.
        speaker: what was played, and when.
        turns: the turns so far; the first is what happened before the user's first.
    """

    def __init__(
        self,
        session: AgentSession[UserDataT],
        chronicle: Chronicle,
        caller: Caller,
        speaker: MemoryOutput,
        settling: Settling,
        nursery: trio.Nursery,
    ) -> None:
        super().__init__(chronicle)
        self.session = session
        self.server = chronicle.server
        self.speaker = speaker
        self.turns: list[Exchange] = []
        self._model = chronicle.model
        self._caller = caller
        self._settling = settling
        self._nursery = nursery

    def __repr__(self) -> str:
        return f"<AgentRun turns={len(self.turns)} ended={self.ended}>"

    @property
    def userdata(self) -> UserDataT:
        """What was given to `run_agent(userdata=…)`."""
        return self.session.userdata

    @property
    def opening(self) -> Exchange:
        """What happened before the user's first turn."""
        return self.turns[0]

    @property
    def ended(self) -> bool:
        """Whether the conversation is over: an agent called `session.end()`."""
        return self._settling.over

    @property
    def items(self) -> tuple[Item, ...]:
        """The conversation as the session has it, item by item."""
        return self.session.chat_ctx.items

    @property
    def prompts(self) -> tuple[Turn, ...]:
        """All that the model was asked, with what it was given, in order.

        Also what nobody ever heard: replies that were cancelled at once, out-of-band
        ones.
        """
        return tuple(self._model.asked)

    # --- the user ------------------------------------------------------------

    async def say(
        self,
        words: str,
        *replies: Answer,
        ms: int = 800,
        listen_ms: int | None = None,
    ) -> Exchange:
        """Speak as the user, and wait until the agent has done all that follows.

        The words go as sound through turn detection; where there is none, as a turn
        that is started and committed. Said while the agent speaks, they interrupt it as
        a caller would.

        Args:
            words: what is said, and will be transcribed.
            replies: what the model does, response by response: words, a `Call`, a list
                of parts. The response after a tool's output is another one, and so is
                the first of an agent that was handed over to.
            ms: how long saying it takes.
            listen_ms: go on once the user has heard so much of the answer, which is
                still being spoken then; by default it is listened to.

        Raises:
            ScriptError: the model was asked for what is not scripted, or not asked for
                what is.
            TurnUnfinished: it does not end within the run's patience; the text says
                why. Or the user was not heard.
        """
        __tracebackhide__ = True
        async with self.exchange(*replies, listen_ms=listen_ms) as exchange:
            with self._settling.attending():
                taken = partial(self._taken, exchange)
                heard = await self._caller.say(words, ms, taken)
                self._settling.check()
            if not heard:
                raise TurnUnfinished(self._caller.unheard(words))
        return exchange

    async def write(
        self, words: str, *replies: Answer, listen_ms: int | None = None
    ) -> Exchange:
        """Write as the user, ask for a reply, and wait as `say` does.

        As an application does that has a text field: `send_message`, then
        `generate_reply`.

        Raises:
            ScriptError, TurnUnfinished: see `say`.
        """
        __tracebackhide__ = True
        async with self.exchange(*replies, listen_ms=listen_ms) as exchange:
            report = await self.session.send_message(words)
            report.raise_for_failures()
            self._settling.asking += 1
            self._nursery.start_soon(self._ask)
        return exchange

    async def wait(self, seconds: float, *replies: Answer) -> Exchange:
        """Let the user be silent for so long, and then wait for what has come of it.

        Raises:
            ScriptError, TurnUnfinished: see `say`.
        """
        __tracebackhide__ = True
        async with self.exchange(*replies) as exchange:
            await self._settling.sleep(seconds)
        return exchange

    @asynccontextmanager
    async def exchange(
        self, *replies: Answer, listen_ms: int | None = None
    ) -> AsyncIterator[Exchange]:
        """Make a turn of what is done in the block; its end waits as `say` does.

        For what else an application does: `run.session.handoff(agent)`,
        `run.session.generate_reply()`, a fault.

        Raises:
            ScriptError, TurnUnfinished: see `say`.
        """
        __tracebackhide__ = True
        exchange = self._begin_turn(replies)
        yield exchange
        if listen_ms is not None:
            await self._listen(exchange, listen_ms)
            return
        await self._until(lambda: self._settling.quiet, "the turn has not ended")
        self._model.check_all_given()
        exchange._end = len(self._chronicle.events())

    def _begin_turn(self, replies: Sequence[Answer]) -> Exchange:
        self._settling.check()
        if self.ended:
            msg = "the conversation is over, and the script goes on; it was:"
            raise ScriptError(f"{msg}\n{self}")
        self._model.check_all_given()
        self._model.expect(replies)
        exchange = Exchange(self._chronicle, len(self._chronicle.events()))
        if self.turns:
            # One that was not listened to its end ends here.
            self.turns[-1]._end = exchange._begin
        self.turns.append(exchange)
        return exchange

    async def _ask(self) -> None:
        try:
            await self.session.generate_reply()
        except ResponseFailed:
            pass  # the events tell of it; whoever tests it looks there
        finally:
            self._settling.asking -= 1
            self.session.changed.pulse()

    def _taken(self, exchange: Exchange) -> bool:
        """Whether turn detection has made an item of what was said, or the end came."""
        self._settling.check()
        turns = [event.item_id for event in exchange.of(UserStoppedSpeaking)]
        added = [event.item_id for event in exchange.of(ItemChanged)]
        return self.ended or any(item_id in added for item_id in turns)

    async def _until(self, predicate: Callable[[], object], what: str) -> None:
        __tracebackhide__ = True
        await self._settling.until(predicate, what, lambda: str(self.turns[-1]))

    async def _listen(self, exchange: Exchange, ms: int) -> None:
        """Hear so much of the answer."""
        __tracebackhide__ = True

        def heard() -> int:
            return sum(reply.heard_ms for reply in exchange.replies)

        def goes_on() -> bool:
            begun = bool(exchange.of(ReplyStarted))
            return heard() > 0 or (begun and self._settling.quiet)

        await self._until(goes_on, "no answer was heard")
        while (left := ms - heard()) > 0:
            if self._settling.quiet:
                msg = (
                    f"the answer was over after {heard()} ms, before the {ms} ms that "
                    f"were to be heard of it:\n{exchange}"
                )
                raise ScriptError(msg)
            await self._settling.sleep(left / 1000)

    # --- for run_agent -------------------------------------------------------

    async def _open(self, replies: Sequence[Answer]) -> None:
        """Wait until the agent has entered."""
        async with self.exchange(*replies):
            await self._until(
                lambda: self.session.scope or self.ended,
                "the conversation has not begun",
            )

    async def _finish(self) -> None:
        """The test is over: the script has to be, and the conversation will be."""
        self._settling.check()
        self._model.check_all_given()
        self.session.end(now=True)
        await self._until(lambda: self.ended, "the conversation has not ended")
