"""A neutral server: as cheap as Python allows, and the same to whoever listens.

It knows just enough of the protocol that a session can be held: it answers the upgrade,
`session.update` and `response.create`. What a response consists of was made beforehand;
how much of it there is, and how fast, the name of the model says:

    flood-20-3000     3000 deltas of 20 ms, at once
    paced-20-400-5    400 deltas of 20 ms, one every 5 ms

The first eight bytes of a paced delta's sound are the time at which it was sent, in
nanoseconds of `time.perf_counter_ns`, which all processes of a machine have in common.
What clients send is counted, audio is not looked at. When a connection has ended, one
line of JSON tells how many frames of audio came, and how many bytes they had.

No Trio here, no library of WebSockets, and nothing of trialogue: run as a program, it
prints its port and serves until it is killed.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import selectors
import socket
import struct
import time
from typing import Any

__all__ = ["frames_from", "parts_of", "written"]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
RATE = 24_000
STAMP = 12
"""Characters of base64 that hold the nine bytes in which the time is."""
APPEND = b'"input_audio_buffer.append"'
LOOKED_AT = 64
SESSION: dict[str, Any] = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "model": "gpt-realtime",
    "output_modalities": ["audio"],
    "instructions": "",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": RATE},
            "transcription": None,
            "turn_detection": {"type": "server_vad"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": RATE}, "voice": "marin"},
    },
    "tools": [],
    "tool_choice": "auto",
    "expires_at": 4_000_000_000,
}


def written(payload: bytes) -> bytes:
    """Return a text frame as servers send it."""
    size = len(payload)
    if size < 126:
        return struct.pack(">BB", 129, size) + payload
    if size < 2**16:
        return struct.pack(">BBH", 129, 126, size) + payload
    return struct.pack(">BBQ", 129, 127, size) + payload


def frames_from(buffer: bytes) -> tuple[list[tuple[int, bytes, bytes]], bytes]:
    """Return (opcode, mask, masked payload) of the whole frames, and the rest."""
    found, at = [], 0
    while len(buffer) - at >= 6:
        size, head = buffer[at + 1] & 127, 2
        if size == 126:
            size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
        end = at + head + 4 + size
        if end > len(buffer):
            break
        mask = buffer[at + head : at + head + 4]
        found.append((buffer[at] & 15, mask, buffer[at + head + 4 : end]))
        at = end
    return found, buffer[at:]


def unmasked(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def _frame(event: dict[str, Any]) -> bytes:
    return written(json.dumps({"event_id": "event_1", **event}).encode())


def parts_of(
    response: str, item: str, milliseconds: int, metadata: Any
) -> tuple[bytes, bytes, bytes]:
    """Return what comes before the sound of a response, one delta, and what follows."""
    place = {"response_id": response, "item_id": item, "output_index": 0}
    place["content_index"] = 0
    message = {
        "id": item,
        "object": "realtime.item",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    said = [{"type": "output_audio", "transcript": "Hm."}]
    done = {**message, "status": "completed", "content": said}
    made = {
        "object": "realtime.response",
        "id": response,
        "status": "in_progress",
        "output": [],
        "metadata": metadata,
    }
    turn = {"response_id": response, "output_index": 0}
    part = {"type": "audio", "transcript": ""}
    before: tuple[dict[str, Any], ...] = (
        {"type": "response.created", "response": made},
        {"type": "response.output_item.added", **turn, "item": message},
        {"type": "conversation.item.added", "item": message, "previous_item_id": None},
        {"type": "response.content_part.added", **place, "part": part},
    )
    sound = bytes(range(256)) * (RATE * 2 * milliseconds // 256_000 + 1)
    pcm = bytes(9) + sound[9 : RATE * 2 * milliseconds // 1000]
    text = base64.b64encode(pcm).decode()
    delta = {"type": "response.output_audio.delta", **place, "delta": text}
    part = {"type": "audio", "transcript": "Hm."}
    words = "response.output_audio_transcript.done"
    after: tuple[dict[str, Any], ...] = (
        {"type": "response.output_audio.done", **place},
        {"type": words, **place, "transcript": "Hm."},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "conversation.item.done", "item": done, "previous_item_id": None},
        {"type": "response.output_item.done", **turn, "item": done},
        {
            "type": "response.done",
            "response": {**made, "status": "completed", "output": [done]},
        },
    )
    return (
        b"".join(map(_frame, before)),
        _frame(delta),
        b"".join(map(_frame, after)),
    )


def merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}


class Client:
    """One connection."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self.sock = sock
        self.frames = self.bytes = 0
        self._server = server
        self._unsent = b""
        self._rest = b""
        self._plan: list[str] | None = None
        self._session = SESSION
        self._replies = 0

    def receive(self) -> bool:
        """Take what has come; False if that was the end."""
        try:
            data = self.sock.recv(262_144)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            return False
        self._rest += data
        if self._plan is None:
            if b"\r\n\r\n" not in self._rest:
                return True
            self._upgrade()
        frames, self._rest = frames_from(self._rest)
        return all(self._take(*frame) for frame in frames)

    def _upgrade(self) -> None:
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self._plan = first.split()[1].partition("model=")[2].split("-")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        key = headers["sec-websocket-key"].encode() + GUID
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
        answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        created = {"type": "session.created", "session": self._session}
        self.send(answer.encode() + _frame(created))

    def _take(self, opcode: int, mask: bytes, payload: bytes) -> bool:
        if opcode == 8:
            self.send(bytes([136, 2]) + unmasked(mask, payload[:2]))
            return False
        if opcode == 9:
            self.send(bytes([138, len(payload)]) + unmasked(mask, payload))
        elif opcode == 1:
            if APPEND in unmasked(mask, payload[:LOOKED_AT]):
                self.frames += 1
                self.bytes += len(payload)
            else:
                self._do(json.loads(unmasked(mask, payload)))
        return True

    def _do(self, event: dict[str, Any]) -> None:
        if event["type"] == "session.update":
            self._session = merged(self._session, event["session"])
            self.send(_frame({"type": "session.updated", "session": self._session}))
        elif event["type"] == "response.create":
            self._reply((event.get("response") or {}).get("metadata"))

    def _reply(self, metadata: Any) -> None:
        self._replies += 1
        assert self._plan is not None
        kind, milliseconds, count, *pace = self._plan
        response, item = f"resp_{self._replies}", f"item_{self._replies}"
        parts = parts_of(response, item, int(milliseconds), metadata)
        before, delta, after = parts
        if kind == "flood":
            self.send(before + delta * int(count) + after)
            return
        self.send(before)
        step = float(pace[0]) / 1000
        self._server.pace(self, delta, int(count), step, after)

    def send(self, data: bytes) -> None:
        """Send it, or keep what does not go out yet."""
        data = self._unsent + data if self._unsent else data
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._unsent = b""
            return  # it is gone, which is seen when reading
        self._unsent = data[sent:]
        self._server.watch(self, bool(self._unsent))


