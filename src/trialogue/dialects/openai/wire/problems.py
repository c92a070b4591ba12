"""What is wrong with a frame, and where: cattrs' exceptions as wire errors (§2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cattrs import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from trialogue.dialects.openai.wire._converter import UnknownTag, WrongType
from trialogue.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WireError", "problems"]


class WireError(ProtocolError):
    """A frame that the protocol does not allow, in the protocol's own terms.

    Attributes:
        code: `invalid_json`, `invalid_event`, `unknown_parameter`,
            `missing_required_parameter`, `invalid_type` or `invalid_value`; None where
            a server has no such codes.
        message: what is wrong; the value at fault is not in it.
        param: the dotted path of the key at fault, or None.
        event_id: that of the client event at fault, if it had one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        event_id: str | None = None,
    ) -> None:
        super().__init__(message, detail=param)
        self.code: str | None = code
        self.message = message
        self.param = param
        self.event_id = event_id


def problems(exc: BaseException, path: str = "") -> Iterator[WireError]:
    """Yield every problem that a detailed converter found, with its dotted path."""
    match exc:
        case ClassValidationError() | IterableValidationError():
            for part in exc.exceptions:
                yield from problems(part, path + _step(part, path))
        case ForbiddenExtraKeysError():
            for key in sorted(exc.extra_fields):
                place = _join(path, key)
                message = f"Unknown parameter: '{place}'."
                yield WireError("unknown_parameter", message, param=place)
        case KeyError():
            # The missing attribute's own note already names it in the path.
            place = path if _noted(exc) else _join(path, str(exc.args[0]))
            message = f"Missing required parameter: '{place}'."
            yield WireError("missing_required_parameter", message, param=place)
        case UnknownTag():
            place = _join(path, "type")
            message = f"Invalid value for '{place}': {exc}."
            yield WireError("invalid_value", message, param=place)
        case WrongType():
            message = f"Invalid type for '{path}': {exc}."
            yield WireError("invalid_type", message, param=path)
        case _:
            message = f"Invalid value for '{path}': {exc}."
            yield WireError("invalid_value", message, param=path)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _noted(exc: BaseException) -> bool:
    key = exc.args[0] if exc.args else None
    return any(
        isinstance(note, AttributeValidationNote) and note.name == key
        for note in getattr(exc, "__notes__", ())
    )


def _step(exc: BaseException, path: str) -> str:
    for note in getattr(exc, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}" if path else note.name
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]"
    return ""
