"""Ephemeral client secrets, without I/O: the request's body and the answer (§1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue._codec import dumps, loads
from trialogue._redaction import without_keys
from trialogue.dialects.openai._configuration import patch
from trialogue.dialects.openai._ranges import check_options
from trialogue.dialects.openai.wire import unstructure
from trialogue.errors import ConfigurationError, ProtocolError

if TYPE_CHECKING:
    from trialogue.dialects.commands import UpdateSession

__all__ = ["LONGEST", "SHORTEST", "Minted", "problem_of", "read", "request"]

SHORTEST: Final = 10
"""Seconds that a secret lives at least."""
LONGEST: Final = 7200
"""Seconds that a secret lives at most."""


@attrs.frozen
class Minted:
    """What the provider answered.

    Attributes:
        value: the secret.
        expires_at: seconds since 1970.
        session: the session as it will begin.
    """

    value: str = attrs.field(repr=False)
    expires_at: float
    session: Mapping[str, Any] = attrs.field(repr=False)


def request(model: str, command: UpdateSession, seconds: int) -> bytes:
    """Return the body that asks for a secret with these settings attached.

    Raises:
        ConfigurationError: the provider grants no secret for so long or so short.
        ConversionError: an option is out of the range that the provider documents.
    """
    check_options(command.options)
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not whole or not SHORTEST <= seconds <= LONGEST:
        raise ConfigurationError(
            f"a client secret lives {SHORTEST} to {LONGEST} seconds, in whole ones; "
            f"expires_after is {seconds!r}"
        )
    session = {**unstructure(patch(command)), "model": model}
    expiry = {"anchor": "created_at", "seconds": seconds}
    return dumps({"expires_after": expiry, "session": session}).encode()


def read(body: bytes) -> Minted:
    """Return what an answer holds.

    Raises:
        ProtocolError: it is no client secret. Nothing of it is quoted.
    """
    answer = _object(body)
    value, expires_at = answer.get("value"), answer.get("expires_at")
    session = answer.get("session", {})
    if not isinstance(value, str) or not value:
        raise ProtocolError("the answer holds no client secret", detail="value")
    if not isinstance(expires_at, int | float):
        raise ProtocolError("the answer says no expiry", detail="expires_at")
    if not isinstance(session, dict):
        raise ProtocolError("the answer's session is no object", detail="session")
    # NB: the session may hold the secret once more, in plain text.
    shown = {key: item for key, item in session.items() if key != "client_secret"}
    return Minted(value, expires_at, shown)


def problem_of(body: bytes) -> tuple[str | None, str | None]:
    """Return code and message of a refusal, as far as it says them; without keys."""
    try:
        error = _object(body).get("error")
    except ProtocolError:
        return None, None
    if not isinstance(error, dict):
        return None, None
    code, message = error.get("code"), error.get("message")
    return (
        code if isinstance(code, str) else None,
        without_keys(message) if isinstance(message, str) else None,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ProtocolError("the answer is not a JSON object")
    return answer
