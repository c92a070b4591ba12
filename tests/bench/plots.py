"""The rows as pictures: SVG by hand, a few lines each, legible on light and on dark.

A row is a bar from its median to zero, with a line over its range; the floor is the
thin bar below it, and what the target allows is the mark across both.
"""

from __future__ import annotations

import statistics
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.report import Entry
    from bench.rows import Row

__all__ = ["draw", "picture"]

PICTURES = {
    "handoff": ("Whole handoff, 25 ms away one way", ("modes",)),
    "lengths": ("Handoff by length of the conversation", ("lengths",)),
    "receive": ("CPU per delta of audio", ("receive",)),
    "microphone": ("CPU per frame of the microphone", ("microphone",)),
    "play": ("From the server to the output", ("play",)),
    "hundred": ("A hundred sessions in real time", ("hundred",)),
    "memory": ("Memory", ("memory",)),
}
WIDTH, LEFT, RIGHT = 940, 460, 70
LINE, TOP = 34, 40

# NB: a picture in a page is a document of its own: only the reader's own setting tells
# it whether the page is dark. The colours do on both grounds; the text changes.
STYLE = """\
text{font:13px system-ui,sans-serif;fill:#24292f}
.title{font-weight:600}.faint{fill:#6e7781;font-size:12px}
.ours{fill:#2f81f7}.over{fill:#e5534b}.floor{fill:#8b949e}
.range{stroke:#57606a;stroke-width:1.5}.target{stroke:#bf8700;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}
.range{stroke:#c9d1d9}}"""


def draw(folder: Path, entries: Iterable[Entry]) -> list[Path]:
    """Write one picture for each group and unit that there are rows of."""
    every, drawn = list(entries), []
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, groups) in PICTURES.items():
        rows = [entry for entry in every if entry.group in groups]
        units = dict.fromkeys(entry.row.unit for entry in rows)
        for number, unit in enumerate(units):
            path = folder / f"{name}{f'-{number + 1}' if number else ''}.svg"
            same = [entry for entry in rows if entry.row.unit == unit]
            path.write_text(picture(f"{title}, {unit}", same), encoding="utf-8")
            drawn.append(path)
    return drawn


def picture(title: str, entries: Sequence[Entry]) -> str:
    """Return an SVG document that shows rows of one unit."""
    rows = [entry.row for entry in entries]
    most = max(max(*row.ours, *row.floor, _allowed(row) or 0.0) for row in rows)
    scale = (WIDTH - LEFT - RIGHT) / (most or 1.0)
    height = TOP + LINE * len(rows) + 28
    parts = [_text(8, 22, title, "title")]
    for number, entry in enumerate(entries):
        parts += _bars(entry, TOP + LINE * number, scale)
    key = "blue or red: trialogue, with its range; grey: the floor; mark: the target"
    parts.append(_text(8, height - 10, key, "faint"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(title)}"><style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _allowed(row: Row) -> float | None:
    """What the row may come to, in its unit, with the floor as it was."""
    if row.target is None:
        return None
    floor = statistics.median(row.floor) if row.floor else 0.0
    match row.target.kind:
        case "times":
            return row.target.bound * floor
        case "plus":
            return row.target.bound + floor
    return row.target.bound


def _bars(entry: Entry, top: float, scale: float) -> list[str]:
    row = entry.row
    ours, low, high = statistics.median(row.ours), min(row.ours), max(row.ours)
    kind = "ours" if row.kept else "over"
    middle, end = top + 9, LEFT + scale * max(high, ours)
    parts = [
        _text(8, top + 13, f"{entry.extra}: {row.name}"),
        _bar(LEFT, top + 2, scale * ours, 14, kind),
        f'<path class="range" d="M{LEFT + scale * low:.1f} {middle:g}'
        f'H{LEFT + scale * high:.1f}"/>',
        _text(end + 6, top + 14, f"{ours:.3g}"),
    ]
    if row.floor:
        parts.append(
            _bar(LEFT, top + 18, scale * statistics.median(row.floor), 5, "floor")
        )
    allowed = _allowed(row)
    if allowed is not None:
        at = LEFT + scale * allowed
        parts.append(f'<path class="target" d="M{at:.1f} {top:g}v25"/>')
    return parts


def _bar(x: float, y: float, width: float, height: float, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{max(width, 1):.1f}" '
        f'height="{height:g}"/>'
    )


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.0f}" y="{y:g}">{escape(words)}</text>'
