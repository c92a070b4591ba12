"""A report as one page: what it came to, when it happened, what was said.

One file of HTML with its style and its drawings inside: nothing is fetched (its policy
forbids that, too), and there is no script.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from trialogue.records.figures import date, median, p95, plural, span
from trialogue.records.lanes import BAD_OUTCOMES, cast, lanes_of, pace_of
from trialogue.records.markup import Markup, tag
from trialogue.records.style import STYLE
from trialogue.records.tables import tables
from trialogue.records.timeline import timeline
from trialogue.records.transcript import row_ids, transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.records.report import Report

__all__ = ["page"]

_ENDS = {
    None: "still going on",
    "ended": "ended by the program",
    "input_ended": "ended with the audio input",
    "left": "left",
    "cancelled": "cancelled",
    "failed": "failed",
}


def page(report: Report) -> str:
    """Return the whole page."""
    who = cast(report)
    title = f"Conversation with {_listed(who)}" if who else "Conversation"
    body = tag(
        "body",
        _header(report, title),
        tag("main", _tiles(report), *_when(report), *_said(report), *tables(report)),
        _footer(report),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _policy() -> str:
    """Nothing but this very style may be used, whatever gets into the page."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )


def _header(report: Report, title: str) -> Markup:
    session = report.session
    told = " · ".join(
        (date(session.began), span(session.seconds), session.model, _ENDS[session.end])
    )
    failure = None
    if session.error is not None:
        failure = tag("p", session.error, class_="failure", role="alert")
    return tag("header", tag("h1", title), tag("p", told), failure)


# --- what it came to -----------------------------------------------------------------


def _tiles(report: Report) -> Markup:
    return tag("dl", *_each_tile(report), class_="tiles")


def _each_tile(report: Report) -> Iterator[Markup]:
    waits = [t.reply_seconds for t in report.turns if t.reply_seconds is not None]
    middle, most = median(waits), p95(waits)
    looks = None if middle is None else pace_of(middle)
    yield _tile("Reply time", span(middle), f"median; 95 %: {span(most)}", looks)
    cut = sum(said.interrupted for said in report.speech)
    more = f"{plural(cut, 'interruption')}" if cut else "no interruptions"
    yield _tile("User turns", f"{len(report.turns):,}", more)
    yield from _handoff_tile(report)
    bad = sum(call.outcome in BAD_OUTCOMES for call in report.tools)
    took = span(
        median(
            call.seconds
            for call in report.tools
            if call.seconds is not None and call.outcome != "Transferred"
        )
    )
    if report.tools:
        more = f"{bad} failed, " if bad else ""
        look = "bad" if bad else None
        yield _tile(
            "Tool calls", f"{len(report.tools):,}", f"{more}median {took}", look
        )
    listed = sum(link.opened is not None for link in report.connections)
    served = max(listed, sum(report.metrics.connections.values()))
    lost = sum(link.lost for link in report.connections)
    more = f"{lost} lost" if lost else "none lost"
    yield _tile("Connections", f"{served:,}", more, "fair" if lost else None)
    usage = report.usage
    yield _tile(
        "Tokens",
        f"{usage.input_tokens + usage.output_tokens:,}",
        f"{usage.input_tokens:,} in, {usage.output_tokens:,} out",
    )
    wrong = sum(note.level == "error" for note in report.errors)
    warned = len(report.errors) - wrong
    yield _tile(
        "Errors", f"{wrong:,}", plural(warned, "warning"), "bad" if wrong else None
    )


def _handoff_tile(report: Report) -> Iterator[Markup]:
    if not report.handoffs:
        return
    heard = [
        each.first_audio - each.committed
        for each in report.handoffs
        if each.first_audio is not None
    ]
    failed = sum(each.failed is not None for each in report.handoffs)
    more = f"{span(median(heard))} to first words"
    yield _tile(
        "Handoffs",
        f"{len(report.handoffs):,}",
        f"{failed} failed, {more}" if failed else more,
        "bad" if failed else None,
    )


def _tile(name: str, value: str, more: str, look: str | None = None) -> Markup:
    return tag(
        "div",
        tag("dt", name),
        tag("dd", value, class_=f"value {look or ''}".strip()),
        tag("dd", more, class_="more"),
    )


# --- when, and what ------------------------------------------------------------------


def _when(report: Report) -> Iterator[Markup]:
    lanes = lanes_of(report)
    yield tag("h2", "Timeline", id="timeline")
    yield tag("ul", *_legend(), class_="legend")
    yield from timeline(lanes, report.session.seconds, row_ids(report))


def _legend() -> Iterator[Markup]:
    def sample(class_: str, *shapes: Markup) -> Markup:
        return tag(
            "svg",
            tag("g", *shapes, class_=class_),
            width=22,
            height=14,
            aria_hidden="true",
        )

    block = tag("rect", x=0, y=1, width=22, height=12, rx=3)
    bracket = tag("path", d="M2 2v10M2 7H20M20 2v10")
    cross = tag("path", d="M7 3l8 8m0 -8l-8 8", class_="cross")
    for look, drawn, text in (
        ("voice", [block], "the user speaks"),
        ("speech a0", [block], "an agent is heard"),
        ("current a0", [block], "an agent is current"),
        ("speech cut", [cross], "interrupted"),
        ("reply brisk", [bracket], "answered within 1 s"),
        ("reply fair", [bracket], "2 s"),
        ("reply slow", [bracket], "later"),
    ):
        yield tag("li", sample(look, *drawn), text)


def _said(report: Report) -> Iterator[Markup]:
    yield tag("h2", "Conversation", id="conversation")
    yield tag("ol", *transcript(report), class_="talk")


def _footer(report: Report) -> Markup:
    left_out = ", ".join(
        f"{count:,} of {name}" for name, count in report.omitted.items()
    )
    return tag(
        "footer",
        tag("p", f"Left out, as the oldest: {left_out}.") if left_out else None,
        tag(
            "p",
            "Times count from the moment in which the session began to open. A reply "
            "time is from the end of the user's turn, where turn detection found it, "
            "to the first sound of the answer.",
        ),
        tag(
            "p",
            f"Session {report.session.id}, trialogue {report.session.library}",
            class_="id",
        ),
    )


def _listed(names: list[str]) -> str:
    if len(names) > 4:
        names = [*names[:3], f"{len(names) - 3} others"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
