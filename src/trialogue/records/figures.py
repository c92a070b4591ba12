"""Numbers as people read them, and the ones that sum a conversation up."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NOTHING", "clock", "date", "median", "p95", "plural", "span"]


NOTHING: Final = "\N{EN DASH}"
"""Stands where a table has nothing to say."""


def span(seconds: float | None) -> str:
    """How long something took: "610 ms", "1.21 s", "12.3 s", "2 min 5 s"."""
    if seconds is None:
        return NOTHING
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def clock(seconds: float, *, tenths: bool = False) -> str:
    """A moment of the conversation: "0:05", "1:02:03", with tenths "0:05.2"."""
    units = math.floor(seconds * 10 + 0.5) if tenths else math.floor(seconds + 0.5) * 10
    whole, tenth = divmod(units, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{text}.{tenth}" if tenths else text


def date(moment: float) -> str:
    """A moment of the world's: "15 January 2027, 08:00 UTC"."""
    try:
        when = datetime.fromtimestamp(moment, UTC)
    except (OverflowError, OSError, ValueError):
        return "at an unknown time"
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count and what is counted: "1 turn", "2 turns"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def median(values: Iterable[float]) -> float | None:
    """The nearest-rank median: always one of the values; None of none."""
    return _percentile(sorted(values), 0.5)


def p95(values: Iterable[float]) -> float | None:
    """The nearest-rank 95th percentile; None of none."""
    return _percentile(sorted(values), 0.95)


def _percentile(ranked: list[float], part: float) -> float | None:
    return ranked[math.ceil(part * len(ranked)) - 1] if ranked else None
