"""What a response will be made under: the session, overridden (protocol §9.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.dialects.openai.wire.base import UNSET, or_none
from trialogue.dialects.openai.wire.items import (
    FunctionCallOutput,
    Item,
    ItemReference,
    Message,
)
from trialogue.dialects.openai.wire.session import AudioOutput, Session
from trialogue.testing.machine.configuration import (
    VOICE_FIXED,
    choice_name,
    tool_names,
    voice_of,
)
from trialogue.testing.machine.conversation import Conversation, Held, check_item
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.machine.ranges import check_common
from trialogue.testing.machine.records import ResponseRecord
from trialogue.testing.script import AskedBy, Turn
from trialogue.testing.watermark import config_hash

if TYPE_CHECKING:
    from trialogue.dialects.openai.wire.response import ResponseParams

__all__ = ["Request", "build"]

_PAIRS: Final = 16
_KEY: Final = 64
_VALUE: Final = 512


@attrs.frozen
class Request:
    """A response to be made: its record, the items it reads, and its output audio."""

    record: ResponseRecord
    context: Sequence[Held]
    audio: AudioOutput

    @property
    def prefix(self) -> str:
        """Instructions and tools as text."""
        return self.record.instructions + " ".join(self.record.tools)

    def turn(self, *, connection: int, ordinal: int) -> Turn:
        """Return what the brain is asked."""
        record = self.record
        return Turn(
            items=tuple(held.item for held in self.context),
            said=tuple((_role(held), held.text) for held in self.context),
            instructions=record.instructions,
            override=record.override,
            tools=record.tools,
            tool_choice=record.tool_choice,
            user_text=_last_user(self.context),
            output=_pending_output(self.context),
            asked_by=record.asked_by,
            metadata=record.metadata,
            connection=connection,
            ordinal=ordinal,
            in_conversation=record.in_conversation,
            response_id=record.id,
            spoken_ms=self.context[-1].spoken_ms if self.context else None,
        )


def _role(held: Held) -> str:
    return held.item.role if isinstance(held.item, Message) else str(held.item.type)


def _last_user(context: Sequence[Held]) -> str:
    return next((held.text for held in reversed(context) if _role(held) == "user"), "")


def _pending_output(context: Sequence[Held]) -> str | None:
    last = context[-1].item if context else None
    return last.output if isinstance(last, FunctionCallOutput) else None


def build(
    session: Session,
    params: ResponseParams,
    conversation: Conversation,
    *,
    response_id: str,
    asked_by: AskedBy,
    now: float,
    hold: Callable[[Any], Held],
) -> Request:
    """Apply a response's overrides to the session, which stays as it is.

    Raises:
        Refusal: an override is not allowed; no response is made.
    """
    check_common(params, "response")
    _check_metadata(params.metadata)
    in_conversation = params.conversation != "none"
    context = _context(params, conversation, hold)
    audio = _audio(session, params, fixed=in_conversation and conversation.ever_spoke)
    names = tool_names(_or(params.tools, session.tools))
    override = or_none(params.instructions)
    instructions = override if override is not None else session.instructions or ""
    record = ResponseRecord(
        id=response_id,
        instructions=instructions,
        override=override,
        tools=names,
        tool_choice=choice_name(_or(params.tool_choice, session.tool_choice)),
        modality=_or(params.output_modalities, session.output_modalities)[0],
        voice=voice_of(audio),
        max_output_tokens=_or(params.max_output_tokens, session.max_output_tokens),
        watermark=config_hash(instructions, names),
        asked_by=asked_by,
        metadata=params.metadata or None,
        in_conversation=in_conversation,
        input=None if params.input is UNSET else tuple(held.id for held in context),
        created=now,
    )
    return Request(record, context, audio)


def _or(value: Any, default: Any) -> Any:
    return default if value is UNSET else value


def _audio(session: Session, params: ResponseParams, *, fixed: bool) -> AudioOutput:
    assert session.audio
    audio = session.audio.output
    assert audio
    own = params.audio.output if params.audio else UNSET
    if not own:
        return audio
    if own.speed is not UNSET:
        place = "response.audio.output.speed"
        message = f"Unknown parameter: '{place}'."
        raise Refusal("unknown_parameter", message, param=place)
    changes = {
        name: getattr(own, name)
        for name in ("format", "voice")
        if getattr(own, name) is not UNSET
    }
    if fixed and changes.get("voice", audio.voice) != audio.voice:
        raise Refusal("cannot_update_voice", VOICE_FIXED)
    return attrs.evolve(audio, **changes)


def _context(
    params: ResponseParams, conversation: Conversation, hold: Callable[[Any], Held]
) -> list[Held]:
    if params.input is UNSET:
        return list(conversation)
    return [
        _resolved(item, conversation, f"response.input[{index}]", hold)
        for index, item in enumerate(params.input)
    ]


def _resolved(
    item: Item, conversation: Conversation, path: str, hold: Callable[[Any], Held]
) -> Held:
    if isinstance(item, ItemReference):
        held = conversation.find(item.id)
        if held is None:
            message = f"Item with id '{item.id}' not found."
            raise Refusal("invalid_value", message, param=f"{path}.id")
        return held
    check_item(item, path)
    return hold(item)


def _check_metadata(metadata: Any) -> None:
    pairs = metadata or {}
    if (
        len(pairs) > _PAIRS
        or any(len(key) > _KEY for key in pairs)
        or any(len(value) > _VALUE for value in pairs.values())
    ):
        message = f"At most {_PAIRS} pairs of {_KEY} and {_VALUE} characters each."
        raise Refusal("invalid_value", message, param="response.metadata")
