"""The result that an agent declares, `Agent[bool]`, and whether a value is one.

The check is structural and knows what it does not know: classes, unions, literals, and
the built-in containers with what they hold are looked at; anything else is let pass.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args, get_origin

from trialogue.agents.agent import Agent
from trialogue.tools.annotations import annotation_text, is_union, peel

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["declared_result", "fits", "result_text"]

_LARGER = {float: (float, int), complex: (complex, float, int)}
"""What stands for what without a conversion (PEP 484)."""


def declared_result(agent: Agent) -> Any:
    """Return what an agent declares as its result; `Any` if nothing.

    `class Consent(Agent[bool])` declares it for the class, `Agent[bool]("…")` for one
    agent; a subclass takes over what its bases declare.
    """
    alias = getattr(agent, "__orig_class__", None)  # of `Agent[bool](…)`
    found = _declared(type(agent) if alias is None else alias)
    return Any if isinstance(found, TypeVar) else found


def _declared(cls: Any) -> Any:
    """Walk up from a class, or from `Class[argument]`, to what `Agent` is given."""
    origin = get_origin(cls) or cls
    arguments = get_args(cls)
    if origin is Agent:
        return arguments[0] if arguments else Any
    parameters: tuple[Any, ...] = getattr(origin, "__parameters__", ())
    bound: dict[Any, Any] = dict(zip(parameters, arguments, strict=False))
    for above in vars(origin).get("__orig_bases__", origin.__bases__):
        above_class = get_origin(above) or above
        if above_class is Generic or not issubclass(above_class, Agent):
            continue
        found = _declared(above)
        return bound.get(found, found) if isinstance(found, TypeVar) else found
    return Any


def fits(value: object, annotation: Any) -> bool:
    """Whether a value is of a type, as far as can be told from the value."""
    annotation, _ = peel(annotation)
    if annotation is Any or annotation is object:
        return True
    if is_union(annotation):
        return any(fits(value, member) for member in get_args(annotation))
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    cls = origin or annotation
    if not isinstance(cls, type):
        return True  # text, a type variable: nothing that can be looked at
    return _is_instance(value, cls) and _holds(value, arguments)


def _is_instance(value: object, cls: type) -> bool:
    if typing.is_typeddict(cls):
        return isinstance(value, dict)
    try:
        return isinstance(value, _LARGER.get(cls, cls))
    except TypeError:  # a protocol that cannot be asked at run time
        return True


def _holds(value: object, arguments: tuple[Any, ...]) -> bool:
    """Whether what a built-in container holds fits, too."""
    match value:
        case dict() if len(arguments) == 2:
            return _all(value, arguments[0]) and _all(value.values(), arguments[1])
        case tuple() if arguments and arguments[-1] is not Ellipsis:
            same_length = len(value) == len(arguments)
            return same_length and all(map(fits, value, arguments))
        case list() | tuple() | set() | frozenset() if arguments:
            return _all(value, arguments[0])
        case _:
            return True


def _all(values: Iterable[object], annotation: Any) -> bool:
    return all(fits(value, annotation) for value in values)


def result_text(annotation: Any) -> str:
    """Return a declared result as its author would write it."""
    return annotation_text(annotation)
