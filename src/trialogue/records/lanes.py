"""Which lanes a timeline has, and what lies in them; nothing of how it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from trialogue.records.figures import clock, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.records.report import Report

__all__ = ["BAD_OUTCOMES", "Bar", "Lane", "cast", "lanes_of", "pace_of"]

Layout: TypeAlias = Literal["speech", "labelled", "points"]
BAD_OUTCOMES: Final = frozenset(
    {
        "Failed", "Crashed", "TimedOut", "UnknownTool", "BadArguments", "Conflict",
        "HandoffFailed",
    }
)  # fmt: skip
"""Outcomes of a call that somebody may want to look into."""
BRISK, SLOW = 1.0, 2.0
"""Seconds: an answer that comes sooner is brisk, one that comes later is slow."""


@attrs.frozen(kw_only=True)
class Bar:
    """Something that lasts, or a moment.

    Attributes:
        label: what is written in or beside it.
        title: what is said of it when it is pointed at.
        kind: "voice", "reply", "current", "speech", "handoff", "delegation", "tool",
            "connection", "outage" or "note".
        look: further names for its looks, such as "bad".
        key: what names the thing in the report, for links.
    """

    began: float
    ended: float
    kind: str
    label: str = ""
    title: str = ""
    look: str = ""
    key: str | None = None


@attrs.frozen(kw_only=True)
class Lane:
    """One line of the timeline.

    Attributes:
        key: "user", "reply", "agent:NAME", "handoffs", "tools", "connections", "notes".
        layout: "speech" has its words inside of the bars, one row; "labelled" has them
            beside the bars, in as many rows as that takes; "points" are moments.
        colour: the place in the palette, for an agent.
    """

    key: str
    name: str
    bars: tuple[Bar, ...]
    layout: Layout
    colour: int | None = None


def cast(report: Report) -> list[str]:
    """The agents, in the order in which they first appear."""
    names = [
        *(agent.agent for agent in report.agents),
        *(said.agent or "" for said in report.speech),
    ]
    return [name for name in dict.fromkeys(names) if name]


def pace_of(seconds: float) -> str:
    """How long an answer took, in a word."""
    return "brisk" if seconds <= BRISK else "fair" if seconds <= SLOW else "slow"


def lanes_of(report: Report) -> list[Lane]:
    """The lanes of a report, from top to bottom; those that would be empty are not."""
    lanes = [
        Lane(key="user", name="User", bars=tuple(_voice(report)), layout="speech"),
        Lane(
            key="reply",
            name="Reply time",
            bars=tuple(_waits(report)),
            layout="labelled",
        ),
        *(
            Lane(
                key=f"agent:{name}",
                name=name,
                bars=tuple(_agent(report, name)),
                layout="speech",
                colour=place,
            )
            for place, name in enumerate(cast(report))
        ),
        Lane(
            key="handoffs",
            name="Handoffs",
            bars=tuple(_handoffs(report)),
            layout="labelled",
        ),
        Lane(key="tools", name="Tools", bars=tuple(_tools(report)), layout="labelled"),
        Lane(
            key="connections",
            name="Connections",
            bars=tuple(_connections(report)),
            layout="labelled",
        ),
        Lane(key="notes", name="Notes", bars=tuple(_notes(report)), layout="points"),
    ]
    always = {"user", "connections"}
    return [lane for lane in lanes if lane.bars or lane.key in always]


def _words(report: Report) -> dict[str, str]:
    return {item.id: item.text for item in report.items}


def _voice(report: Report) -> Iterator[Bar]:
    words = _words(report)
    for turn in report.turns:
        said = words.get(turn.item_id or "", "")
        ended = report.session.seconds if turn.ended is None else turn.ended
        yield Bar(
            began=turn.began,
            ended=ended,
            kind="voice",
            label=said,
            title=_title("The user speaks", turn.began, ended, said),
            key=turn.item_id,
        )


def _waits(report: Report) -> Iterator[Bar]:
    for turn in report.turns:
        seconds = turn.reply_seconds
        if seconds is None or turn.ended is None or turn.answered is None:
            continue
        yield Bar(
            began=turn.ended,
            ended=turn.answered,
            kind="reply",
            label=span(seconds),
            title=f"{turn.answered_by or 'The answer'} is heard after {span(seconds)}",
            look=pace_of(seconds),
            key=turn.item_id,
        )


def _agent(report: Report, name: str) -> Iterator[Bar]:
    for agent in report.agents:
        if agent.agent == name:
            ended = report.session.seconds if agent.ended is None else agent.ended
            why = f"{name} is asked by {agent.delegated_by}"
            who = why if agent.delegated_by else f"{name} is current"
            yield Bar(
                began=agent.began,
                ended=ended,
                kind="current",
                title=_title(who, agent.began, ended),
            )
    words = _words(report)
    for said in report.speech:
        if said.agent == name and said.began is not None:
            ended = report.session.seconds if said.ended is None else said.ended
            text = words.get(said.item_id, "")
            does = f"{name} is interrupted" if said.interrupted else f"{name} speaks"
            yield Bar(
                began=said.began,
                ended=ended,
                kind="speech",
                label=text,
                title=_title(does, said.began, ended, text),
                look="cut" if said.interrupted else "",
                key=said.item_id,
            )


def _handoffs(report: Report) -> Iterator[Bar]:
    for handoff in report.handoffs:
        heard = handoff.first_audio
        known = handoff.acknowledged if heard is None else heard
        seconds = None if known is None else known - handoff.committed
        way = "same connection" if handoff.reused else "fresh connection"
        parties = f"{handoff.previous or 'nobody'} → {handoff.next}"
        what = handoff.failed or (
            f"first words after {span(seconds)}"
            if heard is not None
            else f"agreed after {span(seconds)}"
        )
        yield Bar(
            began=handoff.committed,
            ended=handoff.committed if known is None else known,
            kind="handoff",
            label=f"{parties} {'failed' if handoff.failed else span(seconds)}",
            title=f"{parties}, {way}, {what}",
            look="bad" if handoff.failed else "",
        )
    for asked in report.delegations:
        ended = report.session.seconds if asked.ended is None else asked.ended
        yield Bar(
            began=asked.began,
            ended=ended,
            kind="delegation",
            label=f"{asked.agent} asks {asked.to} {span(ended - asked.began)}",
            title=_title(
                f"{asked.agent} delegates to {asked.to}",
                asked.began,
                ended,
                asked.outcome or "not over",
            ),
            look="bad" if asked.outcome == "failed" else "",
        )


def _tools(report: Report) -> Iterator[Bar]:
    for call in report.tools:
        ended = report.session.seconds if call.ended is None else call.ended
        bad = call.outcome in BAD_OUTCOMES
        took = "" if call.seconds is None else f" {span(call.seconds)}"
        yield Bar(
            began=call.began,
            ended=ended,
            kind="tool",
            label=f"{call.tool}{' ✕' if bad else ''}{took}",
            title=_title(
                f"{call.agent or 'Nobody'} calls {call.tool}: {call.outcome or 'open'}",
                call.began,
                ended,
                call.arguments,
            ),
            look="bad" if bad else "",
            key=call.call_id,
        )


def _connections(report: Report) -> Iterator[Bar]:
    lost_at: float | None = None
    for link in report.connections:
        if link.opened is None:
            continue
        if lost_at is not None and link.opened > lost_at:
            yield Bar(
                began=lost_at,
                ended=link.opened,
                kind="outage",
                label=f"no connection for {span(link.opened - lost_at)}",
                title=_title("No connection", lost_at, link.opened),
                look="bad",
            )
        ended = report.session.seconds if link.ended is None else link.ended
        dialled = (
            ""
            if link.dial_seconds is None
            else f", dialled in {span(link.dial_seconds)}"
        )
        yield Bar(
            began=link.opened,
            ended=ended,
            kind="connection",
            label=f"{link.generation}: {link.reason or 'first'}",
            title=_title(
                f"Connection {link.generation} ({link.reason}{dialled})",
                link.opened,
                ended,
                link.message or "",
            ),
            look="lost" if link.lost else "",
        )
        lost_at = link.ended if link.lost else None


def _notes(report: Report) -> Iterator[Bar]:
    for note in sorted((*report.errors, *report.notes), key=lambda each: each.at):
        times = "" if note.count == 1 else f" ({note.count} times)"
        yield Bar(
            began=note.at,
            ended=note.at,
            kind="note",
            label=note.text,
            title=f"{clock(note.at, tenths=True)} {note.text}{times}",
            look=note.level,
            key=note.call_id,
        )


def _title(what: str, began: float, ended: float, text: str = "") -> str:
    times = f"{clock(began, tenths=True)} to {clock(ended, tenths=True)}"
    lasted = f"{times}, {span(max(0.0, ended - began))}"
    return f"{what}, {lasted}: {text}" if text else f"{what}, {lasted}"
