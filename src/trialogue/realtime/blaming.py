"""Which request an error is about: it may name it, quote an item, or say what failed.

A provider may also say nothing of all that. Then only what can be meant is suspected,
and blamed once it is clear that its answer will not come (core rule 11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.conversation.items import FunctionCallOutput
from trialogue.dialects.commands import (
    CreateItem,
    CreateResponse,
    CreateUserAudio,
    UpdateSession,
)
from trialogue.dialects.events import ErrorClass, ErrorReported
from trialogue.realtime.requests import item_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trialogue.realtime.requests import Request

__all__ = ["at_fault", "names", "points_at_one", "suspects", "was_seen"]

_ITEMS = frozenset({"item", "deleted", "truncated", "retrieved"})


def was_seen(request: Request) -> bool:
    """Whether the server can be speaking of it: nobody answers an unwritten frame."""
    return request.written_at is not None


def names(request: Request) -> str | None:
    """Return the id by which an error may quote a request, if any."""
    if isinstance(request.command, CreateResponse):
        return request.command.key
    return item_of(request.command)


def at_fault(
    error: ErrorReported, owed: Collection[Request], *, ordered: bool
) -> Request | None:
    """Return the request that an error is about; None if none can be named.

    Args:
        owed: what the server has not answered, in the order it was asked.
        ordered: whether its answers keep that order.
    """
    seen = [request for request in owed if was_seen(request)]
    if error.event_id is not None:
        return next((r for r in owed if r.event_id == error.event_id), None)
    if error.refs:
        return (
            _first(seen, lambda r: names(r) in error.refs and _fits(r, error))
            or _first(seen, lambda r: _leans_on(r, error) and _fits(r, error))
            or _by_kind(error, seen, ordered)
        )
    return _by_kind(error, seen, ordered) or _update_meant_by(error, seen)


def points_at_one(error: ErrorReported) -> bool:
    """Whether the error itself tells its request from others."""
    return bool(error.event_id is not None or error.refs or error.kinds)


def suspects(error: ErrorReported, owed: Collection[Request]) -> list[Request]:
    """Return what an error may be about that named nothing we know."""
    if error.event_id is not None or error.error_class is ErrorClass.BENIGN:
        return []
    return [r for r in owed if was_seen(r) and _fits(r, error)]


def _first(
    seen: Collection[Request], wanted: Callable[[Request], bool]
) -> Request | None:
    return next(filter(wanted, seen), None)


def _by_kind(
    error: ErrorReported, seen: Collection[Request], ordered: bool
) -> Request | None:
    # An item error that quotes an id has been looked for by that id; falling
    # back to "the oldest of its kind" would blame a bystander.
    kinds = {kind for kind in error.kinds if not (error.refs and kind in _ITEMS)}
    meant = [r for r in seen if _kind(r) in kinds and not _is_beside(r, error)]
    # The oldest is next in line for an answer only where answers keep the order.
    return meant[0] if meant and (ordered or len(meant) == 1) else None


def _update_meant_by(error: ErrorReported, seen: Collection[Request]) -> Request | None:
    if error.kinds or error.error_class is ErrorClass.BENIGN:
        return None
    return _first(seen, lambda r: isinstance(r.command, UpdateSession))


def _leans_on(request: Request, error: ErrorReported) -> bool:
    """Whether a new item needs what the error quotes: its anchor, or its call."""
    if error.error_class is ErrorClass.DUPLICATE:
        return False
    match request.command:
        case CreateItem(item=FunctionCallOutput(call_id=call_id)) if (
            call_id in error.refs
        ):
            return True
        case CreateItem(after=after) | CreateUserAudio(after=after):
            return after in error.refs
        case _:
            return False


def _is_beside(request: Request, error: ErrorReported) -> bool:
    """Whether it runs beside the conversation, and so can be in nobody's way."""
    command = request.command
    beside = isinstance(command, CreateResponse) and command.out_of_band
    return beside and error.error_class is ErrorClass.CONFLICT


def _kind(request: Request) -> str | None:
    return None if request.answer is None else request.answer[0]


def _fits(request: Request, error: ErrorReported) -> bool:
    kind = _kind(request)
    return not error.kinds or kind is None or kind in error.kinds
