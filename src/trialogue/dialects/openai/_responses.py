"""The responses that run on one connection, and what is reported at their end (§9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final, get_args

import attrs

from trialogue._redaction import without_keys
from trialogue.conversation.items import FunctionCall
from trialogue.dialects.events import (
    CallReady,
    ErrorClass,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    Usage,
)
from trialogue.dialects.openai._errors import classify
from trialogue.dialects.openai._items_in import is_completed_call, item_in
from trialogue.dialects.openai._outgoing import METADATA_KEY
from trialogue.dialects.openai.wire import items as wire_items
from trialogue.dialects.openai.wire import response as wire
from trialogue.dialects.openai.wire.base import Nullable, or_none

if TYPE_CHECKING:
    from trialogue.dialects.openai._ids import Ids

__all__ = ["Responses", "usage_in"]

_STATUSES: Final = get_args(ResponseStatus)


@attrs.define(eq=False)
class _Running:
    key: str | None
    out_of_band: bool
    called: set[str] = attrs.field(factory=set)


@final
class Responses:
    """Which responses run, whose they are, and which of their calls were announced.

    A response that ends without having begun (§9.2) is reported like any other.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._running: dict[str, _Running] = {}

    def __repr__(self) -> str:
        return f"<Responses running={list(self._running)}>"

    def created(self, response: wire.Response) -> ResponseCreated | None:
        """Note that a response began; None if it has no id to know it by."""
        response_id = response.id
        if not response_id:
            return None
        metadata = dict(response.metadata or {})
        key = _text(metadata.pop(METADATA_KEY, None))
        # Absent is not null: only null says that no conversation takes the output.
        running = _Running(key=key, out_of_band=response.conversation_id is None)
        self._running[response_id] = running
        return ResponseCreated(
            response_id=response_id,
            key=key,
            metadata=metadata,
            out_of_band=running.out_of_band,
        )

    def call_done(
        self, response_id: str, index: int, item: wire_items.Item
    ) -> CallReady | None:
        """Return the call that an ended item holds, once, if it is completed (R11)."""
        if not is_completed_call(item):
            return None
        running = self._running.get(response_id)
        return self._ready(running, response_id, index, item)

    def _ready(
        self,
        running: _Running | None,
        response_id: str,
        index: int,
        item: wire_items.Item,
    ) -> CallReady | None:
        call = item_in(item, self._ids)
        if not isinstance(call, FunctionCall):
            return None
        if running is not None:
            if call.call_id in running.called:
                return None
            running.called.add(call.call_id)
        return CallReady(response_id=response_id, call=call, output_index=index)

    def done(self, response: wire.Response) -> list[CallReady | ResponseDone] | None:
        """Return the calls not yet announced, then the end; None if it has no id."""
        response_id = response.id or self._only()
        if response_id is None:
            return None
        running = self._running.pop(response_id, None)
        ended = self._ended(response_id, response, running)
        if running is None:
            # Nothing is known of what it announced, so nothing of it is run (§17).
            return [ended]
        output = response.output or ()
        calls = self._late_calls(response_id, output, running, ended.status)
        return [*calls, ended]

    def _only(self) -> str | None:
        return next(iter(self._running)) if len(self._running) == 1 else None

    def _late_calls(
        self,
        response_id: str,
        output: tuple[wire_items.Item, ...],
        running: _Running,
        status: ResponseStatus,
    ) -> list[CallReady]:
        """Return calls whose `output_item.done` said nothing of their status."""
        if status not in ("completed", "incomplete"):
            return []
        ready = (
            self._ready(running, response_id, index, item)
            for index, item in enumerate(output)
            if is_completed_call(item)
            or (status == "completed" and _is_call_without_status(item))
        )
        return [call for call in ready if call is not None]

    def _ended(
        self, response_id: str, response: wire.Response, running: _Running | None
    ) -> ResponseDone:
        metadata: dict[str, Any] = response.metadata or {}
        details = response.status_details or wire.StatusDetails()
        error = details.error or wire.StatusError()
        status = _status(response, details)
        key = _text(metadata.get(METADATA_KEY))
        found = (item_in(item, self._ids) for item in response.output or ())
        message = or_none(error.message)
        return ResponseDone(
            response_id=response_id,
            status=status,
            key=key or (running.key if running else None),
            reason=or_none(details.reason),
            error_code=or_none(error.code),
            error_message=None if message is None else without_keys(message),
            error_class=_error_class(error) if status == "failed" else None,
            items=tuple(item for item in found if item is not None),
            usage=usage_in(response.usage),
            out_of_band=response.conversation_id is None
            or (running is not None and running.out_of_band),
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _is_call_without_status(item: wire_items.Item) -> bool:
    return isinstance(item, wire_items.FunctionCall) and not item.status


def _status(response: wire.Response, details: wire.StatusDetails) -> ResponseStatus:
    """Return how it ended; a response that does not say has completed."""
    for status in (response.status, details.type):
        if status in _STATUSES and status != "in_progress":
            return status  # type: ignore[return-value]
    return "completed"


def _error_class(error: wire.StatusError) -> ErrorClass:
    """Return what the failure means; one that nothing is known of may pass."""
    message = or_none(error.message) or ""
    meaning = classify(or_none(error.code), or_none(error.type), message)
    return meaning.error_class if meaning else ErrorClass.TRANSIENT


def _tokens(*counts: Nullable[int]) -> tuple[int, ...]:
    return tuple(count or 0 for count in counts)


def usage_in(usage: Nullable[wire.Usage]) -> Usage | None:
    """Return the tokens of a response, absent ones as 0; None where none are told."""
    if not usage:
        return None
    spent = usage.input_token_details or wire.InputTokenDetails()
    cached = spent.cached_tokens_details or wire.CachedTokenDetails()
    made = usage.output_token_details or wire.OutputTokenDetails()
    return Usage(
        *_tokens(usage.input_tokens, usage.output_tokens),
        *_tokens(spent.text_tokens, spent.audio_tokens, spent.image_tokens),
        *_tokens(spent.cached_tokens),
        *_tokens(cached.text_tokens, cached.audio_tokens, cached.image_tokens),
        *_tokens(made.text_tokens, made.audio_tokens),
    )
