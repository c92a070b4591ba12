"""OpenAI Realtime as a model."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, final

import attrs

from trialogue.dialects.dialect import Capabilities, Dialect
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.options import SessionOptions, Transcription, Voice
from trialogue.realtime.access import Access, Connect, Drain, without_query
from trialogue.realtime.credentials import (
    Credential,
    KeySource,
    Secret,
    kept,
    shown,
)
from trialogue.realtime.describing import capabilities_of, options_of
from trialogue.realtime.link import WebSocketEngine

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import trio

    from trialogue.realtime.link import Link

__all__ = ["OpenAIRealtime"]

BASE_URL = "wss://api.openai.com/v1/realtime"


@final
@attrs.frozen(init=False)
class OpenAIRealtime:
    """A model of OpenAI's Realtime API (general availability), over a WebSocket.

    It is a value: two equal ones can share a session. Functions and TLS contexts in it
    are compared by identity.

    Attributes:
        name: for example "gpt-realtime".
        options: the session options every conversation begins with; server turn
            detection and transcription are on by default.
        capabilities: what the model can do; override flags that you know better.
    """

    name: str
    options: SessionOptions
    capabilities: Capabilities
    base_url: str = attrs.field(repr=without_query)
    api_key: Secret | KeySource | None = attrs.field(repr=shown)
    organization: str | None
    project: str | None
    safety_identifier: str | None
    allow_insecure: bool
    ssl_context: ssl.SSLContext | None
    connect: Connect | None
    websocket: WebSocketEngine | None

    def __init__(
        self,
        name: str = "gpt-realtime",
        *,
        voice: Voice | None = None,
        options: SessionOptions | None = None,
        capabilities: Capabilities | dict[str, bool] | None = None,
        api_key: Credential | None = None,
        base_url: str = BASE_URL,
        organization: str | None = None,
        project: str | None = None,
        safety_identifier: str | None = None,
        allow_insecure: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        connect: Connect | None = None,
        websocket: WebSocketEngine | None = None,
    ) -> None:
        """Describe a model.

        Args:
            name: the model's name at the provider.
            voice: short for `options=SessionOptions(voice=…)`.
            options: further session options; what is not given keeps the default.
            capabilities: a whole value, or only the flags that differ.
            api_key: the key, a `ClientSecret.value`, or a function (it may be async)
                that is asked for one at each connect and reconnect; by default the
                environment's OPENAI_API_KEY, looked up when a connection is made. The
                function's time is part of the connect deadline. A TrialogueError that
                it raises passes as it is: `ConnectionLost` is tried again,
                `ConnectRefused` is not, others end the session. Any other exception
                counts as `ConnectionLost`, with it as the cause.
            base_url: where the API is, as a `wss://` URL.
            organization: the id of the organization that is billed.
            project: the id of the project that is billed.
            safety_identifier: a stable hash that stands for the end user.
            allow_insecure: permit `ws://` to another machine.
            ssl_context: TLS settings, for an authority of your own or a client
                certificate; by default the system's trust store.
            connect: gives the connected stream in place of TCP and TLS (for tests,
                tunnels and proxies).
            websocket: the package that speaks WebSocket, "websockets" or
                "trio-websocket"; by default the first, if it is installed (the extra
                `fast`), because it is faster.

        Raises:
            ConfigurationError: the URL cannot be used, a capability is unknown, an
                option is out of the range that OpenAI documents, or a header cannot
                hold what is given for it.
        """
        values = {
            "name": name,
            "options": options_of(options, voice=voice, transcription=Transcription()),
            "capabilities": capabilities_of(capabilities),
            "base_url": base_url,
            "api_key": kept(api_key, "api_key"),
            "organization": organization,
            "project": project,
            "safety_identifier": safety_identifier,
            "allow_insecure": allow_insecure,
            "ssl_context": ssl_context,
            "connect": connect,
            "websocket": websocket,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)  # frozen: once, and here only
        self.access().check()

    def dialect(self) -> Dialect:
        """Return a fresh translator for one connection."""
        return OpenAIDialect()

    def access(self) -> Access:
        """Return how the provider is reached."""
        named = {
            "OpenAI-Organization": self.organization,
            "OpenAI-Project": self.project,
            "OpenAI-Safety-Identifier": self.safety_identifier,
        }
        return Access(
            url=self.base_url,
            credential=self.api_key,
            owner="OpenAIRealtime",
            name="api_key",
            variable="OPENAI_API_KEY",
            header="Authorization",
            headers=tuple((k, v) for k, v in named.items() if v is not None),
            allow_insecure=self.allow_insecure,
            ssl_context=self.ssl_context,
            connect=self.connect,
            websocket=self.websocket,
        )

    def open_link(
        self,
        *,
        connect_timeout: float,
        close_timeout: float,
        drain: Drain | None = None,
        max_message_size: int = 16 * 2**20,
    ) -> AbstractAsyncContextManager[tuple[Link, trio.Nursery]]:
        """Open a connection up to the point where frames can be exchanged.

        Where `api_key` is a function and the upgrade is refused with HTTP 401, it is
        asked once more; only another key leads to another attempt.

        Raises:
            ConfigurationError: there is no key.
            ConnectRefused: trying again would not help.
            ConnectionLost: it may.
        """
        return self.access().open_link(
            self.name,
            connect_timeout=connect_timeout,
            close_timeout=close_timeout,
            max_message_size=max_message_size,
            drain=drain,
        )
