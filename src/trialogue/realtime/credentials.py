"""A key that does not show itself, and where it comes from.

A key may be known when the program starts, or be fetched for each connection: tokens of
an identity provider, and secrets minted for one client, expire long before a session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeAlias

import attrs
import trio

from trialogue.errors import ConfigurationError, ConnectionLost, TrialogueError

__all__ = ["Credential", "KeySource", "Secret", "fetched", "kept", "shown"]


@attrs.frozen(repr=False)
class Secret:
    """A credential; repr and text hide it (X1). `reveal` is for the header alone."""

    _value: str

    def __repr__(self) -> str:
        return "Secret(...)"

    def reveal(self) -> str:
        """Return the credential itself."""
        return self._value


KeySource: TypeAlias = Callable[[], str | Secret | Awaitable[str | Secret]]
"""A function, usually async, that is asked for the key whenever one is needed."""

Credential: TypeAlias = str | Secret | KeySource
"""What a program may give as a key or token."""


def kept(given: Credential | None, name: str) -> Secret | KeySource | None:
    """Return a credential in the form in which it may be kept.

    Args:
        given: what the program gave.
        name: of the argument, for the error.

    Raises:
        ConfigurationError: it is neither text, nor a Secret, nor a function.
    """
    if isinstance(given, str):
        return Secret(given)
    if given is None or isinstance(given, Secret) or callable(given):
        return given
    raise ConfigurationError(
        f"{name} is of type {type(given).__name__}; give a str, a Secret, or a "
        "function (it may be async) that returns one"
    )


def shown(credential: Secret | KeySource | None) -> str:
    """What of a credential may be shown: a function's repr can hold a key as well."""
    if credential is None or isinstance(credential, Secret):
        return repr(credential)
    return "<fetched for each connection>"


async def fetched(source: KeySource, *, name: str, within: float) -> Secret:
    """Ask a function for the key.

    Cancelled, or late, the function is cancelled and nothing is kept.

    Args:
        source: the function. A plain one must not block.
        name: what the program calls it, for the errors.
        within: seconds.

    Raises:
        TrialogueError: the function raised it; as it is.
        ConnectionLost: the function took too long, or raised something else (which is
            the cause): asking again may help.
        ConfigurationError: it returned something that is no key.
    """
    value: object = None
    try:
        with trio.move_on_after(within) as patience:
            value = source()
            if isawaitable(value):
                value = await value
    except TrialogueError:
        raise
    except Exception as error:
        raise ConnectionLost(
            f"the function given as {name} raised {type(error).__name__} instead of "
            "returning a key"
        ) from error
    if patience.cancelled_caught:
        raise ConnectionLost(
            f"the function given as {name} returned no key within {within:g} s"
        )
    if not isinstance(value, str | Secret):
        raise ConfigurationError(
            f"the function given as {name} returned a {type(value).__name__}; it has "
            "to return a str or a Secret"
        )
    return Secret(value) if isinstance(value, str) else value
