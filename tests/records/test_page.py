"""The page of a report: it stands alone, and shows what the report holds (M5, M6)."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pages import lanes_told, read_page
from reported import FORECAST, long_report
from trialogue.records import (
    AgentRecord,
    ItemRecord,
    NoteRecord,
    Report,
    SessionRecord,
    SpeechRecord,
    ToolRecord,
    TurnRecord,
)
from trialogue.records.lanes import Bar, Lane
from trialogue.records.markup import escaped
from trialogue.records.strips import LETTER, Strip, packed, strips

if TYPE_CHECKING:
    from pages import Page
    from reported import Held

WIDTH = 920.0
HOSTILE = (
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "</title><img src=x onerror=alert(1)>",
    "\"' onload='alert(1)' x=\"",
    "javascript:alert(1)",
    "<!-- <![CDATA[ ]]> --> <?php ?>",
    "&lt;b&gt; &amp; &#60;i&#62;",
    "\u2028\u2029\x00\x07\x1b[31m\x7f\x85\ufffe",
    "\u202egnihton\u2066",
    "half \ud800 of a character",
    "a\rb\r\nc\td",
)
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer"),
    *("h1", "h2", "p", "dl", "dt", "dd", "div", "ul", "ol", "li", "span", "time"),
    *("a", "code", "figure", "figcaption", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"),
    *("svg", "g", "rect", "path", "line", "circle", "text"),
}


def session(seconds: float = 60.0, **more: Any) -> SessionRecord:
    fields = {"id": "tri_1", "model": "m", "library": "0", "began": 0.0}
    return SessionRecord(**{**fields, "seconds": seconds, **more})


def hostile(text: str) -> Report:
    """A report in which somebody has put this wherever there is a text."""
    return Report(
        session=session(id=text, model=text, library=text, end="failed", error=text),
        items=(
            ItemRecord(id=text, kind="message", role="user", text=text, at=1.0),
            ItemRecord(
                id="2", kind="message", role="assistant", agent=text, text=text, at=2.0
            ),
            ItemRecord(
                id="3",
                kind="function_call",
                tool=text,
                call_id=text,
                agent=text,
                text=text,
                at=3.0,
            ),
            ItemRecord(id="4", kind="function_call_output", call_id=text, text=text),
            ItemRecord(id="5", kind="opaque", text=text, status=text, removed=9.0),
        ),
        turns=(
            TurnRecord(
                began=1.0, ended=20.0, answered=21.0, answered_by=text, item_id=text
            ),
        ),
        agents=(AgentRecord(agent=text, began=0.0, delegated_by=text, previous=text),),
        speech=(
            SpeechRecord(
                item_id="2", response_id=text, agent=text, began=21.0, ended=50.0
            ),
        ),
        tools=(
            ToolRecord(
                call_id=text,
                tool=text,
                agent=text,
                began=1.0,
                outcome=text,
                arguments=text,
                output=text,
                problem=text,
            ),
        ),
        errors=(NoteRecord(at=5.0, kind=text, text=text, level="error", agent=text),),
        omitted={text: 3},
    )


def targets(page: Page) -> list[str]:
    return [
        element.attributes[name]
        for element in page.elements
        for name in ("href", "src", "action", "xlink:href", "data", "srcset")
        if name in element.attributes
    ]


# --- it stands alone -----------------------------------------------------------------


@pytest.mark.behaviour("M5")
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_was_said_is_text_in_the_page(text: str) -> None:
    """No element, no attribute and no address comes of it; it can be read."""
    source = hostile(text).to_html()
    page = read_page(source)

    assert page.problems == []
    assert {element.name for element in page.elements} <= ALLOWED
    names = {name for element in page.elements for name in element.attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    assert all(re.fullmatch(r"#(row|strip)-\d+", target) for target in targets(page))
    said = page.of("div", "what")[0].text
    assert said.split() != []
    visible = re.sub(r"[^\x21-\x7e]", "", text)
    assert visible in re.sub(r"[^\x21-\x7e]", "", said)
    strange = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    assert not re.search(strange, source)
    source.encode()  # it can be written to a file


@pytest.mark.behaviour("M5")
def test_nothing_is_fetched_and_nothing_runs(held: Held) -> None:
    """By what is in it, and by the policy that it gives to the browser."""
    source = held.report.to_html()
    page = read_page(source)
    (style,) = page.of("style")
    (policy,) = [
        meta.attributes["content"]
        for meta in page.of("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()

    assert not re.search(
        r"https?:|//\w|url\(|@import|@font-face|<script|\bon\w+=", source
    )
    assert all(target.startswith("#") for target in targets(page))
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )


@pytest.mark.behaviour("M5")
@given(st.text())
@example("<a href='x'>&amp;\"")
@example("\x00\ud800\u202e")
def test_escaped_text_has_nothing_left_to_obey(text: str) -> None:
    shown = escaped(text)

    assert not set(shown) & set("<>\"'\x00\u202e\ud800")
    assert not re.search(r"&(?!(amp|lt|gt|quot|#x27);)", shown)


@pytest.mark.behaviour("M5")
def test_each_link_leads_somewhere(held: Held) -> None:
    page = read_page(held.report.to_html())
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]

    assert len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in targets(page)} <= set(ids)
    assert len(targets(page)) > 20


# --- it shows what there is ----------------------------------------------------------


@pytest.mark.behaviour("M6")
def test_the_lanes_hold_what_the_report_holds(held: Held) -> None:
    lanes = read_page(held.report.to_html()).lanes
    told = lanes_told(held.report)
    outage = [bar for bar in lanes["connections"] if bar.kind == "outage"]
    found = {
        name: sorted((b for b in bars if b.kind != "outage"), key=attrs.astuple)
        for name, bars in lanes.items()
    }

    assert list(lanes) == [
        *("user", "reply", "agent:Kelly", "agent:Sunny", "handoffs", "tools"),
        *("connections", "notes", "agent:Consent"),
    ]
    assert found == told
    one, two = held.report.connections
    assert [(bar.began, bar.ended) for bar in outage] == [(one.ended, two.opened)]


@pytest.mark.behaviour("M6")
def test_latencies_can_be_read_at_a_glance(held: Held) -> None:
    """In tiles above everything, and beside each answer."""
    page = read_page(held.report.to_html())
    tiles = {
        name.text: (value.text, more.text)
        for name, value, more in zip(
            page.of("dt"), page.of("dd", "value"), page.of("dd", "more"), strict=True
        )
    }
    waits = sorted(t.reply_seconds or 0 for t in held.report.turns)
    labels = [text.text for text in page.of("text", "label")]

    assert tiles["Reply time"][0] == f"{waits[2] * 1000:.0f} ms"
    assert f"{waits[-1]:.2f} s" in tiles["Reply time"][1]
    assert tiles["Handoffs"] == ("2", "380 ms to first words")
    assert tiles["User turns"] == ("6", "1 interruption")
    assert tiles["Tool calls"][1].startswith("1 failed")
    assert tiles["Connections"] == ("2", "1 lost")
    assert tiles["Errors"] == ("1", "1 warning")
    for wait in waits:
        assert (f"{wait:.2f} s" if wait >= 1 else f"{wait * 1000:.0f} ms") in labels
    assert "lookup_weather 700 ms" in labels


@pytest.mark.behaviour("M6")
def test_the_conversation_can_be_read_below_in_its_order(held: Held) -> None:
    rows = read_page(held.report.to_html()).of("li")
    talk = [row.text for row in rows if row.text[:1].isdigit()]
    order = [
        "Kelly" + "Good morning",
        "User" + "What will the weather be like?",
        "Handoff" + "Kelly → Sunny",
        "Sunny" + "Hello, I am Sunny.",
        "Tool" + 'lookup_weather({"location":"Oslo","day":"tomorrow"}) → Tomorrow',
        "Sunny" + FORECAST[:40],
        "Warning" + "connection 1 was lost",
        "Delegation" + "Kelly asks Consent",
        "Consent" + "May we",
        "User" + "Yes, of course.",
    ]
    places = [
        next((at for at, row in enumerate(talk) if words in row), None)
        for words in order
    ]

    assert None not in places
    assert places == sorted(p for p in places if p is not None)
    assert "interrupted after" in talk[places[5] or 0]
    assert "the tool raised LookupError" in "".join(talk)


@pytest.mark.behaviour("M6")
def test_usage_is_in_a_table_by_modality_and_agent(held: Held) -> None:
    page = read_page(held.report.to_html())
    cells = [row.text for row in page.of("tr")]
    usage = held.report.usage
    by = held.report.usage_by_agent()
    audio = "".join(f"{by[name].input_audio_tokens:,}" for name in by)

    assert f"Input, audio{audio}{usage.input_audio_tokens:,}" in cells
    assert any(
        row.startswith("Together")
        and row.endswith(f"{usage.input_tokens + usage.output_tokens:,}")
        for row in cells
    )


def test_a_conversation_in_which_nothing_happened_has_a_page() -> None:
    page = read_page(Report(session=session(0.0)).to_html())

    assert page.problems == []
    assert list(page.lanes) == ["user"]
    assert page.of("h1")[0].text == "Conversation"


def test_how_it_failed_is_above_everything_else() -> None:
    failed = Report(session=session(end="failed", error="ServerError: no quota"))
    page = read_page(failed.to_html())

    assert page.of("p", "failure")[0].text == "ServerError: no quota"


# --- however long it is --------------------------------------------------------------


@pytest.mark.behaviour("M6")
def test_an_hour_is_as_legible_as_a_minute() -> None:
    """In strips of a minute each; where nothing happens, there is none."""
    report = long_report(60)
    source = report.to_html()
    page = read_page(source)
    numbers = [
        int(figure.attributes["id"].removeprefix("strip-"))
        for figure in page.of("figure", "strip")
    ]

    assert len(report.items) > 600
    assert len(source) < 2_000_000
    assert {name: len(bars) for name, bars in page.lanes.items()} == {
        **{name: len(bars) for name, bars in lanes_told(report).items() if bars},
    }
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 60
    assert len(page.of("p", "pause")) == 2  # twice nobody says a word for minutes
    assert len(page.of("svg", "overview")) == 1
    assert page.problems == []


@pytest.mark.behaviour("M6")
def test_numbers_beyond_all_measure_make_no_endless_page() -> None:
    """A file may say anything."""
    far = 2.0**52
    report = Report(
        session=session(far, end="left"),
        turns=(TurnRecord(began=far - 1, ended=far), TurnRecord(began=-far, ended=5.0)),
        agents=(AgentRecord(agent="A", began=0.0),),
    )

    assert len(report.to_html()) < 60_000


BARS = st.lists(
    st.builds(
        lambda began, lasts, label: Bar(
            began=began, ended=began + lasts, kind="tool", label=label
        ),
        st.floats(0, 60),
        st.floats(0, 90),
        st.text(st.characters(categories=["L"]), max_size=40),
    ),
    max_size=12,
)


def bars(*found: tuple[float, float, str]) -> list[Bar]:
    return [Bar(began=a, ended=b, kind="tool", label=c) for a, b, c in found]


@pytest.mark.behaviour("M6")
@given(BARS)
@example(bars((1, 2, "one call of a tool"), (2.1, 3, "another one"), (2.2, 2.3, "x")))
@example(bars((1, 2, "a"), (29, 30, "a long label near the end"), (24, 25, "long too")))
def test_what_is_written_never_covers_what_else_is_written(found: list[Bar]) -> None:
    """Nor does it leave the strip; what has no room is not written."""
    lane = Lane(key="tools", name="Tools", bars=tuple(found), layout="labelled")
    placed = packed(lane, Strip(0, 0.0, 30.0), WIDTH)
    taken: dict[int, list[tuple[float, float]]] = {}
    for one in placed:
        assert -0.01 <= one.x <= one.x + one.width <= WIDTH + 0.01
        if not one.label:
            continue
        wide = len(one.label) * LETTER
        left = one.label_x - wide if one.before else one.label_x
        assert left >= -0.01
        assert left + wide <= WIDTH + 0.01
        for begin, end in taken.setdefault(one.row, []):
            assert end <= left + 0.01 or left + wide <= begin + 0.01
        taken[one.row].append((left, left + wide))
    seen = {id(one.bar) for one in placed}
    assert all(id(bar) in seen for bar in found if bar.began < 30)


@given(BARS, st.floats(0, 200))
def test_every_moment_at_which_something_happens_is_in_a_strip(
    found: list[Bar], total: float
) -> None:
    lane = Lane(key="tools", name="Tools", bars=tuple(found), layout="labelled")
    cut = strips([lane], total)

    for bar in found:
        assert any(strip.began <= bar.began < strip.ended for strip in cut)
    assert all(one.ended <= two.began for one, two in itertools.pairwise(cut))
