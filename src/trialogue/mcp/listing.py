"""What an MCP server says of its tools, and what of that a model is told.

Nothing here waits: a listing goes in as the plain JSON it is, and comes out as
declarations that a provider takes, beside what was wrong with the rest of it.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue._codec import dumps
from trialogue.tools import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

__all__ = ["MAX_DESCRIPTION_CHARS", "MAX_SCHEMA_BYTES", "ListedTool", "Listing", "read"]

MAX_NAME_CHARS: Final = 64
MAX_DESCRIPTION_CHARS: Final = 4096
"""Of a longer description the beginning is kept."""
MAX_SCHEMA_BYTES: Final = 32 * 1024
"""A tool whose JSON Schema is longer is left out."""
MAX_SCHEMA_DEPTH: Final = 32
CUT: Final = " [cut]"
_REFUSED: Final = re.compile(r"[^A-Za-z0-9_-]")
_TYPES: Final = frozenset(
    {"string", "number", "integer", "boolean", "object", "array", "null"}
)


@attrs.frozen
class ListedTool:
    """One tool of a server.

    Attributes:
        name: what the server calls it.
        spec: what the model is told.
    """

    name: str
    spec: ToolSpec


@attrs.frozen
class Listing:
    """What was made of a server's list.

    Attributes:
        tools: in the server's order.
        problems: one text for each tool that was left out or changed, for the log.
        names: of all its tools, those that were filtered out included.
    """

    tools: tuple[ListedTool, ...]
    problems: tuple[str, ...]
    names: tuple[str, ...]


def read(
    listed: Iterable[Mapping[str, Any]],
    *,
    prefix: str = "",
    allowed: Collection[str] | None = None,
    blocked: Collection[str] = (),
) -> Listing:
    """Read the `tools` of `tools/list`, as plain JSON.

    A schema stays as it is, except that it says `"type": "object"` and `properties`.
    Names get the prefix; characters that providers refuse become `_`; what is then too
    long, or taken, ends in eight digits of its hash. A tool that cannot be declared is
    left out, and so is the second of one name.
    """
    wanted: dict[str, Mapping[str, Any]] = {}
    names: list[str] = []
    problems: list[str] = []
    for tool in listed:
        name = tool.get("name")
        if not isinstance(name, str) or not name:
            problems.append("a tool without a name was left out")
            continue
        names.append(name)
        if name in blocked or (allowed is not None and name not in allowed):
            continue
        if name in wanted:
            problems.append(f"tool {_shown(name)} is listed twice; the first counts")
            continue
        wanted[name] = tool
    plain = {prefix + name for name in wanted if _fits(prefix + name)}
    taken: set[str] = set()
    tools: list[ListedTool] = []
    for name, tool in wanted.items():
        wrong = _wrong_with(tool.get("inputSchema"))
        if wrong is not None:
            problems.append(f"tool {_shown(name)} was left out: {wrong}")
            continue
        called = _called(prefix + name, plain, taken)
        if called in taken:  # whoever chose the names has foreseen this one
            problems.append(f"tool {_shown(name)} was left out: its name is taken")
            continue
        taken.add(called)
        tools.append(ListedTool(name, _spec(called, tool)))
    return Listing(tuple(tools), tuple(problems), tuple(names))


def _fits(name: str) -> bool:
    return len(name) <= MAX_NAME_CHARS and not _REFUSED.search(name)


def _called(name: str, plain: set[str], taken: set[str]) -> str:
    """Return the name for the model; those that can stay as they are do."""
    if name in plain:
        return name
    called = _REFUSED.sub("_", name)
    if len(called) <= MAX_NAME_CHARS and called not in plain | taken:
        return called
    digits = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{called[: MAX_NAME_CHARS - 9]}_{digits}"


def _spec(name: str, tool: Mapping[str, Any]) -> ToolSpec:
    description = tool.get("description")
    text = description if isinstance(description, str) else ""
    if len(text) > MAX_DESCRIPTION_CHARS:
        text = text[: MAX_DESCRIPTION_CHARS - len(CUT)] + CUT
    # MCP can do without `properties`, but providers refuse an object without them.
    schema = {"type": "object", "properties": {}, **tool["inputSchema"]}
    return ToolSpec(name, text, schema)


# --- schemas -----------------------------------------------------------------------


def _wrong_with(schema: object) -> str | None:
    """Say why a provider would refuse a schema, and with it the agent; None: it won't.

    Not the whole of JSON Schema, but what would have a request refused.
    """
    if not isinstance(schema, dict):
        return "its schema is no object"
    if schema.get("type", "object") != "object":
        return "its schema is not one of an object"
    try:
        size = len(dumps(schema))
    except (ValueError, TypeError, RecursionError):
        return "its schema is not JSON"
    if size > MAX_SCHEMA_BYTES:
        return f"its schema has {size} bytes, at most {MAX_SCHEMA_BYTES} are taken"
    return _wrong_in(schema, MAX_SCHEMA_DEPTH)


def _wrong_in(schema: object, depth: int) -> str | None:
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return "a part of its schema is no schema"
    if depth == 0:
        return "its schema is nested too deeply"
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if not all(isinstance(kind, str) and kind in _TYPES for kind in kinds):
        return "its schema names a type that there is not"
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(r, str) for r in required):
        return "`required` in its schema is no list of names"
    reference = schema.get("$ref", "#")
    if not isinstance(reference, str) or not reference.startswith("#"):
        return "its schema refers to another document"
    for part in _parts(schema):
        wrong = _wrong_in(part, depth - 1)
        if wrong is not None:
            return wrong
    return None


def _parts(schema: dict[str, Any]) -> Iterator[object]:
    """The schemas inside of one; None, which is none, for what should hold some."""
    for keyword in ("properties", "$defs", "definitions", "patternProperties"):
        named = schema.get(keyword, {})
        yield from named.values() if isinstance(named, dict) else (None,)
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        several = schema.get(keyword, [])
        yield from several if isinstance(several, list) else (None,)
    for keyword in ("items", "additionalProperties", "not"):
        if keyword in schema:
            yield schema[keyword]


def _shown(name: str) -> str:
    return repr(name if len(name) <= MAX_NAME_CHARS else name[:MAX_NAME_CHARS] + "…")
