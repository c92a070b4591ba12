"""Reading annotations that may be text, wrapped, or not resolvable yet.

A tool is often written where its annotations cannot be evaluated by module globals
alone: inside a function, or above the class that it mentions. So a `Namespace` holds
both scopes, and a name that is missing today may be asked for again later.
"""

from __future__ import annotations

import sys
import types
import typing
from typing import Annotated, Any, NewType, NotRequired, Required, get_args, get_origin

import attrs

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "HANDOFF_MARKER",
    "Namespace",
    "annotation_text",
    "is_run_context",
    "is_union",
    "mentions_handoff",
    "peel",
    "raw_annotations",
]

HANDOFF_MARKER = "__trialogue_handoff__"
"""A class with this attribute set to True is one that control can be handed to."""

_WRAPPERS = (Required, NotRequired, typing.Final)


@attrs.frozen(eq=False, repr=False)
class Namespace:
    """The names that annotations of one tool may use: its module's and its scope's."""

    global_names: dict[str, Any]
    local_names: dict[str, Any] = attrs.field(factory=dict)

    @classmethod
    def of(
        cls, func: Callable[..., Any], frame: types.FrameType | None = None
    ) -> Namespace:
        """Take a function's globals, and the types that `frame` and its class see."""
        return cls(getattr(func, "__globals__", {}), _local_types(frame))

    def resolve(self, raw: Any) -> Any:
        """Evaluate an annotation, however deep in it the text stands.

        Raises whatever the evaluation raises: NameError for a name not defined yet.
        """

        def carrier() -> None: ...

        carrier.__annotations__ = {"it": raw}
        hints = typing.get_type_hints(
            carrier, self.global_names, self.local_names, include_extras=True
        )
        return hints["it"]

    def class_hints(self, cls: type) -> dict[str, Any]:
        """Evaluate a class's annotations by its own module, or else by this scope."""
        try:
            return typing.get_type_hints(cls, include_extras=True)
        except NameError:
            local = {**self.local_names, cls.__name__: cls}
            return typing.get_type_hints(cls, None, local, include_extras=True)


def raw_annotations(func: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's annotations without failing on names not defined yet."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(
            func, format=annotationlib.Format.FORWARDREF
        )
    return dict(func.__annotations__)


def peel(annotation: Any) -> tuple[Any, str | None]:
    """Strip `Annotated`, `NewType`, aliases and the like; return the description too.

    Of several descriptions the outermost counts.
    """
    description: str | None = None
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            inner, *metadata = get_args(annotation)
            said = next((m for m in metadata if isinstance(m, str)), None)
            description = said if description is None else description
            annotation = inner
        elif origin in _WRAPPERS:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = ...`, 3.12
            annotation = annotation.__value__
        else:  # `list[None]` holds None itself, where `int | None` holds its type
            return type(None) if annotation is None else annotation, description


def is_union(annotation: Any) -> bool:
    """Tell whether an annotation is `A | B`, `Union[A, B]` or `Optional[A]`."""
    return get_origin(annotation) in {typing.Union, types.UnionType}


def is_run_context(raw: Any) -> bool:
    """Tell whether an annotation is, or is named, `RunContext` (of anything)."""
    if isinstance(raw, typing.ForwardRef):
        raw = raw.__forward_arg__
    if isinstance(raw, str):
        text = raw.strip().strip("'\"")
        return text.partition("[")[0].rpartition(".")[2].strip() == "RunContext"
    if is_union(raw):
        return any(is_run_context(member) for member in get_args(raw))
    cls = get_origin(peel(raw)[0]) or peel(raw)[0]
    return isinstance(cls, type) and any(
        c.__name__ == "RunContext" for c in cls.__mro__
    )


def mentions_handoff(raw: Any, namespace: Namespace) -> bool:
    """Tell whether a return annotation mentions a class that can take over.

    Text that cannot be evaluated is judged by its words.
    """
    try:
        annotation = namespace.resolve(raw)
    except Exception:
        text = annotation_text(raw)
        return "Agent" in text or "Handoff" in text
    return _mentions(annotation)


def _mentions(annotation: Any) -> bool:
    annotation, _ = peel(annotation)
    cls = get_origin(annotation) or annotation  # `Agent[bool]` is an agent
    if isinstance(cls, type) and getattr(cls, HANDOFF_MARKER, False):
        return True
    return any(_mentions(part) for part in get_args(annotation))


def annotation_text(annotation: Any) -> str:
    """Return an annotation as its author would write it."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__qualname__.rpartition("<locals>.")[2]
    return repr(annotation).replace("typing.", "")


def _local_types(frame: types.FrameType | None) -> dict[str, Any]:
    """Collect what enclosing class bodies and their function see, the inner winning.

    Only what an annotation can be made of is kept, so that a tool does not keep the
    other variables of its scope alive.
    """
    names: dict[str, Any] = {}
    while frame is not None and frame.f_locals is not frame.f_globals:
        seen = frame.f_locals
        names = {k: v for k, v in seen.items() if _may_be_annotation(v)} | names
        if "__qualname__" not in seen:  # a function's body: its caller encloses nothing
            break
        frame = frame.f_back
    return names


def _may_be_annotation(value: Any) -> bool:
    kinds = (type, types.ModuleType, types.UnionType, typing.TypeVar, NewType)
    named = type(value).__name__ == "TypeAliasType"
    return isinstance(value, kinds) or named or get_origin(value) is not None
