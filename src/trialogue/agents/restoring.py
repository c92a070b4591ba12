"""The return after a failed handoff: the previous agent goes on, told the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trialogue.agents.handoff import Transition
from trialogue.agents.policies import edit_made_by
from trialogue.conversation.context import ChatContext
from trialogue.conversation.items import (
    FunctionCall,
    FunctionCallOutput,
    Message,
    TextContent,
)
from trialogue.errors import ConnectionLost
from trialogue.realtime.requests import item_of
from trialogue.tools import render
from trialogue.tools.outcome import HandoffFailed, Transferred

if TYPE_CHECKING:
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
            # What the policy has deleted comes back only on a fresh connection, and
            # what this one still says of it counts for nothing.
            said = "a failed handoff had changed the conversation"
            connection.end(ConnectionLost(said))
        realtime.tell(record.restore(failed.snapshot).as_edit())
    requests = () if failed.config is None else failed.config.requests
    posted = {item_of(request.command) for request in requests}
    made = (*failed.outputs, *(() if failed.message is None else (failed.message,)))
    realtime.tell(record.forget(item.id for item in made if item.id not in posted))
    edited = record.snapshot()
    if failed.message is not None and failed.message.id in edited:
        edited = edited.remove(failed.message.id)  # it was for the other's eyes
    if failed.edited is not None:
        edited = _before_policy(edited, failed.edited)
    for output in failed.outputs:
        if output.id in edited:
            told = _truth(output, failed)
            edited = edited if told == output else edited.replace(told)
        elif isinstance(output, Message):
            edited = edited.insert(_truth(output, failed))  # a note, in its place
        elif (after := _place_of(output, edited)) is not None:
            edited = edited.insert(_truth(output, failed), after)
    return edited


def _before_policy(now: ChatContext, made: ChatContext) -> ChatContext:
    """Take back what a policy put in, changed and moved; what came since stays."""
    assert made.origin is not None
    edit, before = edit_made_by(made), ChatContext(made.origin.items)
    for item_id in edit.inserted:
        now = now.remove(item_id) if item_id in now else now
    for item_id in edit.replaced:
        was = before.get(item_id)
        now = now.replace(was) if was is not None and item_id in now else now
    if not (edit.moved or edit.replaced):
        return now
    place = {item_id: at for at, item_id in enumerate(before.ids)}
    in_order = iter(
        sorted((i for i in now if i.id in place), key=lambda i: place[i.id])
    )
    items = tuple(next(in_order) if i.id in place else i for i in now)
    return attrs.evolve(now, items=items)


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
    truth = render(HandoffFailed(f"{failed.name} could not take over"))
    if isinstance(output, FunctionCallOutput) and output.output == transferred:
        return attrs.evolve(output, output=truth)
    if isinstance(output, Message) and output.text.endswith(f": {transferred}"):
        words = TextContent(output.text.removesuffix(transferred) + truth)
        return attrs.evolve(output, content=(words,))
    return output
