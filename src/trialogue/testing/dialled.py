"""What a request asks of the local server (protocol §1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

import attrs

from trialogue.testing.faults import Fault, lose, swallow
from trialogue.testing.network import Network

if TYPE_CHECKING:
    from wsproto.events import Request

    from trialogue.testing.machine.settings import Dialect

__all__ = ["SURFACES", "Dialled"]

_OPENAI: Final = "/v1/realtime"
_AZURE_V1: Final = "/openai/v1/realtime"
_AZURE_DATED: Final = "/openai/realtime"
_AZURE: Final = (_AZURE_V1, _AZURE_DATED)
_KEY_PROTOCOLS: Final = ("openai-insecure-api-key.", "xai-client-secret.")
_BETA: Final = "realtime=v1"
_BETA_PROTOCOL: Final = "openai-beta.realtime-v1"

SURFACES: Final[Mapping[Dialect, Mapping[str, Dialect]]] = {
    "openai": {_OPENAI: "openai", _AZURE_V1: "azure", _AZURE_DATED: "beta"},
    "azure": {_AZURE_V1: "azure", _AZURE_DATED: "beta"},
    "beta": {_OPENAI: "beta", _AZURE_DATED: "beta"},
    "xai": {_OPENAI: "xai"},
}
"""For each dialect of a server its paths, the usual one first, and what they speak."""


@attrs.frozen
class Dialled:
    """One request, for an upgrade or not, read.

    Attributes:
        path: the path.
        query: the query's parameters, the last of each name.
        headers: with names in lower case; `authorization` and `api-key` are not shown.
        subprotocols: those on offer.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = attrs.field(repr=False)
    subprotocols: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def of(cls, request: Request) -> Dialled:
        """Read an upgrade request."""
        return cls.read(request.target, request.extra_headers, request.subprotocols)

    @classmethod
    def read(
        cls,
        target: str,
        headers: Iterable[tuple[bytes, bytes]],
        subprotocols: Iterable[str] = (),
    ) -> Dialled:
        """Read a request by its parts."""
        parts = urlsplit(target)
        named = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in headers
        }
        query = dict(parse_qsl(parts.query))
        return cls(parts.path, query, named, tuple(subprotocols))

    @property
    def model(self) -> str | None:
        """The model, or on Azure's old surface the deployment."""
        return self.query.get("model") or self.query.get("deployment")

    def speaks(self, dialect: Dialect) -> Dialect | None:
        """Return what a server of that dialect speaks at the path; None for nothing."""
        return SURFACES[dialect].get(self.path)

    @property
    def key(self) -> str | None:
        """The API key, by header or by subprotocol (§1.2), or None."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return token
        for name in self.subprotocols:
            if name.startswith(_KEY_PROTOCOLS):
                return name.partition(".")[2]
        return self.headers.get("api-key") or self.query.get("api-key")

    def azure_refusal(self, *, key_is_good: bool, model_exists: bool) -> int | None:
        """Return the HTTP status with which Azure answers, or None (§14).

        It judges before the upgrade: the key (401), a version on the surface that has
        none (400), the deployment (404).
        """
        if self.path not in _AZURE:
            return None
        if not key_is_good:
            return 401
        if self.path == _AZURE_V1 and "api-version" in self.query:
            return 400
        return None if model_exists else 404

    @property
    def beta(self) -> bool:
        """Whether the client asks for the beta's shape, by header or subprotocol."""
        asked = self.headers.get("openai-beta", "").split(",")
        return (
            _BETA in (one.strip() for one in asked)
            or _BETA_PROTOCOL in self.subprotocols
        )

    @property
    def intent(self) -> str | None:
        """What the connection is for, if not for a conversation."""
        return self.query.get("intent")

    @property
    def call_id(self) -> str | None:
        """The call to join, or None."""
        return self.query.get("call_id")

    @property
    def needs_model(self) -> bool:
        """Whether the connection has to name a model (§1.1)."""
        return self.intent != "transcription" and self.call_id is None

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol to accept, or None."""
        return "realtime" if "realtime" in self.subprotocols else None

    def network(self, default: Network) -> Network:
        """Return the distance that `latency_ms` (one way) and `round_trips` ask for.

        Raises:
            ValueError: they are no such numbers.
        """
        one_way = float(self.query.get("latency_ms", default.one_way * 1000)) / 1000
        trips = float(self.query.get("round_trips", default.connect_round_trips))
        return Network(one_way, trips)

    def faults(self, connection: int) -> list[Fault]:
        """Return the faults that `swallow` and `lose`, lists of types, ask for."""
        return [
            make(kind, connection=connection)
            for name, make in (("swallow", swallow), ("lose", lose))
            for kind in self.query.get(name, "").split(",")
            if kind
        ]
