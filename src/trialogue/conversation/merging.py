"""How what a server reports about an item joins what is already known about it."""

from __future__ import annotations

import attrs

from trialogue.conversation.items import (
    Content,
    FunctionCall,
    FunctionCallOutput,
    Item,
    ItemStatus,
    Message,
)
from trialogue.conversation.parts import merge_part

__all__ = ["merge_item"]


def merge_item(known: Item, incoming: Item) -> Item:
    """Return the item that both reports together describe.

    Knowledge only grows: a status advances from "in_progress" to a final one and stays
    there (an interrupted item that is replayed comes back as completed), words and
    arguments are never replaced by none, and what only a client knows (agent, heard_ms)
    is kept. If the kinds differ, the server has reused the id and its report stands.
    """
    match known, incoming:
        case Message(), Message():
            return _merge_message(known, incoming)
        case FunctionCall(), FunctionCall():
            return _merge_call(known, incoming)
        case FunctionCallOutput(), FunctionCallOutput():
            return attrs.evolve(
                incoming,
                call_id=incoming.call_id or known.call_id,
                output=incoming.output or known.output,
                status=_advance(known.status, incoming.status),
            )
        case _:
            return incoming


def _merge_message(known: Message, incoming: Message) -> Message:
    return attrs.evolve(
        incoming,
        content=_merge_content(known.content, incoming.content),
        status=_advance(known.status, incoming.status),
        agent=known.agent if incoming.agent is None else incoming.agent,
        heard_ms=known.heard_ms if incoming.heard_ms is None else incoming.heard_ms,
    )


def _merge_content(
    known: tuple[Content, ...], incoming: tuple[Content, ...]
) -> tuple[Content, ...]:
    merged = [merge_part(old, new) for old, new in zip(known, incoming, strict=False)]
    longer = known if len(known) > len(incoming) else incoming
    return (*merged, *longer[len(merged) :])


def _merge_call(known: FunctionCall, incoming: FunctionCall) -> FunctionCall:
    # Arguments are whole once the call is final; a second announcement of the same call
    # (xAI sends some twice) does not change what may already be running.
    settled = known.status != "in_progress" and known.arguments
    return attrs.evolve(
        incoming,
        call_id=incoming.call_id or known.call_id,
        name=incoming.name or known.name,
        arguments=known.arguments
        if settled or not incoming.arguments
        else incoming.arguments,
        status=_advance(known.status, incoming.status),
        agent=known.agent if incoming.agent is None else incoming.agent,
    )


def _advance(known: ItemStatus, incoming: ItemStatus) -> ItemStatus:
    return incoming if known == "in_progress" else known
