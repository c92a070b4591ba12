"""Clients by hand: of the local server's state machine, and of the server itself.

Neither knows anything of this library's own client. What is sent and read is JSON, as
on the wire.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from trialogue._codec import b64encode
from trialogue.dialects.openai.wire import encode_event
from trialogue.testing.machine import Hangup, Machine, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialogue.testing import RealtimeServer
    from trialogue.testing.machine import Output

__all__ = [
    "DOOR",
    "KEY",
    "MODEL",
    "PLAIN",
    "TARGET",
    "UPGRADE",
    "Client",
    "Driven",
    "Event",
    "Talk",
    "dialled",
    "post",
    "refusal",
    "types",
]

Event = dict[str, Any]

MODEL: Final = "gpt-realtime"
DOOR: Final = f"/v1/realtime?model={MODEL}"
PLAIN: Final = Settings(oddities=False, wall=lambda: 1_000_000.0)
UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Authorization: Bearer key\r\n\r\n"
)
TARGET = b"/v1/realtime?model=gpt-realtime"
KEY = [(b"authorization", b"Bearer key")]


class Driven:
    """A connection with the state machine, on a clock that moves when told to.

    Attributes:
        machine: the server's side.
        now: the clock.
        seen: all that came.
        hangup: how it ended; None while it lives.
    """

    def __init__(self, machine: Machine, *, model: str | None, **asked: Any) -> None:
        self.now = 0.0
        self.machine = machine
        self.seen: list[Event] = []
        self.hangup: Hangup | None = None
        self.read(machine.open(0.0, model=model, key="key", **asked))

    def read(self, outputs: Sequence[Output]) -> list[Event]:
        """Take what the machine sends, and return it as it is on the wire."""
        events: list[Event] = []
        for output in outputs:
            if isinstance(output, Hangup):
                self.hangup = output
            else:
                events.append(json.loads(encode_event(output)))
        self.seen += events
        return events

    def say(self, kind: str, **fields: Any) -> list[Event]:
        """Send an event, and return what it is answered with at once."""
        return self.raw(json.dumps({"type": kind, **fields}))

    def raw(self, text: str) -> list[Event]:
        """Send a frame."""
        return self.read(self.machine.receive(text, self.now))

    def run(self, seconds: float = 60.0) -> list[Event]:
        """Let time pass, and return what is sent meanwhile."""
        events: list[Event] = []
        end = self.now + seconds
        while self.machine.deadline() <= end:
            self.now = self.machine.deadline()
            events += self.read(self.machine.tick(self.now))
        self.now = end
        return events

    def append(self, pcm: bytes, chunk: int = 960) -> list[Event]:
        """Send audio at the pace of speech."""
        events: list[Event] = []
        for start in range(0, len(pcm), chunk):
            audio = b64encode(pcm[start : start + chunk])
            events += self.say("input_audio_buffer.append", audio=audio)
            events += self.run(len(pcm[start : start + chunk]) / 48000)
        return events

    def create(self, previous: str | None = None, /, **item: Any) -> list[Event]:
        """Create an item, behind another one perhaps."""
        where = {"previous_item_id": previous} if previous is not None else {}
        return self.say("conversation.item.create", item=item, **where)

    def order(self) -> list[str]:
        """Return the ids of the items that the server holds."""
        return [held.id for held in self.machine.conversation]


class Talk(Driven):
    """One connection with a machine of the usual dialect."""

    def __init__(
        self,
        brain: Any = lambda turn: "Hi.",
        *,
        model: str | None = MODEL,
        intent: str | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("settings", PLAIN)
        asked = {} if intent is None else {"intent": intent}
        super().__init__(Machine(brain, **options), model=model, **asked)

    def update(self, **session: Any) -> list[Event]:
        """Send a `session.update` of a conversation."""
        return self.say("session.update", session={"type": "realtime", **session})

    def updated(self, **session: Any) -> Event:
        """Update, and return the session that the server shows then."""
        [event] = self.update(**session)
        assert event["type"] == "session.updated"
        shown: Event = event["session"]
        return shown

    def text(self, text: str, item_id: str, previous: str | None = None) -> list[Event]:
        """Write something."""
        content = [{"type": "input_text", "text": text}]
        return self.create(
            previous, type="message", role="user", id=item_id, content=content
        )

    def respond(self, **response: Any) -> Event:
        """Ask for a response, wait for its end, and return it."""
        self.say("response.create", response=response)
        [done] = [e for e in self.run() if e["type"] == "response.done"]
        shown: Event = done["response"]
        return shown

    def session(self) -> Event:
        """Return the session as the server shows it now."""
        shown: Event = json.loads(encode_event(self.machine.session))  # type: ignore[arg-type]
        return shown


def types(events: list[Event]) -> list[str]:
    """Return the types, with runs of deltas as one."""
    names: list[str] = []
    for event in events:
        if not (event["type"].endswith(".delta") and event["type"] in names):
            names.append(event["type"])
    return names


def refusal(events: list[Event]) -> Event:
    """Return the error that is the only answer."""
    assert [event["type"] for event in events] == ["error"], events
    found: Event = events[0]["error"]
    return found


@attrs.define(eq=False)
class Client:
    """One WebSocket, open."""

    ws: WebSocketConnection

    async def send(self, kind: str, **fields: Any) -> None:
        await self.ws.send_message(json.dumps({"type": kind, **fields}))

    async def update(self, **session: Any) -> None:
        """Send a `session.update` of a conversation."""
        await self.send("session.update", session={"type": "realtime", **session})

    async def read(self) -> Event:
        with trio.fail_after(60):
            event: Event = json.loads(await self.ws.get_message())
        return event

    async def until(self, kind: str) -> list[Event]:
        """Read up to the first event of that type, which is the last returned."""
        events = [await self.read()]
        while events[-1]["type"] != kind:
            events.append(await self.read())
        return events

    async def closed(self) -> tuple[int, str | None]:
        """Read on to the end, and return the close code and its reason."""
        with trio.fail_after(60), suppress(ConnectionClosed):
            while True:
                await self.ws.get_message()
        reason = self.ws.closed
        assert reason is not None
        return reason.code, reason.reason


@asynccontextmanager
async def dialled(
    server: RealtimeServer | None,
    resource: str = DOOR,
    stream: trio.abc.Stream | None = None,
    /,
    *,
    subprotocols: Sequence[str] = (),
    **headers: str,
) -> AsyncIterator[Client]:
    """Connect, in memory or over the stream; an underscore in a header is a hyphen."""
    if stream is None:
        assert server is not None
        stream = await server.connect()
    own = stream
    headers = headers or ({} if subprotocols else {"authorization": "Bearer key"})
    named = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    async with own, trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery,
            own,  # type: ignore[arg-type]
            "localhost",
            resource,
            subprotocols=list(subprotocols) or None,
            extra_headers=named,
            max_message_size=2**24,
        )
        yield Client(ws)
        with trio.move_on_after(5):
            await ws.aclose()
        nursery.cancel_scope.cancel()


async def post(
    server: RealtimeServer,
    body: Any,
    *,
    path: str = "/v1/realtime/client_secrets",
    key: str = "Authorization: Bearer key",
) -> tuple[int, Event]:
    """Post JSON, and return the status and the JSON of the answer."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{key}\r\nContent-Length: {len(data)}"
    answer = b""
    async with await server.connect() as stream:
        await stream.send_all(f"{head}\r\n\r\n".encode() + data)
        while received := await stream.receive_some():
            answer += received
    first, _, rest = answer.partition(b"\r\n")
    return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])
