"""HTML that is safe by how it is made: whatever is not markup already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

__all__ = ["Markup", "escaped", "tag"]

_UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
_STRANGE: Final[dict[int, str]] = {
    # Control characters are shown, not obeyed; a line break and a tab are harmless.
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys(range(0x80, 0xA0), _UNKNOWN),
    # What turns the direction of everything that follows, and what is no character.
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), _UNKNOWN),
    **dict.fromkeys(range(0xD800, 0xE000), _UNKNOWN),
    **dict.fromkeys((0xFFFE, 0xFFFF), _UNKNOWN),
}
_VOID: Final = frozenset({"meta", "br"})


class Markup(str):
    """Text that is HTML; only `tag` makes it, and what is written here by hand."""

    __slots__ = ()


def escaped(text: object) -> str:
    """Return a text as it may stand in HTML, between tags and within quotes."""
    return html.escape(str(text).translate(_STRANGE))


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """Return an element.

    Args:
        content: elements, texts, or iterables of these; None is nothing.
        attributes: None leaves one out. `class_` is "class", `data_kind` "data-kind".
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{''.join(map(_inner, content))}</{name}>")


def _inner(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, Markup):
        return content
    if isinstance(content, str) or not isinstance(content, Iterable):
        return escaped(content)
    return "".join(map(_inner, content))
