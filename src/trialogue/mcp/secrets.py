"""The credentials of a server, revealed for one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.realtime.credentials import Secret, fetched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trialogue.realtime.credentials import Credential

__all__ = ["revealed"]


async def revealed(
    credentials: Mapping[str, Credential], *, within: float
) -> dict[str, str]:
    """Return credentials by name as text; functions are asked.

    Args:
        within: seconds that each function has.

    Raises:
        ConnectionLost: a function failed, or took too long.
        ConfigurationError: a function returned no credential.
    """
    found: dict[str, str] = {}
    for name, credential in credentials.items():
        if isinstance(credential, str):
            found[name] = credential
        elif isinstance(credential, Secret):
            found[name] = credential.reveal()
        else:
            secret = await fetched(credential, name=name, within=within)
            found[name] = secret.reveal()
    return found
