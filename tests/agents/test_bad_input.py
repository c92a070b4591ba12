"""What a program gets wrong: a typed error at once, the thing, and the remedy."""

from __future__ import annotations

import io
import logging
import traceback
import wave
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from stage import Prompted, Weather, model_of, outputs, prompted, running, until
from stage import on_stage as on_the_stage
from trialogue import (
    Agent,
    ConfigurationError,
    ConnectionLost,
    ConnectRefused,
    HandoffError,
    OpenAIRealtime,
    RunContext,
    TrialogueError,
    function_tool,
    open_agent_session,
)
from trialogue.audio import MemoryInput, MemoryOutput, WavInput
from trialogue.realtime.notices import ReplyEnded
from trialogue.testing import (
    Call,
    RealtimeServer,
    Settings,
    cut,
    refuse_connect,
    refuse_upgrade,
    silent_connect,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-test-key"
"""As in `model_of`."""


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "empty"),
        ("https://api.openai.com/v1/realtime", "scheme is https; use wss://"),
        ("wss://", "names no host"),
        ("wss://host:99999/", "host or port is malformed"),
        ("ws://api.example.com/v1/realtime", "in the clear; use wss://"),
        ("wss://user:sk-1234@host/", "pass credentials as a header"),
    ],
)
def test_a_wrong_url_is_refused_when_the_model_is_made(url: str, what: str) -> None:
    """Before anything is dialled, and without quoting what may hold a key."""
    with pytest.raises(ConfigurationError, match=what) as caught:
        OpenAIRealtime(base_url=url, api_key=KEY)
    assert "sk-" not in str(caught.value)


async def refused(server: RealtimeServer, **model: Any) -> TrialogueError:
    """Return the error of opening a session that cannot be opened."""
    with trio.fail_after(60):
        async with server.serving():
            with pytest.raises(TrialogueError) as caught:
                async with open_agent_session(attrs.evolve(model_of(server), **model)):
                    pytest.fail("it was opened")
    return caught.value


async def test_a_session_that_cannot_be_opened_closes_its_devices_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It owns them from the call on: a file is not left open for its error."""
    microphone, speaker = MemoryInput(), MemoryOutput()
    async with RealtimeServer().serving() as server:
        server.inject(refuse_upgrade(401))
        with pytest.raises(ConnectRefused):
            async with open_agent_session(
                model_of(server), audio=(microphone, speaker)
            ):
                pytest.fail("it was opened")
    with trio.fail_after(1), pytest.raises(trio.ClosedResourceError):
        await microphone.receive()
    with pytest.raises(trio.ClosedResourceError):
        await speaker.write(bytes(2))


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refused_upgrade_is_told_at_once_and_not_tried_again(
    autojump_clock: trio.testing.MockClock, status: int
) -> None:
    """The error has the status, and there was one dial."""
    server = RealtimeServer(faults=[refuse_upgrade(status)])
    error = await refused(server)
    assert isinstance(error, ConnectRefused)
    assert error.status == status
    assert server.dials == 1
    assert trio.current_time() < 1


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize(
    ("settings", "model", "what"),
    [
        (Settings(keys=frozenset({"sk-other"})), {}, "key"),
        (Settings(), {"name": "gpt-4o"}, "model"),
    ],
)
async def test_a_wrong_key_or_model_is_told_at_once_and_not_tried_again(
    autojump_clock: trio.testing.MockClock,
    settings: Settings,
    model: dict[str, Any],
    what: str,
) -> None:
    """The provider's own words; connected means that its first event arrived."""
    server = RealtimeServer(settings=settings)
    error = await refused(server, **model)
    assert isinstance(error, ConnectRefused)
    assert what in str(error).lower()
    assert server.dials == 1


async def test_no_key_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither given nor in the environment: nothing is dialled."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = RealtimeServer()
    error = await refused(server, api_key=None)
    assert isinstance(error, ConfigurationError)
    assert "set OPENAI_API_KEY or give OpenAIRealtime(api_key=" in str(error)
    assert server.dials == 0


@pytest.mark.parametrize(
    "fault", [refuse_connect(99), silent_connect(99), refuse_upgrade(500, 99)]
)
async def test_a_server_that_cannot_be_reached_is_given_up_after_three_attempts(
    autojump_clock: trio.testing.MockClock, fault: Any
) -> None:
    """Opening ends with one typed error, whose time is bounded."""
    server = RealtimeServer(faults=[fault])
    error = await refused(server)
    assert type(error) is ConnectionLost
    assert server.dials == 3
    assert trio.current_time() < 40


