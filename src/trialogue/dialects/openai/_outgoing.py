"""Neutral commands as client events, and the key that each answer will carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

from trialogue.dialects import commands
from trialogue.dialects.openai._configuration import (
    audio_output,
    maybe,
    patch,
    prompt,
    reasoning,
    tool_choice,
    tools,
)
from trialogue.dialects.openai._items_out import item_out, reference_or_item_out
from trialogue.dialects.openai._ranges import check_options, check_response
from trialogue.dialects.openai.wire import client_events as wire
from trialogue.dialects.openai.wire.base import UNSET, Maybe
from trialogue.dialects.openai.wire.codec import unstructure
from trialogue.dialects.openai.wire.items import InputAudio, Item, Message
from trialogue.dialects.openai.wire.response import ResponseAudio, ResponseParams
from trialogue.dialects.options import Unchanged
from trialogue.errors import ConversionError

if TYPE_CHECKING:
    from trialogue.dialects.dialect import AnswerKey
    from trialogue.dialects.openai._ids import Ids

__all__ = ["MAX_AUDIO_BYTES", "METADATA_KEY", "check_size", "client_event"]

METADATA_KEY: Final = "trialogue"
"""Where the key of a response travels in its metadata."""

MAX_AUDIO_BYTES: Final = 15 * 1024 * 1024
"""The most audio that one frame may hold (§11.3)."""

_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 16, 64, 512


def client_event(
    command: commands.Command, ids: Ids, event_id: str
) -> tuple[wire.ClientEvent, AnswerKey | None]:
    """Return the event for a command whose audio is already in the wire's format.

    Raises:
        ConversionError: the command has no form in this protocol.
    """
    match command:
        case commands.AppendAudio(pcm=audio):
            check_size(audio)
            # Not acknowledged and sent fifty times a second: an id would be waste.
            return wire.InputAudioBufferAppend(audio=audio), None
        case commands.UpdateSession(options=options):
            check_options(options)
            session = patch(command)
            update = wire.SessionUpdate(event_id=event_id, session=session)
            return update, ("configured", None)
        case commands.CreateItem(item=item, after=after):
            create = _create(item_out(item, ids), after, ids, event_id)
            return create, ("item", item.id)
        case commands.CreateUserAudio(item_id=item_id, after=after):
            create = _create(_user_audio(command, ids), after, ids, event_id)
            return create, ("item", item_id)
        case commands.DeleteItem(item_id=item_id):
            wire_id = ids.out(item_id)
            delete = wire.ConversationItemDelete(event_id=event_id, item_id=wire_id)
            return delete, ("deleted", item_id)
        case commands.TruncateItem(item_id=item_id):
            return _truncate(command, ids, event_id), ("truncated", item_id)
        case commands.RetrieveItem(item_id=item_id):
            wire_id = ids.out(item_id)
            fetch = wire.ConversationItemRetrieve(event_id=event_id, item_id=wire_id)
            return fetch, ("retrieved", item_id)
        case commands.SendRaw(data=data):
            return _raw(data, event_id), None
        case commands.CommitAudio():
            commit = wire.InputAudioBufferCommit(event_id=event_id)
            return commit, ("committed", None)
        case commands.ClearAudio():
            return wire.InputAudioBufferClear(event_id=event_id), ("cleared", None)
        case commands.CreateResponse(key=key):
            params = _response(command, ids)
            respond = wire.ResponseCreate(event_id=event_id, response=params)
            return respond, ("response", key)
        case commands.CancelResponse(response_id=response_id):
            which = response_id or UNSET
            return wire.ResponseCancel(event_id=event_id, response_id=which), None
        case _:
            assert_never(command)


def _raw(event: Any, event_id: str) -> wire.UnknownClientEvent:
    data = event if isinstance(event, dict) else unstructure(event)
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(kind, str):
        raise ConversionError(
            "a raw event is a dict with a 'type' that is a string, or one of the "
            "classes of trialogue.dialects.openai.wire.client_events"
        )
    return wire.UnknownClientEvent(type=kind, data={"event_id": event_id, **data})


def _create(
    item: Item, after: str | None, ids: Ids, event_id: str
) -> wire.ConversationItemCreate:
    return wire.ConversationItemCreate(
        event_id=event_id,
        previous_item_id=UNSET if after is None else ids.out(after),
        item=item,
    )


def check_size(audio: bytes) -> None:
    if len(audio) > MAX_AUDIO_BYTES:
        raise ConversionError(
            f"{len(audio)} bytes of audio do not fit into one message, which takes "
            f"{MAX_AUDIO_BYTES}; send it in pieces"
        )


def _user_audio(command: commands.CreateUserAudio, ids: Ids) -> Message:
    if not command.pcm:
        raise ConversionError(
            f"message {command.item_id!r} has no audio: an empty message is never sent"
        )
    check_size(command.pcm)
    return Message(
        id=ids.out(command.item_id),
        role="user",
        content=(InputAudio(audio=command.pcm),),
    )


def _truncate(
    command: commands.TruncateItem, ids: Ids, event_id: str
) -> wire.ConversationItemTruncate:
    return wire.ConversationItemTruncate(
        event_id=event_id,
        item_id=ids.out(command.item_id),
        content_index=command.content_index,
        audio_end_ms=command.audio_end_ms,
    )


def _response(command: commands.CreateResponse, ids: Ids) -> ResponseParams:
    check_response(command)
    sink = audio_output(command.output_format, command.voice)
    return ResponseParams(
        conversation="none" if command.out_of_band else UNSET,
        input=_input(command, ids),
        instructions=maybe(command.instructions),
        tools=tools(command.tools),
        tool_choice=tool_choice(command.tool_choice),
        parallel_tool_calls=maybe(command.parallel_tool_calls),
        reasoning=reasoning(command.reasoning_effort),
        output_modalities=maybe(command.output_modalities),
        max_output_tokens=maybe(command.max_output_tokens),
        audio=UNSET if sink is UNSET else ResponseAudio(output=sink),
        prompt=prompt(command.prompt),
        metadata=_metadata(command),
    )


def _input(command: commands.CreateResponse, ids: Ids) -> Maybe[tuple[Item, ...]]:
    if isinstance(command.input, Unchanged):
        return UNSET
    return tuple(reference_or_item_out(item, ids) for item in command.input)


def _metadata(command: commands.CreateResponse) -> dict[str, str]:
    """Join the program's pairs with our key; the limits are the provider's (§9.1)."""
    if METADATA_KEY in command.metadata:
        raise ConversionError(
            f"the metadata key {METADATA_KEY!r} is taken; use another"
        )
    pairs = {**command.metadata, METADATA_KEY: command.key}
    if len(pairs) > _MAX_PAIRS:
        raise ConversionError(
            f"{len(pairs) - 1} metadata pairs: at most {_MAX_PAIRS - 1} are possible"
        )
    for key, value in pairs.items():
        if len(key) > _MAX_KEY or len(value) > _MAX_VALUE:
            raise ConversionError(
                f"metadata {key[:_MAX_KEY]!r} is too long: at most {_MAX_KEY} "
                f"characters of key and {_MAX_VALUE} of value"
            )
    return pairs
