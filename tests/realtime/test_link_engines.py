"""Which library speaks WebSocket: the fastest that is there, or the one asked for."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trialogue import AzureRealtime, ConfigurationError, OpenAIRealtime
from trialogue.realtime.link import ENGINE, FAST, engine_called
from websocket_peer import Peer, serving

if TYPE_CHECKING:
    from trialogue.realtime.link import WebSocketEngine

WITHOUT_WEBSOCKETS = "import sys; sys.modules['websockets'] = None\n"


def said_by(program: str) -> str:
    """Run a program in a process of its own; return what it printed."""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


async def test_a_model_is_reached_by_the_engine_it_asks_for(
    each_engine: WebSocketEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def behave(peer: Peer) -> None:
        await peer.accept()
        await peer.echo_forever()

    monkeypatch.setattr("trialogue.realtime.link.FAST", None)  # it is not asked
    async with serving(behave) as (port, _):
        for model in (
            OpenAIRealtime(
                api_key="any", base_url=f"ws://localhost:{port}/", websocket=each_engine
            ),
            AzureRealtime(
                "voice",
                endpoint=f"http://localhost:{port}/",
                api_key="any",
                websocket=each_engine,
            ),
        ):
            async with model.open_link(connect_timeout=5, close_timeout=1) as (link, _):
                assert link.package == each_engine
                await link.send("hello")
                assert await link.receive() == "hello"


def test_the_engine_in_use_has_a_name() -> None:
    assert FAST is engine_called(ENGINE)


def test_an_engine_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="no WebSocket engine 'aiohttp'"):
        OpenAIRealtime(websocket="aiohttp")  # type: ignore[arg-type]


def test_without_websockets_there_is_trio_websocket() -> None:
    asked = WITHOUT_WEBSOCKETS + (
        "from trialogue import ConfigurationError, OpenAIRealtime\n"
        "from trialogue.realtime.link import ENGINE\n"
        "print(ENGINE)\n"
        "try: OpenAIRealtime(websocket='websockets')\n"
        "except ConfigurationError as error: print(error)\n"
    )
    engine, error = said_by(asked).splitlines()
    assert engine == "trio-websocket"
    assert "trialogue[fast]" in error


def test_a_release_of_websockets_that_is_too_old_is_not_used() -> None:
    pytest.importorskip("websockets")
    old = (
        "import websockets.version; websockets.version.version = '14.2'\n"
        "from trialogue.realtime.link import ENGINE\n"
        "print(ENGINE)\n"
    )
    assert said_by(old) == "trio-websocket"


def test_nothing_of_websockets_own_network_code_is_imported() -> None:
    pytest.importorskip("websockets")
    asked = (
        "import sys, trialogue.realtime.link\n"
        "print('asyncio' in sys.modules, 'websockets.client' in sys.modules)\n"
    )
    assert said_by(asked) == "False True"
