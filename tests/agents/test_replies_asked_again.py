"""A reply that nobody waits for, and that the provider could not make: once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stage import Greeter, Stage, on_stage, running, speak, until
from trialogue import Agent, RunContext, ServerError, function_tool
from trialogue.realtime.notices import ErrorNotice, ReplyEnded
from trialogue.testing import Call, Fail, Say, Turn, fail_response, reject

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

HELD = "You are Sunny, a weather specialist."


class Silent(Agent):
    """Asks for nothing when it enters: the session does."""

    instructions = HELD


class Kelly(Agent):
    """Hands over."""

    instructions = "You are Kelly, a friendly greeter."

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer."""
        return Silent()


def brain(turn: Turn) -> Any:
    if "Kelly" in turn.instructions and turn.output is None:
        return Call("transfer")
    return Say("Sunny speaking.", ms=300)


def replies(stage: Stage) -> list[str]:
    return [event.outcome.text for event in stage.of(ReplyEnded)]


def asked(stage: Stage) -> int:
    """Count the requests for replies after the one of the test's own."""
    return len(stage.sent("response.create")) - 1


async def ask(stage: Stage) -> None:
    """The user writes something, and the test asks for the reply that calls."""
    await stage.session.realtime.send_message("To Sunny, please.")
    await stage.session.generate_reply()


@pytest.mark.parametrize("null_id", [False, True], ids=["id", "null"])
async def test_the_first_words_after_a_handoff_are_asked_for_again(
    autojump_clock: MockClock, null_id: bool
) -> None:
    """The server refuses the request for now; whoever listens is told of it."""
    fault = reject("response.create", nth=2, null_id=null_id)
    async with (
        on_stage(brain, server={"faults": [fault]}) as stage,
        running(stage, Kelly()),
    ):
        await ask(stage)
        await until(lambda: "Sunny speaking." in replies(stage), 30)
        assert [event.code for event in stage.of(ErrorNotice)] == ["server_error"]


async def test_a_reply_that_fails_is_asked_for_again(autojump_clock: MockClock) -> None:
    """It was begun, and the provider had an error of its own."""
    async with (
        on_stage(brain, server={"faults": [fail_response(nth=2)]}) as stage,
        running(stage, Kelly()),
    ):
        await ask(stage)
        await until(lambda: "Sunny speaking." in replies(stage), 30)
        assert [event.code for event in stage.of(ErrorNotice)] == ["server_error"]
        assert asked(stage) == 2


async def test_the_answer_to_the_user_that_fails_is_asked_for_again(
    autojump_clock: MockClock,
) -> None:
    """The server began it by itself, so that nobody else would."""
    server = {"faults": [fail_response()]}
    async with (
        on_stage(microphone=True, server=server) as stage,
        running(stage, Greeter()),
    ):
        assert stage.microphone is not None
        await speak(stage.microphone, stage.server.utterances.say("Hello?"))
        await until(lambda: "Kelly speaking." in replies(stage), 30)
        assert len(stage.sent("response.create")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        lambda code: reject("response.create", nth=2, onwards=True, code=code),
        lambda code: fail_response(nth=2, onwards=True, code=code, error_type="x"),
    ],
    ids=["refused", "failed"],
)
@pytest.mark.parametrize(("code", "times"), [("server_error", 2), ("invalid_value", 1)])
async def test_it_is_asked_for_once_more_and_only_where_that_can_help(
    autojump_clock: MockClock, fault: Callable[[str], Any], code: str, times: int
) -> None:
    """Then it is left: the user will say something."""
    async with (
        on_stage(brain, server={"faults": [fault(code)]}) as stage,
        running(stage, Kelly()),
    ):
        await ask(stage)
        await until(lambda: len(stage.of(ErrorNotice)) == times, 30)
        await until(lambda: stage.session.realtime.replying.slot.idle, 30)
        assert asked(stage) == times


async def test_whoever_waits_is_told_and_decides(autojump_clock: MockClock) -> None:
    """A program's own reply is not repeated behind its back."""
    async with (
        on_stage(lambda turn: Fail("server_error")) as stage,
        running(stage, Greeter()),
    ):
        await until(lambda: stage.session.agent)
        with pytest.raises(ServerError):
            await stage.session.generate_reply()
        assert len(stage.sent("response.create")) == 1
