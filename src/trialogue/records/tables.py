"""The figures of a report, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.records.figures import NOTHING, clock, plural, span
from trialogue.records.markup import Markup, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trialogue.dialects.events import Usage
    from trialogue.realtime.metrics import Durations
    from trialogue.records.entries import HandoffRecord
    from trialogue.records.report import Report

__all__ = ["tables"]

_MODALITIES = (
    ("Input, text", "input_text_tokens"),
    ("Input, audio", "input_audio_tokens"),
    ("Input, pictures", "input_image_tokens"),
    ("of the input, cached", "cached_tokens"),
    ("Output, text", "output_text_tokens"),
    ("Output, audio", "output_audio_tokens"),
)


def tables(report: Report) -> Iterator[Markup]:
    """Every table that has something in it."""
    yield tag("h2", "Usage", id="usage")
    yield _usage(report)
    yield tag("h2", "Figures", id="figures")
    yield _durations(report)
    yield from _folded(report)


def _usage(report: Report) -> Markup:
    spent = report.usage_by_agent()
    names = [name for name in spent if name is not None]
    if None in spent:
        names.append("nobody")
    columns = [*(spent.get(None if n == "nobody" else n) for n in names), report.usage]

    def line(name: str, field: str, cell: str = "td") -> Markup:
        values = ("" if u is None else f"{_tokens(u, field):,}" for u in columns)
        return tag(
            "tr",
            tag("th", name, scope="row"),
            *(tag(cell, value, class_="number") for value in values),
        )

    rows = [line(n, f) for n, f in _MODALITIES if any(_tokens(u, f) for u in columns)]
    words = report.metrics.transcription
    caption = "Tokens of all responses, those that were cut short included."
    if words.turns:
        caption += f" Transcribing {plural(words.turns, 'turn')} of the user's cost "
        caption += (
            f"{words.input_tokens + words.output_tokens:,} tokens more."
            if words.input_tokens or words.output_tokens
            else f"{words.seconds:g} s of audio more."
        )
    return _table(
        caption,
        ["", *names, "All"],
        rows,
        foot=line("Together", "", "td"),
        numbers=True,
    )


def _tokens(usage: Usage | None, field: str) -> int:
    if usage is None:
        return 0
    if not field:
        return usage.input_tokens + usage.output_tokens
    value: int = getattr(usage, field)
    return value


def _durations(report: Report) -> Markup:
    metrics = report.metrics
    named: list[tuple[str, Durations]] = [
        ("End of the turn to first audio, received", metrics.turn_to_audio),
        ("Request to first audio, received", metrics.first_audio),
        ("Dialling", metrics.connect),
        *(
            (f"Answer to {kind}", taken)
            for kind, taken in sorted(metrics.requests.items())
        ),
    ]
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", f"{taken.count:,}", class_="number"),
            *(
                tag("td", span(value), class_="number")
                for value in (taken.p50, taken.p95, taken.mean)
            ),
        )
        for name, taken in named
        if taken.count
    ]
    caption = (
        f"{metrics.messages:,} messages with {metrics.bytes:,} bytes were sent, audio "
        f"aside; {metrics.dropped_audio:.1f} s of the microphone were dropped."
    )
    heads = ["", "Count", "Median", "95 %", "Mean"]
    return _table(caption, heads, rows, numbers=True)


def _folded(report: Report) -> Iterator[Markup]:
    for name, heads, rows in (
        _turns(report),
        _handoffs(report),
        _tools(report),
        _connections(report),
        _replies(report),
    ):
        if rows:
            table = _table("", heads, rows)
            yield tag("details", tag("summary", f"{name} ({len(rows):,})"), table)


def _turns(report: Report) -> tuple[str, list[str], list[Markup]]:
    heads = ["Began", "Lasted", "Transcribed after", "Answered after", "By"]
    rows = [
        _line(
            clock(turn.began, tenths=True),
            _between(turn.began, turn.ended),
            _between(turn.ended, turn.transcribed),
            span(turn.reply_seconds),
            turn.answered_by or NOTHING,
        )
        for turn in report.turns
    ]
    return "Turns", heads, rows


def _handoffs(report: Report) -> tuple[str, list[str], list[Markup]]:
    heads = ["Decided", "From", "To", "Over", "Agreed after", "First words", "Sent"]
    rows = [
        _line(
            clock(each.committed, tenths=True),
            each.previous or NOTHING,
            each.next,
            _prose(each.failed or _way(each)),
            _between(each.committed, each.acknowledged),
            _between(each.committed, each.first_audio),
            f"{plural(each.messages, 'message')}, {each.bytes:,} bytes",
        )
        for each in report.handoffs
    ]
    return "Handoffs", heads, rows


def _way(handoff: HandoffRecord) -> str:
    if handoff.reused:
        return "the same connection"
    why = handoff.why_fresh
    return f"a fresh connection: {why}" if why else "a fresh connection"


def _tools(report: Report) -> tuple[str, list[str], list[Markup]]:
    heads = ["Began", "Tool", "Agent", "Outcome", "Ran", "Arguments", "Told"]
    rows = [
        _line(
            clock(call.began, tenths=True),
            call.tool,
            call.agent or NOTHING,
            _prose(call.problem or call.outcome or "open"),
            span(call.seconds),
            _prose(tag("code", call.arguments)),
            _prose(call.output),
        )
        for call in report.tools
    ]
    return "Tool calls", heads, rows


def _connections(report: Report) -> tuple[str, list[str], list[Markup]]:
    heads = ["Number", "Why", "Serves from", "To", "Dialled in", "Ended with"]
    rows = [
        _line(
            str(link.generation),
            link.reason or "in reserve",
            NOTHING if link.opened is None else clock(link.opened, tenths=True),
            NOTHING if link.ended is None else clock(link.ended, tenths=True),
            span(link.dial_seconds),
            _prose(link.message or NOTHING),
        )
        for link in report.connections
    ]
    return "Connections", heads, rows


def _replies(report: Report) -> tuple[str, list[str], list[Markup]]:
    heads = ["Began", "Agent", "Outcome", "First audio", "Made in", "Tokens in", "out"]
    rows = [
        _line(
            clock(reply.began, tenths=True),
            reply.agent or NOTHING,
            reply.outcome or "open",
            span(reply.first_audio),
            _between(reply.began, reply.ended),
            NOTHING if reply.usage is None else f"{reply.usage.input_tokens:,}",
            NOTHING if reply.usage is None else f"{reply.usage.output_tokens:,}",
        )
        for reply in report.replies
    ]
    return "Responses", heads, rows


def _between(began: float | None, ended: float | None) -> str:
    return span(None if began is None or ended is None else ended - began)


def _prose(text: object) -> Markup:
    """A cell of any length, which is broken where it has to be."""
    return tag("td", text, class_="prose", dir="auto")


def _line(*cells: object) -> Markup:
    made = (cell if isinstance(cell, Markup) else tag("td", cell) for cell in cells)
    return tag("tr", *made)


def _table(
    caption: str,
    heads: Iterable[str],
    rows: Iterable[Markup],
    *,
    foot: Markup | None = None,
    numbers: bool = False,
) -> Markup:
    first, *others = heads
    look = "number" if numbers else None
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption) if caption else None,
            tag(
                "thead",
                tag(
                    "tr",
                    tag("th", first, scope="col"),
                    *(tag("th", head, scope="col", class_=look) for head in others),
                ),
            ),
            tag("tbody", *rows),
            None if foot is None else tag("tfoot", foot),
        ),
        class_="wide",
        tabindex=0,
    )
