"""Azure OpenAI as a model: the v1 surface, which speaks the present protocol."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Final, final
from urllib.parse import parse_qsl

import attrs

from trialogue.dialects.dialect import Capabilities, Dialect
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.options import SessionOptions, Transcription, Voice
from trialogue.errors import ConfigurationError
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

__all__ = ["AzureRealtime"]

_SCHEMES: Final = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}


@final
@attrs.frozen(init=False)
class AzureRealtime:
    """A realtime model deployed at Azure OpenAI, over its v1 surface.

    It speaks what OpenAI's general availability speaks; what differs is where it is,
    how we show who we are, and that models go by the names of their deployments. It is
    a value: two equal ones can share a session. Functions and TLS contexts in it are
    compared by identity.

    Tokens of Microsoft Entra ID expire, so give a function that fetches one. With the
    package azure-identity, whose credentials block, that is:

        async def token() -> str:
            scope = "https://ai.azure.com/.default"
            get = partial(credential.get_token, scope)
            return (await trio.to_thread.run_sync(get, abandon_on_cancel=True)).token

    Attributes:
        name: the deployment's name.
        options: the session options every conversation begins with; server turn
            detection and transcription are on by default.
        capabilities: what the model can do; override flags that you know better.
        url: of the realtime endpoint, as `wss://`.
    """

    name: str
    options: SessionOptions
    capabilities: Capabilities
    url: str = attrs.field(repr=without_query)
    api_key: Secret | KeySource | None = attrs.field(repr=shown)
    token: Secret | KeySource | None = attrs.field(repr=shown)
    allow_insecure: bool
    ssl_context: ssl.SSLContext | None
    connect: Connect | None
    websocket: WebSocketEngine | None

    def __init__(
        self,
        deployment: str,
        *,
        resource: str | None = None,
        endpoint: str | None = None,
        api_key: Credential | None = None,
        token: Credential | None = None,
        voice: Voice | None = None,
        options: SessionOptions | None = None,
        transcription_deployment: str = "whisper-1",
        capabilities: Capabilities | dict[str, bool] | None = None,
        allow_insecure: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        connect: Connect | None = None,
        websocket: WebSocketEngine | None = None,
    ) -> None:
        """Describe a deployment.

        Args:
            deployment: its name, which need not be the model's.
            resource: the name of the Azure resource, for
                `https://<resource>.openai.azure.com`.
            endpoint: the resource's address in place of its name, as the portal shows
                it; by default the environment's AZURE_OPENAI_ENDPOINT.
            api_key: the resource's key, or a function (it may be async) that is asked
                for it at each connect and reconnect; by default the environment's
                AZURE_OPENAI_API_KEY, looked up when a connection is made.
            token: a bearer token in place of a key: of Entra ID, or a
                `ClientSecret.value`; usually a function. Of a function's errors, and
                of its time, the same holds as with `OpenAIRealtime`.
            voice: short for `options=SessionOptions(voice=…)`.
            options: further session options; what is not given keeps the default.
            transcription_deployment: the name of the deployment that transcribes what
                the user says. The default presumes one that is called as its model.
                `options=SessionOptions(transcription=None)` does without.
            capabilities: a whole value, or only the flags that differ.
            allow_insecure: permit `http://` and `ws://` to another machine.
            ssl_context: TLS settings, for an authority of your own or a client
                certificate; by default the system's trust store.
            connect: gives the connected stream in place of TCP and TLS (for tests,
                tunnels and proxies).
            websocket: the package that speaks WebSocket, "websockets" or
                "trio-websocket"; by default the first, if it is installed (the extra
                `fast`), because it is faster.

        Raises:
            ConfigurationError: the endpoint cannot be used or has an api-version, both
                a key and a token are given, a capability is unknown, or an option is
                out of the documented range.
        """
        if api_key is not None and token is not None:
            raise ConfigurationError(
                "both api_key and token are given; Azure takes one of them"
            )
        transcription = Transcription(model=transcription_deployment)
        values = {
            "name": deployment,
            "options": options_of(options, voice=voice, transcription=transcription),
            "capabilities": capabilities_of(capabilities),
            "url": _url(resource, endpoint),
            "api_key": kept(api_key, "api_key"),
            "token": kept(token, "token"),
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
        """Return how the resource is reached."""
        bearer = self.token is not None
        return Access(
            url=self.url,
            credential=self.token if bearer else self.api_key,
            owner="AzureRealtime",
            name="token" if bearer else "api_key",
            variable="AZURE_OPENAI_API_KEY",
            header="Authorization" if bearer else "api-key",
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

        Azure refuses a wrong key at the upgrade, with HTTP 401, and that is final.
        Where a function gave the key or the token it may have expired on the way: the
        function is asked once more, and another key leads to one more attempt.

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


def _url(resource: str | None, endpoint: str | None) -> str:
    """Return the URL of the realtime endpoint; no error quotes what was given (X1)."""
    if resource is not None and endpoint is not None:
        raise ConfigurationError("both resource and endpoint are given; one says where")
    if resource is not None:
        if not re.fullmatch(r"[A-Za-z0-9-]+", resource):
            raise ConfigurationError(
                "resource is the name of an Azure resource alone, of letters, digits "
                "and hyphens; give an address as endpoint=…"
            )
        return f"wss://{resource}.openai.azure.com/openai/v1/realtime"
    given = (endpoint or os.environ.get("AZURE_OPENAI_ENDPOINT", "")).strip()
    if not given:
        raise ConfigurationError(
            "no Azure resource: give resource=… or endpoint=…, or set "
            "AZURE_OPENAI_ENDPOINT"
        )
    return _from_endpoint(given)


def _from_endpoint(endpoint: str) -> str:
    address, _, query = endpoint.partition("?")
    if any(name.lower() == "api-version" for name, _ in parse_qsl(query)):
        raise ConfigurationError(
            "the endpoint names an api-version, which the v1 surface does not take: "
            "remove it; the dated versions speak an older protocol"
        )
    scheme, _, rest = address.partition("://")
    if scheme.lower() not in _SCHEMES or not rest:
        raise ConfigurationError(
            "the endpoint is no address; write https://<resource>.openai.azure.com"
        )
    if "/deployments/" in rest:
        raise ConfigurationError(
            "the endpoint is one of a deployment; give that of the resource, "
            "https://<resource>.openai.azure.com, and the deployment by its name"
        )
    base = re.sub(r"(/openai(/v1)?)?(/realtime)?/*$", "", rest)
    url = f"{_SCHEMES[scheme.lower()]}://{base}/openai/v1/realtime"
    return f"{url}?{query}" if query else url
