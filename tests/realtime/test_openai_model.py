"""OpenAI Realtime as a model: where it dials, with which key, and who may see it."""

from __future__ import annotations

import ssl
import traceback
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from wsproto.events import AcceptConnection, Request

from trialogue.dialects.dialect import Capabilities
from trialogue.dialects.options import ServerVAD, SessionOptions, Transcription
from trialogue.errors import ConfigurationError, ConnectRefused
from trialogue.realtime.credentials import Secret
from trialogue.realtime.openai import OpenAIRealtime
from websocket_peer import Peer, playing

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

KEY = "sk-proj-0123456789abcdef"


async def open_briefly(model: OpenAIRealtime) -> None:
    async with model.open_link(connect_timeout=5, close_timeout=1):
        pass


# --- the key --------------------------------------------------------------------------


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("show", [repr, str, ascii, format, lambda m: f"{m!r:>500}"])
def test_key_is_not_in_any_text_of_the_model(show: Callable[[object], str]) -> None:
    model = OpenAIRealtime(api_key=KEY, base_url=f"wss://proxy.test/v1?api-key={KEY}")
    assert KEY not in show(model)
    assert KEY not in show(model.api_key)
    assert KEY not in show([model])
    assert "proxy.test" in show(model)


@pytest.mark.behaviour("X1")
def test_secret_shows_itself_to_whoever_asks_for_it_by_name_only() -> None:
    secret = Secret(KEY)
    assert (str(secret), secret.reveal()) == ("Secret(...)", KEY)
    assert secret == Secret(KEY)
    assert secret != Secret("another")


@pytest.mark.behaviour("X1", "X2")
@pytest.mark.parametrize(
    "bad", ["ws://elsewhere.test/v1", "https://api.test", "wss://", "wss://a b"]
)
def test_unusable_url_is_refused_at_once_and_not_quoted(bad: str) -> None:
    """Nothing is sent, and a key in its query is in no traceback."""
    with pytest.raises(ConfigurationError) as caught:
        OpenAIRealtime(api_key=KEY, base_url=f"{bad}?api-key={KEY}")
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("key", [f"{KEY}\x00", f"{KEY}\r\nX: y", f"{KEY}ж"])
async def test_key_that_no_header_can_hold_is_refused_without_quoting_it(
    key: str,
) -> None:
    with pytest.raises(ConfigurationError, match="Authorization") as caught:
        await open_briefly(OpenAIRealtime(api_key=key))
    assert KEY not in "".join(traceback.format_exception(caught.value))


async def test_key_with_a_line_end_around_it_is_what_a_file_gives() -> None:
    assert await key_sent(api_key=f" {KEY}\n") == KEY


async def test_key_comes_from_the_environment_when_a_connection_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        await open_briefly(OpenAIRealtime())
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    assert await key_sent() == KEY


