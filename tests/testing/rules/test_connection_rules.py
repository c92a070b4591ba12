"""Rules 1 to 10 of a faithful server: how a connection begins, idles and ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio_websocket import ConnectionRejected

from by_hand import MODEL, PLAIN, Client, Talk, dialled, post, refusal
from trialogue.testing import (
    Call,
    RealtimeServer,
    Settings,
    close,
    cut,
    late,
    open_realtime_server,
    stall,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

PATHS = ["/v1/realtime", "/openai/v1/realtime", "/openai/realtime"]
KEYS = Settings(keys=frozenset(["good"]))


async def status(server: RealtimeServer, resource: str, **headers: str) -> int:
    """What an upgrade is answered with; 101 if it is done."""
    try:
        async with dialled(server, resource, **headers):
            return 101
    except BaseExceptionGroup as group:
        [rejected] = group.exceptions
        assert isinstance(rejected, ConnectionRejected)
        return int(rejected.status_code)


async def judged(client: Client) -> tuple[str, int, str | None]:
    """The only event, an error, and the close behind it."""
    event = await client.read()
    assert event["type"] == "error"
    assert event["error"]["type"] == "invalid_request_error"
    code, reason = await client.closed()
    return event["error"]["code"], code, reason


@pytest.mark.parametrize("offered", [(), ("realtime",), ("other", "realtime")])
@pytest.mark.parametrize("path", PATHS)
async def test_rule_01_three_paths_and_the_subprotocol(
    autojump_clock: MockClock, path: str, offered: tuple[str, ...]
) -> None:
    """Accept `/v1/realtime` (and `/openai/v1/realtime`, `/openai/realtime` for Azure
    dialects) with subprotocol `realtime` if offered.
    """
    resource = f"{path}?model={MODEL}"
    async with (
        open_realtime_server() as server,
        dialled(
            server, resource, subprotocols=offered, authorization="Bearer k"
        ) as client,
    ):
        assert client.ws.subprotocol == ("realtime" if offered else None)
        assert (await client.read())["type"] == "session.created"


async def test_rule_01_nothing_is_served_elsewhere(autojump_clock: MockClock) -> None:
    """Accept `/v1/realtime` (…): and no other path."""
    async with open_realtime_server() as server:
        assert await status(server, f"/v1/other?model={MODEL}") == 404


@pytest.mark.parametrize(
    ("query", "key", "expected"),
    [
        (f"?model={MODEL}", None, ("invalid_api_key", 3000)),
        (f"?model={MODEL}", "Bearer bad", ("invalid_api_key", 3000)),
        ("?model=gpt-5", "Bearer good", ("invalid_model", 4000)),
        ("", "Bearer good", ("missing_model", 4000)),
    ],
)
async def test_rule_02_key_and_model_are_judged_behind_the_upgrade(
    autojump_clock: MockClock,
    query: str,
    key: str | None,
    expected: tuple[str, int],
) -> None:
    """Complete the upgrade before judging key/model; then `error` + close 3000 (auth)
    or 4000 (model, shape), reason `type.code`.
    """
    headers = {"authorization": key} if key else {"x": "y"}
    async with (
        open_realtime_server(settings=KEYS) as server,
        dialled(server, f"/v1/realtime{query}", **headers) as client,
    ):
        code, closed, reason = await judged(client)
    assert (code, closed) == expected
    assert reason == f"invalid_request_error.{code}"


@pytest.mark.parametrize("path", PATHS[1:])
async def test_rule_02_azure_judges_the_key_before_the_upgrade(
    autojump_clock: MockClock, path: str
) -> None:
    """Azure dialect: HTTP 401 instead."""
    async with open_realtime_server(settings=KEYS) as server:
        resource = f"{path}?model={MODEL}"
        assert await status(server, resource, api_key="bad") == 401
        assert await status(server, resource, x="y") == 401
        assert await status(server, resource, api_key="good") == 101


@pytest.mark.parametrize(
    ("headers", "subprotocols"),
    [
        ({"openai_beta": "realtime=v1"}, ()),
        ({"openai_beta": "assistants=v2, realtime=v1"}, ()),
        ({}, ("realtime", "openai-beta.realtime-v1")),
    ],
)
async def test_rule_03_the_beta_is_over(
    autojump_clock: MockClock, headers: dict[str, str], subprotocols: tuple[str, ...]
) -> None:
    """Reject `OpenAI-Beta: realtime=v1` on the GA dialect with
    `beta_api_shape_disabled` + 4000.
    """
    async with (
        open_realtime_server() as server,
        dialled(
            server,
            subprotocols=subprotocols,
            authorization="Bearer key",
            **headers,
        ) as client,
    ):
        code = "beta_api_shape_disabled"
        reason = f"invalid_request_error.{code}"
        assert await judged(client) == (code, 4000, reason)


async def test_rule_03_another_beta_is_none_of_ours(autojump_clock: MockClock) -> None:
    """Reject `OpenAI-Beta: realtime=v1` (…): what other APIs' betas are called is
    let through.
    """
    async with (
        open_realtime_server() as server,
        dialled(
            server, authorization="Bearer key", openai_beta="assistants=v2"
        ) as client,
    ):
        assert (await client.read())["type"] == "session.created"


@pytest.mark.parametrize(
    ("key", "greeting"), [("good", "session.created"), ("bad", "error")]
)
async def test_rule_04_three_ways_to_bring_a_key(
    autojump_clock: MockClock, key: str, greeting: str
) -> None:
    """Accept `Authorization: Bearer`, `api-key`, and `openai-insecure-api-key.*`
    subprotocol.
    """
    ways: list[dict[str, Any]] = [
        {"authorization": f"Bearer {key}"},
        {"api_key": key},
        {"subprotocols": ("realtime", f"openai-insecure-api-key.{key}")},
    ]
    async with open_realtime_server(settings=KEYS) as server:
        for way in ways:
            async with dialled(server, **way) as client:
                assert (await client.read())["type"] == greeting


@pytest.mark.parametrize("query", ["", "?", "?model=", "?intent=", "?call_id="])
async def test_rule_05_a_model_is_missing(
    autojump_clock: MockClock, query: str
) -> None:
    """Missing `model` (and no `intent`/`call_id`) → `missing_model`."""
    async with (
        open_realtime_server() as server,
        dialled(server, f"/v1/realtime{query}") as client,
    ):
        assert (await judged(client))[:2] == ("missing_model", 4000)


@pytest.mark.parametrize(
    ("query", "kind"),
    [("intent=transcription", "transcription"), ("call_id=rtc_1", "realtime")],
)
@pytest.mark.parametrize("path", PATHS[:2])
async def test_rule_05_an_intent_or_a_call_needs_no_model(
    autojump_clock: MockClock, path: str, query: str, kind: str
) -> None:
    """Missing `model` (and no `intent`/`call_id`) → `missing_model`: with one of them
    the session begins.
    """
    async with (
        open_realtime_server() as server,
        dialled(server, f"{path}?{query}") as client,
    ):
        created = await client.read()
        assert created["type"] == "session.created"
        assert created["session"]["type"] == kind


DEFAULTS: dict[str, Any] = {
    "type": "realtime",
    "object": "realtime.session",
    "model": MODEL,
    "expires_at": 1_003_600,
    "output_modalities": ["audio"],
    "instructions": PLAIN.instructions,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 200,
                "idle_timeout_ms": None,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "marin",
            "speed": 1.0,
        },
    },
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": None,
    "reasoning": None,
    "max_output_tokens": "inf",
    "truncation": "auto",
    "tracing": None,
    "prompt": None,
    "include": None,
}
"""§3.1."""


def test_rule_06_the_session_is_shown_first_and_in_full() -> None:
    """Send `session.created` first, with every field of §3.1 present (nulls included)
    and real defaults.
    """
    [created] = Talk().seen
    assert created["type"] == "session.created"
    session = created["session"]
    assert session.pop("id").startswith("sess_")
    assert session == DEFAULTS
    [created] = Talk(model="gpt-realtime-2.1").seen
    assert created["session"]["reasoning"] == {"effort": "low"}
    assert created["session"]["parallel_tool_calls"] is True


async def test_rule_07_pings_both_ways_and_nothing_else_while_idle(
    autojump_clock: MockClock,
) -> None:
    """Ping about every 20 s; answer pings; never send events while idle."""
    async with open_realtime_server() as server, dialled(server) as client:
        assert (await client.read())["type"] == "session.created"
        await client.send("response.create")
        await client.until("rate_limits.updated")
        with trio.move_on_after(600):
            pytest.fail(f"sent while idle: {await client.ws.get_message()!r}")
        assert server.connections[0].pongs == 30
        with trio.fail_after(5):
            await client.ws.ping(b"are you there")


BASE62 = r"_[0-9A-Za-z]{21}"


def test_rule_08_every_event_has_an_id_of_its_own() -> None:
    """Unique `event_id` on every event; ids with the right prefixes."""
    tool = {"type": "function", "name": "look"}
    seen = []
    for index in range(2):  # of one server
        talk = Talk(lambda turn: ["Hi.", Call("look")], index=index)
        talk.update(tools=[tool])
        response = talk.respond()
        seen += talk.seen
        message, call = response["output"]
        session = talk.seen[0]["session"]
        for kind, value in (
            ("sess", session["id"]),
            ("resp", response["id"]),
            ("conv", response["conversation_id"]),
            ("item", message["id"]),
            ("item", call["id"]),
        ):
            assert re.fullmatch(kind + BASE62, value)
        assert re.fullmatch("call_[0-9A-Za-z]{16,24}", call["call_id"])
        talk.raw("{")
    ids = [event["event_id"] for event in seen]
    assert all(re.fullmatch("event" + BASE62, event_id) for event_id in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(3600, "60 minutes"), (120, "2 minutes"), (45, "45 seconds")],
)
def test_rule_09_a_session_expires_when_it_said(seconds: int, shown: str) -> None:
    """On the configured max duration: `session_expired` error, then close 1001 with
    the same text. `expires_at` must agree.
    """
    talk = Talk(settings=attrs.evolve(PLAIN, max_duration=seconds))
    assert talk.seen[0]["session"]["expires_at"] == 1_000_000 + seconds
    assert talk.run(seconds - 0.001) == []
    error = refusal(talk.run(0.002))
    assert error["code"] == "session_expired"
    maximum = f"the maximum duration of {shown}"
    assert error["message"] == f"Your session hit {maximum}."
    assert talk.hangup is not None
    assert (talk.hangup.code, talk.hangup.reason) == (1001, error["message"])
    assert talk.update() == []


async def test_rule_09_the_client_reads_the_expiry(autojump_clock: MockClock) -> None:
    """On the configured max duration: `session_expired` error, then close 1001."""
    settings = Settings(max_duration=30, wall=trio.current_time)
    async with (
        open_realtime_server(settings=settings) as server,
        dialled(server) as client,
    ):
        session = (await client.read())["session"]
        error = refusal([await client.read()])
        assert error["code"] == "session_expired"
        assert trio.current_time() == pytest.approx(session["expires_at"], abs=1)
        assert await client.closed() == (1001, error["message"])


async def test_rule_10_connections_are_dropped_and_closed(
    autojump_clock: MockClock,
) -> None:
    """Be able to script: drop the TCP connection, close with any code (…)."""
    for fault, code in (
        (cut(before="session.update"), 1006),
        (close(1013, before="session.update"), 1013),
        (close(4321, before="session.update"), 4321),
    ):
        async with (
            open_realtime_server(faults=[fault]) as server,
            dialled(server) as client,
        ):
            await client.read()
            await client.send("session.update", session={"type": "realtime"})
            assert (await client.closed())[0] == code


async def test_rule_10_answers_are_late_and_reading_stops(
    autojump_clock: MockClock,
) -> None:
    """Be able to script: (…) delay, stall reads (…)."""
    faults = [
        late("session.updated", seconds=3),
        stall(after="session.update", seconds=5, nth=2),
    ]
    async with (
        open_realtime_server(faults=faults) as server,
        dialled(server) as client,
    ):
        await client.read()
        waits = []
        for _ in range(3):
            begin = trio.current_time()
            await client.send("session.update", session={"type": "realtime"})
            await client.until("session.updated")
            waits.append(trio.current_time() - begin)
    assert waits == pytest.approx([3, 0, 5])


async def test_rule_02_a_secret_for_a_model_that_is_none_fails_at_connect(
    autojump_clock: MockClock,
) -> None:
    """Complete the upgrade before judging (…): minting does not judge the model."""
    async with open_realtime_server() as server:
        session = {"type": "realtime", "model": "gpt-5"}
        code, minted = await post(server, {"session": session})
        assert code == 200
        async with dialled(
            server, "/v1/realtime", authorization=f"Bearer {minted['value']}"
        ) as client:
            assert (await judged(client))[:2] == ("invalid_model", 4000)