async def run_in_vain(agent: Any) -> Exception:
    """Return what `run` raises of an agent that cannot be prepared."""
    async with on_the_stage() as stage:
        with trio.fail_after(10), pytest.raises(TrialogueError) as caught:
            await stage.session.run(agent)
        assert not stage.sent()
        assert trio.current_time() < 1
        with trio.move_on_after(5):  # and the session is as good as ever
            await stage.session.run(Weather())
        assert stage.sent("response.create")
    return caught.value


async def test_an_agent_without_instructions_is_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing is sent, and the session goes on."""
    error = await run_in_vain(Agent(name="Empty"))
    assert isinstance(error, ConfigurationError)
    assert "agent 'Empty' has no instructions; give it text" in str(error)


async def test_an_agent_class_in_place_of_an_agent_is_told_how_to_make_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The slip that everybody makes once."""
    error = await run_in_vain(Weather)
    assert "return an instance: Weather()" in str(error)


async def test_what_is_no_agent_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`run` names what it was given."""
    error = await run_in_vain("Weather")
    assert isinstance(error, HandoffError)
    assert "run() needs an agent, not 'Weather'" in str(error)


async def test_two_tools_of_one_name_are_both_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """With the places where they are defined."""

    @function_tool(name="lookup")
    async def by_city() -> str:
        """One."""
        return ""

    @function_tool(name="lookup")
    async def by_river() -> str:
        """Two."""
        return ""

    error = await run_in_vain(Agent("x", tools=[by_city, by_river]))
    assert isinstance(error, ConfigurationError)
    assert "'lookup'" in str(error)
    assert "by_city" in str(error)
    assert "by_river" in str(error)


def test_an_annotation_without_a_schema_is_named_where_the_tool_is_made() -> None:
    """The decorator raises, with the parameter, its type and what to use."""
    with pytest.raises(ConfigurationError, match=r"stream.*BytesIO"):

        @function_tool
        async def upload(stream: io.BytesIO) -> str:
            """Upload."""
            return ""


async def test_running_twice_is_refused_while_the_first_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The second is told what to use; the first agent stays."""
    async with on_the_stage() as stage, running(stage, Weather()):
        await until(lambda: stage.session.realtime.settled)
        with pytest.raises(HandoffError, match="already running an agent; use session"):
            await stage.session.run(Weather())
        assert isinstance(stage.session.agent, Weather)
        await until(lambda: stage.of(ReplyEnded))


async def test_a_result_that_cannot_be_sent_loses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The model is told the type and the remedy; the conversation goes on."""

    class Odd(Prompted):
        @function_tool
        async def open_file(self, ctx: RunContext) -> object:
            """Return something that is no data."""
            return io.BytesIO()

    async with on_the_stage(prompted(Call("open_file"))) as stage:
        async with running(stage, Odd()):
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
        ((_, output),) = outputs(stage)
        assert "type BytesIO" in output
        assert "return str or JSON-able data" in output


def test_a_recording_of_another_rate_says_how_to_convert_it(tmp_path: Path) -> None:
    """The error names the file, what it has, what is expected and a command."""
    path = tmp_path / "caller.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    with pytest.raises(ConfigurationError, match=r"8000 Hz; expected .* 24000 Hz") as e:
        WavInput(path)
    assert "caller.wav" in str(e.value)
    assert "ffmpeg -i" in str(e.value)


# --- the key -----------------------------------------------------------------------


class Failing(Prompted):
    """Has a tool that fails inside, and looks at all it can see first."""

    seen: list[str]

    @function_tool
    async def look(self, ctx: RunContext) -> str:
        """Look at everything, and fail."""
        session = ctx.session
        self.seen = [
            *map(repr, (ctx, session, session.realtime, session.model, self)),
            *map(repr, (session.realtime.connection, session.realtime.supervisor)),
            str(session.model),
        ]
        msg = "a bug"
        raise RuntimeError(msg)


async def test_the_key_is_in_no_repr_log_or_traceback(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A conversation with a failing tool and a lost connection, then refusals."""
    shown: list[str] = []
    agent = Failing()
    with caplog.at_level(logging.DEBUG):
        faults = [cut(after="response.done", nth=2)]
        options = {"faults": faults, "settings": Settings(keys=frozenset({KEY}))}
        async with on_the_stage(prompted(Call("look")), server=options) as stage:
            async with running(stage, agent):
                await until(lambda: len(stage.server.connections) == 2)
            shown += map(repr, stage.events)
        for server in (
            RealtimeServer(settings=Settings(keys=frozenset({"another"}))),
            RealtimeServer(faults=[refuse_upgrade(401)]),
            RealtimeServer(faults=[refuse_connect(9)]),
        ):
            error = await refused(server)
            shown += ["".join(traceback.format_exception(error)), repr(error)]
    shown += [*agent.seen, caplog.text, *(repr(r.__dict__) for r in caplog.records)]
    assert "a bug" in caplog.text
    assert not [text for text in shown if KEY in text]
