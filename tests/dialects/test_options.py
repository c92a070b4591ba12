"""Options: what a constructor refuses at any provider, and how it says so."""

from __future__ import annotations

import inspect
import math
from typing import Any

import attrs
import pytest

from trialogue.dialects.commands import CreateResponse
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
from trialogue.errors import ConfigurationError
from trialogue.realtime.wishes import ReplyOptions, wish_for

BAD: list[tuple[Any, str, Any]] = [
    (SessionOptions, "voice", ""),
    (SessionOptions, "voice", None),
    (SessionOptions, "voice", 7),
    (SessionOptions, "speed", -0.1),
    (SessionOptions, "speed", math.inf),
    (SessionOptions, "speed", math.nan),
    (SessionOptions, "speed", "fast"),
    (SessionOptions, "speed", True),
    (SessionOptions, "output_modalities", ()),
    (SessionOptions, "output_modalities", ("video",)),
    (SessionOptions, "output_modalities", ("text", "text")),
    (SessionOptions, "output_modalities", "text"),
    (SessionOptions, "input_format", "mp3"),
    (SessionOptions, "output_format", "PCM16"),
    (SessionOptions, "turn_detection", "server_vad"),
    (SessionOptions, "turn_detection", {"type": "server_vad"}),
    (SessionOptions, "transcription", "whisper-1"),
    (SessionOptions, "noise_reduction", "near_field"),
    (SessionOptions, "tool_choice", "any"),
    (SessionOptions, "tool_choice", None),
    (SessionOptions, "parallel_tool_calls", 1),
    (SessionOptions, "max_output_tokens", 0),
    (SessionOptions, "max_output_tokens", 1.5),
    (SessionOptions, "max_output_tokens", "infinite"),
    (SessionOptions, "truncation", "never"),
    (SessionOptions, "truncation", {"type": "retention_ratio"}),
    (SessionOptions, "reasoning_effort", ""),
    (SessionOptions, "tracing", "on"),
    (SessionOptions, "tracing", {"workflow_name": "w"}),
    (SessionOptions, "prompt", "pmpt_1"),
    (SessionOptions, "include", "logprobs"),
    (SessionOptions, "include", (1,)),
    (CustomVoice, "id", ""),
    (ServerVAD, "threshold", 1.1),
    (ServerVAD, "threshold", -0.1),
    (ServerVAD, "prefix_padding_ms", -1),
    (ServerVAD, "silence_duration_ms", 0.5),
    (ServerVAD, "idle_timeout_ms", 0),
    (ServerVAD, "create_response", "yes"),
    (ServerVAD, "interrupt_response", None),
    (SemanticVAD, "eagerness", "eager"),
    (SemanticVAD, "create_response", 1),
    (SemanticVAD, "interrupt_response", 0),
    (Transcription, "model", ""),
    (Transcription, "language", ""),
    (Transcription, "languages", "en"),
    (Transcription, "prompt", 1),
    (Transcription, "keywords", ["a"]),
    (Transcription, "delay", "none"),
    (NoiseReduction, "type", "far"),
    (NoiseReduction, "strength", -1),
    (NamedTool, "name", ""),
    (NamedMCPTool, "server_label", ""),
    (NamedMCPTool, "name", ""),
    (RetentionRatio, "ratio", 1.01),
    (RetentionRatio, "ratio", "half"),
    (RetentionRatio, "post_instructions_tokens", -1),
    (Tracing, "workflow_name", ""),
    (Tracing, "group_id", 3),
    (Tracing, "metadata", "m"),
    (Prompt, "id", ""),
    (Prompt, "version", 2),
    (Prompt, "variables", ("a", "b")),
]
REQUIRED: dict[Any, dict[str, Any]] = {
    CustomVoice: {"id": "v"},
    NamedTool: {"name": "f"},
    NamedMCPTool: {"server_label": "s"},
    RetentionRatio: {"ratio": 0.5},
    Prompt: {"id": "p"},
}


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [pytest.param(*row, id=f"{row[0].__name__}.{row[1]}={row[2]!r}") for row in BAD],
)
def test_value_that_means_nothing_anywhere_is_refused_by_the_constructor(
    cls: Any, field: str, value: Any
) -> None:
    """The error names the field and the value."""
    fields = {**REQUIRED.get(cls, {}), field: value}
    with pytest.raises(ConfigurationError) as caught:
        cls(**fields)
    assert str(caught.value).startswith(f"{cls.__name__}.{field} is {value!r}: ")
    assert str(caught.value).endswith(" was expected")


def test_every_field_of_every_option_has_a_value_that_is_refused() -> None:
    """A field that takes anything whatever would be one that nobody checks."""
    tried = {(cls, field) for cls, field, _ in BAD}
    classes = {cls for cls, _, _ in BAD}
    every = {(cls, field.name) for cls in classes for field in attrs.fields(cls)}
    assert tried == every


@pytest.mark.parametrize(
    "fine",
    [
        lambda: SessionOptions(speed=2, max_output_tokens="inf", include=()),
        lambda: SessionOptions(turn_detection=None, transcription=None, include=None),
        lambda: SessionOptions(noise_reduction=None, tracing=None, prompt=None),
        lambda: SessionOptions(output_modalities=("audio", "text")),
        lambda: ServerVAD(threshold=0, prefix_padding_ms=0, silence_duration_ms=0),
        lambda: ServerVAD(threshold=1, idle_timeout_ms=1),
        lambda: RetentionRatio(0, 0),
        lambda: RetentionRatio(1),
        lambda: NoiseReduction(strength=0),
    ],
    ids=[f"fine{n}" for n in range(9)],
)
def test_ends_of_ranges_and_what_one_provider_alone_refuses_are_fine(fine: Any) -> None:
    """Providers differ in their ranges: those are their dialects'."""
    assert fine() == fine()


def test_options_are_values_and_the_unset_ones_are_unchanged() -> None:
    assert hash(SessionOptions(voice=CustomVoice("v"))) == hash(
        SessionOptions(voice=CustomVoice("v"))
    )
    fields = attrs.asdict(SessionOptions(), recurse=False)
    assert all(value is UNCHANGED for value in fields.values())


def test_reply_is_checked_as_a_session_is() -> None:
    with pytest.raises(ConfigurationError, match=r"CreateResponse\.max_output_tokens"):
        CreateResponse("k", max_output_tokens=-1)
    with pytest.raises(ConfigurationError, match=r"CreateResponse\.output_modalities"):
        wish_for("k", output_modalities=())


def test_reply_options_are_the_keywords_that_make_a_command() -> None:
    """What type checkers know of, and what there is, are the same."""
    keywords = inspect.signature(wish_for).parameters
    assert list(keywords)[1:] == list(ReplyOptions.__annotations__)
    made = {field.name for field in attrs.fields(CreateResponse)} - {"key"}
    here = {"replace", "allow_interruptions"}  # no provider is told of these
    assert ReplyOptions.__annotations__.keys() - here == made
    with pytest.raises(TypeError, match="temperature"):
        wish_for("k", temperature=0.7)  # type: ignore[call-arg]


def test_instructions_of_a_reply_are_added_unless_they_replace() -> None:
    added = wish_for("k", instructions="Be short.")
    assert (added.command.instructions, added.add_instructions) == (
        UNCHANGED,
        "Be short.",
    )
    alone = wish_for("k", instructions="Be short.", replace=True)
    assert (alone.command.instructions, alone.add_instructions) == ("Be short.", None)
