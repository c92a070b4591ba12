"""What was said and done, row by row, beside the timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trialogue.records.figures import clock, span
from trialogue.records.lanes import BAD_OUTCOMES, cast, pace_of
from trialogue.records.markup import Markup, tag
from trialogue.records.timeline import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.records.entries import (
        HandoffRecord,
        ItemRecord,
        NoteRecord,
        SpeechRecord,
        ToolRecord,
        TurnRecord,
    )
    from trialogue.records.report import Report

__all__ = ["row_ids", "transcript"]


@attrs.frozen
class _Row:
    """A row that has its time; None is before the session."""

    at: float | None
    markup: Markup


def row_ids(report: Report) -> dict[str, str]:
    """For the id of an item, or of a call, the id of its row in the page."""
    return {
        item.call_id if item.kind == "function_call" and item.call_id else item.id: row
        for item, row in _numbered(report)
    }


def transcript(report: Report) -> Iterator[Markup]:
    """The rows, in the order of the conversation."""
    rows = list(_items(report))
    others = sorted(_others(report), key=lambda row: row.at or 0.0)
    for row in rows:
        while others and row.at is not None and (others[0].at or 0.0) < row.at:
            yield others.pop(0).markup
        yield row.markup
    yield from (row.markup for row in others)


def _numbered(report: Report) -> Iterator[tuple[ItemRecord, str]]:
    """The items that have a row: an output stands in the row of its call."""
    calls = {item.call_id for item in report.items if item.kind == "function_call"}
    number = 0
    for item in report.items:
        if item.kind == "function_call_output" and item.call_id in calls:
            continue
        number += 1
        yield item, f"row-{number}"


def _items(report: Report) -> Iterator[_Row]:
    turns = {turn.item_id: turn for turn in report.turns if turn.item_id}
    speech = {said.item_id: said for said in report.speech}
    tools = {call.call_id: call for call in report.tools}
    outputs = {
        item.call_id: item.text
        for item in report.items
        if item.kind == "function_call_output"
    }
    colours = {name: place % COLOURS for place, name in enumerate(cast(report))}
    for item, row in _numbered(report):
        turn, said = turns.get(item.id), speech.get(item.id)
        at = item.at
        if turn is not None:
            at = turn.began
        elif said is not None and said.began is not None:
            at = said.began
        who = _who(item)
        call = tools.get(item.call_id or "")
        if item.kind == "function_call":
            chips = _call_chips(call)
            what = _call(item, outputs.get(item.call_id))
        else:
            chips = [*_message_chips(item, turn, said)]
            what = tag("span", _words(item), dir="auto")
        bad = call is not None and call.outcome in BAD_OUTCOMES
        looks = [
            f"a{colours[item.agent]}" if item.agent in colours else "",
            "aside" if item.kind != "message" or item.role == "system" else "",
            "bad" if bad else "",
            "gone" if item.removed is not None else "",
        ]
        yield _row(at, who, [what, *chips], looks, row)


def _row(
    at: float | None,
    who: str,
    what: list[Markup],
    looks: list[str],
    row_id: str | None = None,
) -> _Row:
    moment = "before" if at is None else clock(at)
    markup = tag(
        "li",
        tag("time", moment),
        tag("span", who, class_="who"),
        tag("div", *what, class_="what"),
        id=row_id,
        class_=" ".join(look for look in looks if look) or None,
    )
    return _Row(at, markup)


def _who(item: ItemRecord) -> str:
    if item.kind in ("function_call", "function_call_output"):
        return "Tool"
    if item.role == "user":
        return "User"
    if item.role == "assistant":
        return item.agent or "Agent"
    return "System" if item.role == "system" else "Other"


def _words(item: ItemRecord) -> str:
    if item.text:
        return item.text
    if item.pictures:
        return "[a picture]"
    if item.audio == "pending":
        return "[not transcribed yet]"
    if item.audio == "unintelligible":
        return "[unintelligible]"
    return "[nothing]"


def _call(item: ItemRecord, output: str | None) -> Markup:
    arguments = "" if item.text in ("", "{}") else item.text
    told = "no answer" if output is None else output
    return tag(
        "span", tag("code", f"{item.tool}({arguments})"), f" → {told}", dir="auto"
    )


def _call_chips(call: ToolRecord | None) -> list[Markup]:
    if call is None:
        return []
    chips = []
    if call.outcome in BAD_OUTCOMES:
        chips.append(_chip(call.problem or call.outcome or "", "bad"))
    if call.detached:
        chips.append(_chip("detached"))
    if call.seconds is not None and call.outcome != "Transferred":
        chips.append(_chip(span(call.seconds)))
    return chips


def _message_chips(
    item: ItemRecord, turn: TurnRecord | None, said: SpeechRecord | None
) -> Iterator[Markup]:
    if turn is not None and turn.reply_seconds is not None:
        seconds = turn.reply_seconds
        yield _chip(f"answered after {span(seconds)}", pace_of(seconds))
    if item.heard_ms is not None:
        yield _chip(f"interrupted after {span(item.heard_ms / 1000)}", "bad")
    elif said is not None and said.interrupted:
        yield _chip("cut", "bad")
    if item.pictures and item.text:
        yield _chip("with a picture")
    if item.removed is not None:
        yield _chip("left the conversation")


def _chip(text: str, look: str = "") -> Markup:
    return Markup(" " + tag("span", text, class_=f"chip {look}".strip()))


def _others(report: Report) -> Iterator[_Row]:
    for handoff in report.handoffs:
        yield _row(
            handoff.committed,
            "Handoff",
            [tag("span", *_handoff(handoff))],
            ["aside", "turnover", "bad" if handoff.failed else ""],
        )
    for asked in report.delegations:
        what = tag("span", f"{asked.agent} asks {asked.to}")
        ended = asked.ended
        chip = _chip(asked.outcome or "not over")
        took = [] if ended is None else [_chip(span(ended - asked.began))]
        yield _row(
            asked.began, "Delegation", [what, chip, *took], ["aside", "turnover"]
        )
    shown = {item.call_id for item in report.items if item.kind == "function_call"}
    for note in (*report.errors, *report.notes):
        if not (note.kind == "ToolFailed" and note.call_id in shown):
            yield _note(note)  # else its call says so


def _handoff(handoff: HandoffRecord) -> Iterator[object]:
    yield f"{handoff.previous or 'nobody'} → {handoff.next}"
    if handoff.failed:
        yield f": failed, {handoff.failed}"
        return
    if handoff.first_audio is not None:
        heard = span(handoff.first_audio - handoff.committed)
        yield _chip(f"first words after {heard}")
    elif handoff.acknowledged is not None:
        yield _chip(f"agreed after {span(handoff.acknowledged - handoff.committed)}")
    yield _chip("same connection" if handoff.reused else "fresh connection")


def _note(note: NoteRecord) -> _Row:
    names = {"info": "Note", "warning": "Warning", "error": "Error"}
    chips = [] if note.count == 1 else [_chip(f"{note.count} times")]
    what = tag("span", note.text, dir="auto")
    return _row(note.at, names[note.level], [what, *chips], ["aside", note.level])
