"""A whole session over TLS, and certificates that are not to be trusted."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

from trialogue import (
    AzureRealtime,
    ConfigurationError,
    ConnectRefused,
    OpenAIRealtime,
    open_agent_session,
    open_session,
)
from trialogue.audio import MemoryOutput
from trialogue.testing import RealtimeServer, Say, Settings, Turn
from stage import KELLY, Prompted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "sk-test-key"
AUTHORITY = trustme.CA()


def trusting(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def serving_tls(
    *names: str, client_authority: trustme.CA | None = None, **options: Any
) -> AsyncIterator[RealtimeServer]:
    """A server with a certificate for these names (by default its address)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    if client_authority is not None:
        client_authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    with trio.fail_after(30):
        async with RealtimeServer(**options).serving() as server:
            await server.listen(ssl_context=context)
            yield server


def model_of(
    server: RealtimeServer, context: ssl.SSLContext | None, manner: str = "openai"
) -> OpenAIRealtime | AzureRealtime:
    if manner == "azure":
        endpoint = f"https://127.0.0.1:{server.port}"
        return AzureRealtime(
            "gpt-realtime", endpoint=endpoint, api_key=KEY, ssl_context=context
        )
    return OpenAIRealtime(api_key=KEY, base_url=server.url, ssl_context=context)
