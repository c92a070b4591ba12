"""Many clients in one process, as cheap as Python allows: the load of `serving`.

Each holds one session in real time: it sends 100 ms of a quiet microphone ten times a
second, asks for a reply, takes its audio, and asks for the next one. No Trio here, and
no library of WebSockets: what the clients cost is not to hide what the server does.

How late a frame of audio is, is counted from the moment at which its reply was asked
for. The process prints one JSON object.
"""

from __future__ import annotations

import base64
import heapq
import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from array import array
from typing import Any

__all__ = [
    "CREATE",
    "DELTA_S",
    "DONE",
    "REPLY_S",
    "THINK_S",
    "UPGRADE",
    "connected",
    "frames_of",
]

DELTA_S = 0.1
THINK_S = 0.05
REPLY_S = 5.0
MASK = b"\x1d\xa3\x47\x99"
UPGRADE = (
    "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: localhost\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer key\r\n\r\n"
)
DELTA = b'{"type":"response.output_audio.delta"'
DONE = b'{"type":"response.done"'


def frame(text: str) -> bytes:
    """Return a text frame as clients send it, masked."""
    payload = text.encode()
    size = len(payload)
    head = (
        struct.pack(">BB", 129, 128 | size)
        if size < 126
        else struct.pack(">BBH", 129, 128 | 126, size)
    )
    mask = int.from_bytes((MASK * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")
    return head + MASK + masked


CREATE = frame('{"type":"response.create"}')


def _append() -> bytes:
    """100 ms of a room in which nobody speaks: noise, far below a voice."""
    noise = random.Random(1)
    pcm = array("h", (noise.randint(-40, 40) for _ in range(2400))).tobytes()
    audio = base64.b64encode(pcm).decode()
    return frame(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')


def connected(port: int) -> tuple[socket.socket, bytes]:
    """Return a socket that was upgraded, and what came behind the answer."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(UPGRADE.encode())
    received = b""
    while b"\r\n\r\n" not in received:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError("the server hung up")
        received += data
    return sock, received.partition(b"\r\n\r\n")[2]


def frames_of(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the (opcode, payload) of the whole frames of a server, and the rest."""
    found, at = [], 0
    while len(buffer) - at >= 2:
        size, head = buffer[at + 1], 2
        if size == 126:
            size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
        end = at + head + size
        if end > len(buffer):
            break
        found.append((buffer[at] & 15, buffer[at + head : end]))
        at = end
    return found, buffer[at:]


class Client:
    """One session.

    Attributes:
        lateness: of each frame of audio, in seconds, and when it came.
        lost: the connection ended, or the server took no more for a whole second.
    """

    def __init__(self, port: int) -> None:
        self.sock, self._rest = connected(port)
        self.sock.setblocking(False)
        self.lateness: list[tuple[float, float]] = []
        self.lost = False
        self._asked = 0.0
        self._frames = 0
        self._unsent = b""

    def ask(self, now: float) -> None:
        self._asked, self._frames = now, 0
        self.send(CREATE)

    def send(self, data: bytes) -> None:
        """Send it, or keep what does not go out yet."""
        self._unsent += data
        try:
            sent = self.sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.lost = True
            return
        self._unsent = self._unsent[sent:]
        self.lost = self.lost or len(self._unsent) > 70_000

    def receive(self, now: float) -> bool:
        """Read what is there; False if that was the end."""
        try:
            data = self.sock.recv(262_144)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.lost = True
            return False
        frames, self._rest = frames_of(self._rest + data)
        for opcode, payload in frames:
            if opcode == 9:
                self.send(bytes([138, 128 | len(payload)]) + bytes(4) + payload)
            elif payload.startswith(DELTA):
                due = self._asked + THINK_S + self._frames * DELTA_S
                self._frames += 1
                self.lateness.append((now, now - due))
            elif payload.startswith(DONE):
                self.ask(now)
        return True


def load(port: int, sessions: int, seconds: float, server: int) -> dict[str, Any]:
    """Hold so many sessions; measure for so many seconds once all of them talk."""
    append, clock = _append(), time.perf_counter
    selector = selectors.DefaultSelector()
    clients: list[Client] = []
    due: list[tuple[float, int, bool]] = []  # when, which client, whether it asks
    began = clock()
    lags: list[float] = []
    spread = max(REPLY_S, sessions * 0.004)
    pace = random.Random(2)
    starts = sorted(pace.uniform(0, spread) for _ in range(sessions))
    measuring, end = began + spread + 1.0, began + spread + 1.0 + seconds
    cpu_before = 0.0
    while (now := clock()) < end:
        if len(clients) < sessions and now >= began + starts[len(clients)]:
            client = Client(port)
            clients.append(client)
            selector.register(client.sock, selectors.EVENT_READ, client)
            number = len(clients) - 1
            heapq.heappush(due, (now + pace.uniform(0, DELTA_S), number, False))
            heapq.heappush(due, (now + 0.05, number, True))
        while due and due[0][0] <= now:
            when, number, asks = heapq.heappop(due)
            if asks:
                clients[number].ask(clock())
            else:
                if now >= measuring:
                    lags.append(now - when)
                clients[number].send(append)
                heapq.heappush(due, (when + DELTA_S, number, False))
        if not cpu_before and now >= measuring:
            cpu_before = _cpu(server)
        timeout = min(due[0][0] - clock() if due else 0.01, 0.01)
        for key, _ in selector.select(max(timeout, 0)):
            if not key.data.receive(clock()):
                selector.unregister(key.fileobj)
    used = _cpu(server) - cpu_before
    for client in clients:
        client.sock.close()
    late = [
        late for client in clients for at, late in client.lateness if at >= measuring
    ]
    return {
        "sessions": sessions,
        "expected": round(sessions * seconds / DELTA_S * REPLY_S / (REPLY_S + THINK_S)),
        "frames": len(late),
        "lost": sum(client.lost for client in clients),
        "p50": _percentile(late, 0.5),
        "p99": _percentile(late, 0.99),
        "own_p99": _percentile(lags, 0.99),
        "cpu": used / seconds,
    }


def _cpu(process: int) -> float:
    """Seconds of CPU that a process has used; 0 where nobody says."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _percentile(values: list[float], part: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(part * len(ranked)))] if ranked else 1e9


if __name__ == "__main__":
    port, sessions, seconds, server = sys.argv[1:]
    print(json.dumps(load(int(port), int(sessions), float(seconds), int(server))))
