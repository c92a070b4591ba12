"""OpenAI Realtime as a model."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, final
from urllib.parse import quote

import attrs
import trio

from trialogue.dialects.dialect import Capabilities, Dialect
from trialogue.dialects.openai import OpenAIDialect, check_options
from trialogue.dialects.options import (
    UNCHANGED,
    ServerVAD,
    SessionOptions,
    Transcription,
    Voice,
)
from trialogue.errors import ConfigurationError, ConversionError
from trialogue.realtime.credentials import Secret
from trialogue.realtime.dial import parse_url, tcp_connector
from trialogue.realtime.link import Link, open_link

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["OpenAIRealtime"]

Connect = Callable[[], Awaitable[trio.abc.Stream]]
Drain = Callable[[], Awaitable[None]]

BASE_URL = "wss://api.openai.com/v1/realtime"


def _without_query(url: str) -> str:
    """What of a URL may be shown: its query may hold a key (X1)."""
    path, mark, _ = url.partition("?")
    return repr(f"{path}{mark}…" if mark else path)


@final
@attrs.frozen(init=False)
class OpenAIRealtime:
    """A model of OpenAI's Realtime API (general availability), over a WebSocket.

    It is a value: two equal ones can share a session.

    Attributes:
        name: for example "gpt-realtime".
        options: the session options every conversation begins with; server turn
            detection and transcription are on by default.
        capabilities: what the model can do; override flags that you know better.
    """

    name: str
    options: SessionOptions
    capabilities: Capabilities
    base_url: str = attrs.field(repr=_without_query)
    api_key: Secret | None
    allow_insecure: bool
    connect: Connect | None

    def __init__(
        self,
        name: str = "gpt-realtime",
        *,
        voice: Voice | None = None,
        options: SessionOptions | None = None,
        capabilities: Capabilities | dict[str, bool] | None = None,
        api_key: str | Secret | None = None,
        base_url: str = BASE_URL,
        allow_insecure: bool = False,
        connect: Connect | None = None,
    ) -> None:
        """Describe a model.

        Args:
            name: the model's name at the provider.
            voice: short for `options=SessionOptions(voice=…)`.
            options: further session options; what is not given keeps the default.
            capabilities: a whole value, or only the flags that differ.
            api_key: the key; by default the environment's OPENAI_API_KEY, looked up
                when a connection is made.
            base_url: where the API is, as a `wss://` URL.
            allow_insecure: permit `ws://` to another machine.
            connect: gives the connected stream in place of TCP and TLS (for tests,
                tunnels and proxies).

        Raises:
            ConfigurationError: the URL cannot be used, a capability is unknown, or an
                option is out of the range that OpenAI documents.
        """
        parse_url(base_url, allow_insecure=allow_insecure)
        defaults = SessionOptions(
            output_modalities=("audio",),
            turn_detection=ServerVAD(),
            transcription=Transcription(),
            voice=UNCHANGED if voice is None else voice,
        )
        chosen = defaults.merged(options or SessionOptions())
        try:
            check_options(chosen)
        except ConversionError as error:
            raise ConfigurationError(str(error)) from None
        values = {
            "name": name,
            "options": chosen,
            "capabilities": _capabilities(capabilities),
            "base_url": base_url,
            "api_key": Secret(api_key) if isinstance(api_key, str) else api_key,
            "allow_insecure": allow_insecure,
            "connect": connect,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)  # frozen: once, and here only

    def dialect(self) -> Dialect:
        """Return a fresh translator for one connection."""
        return OpenAIDialect()

    def open_link(
        self,
        *,
        connect_timeout: float,
        close_timeout: float,
        drain: Drain | None = None,
        max_message_size: int = 16 * 2**20,
    ) -> AbstractAsyncContextManager[tuple[Link, trio.Nursery]]:
        """Open a connection up to the point where frames can be exchanged.

        Raises:
            ConfigurationError: there is no key.
        """
        separator = "&" if "?" in self.base_url else "?"
        url = f"{self.base_url}{separator}model={quote(self.name, safe='')}"
        target = parse_url(url, allow_insecure=self.allow_insecure)
        return open_link(
            self.connect or tcp_connector(target),
            host=target.authority,
            resource=target.resource,
            headers=[("Authorization", f"Bearer {self._key().reveal()}")],
            connect_timeout=connect_timeout,
            close_timeout=close_timeout,
            max_message_size=max_message_size,
            drain=drain,
        )

    def _key(self) -> Secret:
        given = self.api_key or Secret(os.environ.get("OPENAI_API_KEY", ""))
        key = given.reveal().strip()  # a key read from a file ends with its line
        if not key:
            msg = "no API key: set OPENAI_API_KEY or give OpenAIRealtime(api_key=…)"
            raise ConfigurationError(msg)
        return Secret(key)


def _capabilities(given: Capabilities | dict[str, bool] | None) -> Capabilities:
    if isinstance(given, Capabilities):
        return given
    changes: dict[str, Any] = dict(given or {})
    unknown = changes.keys() - attrs.fields_dict(Capabilities).keys()
    if unknown:
        known = ", ".join(attrs.fields_dict(Capabilities))
        msg = f"unknown capabilities: {', '.join(sorted(unknown))}; known are {known}"
        raise ConfigurationError(msg)
    return attrs.evolve(Capabilities(), **changes)
