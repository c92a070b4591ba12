"""How a client that does something else than was recorded is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trialogue._codec import dumps
from trialogue.realtime.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trialogue.testing.machine.matching import Difference

__all__ = ["ReplayMismatch", "mismatch"]

_WIDTH: Final = 300
_MOST_BEFORE: Final = 8


class ReplayMismatch(AssertionError):
    """The client has not done what it did when it was recorded; the text says what.

    Attributes:
        connection: the index of the connection, from 0.
        frame: which of the client's frames on it, counted from 0.
        expected: the frame of the recording; None if it has no more.
        got: the client's frame; None if it sent no more.
        difference: where the two differ, if both are there and of the same type.
    """

    def __init__(
        self,
        message: str,
        *,
        connection: int,
        frame: int,
        expected: Mapping[str, Any] | None,
        got: Mapping[str, Any] | None,
        difference: Difference | None = None,
    ) -> None:
        super().__init__(message)
        self.connection = connection
        self.frame = frame
        self.expected = expected
        self.got = got
        self.difference = difference


def mismatch(
    what: str,
    *,
    connection: int,
    frame: int,
    expected: Mapping[str, Any] | None,
    got: Mapping[str, Any] | None,
    difference: Difference | None,
    before: Sequence[str],
) -> ReplayMismatch:
    """Return the error that shows both, and what the client had sent before."""
    lines = [
        f"{what} (frame {frame} of connection {connection})",
        *([] if difference is None else [f"  {difference}"]),
        f"expected  {_shown(expected)}",
        f"got       {_shown(got)}",
        f"before    {', '.join(before[-_MOST_BEFORE:]) or 'nothing'}",
    ]
    return ReplayMismatch(
        "\n".join(lines),
        connection=connection,
        frame=frame,
        expected=expected,
        got=got,
        difference=difference,
    )


def _shown(event: Mapping[str, Any] | None) -> str:
    if event is None:
        return "nothing more"
    shown = redacted(dumps(event), texts=True)
    return shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 1]}…"
