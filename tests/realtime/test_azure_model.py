"""Azure OpenAI as a model: where it dials, with which header, and how it is refused."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest
from wsproto.events import AcceptConnection, Request

from trialogue import (
    AzureRealtime,
    Capabilities,
    ConfigurationError,
    ConnectRefused,
    SessionOptions,
    Transcription,
    open_session,
)
from trialogue.testing import RealtimeServer, Settings
from websocket_peer import Peer, playing

if TYPE_CHECKING:
    from trio.testing import MockClock

KEY = "0123456789abcdef0123456789abcdef"


async def request_of(**description: Any) -> tuple[str, dict[str, str]]:
    """Dial a peer in memory; return the resource and the headers it was asked with."""
    seen: list[tuple[str, dict[str, str]]] = []

    async def behave(peer: Peer) -> None:
        request = await peer.event()
        assert isinstance(request, Request)
        headers = {k.decode().lower(): v.decode() for k, v in request.extra_headers}
        seen.append((request.target, headers | {"host": request.host}))
        await peer.send(AcceptConnection())
        await peer.echo_forever()

    async with playing(behave) as line:
        given: dict[str, Any] = {"api_key": KEY, "connect": line.connect}
        said: dict[str, Any] = {"deployment": "voice", **given, **description}
        model = AzureRealtime(**said)
        async with model.open_link(connect_timeout=5, close_timeout=1):
            pass
    return seen[0]


# --- where ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "host", "path"),
    [
        ({"resource": "my-res"}, "my-res.openai.azure.com", "/openai/v1/realtime"),
        ({"endpoint": "https://r.test"}, "r.test", "/openai/v1/realtime"),
        ({"endpoint": " https://r.test/\n"}, "r.test", "/openai/v1/realtime"),
        ({"endpoint": "https://r.test/openai"}, "r.test", "/openai/v1/realtime"),
        ({"endpoint": "https://r.test/openai/v1/"}, "r.test", "/openai/v1/realtime"),
        (
            {"endpoint": "wss://r.test:8443/openai/v1/realtime"},
            "r.test:8443",
            "/openai/v1/realtime",
        ),
        ({"endpoint": "https://g.test/ai"}, "g.test", "/ai/openai/v1/realtime"),
        ({"endpoint": "http://localhost:9"}, "localhost:9", "/openai/v1/realtime"),
    ],
    ids=str,
)
async def test_resource_is_found_by_name_or_endpoint(
    where: dict[str, str], host: str, path: str
) -> None:
    asked, headers = await request_of(**where)
    assert (headers["host"], asked) == (host, f"{path}?model=voice")


async def test_query_of_a_gateway_goes_along() -> None:
    asked, _ = await request_of(endpoint="https://g.test?team=a", deployment="a b")
    assert asked == "/openai/v1/realtime?team=a&model=a%20b"


async def test_endpoint_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    with pytest.raises(ConfigurationError, match="AZURE_OPENAI_ENDPOINT"):
        AzureRealtime("voice")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://env.test/")
    _, headers = await request_of()
    assert headers["host"] == "env.test"


@pytest.mark.behaviour("X1", "X2")
@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ({"endpoint": f"https://r.test?api-version=x&k={KEY}"}, "api-version.*remove"),
        ({"endpoint": f"https://r.test?API-Version=x&k={KEY}"}, "api-version.*remove"),
        ({"endpoint": f"r.test/{KEY}"}, "no address; write https://"),
        ({"endpoint": f"ftp://r.test/{KEY}"}, "no address; write https://"),
        ({"endpoint": f"https://r.test/openai/deployments/{KEY}"}, "of a deployment"),
        ({"endpoint": f"http://r.test/{KEY}"}, "in the clear"),
        ({"resource": f"https://{KEY}"}, "the name of an Azure resource alone"),
        ({"resource": "r", "endpoint": f"https://{KEY}"}, "both resource and endpoint"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_unusable_address_is_refused_with_the_remedy_and_not_quoted(
    where: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        AzureRealtime("voice", **where)  # type: ignore[arg-type]
    assert KEY not in "".join(traceback.format_exception(caught.value))


# --- who ------------------------------------------------------------------------------


async def test_key_travels_in_its_own_header_and_a_token_as_a_bearers() -> None:
    async def token() -> str:
        return "entra"

    _, headers = await request_of(resource="r")
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    _, headers = await request_of(resource="r", api_key=None, token=token)
    assert headers["authorization"] == "Bearer entra"
    assert "api-key" not in headers


async def test_key_comes_from_the_environment_when_a_connection_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="AZURE_OPENAI_API_KEY"):
        async with AzureRealtime("voice", resource="r").open_link(
            connect_timeout=5, close_timeout=1
        ):
            pytest.fail("there is no key")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", f"{KEY}\n")
    _, headers = await request_of(resource="r", api_key=None)
    assert headers["api-key"] == KEY


def test_key_and_token_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="both api_key and token"):
        AzureRealtime("voice", resource="r", api_key=KEY, token=KEY)


@pytest.mark.behaviour("X1")
def test_neither_key_nor_token_is_shown() -> None:
    gate = f"https://r.test?k={KEY}"
    for model in (
        AzureRealtime("voice", endpoint=gate, api_key=KEY),
        AzureRealtime("voice", endpoint=gate, token=KEY),
    ):
        assert KEY not in repr(model)
        assert "r.test" in repr(model)


# --- the value ------------------------------------------------------------------------


@pytest.mark.behaviour("H2")
def test_model_is_a_value() -> None:
    def model(**changes: Any) -> AzureRealtime:
        given: dict[str, Any] = {"resource": "r", "api_key": KEY, **changes}
        return AzureRealtime("voice", **given)

    assert model() == model()
    assert model() == model(resource=None, endpoint="https://r.openai.azure.com/")
    assert model() != model(voice="marin")
    assert model() != model(api_key=None, token=KEY)
    assert model().capabilities == Capabilities()
    assert model().name == "voice"


def test_what_transcribes_is_a_deployment() -> None:
    """No name of OpenAI's own by default: on Azure it would be a deployment's."""

    def transcription(**given: Any) -> Any:
        return AzureRealtime("voice", resource="r", **given).options.transcription

    assert transcription() == Transcription("whisper-1")
    assert transcription(transcription_deployment="mine") == Transcription("mine")
    assert transcription(options=SessionOptions(transcription=None)) is None


# --- in conversation with the local server, which judges as Azure does ----------------


@pytest.mark.parametrize("tcp", [False, True], ids=["memory", "tcp"])
@pytest.mark.parametrize("header", ["api_key", "token"])
async def test_conversation_over_the_v1_surface(tcp: bool, header: str) -> None:
    settings = Settings(keys=frozenset([KEY]))
    async with RealtimeServer(settings=settings).serving() as server:
        port = await server.listen() if tcp else 9
        given: dict[str, Any] = {header: KEY, "endpoint": f"http://127.0.0.1:{port}"}
        if not tcp:
            given["connect"] = server.connect
        async with open_session(AzureRealtime("gpt-realtime", **given)) as session:
            reply = await session.generate_reply(instructions="Greet the user.")
        assert reply.text
        [connection] = server.connections
        assert connection.url.startswith("/openai/v1/realtime?model=gpt-realtime")
        [update] = connection.find("session.update")
        model = update.event["session"]["audio"]["input"]["transcription"]["model"]
        assert model == "whisper-1"


@pytest.mark.behaviour("C1", "X1")
@pytest.mark.parametrize("header", ["api_key", "token"])
async def test_wrong_key_is_refused_at_the_upgrade_and_not_tried_again(
    header: str, autojump_clock: MockClock
) -> None:
    settings = Settings(keys=frozenset(["another"]))
    async with RealtimeServer(settings=settings).serving() as server:
        given: dict[str, Any] = {header: KEY, "connect": server.connect}
        model = AzureRealtime("gpt-realtime", endpoint="http://localhost", **given)
        with pytest.raises(ConnectRefused, match="HTTP 401") as caught:
            async with open_session(model):
                pytest.fail("the key is wrong")
        assert (caught.value.status, server.dials) == (401, 1)
        assert server.connections == []
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.behaviour("C1")
async def test_deployment_that_does_not_exist_is_refused_at_the_upgrade(
    autojump_clock: MockClock,
) -> None:
    async with RealtimeServer().serving() as server:
        model = AzureRealtime(
            "whisper", endpoint="http://localhost", api_key=KEY, connect=server.connect
        )
        with pytest.raises(ConnectRefused, match=r"HTTP 404.*the model"):
            async with open_session(model):
                pytest.fail("there is no such deployment")
        assert server.dials == 1
