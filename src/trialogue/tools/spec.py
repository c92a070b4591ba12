"""What a model is told about a tool."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["ToolSpec"]


@attrs.frozen
class ToolSpec:
    """The declaration of one tool, as a provider takes it.

    Attributes:
        name: what the model calls it; unique among an agent's tools.
        description: what the model reads to decide; may be empty.
        parameters: a JSON Schema of type "object".
    """

    name: str
    description: str
    parameters: dict[str, Any]
