"""The return after a failed handoff: the previous agent goes on, told the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trialogue.agents.handoff import Transition
from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.realtime.ledger import item_of
from trialogue.tools import render
from trialogue.tools.outcome import HandoffFailed, Transferred

if TYPE_CHECKING:
    from trialogue.conversation.context import ChatContext
    from trialogue.conversation.items import Item
    from trialogue.realtime.session import RealtimeSession

__all__ = ["restore"]


def restore(
    realtime: RealtimeSession, previous: Transition, failed: Transition
) -> Transition:
    """Return the transition with which the previous agent goes on."""
    restored = Transition(
        previous.prepared,
        previous=previous.previous,
        enters=False,
        owed=failed.speaks or failed.group is not None,
        restores=True,
    )
    restored.edited = undone(realtime, failed)
    return restored


def undone(realtime: RealtimeSession, failed: Transition) -> ChatContext:
    """Return the conversation as of the decision, its outputs telling the truth."""
    record = realtime.record
    if failed.edited is not None and failed.snapshot is not None:
        connection = realtime.connection
        if connection is not None and connection.live:
            # What the policy has deleted comes back only on a fresh connection.
            realtime.replace_connection()
        realtime.tell(record.restore(failed.snapshot).as_edit())
    requests = () if failed.config is None else failed.config.requests
    posted = {item_of(request.command) for request in requests}
    unsent = [o for o in failed.outputs if o.id not in posted]
    realtime.tell(record.forget(output.id for output in unsent))
    edited = record.snapshot()
    for output in failed.outputs:
        if output.id in edited:
            told = _truth(output, failed)
            edited = edited if told == output else edited.replace(told)
        elif (after := _place_of(output, edited)) is not None:
            edited = edited.insert(_truth(output, failed), after)
    return edited


def _place_of(output: Item, context: ChatContext) -> str | None:
    """Return what an output follows: its call, and the outputs that are there."""
    calls = {i.call_id: i.id for i in context if isinstance(i, FunctionCall)}
    after = calls.get(getattr(output, "call_id", ""))
    if after is None:
        return None
    answered = [*context][context.index_of(after) + 1 :]
    for item in answered:
        if not isinstance(item, FunctionCall | FunctionCallOutput):
            break
        after = item.id
    return after


def _truth(output: Item, failed: Transition) -> Item:
    """Return the output as it reads once the handoff it speaks of has failed."""
    transferred = render(Transferred(failed.name))
    if isinstance(output, FunctionCallOutput) and output.output == transferred:
        reason = f"{failed.name} could not take over"
        return attrs.evolve(output, output=render(HandoffFailed(reason)))
    return output
