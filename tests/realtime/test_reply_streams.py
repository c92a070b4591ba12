"""Replies as streams: what arrives is taken out, what is taken out was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import realtime_stage, until
from trialogue.conversation.items import Message
from trialogue.testing import Call, Say, Network

if TYPE_CHECKING:
    from trialogue.realtime.session import RealtimeSession
    from trialogue.testing import RealtimeServer

QUIET = {"owed": 0, "queued": 0, "posted": 0, "active": 0, "turn": 0}


async def test_try(autojump_clock: trio.testing.MockClock) -> None:
    async with realtime_stage(lambda turn: [Say("Hello there my friend.", ms=1000), Call("f", {}), Say("Bye.", ms=300)]) as (server, session):
        await until(lambda: session.settled)
        async with session.open_reply() as reply:
            got: dict[str, Any] = {"m": []}

            async def sound() -> None:
                got["pcm"] = b"".join([p async for p in reply.audio()])

            async def words() -> None:
                got["text"] = "".join([p async for p in reply.text()])

            async def calls() -> None:
                got["calls"] = [c async for c in reply.calls()]

            async def messages() -> None:
                async for m in reply.messages():
                    got["m"].append((m.item_id, "".join([t async for t in m.text()]), len(b"".join([t async for t in m.audio()]))))

            async with trio.open_nursery() as n:
                for f in (sound, words, calls, messages):
                    n.start_soon(f)
            print(got["text"], len(got["pcm"]) / 48, got["calls"], got["m"], await reply.outcome(), reply.usage)
        await until(lambda: session.open_work == QUIET)
        print([e.type for e in server.connections[0].entries if e.direction == "in"])
        async with session.open_reply() as reply:
            n = 0
            async for p in reply.audio():
                n += len(p)
                if n > 9600:
                    break
        await until(lambda: session.open_work == QUIET)
        print(n / 48, [e.event for e in server.connections[0].entries if e.direction == "in"][-3:])
        print(session.chat_ctx.items)
        print([(h.item.id, h.item.type, len(h.pcm) / 48) for h in server.live[0].conversation])
