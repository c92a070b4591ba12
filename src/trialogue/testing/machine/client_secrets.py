"""The ephemeral keys that a local server mints (protocol §1.2, §16.68), without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue._codec import dumps, loads
from trialogue.dialects.openai.client_secrets import LONGEST, SHORTEST
from trialogue.dialects.openai.wire import (
    UNSET,
    WireError,
    decode_client_event,
    unstructure,
)
from trialogue.dialects.openai.wire.client_events import SessionUpdate
from trialogue.dialects.openai.wire.session import SessionPatch
from trialogue.testing.machine import configuration
from trialogue.testing.machine.ids import Ids
from trialogue.testing.machine.outputs import Refusal

if TYPE_CHECKING:
    from trialogue.dialects.openai.wire.session import Session
    from trialogue.testing.machine.settings import Settings

__all__ = ["Attached", "ClientSecrets"]

_DEFAULT_SECONDS: Final = 600
_MOST: Final = 10_000


@attrs.frozen
class Attached:
    """What a client secret brings along.

    Attributes:
        model: the one it was minted for, if that was said; nobody asked if it exists.
        patch: of the session as it begins.
        expires: on the server's clock: from then on it opens no session.
    """

    model: str | None
    patch: SessionPatch
    expires: float

    def begin(self, session: Session, settings: Settings) -> Session:
        """Return the session as it begins with these settings.

        Raises:
            Refusal: they are not allowed.
        """
        return configuration.patched(
            session, self.patch, settings, voice_fixed=False, responding=False
        )


class ClientSecrets:
    """The secrets of one server, bounded in number: the oldest go first."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._settings = settings
        self._ids = Ids(f"{seed}/secrets")
        self._minted: dict[str, Attached] = {}

    def __repr__(self) -> str:
        return f"<ClientSecrets {len(self._minted)}>"

    def of(self, key: str | None, now: float) -> Attached | None:
        """Return what comes with a key; None if it is no secret, or no longer one."""
        attached = self._minted.get(key or "")
        return attached if attached is not None and now < attached.expires else None

    def mint(self, body: bytes, now: float) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the JSON that a request is answered with."""
        try:
            seconds, attached, session = self._asked(body, now)
        except (WireError, Refusal) as wrong:
            return 400, refused(wrong.code, wrong.message, wrong.param)
        value = self._ids.new("ek")
        self._minted[value] = attached
        while len(self._minted) > _MOST:
            del self._minted[next(iter(self._minted))]
        shown = unstructure(session)
        return 200, {
            "value": value,
            "expires_at": int(self._settings.wall() + seconds),
            "session": shown,
        }

    def _asked(self, body: bytes, now: float) -> tuple[int, Attached, Session]:
        try:
            asked = loads(body.decode())
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise Refusal("invalid_json", "The body is not a JSON object.")
        _check_keys(asked, ("expires_after", "session"), "")
        seconds = _seconds(asked.get("expires_after", {}))
        # The shapes are those of an update, and so are the complaints.
        given = asked.get("session", {"type": "realtime"})
        event = decode_client_event(dumps({"type": "session.update", "session": given}))
        assert isinstance(event, SessionUpdate)
        model = event.session.model or None
        patch = attrs.evolve(event.session, model=UNSET)
        attached = Attached(model, patch, now + seconds)
        fresh = configuration.initial(
            self._settings,
            session_id=self._ids.new("sess"),
            model=model or "",
            kind=patch.type,
        )
        return seconds, attached, attached.begin(fresh, self._settings)


def _check_keys(asked: dict[str, Any], known: tuple[str, ...], path: str) -> None:
    for key in asked:
        if key not in known:
            place = f"{path}{key}"
            message = f"Unknown parameter: '{place}'."
            raise Refusal("unknown_parameter", message, param=place)


def _seconds(expiry: Any) -> int:
    param = "expires_after.seconds"
    if not isinstance(expiry, dict):
        raise Refusal("invalid_type", "expires_after is no object.", param=param[:13])
    _check_keys(expiry, ("anchor", "seconds"), "expires_after.")
    if expiry.get("anchor", "created_at") != "created_at":
        message = "The only anchor is 'created_at'."
        raise Refusal("invalid_value", message, param="expires_after.anchor")
    seconds = expiry.get("seconds", _DEFAULT_SECONDS)
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise Refusal("invalid_type", f"'{param}' is no integer.", param=param)
    if seconds < SHORTEST:
        message = f"'{param}' must be at least {SHORTEST}."
        raise Refusal("integer_below_min_value", message, param=param)
    if seconds > LONGEST:
        message = f"'{param}' must be at most {LONGEST}."
        raise Refusal("integer_above_max_value", message, param=param)
    return seconds


def refused(code: str | None, message: str, param: str | None = None) -> dict[str, Any]:
    """Return the body of an HTTP refusal."""
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
