"""What the tests of replies as streams share: brains, and looks at the server."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from stage import until
from trialogue import SessionOptions
from trialogue.testing import Say

if TYPE_CHECKING:
    from trialogue import ReplyStream
    from trialogue.realtime.session import RealtimeSession
    from trialogue.testing import Brain, RealtimeServer, Reply

__all__ = [
    "QUIET",
    "TEXT",
    "always",
    "at_rest",
    "audio_of",
    "held_ms",
    "overlap",
    "say",
    "sent",
    "text_of",
]

QUIET = {"owed": 0, "queued": 0, "posted": 0, "active": 0, "turn": 0}
TEXT = SessionOptions(output_modalities=("text",))


def always(reply: Reply) -> Brain:
    """Return a brain that has but one answer."""
    return lambda turn: reply


def say(text: str = "Hello there.", ms: int = 1000) -> Brain:
    """Return a brain that says this."""
    return always(Say(text, ms=ms))


async def at_rest(session: RealtimeSession) -> None:
    """Wait until nothing is asked for, under way, or owed."""
    await until(lambda: session.open_work == QUIET)


def sent(server: RealtimeServer, kind: str, connection: int = -1) -> list[Any]:
    """Return what the client sent of a kind, in order."""
    return [e.event for e in server.connections[connection].find(kind, "in")]


def held_ms(server: RealtimeServer) -> dict[str, int]:
    """Return how much sound the serving connection holds, by assistant message."""
    return {
        held.item.id: len(held.pcm) // 48
        for held in server.live[-1].conversation
        if held.item.type == "message" and held.item.role == "assistant"
    }


def overlap(server: RealtimeServer) -> bool:
    """Whether two responses of the conversation ever ran at once."""
    spans = sorted(
        (r.created, r.done or float("inf"))
        for r in server.connections[-1].responses
        if r.in_conversation
    )
    return any(b[0] < a[1] for a, b in itertools.pairwise(spans))


async def text_of(reply: ReplyStream) -> str:
    """Read all words of a reply."""
    return "".join([piece async for piece in reply.text()])


async def audio_of(reply: ReplyStream) -> bytes:
    """Listen to all of a reply."""
    return b"".join([piece async for piece in reply.audio()])
