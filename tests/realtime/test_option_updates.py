"""Options that change in a session: each alone, acknowledged, cleared, taken back."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from stage import realtime_stage
from trialogue import OpenAIRealtime
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
    given,
)
from trialogue.errors import ConfigurationError
from trialogue.realtime.configuration import Configuration, must_replace, update_for
from trialogue.testing import RealtimeServer, Settings, lose
from trialogue.tools.spec import ToolSpec

TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})
PCM = {"type": "audio/pcm", "rate": 24000}
FLAGS = {"create_response": True, "interrupt_response": True}
LOUD = {
    "type": "server_vad",
    "threshold": 0.7,
    "prefix_padding_ms": 0,
    "silence_duration_ms": 300,
    "idle_timeout_ms": 5000,
    "create_response": True,
    "interrupt_response": False,
}
WHISPER = Transcription(
    "gpt-transcribe",
    language="de",
    languages=("de", "en"),
    prompt="Names.",
    keywords=("Kelly",),
    delay="low",
)
LOGPROBS = "item.input_audio_transcription.logprobs"
TRACE = Tracing("work", "group", {"a": 1})

# The option; its place in the session; values to be set in turn, and how each is sent.
CHANGES: dict[str, tuple[str, list[tuple[Any, Any]]]] = {
    "voice": (
        "audio.output.voice",
        [("cedar", "cedar"), (CustomVoice("voice_1"), {"id": "voice_1"})],
    ),
    "speed": ("audio.output.speed", [(1.25, 1.25), (0.25, 0.25)]),
    "output_modalities": (
        "output_modalities",
        [(("text",), ["text"]), (("audio",), ["audio"])],
    ),
    "turn_detection": (
        "audio.input.turn_detection",
        [
            (SemanticVAD("low"), {"type": "semantic_vad", "eagerness": "low", **FLAGS}),
            (ServerVAD(0.7, 0, 300, 5000, interrupt_response=False), LOUD),
            (None, None),
        ],
    ),
    "transcription": (
        "audio.input.transcription",
        [
            (WHISPER, attrs.asdict(WHISPER) | {"languages": ["de", "en"]}),
            (None, None),
            (Transcription("whisper-1"), {"model": "whisper-1"}),
        ],
    ),
    "noise_reduction": (
        "audio.input.noise_reduction",
        [
            (NoiseReduction("far_field"), {"type": "far_field"}),
            (NoiseReduction(strength=0.5), {"type": "near_field", "strength": 0.5}),
            # Left out, the server would keep what it has.
            (NoiseReduction(), {"type": "near_field", "strength": 1.0}),
            (None, None),
        ],
    ),
    "tool_choice": (
        "tool_choice",
        [
            ("required", "required"),
            (NamedTool("look"), {"type": "function", "name": "look"}),
            (NamedMCPTool("s"), {"type": "mcp", "server_label": "s"}),
            (NamedMCPTool("s", "t"), {"type": "mcp", "server_label": "s", "name": "t"}),
            ("auto", "auto"),
        ],
    ),
    "parallel_tool_calls": ("parallel_tool_calls", [(False, False), (True, True)]),
    "max_output_tokens": ("max_output_tokens", [(4096, 4096), ("inf", "inf")]),
    "truncation": (
        "truncation",
        [
            ("disabled", "disabled"),
            (RetentionRatio(0.8), {"type": "retention_ratio", "retention_ratio": 0.8}),
            (
                RetentionRatio(0.5, 5000),
                {
                    "type": "retention_ratio",
                    "retention_ratio": 0.5,
                    "token_limits": {"post_instructions": 5000},
                },
            ),
            ("auto", "auto"),
        ],
    ),
    "reasoning_effort": (
        "reasoning",
        [("high", {"effort": "high"}), ("minimal", {"effort": "minimal"})],
    ),
    # Once it is on it stays as it is.
    "tracing": (
        "tracing",
        [
            (None, None),
            (
                TRACE,
                {"workflow_name": "work", "group_id": "group", "metadata": {"a": 1}},
            ),
        ],
    ),
    "prompt": (
        "prompt",
        [
            (Prompt("pmpt_1"), {"id": "pmpt_1"}),
            (
                Prompt("pmpt_1", "2", {"name": "Kelly"}),
                {"id": "pmpt_1", "version": "2", "variables": {"name": "Kelly"}},
            ),
            (None, None),
        ],
    ),
    "include": ("include", [((LOGPROBS,), [LOGPROBS]), (None, [])]),
}
CHANGES["transcription"][1][0][1]["keywords"] = ["Kelly"]
FORMATS = {"input_format", "output_format"}


def at(session: dict[str, Any], path: str) -> Any:
    """Return what stands at a dotted path."""
    found: Any = session
    for name in path.split("."):
        found = found[name]
    return found


def leaves(session: dict[str, Any]) -> set[str]:
    """Return the dotted paths that a patch sets."""
    paths = set()
    for name, value in session.items():
        if name == "audio":
            paths |= {f"audio.{side}.{k}" for side, part in value.items() for k in part}
        elif name != "type":
            paths.add(name)
    return paths


def frames(server: RealtimeServer, direction: str, kind: str) -> list[dict[str, Any]]:
    """Return the sessions in the frames of a kind, in order."""
    entries = server.connections[-1].entries
    return [
        entry.event["session"]
        for entry in entries
        if entry.direction == direction and entry.type == kind
    ]


def test_every_option_is_tried_here() -> None:
    names = {field.name for field in attrs.fields(SessionOptions)}
    assert CHANGES.keys() | FORMATS == names


@pytest.mark.behaviour("H16")
@pytest.mark.parametrize("option", CHANGES)
async def test_option_that_changes_is_sent_alone_and_answered(
    option: str, autojump_clock: object
) -> None:
    """Whoever changes it waits for the server; the same again sends nothing."""
    path, values = CHANGES[option]
    settings = Settings(reasoning=True)
    async with realtime_stage(server={"settings": settings}, tools=[TOOL]) as (
        server,
        session,
    ):
        await session.update_options(SessionOptions())  # the first update is through
        for value, wire in values:
            sent = len(frames(server, "in", "session.update"))
            report = await session.update_options(SessionOptions(**{option: value}))
            report.raise_for_failures()
            new = frames(server, "in", "session.update")[sent:]
            assert [leaves(patch) for patch in new] == [{path}]
            assert at(new[0], path) == wire
            has = at(frames(server, "out", "session.updated")[-1], path)
            if isinstance(wire, dict):
                assert wire.items() <= has.items()
            else:
                assert has == wire
            await session.update_options(SessionOptions(**{option: value}))
            assert len(frames(server, "in", "session.update")) == sent + 1


@pytest.mark.behaviour("H16")
async def test_formats_go_with_the_first_update_and_are_fixed_from_then_on(
    autojump_clock: object,
) -> None:
    """Another one is refused where it is asked for, as it would never be sent."""
    options = SessionOptions(input_format="pcmu", output_format="pcma")
    async with realtime_stage(options=options) as (server, session):
        await session.update_options(options.merged(SessionOptions(speed=1.5)))
        for other in ("pcm16", "pcma"):
            with pytest.raises(ConfigurationError, match="input_format cannot become"):
                await session.update_options(SessionOptions(input_format=other))
        with pytest.raises(ConfigurationError, match="output_format cannot become"):
            await session.update_options(SessionOptions(output_format="pcm16"))
        first, *later = frames(server, "in", "session.update")
    assert at(first, "audio.input.format") == {"type": "audio/pcmu"}
    assert at(first, "audio.output.format") == {"type": "audio/pcma"}
    assert [leaves(patch) for patch in later] == [{"audio.output.speed"}]


@pytest.mark.behaviour("H16")
async def test_formats_whose_first_update_was_lost_are_said_again_with_the_rest(
    autojump_clock: object,
) -> None:
    """The server answers a reply and never a word of the update that went ahead."""
    options = SessionOptions(input_format="pcmu", output_format="pcma")
    faults = [lose("session.update")]
    async with realtime_stage(server={"faults": faults}, options=options) as (
        server,
        session,
    ):
        assert (await session.generate_reply()).outcome == "completed"
        await session.update_options(SessionOptions(speed=1.1))
        assert len(server.connections) == 1
        has = frames(server, "out", "session.updated")[-1]
        sent = frames(server, "in", "session.update")
    assert at(has, "audio.input.format") == {"type": "audio/pcmu"}
    assert at(has, "audio.output.format") == {"type": "audio/pcma"}
    assert leaves(sent[0]) == leaves(sent[1])
    assert leaves(sent[2]) == {"audio.output.speed"}


DEFAULTS: dict[str, Any] = {
    "speed": 1.0,
    "output_modalities": ("audio",),
    "turn_detection": ServerVAD(),
    "transcription": None,
    "noise_reduction": None,
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "truncation": "auto",
    "prompt": None,
    "include": None,
}
WITHOUT_DEFAULT = {"voice", "parallel_tool_calls", "reasoning_effort"}


@pytest.mark.behaviour("H16")
@pytest.mark.parametrize("option", CHANGES)
def test_option_taken_back_goes_to_its_documented_default_or_goes_fresh(
    option: str,
) -> None:
    """What the next agent does not set is as if no agent had set it."""
    model = OpenAIRealtime(api_key="key")
    value = CHANGES[option][1][1 if option == "tracing" else 0][0]
    held = Configuration(model, "a", options=SessionOptions(**{option: value}))
    wanted = Configuration(model, "a")
    reason = must_replace(wanted, held, edits_context=False, assistant_audio=False)
    if option in WITHOUT_DEFAULT:
        assert reason == "an option cannot be taken back"
    elif option == "tracing":
        assert reason == "tracing is fixed once it is on"
    else:
        assert reason is None
        update = update_for(wanted, held)
        assert given(update.options) == {option: DEFAULTS[option]}
        default = SessionOptions(**{option: DEFAULTS[option]})
        at_default = Configuration(model, "a", options=default)
        assert not given(update_for(wanted, at_default).options), "it has it already"


def test_tracing_can_begin_in_a_session_and_then_only_elsewhere() -> None:
    model = OpenAIRealtime(api_key="key")
    off, on, other = (
        Configuration(model, "a", options=SessionOptions(tracing=tracing))
        for tracing in (None, "auto", TRACE)
    )
    silent = Configuration(model, "a")

    def why(wanted: Configuration, held: Configuration) -> str | None:
        return must_replace(wanted, held, edits_context=False, assistant_audio=False)

    assert why(on, silent) is None
    assert why(on, off) is None
    assert why(on, on) is None
    assert why(other, on) == why(off, on) == "tracing is fixed once it is on"


def test_noise_reduction_of_the_same_strength_does_not_say_it() -> None:
    model = OpenAIRealtime(api_key="key")

    def update(new: Any, old: Any) -> Any:
        held, wanted = (
            Configuration(model, "a", options=SessionOptions(noise_reduction=one))
            for one in (old, new)
        )
        return update_for(wanted, held).options.noise_reduction

    near, far = NoiseReduction(), NoiseReduction("far_field")
    assert update(far, near) == far
    assert update(near, None) == near
    assert update(near, near) is UNCHANGED
    assert update(far, NoiseReduction(strength=0.2)) == NoiseReduction("far_field", 1.0)
