"""The conversation that most of these tests look at is held once."""

from __future__ import annotations

import pytest

from reported import Held, hold_conversation


@pytest.fixture(scope="session")
def held() -> Held:
    """A conversation with something of everything, which is over."""
    return hold_conversation()
