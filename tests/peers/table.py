"""The comparison as Markdown, and where it is kept: between marks in two pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from peers.cast import MODES
from peers.contestants import CONTESTANTS, FLOOR
from peers.samples import needed, used_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peers.samples import Samples, Spread

__all__ = ["BEGIN", "END", "replaced", "written"]

BEGIN: Final = "<!-- bench-peers: begin -->"
END: Final = "<!-- bench-peers: end -->"
REFUSED: Final = {
    (True, True): "words under its own prompt",
    (True, False): "words under the old prompt",
    (False, True): "nothing",
    (False, False): "nothing",
}
"""What is heard after an update that was refused: by whether something is, and under
which instructions it was made."""


def written(samples: Samples) -> str:
    """Return both tables, and under which conditions they came about."""
    handing = [
        ["", *MODES, "the reply is asked for", "the update refused: heard is"],
        *([one.name, *_handing(samples, one.name)] for one in CONTESTANTS),
    ]
    count = samples.conditions.get("sessions", 0)
    sound = [
        [
            *("", "20 ms received", "100 ms received", "20 ms sent"),
            *(f"{count} sessions, CPU", "99 of 100 within, ms"),
            *("RSS of one, MB", "each further, kB"),
        ],
        *([one.name, *_sound(samples, one.name)] for one in CONTESTANTS),
    ]
    return "\n\n".join(
        [
            "A whole handoff, in round trips:",
            _markdown(handing),
            "Sound, in CPU as a multiple of the floor's, and memory:",
            _markdown(sound),
            _conditions(samples),
        ]
    )


def _handing(samples: Samples, who: str) -> list[str]:
    acknowledged = samples.facts(who, "handoff", "acknowledged")
    asked = {True: "after the acknowledgement", False: "with the update"}
    when = " or ".join(asked[one] for one in acknowledged) or "n/a"
    outcomes = samples.facts(who, "refused", "outcome")
    words = [REFUSED[heard, right] for heard, right in outcomes] or ["n/a"]
    modes = (_trips(samples, who, mode) for mode in MODES)
    return [*modes, when, " or ".join(words)]


def _trips(samples: Samples, who: str, mode: str) -> str:
    spread = samples.handoff(who, mode)
    if spread is None and samples.of(who, "handoff"):
        return "n/a (1)"
    return _shown(spread, 2)


def _sound(samples: Samples, who: str) -> list[str]:
    def cell(row: str, name: str, digits: int, scale: float) -> str:
        spread = samples.spread(who, row, lambda one: scale * float(one[name]))
        return _shown(spread, digits)

    ratios = [
        samples.ratio(who, "sound", lambda one, at=at: float(one["costs"][at]))  # type: ignore[misc]
        for at in (0, 1)
    ]
    frame = _shown(samples.ratio(who, "sound", lambda one: float(one["frame"])), 2)
    if any(one["appends"] < 0.9 * one["frames"] for one in samples.of(who, "sound")):
        frame += " (3)"
    cpu = _shown(samples.ratio(who, "crowd", needed), 2)
    if any(map(used_up, samples.of(who, "crowd"))):
        cpu += " (2)"
    return [
        *(_shown(ratio, 2) for ratio in ratios),
        frame,
        cpu,
        cell("crowd", "p99", 1, 1e3),
        cell("crowd", "alone", 0, 1e-6),
        cell("crowd", "each", 0, 1e-3),
    ]


def _shown(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "n/a"
    least, most = (f"{value:.{digits}f}" for value in (spread.least, spread.most))
    return f"{spread.median:.{digits}f} ({least} to {most})"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rows = lines
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def _conditions(samples: Samples) -> str:
    said = samples.conditions
    floor = {
        "20 ms": ("sound", lambda one: 1e6 * one["costs"][0], "µs"),
        "100 ms": ("sound", lambda one: 1e6 * one["costs"][1], "µs"),
        "20 ms sent": ("sound", lambda one: 1e6 * one["frame"], "µs"),
        "the sessions": ("crowd", lambda one: 100 * one["cpu"], "% of a core"),
    }
    figures = []
    for name, (row, value, unit) in floor.items():
        spread = samples.spread(FLOOR, row, value)
        if spread is not None:
            figures.append(f"{name} {spread.median:.1f} {unit}")
    versions = "; ".join(
        f"{who}: {_named(samples.about[who])}"
        for who in (one.name for one in CONTESTANTS)
        if who in samples.about
    )
    handoff, sound, crowd = (
        len(samples.of(FLOOR, row)) for row in ("handoff", "sound", "crowd")
    )
    count = said.get("sessions", 0)
    lines = [
        f"{said.get('date', '')}, {said.get('machine', '')}. Medians, with the least"
        f" and the most; rounds: {handoff} of handoffs, {sound} of sound, {crowd} of"
        f" {count} sessions.",
        f"The floor: {', '.join(figures)}.",
        f"Versions: {versions}.",
        "(1) Its API has no such mode. (2) At least: one core was used"
        " up."
        " (3) It sent several frames together.",
    ]
    return "\n".join(lines)


def _named(versions: dict[str, str]) -> str:
    shown = (
        f"on the engine {value}" if name == "engine" else f"{name} {value}"
        for name, value in versions.items()
    )
    return ", ".join(shown)


def replaced(page: str, table: str) -> str:
    """Return a page with the table between the marks.

    Raises:
        ValueError: the page has no such marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"
