"""What several tests of this folder use."""

from __future__ import annotations

import pytest

import trialogue.realtime.link as link_module
from trialogue.errors import ConfigurationError
from trialogue.realtime.link import WebSocketEngine, engine_called


@pytest.fixture(params=["trio-websocket", "websockets"])
def each_engine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> WebSocketEngine:
    """Links are made by each engine in turn; one that is not installed is skipped."""
    name: WebSocketEngine = request.param
    try:
        engine = engine_called(name)
    except ConfigurationError as error:
        pytest.skip(f"links by {name} were NOT tested: {error}")
    monkeypatch.setattr(link_module, "FAST", engine)
    return name
