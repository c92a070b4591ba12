"""The published types of the protocol accept what we send, and are all covered here.

Skipped where the `openai` package is not installed: it is no dependency.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from trialogue.conversation.items import (
    AudioTranscribed,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Message,
    OpaqueItem,
    TextContent,
)
from trialogue.dialects.commands import (
    AppendAudio,
    CancelResponse,
    ClearAudio,
    Command,
    CommitAudio,
    CreateItem,
    CreateResponse,
    CreateUserAudio,
    DeleteItem,
    TruncateItem,
    UpdateSession,
)
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.openai.wire import (
    CLIENT_EVENTS,
    SERVER_EVENTS,
    decode_server_event,
    encode_event,
)
from trialogue.dialects.options import (
    NamedTool,
    NoiseReduction,
    Prompt,
    RetentionRatio,
    SemanticVAD,
    ServerVAD,
    SessionOptions,
    Tracing,
    Transcription,
)
from trialogue.tools.spec import ToolSpec

realtime = pytest.importorskip("openai.types.realtime")
pydantic = pytest.importorskip("pydantic")

TOOL = ToolSpec("f", "Does.", {"type": "object", "properties": {}})
EXAMPLES = (Path(__file__).parent / "examples.jsonl").read_text("utf-8").splitlines()

COMMANDS: list[Command] = [
    UpdateSession(),
    UpdateSession(
        instructions="Be brief.",
        tools=(TOOL, ToolSpec("g", "", {})),
        options=SessionOptions(
            voice="marin",
            speed=1.2,
            output_modalities=("audio",),
            input_format="pcm16",
            output_format="pcma",
            turn_detection=ServerVAD(idle_timeout_ms=6000),
            transcription=Transcription(language="de", prompt="names"),
            noise_reduction=NoiseReduction(),
            tool_choice=NamedTool("f"),
            parallel_tool_calls=True,
            max_output_tokens=500,
            truncation=RetentionRatio(0.5),
            reasoning_effort="low",
            tracing=Tracing(workflow_name="w"),
            prompt=Prompt("pmpt_1"),
            include=("item.input_audio_transcription.logprobs",),
        ),
    ),
    UpdateSession(
        options=SessionOptions(
            input_format="pcmu",
            turn_detection=SemanticVAD(),
            tool_choice="auto",
            max_output_tokens="inf",
            truncation="disabled",
            tracing="auto",
        )
    ),
    UpdateSession(
        options=SessionOptions(turn_detection=None, tracing=None, prompt=None)
    ),
    CreateItem(Message("i", "system", (TextContent("a"),))),
    CreateItem(
        Message(
            "i",
            "user",
            (TextContent("a"), ImageContent("data:image/png;base64,", "low")),
        ),
        after="root",
    ),
    CreateItem(Message("i", "assistant", (TextContent("a"), AudioTranscribed("b")))),
    CreateItem(FunctionCall("i", "c", "f", "{}")),
    CreateItem(FunctionCallOutput("i", "c" * 99, "")),
    CreateItem(
        OpaqueItem(
            "i",
            "mcp_approval_response",
            {"approval_request_id": "a", "approve": False, "reason": "no"},
        )
    ),
    CreateUserAudio("i", b"\0\0"),
    DeleteItem("i"),
    TruncateItem("i", 100),
    AppendAudio(b"\0\0"),
    CommitAudio(),
    ClearAudio(),
    CreateResponse(key="k"),
    CreateResponse(
        key="k",
        instructions="Now.",
        tools=(TOOL,),
        tool_choice=NamedTool("f"),
        output_modalities=("text",),
        max_output_tokens=10,
        out_of_band=True,
        input=(
            OpaqueItem("i", "item_reference"),
            Message("j", "user", (TextContent("a"),)),
        ),
        metadata={"mine": "1"},
    ),
    CancelResponse(),
    CancelResponse("resp_1"),
]


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, id=f"{n}-{type(c).__name__}") for n, c in enumerate(COMMANDS)],
)
def test_what_we_send_is_what_the_types_allow_and_nothing_more(
    command: Command,
) -> None:
    """Validation drops what the types do not know: nothing may be missing after it."""
    data = json.loads(OpenAIDialect().encode(command, event_id="e1").text)
    assert _validated(_client_type(data), data) == data


def _client_type(data: dict[str, Any]) -> Any:
    if data["type"] == "response.create":
        # Item references have request types of their own, outside of the union.
        name = "response_create_event_with_references_param"
        module = import_module(f"openai.types.realtime.{name}")
        return module.ResponseCreateEventWithReferencesParam
    return realtime.RealtimeClientEventParam


def _validated(kind: Any, data: object) -> object:
    return _listed(pydantic.TypeAdapter(kind).validate_python(data))


def _listed(value: Any) -> Any:
    """Read the lazy iterators that pydantic makes of `Iterable`."""
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_listed(inner) for inner in value]
    return value


@pytest.mark.parametrize(
    "text",
    [text for text in EXAMPLES if json.loads(text)["type"] in SERVER_EVENTS],
    ids=lambda text: json.loads(text)["type"],
)
def test_what_a_server_of_ours_sends_the_types_can_read(text: str) -> None:
    adapter = pydantic.TypeAdapter(realtime.RealtimeServerEvent)
    event = adapter.validate_json(encode_event(decode_server_event(text)))
    assert event.type == json.loads(text)["type"]


def test_every_published_event_has_a_class_here() -> None:
    ours = {*SERVER_EVENTS, *CLIENT_EVENTS}
    published = {
        *_types(realtime.RealtimeServerEvent),
        *_types(realtime.RealtimeClientEvent),
    }
    assert {"session.update", "session.updated"} <= published
    # The beta's name for item.added and item.done, still listed.
    assert published - ours <= {"conversation.item.created"}


def _types(union: Any) -> set[str]:
    found: set[str] = set()
    for cls in typing.get_args(union):
        if hasattr(cls, "model_fields"):
            found.update(typing.get_args(cls.model_fields["type"].annotation))
        else:
            found |= _types(cls)
    return found
