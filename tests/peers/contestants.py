"""Who takes part, and in which environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CONTESTANTS", "ENVIRONMENTS", "FLOOR", "Contestant"]


@dataclass(frozen=True)
class Contestant:
    """A program that does the work.

    Attributes:
        name: what the table calls it.
        environment: one of `ENVIRONMENTS`.
        program: its file, beside this one.
    """

    name: str
    environment: str
    program: str


FLOOR: Final = "floor"
CONTESTANTS: Final = (
    Contestant(FLOOR, "by-hand", "floor.py"),
    Contestant("raw trio-websocket", "by-hand", "raw_trio_websocket.py"),
    Contestant("raw websockets on Trio", "by-hand", "raw_sans_io.py"),
    Contestant("trialogue", "plain", "trialogue_client.py"),
    Contestant("trialogue[fast]", "fast", "trialogue_client.py"),
    Contestant("openai-agents", "openai-agents", "openai_agents_client.py"),
    Contestant("livekit-agents", "livekit", "livekit_client.py"),
)
ENVIRONMENTS: Final = ("by-hand", "plain", "fast", "openai-agents", "livekit")
