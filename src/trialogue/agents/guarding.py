"""The guardrails of one session at work on what is said, by agents and by the user.

Checks of speech run in the session's nursery, not in the agent's: what an agent has
said plays on when it hands over, and what the user has said is answered by whoever
comes next. Each is bounded by its own timeout, and by the session's block.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import attrs
import trio

from trialogue.agents.checking import Tripped, check
from trialogue.agents.debouncing import Watch
from trialogue.agents.events import GuardrailTripped
from trialogue.agents.following import follow
from trialogue.agents.guardrails import Guardrail, Trip, gather
from trialogue.agents.run_context import (
    RunContext,
    current_call,
    current_scope,
    current_turn,
)
from trialogue.agents.stalling import STALLED
from trialogue.conversation.items import Message, TextContent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialogue.agents.agent import Agent
    from trialogue.agents.guardrails import Place
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession
    from trialogue.realtime.replies import Reply, Response

__all__ = ["Guarding"]

REMEMBERED = 64
"""Turns of the user's whose transcripts may still come."""
MOST = 3
"""Trips in a row for which other words are asked for, without a word of the user's."""


@attrs.define(eq=False)
class Said:
    """What the guardrails know of one reply.

    Attributes:
        watches: what each has seen of each message.
        done: those that have tripped and let it be heard.
        stopped: it was cut: its calls are not run any more.
        replaced: what follows was decided by a trip: its calls' outputs bring no reply.
        checks: those under way.
    """

    watches: dict[tuple[str, Guardrail], Watch] = attrs.field(factory=dict)
    done: set[Guardrail] = attrs.field(factory=set)
    stopped: bool = False
    replaced: bool = False
    checks: set[trio.CancelScope] = attrs.field(factory=set)

    def stop(self) -> None:
        """It is cut: nothing of it is looked at any more."""
        self.stopped = True
        for scope in self.checks:
            scope.cancel(reason="the reply was cut")


@attrs.define(eq=False)
class Heard:
    """A turn of the user's, and when it was complete (Trio's clock)."""

    item_id: str
    at: float
    tripped: bool = False


