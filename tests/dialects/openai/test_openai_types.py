"""The published request types of the protocol accept everything that we send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import attrs
import pytest

from published import SERVER_MODELS, taken_as
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
    RetrieveItem,
    SendRaw,
    TruncateItem,
    UpdateSession,
)
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.openai.wire import (
    SERVER_EVENTS,
    decode_server_event,
    encode_event,
)
from trialogue.dialects.options import (
    UNCHANGED,
    CustomVoice,
    NamedMCPTool,
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

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOL = ToolSpec("f", "Does.", {"type": "object", "properties": {}})
EXAMPLES = (Path(__file__).parent / "examples.jsonl").read_text("utf-8").splitlines()

OPTIONS = (
    CustomVoice,
    NamedMCPTool,
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
# NB: the request types have no null for `transcription` and `noise_reduction`, though
# their descriptions say that null turns these off.
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
            turn_detection=ServerVAD(0.6, 200, 400, 6000, False, False),
            transcription=Transcription(
                "gpt-transcribe", "de", "names", ("de", "en"), ("Kelly",), "xhigh"
            ),
            noise_reduction=NoiseReduction("far_field", 0.5),
            tool_choice=NamedTool("f"),
            parallel_tool_calls=True,
            max_output_tokens=500,
            truncation=RetentionRatio(0.5, 5000),
            reasoning_effort="low",
            tracing=Tracing("w", "g", {"a": 1}),
            prompt=Prompt(
                "pmpt_1",
                "2",
                {
                    "name": "Kelly",
                    "what": {"type": "input_text", "text": "t"},
                    "seen": {
                        "type": "input_image",
                        "image_url": "data:image/png;base64,",
                        "detail": "low",
                    },
                },
            ),
            include=("item.input_audio_transcription.logprobs",),
        ),
    ),
    UpdateSession(
        options=SessionOptions(
            voice=CustomVoice("voice_1"),
            input_format="pcmu",
            turn_detection=SemanticVAD("low", False, False),
            noise_reduction=NoiseReduction(),
            transcription=Transcription(),
            tool_choice=NamedMCPTool("s", "t"),
            max_output_tokens="inf",
            truncation="disabled",
            tracing="auto",
        )
    ),
    UpdateSession(
        options=SessionOptions(
            tool_choice="none",
            turn_detection=None,
            tracing=None,
            prompt=None,
            include=None,
        )
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
    CreateUserAudio("i", b"\0\0", after="j"),
    DeleteItem("i"),
    RetrieveItem("i"),
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
        parallel_tool_calls=False,
        reasoning_effort="xhigh",
        voice=CustomVoice("voice_1"),
        output_format="pcmu",
        prompt=Prompt("pmpt_1"),
        out_of_band=True,
        input=(
            OpaqueItem("i", "item_reference"),
            Message("j", "user", (TextContent("a"),)),
        ),
        metadata={"mine": "1"},
    ),
    CreateResponse(key="k", voice="marin", tool_choice=NamedMCPTool("s"), prompt=None),
    CreateResponse(key="k", output_format="pcm16", max_output_tokens="inf"),
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
    assert taken_as(data) == data


def test_every_field_of_every_command_and_option_is_among_them() -> None:
    """What nobody sends here, nobody has compared."""
    assert {type(command) for command in COMMANDS} == {*get_args(Command)} - {SendRaw}
    found: set[tuple[str, str]] = set()
    expected: set[tuple[str, str]] = set()
    for value in _values(COMMANDS):
        for field in attrs.fields(type(value)):
            name = (type(value).__name__, field.name)
            expected.add(name)
            if getattr(value, field.name) not in (field.default, UNCHANGED):
                found.add(name)
    # What only a record knows of its items.
    local = {(c, f) for c, f in expected if f in {"status", "agent", "heard_ms"}}
    assert expected - local - found <= {
        ("AudioTranscribed", "duration_ms"),
        ("TruncateItem", "content_index"),
    }
    options = {cls.__name__ for cls in OPTIONS}
    assert options <= {cls for cls, _ in found}


def _values(value: Any) -> Iterator[Any]:
    if attrs.has(type(value)):
        yield value
        for field in attrs.fields(type(value)):
            yield from _values(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _values(inner)


@pytest.mark.parametrize(
    "text",
    [text for text in EXAMPLES if json.loads(text)["type"] in SERVER_EVENTS],
    ids=lambda text: json.loads(text)["type"],
)
def test_what_was_seen_of_servers_the_types_can_read_after_us(text: str) -> None:
    kind = json.loads(text)["type"]
    again = encode_event(decode_server_event(text))
    assert SERVER_MODELS[kind].model_validate_json(again).type == kind
