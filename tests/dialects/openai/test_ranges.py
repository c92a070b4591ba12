"""The ranges that OpenAI documents: checked before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from stage import realtime_stage
from trialogue import Agent, OpenAIRealtime
from trialogue.dialects.commands import CreateResponse, UpdateSession
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.options import ServerVAD, SessionOptions
from trialogue.errors import ConfigurationError, ConversionError

OUT_OF_RANGE = [
    (SessionOptions(speed=0.24), "speed is 0.24", "0.25 to 1.5"),
    (SessionOptions(speed=1.51), "speed is 1.51", "0.25 to 1.5"),
    (SessionOptions(max_output_tokens=4097), "max_output_tokens is 4097", "1 to 4096"),
    (
        SessionOptions(turn_detection=ServerVAD(idle_timeout_ms=4999)),
        "turn_detection.idle_timeout_ms is 4999",
        "5000 to 30000",
    ),
    (
        SessionOptions(turn_detection=ServerVAD(idle_timeout_ms=30_001)),
        "turn_detection.idle_timeout_ms is 30001",
        "5000 to 30000",
    ),
    (
        SessionOptions(output_modalities=("audio", "text")),
        "output_modalities is ('audio', 'text')",
        "exactly one",
    ),
]


@pytest.mark.behaviour("S18")
@pytest.mark.parametrize(
    ("options", "what", "limits"),
    [pytest.param(*row, id=row[1]) for row in OUT_OF_RANGE],
)
def test_out_of_range_is_refused_with_field_value_and_range(
    options: SessionOptions, what: str, limits: str
) -> None:
    with pytest.raises(ConversionError) as caught:
        OpenAIDialect().encode(UpdateSession(options=options), event_id="e")
    assert what in str(caught.value)
    assert limits in str(caught.value)
    with pytest.raises(ConfigurationError, match=limits):
        OpenAIRealtime(api_key="key", options=options)


@pytest.mark.parametrize(
    "options",
    [
        SessionOptions(speed=0.25, max_output_tokens=1),
        SessionOptions(speed=1.5, max_output_tokens=4096),
        SessionOptions(turn_detection=ServerVAD(idle_timeout_ms=5000)),
        SessionOptions(turn_detection=ServerVAD(idle_timeout_ms=30_000)),
    ],
    ids=["slowest", "fastest", "soonest", "latest"],
)
def test_ends_of_a_range_are_sent(options: SessionOptions) -> None:
    assert OpenAIDialect().encode(UpdateSession(options=options), event_id="e").text
    model = OpenAIRealtime(api_key="key", options=options)
    assert model.options.merged(options) == model.options


@pytest.mark.behaviour("S18")
@pytest.mark.parametrize(
    "wish",
    [{"max_output_tokens": 5000}, {"output_modalities": ("text", "audio")}],
    ids=["tokens", "modalities"],
)
def test_what_a_reply_overrides_has_the_same_ranges(wish: dict[str, Any]) -> None:
    with pytest.raises(ConversionError, match="OpenAI Realtime takes"):
        OpenAIDialect().encode(CreateResponse("k", **wish), event_id="e")


@pytest.mark.behaviour("S18")
async def test_session_that_could_not_be_configured_is_not_dialled(
    autojump_clock: object,
) -> None:
    options = SessionOptions(speed=9)
    with pytest.raises(ConversionError, match="speed is 9"):
        async with realtime_stage(options=options):
            raise AssertionError("it opened")


@pytest.mark.behaviour("S18")
async def test_update_or_reply_that_is_out_of_range_sends_nothing_and_session_goes_on(
    autojump_clock: object,
) -> None:
    async with realtime_stage() as (server, session):
        await session.update_options(SessionOptions(speed=1.1))
        sent = len(server.connections[0].entries)
        with pytest.raises(ConversionError, match="speed is 9"):
            await session.update_options(SessionOptions(speed=9, voice="cedar"))
        with pytest.raises(ConversionError, match="max_output_tokens is 9999"):
            await session.generate_reply(max_output_tokens=9999)
        assert len(server.connections[0].entries) == sent
        report = await session.update_options(SessionOptions(voice="cedar"))
        assert report.ok
        assert (await session.generate_reply()).outcome == "completed"


def test_agent_may_be_described_for_another_provider() -> None:
    """Only the model that serves it knows its range."""
    agent = Agent(instructions="Be slow.", options=SessionOptions(speed=0.1))
    assert agent.options is not None
