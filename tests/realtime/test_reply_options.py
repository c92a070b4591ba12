"""What a program says about one reply is what the provider is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from stage import on_stage, realtime_stage, running, until
from trialogue import Agent, ReplyOptions
from trialogue.conversation.items import Message, TextContent
from trialogue.dialects.options import CustomVoice, NamedTool, Prompt
from trialogue.errors import ConfigurationError
from trialogue.testing import Say, Settings
from trialogue.tools.spec import ToolSpec

REASONING = {"settings": Settings(reasoning=True)}
TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})
ASKED = (Message("item_1", "user", (TextContent("And?"),)),)

# What may be said, and what becomes of it in `response.create`.
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "instructions": (
        {"instructions": "Be short."},
        {"instructions": "Be brief.\n\nBe short."},
    ),
    "replace": (
        {"instructions": "Be short.", "replace": True},
        {"instructions": "Be short."},
    ),
    "tools": (
        {"tools": [TOOL]},
        {
            "tools": [
                {
                    "type": "function",
                    "name": "look",
                    "description": "Looks.",
                    "parameters": TOOL.parameters,
                }
            ]
        },
    ),
    "tool_choice": (
        {"tools": [TOOL], "tool_choice": NamedTool("look")},
        {"tool_choice": {"type": "function", "name": "look"}},
    ),
    "parallel_tool_calls": (
        {"parallel_tool_calls": False},
        {"parallel_tool_calls": False},
    ),
    "output_modalities": (
        {"output_modalities": ("text",)},
        {"output_modalities": ["text"]},
    ),
    "max_output_tokens": ({"max_output_tokens": 99}, {"max_output_tokens": 99}),
    "reasoning_effort": ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
    "voice": (
        {"voice": CustomVoice("voice_1")},
        {"audio": {"output": {"voice": {"id": "voice_1"}}}},
    ),
    "output_format": (
        {"output_format": "pcma"},
        {"audio": {"output": {"format": {"type": "audio/pcma"}}}},
    ),
    "prompt": ({"prompt": Prompt("pmpt_1")}, {"prompt": {"id": "pmpt_1"}}),
    "out_of_band": ({"out_of_band": True}, {"conversation": "none"}),
    "input": (
        {"input": ASKED},
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "id": "item_1",
                    "content": [{"type": "input_text", "text": "And?"}],
                }
            ]
        },
    ),
    "metadata": ({"metadata": {"mine": "1"}}, {"metadata": {"mine": "1"}}),
    "allow_interruptions": ({"allow_interruptions": True}, {}),  # the client's own
}
EACH = pytest.mark.parametrize("option", OPTIONS)


def test_every_option_is_tried_here() -> None:
    assert OPTIONS.keys() == ReplyOptions.__annotations__.keys()


def asked_for(entries: Any, wire: dict[str, Any]) -> bool:
    """Whether the last `response.create` says this and leaves the rest unsaid."""
    response = dict(entries[-1].event["response"])
    response["metadata"] = {
        key: value for key, value in response["metadata"].items() if key != "trialogue"
    }
    expected = {"metadata": {}, **wire}
    shown = {key: response[key] for key in expected}
    extra = response.keys() - expected.keys() - {"tools"}
    return shown == expected and not extra


@EACH
async def test_session_asks_for_it(option: str, autojump_clock: object) -> None:
    said, wire = OPTIONS[option]
    async with realtime_stage(
        lambda turn: Say("Fine."), server=REASONING, instructions="Be brief."
    ) as (server, session):
        await until(lambda: session.settled)
        outcome = await session.generate_reply(**said)
        assert outcome.outcome == "completed"
        entries = server.connections[0].find("response.create", "in")
    assert asked_for(entries, wire)


@EACH
async def test_agents_session_asks_for_it_too(
    option: str, autojump_clock: object
) -> None:
    said, wire = OPTIONS[option]
    agent = Agent(instructions="Be brief.")
    async with (
        on_stage(lambda turn: Say("Fine."), server=REASONING) as stage,
        running(stage, agent),
    ):
        await until(lambda: stage.session.realtime.settled)
        outcome = await stage.session.generate_reply(**said)
        assert outcome.outcome == "completed"
        assert asked_for(stage.sent("response.create"), wire)


async def test_option_that_does_not_exist_or_cannot_be_is_refused_at_once(
    autojump_clock: object,
) -> None:
    """Nothing is asked for, and the next reply works."""
    async with realtime_stage(lambda turn: Say("Fine.")) as (server, session):
        with pytest.raises(TypeError, match="temperature"):
            await session.generate_reply(temperature=1.0)  # type: ignore[call-arg]
        with pytest.raises(ConfigurationError, match="output_modalities"):
            await session.generate_reply(output_modalities=())
        assert not server.connections[0].find("response.create")
        assert (await session.generate_reply()).text == "Fine."
