"""What a session writes to the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

from stage import (
    Greeter,
    on_stage,
    realtime_stage,
    running,
    transferring_brain,
    until,
)
from trialogue import ConnectionLost, Limits, Message, SpendLimit
from trialogue.conversation.items import TextContent
from trialogue.testing import cut, refuse_upgrade, reject

WORDS = "xylophone"


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """The lines of one level, as handlers get them."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == level and record.name.startswith("trialogue.")
    ]


def about(shown: list[str], text: str) -> list[str]:
    return [line for line in shown if text in line]


@pytest.mark.behaviour("X1")
async def test_each_record_names_its_session_and_none_says_what_was_said(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Two sessions in one log can be told apart, by text and by extra."""
    said = Message("m_1", "user", (TextContent(f"The {WORDS}."),))
    with caplog.at_level(logging.DEBUG, logger="trialogue"):
        async with (
            realtime_stage(lambda turn: f"A {WORDS}!", instructions=WORDS) as (_, one),
            realtime_stage(lambda turn: "Hello.") as (_, other),
        ):
            one.add_items([said])
            await one.generate_reply(instructions=WORDS)
            await other.generate_reply()
    records: list[Any] = [r for r in caplog.records if r.name.startswith("trialogue.")]
    assert one.id != other.id
    assert {record.trialogue_session for record in records} == {one.id, other.id}
    for record in records:
        assert record.getMessage().startswith(f"[{record.trialogue_session}] ")
        assert WORDS not in record.getMessage() + repr(record.__dict__)


async def test_connections_are_logged_from_the_first_to_the_end(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """INFO for what is meant to happen, WARNING for a loss, each with its number."""
    with caplog.at_level(logging.INFO, logger="trialogue"):
        async with realtime_stage() as (server, session):
            await session.generate_reply()
            server.inject(cut(before="response.create"))
            await session.generate_reply()
            await session.restart()
    told = lines(caplog, logging.INFO)
    serving = about(told, "serves after")
    assert [line.split("(")[1].split(")")[0] for line in serving] == [
        "first",
        "reconnect",
        "restart",
    ]
    (lost,) = about(lines(caplog, logging.WARNING), "another is dialled")
    assert "connection 1 ended" in lost
    assert len(about(told, "the session ends; 3 connections served")) == 1
    numbers = [getattr(r, "trialogue_connection", None) for r in caplog.records]
    assert [n for n in numbers if n is not None][:3] == [1, 1, 2]
    assert lines(caplog, logging.ERROR) == []


async def test_a_rejected_update_is_a_warning_with_the_code_and_without_the_prose(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Prose may quote what was sent."""
    with caplog.at_level(logging.INFO, logger="trialogue"):
        async with realtime_stage() as (server, session):
            await until(lambda: session.settled)
            server.inject(
                reject("session.update", code="invalid_value", message=f"No {WORDS}.")
            )
            await session.update_instructions("Be brief.")
    (refused,) = lines(caplog, logging.WARNING)
    assert "about UpdateSession: code=invalid_value" in refused
    assert WORDS not in caplog.text


async def test_the_end_for_good_is_an_error(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with what the block raises."""
    refusing = realtime_stage(server={"faults": [refuse_upgrade(401)]})
    with (
        caplog.at_level(logging.INFO, logger="trialogue"),
        pytest.raises(ConnectionLost) as raised,
    ):
        async with refusing:
            pytest.fail("it began")
    (failed,) = lines(caplog, logging.ERROR)
    assert f"the session failed: {raised.value}" in failed


async def test_dropped_audio_is_told_of_once_a_second(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with each of fifty pushes."""
    with caplog.at_level(logging.INFO, logger="trialogue"):
        async with realtime_stage(limits=Limits(audio_seconds=1)) as (_, session):
            for _ in range(100):
                session.push_audio(bytes(96_000))
                await trio.sleep(0.02)
    assert 1 <= len(about(lines(caplog, logging.WARNING), "audio is dropped")) <= 3


async def test_a_slow_subscriber_is_told_of_when_what_it_missed_doubles(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A few lines, however many events."""
    with caplog.at_level(logging.INFO, logger="trialogue"):
        async with realtime_stage() as (_, session), session.subscribe(str, buffer=1):
            for _ in range(100):
                session.publish("an event")
    told = about(lines(caplog, logging.WARNING), "too slow")
    assert [int(line.split()[-2]) for line in told] == [1, 2, 4, 8, 16, 32, 64]
    assert "a subscriber of str" in told[0]


async def test_a_handoff_is_logged_with_the_same_session(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who took over from whom, and how long the server took to agree."""
    with caplog.at_level(logging.INFO, logger="trialogue"):
        async with on_stage(transferring_brain) as stage:
            async with running(stage, Greeter()):
                await until(lambda: stage.session.agent is not None)
                edited = stage.session.chat_ctx.add_message("user", "The weather?")
                await stage.session.update_chat_ctx(edited)
                await stage.session.generate_reply()
                await until(lambda: bool(stage.session.handoffs))
            own = stage.session.realtime.id
    told = [line for line in lines(caplog, logging.INFO) if "Greeter" in line]
    assert told[0].endswith("agent Greeter is current, after None")
    assert told[1].endswith(
        "handoff Greeter -> Weather decided, over the present connection"
    )
    assert "handoff Greeter -> Weather agreed after 0" in "".join(told)
    assert all(line.startswith(f"[{own}] ") for line in told)


async def test_a_spend_warning_is_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever does not subscribe finds it in the log."""
    with caplog.at_level(logging.INFO, logger="trialogue"):
        async with realtime_stage(spend_limit=SpendLimit(seconds=10)):
            await trio.sleep(9)
    (warning,) = lines(caplog, logging.WARNING)
    assert warning.endswith("8 of 10 seconds are spent")


def test_nothing_is_written_where_nobody_configured_logging() -> None:
    """Python's last resort would print warnings to stderr."""
    handlers = logging.getLogger("trialogue").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