class Server:
    """All connections, and what is due when."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._due: list[tuple[float, int, Client, Any]] = []
        self._count = 0

    def watch(self, client: Client, unsent: bool) -> None:
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
        if self._selector.get_key(client.sock).events != mask:
            self._selector.modify(client.sock, mask, client)

    def pace(
        self, client: Client, delta: bytes, count: int, step: float, after: bytes
    ) -> None:
        """Send a delta in each step of so many seconds, and in the end what follows."""
        at = delta.index(b'"delta": "') + len(b'"delta": "')
        parts = (delta[:at], delta[at + STAMP :], count, step, after)
        # Not all at the same time: as many clients were not, either.
        self._count += 1
        first = time.perf_counter() + step * (self._count * 37 % 100) / 100
        heapq.heappush(self._due, (first, self._count, client, parts))

    def _send(self, when: float, client: Client, parts: Any) -> None:
        head, tail, count, step, after = parts
        if not count:
            client.send(after)
            return
        now = time.perf_counter_ns().to_bytes(9, "little")
        client.send(head + base64.b64encode(now) + tail)
        self._count += 1
        left = (head, tail, count - 1, step, after)
        heapq.heappush(self._due, (when + step, self._count, client, left))

    def run(self) -> None:
        while True:
            wait = self._due[0][0] - time.perf_counter() if self._due else None
            for key, events in self._selector.select(wait and max(wait, 0)):
                if key.data is None:
                    self._accept()
                    continue
                if events & selectors.EVENT_WRITE:
                    key.data.send(b"")
                if events & selectors.EVENT_READ and not key.data.receive():
                    self._end(key.data)
            while self._due and self._due[0][0] <= time.perf_counter():
                when, _, client, parts = heapq.heappop(self._due)
                if client.sock.fileno() != -1:
                    self._send(when, client, parts)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, Client(sock, self))

    def _end(self, client: Client) -> None:
        self._selector.unregister(client.sock)
        client.sock.close()
        print(json.dumps({"frames": client.frames, "bytes": client.bytes}), flush=True)


if __name__ == "__main__":
    server = Server()
    print(server.port, flush=True)
    server.run()
