"""The four-mode table: how long handing over takes, at several distances."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import trio

from trialogue import OpenAIRealtime, open_agent_session
from trialogue.demo.handing_over import TURNS, Before, ten_turns
from trialogue.demo.measuring import Mode, Row, row_of
from trialogue.demo.server_log import read_log
from trialogue.demo.server_process import LOCAL_MODEL
from trialogue.errors import ConfigurationError, TrialogueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from trialogue.agents.events import HandoffTimings

__all__ = [
    "MODES",
    "ROUND_TRIPS_MS",
    "NotMeasured",
    "as_text",
    "heading",
    "measure",
    "title",
    "tool_driven",
    "write_json",
]

MODES: Final = (
    Mode(reuse=True, copy=True),
    Mode(reuse=True, copy=False),
    Mode(reuse=False, copy=True),
    Mode(reuse=False, copy=False),
)
ROUND_TRIPS_MS: Final = (0.0, 60.0, 150.0)
_SECONDS: Final = 60.0


class NotMeasured(TrialogueError):
    """A handoff did not take place, or not within a minute."""


async def measure(
    url: str,
    tell: Callable[[Row], None],
    *,
    round_trips_ms: Iterable[float] = ROUND_TRIPS_MS,
    runs: int = 5,
) -> list[Row]:
    """Measure each mode at each distance.

    Args:
        url: the local server's; nobody else is talking to it.
        tell: is given each row as soon as it is known.
        round_trips_ms: the distances.
        runs: how often each handoff is made; the run with the median `reply_ms` counts.

    Raises:
        NotMeasured: a handoff did not take place.
        TrialogueError: a session failed.
    """
    server = _Server(url)
    # Not counted: the first one of a process imports, compiles and caches.
    await server.hand_over(MODES[0], 0)
    table: list[Row] = []
    for rtt_ms in round_trips_ms:
        for mode in MODES:
            rows = [await server.hand_over(mode, rtt_ms) for _ in range(runs)]
            rows.sort(key=lambda row: row.reply_ms)
            table.append(rows[(len(rows) - 1) // 2])
            tell(table[-1])
    return table


class _Server:
    """The local server, and which of its connections were looked at."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen = 0

    async def hand_over(self, mode: Mode, rtt_ms: float) -> Row:
        """Hand over once, on a session of its own, and return what it came to."""
        timings = await self._handed_over(mode, rtt_ms)
        log = await read_log(self._url)
        own = [entry for entry in log if entry.connection >= self._seen]
        self._seen = 1 + max((entry.connection for entry in log), default=-1)
        return row_of(mode, rtt_ms, own, timings)

    async def _handed_over(self, mode: Mode, rtt_ms: float) -> HandoffTimings:
        model = OpenAIRealtime(
            LOCAL_MODEL,
            api_key="local",
            base_url=f"{self._url}?latency_ms={rtt_ms / 2:g}",
            capabilities={"mutable_instructions": mode.reuse},
        )
        with trio.move_on_after(_SECONDS):
            async with open_agent_session(model, chat_ctx=ten_turns()) as session:
                await session.run(Before("keep" if mode.copy else "fresh"))
                if session.handoffs:
                    return session.handoffs[-1]
        raise NotMeasured(f"no handoff took place: {mode}, {rtt_ms:g} ms")


# --- showing it ----------------------------------------------------------------------

_HEADINGS: Final = (
    ("mode", 11),
    ("rtt", 5),
    ("connect", 7),
    ("handoff", 8),
    ("acked", 7),
    ("reply", 7),
    ("budget", 7),
    ("1st audio", 9),
    ("conns", 5),
    ("msgs", 5),
    ("updates", 7),
    ("acked n/m", 9),
)


def title(runs: int) -> str:
    """Return what stands above the table."""
    how = "one run" if runs == 1 else f"the median of {runs} runs"
    return (
        f"Handing over after {TURNS} turns, by a tool, {how}; in ms. What the columns"
        " mean: --help"
    )


def heading() -> str:
    """Return the table's first line."""
    return _columns(name for name, _ in _HEADINGS)


def as_text(row: Row) -> str:
    """Return a row as a line of the table."""
    cells = (
        row.mode,
        f"{row.rtt_ms:g}",
        f"{row.connect_ms:g}",
        f"{row.handoff_ms:.1f}",
        f"{row.acknowledged_ms:.1f}",
        f"{row.reply_ms:.1f}",
        f"{row.budget_ms:.1f}",
        f"{row.first_audio_ms:.1f}",
        str(row.connections),
        str(row.messages),
        str(row.session_updates),
        row.acknowledged,
    )
    return _columns(cells)


def _columns(cells: Iterable[str]) -> str:
    (_, first), *rest = _HEADINGS
    name, *values = cells
    widths = (width for _, width in rest)
    right = (f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
    return f"{name:<{first}} " + " ".join(right)


def tool_driven(rows: Iterable[Row]) -> list[str]:
    """Say what a whole tool-driven handoff on the same session sent, and how long."""
    return [
        f"{row.rtt_ms:g} ms away: response.done -> {' -> '.join(row.burst)}: "
        f"{row.reply_ms:.1f} ms, {row.reply_ms - row.rtt_ms:.1f} over one round trip"
        for row in rows
        if row.mode == "reuse copy"
    ]


def write_json(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows as `{"rows": [...]}`.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    text = json.dumps({"rows": [row.to_json() for row in rows]}, indent=2)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write the rows to {path}: {error}") from error
