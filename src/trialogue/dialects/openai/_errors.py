"""What the provider's errors mean (protocol §2.3, §2.4)."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from trialogue._redaction import without_keys
from trialogue.dialects.events import ErrorClass, ErrorReported
from trialogue.dialects.openai.wire.base import or_none

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.dialects.openai.wire.error import ErrorDetails

__all__ = ["Meaning", "classify", "reported"]


class Meaning(NamedTuple):
    """The class of an error and the kinds of request (`AnswerKey[0]`) it implies."""

    error_class: ErrorClass
    kinds: tuple[str, ...]


_Field = Literal["code", "message", "type"]

_BENIGN = ErrorClass.BENIGN
_CONFLICT = ErrorClass.CONFLICT
_DUPLICATE = ErrorClass.DUPLICATE
_PERMANENT = ErrorClass.PERMANENT
_STATE = ErrorClass.STATE
_TERMINAL = ErrorClass.TERMINAL
_TRANSIENT = ErrorClass.TRANSIENT

# The first row that matches decides. Exact codes stand before messages, since a code is
# a promise and a message is prose; messages before the code families and types, since
# the same fault comes with a code, with `invalid_value` or with none (§2.4). None for
# the kinds means that the parameter at fault tells (`_KINDS_BY_PARAM`).
_RULES: Final[tuple[tuple[_Field, str, ErrorClass, tuple[str, ...] | None], ...]] = (
    ("code", "invalid_api_key", _TERMINAL, ()),
    ("code", "insufficient_quota", _TERMINAL, ()),
    ("code", "billing_hard_limit_reached", _TERMINAL, ()),
    ("code", "account_deactivated", _TERMINAL, ()),
    ("code", "missing_model", _TERMINAL, ()),
    ("code", "invalid_model", _TERMINAL, ()),
    ("code", "beta_api_shape_disabled", _TERMINAL, ()),
    ("code", "session_expired", _STATE, ()),
    ("code", "cannot_update_voice", _STATE, ("configured",)),
    ("code", "input_audio_buffer_commit_empty", _STATE, ("committed",)),
    ("code", "conversation_already_has_active_response", _CONFLICT, ("response",)),
    ("code", "response_cancel_not_active", _BENIGN, ()),
    ("code", "item_create_duplicate_item_id", _DUPLICATE, ("item",)),
    ("code", "item_create_invalid_previous_item_id", _STATE, ("item",)),
    ("code", "item_create_*", _PERMANENT, ("item",)),
    ("code", "item_delete_invalid_item_id", _BENIGN, ("deleted",)),
    ("code", "item_truncate_*", _BENIGN, ("truncated",)),
    ("code", "item_retrieve_*", _STATE, ("retrieved",)),
    ("code", "invalid_tool_call_id", _STATE, ("item",)),
    ("code", "rate_limit_exceeded", _TRANSIENT, ()),
    ("code", "inference_rate_limit_exceeded", _TRANSIENT, ()),
    ("code", "server_error", _TRANSIENT, ()),
    ("message", "*already has an active response*", _CONFLICT, ("response",)),
    ("message", "Cancellation failed: no active response*", _BENIGN, ()),
    ("message", "Error adding item: an item with id*", _DUPLICATE, ("item",)),
    ("message", "Error adding item: the previous item*", _STATE, ("item",)),
    ("message", "Error deleting item: *", _BENIGN, ("deleted",)),
    ("message", "Error truncating item: *", _BENIGN, ("truncated",)),
    ("message", "Error retrieving item: *", _STATE, ("retrieved",)),
    ("message", "Only model output audio messages can*", _BENIGN, ("truncated",)),
    ("message", "Audio content of*is already shorter*", _BENIGN, ("truncated",)),
    ("message", "Cannot update a conversation's voice*", _STATE, ("configured",)),
    ("message", "Error committing input audio buffer:*", _STATE, ("committed",)),
    ("message", "Your session hit the maximum duration*", _STATE, ()),
    ("code", "unknown_parameter", _PERMANENT, None),
    ("code", "string_above_max_length", _PERMANENT, None),
    ("code", "unsupported_*", _PERMANENT, None),
    ("code", "invalid_*", _PERMANENT, None),
    ("code", "missing_*", _PERMANENT, None),
    ("message", "Unknown parameter*", _PERMANENT, None),
    ("message", "Missing required parameter*", _PERMANENT, None),
    ("message", "Invalid type for *", _PERMANENT, None),
    ("message", "Invalid value*", _PERMANENT, None),
    ("type", "authentication_error", _TERMINAL, ()),
    ("type", "insufficient_quota", _TERMINAL, ()),
    ("type", "server_error", _TRANSIENT, ()),
    ("type", "rate_limit_error", _TRANSIENT, ()),
    ("type", "tokens", _TRANSIENT, ()),
    ("type", "requests", _TRANSIENT, ()),
)

_KINDS_BY_PARAM: Final = {
    "session": ("configured",),
    "item": ("item",),
    "previous_item_id": ("item",),
    "response": ("response",),
    "item_id": ("deleted", "truncated"),
    "content_index": ("truncated",),
    "audio_end_ms": ("truncated",),
}

_IDS: Final = re.compile(
    r"with id '([^']+)'"
    r"|call_?id:? '([^']+)'"
    r"|'(call_[^']+)'"
    r"|in progress: (resp_\w+)"
)


def classify(
    code: str | None, kind: str | None, message: str, param: str | None = None
) -> Meaning | None:
    """Return what an error means, or None where nothing is known about it."""
    fields: dict[_Field, str | None] = {"code": code, "type": kind, "message": message}
    for field, pattern, error_class, kinds in _RULES:
        value = fields[field]
        if value is not None and fnmatchcase(value, pattern):
            return Meaning(error_class, _by_param(param) if kinds is None else kinds)
    return None


def _by_param(param: str | None) -> tuple[str, ...]:
    if param is None:
        return ()
    return _KINDS_BY_PARAM.get(re.split(r"[.\[]", param, maxsplit=1)[0], ())


def reported(error: ErrorDetails, ours: Callable[[str], str]) -> ErrorReported:
    """Make the neutral event of an error; `ours` maps ids of the wire to our own."""
    code, kind = or_none(error.code), or_none(error.type)
    message, param = or_none(error.message) or "", or_none(error.param)
    meaning = classify(code, kind, message, param) or Meaning(_STATE, ())
    quoted = [next(filter(None, match.groups())) for match in _IDS.finditer(message)]
    return ErrorReported(
        message=without_keys(message),
        code=code,
        type=kind,
        param=param,
        event_id=or_none(error.event_id),
        refs=tuple(map(ours, quoted)),
        kinds=meaning.kinds,
        error_class=meaning.error_class,
    )
