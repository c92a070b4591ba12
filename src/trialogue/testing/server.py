"""The local realtime server: the protocol over memory streams and over TCP.

It serves inside `async with server.serving():` and leaves no task behind. Nothing of it
needs a real clock or a socket: under `trio.testing.MockClock` an hour passes at once.
"""

from __future__ import annotations

import itertools
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from random import Random
from typing import TYPE_CHECKING, Any, Final

import trio
import trio.testing

from trialogue._codec import dumps
from trialogue.realtime.openai import OpenAIRealtime
from trialogue.realtime.unwrapping import single
from trialogue.testing.alarms import Alarms
from trialogue.testing.composing import Composer
from trialogue.testing.connection import Connection, LogEntry
from trialogue.testing.cue_sheet import CueSheet, replying
from trialogue.testing.dialled import SURFACES, Dialled
from trialogue.testing.faults import ConnectFault, Fault, FaultPlan, Mixture
from trialogue.testing.http import Posted, read_post
from trialogue.testing.machine import Keeping, Machine, Settings
from trialogue.testing.machine.client_secrets import Attached, ClientSecrets, refused
from trialogue.testing.network import Network
from trialogue.testing.peer import Peer
from trialogue.testing.script import AsyncReply, Brain, Fail, Reply, Turn, echo
from trialogue.testing.speech import Cue, Cues, FirstOf, Utterances
from trialogue.testing.watermark import Mark, decode
from trialogue.testing.websocket import Closed, ServerSocket

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

__all__ = ["RealtimeServer", "open_realtime_server"]

MEMORY_URL: Final = "ws://localhost/v1/realtime"
SECRETS: Final = "/client_secrets"
LOG_PATH: Final = "/debug/log"
_REQUEST_SECONDS: Final = 60.0
_GOODBYE_SECONDS: Final = 1.0


