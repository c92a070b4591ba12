"""What the machine says of a process, and a picture of it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Sample", "chart", "cpu_of", "sample", "slope"]


@attrs.frozen
class Sample:
    """One look at both processes.

    Attributes:
        at: seconds since the beginning.
        phase: what was going on: "warm-up", "rest", "soak" or "end".
        rss: of the client and of the server, in MB.
        descriptors: open files and sockets of both.
        sessions: how many were open.
        late: since the sample before, for how much of the time the client and the
            server were late, in per cent.
    """

    at: float
    phase: str
    rss: tuple[float, float]
    descriptors: tuple[int, int]
    sessions: int
    handoffs: int
    drops: int
    late: tuple[float, float] = (0.0, 0.0)


def sample(process: int) -> tuple[float, int]:
    """Return the memory of a process in MB, and how many descriptors it has open.

    Raises:
        OSError: nobody says; there is no /proc on other systems than Linux.
    """
    folder = Path("/proc", str(process))
    pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(folder / "fd"))


def cpu_of(process: int) -> float:
    """Return the seconds of CPU that a process has used."""
    text = Path("/proc", str(process), "stat").read_text(encoding="ascii")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def slope(samples: Sequence[Sample]) -> float:
    """Return by how many MB the client grows in ten minutes: least squares."""
    if len(samples) < 2:
        return 0.0
    count = len(samples)
    mean_at = sum(one.at for one in samples) / count
    mean_mb = sum(one.rss[0] for one in samples) / count
    over = sum((one.at - mean_at) * (one.rss[0] - mean_mb) for one in samples)
    under = sum((one.at - mean_at) ** 2 for one in samples)
    return 600 * over / under if under else 0.0


# --- a picture ------------------------------------------------------------------------

WIDTH: Final = 720
HEIGHT: Final = 150
LEFT: Final = 60
COLOURS: Final = ("#2a78c8", "#c8641e")
STYLE: Final = (
    "text{font:12px sans-serif;fill:#777}"
    "path{fill:none;stroke-width:1.5}line{stroke:#888;stroke-opacity:.35}"
)


def chart(samples: Sequence[Sample]) -> str:
    """Return an SVG of memory, descriptors and lateness over the minutes."""
    rows: list[tuple[str, Sequence[tuple[float, float]]]] = [
        ("RSS, MB", [one.rss for one in samples]),
        ("descriptors", [one.descriptors for one in samples]),
        ("late, % of the time", [one.late for one in samples]),
    ]
    end = max((one.at for one in samples), default=0.0) or 1.0
    times = [one.at for one in samples]
    height = len(rows) * (HEIGHT + 40) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">'
        f"<style>{STYLE}</style>"
    ]
    for number, (title, pairs) in enumerate(rows):
        parts += _row(number * (HEIGHT + 40) + 24, title, times, end, pairs)
    legend = f'<text x="{LEFT}" y="{height - 8}">0 to {end / 60:.1f} minutes; '
    named = zip(("client", "server"), COLOURS, strict=True)
    legend += " ".join(f'<tspan style="fill:{c}">{name}</tspan>' for name, c in named)
    return "\n".join([*parts, f"{legend}</text>", "</svg>", ""])


def _row(
    top: float,
    title: str,
    times: Sequence[float],
    end: float,
    pairs: Sequence[tuple[float, float]],
) -> list[str]:
    most = max((max(pair) for pair in pairs), default=1.0)
    most = math.ceil(most / 10) * 10 or 10
    parts = [f'<text x="{LEFT}" y="{top - 8}">{title}</text>']
    for part in (0.0, 0.5, 1.0):
        y = top + HEIGHT * (1 - part)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:g}" y2="{y:g}"/>')
        label = f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">'
        parts.append(f"{label}{most * part:g}</text>")
    for which, colour in enumerate(COLOURS):
        points = [
            f"{LEFT + (WIDTH - LEFT) * at / end:.1f},"
            f"{top + HEIGHT * (1 - pair[which] / most):.1f}"
            for at, pair in zip(times, pairs, strict=True)
        ]
        parts.append(f'<path stroke="{colour}" d="M{"L".join(points)}"/>')
    return parts
