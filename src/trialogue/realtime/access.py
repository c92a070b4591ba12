"""How a provider is reached: its URL, our credential, and what carries it.

What the models of OpenAI and of Azure have in common; they differ in the URL and in the
header that holds the key.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal, TypeAlias, TypeVar, final
from urllib.parse import quote

import attrs
import trio

from trialogue.errors import ConfigurationError, ConnectRefused
from trialogue.realtime.credentials import KeySource, Secret, fetched, shown
from trialogue.realtime.dial import Target, parse_url, tcp_connector
from trialogue.realtime.link import (
    Link,
    WebSocketEngine,
    engine_called,
    open_link,
)
from trialogue.realtime.upgrade import checked_headers

__all__ = ["Access", "Connect", "Drain", "Headers", "without_query"]

Connect: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
Drain: TypeAlias = Callable[[], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[str, str], ...]

T = TypeVar("T")

_UNAUTHORIZED: Final = 401


def without_query(url: str) -> str:
    """What of a URL may be shown: its query may hold a key (X1)."""
    path, mark, _ = url.partition("?")
    return repr(f"{path}{mark}…" if mark else path)


@final
@attrs.frozen(kw_only=True)
class Access:
    """One way to one provider.

    Attributes:
        url: of the realtime endpoint, `wss://`, without the model.
        credential: the key or the function that fetches it; None: the environment's.
        owner: what the program calls the model, for errors.
        name: what it calls the credential there.
        variable: the environment variable that holds the key.
        header: which header carries it; `Authorization` as a bearer's.
        headers: further request headers.
        allow_insecure: permit `ws://` to another machine.
        ssl_context: in place of the system's trust store.
        connect: gives the connected stream in place of TCP and TLS.
        websocket: the package that speaks WebSocket; None: the fastest installed.
    """

    url: str = attrs.field(repr=without_query)
    credential: Secret | KeySource | None = attrs.field(repr=shown)
    owner: str
    name: str
    variable: str
    header: Literal["Authorization", "api-key"]
    headers: Headers = ()
    allow_insecure: bool = False
    ssl_context: ssl.SSLContext | None = None
    connect: Connect | None = None
    websocket: WebSocketEngine | None = None

    def check(self) -> None:
        """Find out at once what could not work.

        Raises:
            ConfigurationError: the URL, a header or the TLS settings cannot be used, or
                the package for WebSocket is not installed.
        """
        checked_headers(self.headers)
        self._engine()
        target = self.target()
        if self.ssl_context is not None and self.connect is not None:
            raise ConfigurationError(
                "ssl_context and connect exclude each other: what connect returns is "
                "used as it is, so do TLS there"
            )
        if self.ssl_context is not None and not target.secure:
            raise ConfigurationError("an ssl_context needs a wss:// URL")

    def target(self, *, below: str = "", model: str | None = None) -> Target:
        """Where to connect to.

        Args:
            below: a path below the realtime endpoint's own.
            model: what is asked for in the query, if anything is.
        """
        path, _, query = self.url.partition("?")
        asked = "" if model is None else f"model={quote(model, safe='')}"
        query = "&".join(part for part in (query, asked) if part)
        url = f"{path}{below}" + (f"?{query}" if query else "")
        return parse_url(url, allow_insecure=self.allow_insecure)

    def _engine(self) -> type[Link] | None:
        return None if self.websocket is None else engine_called(self.websocket)

    def connector(self, target: Target) -> Connect:
        """What dials a target of this provider."""
        return self.connect or tcp_connector(target, ssl_context=self.ssl_context)

    @asynccontextmanager
    async def open_link(
        self,
        model: str,
        *,
        connect_timeout: float,
        close_timeout: float,
        drain: Drain | None = None,
        max_message_size: int = 16 * 2**20,
    ) -> AsyncIterator[tuple[Link, trio.Nursery]]:
        """Open a link to a model; see `RealtimeModel.open_link`.

        The key is fetched first, inside `connect_timeout`.

        Raises:
            ConfigurationError: there is no key, or no header can hold it.
            ConnectRefused: trying again would not help.
            ConnectionLost: it may.
        """
        target = self.target(model=model)
        async with AsyncExitStack() as stack:

            async def enter(
                headers: Headers, seconds: float
            ) -> tuple[Link, trio.Nursery]:
                link = open_link(
                    self.connector(target),
                    host=target.authority,
                    resource=target.resource,
                    headers=headers,
                    connect_timeout=seconds,
                    close_timeout=close_timeout,
                    max_message_size=max_message_size,
                    drain=drain,
                    engine=self._engine(),
                )
                return await stack.enter_async_context(link)

            yield await self.authorized(enter, timeout=connect_timeout)

    async def authorized(
        self,
        attempt: Callable[[Headers, float], Awaitable[T]],
        *,
        timeout: float,  # noqa: ASYNC109 - handed on, for the stack of scopes
    ) -> T:
        """Attempt something that needs the key.

        Where a function gives the key and the provider refuses it (HTTP 401), it may
        have expired on the way: the function is asked once more, and if it then gives
        another key, there is one more attempt.

        Args:
            attempt: is given the request headers and the seconds that are left.
            timeout: seconds for all of it.
        """
        source = self.credential
        if not callable(source):
            return await attempt(self._headers(self._known(source)), timeout)
        deadline = trio.current_time() + timeout
        key = await self._fetched(source, deadline)
        try:
            return await attempt(self._headers(key), _left(deadline))
        except ConnectRefused as error:
            if error.status != _UNAUTHORIZED:
                raise
            refused = error
        try:
            fresh = await self._fetched(source, deadline)
            if fresh == key:
                raise refused
        finally:
            del refused  # or its traceback would refer to a frame that refers to it
        return await attempt(self._headers(fresh), _left(deadline))

    async def _fetched(self, source: KeySource, deadline: float) -> Secret:
        key = await fetched(source, name=self.name, within=_left(deadline))
        return _stripped(key, f"the function given as {self.name} returned no key")

    def _known(self, given: Secret | None) -> Secret:
        key = given or Secret(os.environ.get(self.variable, ""))
        where = f"set {self.variable} or give {self.owner}({self.name}=…)"
        return _stripped(key, f"no API key: {where}")

    def _headers(self, key: Secret) -> Headers:
        bearer = self.header == "Authorization"
        value = f"Bearer {key.reveal()}" if bearer else key.reveal()
        return ((self.header, value), *self.headers)


def _stripped(key: Secret, complaint: str) -> Secret:
    text = key.reveal().strip()  # a key read from a file ends with its line
    if not text:
        raise ConfigurationError(complaint)
    return Secret(text)


def _left(deadline: float) -> float:
    """Seconds, in whole milliseconds: they are quoted in errors."""
    return max(0.0, round(deadline - trio.current_time(), 3))