class RealtimeServer:
    """A server of the OpenAI Realtime protocol, on this machine, with a script.

    Args:
        brain: what the model says to each turn; a coroutine function runs beside the
            response that it makes, and is cancelled with it.
        network: how far away the server is, and what connecting costs.
        faults: what goes wrong.
        settings: which keys and models exist, and how real servers' differences fall.
        utterances: what callers say, found by the samples of known clips.
        cues: what callers say, and are answered, by position; asked where no clip was
            found. A `CueSheet` comes first, and tells where their turns are as well.
        seed: of the ids.
        close_timeout: seconds for which a close of the server waits to be answered.
        on_entry: called with each connection and its new log entries.
        keeping: how much is kept to look at, if not everything.

    Attributes:
        connections: every connection accepted, in order, over or not. Where `keeping`
            has a bound for them, the oldest that are over are forgotten.
        accepted: how many connections were accepted.
        watermarks: for each hash that audio carries, the instructions and tool names.
        dials: how often somebody tried to connect, refused or not.
    """

    def __init__(
        self,
        brain: Brain = echo,
        *,
        network: Network | None = None,
        faults: Iterable[Fault | ConnectFault | Mixture] = (),
        settings: Settings | None = None,
        utterances: Utterances | None = None,
        cues: Iterable[Cue] | CueSheet = (),
        seed: int = 0,
        close_timeout: float = 2.0,
        on_entry: Callable[[Connection, Sequence[LogEntry]], None] | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.brain = brain
        self.network = network if network is not None else Network()
        self.settings = settings if settings is not None else Settings()
        self.utterances = utterances if utterances is not None else Utterances()
        self.connections: list[Connection] = []
        self.watermarks: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.dials = self.accepted = 0
        self._keeping = keeping if keeping is not None else Keeping()
        self._forgotten_errors: list[str] = []
        self._sheet = cues if isinstance(cues, CueSheet) else None
        self._cues = tuple(cues.cues if isinstance(cues, CueSheet) else cues)
        self._plan = FaultPlan(faults)
        self._seed = seed
        self._close_timeout = close_timeout
        self._on_entry = on_entry
        self._marks = itertools.count()
        self._nursery: trio.Nursery | None = None
        self._peers: set[Peer] = set()
        self._left = trio.Event()
        self._alarms = Alarms()
        self._secrets = ClientSecrets(self.settings, seed)
        self._address: tuple[str, str, int] | None = None

    def __repr__(self) -> str:
        state = "serving" if self._nursery is not None else "idle"
        return f"<RealtimeServer {state} connections={self.accepted}>"

    @property
    def protocol_errors(self) -> list[str]:
        """What came, on any connection, that is no WebSocket frame."""
        errors = (one.protocol_errors for one in self.connections)
        return [*self._forgotten_errors, *chain.from_iterable(errors)]

    @property
    def live(self) -> list[Connection]:
        """The connections that are not over."""
        return [one for one in self.connections if one.closed is None]

    def inject(self, *faults: Fault | ConnectFault | Mixture) -> None:
        """Plan more faults; each counts its frames from now on.

        One that waits for an age that a live connection has reached happens to it at
        once.
        """
        self._plan.add(*faults)
        for peer in self._peers:
            peer.wake()

    def heard(self, pcm: bytes) -> list[tuple[Mark, str, tuple[str, ...]]]:
        """Decode what was played: each mark, with the instructions and tools in force.

        Raises:
            KeyError: a mark is not of this server.
        """
        return [(mark, *self.watermarks[mark.config]) for mark in decode(pcm)]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[RealtimeServer]:
        """Serve inside this block. Leaving it closes every connection, bounded.

        Clients that are still there get a close frame with 1001 and a second to answer
        it; when the block is left by an exception or a cancellation they get none.
        """
        if self._nursery is not None:
            raise RuntimeError("the server is serving already")
        try:
            with single():
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._alarms.run)
                    yield self
                    await self._say_goodbye()
                    nursery.cancel_scope.cancel()
        finally:
            self._nursery = self._address = None

    async def _say_goodbye(self) -> None:
        for peer in self._peers:
            peer.goodbye()
        with trio.move_on_after(_GOODBYE_SECONDS):
            while self._peers:
                self._left = trio.Event()
                await self._left.wait()

    def _live_nursery(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError(
                "the server is not serving: use it inside 'async with "
                "server.serving():'"
            )
        return self._nursery

    async def connect(self) -> trio.abc.Stream:
        """Dial in memory; return the client's end, on which it makes its own upgrade.

        The stream is there at once: what connecting costs is waited for before the
        upgrade is answered (see `Network`).

        Raises:
            OSError: a fault refuses the connection.
            RuntimeError: the server is not serving.
        """
        nursery = self._live_nursery()
        await trio.lowlevel.checkpoint()
        self.dials += 1
        fault = self._plan.at_connect()
        if fault is not None and fault.how == "refuse":
            raise ConnectionRefusedError("the local server refuses connections")
        client, server = trio.testing.memory_stream_pair()
        nursery.start_soon(self._serve_stream, server, fault)
        return client

    def model(self, name: str = "gpt-realtime", **options: Any) -> OpenAIRealtime:
        """Return a model that dials this server in memory.

        Args:
            name: of the model.
            options: further keywords of `OpenAIRealtime`.
        """
        usual: dict[str, Any] = {
            "api_key": "sk-test",
            "base_url": MEMORY_URL,
            "connect": self.connect,
        }
        return OpenAIRealtime(name, **(usual | options))

    async def listen(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        ssl_context: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> int:
        """Serve TCP as well, and return the port; 0 picks a free one.

        Args:
            port: to listen on.
            host: name or address to listen on.
            ssl_context: holds the server's certificate; with it, it is TLS.
            receive_buffer: bytes (SO_RCVBUF) of each connection: a small one makes a
                server that stalls felt at once.

        Raises:
            OSError: the port cannot be had.
            RuntimeError: the server is not serving.
        """
        nursery = self._live_nursery()
        listeners = await trio.open_tcp_listeners(port, host=host)
        if receive_buffer is not None:
            for listener in listeners:
                listener.socket.setsockopt(
                    trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer
                )
        bound = int(listeners[0].socket.getsockname()[1])
        scheme = "ws" if ssl_context is None else "wss"
        self._address = (scheme, host, bound)
        handler = partial(self._serve_tcp, ssl_context)
        nursery.start_soon(trio.serve_listeners, handler, listeners)
        return bound

    @property
    def port(self) -> int:
        """The port of the TCP side.

        Raises:
            RuntimeError: it does not listen.
        """
        return self._listening()[2]

    @property
    def url(self) -> str:
        """The address for clients of the TCP side, without a query.

        Raises:
            RuntimeError: it does not listen.
        """
        scheme, host, port = self._listening()
        path = next(iter(SURFACES[self.settings.dialect]))
        return f"{scheme}://{host}:{port}{path}"

    def _listening(self) -> tuple[str, str, int]:
        if self._address is None:
            raise RuntimeError("the server does not listen on TCP: call listen() first")
        return self._address

    async def _serve_tcp(
        self, ssl_context: ssl.SSLContext | None, stream: trio.SocketStream
    ) -> None:
        self.dials += 1
        served: trio.abc.Stream = stream
        if ssl_context is not None:
            served = trio.SSLStream(
                stream, ssl_context, server_side=True, https_compatible=True
            )
        await self._serve_stream(served, self._plan.at_connect())

    async def _serve_stream(
        self, stream: trio.abc.Stream, fault: ConnectFault | None
    ) -> None:
        """Serve one stream to its end, and close it."""
        how = fault.how if fault is not None else None
        try:
            if how == "silent":
                while await stream.receive_some(65536):
                    pass
            elif how != "refuse":
                slow = fault.seconds if fault is not None else 0.0
                await self._upgrade(stream, how if isinstance(how, int) else None, slow)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _upgrade(
        self, stream: trio.abc.Stream, status: int | None, slow: float
    ) -> None:
        socket = ServerSocket(stream)
        request = None
        with trio.move_on_after(_REQUEST_SECONDS):
            request = await socket.request()
        if request is None:
            await self._posted(stream, socket.received, status)
            return
        dialled = Dialled.of(request)
        try:
            network = dialled.network(self.network)
        except ValueError:
            network, status = self.network, 400
        await self._travel(network)
        if dialled.path == LOG_PATH and status is None:
            await self._show_log(socket)
            return
        if dialled.speaks(self.settings.dialect) is None:
            status = status or 404
        status = status or self._azure_refusal(dialled)
        if status is not None:
            await trio.sleep(network.one_way)
            await socket.refuse(status, b"refused by the local server")
            return
        await self._converse(socket, dialled, network, request.target, slow)

    @staticmethod
    async def _travel(network: Network) -> None:
        """All round trips but the last, and of that the way of the request to us."""
        rest = network.round_trip * (network.connect_round_trips - 1)
        await trio.sleep(rest + network.one_way)

    def _attached(self, dialled: Dialled) -> Attached | None:
        return self._secrets.of(dialled.key, trio.current_time())

    def _azure_refusal(self, dialled: Dialled) -> int | None:
        attached = self._attached(dialled)
        model = dialled.model or (attached.model if attached is not None else None)
        exists = bool(model) and self.settings.accepts_model(str(model))
        return dialled.azure_refusal(
            key_is_good=attached is not None or self.settings.accepts_key(dialled.key),
            model_exists=exists or not (model or dialled.needs_model),
        )

    async def _posted(
        self, stream: trio.abc.Stream, received: bytes, status: int | None
    ) -> None:
        """Answer a request that is no upgrade, if it is a POST."""
        post = None
        if received.startswith(b"POST "):
            with trio.move_on_after(_REQUEST_SECONDS):
                post = await read_post(stream, received)
        if post is None:
            return
        await self._travel(self.network)
        status, content = self._minted(post, status)
        await trio.sleep(self.network.one_way)
        await post.answer(status, content)

    def _minted(self, post: Posted, status: int | None) -> tuple[int, dict[str, Any]]:
        dialled = Dialled.read(post.target, post.headers)
        if status is not None:
            return status, refused(None, "Refused by the local server.")
        surfaces = SURFACES[self.settings.dialect].items()
        at = [f"{path}{SECRETS}" for path, speaks in surfaces if speaks != "beta"]
        if dialled.path not in at:
            return 404, refused(None, "There is no such resource.")
        if not self.settings.accepts_key(dialled.key):
            return 401, refused("invalid_api_key", "Incorrect API key provided.")
        return self._secrets.mint(post.body, trio.current_time())

    async def _converse(
        self,
        socket: ServerSocket,
        dialled: Dialled,
        network: Network,
        target: str,
        slow: float,
    ) -> None:
        index, self.accepted = self.accepted, self.accepted + 1
        log = deque[LogEntry](maxlen=self._keeping.entries)
        composer = Composer(self._failing(replying(self._cues, self.brain)))
        machine = self._machine(index, composer, dialled)
        connection = Connection(index, machine, trio.current_time(), target, log)
        self.connections.append(connection)
        self._forget_old()
        self._plan.add(*dialled.faults(index))
        # The answer to the upgrade and the first event travel together.
        greeting = connection.machine.open(
            trio.current_time(),
            model=dialled.model,
            key=dialled.key,
            beta=dialled.beta,
            attached=self._attached(dialled),
            intent=dialled.intent,
            call_id=dialled.call_id,
        )
        peer = Peer(
            connection,
            socket,
            network,
            self._plan,
            self._stepped,
            self._close_timeout,
            composer,
            self._alarms,
            Random(f"{self._seed}/{index}"),
            slow,
        )
        self._peers.add(peer)
        try:
            await peer.run(greeting, dialled.subprotocol)
        finally:
            self._peers.discard(peer)
            self._left.set()

    def _forget_old(self) -> None:
        most = self._keeping.connections
        over = [one for one in self.connections if one.closed is not None]
        for old in over[: 0 if most is None else max(0, len(over) - most)]:
            self.connections.remove(old)
            self._forgotten_errors += old.protocol_errors

    def _machine(self, index: int, composer: Composer, dialled: Dialled) -> Machine:
        speaks = dialled.speaks(self.settings.dialect) or self.settings.dialect
        known = (self.utterances, Cues(self._cues))
        return Machine(
            composer,
            FirstOf(known if self._sheet is None else (self._sheet, *known)),
            self.settings.on_surface(speaks),
            index=index,
            seed=self._seed,
            next_mark=lambda: next(self._marks),
            keeping=self._keeping,
            sheet=self._sheet,
        )

    def _failing(self, brain: Brain) -> Brain:
        """Return a brain that is not asked where the response is to fail."""

        def answer(turn: Turn) -> Reply | AsyncReply:
            failure = self._plan.at_response(turn.connection)
            if failure is not None:
                return Fail(failure.code, failure.message, failure.type)
            return brain(turn)

        return answer

    def _stepped(self, connection: Connection, entries: Sequence[LogEntry]) -> None:
        for record in connection.responses[-4:]:
            self.watermarks[record.watermark] = (record.instructions, record.tools)
        if self._on_entry is not None:
            self._on_entry(connection, entries)

    async def _show_log(self, socket: ServerSocket) -> None:
        """Send every frame of every connection as a JSON message each, and close."""
        await socket.accept(None)
        for connection in self.connections:
            for line in connection.report():
                await socket.send_text(dumps(line))
        await socket.send_close(1000)
        with trio.move_on_after(self._close_timeout):
            while not isinstance(await socket.receive(), Closed):
                pass


@asynccontextmanager
async def open_realtime_server(
    brain: Brain = echo, *, port: int | None = None, **options: Any
) -> AsyncIterator[RealtimeServer]:
    """Serve a `RealtimeServer` inside this block; with a port on TCP too (0: any)."""
    async with RealtimeServer(brain, **options).serving() as server:
        if port is not None:
            await server.listen(port)
        yield server
