"""What follows a guardrail's trip: other words, another agent, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.agents.agent import name_of
from trialogue.agents.events import HandoffDiscarded
from trialogue.agents.preparing import as_handoff
from trialogue.errors import SessionClosed, TrialogueError
from trialogue.realtime.notices import ErrorNotice
from trialogue.realtime.wishes import wish_for

if TYPE_CHECKING:
    from trialogue.agents.agent import Handoff
    from trialogue.agents.guardrails import Trip
    from trialogue.agents.scope import AgentScope
    from trialogue.realtime.replies import Response, Turn

__all__ = ["follow"]


def follow(
    scope: AgentScope, trip: Trip, response: Response | None, *, waits: bool
) -> bool:
    """Start what follows a trip in an agent's scope, and say whether anything does.

    Nothing does if the agent is being left, or the conversation ends.

    Args:
        response: the reply that it is about.
        waits: other words wait for the outputs of that reply's calls.
    """
    session = scope.session
    goes_on = not (scope.ends or scope.leaving or session.ending.asked)
    handoff = as_handoff(trip.handoff)
    if handoff is not None:
        return _hand_over(scope, handoff, goes_on=goes_on)
    if trip.say is None or not goes_on or not session.guarding.may_say():
        return False
    assert scope.nursery is not None
    scope.asked = True
    turn = session.realtime.replying.slot.turn
    beside = turn is not None and turn.response is response and not waits
    scope.nursery.start_soon(_say, scope, trip.say, turn if beside else None)
    return True


def _hand_over(scope: AgentScope, handoff: Handoff, *, goes_on: bool) -> bool:
    """Hand over, once: not if that is decided already, nor to whoever is at work."""
    session = scope.session
    if not goes_on or session.running.runs(handoff.agent):
        session.publish(HandoffDiscarded(name_of(handoff.agent)))
        return False
    assert scope.nursery is not None
    scope.nursery.start_soon(scope.hand_over, handoff)
    return True


async def _say(scope: AgentScope, instructions: str, within: Turn | None) -> None:
    """Reply in other words, unless the user has said something else by then."""
    session, realtime = scope.session, scope.session.realtime
    turn = session.guarding.latest_turn
    # An answer that turn detection is about to begin would be taken for this one.
    await session.changed.until(lambda: not realtime.user_has_the_floor)
    if session.guarding.latest_turn != turn:
        return
    wish = wish_for(realtime.replying.new_key(), instructions=instructions)
    try:
        await realtime.reply(
            wish,
            config=scope.config,
            within=within,
            silence=lambda: not scope.handed_over,
        )
    except SessionClosed:
        pass
    except TrialogueError as error:  # nobody waits for it: whoever listens is told
        session.publish(ErrorNotice(str(error), getattr(error, "code", None)))
