"""Ephemeral keys: a server with the real key mints one, a client connects with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from trialogue.dialects.commands import UpdateSession
from trialogue.dialects.openai import client_secrets as wire
from trialogue.dialects.options import UNCHANGED
from trialogue.errors import ServerError
from trialogue.realtime.credentials import Secret
from trialogue.realtime.http_post import Answer, post
from trialogue.realtime.upgrade import refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.dialects.options import SessionOptions, Unchanged
    from trialogue.realtime.access import Headers
    from trialogue.realtime.azure import AzureRealtime
    from trialogue.realtime.openai import OpenAIRealtime
    from trialogue.tools.spec import ToolSpec

__all__ = ["ClientSecret", "create_client_secret"]

_EXPLAINED = frozenset({400, 409, 413, 422})
"""Statuses whose body says what is wrong with the request."""


@attrs.frozen
class ClientSecret:
    """A key that soon expires, for one client.

    It opens any number of sessions until it expires; expiry ends none of them.

    Attributes:
        value: the key; give it as `api_key` (or as Azure's `token`). Its text, for the
            client that it is meant for, is `value.reveal()`.
        expires_at: seconds since 1970, by the provider's clock.
        session: the session as the provider will begin it, in the provider's shape.
    """

    value: Secret
    expires_at: float
    session: Mapping[str, Any] = attrs.field(repr=False)


async def create_client_secret(
    model: OpenAIRealtime | AzureRealtime,
    *,
    expires_after: int = 600,
    instructions: str | Unchanged = UNCHANGED,
    tools: Sequence[ToolSpec] | Unchanged = UNCHANGED,
    options: SessionOptions | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - for the key, the dial and the answer
) -> ClientSecret:
    """Mint an ephemeral key, with session settings attached to it.

    A session opened with it begins with the settings, and its client may change them.
    The provider does not check here that the model exists: that shows when a session is
    opened. Cancelling closes the connection; a key may have been minted.

    Args:
        model: where to ask, with which key, and for which model; its options are
            attached too.
        expires_after: seconds for which it opens sessions, 10 to 7200.
        instructions: for the session to begin with.
        tools: for the session to begin with.
        options: over the model's.
        timeout: seconds for everything.

    Raises:
        ConfigurationError: `expires_after` is out of range, or there is no key; nothing
            was sent.
        ConversionError: an option is out of its range; nothing was sent.
        ConnectRefused: the key was refused (`status` 401, 403), or the URL is wrong
            (404).
        ConnectionLost: it could not be reached in time, or is overloaded (408, 425,
            429, 5xx); trying again may help.
        ServerError: it refuses the settings; `code` is the provider's.
        ProtocolError: the answer is no client secret.
    """
    settings = UpdateSession(
        instructions=instructions,
        tools=UNCHANGED if tools is UNCHANGED else tuple(tools),
        options=model.options if options is None else model.options.merged(options),
    )
    body = wire.request(model.name, settings, expires_after)
    access = model.access()
    target = access.target(below="/client_secrets")

    async def attempt(headers: Headers, seconds: float) -> Answer:
        connect = access.connector(target)
        answer = await post(connect, target, headers=headers, body=body, within=seconds)
        if _is_success(answer):
            return answer
        if answer.status not in _EXPLAINED:
            raise refusal(target.authority, answer.status, garbled=False)
        _, value = headers[0]
        key = value.removeprefix("Bearer ").encode("latin-1")
        # What it says will be shown, and may quote the key (X1).
        return attrs.evolve(answer, body=answer.body.replace(key, b"[key]"))

    answer = await access.authorized(attempt, timeout=timeout)
    if not _is_success(answer):
        raise _refused(target.authority, answer)
    minted = wire.read(answer.body)
    return ClientSecret(Secret(minted.value), minted.expires_at, minted.session)


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _refused(host: str, answer: Answer) -> ServerError:
    code, message = wire.problem_of(answer.body)
    said = f": {message}" if message else "; check the settings and the URL"
    return ServerError(
        f"{host} answered HTTP {answer.status}{said}", code=code, recoverable=False
    )
