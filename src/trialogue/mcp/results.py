"""What an MCP server's tool has returned, as text for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trialogue._codec import dumps
from trialogue.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_ERROR_CHARS", "text_of"]

MAX_ERROR_CHARS: Final = 4096
"""Of a longer error the beginning is kept."""
CUT: Final = " [cut]"


def text_of(
    result: Mapping[str, Any], *, structured: bool = False, max_bytes: int
) -> str:
    """Return the text of the result of `tools/call`, as plain JSON.

    That is the text of its content, part by part; of a picture, sound or file only a
    placeholder. If there is no content, or if `structured`, it is the structured
    content, as JSON.

    Raises:
        ToolError: the tool has failed (`isError`), with its text; or the result is
            longer than `max_bytes` of UTF-8.
    """
    parts = [_part(part) for part in result.get("content") or ()]
    text = "\n".join(part for part in parts if part)
    if result.get("isError"):
        raise ToolError(_cut(text) or "the tool failed")
    data = result.get("structuredContent")
    if data is not None and (structured or not text):
        text = dumps(data)
    size = len(text.encode("utf-8", "replace"))
    if size > max_bytes:
        msg = (
            f"the tool's result is too long to be sent ({size} bytes, at most "
            f"{max_bytes}); ask for less"
        )
        raise ToolError(msg)
    return text


def _part(part: Mapping[str, Any]) -> str:
    kind = part.get("type")
    if kind == "text":
        return str(part.get("text", ""))
    if kind in ("image", "audio"):
        size = len(part.get("data") or "") * 3 // 4
        return f"[{kind}, {_media(part)}, {size} bytes, not shown]"
    if kind == "resource_link":
        return f"[resource {part.get('name')}: {part.get('uri')}]"
    if kind == "resource":
        resource = part.get("resource") or {}
        if isinstance(resource.get("text"), str):
            return str(resource["text"])
        size = len(resource.get("blob") or "") * 3 // 4
        return (
            f"[file {resource.get('uri')}, {_media(resource)}, {size} bytes, not shown]"
        )
    return f"[{str(kind)[:40]}, not shown]"


def _media(part: Mapping[str, Any]) -> str:
    return str(part.get("mimeType") or "of unknown type")


def _cut(text: str) -> str:
    if len(text) <= MAX_ERROR_CHARS:
        return text
    return text[: MAX_ERROR_CHARS - len(CUT)] + CUT
