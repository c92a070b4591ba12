"""Brains that are coroutines: they run beside their response, and no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from by_hand import Client, dialled, refusal
from trialogue import Agent
from trialogue._codec import b64encode
from trialogue.testing import (
    Call,
    Pace,
    RealtimeServer,
    Rule,
    Rules,
    Say,
    Settings,
    Turn,
    cut,
    in_virtual_time,
    open_realtime_server,
    run_agent,
    seeded,
    voice,
)
from trialogue.testing.composing import Composer
from trialogue.testing.script import echo, parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

SETTINGS = Settings(oddities=False, pace=Pace(rate_limits_ms=None))


def test_a_composer_shows_its_brain() -> None:
    assert repr(Composer(echo)).startswith("<Composer <function echo")


class Waiting:
    """A brain that waits for ever, and writes down how that ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def __call__(self, turn: Turn) -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            self.ends.append(str(cancelled))
            raise


async def transcript(client: Client) -> str:
    """Read on to the end of a response, and return what was said in it."""
    done = (await client.until("response.done"))[-1]["response"]
    assert done["status"] == "completed"
    said: str = done["output"][0]["content"][0]["transcript"]
    return said


async def test_a_coroutine_may_take_its_time(autojump_clock: MockClock) -> None:
    """The response is open meanwhile, and the reply is made when it is there."""

    async def brain(turn: Turn) -> str:
        await trio.sleep(30)
        return f"{turn.instructions} After a while."

    async with (
        open_realtime_server(brain, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        session = {"type": "realtime", "instructions": "Be slow."}
        await client.send("session.update", session=session)
        await client.until("session.updated")
        begin = trio.current_time()
        await client.send("response.create")
        assert (await client.read())["type"] == "response.created"
        await client.send("response.create")
        busy = refusal([await client.read()])
        assert busy["code"] == "conversation_already_has_active_response"
        added = await client.read()
        assert added["type"] == "response.output_item.added"
        assert trio.current_time() - begin == pytest.approx(30)
        assert await transcript(client) == "Be slow. After a while."


async def test_a_coroutine_may_ask_a_channel(autojump_clock: MockClock) -> None:
    """A test can play the model by hand."""
    send, receive = trio.open_memory_channel[str](0)

    async def brain(turn: Turn) -> str:
        return await receive.receive()

    async with (
        open_realtime_server(brain, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        for words in ("One.", "Two."):
            await client.send("response.create")
            await client.until("response.created")
            await send.send(words)
            assert await transcript(client) == words


async def test_a_channel_of_parts_is_a_reply(autojump_clock: MockClock) -> None:
    send, receive = trio.open_memory_channel[Any](0)
    async with (
        open_realtime_server(lambda turn: receive, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        await client.send("response.create")
        async with send:
            await send.send("One moment.")
            await send.send(Call("look"))
        done = (await client.until("response.done"))[-1]["response"]
    assert [item["type"] for item in done["output"]] == ["message", "function_call"]


async def test_a_generator_goes_on_when_its_part_was_sent(
    autojump_clock: MockClock,
) -> None:
    times = []

    async def brain(turn: Turn) -> AsyncIterator[Any]:
        yield Say("One moment.", ms=4000)
        times.append(trio.current_time())
        await trio.sleep(10)
        yield Call("look", {"x": 1})
        times.append(trio.current_time())

    settings = Settings(oddities=False, pace=Pace(think_ms=100, burst=2))
    async with (
        open_realtime_server(brain, settings=settings) as server,
        dialled(server) as client,
    ):
        await client.read()
        begin = trio.current_time()
        await client.send("response.create")
        events = await client.until("response.output_item.done")
        assert events[-1]["item"]["content"][0]["transcript"] == "One moment."
        done = (await client.until("response.done"))[-1]["response"]
        end = trio.current_time()
    assert done["status"] == "completed"
    assert [item["type"] for item in done["output"]] == ["message", "function_call"]
    assert times[0] - begin == pytest.approx(2.1, abs=0.1)
    assert end - times[0] == pytest.approx(10, abs=0.1)
    assert times[1] == pytest.approx(end, abs=0.01)


async def test_a_cancelled_response_cancels_its_coroutine(
    autojump_clock: MockClock,
) -> None:
    """By the client, and by a user who begins to speak; the next one is not touched."""
    brain = Waiting()
    loud = b64encode(voice("Stop it.", 200))
    async with (
        open_realtime_server(brain, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        for number, (kind, fields, reason) in enumerate(
            (
                ("response.cancel", {}, "client_cancelled"),
                ("input_audio_buffer.append", {"audio": loud}, "turn_detected"),
            )
        ):
            await client.send("response.create")
            await client.until("response.created")
            await trio.sleep(5)
            assert len(brain.ends) == number
            await client.send(kind, **fields)
            done = (await client.until("response.done"))[-1]["response"]
            assert done["status_details"] == {"type": "cancelled", "reason": reason}
            await trio.testing.wait_all_tasks_blocked()
            assert len(brain.ends) == number + 1
    assert "the response is over" in brain.ends[0]


async def test_a_response_that_ends_otherwise_closes_its_generator(
    autojump_clock: MockClock,
) -> None:
    closed = []

    async def brain(turn: Turn) -> AsyncIterator[str]:
        try:
            while True:
                yield "words and more words"
        finally:
            closed.append(trio.current_time())

    async with (
        open_realtime_server(brain, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        await client.send("response.create", response={"max_output_tokens": 30})
        done = (await client.until("response.done"))[-1]["response"]
        assert done["status_details"]["reason"] == "max_output_tokens"
        await trio.testing.wait_all_tasks_blocked()
        assert closed == [trio.current_time()]


@pytest.mark.parametrize("how", ["closed", "cut", "expired"])
async def test_the_end_of_the_connection_cancels_its_coroutines(
    autojump_clock: MockClock, how: str
) -> None:
    brain = Waiting()
    faults = [cut(before="input_audio_buffer.clear")]
    settings = attrs.evolve(SETTINGS, max_duration=10 if how == "expired" else 3600)
    async with open_realtime_server(brain, settings=settings, faults=faults) as server:
        async with dialled(server) as client:
            for conversation in ("auto", "none"):
                asked = {"conversation": conversation}
                await client.send("response.create", response=asked)
                await client.until("response.created")
            await trio.sleep(5)
            assert brain.ends == []
            if how == "cut":
                await client.send("input_audio_buffer.clear")
            if how != "closed":
                await client.closed()
        await trio.testing.wait_all_tasks_blocked()
        assert len(brain.ends) == 2
        assert server.live == []


async def test_leaving_the_server_cancels_coroutines(autojump_clock: MockClock) -> None:
    brain = Waiting()
    with trio.fail_after(5):
        async with (
            open_realtime_server(brain) as server,
            trio.open_nursery() as nursery,
        ):

            async def ask() -> None:
                async with dialled(server) as client:
                    await client.send("response.create")
                    await trio.sleep_forever()

            nursery.start_soon(ask)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert len(brain.ends) == 1


async def test_connections_are_answered_beside_one_another(
    autojump_clock: MockClock,
) -> None:
    async def brain(turn: Turn) -> str:
        await trio.sleep(10 - turn.connection)
        return f"Number {turn.connection}."

    said: dict[str, float] = {}

    async def ask(server: RealtimeServer) -> None:
        async with dialled(server) as client:
            await client.send("response.create")
            said[await transcript(client)] = trio.current_time() - begin

    async with (
        open_realtime_server(brain, settings=SETTINGS) as server,
        trio.open_nursery() as nursery,
    ):
        begin = trio.current_time()
        for _ in range(3):
            nursery.start_soon(ask, server)
    assert [*said] == ["Number 2.", "Number 1.", "Number 0."]
    assert max(said.values()) < 11


async def test_an_error_of_a_coroutine_ends_the_server_as_itself(
    autojump_clock: MockClock,
) -> None:
    async def brain(turn: Turn) -> str:
        await trio.sleep(1)
        raise ZeroDivisionError

    async def ask() -> None:
        async with open_realtime_server(brain) as server, dialled(server) as client:
            await client.send("response.create")
            await trio.sleep_forever()

    with pytest.raises(ZeroDivisionError):
        await ask()


async def test_a_part_that_no_model_can_do_is_named(autojump_clock: MockClock) -> None:
    async def brain(turn: Turn) -> AsyncIterator[Any]:
        yield 7

    async def ask() -> None:
        async with open_realtime_server(brain) as server, dialled(server) as client:
            await client.send("response.create")
            await trio.sleep_forever()

    with pytest.raises(TypeError, match=r"made of text and of Say.*not of 7"):
        await ask()


async def test_rules_may_have_coroutines_among_them(autojump_clock: MockClock) -> None:
    async def slowly(turn: Turn) -> str:
        await trio.sleep(1)
        return f"You said {turn.user_text}, I think."

    async def nothing(turn: Turn) -> str:
        return "What?"

    rules = Rules.of(
        Rule("At once.", user="quick"), Rule(slowly, user="slow"), default=nothing
    )
    async with (
        open_realtime_server(rules, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        for text, answer in (
            ("quick", "At once."),
            ("slow", "You said slow, I think."),
            ("else", "What?"),
        ):
            content = [{"type": "input_text", "text": text}]
            item = {"type": "message", "role": "user", "content": content}
            await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            assert await transcript(client) == answer


async def test_where_nobody_can_wait_a_coroutine_is_refused(
    autojump_clock: MockClock,
) -> None:
    async def brain(turn: Turn) -> str:
        raise NotImplementedError

    with pytest.raises(TypeError, match="in a RealtimeServer only"):
        parts_of(brain(Turn()))
    with pytest.raises(TypeError, match="in a RealtimeServer only"):
        async with run_agent(Agent("You are Kelly."), brain) as run:
            await run.say("Hello.")


def test_replies_that_come_at_once_are_made_in_the_order_of_their_responses() -> None:
    """However Trio's schedule has it: two runs are alike."""

    async def brain(turn: Turn) -> str:
        await trio.sleep(1)
        return "Well."

    @in_virtual_time
    async def talk() -> None:
        own = {"conversation": "none", "output_modalities": ["text"]}
        asked, made = [], []
        async with (
            open_realtime_server(brain, settings=SETTINGS) as server,
            dialled(server) as client,
        ):
            for _ in range(4):
                await client.send("response.create", response=own)
                created = (await client.until("response.created"))[-1]
                asked.append(created["response"]["id"])
            for _ in asked:
                added = (await client.until("response.output_item.added"))[-1]
                made.append(added["response_id"])
        assert made == asked

    for seed in range(4):
        with seeded(seed):
            talk()