@pytest.mark.parametrize("empty", ["", "  "])
async def test_empty_key_is_no_key(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", empty)
    for model in (OpenAIRealtime(), OpenAIRealtime(api_key=empty)):
        with pytest.raises(ConfigurationError, match="no API key"):
            await open_briefly(model)


# --- the request ----------------------------------------------------------------------


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
        await open_briefly(OpenAIRealtime(connect=line.connect, **description))
    return seen[0]


async def key_sent(**description: Any) -> str:
    _, headers = await request_of(**description)
    scheme, _, key = headers["authorization"].partition(" ")
    assert scheme == "Bearer"
    return key


@pytest.mark.parametrize(
    ("name", "base_url", "host", "resource"),
    [
        ("gpt-realtime", None, "api.openai.com", "/v1/realtime?model=gpt-realtime"),
        ("a b/c&d", None, "api.openai.com", "/v1/realtime?model=a%20b%2Fc%26d"),
        ("m", "wss://p.test:8443/rt?v=1", "p.test:8443", "/rt?v=1&model=m"),
        ("m", "ws://127.0.0.1:9/rt", "127.0.0.1:9", "/rt?model=m"),
        ("m", "ws://p.test/rt", "p.test", "/rt?model=m"),
    ],
)
async def test_model_is_asked_for_by_name_where_the_url_says(
    name: str, base_url: str | None, host: str, resource: str
) -> None:
    given = {} if base_url is None else {"base_url": base_url, "allow_insecure": True}
    asked, headers = await request_of(name=name, api_key=KEY, **given)
    assert (asked, headers["host"]) == (resource, host)
    assert headers["authorization"] == f"Bearer {KEY}"


async def test_organization_project_and_end_user_are_named_in_headers() -> None:
    _, headers = await request_of(
        api_key=KEY, organization="org-1", project="proj-1", safety_identifier="hash"
    )
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj-1"
    assert headers["openai-safety-identifier"] == "hash"
    _, headers = await request_of(api_key=KEY)
    assert not [name for name in headers if name.startswith("openai-")]


@pytest.mark.behaviour("X1")
def test_header_that_cannot_be_sent_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="OpenAI-Project") as caught:
        OpenAIRealtime(project=f"{KEY}\r\nX: y")
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.behaviour("X2")
def test_tls_settings_that_would_not_be_used_are_refused() -> None:
    async def connect() -> trio.abc.Stream:
        raise AssertionError

    context = ssl.create_default_context()
    with pytest.raises(ConfigurationError, match="wss://"):
        OpenAIRealtime(base_url="ws://localhost", ssl_context=context)
    with pytest.raises(ConfigurationError, match="exclude each other"):
        OpenAIRealtime(connect=connect, ssl_context=context)


@pytest.mark.behaviour("C1", "X1")
async def test_refused_key_is_a_typed_error_that_does_not_quote_it() -> None:
    async def behave(peer: Peer) -> None:
        await peer.refuse(401, f'{{"error":"Incorrect API key: {KEY}"}}'.encode())

    async with playing(behave) as line:
        with pytest.raises(ConnectRefused) as caught:
            await open_briefly(OpenAIRealtime(api_key=KEY, connect=line.connect))
    assert caught.value.status == 401
    assert KEY not in "".join(traceback.format_exception(caught.value))


# --- the value ------------------------------------------------------------------------


@pytest.mark.behaviour("H2")
def test_model_is_a_value() -> None:
    assert OpenAIRealtime(api_key=KEY) == OpenAIRealtime(api_key=KEY)
    assert len({OpenAIRealtime(api_key=KEY), OpenAIRealtime(api_key=KEY)}) == 1
    assert OpenAIRealtime(api_key=KEY) != OpenAIRealtime(api_key="another")
    assert OpenAIRealtime(voice="marin") != OpenAIRealtime(voice="cedar")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        OpenAIRealtime().name = "another"  # type: ignore[misc]


def test_options_are_added_to_the_defaults() -> None:
    options = OpenAIRealtime(
        voice="marin", options=SessionOptions(turn_detection=None, speed=1.1)
    ).options
    assert options == SessionOptions(
        voice="marin",
        speed=1.1,
        output_modalities=("audio",),
        turn_detection=None,
        transcription=Transcription(),
    )
    assert OpenAIRealtime().options.turn_detection == ServerVAD()


def test_capabilities_are_given_whole_or_by_the_flag() -> None:
    some = OpenAIRealtime(capabilities={"mutable_tools": False}).capabilities
    assert some == Capabilities(mutable_tools=False)
    assert OpenAIRealtime(capabilities=some).capabilities is some
    with pytest.raises(ConfigurationError, match="unknown capabilities: mutabel_tools"):
        OpenAIRealtime(capabilities={"mutabel_tools": False})


def test_each_connection_gets_a_translator_of_its_own() -> None:
    model = OpenAIRealtime()
    assert model.dialect() is not model.dialect()