class Guarding:
    """Watches what is said in one session; all but the checks is synchronous.

    Attributes:
        everywhere: the guardrails that hold for every agent.
    """

    def __init__(self, session: AgentSession, guardrails: Iterable[Guardrail]) -> None:
        self.everywhere = gather(guardrails)
        self._session = session
        self._said: WeakKeyDictionary[Response, Said] = WeakKeyDictionary()
        self._turns: OrderedDict[str, Heard] = OrderedDict()
        self._refused: tuple[str, Agent] | None = None
        self._said_instead = 0

    @property
    def latest_turn(self) -> str | None:
        """The item of the user's that was said or written last."""
        return next(reversed(self._turns), None)

    def may_say(self) -> bool:
        """Count a reply in place of another; False for one more without the user.

        A guardrail that trips on the apology for its trip would be apologised for
        without end.
        """
        may = self._said_instead < MOST
        self._said_instead += may
        return may

    # --- what calls have to know ---------------------------------------------

    def stopped(self, response: Response) -> bool:
        """Whether a guardrail has stopped a reply: its further calls are not run."""
        said = self._said.get(response)
        return said is not None and said.stopped

    def replaced(self, response: Response) -> bool:
        """Whether a trip has decided what follows a reply: its calls bring none."""
        said = self._said.get(response)
        return said is not None and said.replaced

    # --- what agents say -----------------------------------------------------

    def text(self, response: Response, item_id: str, text: str) -> None:
        """More of a message has come."""
        for guardrail, watch in self._watching(response, item_id):
            self._look(response, guardrail, item_id, watch.add(text))

    def message_ended(self, response: Response, item_id: str, text: str) -> None:
        """A message is final."""
        for guardrail, watch in self._watching(response, item_id):
            self._look(response, guardrail, item_id, watch.end(text or None))

    def response_done(self, response: Response) -> None:
        """A reply has ended, and with it what of it was never called final."""
        said = self._said.get(response)
        for (item_id, guardrail), watch in () if said is None else said.watches.items():
            if said is not None and not said.stopped and guardrail not in said.done:
                self._look(response, guardrail, item_id, watch.end())

    def _watching(
        self, response: Response, item_id: str
    ) -> list[tuple[Guardrail, Watch]]:
        scope: AgentScope | None = response.owner
        if scope is None or response.out_of_band:
            return []
        meant = [g for g in scope.guardrails if g.place == "output"]
        said = self._of(response) if meant else None
        if said is None or said.stopped:
            return []
        return [
            (g, said.watches.setdefault((item_id, g), _watch_of(g)))
            for g in meant
            if g not in said.done
        ]

    def _look(
        self, response: Response, guardrail: Guardrail, item_id: str, text: str | None
    ) -> None:
        if text is not None:
            self._session.block.start_if_open(
                self._check_speech, response, guardrail, item_id, text
            )

    async def _check_speech(
        self, response: Response, guardrail: Guardrail, item_id: str, text: str
    ) -> None:
        scope: AgentScope = response.owner
        ctx = self._outside(scope)
        said = self._of(response)
        watch = said.watches[item_id, guardrail]
        following: str | None = text
        with trio.CancelScope() as under_way:
            said.checks.add(under_way)
            try:
                while following is not None and not said.stopped:
                    text = following
                    tripped = await self._checked(guardrail, ctx, text)
                    if self.stopped(response):
                        return  # while this one was about to return
                    if tripped is not None:
                        said.done.add(guardrail)
                        self.tripped(
                            scope, tripped, "output", text, response, item_id=item_id
                        )
                        return
                    following = watch.checked()
            finally:
                said.checks.discard(under_way)

    async def _checked(
        self, guardrail: Guardrail, ctx: RunContext, text: str
    ) -> Tripped | None:
        """Check in a task of its own: one that cannot be stopped is left behind."""
        found: list[Tripped | None] = []
        over, scope, began = trio.Event(), trio.CancelScope(), trio.current_time()

        async def run() -> None:
            try:
                with scope:
                    found.append(await check(guardrail, ctx, text))
            finally:
                over.set()

        name = f"guardrail {guardrail.name}"
        self._session.nursery.start_soon(run, name=name)
        try:
            with trio.move_on_after(guardrail.timeout + STALLED):
                await over.wait()
        finally:
            scope.cancel(reason="nobody waits for the check")
        if found:
            return found[0]
        self._session.log.warning("the guardrail %s does not end", guardrail.name)
        late = Trip(f"it took longer than {guardrail.timeout:g} s")
        return Tripped(guardrail, late, trio.current_time() - began)

    def _outside(self, scope: AgentScope) -> RunContext:
        # NB: a task has the context of whoever started it, here the reader's.
        current_scope.set(None)
        current_turn.set(None)
        current_call.set(None)
        return RunContext(self._session, scope.agent, None, scope)

    # --- what the user says --------------------------------------------------

    def user_turn(self, item_id: str) -> None:
        """A turn is complete; one that was written can be checked at once."""
        self._said_instead = 0
        self._turns[item_id] = Heard(item_id, trio.current_time())
        while len(self._turns) > REMEMBERED:
            self._turns.popitem(last=False)
        item = self._session.realtime.record.get(item_id)
        if isinstance(item, Message):
            written = [p.text for p in item.content if isinstance(p, TextContent)]
            if written:
                self.transcribed(item_id, " ".join(written))

    def transcribed(self, item_id: str, text: str) -> None:
        """The words of a turn are final."""
        scope = self._session.scope
        if scope is None or not text.strip():
            return
        turn = self._turns.get(item_id) or Heard(item_id, trio.current_time())
        for guardrail in scope.guardrails:
            if guardrail.place == "input":
                self._session.block.start_if_open(
                    self._check_turn, scope, guardrail, turn, text
                )

    async def _check_turn(
        self, scope: AgentScope, guardrail: Guardrail, turn: Heard, text: str
    ) -> None:
        tripped = await self._checked(guardrail, self._outside(scope), text)
        if tripped is None or turn.tripped:
            return
        turn.tripped = True
        # Whoever is current by now is to do something about it.
        scope = self._session.scope or scope
        response: Response | None = None
        if tripped.trip.cut:
            response = self._stop_answers(scope, turn)
        self.tripped(scope, tripped, "input", text, response, item_id=turn.item_id)

    def _stop_answers(self, scope: AgentScope, turn: Heard) -> Response | None:
        """Stop all that is said to a turn; return the latest of it, if any is."""
        replying = self._session.realtime.replying
        latest = turn.item_id not in self._turns or turn.item_id == self.latest_turn
        answers = [
            response
            for response in tuple(replying.responses())
            if response.turn == turn.item_id
            or (latest and response.created_at >= turn.at and not response.out_of_band)
        ]
        for response in answers:
            self._stop(response)
            self._stop_calls(response)
            self._of(response).replaced = True
        if latest:
            self._take_back()
            self._refused = turn.item_id, scope.agent
        return answers[-1] if answers else None

    def _take_back(self) -> None:
        """Nothing that was asked for since the turn is said, also if it is queued."""
        replying = self._session.realtime.replying
        slot, replying.owed = replying.slot, False
        asked: list[Reply] = [*slot.queue]
        if slot.posted is not None and not slot.posted.answers_user:
            asked.append(slot.posted)  # else it is stopped when it appears
        for reply in asked:
            if not reply.out_of_band:
                replying.leave(reply, silence=True)

    def response_created(self, response: Response) -> None:
        """A reply begins: not one to a turn that a guardrail has refused."""
        scope: AgentScope | None = response.owner
        if scope is not None and self._refused == (response.turn, scope.agent):
            self._stop(response)
            self._of(response).replaced = True

    # --- a trip --------------------------------------------------------------

    def tripped(
        self,
        scope: AgentScope,
        tripped: Tripped,
        place: Place,
        text: str,
        response: Response | None,
        *,
        item_id: str | None = None,
        call_id: str | None = None,
    ) -> None:
        """Cut the reply, tell of it, and see to what follows, all in this step."""
        trip = tripped.trip
        if response is not None and trip.cut:
            self._stop(response)
            if place == "output":
                self._stop_calls(response)
        listener = self._session.realtime.listener
        self._session.publish(
            GuardrailTripped(
                tripped.guardrail.name,
                place,
                trip.reason,
                scope.name,
                text,
                item_id,
                call_id,
                None if response is None else response.id,
                None if response is None else listener.heard_ms(response),
                tripped.seconds,
                tripped.error,
            )
        )
        follows = follow(scope, trip, response, waits=place.startswith("tool"))
        if follows and response is not None:
            self._of(response).replaced = True

    def _stop(self, response: Response) -> None:
        """Stop a reply where it is made and played; what was heard of it stays."""
        self._of(response).stop()
        unplayed = self._session.playout.unplayed
        playing = any(item_id in unplayed for item_id in response.items)
        if (response.running or playing) and not response.discard:
            self._session.realtime.replying.cut(response)

    @staticmethod
    def _stop_calls(response: Response) -> None:
        """What was said or heard is refused: a call that waits to be run is not."""
        scope: AgentScope | None = response.owner
        if scope is not None:
            scope.calls.stop(response)

    def _of(self, response: Response) -> Said:
        return self._said.setdefault(response, Said())


def _watch_of(guardrail: Guardrail) -> Watch:
    return Watch(guardrail.debounce_text_length, sentence_ends=guardrail.sentence_ends)
