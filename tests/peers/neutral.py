"""The server that every contestant of `bench-peers` talks to.

It sends bytes that were made beforehand, as fast as the reader takes them or at the
pace of speech, and answers whatever else a client asks well enough for it to go on. It
is a process of its own, on the other core, and it is nobody's: Python's standard
library only. It checks next to nothing of what a real server checks.

Usage: neutral.py OPTIONS, a JSON object:

``replies``
    what a connection's replies are, in order: ``[ms of a piece, pieces, paced]``. The
    last one is given again. Without it a reply is one call, and then words.
``latency``
    seconds of the network, one way. A connection takes `CONNECT` round trips.
``refuse``
    the update of a handoff is answered an error, and does not happen.

It prints its port, and when its standard input ends what it saw, as JSON.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - no Trio here: it is nobody's
import base64
import json
import re
import struct
import sys
from array import array
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from peers import events
from peers.cast import AFTER, HAND_OVER, HERE_I_AM, RATE, STILL_ME
from peers.frames import CLOSE, PING, PONG, TEXT, Line, accepted, framed, unframed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONNECT = 3
"""Round trips from dialling to the first event: TCP, TLS, the upgrade."""
AT_ONCE = 64
"""Pieces that go out in one write, where nothing paces them."""
MARK = 12
"""Bytes at the beginning of a paced piece that say when it was due: 16 of Base64."""
APPEND = b"input_audio_buffer.append"
AUDIO = re.compile(rb'"audio":\s*"([^"]*)"')


class Scene:
    """What all connections share: the options, one handoff at a time, what was seen."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.loop = asyncio.get_running_loop()
        self.latency = float(options.get("latency", 0.0))
        self.replies: list[Any] = options.get("replies", [])
        self.refuse = bool(options.get("refuse"))
        self.new_id = events.Numbered()
        self.asked = False  # the user has asked for a handoff
        self.called_at: float | None = None  # the call has left, no reply was asked for
        self.acknowledged_at: float | None = (
            None  # the update of the handoff is answered
        )
        self.messages = 0
        self.handoffs: list[dict[str, Any]] = []
        self.appends = 0
        self.append_bytes = 0
        self.lateness = array("d")
        self.errors: list[str] = []

    def report(self) -> str:
        late = sorted(self.lateness)
        return json.dumps(
            {
                "handoffs": self.handoffs,
                "appends": self.appends,
                "append_bytes": self.append_bytes,
                "own_p99": late[int(0.99 * len(late))] if late else 0.0,
                "errors": self.errors,
            }
        )


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.transport = cast("asyncio.Transport", None)
        self.session: dict[str, Any] = dict(events.SESSION)
        self.items: list[str] = []
        self._buffer = b""
        self._upgraded = False
        self._replies = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._speaking: asyncio.Task[None] | None = None
        self._inbound = Line(scene.loop, scene.latency, self._arrived)
        self._outbound = Line(scene.loop, scene.latency, self._written)

    # --- the network ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._flowing.set()
        if self._speaking is not None:
            self._speaking.cancel()

    def pause_writing(self) -> None:
        self._flowing.clear()

    def resume_writing(self) -> None:
        self._flowing.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            request, whole, rest = self._buffer.partition(b"\r\n\r\n")
            if whole:
                self._upgraded, self._buffer = True, rest
                created = {"type": "session.created", "session": self.session}
                answer = accepted(request) + self._bytes_of([created])
                seconds = CONNECT * 2 * self.scene.latency
                self.scene.loop.call_later(seconds, self._written, answer)
            return
        found, self._buffer = unframed(self._buffer)
        for opcode, payload in found:
            if opcode == TEXT and APPEND in payload:
                audio = AUDIO.search(payload)
                self.scene.appends += 1
                self.scene.append_bytes += len(audio[1]) * 3 // 4 if audio else 0
            else:
                self._inbound.put((opcode, payload))

    def _written(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def _bytes_of(self, answers: Iterable[Mapping[str, Any]]) -> bytes:
        new_id = self.scene.new_id
        return b"".join(framed(events.text_of(one, new_id)) for one in answers)

    def _answer(self, *answers: Mapping[str, Any]) -> None:
        self._outbound.put(self._bytes_of(answers))

    # --- what a client asks ---------------------------------------------------

    def _arrived(self, frame: tuple[int, bytes]) -> None:
        opcode, payload = frame
        if opcode == PING:
            self._outbound.put(framed(payload, PONG))
        elif opcode == CLOSE:
            self._outbound.put(framed(payload, CLOSE))
            self.scene.loop.call_later(2 * self.scene.latency, self.transport.close)
        elif opcode == TEXT:
            self._asked(json.loads(payload))

    def _asked(self, event: dict[str, Any]) -> None:
        self.scene.messages += 1
        match event["type"]:
            case "session.update":
                self._update(event)
            case "conversation.item.create":
                self._create(event)
            case "conversation.item.delete":
                self._delete(event)
            case "response.create":
                self._respond(event.get("response") or {})
            case "response.cancel" | "input_audio_buffer.clear":
                pass
            case other:
                self.scene.errors.append(f"not understood: {other}")

    def _update(self, event: dict[str, Any]) -> None:
        scene = self.scene
        if scene.called_at is not None and scene.acknowledged_at is None:
            scene.acknowledged_at = scene.loop.time()
            if scene.refuse:
                self._error(event, "server_error", "The update was refused.")
                return
        self.session = merged(self.session, event["session"])
        self._answer({"type": "session.updated", "session": self.session})

    def _create(self, event: dict[str, Any]) -> None:
        item = {"object": "realtime.item", "status": "completed", **event["item"]}
        item["id"] = item.get("id") or self.scene.new_id("item")
        asks = item.get("role") == "user" and HAND_OVER in json.dumps(item)
        if asks and self.session["tools"] and self.scene.called_at is None:
            self.scene.asked = True
        match event.get("previous_item_id"):
            case None:
                place = len(self.items)
            case "root":
                place = 0
            case str(previous) if previous in self.items:
                place = self.items.index(previous) + 1
            case _:
                self._error(event, "item_create_invalid_item_id", "No such item.")
                return
        before = self.items[place - 1] if place else None
        self.items.insert(place, item["id"])
        placed = {"item": item, "previous_item_id": before}
        self._answer(
            {"type": "conversation.item.added", **placed},
            {"type": "conversation.item.done", **placed},
        )

    def _delete(self, event: dict[str, Any]) -> None:
        if event["item_id"] not in self.items:
            self._error(event, "item_delete_invalid_item_id", "No such item.")
            return
        self.items.remove(event["item_id"])
        answer = {"type": "conversation.item.deleted", "item_id": event["item_id"]}
        self._answer(answer)

    def _error(self, event: Mapping[str, Any], code: str, message: str) -> None:
        self.scene.errors.append(code)
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": message,
            "param": None,
            "event_id": event.get("event_id"),
        }
        self._answer({"type": "error", "error": error})

    # --- replies --------------------------------------------------------------

    def _respond(self, asked: Mapping[str, Any]) -> None:
        modalities = asked.get("output_modalities") or self.session["output_modalities"]
        scene = self.scene
        response = events.response_of(asked, modalities[0], scene.new_id)
        previous = self.items[-1] if self.items else None
        if scene.replies:
            plan = scene.replies[min(self._replies, len(scene.replies) - 1)]
            self._replies += 1
            speaking = self._speak(response, previous, *plan)
            self._speaking = scene.loop.create_task(speaking)
            return
        if scene.asked:
            item = events.call_of(self.session["tools"][0]["name"], scene.new_id)
            answers = events.reply_with_call(response, item, previous)
            scene.asked, scene.acknowledged_at = False, None
            scene.messages, scene.called_at = 0, scene.loop.time()
        else:
            instructions = asked.get("instructions") or self.session["instructions"]
            words = HERE_I_AM if AFTER in instructions else STILL_ME
            part = {"type": "output_text", "text": words}
            item = events.message_of(part, scene.new_id)
            answers = events.reply_with_text(response, item, previous)
            self._handed_over(words)
        self.items.append(item["id"])
        self._answer(*answers)

    def _handed_over(self, words: str) -> None:
        """The reply after a call is accepted: the handoff is over."""
        scene, now = self.scene, self.scene.loop.time()
        if scene.called_at is None:
            return
        update = scene.acknowledged_at
        # It left the client when the answer to the update had reached it, or before.
        known = update is not None and now - scene.latency >= update + scene.latency
        scene.handoffs.append(
            {
                "seconds": now - scene.called_at,
                "messages": scene.messages,
                "acknowledged": known,
                "right": words == HERE_I_AM,
            }
        )
        scene.called_at, scene.asked = None, False

    async def _speak(
        self,
        response: dict[str, Any],
        previous: str | None,
        ms: int,
        pieces: int,
        paced: bool,
    ) -> None:
        new_id = self.scene.new_id
        part = {"type": "output_audio", "transcript": events.TRANSCRIPT}
        item = events.message_of(part, new_id)
        self.items.append(item["id"])
        began = events.speech_begins(response, item, previous)
        self.transport.write(self._bytes_of(began))
        pcm = bytes(RATE * 2 * ms // 1000)
        piece = self._bytes_of([events.audio_delta(response, item, pcm)])
        if paced:
            await self._pace(piece, pcm, ms / 1000, pieces)
        else:
            await self._pour(piece, pieces)
        self.transport.write(
            self._bytes_of(events.speech_ends(response, item, previous))
        )

    async def _pour(self, piece: bytes, pieces: int) -> None:
        """As fast as the reader takes them."""
        many = piece * AT_ONCE
        for sent in range(0, pieces, AT_ONCE):
            await self._flowing.wait()
            self.transport.write(many[: len(piece) * min(AT_ONCE, pieces - sent)])

    async def _pace(self, piece: bytes, pcm: bytes, every: float, pieces: int) -> None:
        """One at a time, each with the time at which it was due."""
        loop, lateness = self.scene.loop, self.scene.lateness
        head, _, tail = piece.partition(base64.b64encode(pcm[:MARK]))
        began = loop.time()
        for number in range(pieces):
            due = began + number * every
            await asyncio.sleep(due - loop.time())
            lateness.append(loop.time() - due)
            mark = base64.b64encode(struct.pack("<d4x", due))
            self.transport.write(head + mark + tail)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a patch makes of an object, nested objects as well."""
    out = dict(old)
    for name, value in new.items():
        there = out.get(name)
        nested = isinstance(value, dict) and isinstance(there, dict)
        out[name] = merged(cast("Any", there), value) if nested else value
    return out


async def main(options: Mapping[str, Any]) -> None:
    """Serve until standard input ends."""
    scene = Scene(options)
    make = partial(Connection, scene)
    server = await scene.loop.create_server(make, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await scene.loop.run_in_executor(None, sys.stdin.read)
    print(scene.report(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
