"""Reading a report's page, as a browser's document or by the standard parser."""

from __future__ import annotations

from collections import defaultdict
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from trialogue.records import Report

__all__ = ["Element", "Page", "lanes_told", "read_page"]

VOID = {"meta", "br", "hr", "img", "input", "link"}


@attrs.define(eq=False)
class Element:
    """An element, with its attributes and all the text inside."""

    name: str
    attributes: dict[str, str]
    text: str = ""


@attrs.frozen
class Drawn:
    """A bar of the timeline: its kind, and from when to when."""

    kind: str
    began: float
    ended: float


class Page(HTMLParser):
    """A page as it was parsed.

    Attributes:
        elements: all of them, in order.
        lanes: for each lane of the timeline, its bars, once each.
        problems: what does not open and close as it should.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.lanes: dict[str, list[Drawn]] = defaultdict(list)
        self.problems: list[str] = []
        self._open: list[Element] = []
        self._lane: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)
        given = element.attributes
        if "data-lane" in given:
            self._lane = given["data-lane"]
            self.lanes[self._lane]
        if "data-kind" in given and self._lane is not None:
            times = float(given["data-began"]), float(given["data-ended"])
            bar = Drawn(given["data-kind"], *times)
            if bar not in self.lanes[self._lane]:  # it may go on in the next strip
                self.lanes[self._lane].append(bar)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1].name != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def of(self, name: str, class_: str | None = None) -> list[Element]:
        """The elements of that name, and class."""
        return [
            element
            for element in self.elements
            if element.name == name
            and class_ in (None, *element.attributes.get("class", "").split())
        ]


def read_page(text: str) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(text)
    page.close()
    return page


def lanes_told(report: Report) -> dict[str, list[Drawn]]:
    """What the lanes should hold, by the report, each lane sorted."""
    over = report.session.seconds

    def bar(kind: str, began: float | None, ended: float | None) -> Drawn:
        assert began is not None
        return Drawn(kind, began, over if ended is None else ended)

    lanes = {
        "user": [bar("voice", t.began, t.ended) for t in report.turns],
        "reply": [
            bar("reply", t.ended, t.answered)
            for t in report.turns
            if t.answered is not None
        ],
        "handoffs": [
            *(bar("handoff", h.committed, h.first_audio) for h in report.handoffs),
            *(bar("delegation", d.began, d.ended) for d in report.delegations),
        ],
        "tools": [bar("tool", t.began, t.ended) for t in report.tools],
        "connections": [
            bar("connection", c.opened, c.ended) for c in report.connections
        ],
        "notes": [bar("note", n.at, n.at) for n in (*report.errors, *report.notes)],
    }
    for agent in report.agents:
        lanes.setdefault(f"agent:{agent.agent}", []).append(
            bar("current", agent.began, agent.ended)
        )
    for said in report.speech:
        lanes[f"agent:{said.agent}"].append(bar("speech", said.began, said.ended))
    return {name: sorted(bars, key=attrs.astuple) for name, bars in lanes.items()}
