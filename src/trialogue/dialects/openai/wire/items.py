"""Conversation items and their content parts (protocol §4)."""

from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire.base import UNSET, Nullable, Raw

__all__ = [
    "Audio",
    "ContentPart",
    "FunctionCall",
    "FunctionCallOutput",
    "InputAudio",
    "InputImage",
    "InputText",
    "Item",
    "ItemReference",
    "ItemStatus",
    "MCPApprovalRequest",
    "MCPApprovalResponse",
    "MCPCall",
    "MCPListTools",
    "Message",
    "OutputAudio",
    "OutputText",
    "Text",
]

ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]


def _size(data: object) -> str:
    return f"<{len(data)} bytes>" if isinstance(data, bytes) else repr(data)


@attrs.frozen
class InputText:
    """Written by the user or the program."""

    type: ClassVar[Literal["input_text"]] = "input_text"
    text: str


@attrs.frozen(kw_only=True)
class InputAudio:
    """Said by the user; the transcript is null until transcribed."""

    type: ClassVar[Literal["input_audio"]] = "input_audio"
    audio: Nullable[bytes] = attrs.field(default=UNSET, repr=_size)
    transcript: Nullable[str] = UNSET


@attrs.frozen
class InputImage:
    """A picture as a data URI."""

    type: ClassVar[Literal["input_image"]] = "input_image"
    image_url: str = attrs.field(repr=lambda url: f"<{len(url)} characters>")
    detail: Nullable[Literal["auto", "low", "high"]] = UNSET


@attrs.frozen
class OutputText:
    """Written by the model."""

    type: ClassVar[Literal["output_text"]] = "output_text"
    text: str


@attrs.frozen(kw_only=True)
class OutputAudio:
    """Said by the model; the audio itself is present in `retrieved` only."""

    type: ClassVar[Literal["output_audio"]] = "output_audio"
    transcript: Nullable[str] = UNSET
    audio: Nullable[bytes] = attrs.field(default=UNSET, repr=_size)


@attrs.frozen
class Text:
    """The short name of `output_text`, used in `response.content_part.*` (§4.2)."""

    type: ClassVar[Literal["text"]] = "text"
    text: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class Audio:
    """The short name of `output_audio`, used in `response.content_part.*` (§4.2)."""

    type: ClassVar[Literal["audio"]] = "audio"
    transcript: Nullable[str] = UNSET
    audio: Nullable[bytes] = attrs.field(default=UNSET, repr=_size)


ContentPart: TypeAlias = (
    InputText | InputAudio | InputImage | OutputText | OutputAudio | Text | Audio | Raw
)


@attrs.frozen(kw_only=True)
class _Item:
    id: Nullable[str] = UNSET
    object: Nullable[str] = UNSET
    status: Nullable[ItemStatus] = UNSET


@attrs.frozen(kw_only=True)
class Message(_Item):
    """One utterance of the system, the user or the assistant."""

    type: ClassVar[Literal["message"]] = "message"
    role: Literal["system", "user", "assistant"]
    content: tuple[ContentPart, ...]


@attrs.frozen(kw_only=True)
class FunctionCall(_Item):
    """The model's call of a function; `arguments` is JSON text."""

    type: ClassVar[Literal["function_call"]] = "function_call"
    name: str
    arguments: str
    call_id: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class FunctionCallOutput(_Item):
    """The client's answer to a call."""

    type: ClassVar[Literal["function_call_output"]] = "function_call_output"
    call_id: str
    output: str


@attrs.frozen(kw_only=True)
class MCPListTools(_Item):
    """The tools of a remote tool server; empty until listed."""

    type: ClassVar[Literal["mcp_list_tools"]] = "mcp_list_tools"
    server_label: str
    tools: Nullable[tuple[dict[str, Any], ...]] = UNSET


@attrs.frozen(kw_only=True)
class MCPCall(_Item):
    """A call that the provider makes; `error` has one of three shapes (§4.1)."""

    type: ClassVar[Literal["mcp_call"]] = "mcp_call"
    server_label: str
    name: str
    arguments: str
    output: Nullable[str] = UNSET
    error: Nullable[dict[str, Any]] = UNSET
    approval_request_id: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class MCPApprovalRequest(_Item):
    """The provider asks whether it may make a call."""

    type: ClassVar[Literal["mcp_approval_request"]] = "mcp_approval_request"
    server_label: str
    name: str
    arguments: str


@attrs.frozen(kw_only=True)
class MCPApprovalResponse(_Item):
    """The client's answer to an approval request."""

    type: ClassVar[Literal["mcp_approval_response"]] = "mcp_approval_response"
    approval_request_id: str
    approve: bool
    reason: Nullable[str] = UNSET


@attrs.frozen
class ItemReference:
    """An item of the conversation by id; only in `response.create`."""

    type: ClassVar[Literal["item_reference"]] = "item_reference"
    id: str


Item: TypeAlias = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | MCPListTools
    | MCPCall
    | MCPApprovalRequest
    | MCPApprovalResponse
    | ItemReference
    | Raw
)
