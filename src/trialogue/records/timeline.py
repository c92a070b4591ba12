"""The timeline as SVG: strips of lanes, and the whole conversation at a glance.

What a bar is can be read from the document: `data-lane` on a lane, `data-kind`,
`data-began` and `data-ended` (seconds) on a bar.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from trialogue.records.figures import clock, span
from trialogue.records.markup import Markup, tag
from trialogue.records.strips import Placed, Strip, cut, packed, strips, tick

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trialogue.records.lanes import Bar, Lane

__all__ = ["timeline"]

WIDTH: Final = 920
"""Pixels of a strip; with the names it fits a landscape page."""
NAMES: Final = 104
AXIS: Final = 22
ROW: Final = {"speech": 34, "labelled": 22, "points": 20}
COLOURS: Final = 8
_NAME_LETTERS: Final = 14
_OVERVIEW_ROW: Final = 11


def timeline(
    lanes: Sequence[Lane], total: float, rows: Mapping[str, str]
) -> Iterator[Markup]:
    """Return the timeline of a conversation of `total` seconds.

    Args:
        rows: for the key of a bar, the id of the row that tells of it.
    """
    parts = strips(lanes, total)
    if len(parts) > 1:
        yield _overview(lanes, parts, total)
    at = 0.0
    for strip in parts:
        if strip.began > at:
            yield tag("p", f"{span(strip.began - at)} of silence", class_="pause")
        yield _strip(lanes, strip, rows)
        at = strip.ended


def _strip(lanes: Sequence[Lane], strip: Strip, rows: Mapping[str, str]) -> Markup:
    here = [(lane, packed(lane, strip, WIDTH)) for lane in lanes]
    here = [(lane, placed) for lane, placed in here if _is_shown(lane, placed, strip)]
    tops, y = [], float(AXIS)
    for lane, placed in here:
        tops.append(y)
        used = max((one.row for one in placed), default=0) + 1
        y += ROW[lane.layout] * used + 6
    height = round(y + 2)
    when = f"{clock(strip.began)} to {clock(strip.ended)}"
    names = [
        tag(
            "text",
            tag("title", lane.name),
            cut(lane.name, _NAME_LETTERS),
            x=NAMES - 10,
            y=top + ROW[lane.layout] / 2 + 4,
            text_anchor="end",
            class_=f"name{_colour(lane)}",
        )
        for (lane, _), top in zip(here, tops, strict=True)
    ]
    drawn = [
        tag(
            "g",
            *_lane(lane, placed, top, strip, rows),
            class_=f"lane{_colour(lane)}",
            data_lane=lane.key,
            role="list",
            aria_label=lane.name,
        )
        for (lane, placed), top in zip(here, tops, strict=True)
    ]
    bands = [
        tag("rect", class_="band", x=0, y=top - 3, width=WIDTH, height=below - top)
        for place, (top, below) in enumerate(zip(tops, [*tops[1:], y], strict=True))
        if place % 2 == 0
    ]
    return tag(
        "figure",
        tag(
            "svg",
            *names,
            class_="names",
            width=NAMES,
            height=height,
            aria_hidden="true",
        ),
        tag(
            "div",
            tag(
                "svg",
                *bands,
                *_axis(strip, height),
                *_crossings(here, tops, strip),
                *drawn,
                class_="lanes",
                width=WIDTH,
                height=height,
                role="group",
                aria_label=f"Timeline, {when}",
            ),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label=f"Timeline, {when}",
        ),
        class_="strip",
        id=f"strip-{strip.number}",
    )


def _is_shown(lane: Lane, placed: Sequence[Placed], strip: Strip) -> bool:
    """A connection that merely goes on is not worth a line in each strip."""
    if lane.key == "connections":
        return any(one.ends or one.bar.began >= strip.began for one in placed)
    return bool(placed) or lane.key == "user"


def _axis(strip: Strip, height: int) -> Iterator[Markup]:
    length = strip.ended - strip.began
    step = tick(length)
    for number in range(round(length / step) + 1):
        x = _px(number * step * WIDTH / length)
        yield tag("line", class_="grid", x1=x, x2=x, y1=AXIS - 4, y2=height)
        if number * step < length:
            moment = clock(strip.began + number * step)
            yield tag("text", moment, class_="tick", x=x + 3, y=12)


def _lane(
    lane: Lane,
    placed: Sequence[Placed],
    top: float,
    strip: Strip,
    rows: Mapping[str, str],
) -> Iterator[Markup]:
    for each in placed:
        bar = each.bar
        shapes = list(_shapes(each, top + ROW[lane.layout] * each.row))
        target = rows.get(bar.key or "")
        if target is not None:
            shapes = [tag("a", *shapes, href=f"#{target}")]
        yield tag(
            "g",
            tag("title", bar.title),
            *shapes,
            class_=f"{bar.kind} {bar.look}".strip(),
            role="listitem",
            data_kind=bar.kind,
            data_began=f"{bar.began:.10g}",
            data_ended=f"{bar.ended:.10g}",
        )


def _shapes(placed: Placed, y: float) -> Iterator[Markup]:
    bar, x, width = placed.bar, placed.x, placed.width
    end = x + width
    match bar.kind:
        case "note":
            yield _mark(bar, x, y)
        case "current":
            yield _rect(x, y + 1, width, 26)
        case "voice" | "speech":
            yield _rect(x, y + 4, width, 20)
        case "reply":
            yield _bracket(x, y + 9, width)
        case "connection":
            yield _rect(x, y + 2, width, 5)
        case _:
            yield _rect(x, y + 4, max(width, 3), 11)
    if bar.look == "cut" and placed.ends:
        yield _cross(end, y + 14)
    elif bar.look == "lost" and placed.ends:
        yield _cross(end, y + 4.5)
    if placed.label:
        yield _label(placed, y)


def _label(placed: Placed, y: float) -> Markup:
    inside = placed.bar.kind in ("voice", "speech")
    under = placed.bar.kind == "connection"
    return tag(
        "text",
        placed.label,
        x=_px(placed.label_x),
        y=y + (18 if inside or under else 13),
        class_="inside" if inside else "label",
        text_anchor="end" if placed.before else None,
    )


def _rect(x: float, y: float, width: float, height: float) -> Markup:
    wide = max(width, 1.5)
    radius = min(4.0, wide / 2, height / 2)
    return tag(
        "rect", x=_px(x), y=_px(y), width=_px(wide), height=height, rx=_px(radius)
    )


def _bracket(x: float, y: float, width: float) -> Markup:
    left, right = _px(x), _px(x + max(width, 1.5))
    return tag("path", d=f"M{left} {y - 5}v10M{left} {y}H{right}M{right} {y - 5}v10")


def _cross(x: float, y: float) -> Markup:
    at = f"M{_px(x - 4)} {_px(y - 4)}l8 8m0 -8l-8 8"
    return tag("path", d=at, class_="cross")


def _mark(bar: Bar, x: float, y: float) -> Markup:
    """A triangle for what went wrong, a dot for what merely happened."""
    if bar.look == "info":
        return tag("circle", cx=_px(x), cy=y + 9, r=4)
    return tag("path", d=f"M{_px(x)} {y + 3}l6 11h-12z")


def _crossings(
    here: Sequence[tuple[Lane, Sequence[Placed]]], tops: Sequence[float], strip: Strip
) -> Iterator[Markup]:
    """From one agent to the next, where the first ends as the other begins."""
    found = [
        (each, top + 14)
        for (_, placed), top in zip(here, tops, strict=True)
        for each in placed
        if each.bar.kind == "current"
    ]
    found.sort(key=lambda pair: pair[0].bar.began)
    for (one, above), (two, below) in itertools.pairwise(found):
        touches = abs(one.bar.ended - two.bar.began) < 0.001
        if touches and above != below and two.bar.began >= strip.began:
            x, step = _px(two.x), 4 if below > above else -4
            path = f"M{x} {above}V{below}m-4 {-2 * step}l4 {2 * step}l4 {-2 * step}"
            yield tag("path", d=path, class_="crossing")


# --- the whole at a glance -----------------------------------------------------------


def _overview(lanes: Sequence[Lane], parts: Sequence[Strip], total: float) -> Markup:
    scale = WIDTH / max(total, 1.0)
    shown = [lane for lane in lanes if lane.key != "reply"]
    height = len(shown) * _OVERVIEW_ROW + 4
    drawn = []
    for place, lane in enumerate(shown):
        y = place * _OVERVIEW_ROW + 3
        for kind in dict.fromkeys(f"{bar.kind} {bar.look}" for bar in lane.bars):
            bars = [bar for bar in lane.bars if f"{bar.kind} {bar.look}" == kind]
            tall = 3 if kind.startswith(("current", "connection")) else 8
            path = "".join(_piece(bar, scale, y + (8 - tall) / 2, tall) for bar in bars)
            drawn.append(tag("path", d=path, class_=f"{kind}{_colour(lane)}".strip()))
    doors = [
        tag(
            "a",
            tag("title", f"{clock(strip.began)} to {clock(strip.ended)}"),
            tag(
                "rect",
                class_="door",
                x=_px(strip.began * scale),
                y=0,
                width=_px((strip.ended - strip.began) * scale),
                height=height,
            ),
            href=f"#strip-{strip.number}",
        )
        for strip in parts
    ]
    return tag(
        "figure",
        tag(
            "svg",
            *drawn,
            *doors,
            viewBox=f"0 0 {WIDTH} {height}",
            class_="overview",
            role="group",
            aria_label="The whole conversation; each part is a link to its strip",
        ),
        tag(
            "figcaption",
            f"The whole conversation, {span(total)}. ",
            tag("span", "Choose a part.", class_="screen"),
        ),
    )


def _piece(bar: Bar, scale: float, y: float, tall: float) -> str:
    wide = max(1.0, (bar.ended - bar.began) * scale)
    return f"M{_px(bar.began * scale)} {y:g}h{_px(wide)}v{tall}h-{_px(wide)}z"


def _colour(lane: Lane) -> str:
    return "" if lane.colour is None else f" a{lane.colour % COLOURS}"


def _px(value: float) -> float:
    """Pixels to a tenth: more is not seen, and makes a page longer."""
    return round(value, 1)
