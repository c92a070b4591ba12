"""What a fresh connection is told of the conversation so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from trialogue.conversation.items import (
    AudioUnintelligible,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
)
from trialogue.dialects.commands import Command, CreateItem, CreateUserAudio
from trialogue.errors import ConversionError
from trialogue.realtime.notices import ErrorNotice, ReplayTruncated
from trialogue.realtime.requests import item_of
from trialogue.realtime.syncing import creation

if TYPE_CHECKING:
    from trialogue.conversation.changes import Change
    from trialogue.conversation.record import Record
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.history import History
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.listening import Listening
    from trialogue.realtime.requests import Request

__all__ = ["encode_replay"]


class Session(Protocol):
    """What this module needs of the session."""

    record: Record
    listening: Listening
    listener: Listener

    def publish(self, event: object) -> None: ...

    def tell(self, change: Change) -> None: ...


def encode_replay(
    session: Session, connection: Connection, history: History
) -> list[Request]:
    """Return the requests that give a server the conversation, within the bounds.

    What is left out for them stays in the record, and this server is not said to hold
    it. What has no form in its protocol is left out, and said; an output travels with
    its call or not at all (S19).
    """
    requests: list[Request] = []
    left_out: set[str] = set()
    for command in _replay(session, history):
        item = command.item if isinstance(command, CreateItem) else None
        if isinstance(item, FunctionCallOutput) and item.call_id in left_out:
            # It is not under way either, so it keeps its place.
            assert connection.view is not None
            session.tell(session.record.confirmed(connection.view, item.id))
            continue
        try:
            requests.append(connection.encode(command))
        except ConversionError as error:
            session.publish(ErrorNotice(f"not replayed: {error}"))
            if isinstance(item, FunctionCall):
                left_out.add(item.call_id)
    sent = (item_of(request.command) for request in requests)
    session.record.replayed(item_id for item_id in sent if item_id is not None)
    return requests


def _replay(session: Session, history: History) -> list[Command]:
    record = session.record
    plan = record.replay_plan(
        max_items=history.replay_items,
        max_tokens=history.replay_tokens,
        running=session.listener.running_calls(),
    )
    if plan.omitted:
        session.publish(ReplayTruncated(plan.omitted, plan.omitted_tokens))
    given = {item.id for item in plan.items}
    record.withheld(i.id for i in record.pending_local() if i.id not in given)
    return [
        _replayed(session, item) if item.id in plan.needs_audio else CreateItem(item)
        for item in plan.items
    ]


def _replayed(session: Session, item: Item) -> Command:
    """A turn without words goes as sound, while that is kept."""
    command = creation(item, None, session.listening.sound_of)
    if isinstance(command, CreateUserAudio):
        return command
    assert isinstance(item, Message)
    notice = f"the user turn {item.id} was replayed as unintelligible"
    session.publish(ErrorNotice(notice))
    content = (AudioUnintelligible("not transcribed and no longer kept"),)
    return CreateItem(attrs.evolve(item, content=content))
